// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/mpsc_bytes.h"

#include <algorithm>

namespace quire::ipc {
namespace {

const internal::ElementType kByte{"bytes", 1, 1};

constexpr internal::RingShape kShape{.kind = ObjectKind::kMpscBytes,
                                     .control_bytes = sizeof(internal::MpscControl),
                                     .stride_bytes = sizeof(internal::RecordSlot)};

Result<ObjectRef> find(const Segment& segment, std::string_view name) {
  return internal::find_ring(segment, name, ObjectKind::kMpscBytes, kByte);
}

internal::MpscRecordsPlace place_of(const ObjectRef& object) noexcept {
  const internal::RingPlace slots = internal::ring_place(object, kShape);
  return {.control = reinterpret_cast<internal::MpscControl*>(object.bytes().data()),
          .slots = reinterpret_cast<internal::RecordSlot*>(slots.elements),
          .slot_count = slots.capacity,
          .bytes = object.mirrored(),
          .capacity_bytes = object.mirrored_bytes()};
}

}  // namespace

ObjectSpec MpscBytes::object(std::string name, const Options& options) {
  internal::RingShape shape = kShape;
  shape.mirrored_bytes = internal::round_byte_capacity(options.capacity_bytes);
  const std::uint64_t records =
      options.capacity_records != 0 ? options.capacity_records : shape.mirrored_bytes / 64;
  return internal::ring_spec(std::move(name), kByte, shape, internal::round_capacity(records));
}

MpscBytes::Claim& MpscBytes::Claim::operator=(Claim&& other) noexcept {
  if (this != &other) {
    give_up();
    writer_ = std::exchange(other.writer_, nullptr);
    record_ = other.record_;
  }
  return *this;
}

void MpscBytes::Claim::commit(std::uint64_t length_bytes) noexcept {
  const Writer* writer = std::exchange(writer_, nullptr);
  writer->core_.publish(record_, length_bytes);
  writer->tell_reader();
}

void MpscBytes::Claim::give_up() noexcept {
  if (const Writer* writer = std::exchange(writer_, nullptr)) {
    writer->core_.give_up(record_);
    writer->tell_reader();
  }
}

MpscBytes::Claim MpscBytes::Writer::reserve(std::uint64_t length_bytes) const noexcept {
  internal::RecordClaim record;
  const bool done = length_bytes <= record_bytes_max() &&
                    core_.claim(length_bytes, record) == internal::TryResult::kDone;
  return done ? Claim(*this, record) : Claim();
}

Result<MpscBytes::Claim> MpscBytes::Writer::reserve(std::uint64_t length_bytes,
                                                    const WaitOptions& options) const {
  if (length_bytes > record_bytes_max()) {
    return fail(internal::too_long(seat_.object(), "push", length_bytes, record_bytes_max()));
  }
  internal::RecordClaim record;
  QUIRE_TRY(wait_for_room(options, [&] { return core_.claim(length_bytes, record); }));
  return Claim(*this, record);
}

bool MpscBytes::Writer::try_push(std::span<const std::byte> record) const noexcept {
  Claim claim = reserve(record.size());
  if (!claim) {
    return false;
  }
  std::ranges::copy(record, claim.bytes().begin());
  claim.commit(record.size());
  return true;
}

Result<void> MpscBytes::Writer::push(std::span<const std::byte> record,
                                     const WaitOptions& options) const {
  Claim claim = QUIRE_TRY(reserve(record.size(), options));
  std::ranges::copy(record, claim.bytes().begin());
  claim.commit(record.size());
  return {};
}

std::optional<std::span<const std::byte>> MpscBytes::Reader::peek() noexcept {
  return look() == internal::TryResult::kDone ? std::optional(core_.record()) : std::nullopt;
}

Result<std::span<const std::byte>> MpscBytes::Reader::peek(const WaitOptions& options) {
  QUIRE_TRY(wait(options));
  const std::optional<std::span<const std::byte>> record = peek();
  if (!record) {
    return fail(internal::corrupt(seat_.object(), "pop"));
  }
  return *record;
}

Result<MpscBytes::Writer> MpscBytes::writer(const Segment& segment, std::string_view name) {
  ObjectRef object = QUIRE_TRY(find(segment, name));
  Writer writer;
  writer.core_ = internal::MpscRecordsWriter(place_of(object), object.participants().self().word());
  QUIRE_TRY(Writer::open(writer, std::move(object)));
  return writer;
}

Result<MpscBytes::Reader> MpscBytes::reader(const Segment& segment, std::string_view name) {
  ObjectRef object = QUIRE_TRY(find(segment, name));
  Reader reader;
  const internal::MpscRecordsPlace place = place_of(object);
  QUIRE_TRY(Reader::open(reader, std::move(object), place));
  return reader;
}

}  // namespace quire::ipc
