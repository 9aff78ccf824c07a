// SPDX-License-Identifier: Apache-2.0
#include "quire/c/internal/broadcast_records.h"

#include "quire/ipc/segment.h"

namespace quire::c {
namespace {

using ipc::ObjectKind;
using ipc::internal::Sight;

constexpr std::size_t kSlotAlignment = 64;
constexpr std::size_t kSequenceBytes = 8;
constexpr std::uint64_t kBlackboardValues = 4;  // As Blackboard has.
// However fast the writer is, a reader gives up for the moment, and does not hang.
constexpr int kTurnsMax = 1000;

ipc::internal::ElementType element_of(std::uint64_t record_bytes) {
  return {.name = {}, .size_bytes = record_bytes, .alignment_bytes = 8};
}

ipc::internal::RingShape shape_of(ObjectKind kind, std::uint64_t record_bytes) {
  const std::size_t words_bytes = (record_bytes + 7) & ~std::size_t{7};
  return {
      .kind = kind,
      .control_bytes = sizeof(ipc::internal::BroadcastControl),
      .stride_bytes = (kSequenceBytes + words_bytes + kSlotAlignment - 1) & ~(kSlotAlignment - 1),
      .alignment_bytes = kSlotAlignment};
}

struct Found {
  ipc::ObjectRef object;
  ipc::internal::BroadcastPlace place;
};

Result<Found> find(const ipc::Segment& segment, const std::string& name, ObjectKind kind,
                   std::uint64_t record_bytes) {
  ipc::ObjectRef object =
      QUIRE_TRY(ipc::internal::find_ring(segment, name, kind, element_of(record_bytes)));
  const ipc::internal::RingShape shape = shape_of(kind, record_bytes);
  const ipc::internal::RingPlace slots = ipc::internal::ring_place(object, shape);
  return Found{.object = object,
               .place = {.control = reinterpret_cast<ipc::internal::BroadcastControl*>(
                             object.bytes().data()),
                         .slots = slots.elements,
                         .slot_count = slots.capacity,
                         .stride_bytes = shape.stride_bytes,
                         .payload_offset_bytes = kSequenceBytes}};
}

}  // namespace

ipc::ObjectSpec broadcast_spec(const std::string& name, std::uint64_t record_bytes,
                               std::uint64_t capacity_records) {
  return ipc::internal::ring_spec(name, element_of(record_bytes),
                                  shape_of(ObjectKind::kBroadcast, record_bytes),
                                  ipc::internal::round_capacity(capacity_records));
}

ipc::ObjectSpec blackboard_spec(const std::string& name, std::uint64_t record_bytes) {
  return ipc::internal::ring_spec(name, element_of(record_bytes),
                                  shape_of(ObjectKind::kBlackboard, record_bytes),
                                  kBlackboardValues);
}

Result<BroadcastRecordWriter> BroadcastRecordWriter::open(const ipc::Segment& segment,
                                                          const std::string& name, ObjectKind kind,
                                                          std::uint64_t record_bytes) {
  Found found = QUIRE_TRY(find(segment, name, kind, record_bytes));
  BroadcastRecordWriter writer;
  QUIRE_TRY(BroadcastWriterHandle::open(writer, std::move(found.object), found.place));
  writer.record_bytes_ = record_bytes;
  return writer;
}

Result<BroadcastRecordReader> BroadcastRecordReader::open(const ipc::Segment& segment,
                                                          const std::string& name,
                                                          std::uint64_t record_bytes, From from) {
  Found found = QUIRE_TRY(find(segment, name, ObjectKind::kBroadcast, record_bytes));
  BroadcastRecordReader reader;
  QUIRE_TRY(BroadcastReaderHandle::open(reader, std::move(found.object), found.place));
  reader.record_bytes_ = record_bytes;
  const std::uint64_t tail = reader.core_.tail();
  reader.cursor_ = from == From::kNewest ? tail : reader.core_.oldest(tail);
  return reader;
}

// Moves the cursor to where something can be seen.
Sight BroadcastRecordReader::seek() noexcept {
  const Sight sight = core_.look(cursor_);
  if (sight != Sight::kGone) {
    return sight;
  }
  const std::uint64_t next = core_.after_gone(cursor_);
  missed_ += next - cursor_;
  cursor_ = next;
  return core_.look(cursor_);
}

Result<const std::byte*> BroadcastRecordReader::peek(const ipc::WaitOptions& options) {
  for (int turn = 0; turn < kTurnsMax; ++turn) {
    const Sight sight = seek();
    if (sight == Sight::kWhole) {
      return core_.payload(cursor_);
    }
    if (sight == Sight::kCorrupt) {
      return fail(ipc::internal::corrupt(seat_.object(), "read"));
    }
    QUIRE_TRY(wait_for(cursor_, options));  // Comes back at once from what is gone.
  }
  return fail(ipc::internal::overtaken(seat_.object(), "read"));
}

std::optional<BroadcastNews> BroadcastRecordReader::finish() noexcept {
  if (!core_.is_still(cursor_)) {
    return std::nullopt;
  }
  const BroadcastNews news{.number = cursor_, .missed = std::exchange(missed_, 0)};
  ++cursor_;
  return news;
}

Result<BroadcastNews> BroadcastRecordReader::read(std::byte* record,
                                                  const ipc::WaitOptions& options) {
  for (int turn = 0; turn < kTurnsMax; ++turn) {
    const std::byte* bytes = QUIRE_TRY(peek(options));
    ipc::internal::copy_words_out(record, bytes, record_bytes_);
    if (const std::optional<BroadcastNews> news = finish()) {
      return *news;
    }
  }
  return fail(ipc::internal::overtaken(seat_.object(), "read"));
}

Result<BlackboardRecordReader> BlackboardRecordReader::open(const ipc::Segment& segment,
                                                            const std::string& name,
                                                            std::uint64_t record_bytes) {
  Found found = QUIRE_TRY(find(segment, name, ObjectKind::kBlackboard, record_bytes));
  BlackboardRecordReader reader;
  QUIRE_TRY(BroadcastReaderHandle::open(reader, std::move(found.object), found.place));
  reader.record_bytes_ = record_bytes;
  return reader;
}

Result<std::uint64_t> BlackboardRecordReader::read(std::byte* value) {
  for (int turn = 0; turn < kTurnsMax; ++turn) {
    std::uint64_t tail = core_.tail();
    if (core_.look(tail) == Sight::kWhole) {
      ++tail;  // Its writer has not said so yet, or has died before it could.
    }
    if (tail == 0) {
      return std::uint64_t{0};
    }
    const Sight sight = core_.look(tail - 1);
    if (tail < version_ || sight == Sight::kCorrupt) {
      return fail(ipc::internal::corrupt(seat_.object(), "read"));
    }
    if (sight != Sight::kWhole) {
      continue;  // It was written over since we asked which is the latest.
    }
    ipc::internal::copy_words_out(value, core_.payload(tail - 1), record_bytes_);
    if (core_.is_still(tail - 1)) {
      version_ = tail;
      return tail;
    }
  }
  return fail(ipc::internal::overtaken(seat_.object(), "read"));
}

}  // namespace quire::c
