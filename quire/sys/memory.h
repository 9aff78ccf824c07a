// SPDX-License-Identifier: Apache-2.0
//
// memory: address space. mmap and its family, with the flags as types.
//
// Addresses and lengths must already be page multiples: base/page_window.h makes them so.
// Nothing here allocates or locks.
//
// Thread-safety: any thread, as far as the ranges do not overlap.
// Errors:        Outcome with the kernel's errno.
// Kernel:        5.10 is assumed; what is younger says so and fails with EINVAL or ENOSYS before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "quire/base/units.h"
#include "quire/sys/outcome.h"

namespace quire::sys {

// The OS page, 4 KiB on x86-64; asked of the kernel once.
[[nodiscard]] PageSize os_page_size() noexcept;

enum class Protection : std::uint8_t { kNone, kRead, kReadWrite };
enum class Visibility : std::uint8_t { kShared, kPrivate };

// An address that is only a number (no alignment, no lifetime).
using Address = std::byte*;

struct MapRequest {
  std::uint64_t length_bytes = 0;
  Protection protection = Protection::kRead;
  Visibility visibility = Visibility::kShared;
  int fd = -1;                      // -1: anonymous memory.
  std::uint64_t offset_bytes = 0;   // In the file; a page multiple.
  Address fixed_address = nullptr;  // Not null: exactly there, replacing what is there.
  bool no_reserve = false;          // No swap accounting: for reservations and huge sparse maps.
  bool populate = false;    // MAP_POPULATE: silent and partial; see populate advice instead.
  bool huge_pages = false;  // MAP_HUGETLB: the default huge page size.
};

[[nodiscard]] Outcome<Address> map_pages(const MapRequest& request) noexcept;
Outcome<void> unmap_pages(Address address, std::uint64_t length_bytes) noexcept;
Outcome<void> protect_pages(Address address, std::uint64_t length_bytes,
                            Protection protection) noexcept;
// Changes the length without moving. Errors: ENOMEM when what follows is in use.
Outcome<void> remap_in_place(Address address, std::uint64_t old_length_bytes,
                             std::uint64_t new_length_bytes) noexcept;

// madvise(2) values. Raw madvise, never posix_madvise: glibc's ignores DONTNEED.
enum class MemoryAdvice : std::uint8_t {
  kNormal,
  kRandom,
  kSequential,
  kWillNeed,
  kDontNeed,
  kRemove,
  kCold,           // 5.4
  kPageOut,        // 5.4
  kPopulateRead,   // 5.14: fails with EFAULT where a load would raise SIGBUS.
  kPopulateWrite,  // 5.14
  kHugePage,
  kNoHugePage,
  kCollapse,  // 6.1
  kDontFork,
  kDontDump,
};
Outcome<void> advise_pages(Address address, std::uint64_t length_bytes,
                           MemoryAdvice advice) noexcept;

enum class LockMode : std::uint8_t { kNow, kOnFault };
Outcome<void> lock_pages(Address address, std::uint64_t length_bytes, LockMode mode) noexcept;
Outcome<void> unlock_pages(Address address, std::uint64_t length_bytes) noexcept;

// msync(MS_SYNC): writes the range's dirty pages and waits, device cache included.
Outcome<void> sync_pages(Address address, std::uint64_t length_bytes) noexcept;

// mincore(2): one byte per page, bit 0 set when resident. A caller who may not write the file is
// told that everything is resident (since 5.2): decide with residency_is_trustworthy() first.
// REQUIRES: vector.size() covers the pages of the range (checked).
Outcome<void> page_residency(Address address, std::uint64_t length_bytes,
                             std::span<unsigned char> vector) noexcept;

}  // namespace quire::sys
