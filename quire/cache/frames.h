// SPDX-License-Identifier: Apache-2.0
//
// frames: the memory of one area: a memfd that is as long as the store, and the view that the
// application sees, watched by userfaultfd. Granule i lies at i * granule in both.
//
//   store   |----------------- size -----------------|
//   memfd   |==  ====   =            ===     == =  ==|         only resident granules take memory
//   view    |-------------- size ------------|------ reserved for growth ------|
//            past the memfd's end the kernel raises SIGBUS by itself, as for any mapping
//
// The memfd's size is the store's, rounded up to the OS page: the rest of the last page is there
// and reads as zeros, as in any mapping, and whole pages can be copied. The view starts at a
// multiple of 2 MiB, so that what one page table covers is one leaf of 4 KiB granules.
//
// What may be done with a granule, and when, is granule_table.h's business: these are the steps
// between its states. All of them are system calls on the memfd or the userfaultfd; nothing here
// ever touches the view (that would be a fault to be served by ourselves).
//
//   install    absent -> in memory, mapped, protected or not: one copy, one call per stretch
//   place      absent -> in memory, not mapped: the first touch is the kernel's own, and visible to
//              PageScan; protected by a marker that is set first, where the view is writable
//   punch      gone, from the memfd and from every view
//   fetch      a copy of what is there, for write-back
//
// Where the machine is set to give shared memory huge pages (transparent_hugepage/shmem_enabled
// "always", "within_size", "force", or one of its kin), a write of 4 KiB into a memfd takes 2 MiB:
// far beyond what was charged. make() tries it out, and then place() copies into the view and takes
// the pages out of it again, which costs a microsecond a page more. A setting that changes later is
// not noticed.
//
// Invariants:    size_bytes() <= reserved_bytes(); the view is never inherited by fork() and never
//                in core dumps (its faults would have to be served by nobody).
// Thread-safety: every const member from any thread, also where a fault is being served; the others
//                one at a time.
// Errors:        Outcome or Result with the kernel's errno.
// Teardown:      close() unmaps the view first, then ends the watch: the other way round sleeping
//                threads would be given zeros.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "quire/base/result.h"
#include "quire/cache/fork_mark.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/user_fault.h"

namespace quire {

struct FramesOptions {
  std::string name;                 // Of the memfd, in /proc: the file's name; cut to fit.
  std::uint64_t size_bytes = 0;     // Of the store.
  std::uint64_t reserve_bytes = 0;  // Address space, at least the size; rounded up.
  std::uint64_t granule_bytes = 0;  // A power of two, at least the OS page.
  bool is_writable = false;         // The view.
  sys::FaultDelivery delivery = sys::FaultDelivery::kMessages;
};

class Frames {
 public:
  // Errors: those of open_user_fault() and of mmap, memfd_create.
  [[nodiscard]] static Result<std::unique_ptr<Frames>> make(const FramesOptions& options);
  ~Frames();
  Frames(const Frames&) = delete;
  Frames& operator=(const Frames&) = delete;

  // Fills [offset, offset + bytes) of the memfd from `from`, maps it, and wakes who waits.
  // REQUIRES: the range is absent, granule-aligned at its start; `from` covers whole OS pages.
  // Errors: ENOMEM; EFAULT past the end; EEXIST when something was there that should not be: it is
  //         punched and the copy repeated once for each page before this is given up. What was
  //         copied before an error is in memory: punch() it.
  sys::Outcome<void> install(std::uint64_t offset_bytes, std::span<const std::byte> from,
                             sys::Installed installed) const noexcept;
  // Zeros, writable, without a copy; also for a part of a granule, in OS pages.
  sys::Outcome<void> install_zeros(std::uint64_t offset_bytes,
                                   std::uint64_t length_bytes) const noexcept;
  // Protects the absent range, then writes it into the memfd; maps nothing. Wakes who waits.
  // Errors: ENOMEM; EFAULT past the end. After an error the range is absent (and protected).
  sys::Outcome<void> place(std::uint64_t offset_bytes,
                           std::span<const std::byte> from) const noexcept;
  // A copy of resident bytes, taken through the memfd; also while set_size() is under way. Errors:
  // EFAULT past the end.
  sys::Outcome<void> fetch(std::uint64_t offset_bytes, std::span<std::byte> into) const noexcept;
  sys::Outcome<void> punch(std::uint64_t offset_bytes, std::uint64_t length_bytes) const noexcept;

  sys::Outcome<void> protect(std::uint64_t offset_bytes, std::uint64_t length_bytes) const noexcept;
  sys::Outcome<void> allow_writes(std::uint64_t offset_bytes,
                                  std::uint64_t length_bytes) const noexcept;
  sys::Outcome<void> wake(std::uint64_t offset_bytes, std::uint64_t length_bytes) const noexcept;
  // REQUIRES: the range is absent. Errors: ENOSYS where the kernel cannot (6.6).
  sys::Outcome<void> poison(std::uint64_t offset_bytes, std::uint64_t length_bytes) const noexcept;
  // Drops what the page tables have for an absent range, markers too, so that the kernel can free
  // the tables themselves (6.14).
  sys::Outcome<void> forget_page_tables(std::uint64_t offset_bytes,
                                        std::uint64_t length_bytes) const noexcept;

  // Changes the memfd's length; what is beyond is gone, from the view too, and reads as zeros when
  // it comes back: also what the application stored behind the size into its last page.
  // REQUIRES: size_bytes <= reserved_bytes(); no granule that lies wholly beyond is in memory.
  // Errors: EFBIG (RLIMIT_FSIZE).
  sys::Outcome<void> set_size(std::uint64_t size_bytes) noexcept;

  // The first half of close(): the view is gone, the memfd and who sleeps are still there. Threads
  // that touch it afterwards get SIGSEGV. Idempotent.
  void unmap_view() noexcept;
  // See the header. Threads that touch the view afterwards get SIGSEGV. Idempotent.
  void close() noexcept;

  // Where the view is, or was.
  [[nodiscard]] std::byte* view() const noexcept { return view_; }
  [[nodiscard]] std::uint64_t size_bytes() const noexcept { return size_bytes_.load(); }
  [[nodiscard]] std::uint64_t reserved_bytes() const noexcept { return reserved_bytes_; }
  [[nodiscard]] const sys::UserFault& faults() const noexcept { return faults_; }
  // See above: writes into the memfd would take more memory than they should.
  [[nodiscard]] bool places_by_copy() const noexcept { return places_by_copy_; }
  [[nodiscard]] int memfd() const noexcept { return memfd_.get(); }
  // What the kernel has for the memfd, exactly: for audits of the budget.
  [[nodiscard]] Result<std::uint64_t> resident_bytes() const;

 private:
  explicit Frames(const FramesOptions& options);
  [[nodiscard]] sys::Outcome<void> map(const FramesOptions& options);
  sys::Outcome<void> place_by_write(std::uint64_t offset_bytes,
                                    std::span<const std::byte> from) const noexcept;
  sys::Outcome<void> place_by_copy(std::uint64_t offset_bytes,
                                   std::span<const std::byte> from) const noexcept;
  [[nodiscard]] sys::Address at(std::uint64_t offset_bytes) const noexcept;

  const std::uint64_t granule_bytes_;  // For checks.
  const bool is_writable_ = false;
  const ForkMark fork_mark_;
  sys::Descriptor memfd_;
  sys::UserFault faults_;
  std::byte* view_ = nullptr;  // Stays known after it was unmapped.
  std::atomic<bool> is_mapped_{false};
  std::atomic<std::uint64_t> size_bytes_{0};
  std::uint64_t reserved_bytes_ = 0;
  bool places_by_copy_ = false;
};

}  // namespace quire
