// SPDX-License-Identifier: Apache-2.0
#include "quire/c/broadcast.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "quire/c/internal/broadcast_records.h"
#include "quire/c/internal/ipc_handles.h"

struct quire_broadcast_writer {
  quire::c::BroadcastRecordWriter writer;
  bool has_begun = false;
};

struct quire_broadcast_reader {
  quire::c::BroadcastRecordReader reader;
  const quire::ipc::Participants* participants;
  bool has_peeked = false;
};

struct quire_blackboard_writer {
  quire::c::BroadcastRecordWriter writer;
};

struct quire_blackboard_reader {
  quire::c::BlackboardRecordReader reader;
  const quire::ipc::Participants* participants;
};

namespace quire::c {
namespace {

static_assert(static_cast<std::uint32_t>(BroadcastRecordReader::From::kOldest) ==
              QUIRE_FROM_OLDEST);

// Errors: EINVAL for NULL, and for another length than the records have.
template <typename Handle>
Result<void> check_record(const char* operation, const Handle& handle, const char* argument,
                          const void* memory, std::size_t length_bytes) {
  QUIRE_TRY(require(operation, {{argument, memory}}));
  if (length_bytes != handle.record_bytes()) {
    return fail(misuse(operation, "length_bytes", "it is " + std::to_string(length_bytes),
                       "a record has " + std::to_string(handle.record_bytes()) + " bytes"));
  }
  return {};
}

// Of another kind nothing is known but that there is something; its kind is what is refused.
std::uint64_t record_bytes_of(const quire_segment& segment, const char* name) {
  return std::max<std::uint64_t>(segment.choice(name).record_bytes, 1);
}

quire_broadcast_news to_c(const ipc::News& news) noexcept {
  return {.struct_size = 0, .reserved = 0, .number = news.number, .missed = news.missed};
}

}  // namespace
}  // namespace quire::c

using namespace quire::c;
using quire::Result;
using quire::ipc::ObjectKind;

quire_code quire_broadcast_writer_open(const quire_segment* segment, const char* name,
                                       quire_broadcast_writer** writer,
                                       quire_error* error) noexcept {
  const auto open = [&](const char* /*operation*/) -> Result<quire_broadcast_writer> {
    return quire_broadcast_writer{QUIRE_TRY(BroadcastRecordWriter::open(
        segment->segment, name, ObjectKind::kBroadcast, record_bytes_of(*segment, name)))};
  };
  return open_object(__func__, segment, name, "writer", writer, error, open);
}

quire_code quire_broadcast_writer_publish(quire_broadcast_writer* writer, const void* record,
                                          size_t length_bytes, quire_error* error) noexcept {
  return run(__func__, {{"writer", writer}}, error, [&](const char* operation) -> Result<void> {
    QUIRE_TRY(check_record(operation, writer->writer, "record", record, length_bytes));
    writer->has_begun = false;
    writer->writer.publish(record);
    return {};
  });
}

quire_code quire_broadcast_writer_begin(quire_broadcast_writer* writer, void** room,
                                        quire_error* error) noexcept {
  return run(__func__, {{"writer", writer}, {"room", static_cast<const void*>(room)}}, error,
             [&]() -> Result<void> {
               *room = writer->writer.begin();
               writer->has_begun = true;
               return {};
             });
}

quire_code quire_broadcast_writer_commit(quire_broadcast_writer* writer,
                                         quire_error* error) noexcept {
  return run(__func__, {{"writer", writer}}, error, [&](const char* operation) -> Result<void> {
    if (!std::exchange(writer->has_begun, false)) {
      return quire::fail(misuse(operation, "writer", "there is no record to commit",
                                "call quire_broadcast_writer_begin() before each commit"));
    }
    writer->writer.commit();
    return {};
  });
}

void quire_broadcast_writer_free(quire_broadcast_writer* writer) noexcept {
  delete writer;
}

quire_code quire_broadcast_reader_open(const quire_segment* segment, const char* name,
                                       uint32_t from, quire_broadcast_reader** reader,
                                       quire_error* error) noexcept {
  const auto open = [&](const char* operation) -> Result<quire_broadcast_reader> {
    const auto first =
        QUIRE_TRY(to_enum(operation, "from", from, BroadcastRecordReader::From::kOldest));
    return quire_broadcast_reader{
        QUIRE_TRY(BroadcastRecordReader::open(segment->segment, name,
                                              record_bytes_of(*segment, name), first)),
        &segment->segment.participants()};
  };
  return open_object(__func__, segment, name, "reader", reader, error, open);
}

quire_code quire_broadcast_reader_read(quire_broadcast_reader* reader, void* record,
                                       size_t length_bytes, uint32_t timeout_ms,
                                       quire_broadcast_news* news, quire_error* error) noexcept {
  return run(__func__, {{"reader", reader}}, error, [&](const char* operation) -> Result<void> {
    QUIRE_TRY(check_record(operation, reader->reader, "record", record, length_bytes));
    QUIRE_TRY(check_optional_results(operation, "news", news));
    reader->has_peeked = false;
    const quire::ipc::News read =
        QUIRE_TRY(reader->reader.read(static_cast<std::byte*>(record), to_wait(timeout_ms)));
    write_results(to_c(read), news);
    return {};
  });
}

quire_code quire_broadcast_reader_peek(quire_broadcast_reader* reader, uint32_t timeout_ms,
                                       const void** record, quire_error* error) noexcept {
  return run(__func__, {{"reader", reader}, {"record", static_cast<const void*>(record)}}, error,
             [&]() -> Result<void> {
               *record = QUIRE_TRY(reader->reader.peek(to_wait(timeout_ms)));
               reader->has_peeked = true;
               return {};
             });
}

quire_code quire_broadcast_reader_finish(quire_broadcast_reader* reader, int32_t* was_whole,
                                         quire_broadcast_news* news, quire_error* error) noexcept {
  return run(__func__, {{"reader", reader}, {"was_whole", was_whole}}, error,
             [&](const char* operation) -> Result<void> {
               QUIRE_TRY(check_optional_results(operation, "news", news));
               if (!std::exchange(reader->has_peeked, false)) {
                 return quire::fail(misuse(operation, "reader", "there is no record to finish",
                                           "call quire_broadcast_reader_peek() before each one"));
               }
               const std::optional<quire::ipc::News> seen = reader->reader.finish();
               *was_whole = seen ? 1 : 0;
               write_results(to_c(seen.value_or(quire::ipc::News{})), news);
               return {};
             });
}

quire_code quire_broadcast_reader_arm(quire_broadcast_reader* reader, const quire_doorbell* bell,
                                      int32_t* is_armed, quire_error* error) noexcept {
  return arm_bell(__func__, "reader", reader, bell, is_armed, error,
                  [&](const quire::ipc::Doorbell& armed) { return reader->reader.arm(armed); });
}

void quire_broadcast_reader_free(quire_broadcast_reader* reader) noexcept {
  delete reader;
}

quire_code quire_blackboard_writer_open(const quire_segment* segment, const char* name,
                                        quire_blackboard_writer** writer,
                                        quire_error* error) noexcept {
  const auto open = [&](const char* /*operation*/) -> Result<quire_blackboard_writer> {
    return quire_blackboard_writer{QUIRE_TRY(BroadcastRecordWriter::open(
        segment->segment, name, ObjectKind::kBlackboard, record_bytes_of(*segment, name)))};
  };
  return open_object(__func__, segment, name, "writer", writer, error, open);
}

quire_code quire_blackboard_writer_write(quire_blackboard_writer* writer, const void* value,
                                         size_t length_bytes, quire_error* error) noexcept {
  return run(__func__, {{"writer", writer}}, error, [&](const char* operation) -> Result<void> {
    QUIRE_TRY(check_record(operation, writer->writer, "value", value, length_bytes));
    writer->writer.publish(value);
    return {};
  });
}

void quire_blackboard_writer_free(quire_blackboard_writer* writer) noexcept {
  delete writer;
}

quire_code quire_blackboard_reader_open(const quire_segment* segment, const char* name,
                                        quire_blackboard_reader** reader,
                                        quire_error* error) noexcept {
  const auto open = [&](const char* /*operation*/) -> Result<quire_blackboard_reader> {
    return quire_blackboard_reader{QUIRE_TRY(BlackboardRecordReader::open(
                                       segment->segment, name, record_bytes_of(*segment, name))),
                                   &segment->segment.participants()};
  };
  return open_object(__func__, segment, name, "reader", reader, error, open);
}

quire_code quire_blackboard_reader_read(quire_blackboard_reader* reader, void* value,
                                        size_t length_bytes, uint64_t* version,
                                        quire_error* error) noexcept {
  return run(__func__, {{"reader", reader}, {"version", version}}, error,
             [&](const char* operation) -> Result<void> {
               QUIRE_TRY(check_record(operation, reader->reader, "value", value, length_bytes));
               *version = QUIRE_TRY(reader->reader.read(static_cast<std::byte*>(value)));
               return {};
             });
}

quire_code quire_blackboard_reader_wait(quire_blackboard_reader* reader, uint32_t timeout_ms,
                                        quire_error* error) noexcept {
  return run(__func__, {{"reader", reader}}, error,
             [&] { return reader->reader.wait(to_wait(timeout_ms)); });
}

quire_code quire_blackboard_reader_arm(quire_blackboard_reader* reader, const quire_doorbell* bell,
                                       int32_t* is_armed, quire_error* error) noexcept {
  return arm_bell(__func__, "reader", reader, bell, is_armed, error,
                  [&](const quire::ipc::Doorbell& armed) { return reader->reader.arm(armed); });
}

void quire_blackboard_reader_free(quire_blackboard_reader* reader) noexcept {
  delete reader;
}
