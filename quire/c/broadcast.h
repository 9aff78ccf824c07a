// SPDX-License-Identifier: Apache-2.0
//
// broadcast: one writer who never waits, and any number of readers of what it says, in a segment of
// quire/c/ipc.h. A broadcast keeps the last records, and tells each reader how many it was too slow
// for; a blackboard has the latest value alone. quire/ipc/broadcast.h and blackboard.h are the same
// in C++: for a T of that size with alignof(T) == 8, whose object() is given no name of the type.
//
//   const quire_object objects[] = {
//       {.name = "frames", .kind = QUIRE_OBJECT_BROADCAST, .record_bytes = sizeof(struct frame)},
//       {.name = "config", .kind = QUIRE_OBJECT_BLACKBOARD, .record_bytes = sizeof(struct
//       config)}};
//
//   quire_broadcast_writer_publish(writer, &frame, sizeof frame, &error);
//
//   quire_broadcast_news news = {.struct_size = sizeof news};                        // elsewhere
//   quire_broadcast_reader_read(reader, &frame, sizeof frame, 1000, &news, &error);
//   if (news.missed != 0) ...
//
// For every reader, records read + missed = records published since it began. A copy is always of
// one record, whole. A writer that dies leaves nothing half said: the next one goes on after it.
// Readers can be stopped or killed as they like; nobody waits for them.
//
// Timeouts:      as ipc.h.
// Thread-safety: a writer, a reader: one thread at a time.
// Errors:        of opening: -EBUSY for a second writer; -ENOENT; WRONG_KIND. EINVAL for a length
//                that is not the record's. CORRUPT for sequences that no writer makes.
#pragma once

#include "quire/c/ipc.h"

#if defined(__cplusplus)
extern "C" {
#endif

typedef struct quire_broadcast_writer quire_broadcast_writer;
typedef struct quire_broadcast_reader quire_broadcast_reader;
typedef struct quire_blackboard_writer quire_blackboard_writer;
typedef struct quire_blackboard_reader quire_blackboard_reader;

// --- Broadcasts ----------------------------------------------------------------------------------

QUIRE_API quire_code quire_broadcast_writer_open(const quire_segment* segment, const char* name,
                                                 quire_broadcast_writer** writer,
                                                 quire_error* error) QUIRE_NOEXCEPT;
// Copies a record in; it takes the place of the oldest.
QUIRE_API quire_code quire_broadcast_writer_publish(quire_broadcast_writer* writer,
                                                    const void* record, size_t length_bytes,
                                                    quire_error* error) QUIRE_NOEXCEPT;
// The same in place: room for the next record, which readers do not see before the commit. What
// stands there is an old one. Errors: of commit: EINVAL without a begin.
QUIRE_API quire_code quire_broadcast_writer_begin(quire_broadcast_writer* writer, void** room,
                                                  quire_error* error) QUIRE_NOEXCEPT;
QUIRE_API quire_code quire_broadcast_writer_commit(quire_broadcast_writer* writer,
                                                   quire_error* error) QUIRE_NOEXCEPT;
// Gives the place back.
QUIRE_API void quire_broadcast_writer_free(quire_broadcast_writer* writer) QUIRE_NOEXCEPT;

// `from`: the first record that is read.
#define QUIRE_FROM_NEWEST UINT32_C(0)  // The first that is published from now on.
#define QUIRE_FROM_OLDEST UINT32_C(1)  // The oldest that is left.

QUIRE_API quire_code quire_broadcast_reader_open(const quire_segment* segment, const char* name,
                                                 uint32_t from, quire_broadcast_reader** reader,
                                                 quire_error* error) QUIRE_NOEXCEPT;

// What comes with a record.
typedef struct quire_broadcast_news {
  uint32_t struct_size;
  uint32_t reserved;
  uint64_t number;  // Of the record, from 0 on.
  uint64_t missed;  // Between the one read before and this one.
} quire_broadcast_news;

// Copies the next record; `news` may be NULL. Errors: -ETIMEDOUT; -EAGAIN when the writer went
// round again each time that it was tried; CORRUPT, for good.
QUIRE_API quire_code quire_broadcast_reader_read(quire_broadcast_reader* reader, void* record,
                                                 size_t length_bytes, uint32_t timeout_ms,
                                                 quire_broadcast_news* news,
                                                 quire_error* error) QUIRE_NOEXCEPT;
// The same in place, without a copy: bytes that the writer may be changing. Use nothing of what was
// made of them unless finish() says `was_whole`, and follow no index in them. With 0, peek again.
// Errors: of peek: as read(); of finish: EINVAL when nothing was peeked at.
QUIRE_API quire_code quire_broadcast_reader_peek(quire_broadcast_reader* reader,
                                                 uint32_t timeout_ms, const void** record,
                                                 quire_error* error) QUIRE_NOEXCEPT;
QUIRE_API quire_code quire_broadcast_reader_finish(quire_broadcast_reader* reader,
                                                   int32_t* was_whole, quire_broadcast_news* news,
                                                   quire_error* error) QUIRE_NOEXCEPT;
// See quire_doorbell_open().
QUIRE_API quire_code quire_broadcast_reader_arm(quire_broadcast_reader* reader,
                                                const quire_doorbell* bell, int32_t* is_armed,
                                                quire_error* error) QUIRE_NOEXCEPT;
QUIRE_API void quire_broadcast_reader_free(quire_broadcast_reader* reader) QUIRE_NOEXCEPT;

// --- Blackboards ---------------------------------------------------------------------------------

QUIRE_API quire_code quire_blackboard_writer_open(const quire_segment* segment, const char* name,
                                                  quire_blackboard_writer** writer,
                                                  quire_error* error) QUIRE_NOEXCEPT;
QUIRE_API quire_code quire_blackboard_writer_write(quire_blackboard_writer* writer,
                                                   const void* value, size_t length_bytes,
                                                   quire_error* error) QUIRE_NOEXCEPT;
// Gives the place back; the value stays.
QUIRE_API void quire_blackboard_writer_free(quire_blackboard_writer* writer) QUIRE_NOEXCEPT;

QUIRE_API quire_code quire_blackboard_reader_open(const quire_segment* segment, const char* name,
                                                  quire_blackboard_reader** reader,
                                                  quire_error* error) QUIRE_NOEXCEPT;
// Copies the latest value. `version` gets how often there has been one: it never falls, and is 0,
// and nothing is copied, before the first. Errors: -EAGAIN when the writer was faster each time.
QUIRE_API quire_code quire_blackboard_reader_read(quire_blackboard_reader* reader, void* value,
                                                  size_t length_bytes, uint64_t* version,
                                                  quire_error* error) QUIRE_NOEXCEPT;
// Until there is a later value than the one that was read. Errors: -ETIMEDOUT; CORRUPT.
QUIRE_API quire_code quire_blackboard_reader_wait(quire_blackboard_reader* reader,
                                                  uint32_t timeout_ms,
                                                  quire_error* error) QUIRE_NOEXCEPT;
QUIRE_API quire_code quire_blackboard_reader_arm(quire_blackboard_reader* reader,
                                                 const quire_doorbell* bell, int32_t* is_armed,
                                                 quire_error* error) QUIRE_NOEXCEPT;
QUIRE_API void quire_blackboard_reader_free(quire_blackboard_reader* reader) QUIRE_NOEXCEPT;

#if defined(__cplusplus)
}  // extern "C"
#endif
