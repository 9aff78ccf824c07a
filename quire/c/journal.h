// SPDX-License-Identifier: Apache-2.0
//
// journal: all changes of some files since the last commit, or none, after any crash.
// quire/journal/journal.h is the same in C++, with the invariants.
//
//   const char* paths[] = {"accounts.db", "log.db"};
//   quire_journal_options options = {.struct_size = sizeof options, .path = "bank.journal"};
//   quire_journal* journal;
//   quire_journal_open(paths, 2, &options, &journal, &error);       // brings them to the last
//   commit quire_journal_write(journal, 0, offset, &account, sizeof account, &error);
//   quire_journal_commit(journal, NULL, &error);                    // both files, durable together
//   quire_journal_close(journal, &error);
//
// A file whose last commits are still in the journal carries an attribute, and is refused without
// it. To have the bytes as memory: tracked.h, or pager.h when they are many.
//
// Thread-safety: every function from any thread, but close and free: alone. A snapshot: reading
//                from any thread.
// Blocks:        commit, rollback, checkpoint and close for I/O, and for each other.
#pragma once

#include "quire/c/common.h"

#if defined(__cplusplus)
extern "C" {
#endif

typedef struct quire_journal quire_journal;
typedef struct quire_snapshot quire_snapshot;

// `checkpointing`: when what is committed goes from the journal to the files.
#define QUIRE_CHECKPOINTING_BACKGROUND UINT32_C(0)  // A thread begins when half full, or later.
#define QUIRE_CHECKPOINTING_ON_DEMAND UINT32_C(1)   // When asked to, and when it is full.

typedef struct quire_journal_options {
  uint32_t struct_size;
  uint32_t checkpointing;
  uint64_t page_bytes;    // A power of two from 4096 (which 0 is) to 65536.
  uint64_t log_bytes;     // Of a journal to be made; bounds what a commit can hold. 0: 256 MiB.
  uint32_t full_wait_ms;  // How long a commit waits for space that others hold. 0: 10 s.
  uint32_t create;        // For quire_journal_open(): others have it in their own options.
  const char* path;       // NULL: beside the first file, "table.db.quire-journal".
} quire_journal_options;

// --- A journal and its files ---------------------------------------------------------------------

// The files get numbers in their order.
// Errors: EBUSY when somebody has it open; ENOENT when a journal is missing that a file needs;
//         CHANGED when a file belongs to another one; CORRUPT, NEWER_VERSION, TRUNCATED.
QUIRE_API quire_code quire_journal_open(const char* const* paths, size_t path_count,
                                        const quire_journal_options* options,
                                        quire_journal** journal, quire_error* error) QUIRE_NOEXCEPT;
QUIRE_API size_t quire_journal_file_count(const quire_journal* journal) QUIRE_NOEXCEPT;

// With what is uncommitted. Errors, of all three: OUT_OF_RANGE when there is no such file; CLOSED.
QUIRE_API quire_code quire_journal_get_size(const quire_journal* journal, size_t file,
                                            uint64_t* size_bytes,
                                            quire_error* error) QUIRE_NOEXCEPT;
// `read_bytes` are fewer than asked for only at the end of the file.
QUIRE_API quire_code quire_journal_read(const quire_journal* journal, size_t file,
                                        uint64_t offset_bytes, void* into, size_t length_bytes,
                                        size_t* read_bytes, quire_error* error) QUIRE_NOEXCEPT;
// Uncommitted: goes to the journal; grows the file. Errors also: LIMIT when the journal is full.
QUIRE_API quire_code quire_journal_write(quire_journal* journal, size_t file, uint64_t offset_bytes,
                                         const void* from, size_t length_bytes,
                                         quire_error* error) QUIRE_NOEXCEPT;
QUIRE_API quire_code quire_journal_resize(quire_journal* journal, size_t file, uint64_t size_bytes,
                                          quire_error* error) QUIRE_NOEXCEPT;

// Makes all uncommitted changes of all files durable together. `number`, which may be NULL, gets
// the commit's; with nothing to do, that of the last one.
// Errors: LIMIT when the journal is full: nothing is lost; FAILED.
QUIRE_API quire_code quire_journal_commit(quire_journal* journal, uint64_t* number,
                                          quire_error* error) QUIRE_NOEXCEPT;
// Forgets the uncommitted changes of all files.
QUIRE_API quire_code quire_journal_rollback(quire_journal* journal,
                                            quire_error* error) QUIRE_NOEXCEPT;
// Brings what is committed to the files, as far as no snapshot needs the older bytes.
QUIRE_API quire_code quire_journal_checkpoint(quire_journal* journal,
                                              quire_error* error) QUIRE_NOEXCEPT;

typedef struct quire_journal_stats {
  uint32_t struct_size;
  uint32_t reserved;
  uint64_t last_commit;
  uint64_t checkpointed_commit;
  uint64_t commit_calls;  // That were acknowledged; several may be one commit.
  uint64_t commits;       // Flushes of the journal for them.
  uint64_t log_writes;
  uint64_t log_bytes_written;
  uint64_t images;
  uint64_t uncommitted_images;  // Of them: written before their commit.
  uint64_t full_waits;          // Commits and writes that found the journal full.
  uint64_t checkpoints;
  uint64_t checkpoint_pages;
  uint64_t used_bytes;  // Now.
  uint64_t log_bytes;
  uint64_t index_bytes;  // Memory, roughly.
  uint64_t snapshots;    // And reads under way.
  uint64_t recovered_commits;
  uint64_t recovered_pages;
} quire_journal_stats;

QUIRE_API quire_code quire_journal_get_stats(const quire_journal* journal,
                                             quire_journal_stats* stats,
                                             quire_error* error) QUIRE_NOEXCEPT;
// As snprintf(): the length of the whole text is returned.
QUIRE_API size_t quire_journal_explain(const quire_journal* journal, char* text,
                                       size_t text_bytes) QUIRE_NOEXCEPT;

// Rolls back, checkpoints, marks the journal as clean. Areas of it must be closed before.
QUIRE_API quire_code quire_journal_close(quire_journal* journal, quire_error* error) QUIRE_NOEXCEPT;
// Does not checkpoint: what is committed is found when it is opened again.
QUIRE_API void quire_journal_free(quire_journal* journal) QUIRE_NOEXCEPT;

// --- Snapshots: the files as of one commit, while writing goes on --------------------------------

// What a snapshot needs stays in the journal: held for long while much is committed, it fills it.
QUIRE_API quire_code quire_journal_snapshot(quire_journal* journal, quire_snapshot** snapshot,
                                            quire_error* error) QUIRE_NOEXCEPT;
QUIRE_API uint64_t quire_snapshot_commit_number(const quire_snapshot* snapshot) QUIRE_NOEXCEPT;
// A snapshot of a tracked mapping has one file, 0. Errors: OUT_OF_RANGE; CLOSED.
QUIRE_API quire_code quire_snapshot_get_size(const quire_snapshot* snapshot, size_t file,
                                             uint64_t* size_bytes,
                                             quire_error* error) QUIRE_NOEXCEPT;
QUIRE_API quire_code quire_snapshot_read(const quire_snapshot* snapshot, size_t file,
                                         uint64_t offset_bytes, void* into, size_t length_bytes,
                                         size_t* read_bytes, quire_error* error) QUIRE_NOEXCEPT;
QUIRE_API void quire_snapshot_free(quire_snapshot* snapshot) QUIRE_NOEXCEPT;

#if defined(__cplusplus)
}  // extern "C"
#endif
