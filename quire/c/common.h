// SPDX-License-Identifier: Apache-2.0
//
// common: what every part of the C API shares: how failure is told, how structures grow, who owns
// what. docs/c.md tells the story with examples.
//
//   quire_error error = QUIRE_ERROR_INIT;
//   quire_mapping* mapping;
//   if (quire_map_file("data.bin", NULL, &mapping, &error) != QUIRE_OK) {
//     fprintf(stderr, "%s\n", error.message);
//     return 1;
//   }
//
// Errors.  Whatever can fail returns a quire_code and takes, last, a quire_error*, or NULL. The
//          error belongs to the caller and nothing in it is to be freed. It is not kept per thread:
//          what runs on many threads by turns (goroutines, futures) would look for it on another
//          one. After a success it says so.
// Options. Structures that callers fill in begin with struct_size, their own size; NULL stands for
//          all defaults, and zero is the default in every field. A program may be older than the
//          library (what it does not know is zero) or newer (refused only if it asks for something
//          that the library does not know). Other sizes are EINVAL.
// Results. Structures that the library fills in begin with struct_size, too, set by the caller; of
//          a shorter one only that much is written, what is not known in a longer one is zero.
// Handles. Pointers to incomplete types. A function that makes one writes NULL when it fails.
//          quire_X_close() ends the work and returns what failed; the handle stays, empty.
//          quire_X_free() releases without a word; NULL is fine; the handle is gone. They may be
//          freed in any order: what one needs of another lives as long as it does.
// Misuse:  NULL where something is needed, a wrong struct_size, a value that is no constant: EINVAL
//          (or NULL, 0, -1 from functions without a code). A handle that was freed: undefined.
// Thread-safety: as for the C++ objects, said in each chapter; the functions of this one: any.
#pragma once

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define QUIRE_API __attribute__((visibility("default")))
#else
#define QUIRE_API
#endif
#if defined(__cplusplus)
#define QUIRE_NOEXCEPT noexcept
extern "C" {
#else
#define QUIRE_NOEXCEPT
#endif

// --- Versions ------------------------------------------------------------------------------------

// Of this header. A program that was built with one version of the ABI runs with every library of
// the same one.
#define QUIRE_ABI_VERSION UINT32_C(1)
// Of the library that is linked.
QUIRE_API uint32_t quire_abi_version(void) QUIRE_NOEXCEPT;
QUIRE_API const char* quire_version(void) QUIRE_NOEXCEPT;  // "1.2.3"

// --- Errors --------------------------------------------------------------------------------------

// 0: success. Negative: the kernel's errno, negated (-ENOENT). Positive: quire's own, below. New
// ones may come.
typedef int32_t quire_code;

#define QUIRE_OK INT32_C(0)
#define QUIRE_ERROR_OUT_OF_RANGE INT32_C(1)    // A range ends past what it indexes.
#define QUIRE_ERROR_MISALIGNED INT32_C(2)      // An address or length does not fit.
#define QUIRE_ERROR_UNSUPPORTED INT32_C(3)     // Kernel, file system or object cannot do it.
#define QUIRE_ERROR_WRONG_KIND INT32_C(4)      // A directory, a socket, ...
#define QUIRE_ERROR_TRUNCATED INT32_C(5)       // The file is shorter than it was.
#define QUIRE_ERROR_CLOSED INT32_C(6)          // The object was closed.
#define QUIRE_ERROR_LIMIT INT32_C(7)           // A limit would be exceeded; remedy says which.
#define QUIRE_ERROR_CANCELLED INT32_C(8)       // Nobody does the work any more.
#define QUIRE_ERROR_CORRUPT INT32_C(9)         // Bytes do not have the form they claim.
#define QUIRE_ERROR_READ_ONLY INT32_C(10)      // It may only be read.
#define QUIRE_ERROR_FAULT INT32_C(11)          // A load or store failed (SIGBUS).
#define QUIRE_ERROR_CHANGED INT32_C(12)        // The file is not the one it was.
#define QUIRE_ERROR_NEWER_VERSION INT32_C(13)  // Written by a later version.
#define QUIRE_ERROR_FAILED INT32_C(14)         // An earlier error sticks to this object.
#define QUIRE_ERROR_SEALED INT32_C(15)         // A seal forbids it, or is missing.

// "QUIRE_ERROR_OUT_OF_RANGE", "ENOENT"; "unknown" for what has no name here. Never freed.
QUIRE_API const char* quire_code_name(quire_code code) QUIRE_NOEXCEPT;

// What was tried, on what, why it failed, and what to do about it. Texts end with a zero and are
// cut at the end of a character where they do not fit.
typedef struct quire_error {
  uint32_t struct_size;  // sizeof(quire_error): see QUIRE_ERROR_INIT.
  quire_code code;       // As returned.
  int32_t system_errno;  // The kernel's, or 0.
  uint32_t reserved;     // 0.
  char message[1520];    // operation(subject): cause; remedy
  char remedy[512];      // The last part alone; may be empty.
} quire_error;

#define QUIRE_ERROR_INIT {sizeof(quire_error), 0, 0, 0, "", ""}

// --- Values --------------------------------------------------------------------------------------

// A length: up to the end, whatever the size turns out to be. Zero means zero in an argument; in
// options it is the default.
#define QUIRE_TO_END UINT64_MAX
// Of durations in options, where zero is the default: no time at all.
#define QUIRE_MS_NONE UINT32_MAX
// Of durations in arguments: without end.
#define QUIRE_MS_FOREVER UINT32_MAX

// Bytes [offset_bytes, offset_bytes + length_bytes). It will never have other members.
typedef struct quire_range {
  uint64_t offset_bytes;
  uint64_t length_bytes;
} quire_range;

// What options ask for with `access`.
#define QUIRE_ACCESS_READ_ONLY UINT32_C(0)
#define QUIRE_ACCESS_READ_WRITE UINT32_C(1)

// `create`: what becomes of a missing file. Any but the first needs QUIRE_ACCESS_READ_WRITE.
#define QUIRE_CREATE_NEVER UINT32_C(0)  // ENOENT.
#define QUIRE_CREATE_IF_MISSING UINT32_C(1)
#define QUIRE_CREATE_EXCLUSIVE UINT32_C(2)  // EEXIST when it is there.

// `space`: what stands behind bytes that are added.
#define QUIRE_SPACE_SECURED UINT32_C(0)  // Disk space: a full disk is an error now.
#define QUIRE_SPACE_SPARSE UINT32_C(1)   // Holes: a store can meet a full disk (SIGBUS).

// `reserve_bytes`: addresses for growth, which cost nothing. 0: as many as are usual.
#define QUIRE_RESERVE_NONE UINT64_MAX

// What is on disk when a flush returns.
#define QUIRE_DURABILITY_DATA UINT32_C(0)     // The range survives a power cut.
#define QUIRE_DURABILITY_ALL UINT32_C(1)      // So do the whole file, its times, its name.
#define QUIRE_DURABILITY_STARTED UINT32_C(2)  // Nothing is promised: the device has work.

// --- Tickets: work that goes on in the background ------------------------------------------------

typedef struct quire_ticket quire_ticket;

// 1 when the outcome is known, 0 before.
QUIRE_API int32_t quire_ticket_is_done(const quire_ticket* ticket) QUIRE_NOEXCEPT;
// The outcome of the work, every time that it is asked for. Errors: -ETIMEDOUT when it is not known
// in time (QUIRE_MS_FOREVER: blocks until it is).
QUIRE_API quire_code quire_ticket_wait(const quire_ticket* ticket, uint32_t timeout_ms,
                                       quire_error* error) QUIRE_NOEXCEPT;
// The work goes on all the same.
QUIRE_API void quire_ticket_free(quire_ticket* ticket) QUIRE_NOEXCEPT;

// --- Updates: stores that belong together --------------------------------------------------------

// What is stored between quire_area_begin_update(), or quire_tracked_begin_update(), and
// quire_update_end() is in one commit, whole. Until the end commits wait; other threads' updates do
// not. It makes nothing durable, cannot be undone, and keeps nobody from the same bytes.
//
//   quire_tracked_begin_update(tracked, &update, &error);
//   accounts[3].cents -= 100;
//   accounts[7].cents += 100;
//   quire_update_end(update);
//
// Inside of one, its thread's commits, rollbacks, resizes and closes of anything that can be
// committed give FAILED, but quire_area_commit_async(), which begins when the update has ended; nor
// may it wait for a thread that may be in a commit. quire/journal/update.h has the rest.
typedef struct quire_update quire_update;

// By the thread that began it; NULL is fine.
QUIRE_API void quire_update_end(quire_update* update) QUIRE_NOEXCEPT;

#if defined(__cplusplus)
}  // extern "C"
#endif
