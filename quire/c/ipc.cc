// SPDX-License-Identifier: Apache-2.0
#include "quire/c/ipc.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "quire/c/internal/broadcast_records.h"
#include "quire/c/internal/ipc_handles.h"
#include "quire/ipc/event.h"
#include "quire/ipc/mpsc_bytes.h"
#include "quire/ipc/mutex.h"
#include "quire/ipc/semaphore.h"
#include "quire/ipc/spsc_bytes.h"
#include "quire/sys/descriptor.h"

struct quire_ring_writer {
  std::variant<quire::ipc::SpscBytes::Writer, quire::ipc::MpscBytes::Writer> writer;
  quire::ipc::MpscBytes::Claim claim{};  // After its writer, which stays where it is.
  std::optional<std::size_t> reserved_bytes{};
};

struct quire_ring_reader {
  std::variant<quire::ipc::SpscBytes::Reader, quire::ipc::MpscBytes::Reader> reader;
  const quire::ipc::Participants* participants;
  bool has_peeked = false;
};

struct quire_mutex {
  quire::ipc::Mutex mutex;
};

namespace quire::c {
namespace {

using ipc::MpscBytes;
using ipc::ObjectKind;
using ipc::Segment;
using ipc::SpscBytes;

constexpr bool is(ObjectKind kind, std::uint32_t constant) {
  return static_cast<std::uint32_t>(kind) == constant;
}
static_assert(is(ObjectKind::kSpscBytes, QUIRE_OBJECT_SPSC_BYTES) &&
              is(ObjectKind::kMpscBytes, QUIRE_OBJECT_MPSC_BYTES) &&
              is(ObjectKind::kBroadcast, QUIRE_OBJECT_BROADCAST) &&
              is(ObjectKind::kBlackboard, QUIRE_OBJECT_BLACKBOARD) &&
              is(ObjectKind::kMutex, QUIRE_OBJECT_MUTEX) &&
              is(ObjectKind::kEvent, QUIRE_OBJECT_EVENT) &&
              is(ObjectKind::kSemaphore, QUIRE_OBJECT_SEMAPHORE) &&
              is(ObjectKind::kUser, QUIRE_OBJECT_BYTES));
static_assert(static_cast<std::uint32_t>(ipc::OpenMode::kJoin) == QUIRE_SEGMENT_JOIN);

constexpr std::uint64_t kBroadcastRecords = 64;  // As Broadcast's Options have it.

// What the members that only some kinds have say; the others must leave them zero.
Result<ObjectChoice> to_choice(const char* operation, const quire_object& object) {
  QUIRE_TRY(require(operation, {{"name of an object", object.name}}));
  const bool has_records =
      object.kind == QUIRE_OBJECT_BROADCAST || object.kind == QUIRE_OBJECT_BLACKBOARD;
  const bool has_units = object.kind == QUIRE_OBJECT_SEMAPHORE;
  if (object.reserved != 0) {
    return fail(misuse(operation, object.name, "what is reserved is not zero"));
  }
  if (has_records != (object.record_bytes != 0)) {
    return fail(misuse(operation, object.name,
                       "record_bytes is " + std::to_string(object.record_bytes),
                       "broadcasts and blackboards have records, and nothing else has"));
  }
  if (object.units != 0 && !has_units) {
    return fail(misuse(operation, object.name, "units is " + std::to_string(object.units),
                       "only semaphores have units"));
  }
  // Sizes that would overflow when they are rounded up.
  if (object.capacity_bytes > ipc::kSegmentBytesMax ||
      object.capacity_records > ipc::kSegmentBytesMax ||
      object.record_bytes > kBroadcastRecordBytesMax || object.units > ipc::kSemaphoreUnitsMax) {
    return fail(make_error(Errc::kLimit, operation, object.name, "its capacity is too large"));
  }
  return ObjectChoice{.name = object.name,
                      .kind = object.kind,
                      .units = has_units && object.units == 0 ? 1 : object.units,
                      .record_bytes = object.record_bytes};
}

Result<ipc::ObjectSpec> to_spec(const char* operation, const quire_object& object,
                                const ObjectChoice& choice) {
  switch (object.kind) {
    case QUIRE_OBJECT_SPSC_BYTES: {
      SpscBytes::Options options;
      set_unless_zero(options.capacity_bytes, object.capacity_bytes);
      return SpscBytes::object(object.name, options);
    }
    case QUIRE_OBJECT_MPSC_BYTES: {
      MpscBytes::Options options;
      set_unless_zero(options.capacity_bytes, object.capacity_bytes);
      options.capacity_records = object.capacity_records;
      return MpscBytes::object(object.name, options);
    }
    case QUIRE_OBJECT_BROADCAST:
      return broadcast_spec(
          object.name, choice.record_bytes,
          object.capacity_records != 0 ? object.capacity_records : kBroadcastRecords);
    case QUIRE_OBJECT_BLACKBOARD: return blackboard_spec(object.name, choice.record_bytes);
    case QUIRE_OBJECT_MUTEX: return ipc::Mutex::object(object.name);
    case QUIRE_OBJECT_EVENT: return ipc::Event::object(object.name);
    case QUIRE_OBJECT_SEMAPHORE:
      return ipc::Semaphore::object(object.name, {.units = choice.units});
    case QUIRE_OBJECT_BYTES:
      return ipc::ObjectSpec{.name = object.name,
                             .kind = ObjectKind::kUser,
                             .signature = "bytes[" + std::to_string(object.capacity_bytes) + "]",
                             .size_bytes = object.capacity_bytes};
    default:
      return fail(misuse(operation, object.name, "its kind is " + std::to_string(object.kind),
                         "use one of QUIRE_OBJECT_..."));
  }
}

struct LayoutChoice {
  ipc::Layout layout;
  std::vector<ObjectChoice> objects;
};

Result<LayoutChoice> to_layout(const char* operation, const quire_object* objects,
                               std::size_t object_count, const quire_segment_options& options) {
  QUIRE_TRY(require(operation, {{"objects", objects}}));
  if (object_count > ipc::kObjectsMax) {
    return fail(misuse(operation, "object_count", "it is " + std::to_string(object_count),
                       "a segment holds at most " + std::to_string(ipc::kObjectsMax)));
  }
  LayoutChoice choice;
  for (const quire_object& object : std::span(objects, object_count)) {
    choice.objects.push_back(QUIRE_TRY(to_choice(operation, object)));
    choice.layout.add(QUIRE_TRY(to_spec(operation, object, choice.objects.back())));
  }
  if (options.participants_max != 0) {
    choice.layout.set_participants_max(options.participants_max);
  }
  return choice;
}

Result<ipc::SegmentOptions> to_segment_options(const char* operation,
                                               const quire_segment_options& given) {
  ipc::SegmentOptions options;
  options.mode = QUIRE_TRY(to_enum(operation, "mode", given.mode, ipc::OpenMode::kJoin));
  options.directory = given.directory != nullptr ? given.directory : "";
  set_unless_zero(options.permissions, given.permissions);
  options.allow_other_users =
      QUIRE_TRY(to_bool(operation, "allow_other_users", given.allow_other_users));
  set_unless_zero(options.timeout, given.timeout_ms);
  return options;
}

Result<void> reserve(quire_ring_writer& writer, std::size_t length_bytes,
                     const ipc::WaitOptions& wait, void** room) {
  writer.reserved_bytes.reset();
  writer.claim = {};
  if (auto* spsc = std::get_if<SpscBytes::Writer>(&writer.writer)) {
    *room = QUIRE_TRY(spsc->reserve(length_bytes, wait)).data();
  } else {
    writer.claim =
        QUIRE_TRY(std::get<MpscBytes::Writer>(writer.writer).reserve(length_bytes, wait));
    *room = writer.claim.bytes().data();
  }
  writer.reserved_bytes = length_bytes;
  return {};
}

void commit(quire_ring_writer& writer, std::size_t length_bytes) noexcept {
  if (auto* spsc = std::get_if<SpscBytes::Writer>(&writer.writer)) {
    spsc->commit(length_bytes);
  } else {
    writer.claim.commit(length_bytes);
  }
  writer.reserved_bytes.reset();
}

}  // namespace
}  // namespace quire::c

using namespace quire::c;
using quire::Result;
using quire::ipc::MpscBytes;
using quire::ipc::ObjectKind;
using quire::ipc::Segment;
using quire::ipc::SpscBytes;

quire_code quire_segment_open(const char* name, const quire_object* objects, size_t object_count,
                              const quire_segment_options* options, quire_segment** segment,
                              quire_error* error) noexcept {
  const auto make = [&](const char* operation) -> Result<quire_segment> {
    QUIRE_TRY(require(operation, {{"name", name}}));
    const quire_segment_options given = QUIRE_TRY(read_options(operation, "options", options));
    LayoutChoice choice = QUIRE_TRY(to_layout(operation, objects, object_count, given));
    const quire::ipc::SegmentOptions chosen = QUIRE_TRY(to_segment_options(operation, given));
    return quire_segment{QUIRE_TRY(Segment::open(name, choice.layout, chosen)),
                         std::move(choice.objects)};
  };
  return make_handle(__func__, "segment", segment, error, make);
}

quire_code quire_segment_make_anonymous(const quire_object* objects, size_t object_count,
                                        const quire_segment_options* options,
                                        quire_segment** segment, quire_error* error) noexcept {
  const auto make = [&](const char* operation) -> Result<quire_segment> {
    const quire_segment_options given = QUIRE_TRY(read_options(operation, "options", options));
    LayoutChoice choice = QUIRE_TRY(to_layout(operation, objects, object_count, given));
    return quire_segment{QUIRE_TRY(Segment::make_anonymous(choice.layout)),
                         std::move(choice.objects)};
  };
  return make_handle(__func__, "segment", segment, error, make);
}

quire_code quire_segment_adopt(int descriptor, const quire_object* objects, size_t object_count,
                               const quire_segment_options* options, quire_segment** segment,
                               quire_error* error) noexcept {
  const auto make = [&](const char* operation) -> Result<quire_segment> {
    const quire_segment_options given = QUIRE_TRY(read_options(operation, "options", options));
    LayoutChoice choice = QUIRE_TRY(to_layout(operation, objects, object_count, given));
    quire::sys::Outcome<quire::sys::Descriptor> copy = quire::sys::duplicate(descriptor);
    if (!copy) {
      return fail(quire::sys::to_error(copy.error(), operation,
                                       "descriptor " + std::to_string(descriptor)));
    }
    return quire_segment{QUIRE_TRY(Segment::adopt(*std::move(copy), choice.layout)),
                         std::move(choice.objects)};
  };
  return make_handle(__func__, "segment", segment, error, make);
}

int quire_segment_descriptor(const quire_segment* segment) noexcept {
  return segment != nullptr ? segment->segment.descriptor() : -1;
}

uint64_t quire_segment_size(const quire_segment* segment) noexcept {
  return segment != nullptr ? segment->segment.size_bytes() : 0;
}

int32_t quire_segment_was_made_here(const quire_segment* segment) noexcept {
  return segment != nullptr && segment->segment.was_made_here() ? 1 : 0;
}

quire_code quire_segment_get_bytes(const quire_segment* segment, const char* name, void** bytes,
                                   uint64_t* size_bytes, quire_error* error) noexcept {
  return run(__func__, error, [&](const char* operation) -> Result<void> {
    QUIRE_TRY(require(operation, {{"segment", segment},
                                  {"name", name},
                                  {"bytes", static_cast<const void*>(bytes)},
                                  {"size_bytes", size_bytes}}));
    const quire::ipc::ObjectRef object = QUIRE_TRY(segment->segment.find(name, ObjectKind::kUser));
    *bytes = object.bytes().data();
    *size_bytes = object.bytes().size();
    return {};
  });
}

void quire_segment_free(quire_segment* segment) noexcept {
  delete segment;
}

quire_code quire_ring_writer_open(const quire_segment* segment, const char* name,
                                  quire_ring_writer** writer, quire_error* error) noexcept {
  const auto open = [&](const char* /*operation*/) -> Result<quire_ring_writer> {
    if (segment->choice(name).kind == QUIRE_OBJECT_MPSC_BYTES) {
      return quire_ring_writer{QUIRE_TRY(MpscBytes::writer(segment->segment, name))};
    }
    return quire_ring_writer{QUIRE_TRY(SpscBytes::writer(segment->segment, name))};
  };
  return open_object(__func__, segment, name, "writer", writer, error, open);
}

uint64_t quire_ring_writer_record_max(const quire_ring_writer* writer) noexcept {
  const auto longest = [](const auto& kind) { return kind.record_bytes_max(); };
  return writer != nullptr ? std::visit(longest, writer->writer) : 0;
}

quire_code quire_ring_writer_push(quire_ring_writer* writer, const void* record,
                                  size_t length_bytes, uint32_t timeout_ms,
                                  quire_error* error) noexcept {
  return run(__func__, {{"writer", writer}}, error, [&](const char* operation) -> Result<void> {
    const std::span memory = QUIRE_TRY(to_span(operation, "record", record, length_bytes));
    void* room = nullptr;
    QUIRE_TRY(reserve(*writer, length_bytes, to_wait(timeout_ms), &room));
    std::ranges::copy(memory, static_cast<std::byte*>(room));
    commit(*writer, length_bytes);
    return {};
  });
}

quire_code quire_ring_writer_reserve(quire_ring_writer* writer, size_t length_bytes,
                                     uint32_t timeout_ms, void** room,
                                     quire_error* error) noexcept {
  return run(__func__, error, [&](const char* operation) -> Result<void> {
    QUIRE_TRY(require(operation, {{"writer", writer}, {"room", static_cast<const void*>(room)}}));
    *room = nullptr;
    return reserve(*writer, length_bytes, to_wait(timeout_ms), room);
  });
}

quire_code quire_ring_writer_commit(quire_ring_writer* writer, size_t length_bytes,
                                    quire_error* error) noexcept {
  return run(__func__, {{"writer", writer}}, error, [&](const char* operation) -> Result<void> {
    if (!writer->reserved_bytes || length_bytes > *writer->reserved_bytes) {
      return fail(misuse(operation, "length_bytes",
                         "it is more than is reserved: " +
                             std::to_string(writer->reserved_bytes.value_or(0)) + " bytes",
                         "call quire_ring_writer_reserve() before each commit"));
    }
    commit(*writer, length_bytes);
    return {};
  });
}

void quire_ring_writer_free(quire_ring_writer* writer) noexcept {
  delete writer;
}

quire_code quire_ring_reader_open(const quire_segment* segment, const char* name,
                                  quire_ring_reader** reader, quire_error* error) noexcept {
  const auto open = [&](const char* /*operation*/) -> Result<quire_ring_reader> {
    const quire::ipc::Participants* participants = &segment->segment.participants();
    if (segment->choice(name).kind == QUIRE_OBJECT_MPSC_BYTES) {
      return quire_ring_reader{QUIRE_TRY(MpscBytes::reader(segment->segment, name)), participants};
    }
    return quire_ring_reader{QUIRE_TRY(SpscBytes::reader(segment->segment, name)), participants};
  };
  return open_object(__func__, segment, name, "reader", reader, error, open);
}

quire_code quire_ring_reader_peek(quire_ring_reader* reader, uint32_t timeout_ms,
                                  const void** record, size_t* length_bytes,
                                  quire_error* error) noexcept {
  return run(__func__, error, [&](const char* operation) -> Result<void> {
    QUIRE_TRY(require(operation, {{"reader", reader},
                                  {"record", static_cast<const void*>(record)},
                                  {"length_bytes", length_bytes}}));
    const auto peek = [&](auto& kind) { return kind.peek(to_wait(timeout_ms)); };
    const std::span<const std::byte> found = QUIRE_TRY(std::visit(peek, reader->reader));
    reader->has_peeked = true;
    *record = found.data();
    *length_bytes = found.size();
    return {};
  });
}

quire_code quire_ring_reader_release(quire_ring_reader* reader, quire_error* error) noexcept {
  return run(__func__, {{"reader", reader}}, error, [&](const char* operation) -> Result<void> {
    if (!std::exchange(reader->has_peeked, false)) {
      return fail(misuse(operation, "reader", "there is no record to release",
                         "call quire_ring_reader_peek() before each release"));
    }
    std::visit([](auto& kind) { kind.release(); }, reader->reader);
    return {};
  });
}

quire_code quire_ring_reader_arm(quire_ring_reader* reader, const quire_doorbell* bell,
                                 int32_t* is_armed, quire_error* error) noexcept {
  return arm_bell(__func__, "reader", reader, bell, is_armed, error,
                  [&](const quire::ipc::Doorbell& armed) {
                    return std::visit([&](auto& kind) { return kind.arm(armed); }, reader->reader);
                  });
}

void quire_ring_reader_free(quire_ring_reader* reader) noexcept {
  delete reader;
}

quire_code quire_doorbell_open(const quire_segment* segment, quire_doorbell** bell,
                               quire_error* error) noexcept {
  const auto make = [&](const char* operation) -> Result<quire_doorbell> {
    QUIRE_TRY(require(operation, {{"segment", segment}}));
    const quire::ipc::Participants& participants = segment->segment.participants();
    return quire_doorbell{QUIRE_TRY(quire::ipc::Doorbell::open(participants)), &participants};
  };
  return make_handle(__func__, "bell", bell, error, make);
}

int quire_doorbell_descriptor(const quire_doorbell* bell) noexcept {
  return bell != nullptr ? bell->bell.fd() : -1;
}

void quire_doorbell_drain(const quire_doorbell* bell) noexcept {
  if (bell != nullptr) {
    bell->bell.drain();
  }
}

void quire_doorbell_free(quire_doorbell* bell) noexcept {
  delete bell;
}

quire_code quire_mutex_open(const quire_segment* segment, const char* name, quire_mutex** mutex,
                            quire_error* error) noexcept {
  const auto open = [&](const char* /*operation*/) -> Result<quire_mutex> {
    return quire_mutex{QUIRE_TRY(quire::ipc::Mutex::open(segment->segment, name))};
  };
  return open_object(__func__, segment, name, "mutex", mutex, error, open);
}

quire_code quire_mutex_lock(quire_mutex* mutex, uint32_t timeout_ms, int32_t* owner_died,
                            quire_error* error) noexcept {
  return run(__func__, error, [&](const char* operation) -> Result<void> {
    QUIRE_TRY(require(operation, {{"mutex", mutex}, {"owner_died", owner_died}}));
    const quire::ipc::Ownership got = QUIRE_TRY(mutex->mutex.lock(to_wait(timeout_ms)));
    *owner_died = got == quire::ipc::Ownership::kOwnerDied ? 1 : 0;
    return {};
  });
}

quire_code quire_mutex_mark_consistent(quire_mutex* mutex, quire_error* error) noexcept {
  return run(__func__, {{"mutex", mutex}}, error, [&] { return mutex->mutex.mark_consistent(); });
}

quire_code quire_mutex_unlock(quire_mutex* mutex, quire_error* error) noexcept {
  return run(__func__, {{"mutex", mutex}}, error, [&] { return mutex->mutex.unlock(); });
}

quire_code quire_mutex_reclaim(quire_mutex* mutex, quire_error* error) noexcept {
  return run(__func__, {{"mutex", mutex}}, error, [&] { return mutex->mutex.reclaim(); });
}

void quire_mutex_free(quire_mutex* mutex) noexcept {
  delete mutex;
}
