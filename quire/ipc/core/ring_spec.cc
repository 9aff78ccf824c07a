// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/core/ring_spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "quire/ipc/layout.h"
#include "quire/ipc/segment.h"
#include "quire/sys/memory.h"

namespace quire::ipc::internal {
namespace {

constexpr std::size_t elements_offset(const RingShape& shape) noexcept {
  return (shape.control_bytes + shape.alignment_bytes - 1) & ~(shape.alignment_bytes - 1);
}

std::string signature_start(const ElementType& element) {
  return fmt::format("{}/{} ", element.size_bytes, element.alignment_bytes);
}

}  // namespace

std::uint64_t round_capacity(std::uint64_t capacity) noexcept {
  return std::bit_ceil(std::clamp<std::uint64_t>(capacity, 2, kCapacityMax));
}

std::uint64_t round_byte_capacity(std::uint64_t capacity_bytes) noexcept {
  return std::max<std::uint64_t>(round_capacity(capacity_bytes), sys::os_page_size().bytes());
}

ObjectSpec ring_spec(std::string name, const ElementType& element, const RingShape& shape,
                     std::uint64_t count) {
  const std::uint64_t offset = elements_offset(shape);
  const bool fits = shape.stride_bytes <= (kSegmentBytesMax - offset) / count;
  const std::string type = element.name.empty() ? "object" : element.name;
  return {.name = std::move(name),
          .kind = shape.kind,
          .signature = fmt::format("{}{}[{}] {} v1", signature_start(element), type, count,
                                   name_of(shape.kind)),
          .size_bytes = fits ? offset + count * shape.stride_bytes : kSegmentBytesMax + 1,
          .alignment_bytes = std::max<std::size_t>(64, shape.alignment_bytes),
          .initialise = {},  // Zeros are an empty ring.
          .mirrored_bytes = shape.mirrored_bytes};
}

RingPlace ring_place(const ObjectRef& object, const RingShape& shape) noexcept {
  const std::size_t offset = elements_offset(shape);
  return {object.bytes().data() + offset,
          std::bit_floor((object.bytes().size() - offset) / shape.stride_bytes)};
}

Result<ObjectRef> find_ring(const Segment& segment, std::string_view name, ObjectKind kind,
                            const ElementType& element) {
  ObjectRef object = QUIRE_TRY(segment.find(std::string(name), kind));
  if (!object.spec().signature.starts_with(signature_start(element))) {
    return fail(make_error(
        Errc::kWrongKind, fmt::format("open {}", name_of(kind)), std::string(name),
        fmt::format("its elements are \"{}\", not {} bytes aligned to {}", object.spec().signature,
                    element.size_bytes, element.alignment_bytes),
        "open it with the type that it was added to the layout with"));
  }
  return object;
}

}  // namespace quire::ipc::internal
