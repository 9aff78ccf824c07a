// SPDX-License-Identifier: Apache-2.0
//
// private_pages: which pages of a private mapping are this process's own, and which of them it has
// stored to since it was asked last.
//
//   StoreNotes notes = StoreNotes::open();                  userfaultfd with WP_ASYNC
//   PrivatePages pages = PrivatePages::open();              /proc/self/pagemap
//   notes.watch(view, length)
//   pages.take_stored(view, length, runs)      what was stored to; noted anew from here on
//   pages.find(view, length, runs)             all own pages: copies that stores have made
//
// A page is one's own when it is there (or swapped out) and not a page of the file. Nobody is told
// of a store, and nothing waits: the first one to a page after take_stored() costs a fault, in
// which the kernel makes its note.
//
// A memory mapping placed over watched addresses is not watched, and its pages all count as stored
// to until it is.
//
// take_stored() notes every page that is there, the file's too, so that it can pass over them the
// next time without a closer look.
//
// Thread-safety: const members from any thread. A store that comes during take_stored() is found by
//                it or by the next one.
// Errors:        Outcome with the kernel's errno. After an error of take_stored() some notes may be
//                gone: find() knows no less.
// Safety:        memory that was handed to the kernel for input (a fixed buffer of io_uring, a
//                direct read under way) is written without a note.
// Cost:          take_stored() of a GiB that is all in memory: 0.2 ms, and 6 ns for each page that
//                came or was stored to since the last time. Of one with many empty pages between
//                others, three times that: without a note they are found each time, so where they
//                are many the kernel is asked to pass over them.
// Kernel:        6.7 for StoreNotes and take_stored(); find() reads the words of pagemap before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "quire/base/result.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/memory.h"
#include "quire/sys/outcome.h"

namespace quire::sys {

// The kernel's notes about stores. Closed with the object, which ends the watching.
class StoreNotes {
 public:
  // Errors: kUnsupported where it is forbidden or too old, with what each way to it said.
  [[nodiscard]] static Result<StoreNotes> open();

  // Private memory, of a file on disk or of none. Errors: EINVAL for what cannot be watched;
  // ENOMEM.
  Outcome<void> watch(Address address, std::uint64_t length_bytes) const noexcept;
  // Which way it was had: "/dev/userfaultfd", "userfaultfd(2) ...".
  [[nodiscard]] const std::string& explain() const noexcept { return explanation_; }

 private:
  Descriptor descriptor_;
  std::string explanation_;
};

struct PageRun {
  Address first = nullptr;
  std::uint64_t length_bytes = 0;
};

// How far a walk came: it stops early when there is no room for more runs.
struct PageWalk {
  std::size_t run_count = 0;
  std::uint64_t walked_bytes = 0;  // Never 0, unless there was nothing to walk.
};

enum class OwnPages : std::uint8_t { kAnywhere, kInMemory };

// Always about the process that opened it: after fork() the child opens its own.
class PrivatePages {
 public:
  [[nodiscard]] static Outcome<PrivatePages> open() noexcept;

  // Whether take_stored() is there.
  [[nodiscard]] bool has_scan() const noexcept { return has_scan_; }
  // Runs of pages stored to since the last call, in order. Neighbours may come as two runs.
  // REQUIRES: `into` is not empty. Errors: EPERM for memory that is not watched. Allocates nothing.
  [[nodiscard]] Outcome<PageWalk> take_stored(Address address, std::uint64_t length_bytes,
                                              std::span<PageRun> into) const noexcept;
  // The same for all own pages, or for those that are in memory. kAnywhere is on the safe side: a
  // page that was given back while it was noted (6.7) counts, though it is the file's again.
  [[nodiscard]] Outcome<PageWalk> find(Address address, std::uint64_t length_bytes,
                                       std::span<PageRun> into,
                                       OwnPages which = OwnPages::kAnywhere) const noexcept;

 private:
  PrivatePages(Descriptor descriptor, bool has_scan) noexcept
      : descriptor_(std::move(descriptor)), has_scan_(has_scan) {}

  Descriptor descriptor_;
  bool has_scan_ = false;
};

}  // namespace quire::sys
