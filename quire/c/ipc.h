// SPDX-License-Identifier: Apache-2.0
//
// ipc: memory that processes share by name, and what they exchange in it: records through rings,
// bytes under a mutex; and a descriptor for who waits for several things at once. Broadcasts and
// blackboards are in quire/c/broadcast.h, events and semaphores in quire/c/event.h.
// quire/ipc/segment.h, spsc_bytes.h, mpsc_bytes.h, mutex.h and doorbell.h are the same in C++, and
// programs of both languages can use one segment.
//
//   const quire_object objects[] = {
//       {.name = "ticks", .kind = QUIRE_OBJECT_SPSC_BYTES, .capacity_bytes = 1 << 20}};
//   quire_segment* segment;
//   quire_ring_writer* writer;
//   quire_segment_open("prices", objects, 1, NULL, &segment, &error);   // who comes first makes it
//   quire_ring_writer_open(segment, "ticks", &writer, &error);
//   quire_ring_writer_push(writer, &tick, sizeof tick, QUIRE_MS_FOREVER, &error);
//
//   quire_ring_reader_peek(reader, QUIRE_MS_FOREVER, &bytes, &length, &error);   // elsewhere
//   use(bytes, length);
//   quire_ring_reader_release(reader, &error);
//
// A peer that dies, at any instant, harms nobody: what it had published is read, what it had not is
// not there; its place is free for the next one; its mutex tells who comes after it.
//
// Timeouts:      0 looks and does not wait; QUIRE_MS_FOREVER. What is not to be had in time is
//                -ETIMEDOUT.
// Thread-safety: segment, mutex, doorbell: any thread. A ring's writer and reader: one thread at a
//                time.
// Fork:          a child opens the segment again; what it has of the parent's it only frees.
#pragma once

#include "quire/c/common.h"

#if defined(__cplusplus)
extern "C" {
#endif

typedef struct quire_segment quire_segment;
typedef struct quire_ring_writer quire_ring_writer;
typedef struct quire_ring_reader quire_ring_reader;
typedef struct quire_mutex quire_mutex;
typedef struct quire_doorbell quire_doorbell;

// --- Segments ------------------------------------------------------------------------------------

// `kind`
#define QUIRE_OBJECT_SPSC_BYTES UINT32_C(2)  // Records, one writer, one reader.
#define QUIRE_OBJECT_MPSC_BYTES UINT32_C(4)  // Records, many writers, one reader.
#define QUIRE_OBJECT_BROADCAST UINT32_C(5)   // Records of one size, one writer, any readers.
#define QUIRE_OBJECT_BLACKBOARD UINT32_C(6)  // The latest of them alone.
#define QUIRE_OBJECT_MUTEX UINT32_C(7)
#define QUIRE_OBJECT_EVENT UINT32_C(8)
#define QUIRE_OBJECT_SEMAPHORE UINT32_C(9)
// Memory of your own, zeros at first. In C++ an ObjectSpec of ObjectKind::kUser with the signature
// "bytes[N]", alignment 64.
#define QUIRE_OBJECT_BYTES UINT32_C(1000)

// What a segment holds. Everybody who opens it names the same objects in the same order. It will
// never have other members.
typedef struct quire_object {
  const char* name;  // 1 to 31 of A-Z, a-z, 0-9, '.', '_', '-'.
  uint32_t kind;
  uint32_t units;             // Of QUIRE_OBJECT_SEMAPHORE, at most 4096 (0: 1); of others 0.
  uint64_t capacity_bytes;    // Of a ring (0: 1 MiB), or of QUIRE_OBJECT_BYTES.
  uint64_t capacity_records;  // Of QUIRE_OBJECT_MPSC_BYTES (0: one for each 64 bytes), or of
                              // QUIRE_OBJECT_BROADCAST (0: 64).
  uint64_t record_bytes;      // Of QUIRE_OBJECT_BROADCAST, QUIRE_OBJECT_BLACKBOARD; of others 0.
  uint64_t reserved;
} quire_object;

// `mode`
#define QUIRE_SEGMENT_CREATE_OR_JOIN UINT32_C(0)
#define QUIRE_SEGMENT_CREATE UINT32_C(1)  // EEXIST when it is there.
#define QUIRE_SEGMENT_JOIN UINT32_C(2)    // ENOENT when it is not.

typedef struct quire_segment_options {
  uint32_t struct_size;
  uint32_t mode;
  uint32_t permissions;        // 0: 0600. More needs the next.
  uint32_t allow_other_users;  // 1: trust whoever may write.
  uint32_t participants_max;   // Processes at once. 0: 64.
  uint32_t timeout_ms;         // For one that has begun to make it. 0: 10 s.
  const char* directory;       // NULL: $QUIRE_IPC_DIR, else /dev/shm/quire-UID.
} quire_segment_options;

// Errors: CHANGED for other objects, with both descriptions; LIMIT, -ENOSPC for no memory; -EACCES
//         for another user's; -EEXIST, -ENOENT by mode; EINVAL for names; CORRUPT, WRONG_KIND.
// Blocks: while somebody else makes it.
QUIRE_API quire_code quire_segment_open(const char* name, const quire_object* objects,
                                        size_t object_count, const quire_segment_options* options,
                                        quire_segment** segment, quire_error* error) QUIRE_NOEXCEPT;
// Without a name, gone with the last who has it: its descriptor travels over a UNIX socket, or to a
// child. Of the options participants_max alone counts.
QUIRE_API quire_code quire_segment_make_anonymous(const quire_object* objects, size_t object_count,
                                                  const quire_segment_options* options,
                                                  quire_segment** segment,
                                                  quire_error* error) QUIRE_NOEXCEPT;
// One that came so. The descriptor stays the caller's. Errors: SEALED when others could shorten it.
QUIRE_API quire_code quire_segment_adopt(int descriptor, const quire_object* objects,
                                         size_t object_count, const quire_segment_options* options,
                                         quire_segment** segment,
                                         quire_error* error) QUIRE_NOEXCEPT;

// Borrowed; -1 for NULL.
QUIRE_API int quire_segment_descriptor(const quire_segment* segment) QUIRE_NOEXCEPT;
QUIRE_API uint64_t quire_segment_size(const quire_segment* segment) QUIRE_NOEXCEPT;
// 1 when it was this handle's opening that made it.
QUIRE_API int32_t quire_segment_was_made_here(const quire_segment* segment) QUIRE_NOEXCEPT;
// The memory of a QUIRE_OBJECT_BYTES, valid as long as the segment.
// Errors: -ENOENT; WRONG_KIND.
QUIRE_API quire_code quire_segment_get_bytes(const quire_segment* segment, const char* name,
                                             void** bytes, uint64_t* size_bytes,
                                             quire_error* error) QUIRE_NOEXCEPT;
// The name stays, and so does what is open of it.
QUIRE_API void quire_segment_free(quire_segment* segment) QUIRE_NOEXCEPT;

// --- Rings ---------------------------------------------------------------------------------------

// Errors: -EBUSY when somebody alive has the place; -ENOENT; WRONG_KIND for what is no ring.
QUIRE_API quire_code quire_ring_writer_open(const quire_segment* segment, const char* name,
                                            quire_ring_writer** writer,
                                            quire_error* error) QUIRE_NOEXCEPT;
// The longest record.
QUIRE_API uint64_t quire_ring_writer_record_max(const quire_ring_writer* writer) QUIRE_NOEXCEPT;
// Copies a record in. Errors: -ETIMEDOUT; LIMIT for one that is too long; CORRUPT.
QUIRE_API quire_code quire_ring_writer_push(quire_ring_writer* writer, const void* record,
                                            size_t length_bytes, uint32_t timeout_ms,
                                            quire_error* error) QUIRE_NOEXCEPT;
// The same in place: room for a record, which nobody sees before the commit of its first bytes.
// A second reserve() replaces the first. Errors: as push(); commit: EINVAL without a reserve, and
// for more than that.
QUIRE_API quire_code quire_ring_writer_reserve(quire_ring_writer* writer, size_t length_bytes,
                                               uint32_t timeout_ms, void** room,
                                               quire_error* error) QUIRE_NOEXCEPT;
QUIRE_API quire_code quire_ring_writer_commit(quire_ring_writer* writer, size_t length_bytes,
                                              quire_error* error) QUIRE_NOEXCEPT;
// Gives the place back.
QUIRE_API void quire_ring_writer_free(quire_ring_writer* writer) QUIRE_NOEXCEPT;

// Errors: as quire_ring_writer_open().
QUIRE_API quire_code quire_ring_reader_open(const quire_segment* segment, const char* name,
                                            quire_ring_reader** reader,
                                            quire_error* error) QUIRE_NOEXCEPT;
// The next record, in place; it stays until it is released: that is the acknowledgement. One that
// was not is seen again, by the next reader, too. Errors: -ETIMEDOUT; CORRUPT.
QUIRE_API quire_code quire_ring_reader_peek(quire_ring_reader* reader, uint32_t timeout_ms,
                                            const void** record, size_t* length_bytes,
                                            quire_error* error) QUIRE_NOEXCEPT;
// Errors: EINVAL when nothing was peeked at.
QUIRE_API quire_code quire_ring_reader_release(quire_ring_reader* reader,
                                               quire_error* error) QUIRE_NOEXCEPT;
// See quire_doorbell_open().
QUIRE_API quire_code quire_ring_reader_arm(quire_ring_reader* reader, const quire_doorbell* bell,
                                           int32_t* is_armed, quire_error* error) QUIRE_NOEXCEPT;
QUIRE_API void quire_ring_reader_free(quire_ring_reader* reader) QUIRE_NOEXCEPT;

// --- Waiting by descriptor -----------------------------------------------------------------------

// A descriptor for poll(), epoll and every event loop, one for all that is open of a segment:
//
//   for (;;) {
//     take whatever there is of everything;
//     quire_ring_reader_arm(reader, bell, &is_armed, &error);   // of each; 0: something came
//     if (!is_armed) continue;
//     wait until quire_doorbell_descriptor(bell) is readable;
//     quire_doorbell_drain(bell);
//   }
//
// Arming lasts for one ring: the descriptor becomes readable when there is something to take, a
// unit, an event that is set. It says "look again" and no more, and may come for nothing. It does
// not come from another network namespace, nor from a peer that is stopped just before it rings:
// look on a timer, too, where that matters.
// Errors: -EADDRINUSE when this handle has one already; -EMFILE, -ENFILE, -ENOMEM. Of arming:
//         EINVAL for a bell of another handle.
QUIRE_API quire_code quire_doorbell_open(const quire_segment* segment, quire_doorbell** bell,
                                         quire_error* error) QUIRE_NOEXCEPT;
// Borrowed; -1 for NULL and in a child of fork().
QUIRE_API int quire_doorbell_descriptor(const quire_doorbell* bell) QUIRE_NOEXCEPT;
// Silences it. Never blocks; NULL is fine.
QUIRE_API void quire_doorbell_drain(const quire_doorbell* bell) QUIRE_NOEXCEPT;
QUIRE_API void quire_doorbell_free(quire_doorbell* bell) QUIRE_NOEXCEPT;

// --- Mutexes -------------------------------------------------------------------------------------

// Errors: -ENOENT; WRONG_KIND.
QUIRE_API quire_code quire_mutex_open(const quire_segment* segment, const char* name,
                                      quire_mutex** mutex, quire_error* error) QUIRE_NOEXCEPT;
// `owner_died` gets 1 when the last owner died inside: it is locked, what it protects is to be
// repaired, then quire_mutex_mark_consistent() called; else it is lost with the next unlock.
// Errors: -ETIMEDOUT; -ENOTRECOVERABLE when it is lost; -EDEADLK when this thread has it.
QUIRE_API quire_code quire_mutex_lock(quire_mutex* mutex, uint32_t timeout_ms, int32_t* owner_died,
                                      quire_error* error) QUIRE_NOEXCEPT;
// Errors, of both: -EPERM when this thread is not the owner.
QUIRE_API quire_code quire_mutex_mark_consistent(quire_mutex* mutex,
                                                 quire_error* error) QUIRE_NOEXCEPT;
QUIRE_API quire_code quire_mutex_unlock(quire_mutex* mutex, quire_error* error) QUIRE_NOEXCEPT;
// Locks one that is lost, for who makes what it protects anew. Errors: -EPERM when it is not.
QUIRE_API quire_code quire_mutex_reclaim(quire_mutex* mutex, quire_error* error) QUIRE_NOEXCEPT;
// Does not unlock.
QUIRE_API void quire_mutex_free(quire_mutex* mutex) QUIRE_NOEXCEPT;

#if defined(__cplusplus)
}  // extern "C"
#endif
