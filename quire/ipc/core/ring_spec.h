// SPDX-License-Identifier: Apache-2.0
//
// ring_spec: how the rings describe themselves for a Layout, and where their parts lie in what a
// Segment gives them for that.
//
// Everything follows from the spec of whoever opens: the capacity from the size of the object. The
// signature begins with size and alignment of the elements, so that a handle of another type than
// the layout's is refused: "24/8 Tick[4096] spsc_ring v1".
//
// Thread-safety: plain functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include "quire/base/result.h"
#include "quire/ipc/object.h"

namespace quire::ipc {

class Segment;

namespace internal {

// Bytes that mean the same in every process. A pointer does not; a pointer inside of T goes unseen.
template <typename T>
inline constexpr bool kFitsSharedMemory =
    std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T> &&
    !std::is_pointer_v<T> && !std::is_member_pointer_v<T> && !std::is_const_v<T> &&
    !std::is_reference_v<T>;

struct ElementType {
  std::string name;
  std::size_t size_bytes = 0;
  std::size_t alignment_bytes = 1;
};
template <typename T>
[[nodiscard]] ElementType element_of(std::string name) {
  return {std::move(name), sizeof(T), alignof(T)};
}

// Beyond it a spec asks for more than any segment may have, which Layout reports.
inline constexpr std::uint64_t kCapacityMax = std::uint64_t{1} << 40;

// How many, rounded up to a power of two from 2 to kCapacityMax.
[[nodiscard]] std::uint64_t round_capacity(std::uint64_t capacity) noexcept;

// Bytes, rounded up to a power of two and whole pages.
[[nodiscard]] std::uint64_t round_byte_capacity(std::uint64_t capacity_bytes) noexcept;

// An object of `control_bytes`, then `count` elements of `stride_bytes` at a multiple of
// `alignment_bytes`.
struct RingShape {
  ObjectKind kind = ObjectKind::kUser;
  std::size_t control_bytes = 0;
  std::size_t stride_bytes = 0;
  std::size_t alignment_bytes = 64;
  std::uint64_t mirrored_bytes = 0;
};
[[nodiscard]] ObjectSpec ring_spec(std::string name, const ElementType& element,
                                   const RingShape& shape, std::uint64_t count);

// Where the elements begin, and how many there are.
struct RingPlace {
  std::byte* elements = nullptr;
  std::uint64_t capacity = 0;
};
[[nodiscard]] RingPlace ring_place(const ObjectRef& object, const RingShape& shape) noexcept;

// The object of that name. Errors: ENOENT; kWrongKind, also when the elements are of another size
// or alignment than `element`.
[[nodiscard]] Result<ObjectRef> find_ring(const Segment& segment, std::string_view name,
                                          ObjectKind kind, const ElementType& element);

}  // namespace internal
}  // namespace quire::ipc
