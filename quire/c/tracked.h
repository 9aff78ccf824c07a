// SPDX-License-Identifier: Apache-2.0
//
// tracked: a file as memory whose stores become durable together: all since the last commit, or
// none. For data that fits into memory; quire/tracked/tracked_mapping.h is the same in C++.
//
//   quire_tracked_options options = {.struct_size = sizeof options,
//                                    .create = QUIRE_CREATE_IF_MISSING,
//                                    .minimum_bytes = sizeof(struct state)};
//   quire_tracked* tracked;
//   quire_tracked_open("state.bin", &options, &tracked, &error);
//   struct state* state = quire_tracked_bytes(tracked);
//   state->count++;                                     // only in memory
//   quire_tracked_commit(tracked, NULL, &error);        // durable, all of it, or an error
//
// Consistent cut: a store during a commit (with commit_async: until it has returned) is in this
//                commit or in the next, each for itself. What belongs together is stored in an
//                update, which no commit cuts in two: quire_tracked_begin_update().
// Life:          what is not committed when it ends is gone.
// Thread-safety: resize, rollback and close need it for themselves; the others from any thread.
// Safety:        nobody else may write or truncate the file.
#pragma once

#include "quire/c/common.h"
#include "quire/c/journal.h"
#include "quire/c/map.h"

#if defined(__cplusplus)
extern "C" {
#endif

typedef struct quire_tracked quire_tracked;

typedef struct quire_tracked_options {
  uint32_t struct_size;
  uint32_t create;  // Not QUIRE_CREATE_EXCLUSIVE.
  uint64_t minimum_bytes;
  uint64_t reserve_bytes;
  // Once more than this was committed, commit() checkpoints and gives copies of pages back; no
  // store may then meet a commit. 0: never.
  uint64_t drop_past_bytes;
  const quire_journal_options* journal;  // NULL: all defaults. Its `create` stays 0.
} quire_tracked_options;

// Brings the file to its last commit first.
// Errors: those of quire_journal_open(); UNSUPPORTED for anything but a regular file.
QUIRE_API quire_code quire_tracked_open(const char* path, const quire_tracked_options* options,
                                        quire_tracked** tracked, quire_error* error) QUIRE_NOEXCEPT;
// The last commit, to read, of a file that nobody has open for commits. journal_path: NULL when it
// is beside the file. Errors: EBUSY; those of quire_journal_open().
QUIRE_API quire_code quire_map_committed(const char* path, const char* journal_path,
                                         quire_mapping** mapping,
                                         quire_error* error) QUIRE_NOEXCEPT;

// To load and to store; they never move. NULL when there are none.
QUIRE_API void* quire_tracked_bytes(quire_tracked* tracked) QUIRE_NOEXCEPT;
QUIRE_API uint64_t quire_tracked_size(const quire_tracked* tracked) QUIRE_NOEXCEPT;

typedef struct quire_commit_receipt {
  uint32_t struct_size;
  uint32_t reserved;
  uint64_t number;  // In its journal; that of the last one when nothing was changed.
  uint64_t pages;   // Images that it holds.
} quire_commit_receipt;

// What is stored until quire_update_end() is in one commit, whole: see common.h. Blocks: while a
// cut is taken or waited for; with drop_past_bytes, or many pages changed, as long as a commit.
QUIRE_API quire_code quire_tracked_begin_update(quire_tracked* tracked, quire_update** update,
                                                quire_error* error) QUIRE_NOEXCEPT;
// Every store that came before it is durable when it returns, or none. `receipt` may be NULL.
// Errors: LIMIT when the journal is full, or too small: nothing is lost; FAILED, also inside of an
//         update; CLOSED. Blocks, also for updates.
QUIRE_API quire_code quire_tracked_commit(quire_tracked* tracked, quire_commit_receipt* receipt,
                                          quire_error* error) QUIRE_NOEXCEPT;
// What was changed is copied before it returns, and written in the background.
QUIRE_API quire_code quire_tracked_commit_async(quire_tracked* tracked, quire_ticket** ticket,
                                                quire_error* error) QUIRE_NOEXCEPT;
// Every byte, and the size, is as of the last commit.
QUIRE_API quire_code quire_tracked_rollback(quire_tracked* tracked,
                                            quire_error* error) QUIRE_NOEXCEPT;
// The last commit, to read while storing goes on.
QUIRE_API quire_code quire_tracked_snapshot(const quire_tracked* tracked, quire_snapshot** snapshot,
                                            quire_error* error) QUIRE_NOEXCEPT;
// Part of the next commit. Errors: LIMIT past the reserved addresses, with the size unchanged.
QUIRE_API quire_code quire_tracked_resize(quire_tracked* tracked, uint64_t size_bytes,
                                          quire_error* error) QUIRE_NOEXCEPT;
// Whether commits are possible. Errors: FAILED with the first cause; CLOSED.
QUIRE_API quire_code quire_tracked_check(const quire_tracked* tracked,
                                         quire_error* error) QUIRE_NOEXCEPT;

typedef struct quire_tracked_residency {
  uint32_t struct_size;
  uint32_t reserved;
  uint64_t size_bytes;      // Of the range.
  uint64_t resident_bytes;  // In memory: here, or in the page cache. Whole pages, as the next.
  uint64_t private_bytes;   // This mapping's own copies.
} quire_tracked_residency;

QUIRE_API quire_code quire_tracked_get_residency(const quire_tracked* tracked,
                                                 uint64_t offset_bytes, uint64_t length_bytes,
                                                 quire_tracked_residency* residency,
                                                 quire_error* error) QUIRE_NOEXCEPT;

typedef struct quire_tracked_stats {
  uint32_t struct_size;
  uint32_t reserved;
  uint64_t commits;          // That wrote something.
  uint64_t empty_commits;    // That had nothing to write.
  uint64_t failed_commits;   // Their stores went, or will go, with a later one.
  uint64_t committed_pages;  // Images written, of the journal's page size.
  uint64_t compared_pages;   // Where the kernel does not note stores.
  uint64_t waiting_commits;  // Now: of commit_async(), and of commit() behind another one.
  uint64_t rollbacks;
  uint64_t restored_pages;  // By rollbacks.
  uint64_t drops;           // How often copies of pages were given back.
  uint64_t put_off_drops;
} quire_tracked_stats;

// `journal`, which may be NULL, gets what its journal counts.
QUIRE_API quire_code quire_tracked_get_stats(const quire_tracked* tracked,
                                             quire_tracked_stats* stats,
                                             quire_journal_stats* journal,
                                             quire_error* error) QUIRE_NOEXCEPT;
// As snprintf(): the length of the whole text is returned.
QUIRE_API size_t quire_tracked_explain(const quire_tracked* tracked, char* text,
                                       size_t text_bytes) QUIRE_NOEXCEPT;

// Drops what is not committed, and brings the rest to the file.
QUIRE_API quire_code quire_tracked_close(quire_tracked* tracked, quire_error* error) QUIRE_NOEXCEPT;
QUIRE_API void quire_tracked_free(quire_tracked* tracked) QUIRE_NOEXCEPT;

#if defined(__cplusplus)
}  // extern "C"
#endif
