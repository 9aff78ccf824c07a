// SPDX-License-Identifier: Apache-2.0
//
// pager_options: everything that can be chosen about a pager and about what it maps, as aggregates
// for designated initialisers. Every limit has a name here, a default, and the reason for it.
//
//   Pager pager({.memory_bytes = 256_MiB});
//   pager.map("big.bin")                                               read-only, whole file
//   pager.map("big.bin", {.access = Access::kReadWrite})               stores reach the file
//   pager.map("log",     {.access = Access::kReadWrite, .create = true, .reserve_bytes = 1_TiB})
//   pager.map("table",   {.access = Access::kReadWrite, .commit = Commit::kAtomic})
//
// Thread-safety: plain values.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "quire/base/commit.h"
#include "quire/base/units.h"
#include "quire/journal/journal_options.h"
#include "quire/map/map_options.h"
#include "quire/policy/replacement.h"

namespace quire {

// How a fault of the application reaches the pager.
enum class FaultPath : std::uint8_t {
  kAutomatic,  // kInline where the store can be read in a signal handler, and for atomic areas,
               // whose threads hand over what must be read; else kHandler.
  kHandler,    // The thread sleeps in the kernel, the pager's thread serves it. System calls on the
               // area work too, given full access (root, /dev/userfaultfd, or the sysctl).
  kInline,     // The faulting thread serves itself, in a SIGBUS handler: several times cheaper, and
               // as parallel as the threads. A system call that meets an absent page fails with
               // EFAULT: pin() what it is given.
};
[[nodiscard]] const char* name_of(FaultPath path) noexcept;  // "automatic", "handler", "inline"

// What a plain load or store gets when its granule cannot be had (the store failed to read, or no
// memory can be made free). pin() always gets the Error instead.
enum class OnFillError : std::uint8_t {
  kSignal,  // SIGBUS, as from the kernel; sys/bus_guard.h makes an Error of it. check() has the
            // cause. With kHandler it needs UFFDIO_POISON (6.6).
  kZeros,   // Zeros, and the error sticks to the area: flush(), check() and close() give it.
};

// What stands behind the pointers.
enum class PagingEngine : std::uint8_t {
  kAutomatic,  // kPaged; a kernel mapping where userfaultfd is forbidden. explain() says so, and
               // then no budget holds.
  kPaged,      // Fails with kUnsupported where it is forbidden.
};

// What becomes of stores that were not written back when the process is killed.
enum class SurviveKill : std::uint8_t {
  kNo,   // They are lost.
  kYes,  // A guardian process writes them. Regular files only; see quire/pager/survive_kill.h.
};

struct PagerOptions {
  // The hard bound for everything the pager keeps in memory: pages, buffers, metadata. At least
  // kMemoryBytesMin.
  std::uint64_t memory_bytes = 256_MiB;
  PolicyKind policy = PolicyKind::kS3Fifo;  // Not kLru: it would have to see every hit.
  FaultPath fault_path = FaultPath::kAutomatic;

  // The unit of state and of random reads: a power of two, an OS page to kGranuleBytesMax. One for
  // all areas of a pager, so that a page of one can go for a page of another.
  std::uint64_t granule_bytes = 4_KiB;

  // Reads ahead of a stream: largest single read, and how many are under way in front of it. The
  // defaults are what keeps a fast NVMe device busy; both shrink so that they take no more than a
  // sixteenth of the memory.
  std::uint64_t read_ahead_bytes_max = 2_MiB;
  std::uint32_t read_ahead_windows = 4;

  // Dirty bytes at which write-back starts, and at which stores wait for it; in percent of the
  // memory. Below the first a page that is stored to again and again is written once.
  std::uint32_t dirty_start_percent = 20;
  std::uint32_t dirty_max_percent = 50;
  // Both shrink on a slow device: what is dirty is never more than it writes in this time. So a
  // flush() of everything ends in about that.
  std::chrono::milliseconds write_back_time_max{10'000};
  // A page is written when it was dirty for this long at most (as dirty_expire_centisecs).
  std::chrono::milliseconds dirty_age_max{30'000};

  // For what is mapped for writing. Map by path, or a Store with a kernel_target().
  SurviveKill survive_kill = SurviveKill::kNo;

  // A fault that takes longer is reported on standard error with its state, once; zero: never.
  std::chrono::milliseconds slow_fault_report{10'000};

  static constexpr std::uint64_t kMemoryBytesMin = 1_MiB;
  static constexpr std::uint64_t kGranuleBytesMax = 2_MiB;
};

template <typename AccessType>
struct BasicPagedOptions {
  AccessType access = AccessType::by_default();
  PagingEngine engine = PagingEngine::kAutomatic;
  OnFillError on_fill_error = OnFillError::kSignal;

  // The rest needs Access::kReadWrite.
  bool create = false;
  bool exclusive = false;
  std::uint32_t create_mode = 0644;
  std::uint64_t minimum_bytes = 0;
  // Addresses for the view, growth included: they cost nothing.
  std::uint64_t reserve_bytes = kReserveAutomatic;
  Space space = Space::kSecured;  // For what minimum_bytes and resize() add.
  // kAtomic: stores come to the file by commit() alone; see pager.h.
  CommitMode commit = CommitMode::kNone;
  std::string journal_path{};  // Of kAtomic; "": beside the file, see journal_file.h.
  JournalOptions journal{};    // log_bytes bounds what can be stored between two commits.
};

using PagedOptions = BasicPagedOptions<ReadOnlyAccess>;
using WritablePagedOptions = BasicPagedOptions<ReadWriteAccess>;

// What to expect of the accesses to come, for a range.
enum class Pattern : std::uint8_t {
  kNormal,        // Streams are detected, everything else is read granule by granule.
  kRandom,        // Nothing is read that was not touched.
  kSequential,    // Full windows from the first fault on.
  kWillNotReuse,  // Gone as soon as it is behind the reader; what is there goes now.
  kOverwrite,     // The next stores cover whole granules: what is absent is not read, it begins as
                  // zeros. What was in the store is lost when the granule is stored to. Clean
                  // granules of the range go; dirty ones stay as they are.
};

}  // namespace quire
