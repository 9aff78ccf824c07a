// SPDX-License-Identifier: Apache-2.0
//
// pager: plain pointers over files larger than memory, with a hard budget. quire/pager/pager.h is
// the same in C++, and what it says "before anything else" holds here too: system calls need pins,
// SIGKILL loses what was not flushed, a forked child does not get the areas.
//
//   quire_pager_options budget = {.struct_size = sizeof budget, .memory_bytes = 256 << 20};
//   quire_pager* pager;
//   quire_area* area;
//   quire_pager_create(&budget, &pager, &error);
//   quire_pager_map(pager, "index.ann", NULL, &area, &error);
//   query(quire_area_bytes(area), quire_area_size(area));   // never more than 256 MiB in memory
//   quire_area_free(area);
//   quire_pager_free(pager);
//
// Life:          an area's bytes are valid until it is closed or freed, or a resize below them. A
//                closed area has size 0, and everything else gives QUIRE_ERROR_CLOSED.
// Thread-safety: every function from any thread; but resize, rollback, close and free need the area
//                for themselves, and a pin belongs to one thread at a time.
#pragma once

#include "quire/c/common.h"
#include "quire/c/journal.h"

#if defined(__cplusplus)
extern "C" {
#endif

typedef struct quire_pager quire_pager;
typedef struct quire_area quire_area;
typedef struct quire_pin quire_pin;

// --- The pager -----------------------------------------------------------------------------------

#define QUIRE_POLICY_S3_FIFO UINT32_C(0)
#define QUIRE_POLICY_CLOCK UINT32_C(1)
#define QUIRE_POLICY_FIFO UINT32_C(2)

#define QUIRE_FAULT_PATH_AUTOMATIC UINT32_C(0)
#define QUIRE_FAULT_PATH_HANDLER UINT32_C(1)  // The pager's thread serves.
#define QUIRE_FAULT_PATH_INLINE UINT32_C(2)   // The faulting thread serves itself.

typedef struct quire_pager_options {
  uint32_t struct_size;
  uint32_t policy;
  uint32_t fault_path;
  uint32_t survive_kill;          // 1: a guardian process writes what was not, after a SIGKILL.
  uint64_t memory_bytes;          // The budget, of everything. 0: 256 MiB; at least 1 MiB.
  uint64_t granule_bytes;         // A power of two, a page (4 KiB, which 0 is) to 2 MiB.
  uint64_t read_ahead_bytes_max;  // 0: 2 MiB.
  uint32_t read_ahead_windows;    // 0: 4.
  uint32_t dirty_start_percent;   // 0: 20.
  uint32_t dirty_max_percent;     // 0: 50.
  uint32_t write_back_time_ms;    // No more is dirty than is written in this time. 0: 10 s.
  uint32_t dirty_age_ms;          // A page is written when it was dirty so long. 0: 30 s.
  uint32_t slow_fault_ms;         // Longer faults are reported. 0: 10 s; QUIRE_MS_NONE: never.
} quire_pager_options;

// Takes no memory and starts nothing: that comes with the first area.
// Errors: EINVAL. The first area says what else is wrong with the options (OUT_OF_RANGE).
QUIRE_API quire_code quire_pager_create(const quire_pager_options* options, quire_pager** pager,
                                        quire_error* error) QUIRE_NOEXCEPT;
QUIRE_API void quire_pager_free(quire_pager* pager) QUIRE_NOEXCEPT;

typedef struct quire_pager_stats {
  uint32_t struct_size;
  uint32_t areas;
  uint64_t memory_bytes;  // The budget.
  uint64_t taken_bytes;   // Of it, now: pages, buffers, metadata.
  uint64_t taken_bytes_max;
  uint64_t page_bytes;
  uint64_t buffer_bytes;
  uint64_t metadata_bytes;
  uint64_t dirty_bytes;
  uint64_t evicted;          // Granules.
  uint64_t direct_reclaims;  // A fault had to make room itself.
  uint64_t credit_waits;     // A fault waited until others made room.
  uint64_t dirty_waits;      // A store waited for write-back.
  uint64_t write_errors;
  uint64_t ghost_hits;  // Came back soon after they went.
  uint64_t watched;     // Put on probation.
  uint64_t slow_faults;
} quire_pager_stats;

QUIRE_API quire_code quire_pager_get_stats(const quire_pager* pager, quire_pager_stats* stats,
                                           quire_error* error) QUIRE_NOEXCEPT;
// As snprintf(): the length of the whole text is returned.
QUIRE_API size_t quire_pager_explain(const quire_pager* pager, char* text,
                                     size_t text_bytes) QUIRE_NOEXCEPT;

// --- Making an area ------------------------------------------------------------------------------

// `engine`: what stands behind the pointers.
#define QUIRE_ENGINE_AUTOMATIC UINT32_C(0)  // A kernel mapping, without a budget, where it must be.
#define QUIRE_ENGINE_PAGED UINT32_C(1)      // UNSUPPORTED where userfaultfd is forbidden.

// `on_fill_error`: what a load or store gets when its bytes cannot be read. A pin gets an error.
#define QUIRE_ON_FILL_ERROR_SIGNAL UINT32_C(0)  // SIGBUS.
#define QUIRE_ON_FILL_ERROR_ZEROS UINT32_C(1)   // Zeros, and the error sticks to the area.

// `commit`
#define QUIRE_COMMIT_NONE UINT32_C(0)
#define QUIRE_COMMIT_ATOMIC UINT32_C(1)  // Stores come to the file by commits alone: see area.h.

typedef struct quire_area_options {
  uint32_t struct_size;
  uint32_t access;
  uint32_t engine;
  uint32_t on_fill_error;
  uint32_t create;
  uint32_t create_mode;  // 0: 0644.
  uint32_t space;
  uint32_t commit;
  uint64_t minimum_bytes;
  uint64_t reserve_bytes;
  const quire_journal_options* journal;  // Of an atomic area. NULL: all defaults.
} quire_area_options;

// Errors: those of open(2); UNSUPPORTED with QUIRE_ENGINE_PAGED; LIMIT when the budget is too small
//         for another area; OUT_OF_RANGE for options.
QUIRE_API quire_code quire_pager_map(quire_pager* pager, const char* path,
                                     const quire_area_options* options, quire_area** area,
                                     quire_error* error) QUIRE_NOEXCEPT;
// A file of a journal that several areas share: atomic and writable, whatever the options say; of
// the options' journal nothing counts.
// Errors: OUT_OF_RANGE when it has no such file; UNSUPPORTED with QUIRE_FAULT_PATH_INLINE or
//         survive_kill; CLOSED.
QUIRE_API quire_code quire_pager_map_journal(quire_pager* pager, quire_journal* journal,
                                             size_t file, const quire_area_options* options,
                                             quire_area** area, quire_error* error) QUIRE_NOEXCEPT;

// What was stored to all of these areas of one journal becomes durable together, or nothing of it.
// Errors: as quire_area_commit(); EINVAL when they have different journals.
QUIRE_API quire_code quire_pager_commit(quire_pager* pager, quire_area* const* areas,
                                        size_t area_count, quire_error* error) QUIRE_NOEXCEPT;

#if defined(__cplusplus)
}  // extern "C"
#endif
