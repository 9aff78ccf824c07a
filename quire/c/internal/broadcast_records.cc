// SPDX-License-Identifier: Apache-2.0
#include "quire/c/internal/broadcast_records.h"

#include "quire/ipc/segment.h"

namespace quire::c {
namespace {

using ipc::ObjectKind;

ipc::internal::ElementType element_of(std::uint64_t record_bytes) {
  return {.name = {}, .size_bytes = record_bytes, .alignment_bytes = 8};
}

ipc::ObjectSpec spec_of(ObjectKind kind, const std::string& name, std::uint64_t record_bytes,
                        std::uint64_t count) {
  const ipc::internal::ElementType element = element_of(record_bytes);
  return ipc::internal::ring_spec(name, element, ipc::internal::broadcast_shape(kind, element),
                                  count);
}

}  // namespace

ipc::ObjectSpec broadcast_spec(const std::string& name, std::uint64_t record_bytes,
                               std::uint64_t capacity_records) {
  return spec_of(ObjectKind::kBroadcast, name, record_bytes,
                 ipc::internal::round_capacity(capacity_records));
}

ipc::ObjectSpec blackboard_spec(const std::string& name, std::uint64_t record_bytes) {
  return spec_of(ObjectKind::kBlackboard, name, record_bytes, ipc::internal::kBlackboardValues);
}

Result<BroadcastRecordWriter> BroadcastRecordWriter::open(const ipc::Segment& segment,
                                                          const std::string& name, ObjectKind kind,
                                                          std::uint64_t record_bytes) {
  BroadcastRecordWriter writer;
  QUIRE_TRY(BroadcastWriterHandle::open(writer, segment, name, kind, element_of(record_bytes)));
  writer.record_bytes_ = record_bytes;
  return writer;
}

Result<BroadcastRecordReader> BroadcastRecordReader::open(const ipc::Segment& segment,
                                                          const std::string& name,
                                                          std::uint64_t record_bytes, From from) {
  BroadcastRecordReader reader;
  QUIRE_TRY(BroadcastReaderHandle::open(reader, segment, name, ObjectKind::kBroadcast,
                                        element_of(record_bytes)));
  reader.record_bytes_ = record_bytes;
  reader.start(from);
  return reader;
}

Result<const std::byte*> BroadcastRecordReader::peek(const ipc::WaitOptions& options) {
  for (int turn = 0; turn < ipc::internal::kReaderTurnsMax; ++turn) {
    if (const std::byte* record = peek_now()) {
      return record;
    }
    QUIRE_TRY(wait_for_next(options));
  }
  return fail(ipc::internal::overtaken(seat_.object(), "read"));
}

Result<BlackboardRecordReader> BlackboardRecordReader::open(const ipc::Segment& segment,
                                                            const std::string& name,
                                                            std::uint64_t record_bytes) {
  BlackboardRecordReader reader;
  QUIRE_TRY(BroadcastReaderHandle::open(reader, segment, name, ObjectKind::kBlackboard,
                                        element_of(record_bytes)));
  reader.record_bytes_ = record_bytes;
  return reader;
}

}  // namespace quire::c
