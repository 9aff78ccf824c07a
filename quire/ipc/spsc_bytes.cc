// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/spsc_bytes.h"

#include <algorithm>
#include <cstring>
#include <limits>

namespace quire::ipc {
namespace {

constexpr std::uint64_t kPrefixBytes = 8;

// A record with its prefix.
constexpr std::uint64_t whole_bytes(std::uint64_t length_bytes) noexcept {
  return kPrefixBytes + ((length_bytes + 7) & ~std::uint64_t{7});
}

constexpr std::uint64_t longest(std::uint64_t capacity_bytes) noexcept {
  return std::min<std::uint64_t>(capacity_bytes - kPrefixBytes,
                                 std::numeric_limits<std::uint32_t>::max());
}

const internal::ElementType kByte{"bytes", 1, 1};

Result<ObjectRef> find(const Segment& segment, std::string_view name) {
  return internal::find_ring(segment, name, ObjectKind::kSpscBytes, kByte);
}

}  // namespace

ObjectSpec SpscBytes::object(std::string name, const Options& options) {
  const std::uint64_t capacity_bytes = internal::round_byte_capacity(options.capacity_bytes);
  return internal::ring_spec(std::move(name), kByte,
                             {.kind = ObjectKind::kSpscBytes,
                              .control_bytes = sizeof(internal::SpscControl),
                              .mirrored_bytes = capacity_bytes},
                             capacity_bytes);
}

std::uint64_t SpscBytes::Writer::record_bytes_max() const noexcept {
  return longest(capacity_bytes_);
}

std::span<std::byte> SpscBytes::Writer::reserve(std::uint64_t length_bytes) noexcept {
  const std::uint64_t bytes = whole_bytes(length_bytes);
  if (length_bytes > record_bytes_max() || core_.room(bytes) < bytes) {
    return {};
  }
  return {bytes_ + (core_.position() & (capacity_bytes_ - 1)) + kPrefixBytes, length_bytes};
}

Result<std::span<std::byte>> SpscBytes::Writer::reserve(std::uint64_t length_bytes,
                                                        const WaitOptions& options) {
  if (length_bytes > record_bytes_max()) {
    return fail(internal::too_long(seat_.object(), "push", length_bytes, record_bytes_max()));
  }
  QUIRE_TRY(wait_for_room(whole_bytes(length_bytes), options));
  return reserve(length_bytes);
}

void SpscBytes::Writer::commit(std::uint64_t length_bytes) noexcept {
  std::byte* prefix = bytes_ + (core_.position() & (capacity_bytes_ - 1));
  const std::uint64_t word = length_bytes;  // The upper half is the zero.
  std::memcpy(prefix, &word, sizeof(word));
  publish(whole_bytes(length_bytes));
}

bool SpscBytes::Writer::try_push(std::span<const std::byte> record) noexcept {
  const std::span<std::byte> room = reserve(record.size());
  if (room.data() == nullptr) {
    return false;
  }
  std::ranges::copy(record, room.begin());
  commit(record.size());
  return true;
}

Result<void> SpscBytes::Writer::push(std::span<const std::byte> record,
                                     const WaitOptions& options) {
  const std::span<std::byte> room = QUIRE_TRY(reserve(record.size(), options));
  std::ranges::copy(record, room.begin());
  commit(record.size());
  return {};
}

bool SpscBytes::Writer::arm(const Doorbell& bell, std::uint64_t length_bytes) {
  return arm_for_room(whole_bytes(std::min(length_bytes, record_bytes_max())), bell);
}

std::optional<std::span<const std::byte>> SpscBytes::Reader::peek() noexcept {
  const std::uint64_t ready = published();
  if (ready == 0) {
    return std::nullopt;
  }
  // Read once: the writer's process could change it between two looks.
  const std::byte* prefix = bytes_ + (core_.position() & (capacity_bytes_ - 8));
  const std::uint64_t length_bytes =
      __atomic_load_n(reinterpret_cast<const std::uint64_t*>(prefix), __ATOMIC_RELAXED);
  if (length_bytes > longest(capacity_bytes_) || whole_bytes(length_bytes) > ready) [[unlikely]] {
    core_.condemn();
    return std::nullopt;
  }
  next_bytes_ = whole_bytes(length_bytes);
  return std::span<const std::byte>{prefix + kPrefixBytes, length_bytes};
}

Result<std::span<const std::byte>> SpscBytes::Reader::peek(const WaitOptions& options) {
  QUIRE_TRY(wait(options));
  const std::optional<std::span<const std::byte>> record = peek();
  if (!record) {
    return fail(internal::corrupt(seat_.object(), "pop"));
  }
  return *record;
}

void SpscBytes::Reader::release() noexcept {
  give_back(next_bytes_);
}

Result<SpscBytes::Writer> SpscBytes::writer(const Segment& segment, std::string_view name) {
  ObjectRef object = QUIRE_TRY(find(segment, name));
  Writer writer;
  writer.bytes_ = object.mirrored();
  writer.capacity_bytes_ = object.mirrored_bytes();
  QUIRE_TRY(Writer::open(writer, std::move(object), writer.capacity_bytes_));
  return writer;
}

Result<SpscBytes::Reader> SpscBytes::reader(const Segment& segment, std::string_view name) {
  ObjectRef object = QUIRE_TRY(find(segment, name));
  Reader reader;
  reader.bytes_ = object.mirrored();
  reader.capacity_bytes_ = object.mirrored_bytes();
  QUIRE_TRY(Reader::open(reader, std::move(object), reader.capacity_bytes_));
  return reader;
}

}  // namespace quire::ipc
