// SPDX-License-Identifier: Apache-2.0
//
// area: what a pager (pager.h) maps: a file as a range of bytes of which a bounded part is in
// memory.
//
//   quire_pin* pin;
//   if (quire_area_pin(area, offset, 4096, QUIRE_ACCESS_READ_ONLY, &pin, &error) == QUIRE_OK) {
//     write(fd, quire_pin_bytes(pin), 4096);          // no EFAULT, no fault at all
//     quire_pin_free(pin);
//   }
//
// Atomic, with QUIRE_COMMIT_ATOMIC, its stores reach the file by commits alone, and a commit is a
// consistent cut: when a store is in it, so is every store that came before it. Stores that belong
// together come with it together, or not at all, when they are made in an update.
//
// Life, thread-safety: pager.h.
#pragma once

#include "quire/c/common.h"
#include "quire/c/pager.h"

#if defined(__cplusplus)
extern "C" {
#endif

// --- What it shows -------------------------------------------------------------------------------

// NULL when there are none.
QUIRE_API const void* quire_area_bytes(const quire_area* area) QUIRE_NOEXCEPT;
// The same to store through; NULL also when it is read-only.
QUIRE_API void* quire_area_writable_bytes(quire_area* area) QUIRE_NOEXCEPT;
QUIRE_API uint64_t quire_area_size(const quire_area* area) QUIRE_NOEXCEPT;
// 0: a kernel mapping, without a budget; explain() says why.
QUIRE_API int32_t quire_area_is_paged(const quire_area* area) QUIRE_NOEXCEPT;
// QUIRE_FAULT_PATH_INLINE, _HANDLER; _AUTOMATIC where the kernel serves.
QUIRE_API uint32_t quire_area_fault_path(const quire_area* area) QUIRE_NOEXCEPT;
// As snprintf(): the length of the whole text is returned.
QUIRE_API size_t quire_area_explain(const quire_area* area, char* text,
                                    size_t text_bytes) QUIRE_NOEXCEPT;

// --- Residency -----------------------------------------------------------------------------------

// Keeps the range in memory until the pin is freed: no fault, no EFAULT from system calls.
// Errors: EIO of the file; LIMIT when it does not fit into the budget; READ_ONLY; OUT_OF_RANGE.
// Blocks: for what is not in memory.
QUIRE_API quire_code quire_area_pin(quire_area* area, uint64_t offset_bytes, uint64_t length_bytes,
                                    uint32_t access, quire_pin** pin,
                                    quire_error* error) QUIRE_NOEXCEPT;
QUIRE_API const void* quire_pin_bytes(const quire_pin* pin) QUIRE_NOEXCEPT;
// NULL when it was taken with QUIRE_ACCESS_READ_ONLY.
QUIRE_API void* quire_pin_writable_bytes(quire_pin* pin) QUIRE_NOEXCEPT;
QUIRE_API uint64_t quire_pin_size(const quire_pin* pin) QUIRE_NOEXCEPT;
QUIRE_API void quire_pin_free(quire_pin* pin) QUIRE_NOEXCEPT;

// Reads ranges in the background, as far as there is memory. `ticket` may be NULL.
QUIRE_API quire_code quire_area_prefetch(const quire_area* area, const quire_range* ranges,
                                         size_t range_count, quire_ticket** ticket,
                                         quire_error* error) QUIRE_NOEXCEPT;

#define QUIRE_PATTERN_NORMAL UINT32_C(0)
#define QUIRE_PATTERN_RANDOM UINT32_C(1)          // Nothing is read that was not touched.
#define QUIRE_PATTERN_SEQUENTIAL UINT32_C(2)      // Full windows from the first fault on.
#define QUIRE_PATTERN_WILL_NOT_REUSE UINT32_C(3)  // Gone as soon as it is behind the reader.
#define QUIRE_PATTERN_OVERWRITE UINT32_C(4)       // Stores cover whole granules: nothing is read.

// Errors: READ_ONLY for QUIRE_PATTERN_OVERWRITE; LIMIT past 256 ranges.
QUIRE_API quire_code quire_area_advise(const quire_area* area, uint64_t offset_bytes,
                                       uint64_t length_bytes, uint32_t pattern,
                                       quire_error* error) QUIRE_NOEXCEPT;

typedef struct quire_area_residency {
  uint32_t struct_size;
  uint32_t reserved;
  uint64_t resident_bytes;
  uint64_t dirty_bytes;
  uint64_t pinned_bytes;
} quire_area_residency;

QUIRE_API quire_code quire_area_get_residency(const quire_area* area, uint64_t offset_bytes,
                                              uint64_t length_bytes,
                                              quire_area_residency* residency,
                                              quire_error* error) QUIRE_NOEXCEPT;

// Writes what is dirty and drops the range. The counts, which may be NULL, are bytes that went, and
// bytes that are pinned or were used meanwhile. Errors: of write-back. Blocks.
QUIRE_API quire_code quire_area_evict(const quire_area* area, uint64_t offset_bytes,
                                      uint64_t length_bytes, uint64_t* evicted_bytes,
                                      uint64_t* kept_bytes, quire_error* error) QUIRE_NOEXCEPT;

typedef struct quire_area_stats {
  uint32_t struct_size;
  uint32_t reserved;
  uint64_t faults;          // Served.
  uint64_t load_misses;     // Of those: a load of an absent granule,
  uint64_t store_misses;    // a store to one,
  uint64_t store_upgrades;  // a store to a clean one,
  uint64_t waits;           // for somebody else who was at work on it,
  uint64_t tripwires;       // the reader met a window that was read ahead.
  uint64_t failed_fills;    // Ended in SIGBUS, zeros or an error.
  uint64_t reads;           // Requests to the file, and their bytes.
  uint64_t read_bytes;
  uint64_t read_ahead_bytes;  // Of those, before anybody asked.
  uint64_t zero_fills;        // Granules that began as zeros.
  uint64_t writes;
  uint64_t write_bytes;
  uint64_t evicted;           // Granules.
  uint64_t redirtied;         // Stored to while they were being written.
  uint64_t commits;           // Of an atomic area, as the next three.
  uint64_t committed_bytes;   // Copied out for them.
  uint64_t commit_conflicts;  // Granules copied aside for a store during a commit.
  uint64_t spilled_bytes;     // Written to the journal before their commit.
  uint64_t resident_bytes;    // Now.
  uint64_t dirty_bytes;       // Now.
} quire_area_stats;

QUIRE_API quire_code quire_area_get_stats(const quire_area* area, quire_area_stats* stats,
                                          quire_error* error) QUIRE_NOEXCEPT;
// The error that sticks, or nothing.
QUIRE_API quire_code quire_area_check(const quire_area* area, quire_error* error) QUIRE_NOEXCEPT;

// --- Stores: all of these need QUIRE_ACCESS_READ_WRITE, and give READ_ONLY else ------------------

// When it returns, what was stored to the range is as durable as asked for. Of an atomic area it is
// a commit, of everything. Errors: ENOSPC, EIO, also of earlier write-backs. Blocks.
QUIRE_API quire_code quire_area_flush(quire_area* area, uint64_t offset_bytes,
                                      uint64_t length_bytes, uint32_t durability,
                                      quire_error* error) QUIRE_NOEXCEPT;
QUIRE_API quire_code quire_area_flush_async(quire_area* area, uint64_t offset_bytes,
                                            uint64_t length_bytes, uint32_t durability,
                                            quire_ticket** ticket,
                                            quire_error* error) QUIRE_NOEXCEPT;
// Growing never moves the bytes; what is added reads as zeros. Of an atomic area it is part of the
// next commit. Errors: LIMIT past reserve_bytes; ENOSPC; FAILED when something beyond is pinned.
QUIRE_API quire_code quire_area_resize(quire_area* area, uint64_t size_bytes,
                                       quire_error* error) QUIRE_NOEXCEPT;

// --- Atomic areas: UNSUPPORTED for others --------------------------------------------------------

// Until quire_update_end() no commit of an atomic area of this pager takes its cut: see common.h.
// Of an area that is not atomic it holds up nothing. Blocks: while a cut is taken or waited for.
QUIRE_API quire_code quire_area_begin_update(quire_area* area, quire_update** update,
                                             quire_error* error) QUIRE_NOEXCEPT;
// When it returns, every store that came before it is durable, or none is.
// Errors: then nothing is committed and nothing lost; FAILED while a pin for writing is held, and
// inside of an update. Blocks, also for updates.
QUIRE_API quire_code quire_area_commit(quire_area* area, quire_error* error) QUIRE_NOEXCEPT;
QUIRE_API quire_code quire_area_commit_async(quire_area* area, quire_ticket** ticket,
                                             quire_error* error) QUIRE_NOEXCEPT;
// The bytes and the size of the last commit. Errors: FAILED when something is pinned.
QUIRE_API quire_code quire_area_rollback(quire_area* area, quire_error* error) QUIRE_NOEXCEPT;
// The last commit, to read while storing goes on: an area of the same pager.
QUIRE_API quire_code quire_area_snapshot(const quire_area* area, quire_area** snapshot,
                                         quire_error* error) QUIRE_NOEXCEPT;

// --- The end -------------------------------------------------------------------------------------

// Writes what is dirty (drops what is not committed), then releases everything.
// Errors: what check() has; of write-back; FAILED while a pin is left: nothing happens then.
QUIRE_API quire_code quire_area_close(quire_area* area, quire_error* error) QUIRE_NOEXCEPT;
// Writes nothing. With a pin left its memory stays until that is freed.
QUIRE_API void quire_area_free(quire_area* area) QUIRE_NOEXCEPT;

#if defined(__cplusplus)
}  // extern "C"
#endif
