// SPDX-License-Identifier: Apache-2.0
//
// map: a file, or memory, as a range of bytes. quire/map/mapping.h is the same in C++, and says
// what becomes of each kind of file.
//
//   quire_map_options options = {.struct_size = sizeof options,
//                                .access = QUIRE_ACCESS_READ_WRITE,
//                                .create = QUIRE_CREATE_IF_MISSING};
//   quire_mapping* log;
//   if (quire_map_file("log.bin", &options, &log, &error) == QUIRE_OK &&
//       quire_mapping_append(log, "line\n", 5, &error) == QUIRE_OK) {
//     quire_mapping_flush(log, 0, QUIRE_TO_END, QUIRE_DURABILITY_DATA, &error);
//   }
//   quire_mapping_free(log);
//
// Life:          bytes are valid until close, free, or shrinking past them; growing never moves
//                them. A closed mapping has size 0, and everything else gives QUIRE_ERROR_CLOSED.
// Thread-safety: functions on a const mapping from any number of threads, with loads and stores
//                going on; the others need it for themselves.
// Safety:        whoever may truncate the file can turn a load into SIGBUS; quire_mapping_read()
//                and quire_mapping_write() make an error of that.
#pragma once

#include "quire/c/common.h"

#if defined(__cplusplus)
extern "C" {
#endif

typedef struct quire_mapping quire_mapping;

// --- Making one ----------------------------------------------------------------------------------

// `sharing`. 0 is what is usual: shared for a file, private for memory.
#define QUIRE_SHARING_DEFAULT UINT32_C(0)
#define QUIRE_SHARING_SHARED UINT32_C(1)   // Everybody sees everybody's stores.
#define QUIRE_SHARING_PRIVATE UINT32_C(2)  // Stores stay here.

typedef struct quire_map_options {
  uint32_t struct_size;
  uint32_t access;
  uint32_t sharing;
  uint32_t create;
  uint32_t create_mode;  // Permissions of a created file, before the umask. 0: 0644.
  uint32_t space;
  uint64_t offset_bytes;      // What to show: any offset, any length.
  uint64_t length_bytes;      // 0: to the end.
  uint64_t minimum_bytes;     // A shorter file is grown to this.
  uint64_t reserve_bytes;     // Addresses for growth. 0: 1 GiB more than it has.
  uint64_t stream_bytes_max;  // The most that is read from a pipe or /proc file. 0: 1 GiB.
} quire_map_options;

// Errors: those of open(2); WRONG_KIND; OUT_OF_RANGE when the range is not in the file;
//         UNSUPPORTED for a writable view of a stream.
// Blocks: while a pipe is read to its end.
QUIRE_API quire_code quire_map_file(const char* path, const quire_map_options* options,
                                    quire_mapping** mapping, quire_error* error) QUIRE_NOEXCEPT;
// The descriptor stays the caller's: a duplicate is kept.
QUIRE_API quire_code quire_map_descriptor(int descriptor, const quire_map_options* options,
                                          quire_mapping** mapping,
                                          quire_error* error) QUIRE_NOEXCEPT;

// `huge_pages`
#define QUIRE_HUGE_PAGES_NONE UINT32_C(0)
#define QUIRE_HUGE_PAGES_TRANSPARENT UINT32_C(1)  // Asked for; explain() says what came of it.
#define QUIRE_HUGE_PAGES_RESERVED UINT32_C(2)     // Of vm.nr_hugepages; fails when it is empty.

typedef struct quire_memory_options {
  uint32_t struct_size;
  uint32_t sharing;
  uint32_t huge_pages;
  uint32_t space;   // Shared memory only, as are the next two.
  uint32_t secret;  // 1: out of reach for ptrace and dumps; of a fixed size.
  uint32_t reserved;
  const char* name;  // Shown in /proc/PID/maps as /memfd:NAME. NULL: "quire".
  uint64_t reserve_bytes;
} quire_memory_options;

// Memory of its own. Errors: ENOMEM; LIMIT, naming what is short; UNSUPPORTED.
QUIRE_API quire_code quire_map_memory(uint64_t size_bytes, const quire_memory_options* options,
                                      quire_mapping** mapping, quire_error* error) QUIRE_NOEXCEPT;

// --- What it shows -------------------------------------------------------------------------------

// NULL when there are none.
QUIRE_API const void* quire_mapping_bytes(const quire_mapping* mapping) QUIRE_NOEXCEPT;
// The same to store through; NULL also when it is read-only.
QUIRE_API void* quire_mapping_writable_bytes(quire_mapping* mapping) QUIRE_NOEXCEPT;
QUIRE_API uint64_t quire_mapping_size(const quire_mapping* mapping) QUIRE_NOEXCEPT;
// The mapping's own, for system calls; -1 where there is none. Closed with the mapping.
QUIRE_API int quire_mapping_descriptor(const quire_mapping* mapping) QUIRE_NOEXCEPT;
// What was chosen and why, in a sentence: as snprintf(), it returns the length of the whole text.
QUIRE_API size_t quire_mapping_explain(const quire_mapping* mapping, char* text,
                                       size_t text_bytes) QUIRE_NOEXCEPT;

// Copies bytes out of the mapping, or into it; where a load or store would raise SIGBUS they fail,
// with the file offset in the message, and some of the bytes may have been copied.
// Errors: OUT_OF_RANGE, FAULT, TRUNCATED; READ_ONLY.
QUIRE_API quire_code quire_mapping_read(const quire_mapping* mapping, uint64_t offset_bytes,
                                        void* into, size_t length_bytes,
                                        quire_error* error) QUIRE_NOEXCEPT;
QUIRE_API quire_code quire_mapping_write(quire_mapping* mapping, uint64_t offset_bytes,
                                         const void* from, size_t length_bytes,
                                         quire_error* error) QUIRE_NOEXCEPT;

// --- Advice and residency ------------------------------------------------------------------------

#define QUIRE_ADVICE_NORMAL UINT32_C(0)
#define QUIRE_ADVICE_RANDOM UINT32_C(1)      // No read-ahead.
#define QUIRE_ADVICE_SEQUENTIAL UINT32_C(2)  // Twice the read-ahead.
#define QUIRE_ADVICE_WILL_NEED UINT32_C(3)   // Start reading, as far as the kernel cares to.
#define QUIRE_ADVICE_COLD UINT32_C(4)        // First to go when memory is short.
#define QUIRE_ADVICE_PAGE_OUT UINT32_C(5)    // Reclaim now what nobody else uses.
#define QUIRE_ADVICE_HUGE_PAGES UINT32_C(6)
#define QUIRE_ADVICE_NO_HUGE_PAGES UINT32_C(7)
#define QUIRE_ADVICE_DONT_FORK UINT32_C(8)  // A forked child does not get these addresses.
#define QUIRE_ADVICE_DONT_DUMP UINT32_C(9)  // Left out of core dumps.

// Errors: what the kernel said; UNSUPPORTED where it cannot have an effect.
QUIRE_API quire_code quire_mapping_advise(const quire_mapping* mapping, uint64_t offset_bytes,
                                          uint64_t length_bytes, uint32_t advice,
                                          quire_error* error) QUIRE_NOEXCEPT;

// `stopped`
#define QUIRE_STOPPED_DONE UINT32_C(0)
#define QUIRE_STOPPED_CANCELLED UINT32_C(1)
#define QUIRE_STOPPED_MEMORY UINT32_C(2)  // The rest does not fit into memory.

typedef struct quire_prefetch_report {
  uint32_t struct_size;
  uint32_t stopped;
  uint64_t size_bytes;
  uint64_t resident_before_bytes;
  uint64_t resident_after_bytes;
  uint64_t read_bytes;
  uint64_t left_out_bytes;
} quire_prefetch_report;

// Reads the range into memory, as far as memory goes. `report` may be NULL. Blocks.
QUIRE_API quire_code quire_mapping_prefetch(const quire_mapping* mapping, uint64_t offset_bytes,
                                            uint64_t length_bytes, quire_prefetch_report* report,
                                            quire_error* error) QUIRE_NOEXCEPT;

typedef struct quire_residency {
  uint32_t struct_size;
  uint32_t known;        // 1 when resident_bytes is: the kernel does not tell everybody.
  uint32_t dirty_known;  // 1 when the other counts are.
  uint32_t reserved;
  uint64_t size_bytes;  // Of the range.
  uint64_t resident_bytes;
  uint64_t dirty_bytes;
  uint64_t writeback_bytes;
  uint64_t evicted_bytes;
  uint64_t recently_evicted_bytes;
} quire_residency;

QUIRE_API quire_code quire_mapping_get_residency(const quire_mapping* mapping,
                                                 uint64_t offset_bytes, uint64_t length_bytes,
                                                 quire_residency* residency,
                                                 quire_error* error) QUIRE_NOEXCEPT;

typedef struct quire_eviction_report {
  uint32_t struct_size;
  uint32_t known;  // 1 when the counts are.
  uint64_t before_bytes;
  uint64_t after_bytes;
  char remaining[232];  // What stayed and why: "4.0 KiB mapped by process 17 (reader)". Or empty.
} quire_eviction_report;

// Drops the whole pages inside the range from memory. `report` may be NULL. Blocks.
// Errors: UNSUPPORTED where memory is the only copy; of writing what is dirty.
QUIRE_API quire_code quire_mapping_evict(const quire_mapping* mapping, uint64_t offset_bytes,
                                         uint64_t length_bytes, quire_eviction_report* report,
                                         quire_error* error) QUIRE_NOEXCEPT;

// --- Stores: READ_ONLY without QUIRE_ACCESS_READ_WRITE ------------------

// Makes the view, and the file, this long. What is added reads as zeros.
// Errors: ENOSPC with the size unchanged; LIMIT past the reserved addresses; UNSUPPORTED for
//         private views, devices, views that end before the file does.
QUIRE_API quire_code quire_mapping_resize(quire_mapping* mapping, uint64_t size_bytes,
                                          quire_error* error) QUIRE_NOEXCEPT;
// Adds bytes at the end. Errors: as quire_mapping_resize(). Cost: a system call, no page fault.
QUIRE_API quire_code quire_mapping_append(quire_mapping* mapping, const void* data,
                                          size_t length_bytes, quire_error* error) QUIRE_NOEXCEPT;
// Blocks until the range is as durable as asked.
// Errors: the first error of the device sticks: this and every later flush, and close, return it.
//         UNSUPPORTED for memory and private views.
QUIRE_API quire_code quire_mapping_flush(const quire_mapping* mapping, uint64_t offset_bytes,
                                         uint64_t length_bytes, uint32_t durability,
                                         quire_error* error) QUIRE_NOEXCEPT;
// The same in the background. The ticket outlives the mapping.
QUIRE_API quire_code quire_mapping_flush_async(const quire_mapping* mapping, uint64_t offset_bytes,
                                               uint64_t length_bytes, uint32_t durability,
                                               quire_ticket** ticket,
                                               quire_error* error) QUIRE_NOEXCEPT;
// Forgets the error that sticks: for a caller who has dealt with it.
QUIRE_API quire_code quire_mapping_acknowledge_error(const quire_mapping* mapping,
                                                     quire_error* error) QUIRE_NOEXCEPT;

// --- The end -------------------------------------------------------------------------------------

// Releases everything, and returns what failed: a flush in the background, trimming, munmap.
QUIRE_API quire_code quire_mapping_close(quire_mapping* mapping, quire_error* error) QUIRE_NOEXCEPT;
QUIRE_API void quire_mapping_free(quire_mapping* mapping) QUIRE_NOEXCEPT;

#if defined(__cplusplus)
}  // extern "C"
#endif
