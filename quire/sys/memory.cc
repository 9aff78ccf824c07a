// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/memory.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "quire/base/page_window.h"
#include "quire/sys/call.h"
#include "quire/sys/internal/run.h"

// Younger than Debian 12's headers.
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

namespace quire::sys {
namespace {

using internal::run_void;

int to_bits(Protection protection) noexcept {
  switch (protection) {
    case Protection::kNone: return PROT_NONE;
    case Protection::kRead: return PROT_READ;
    case Protection::kReadWrite: break;
  }
  return PROT_READ | PROT_WRITE;
}

int to_bits(const MapRequest& request) noexcept {
  int bits = request.visibility == Visibility::kShared ? MAP_SHARED : MAP_PRIVATE;
  bits |= request.fd < 0 ? MAP_ANONYMOUS : 0;
  bits |= request.fixed_address != nullptr ? MAP_FIXED : 0;
  bits |= request.no_reserve ? MAP_NORESERVE : 0;
  bits |= request.populate ? MAP_POPULATE : 0;
  bits |= request.huge_pages ? MAP_HUGETLB : 0;
  return bits;
}

int to_bits(MemoryAdvice advice) noexcept {
  switch (advice) {
    case MemoryAdvice::kNormal: return MADV_NORMAL;
    case MemoryAdvice::kRandom: return MADV_RANDOM;
    case MemoryAdvice::kSequential: return MADV_SEQUENTIAL;
    case MemoryAdvice::kWillNeed: return MADV_WILLNEED;
    case MemoryAdvice::kDontNeed: return MADV_DONTNEED;
    case MemoryAdvice::kRemove: return MADV_REMOVE;
    case MemoryAdvice::kCold: return MADV_COLD;
    case MemoryAdvice::kPageOut: return MADV_PAGEOUT;
    case MemoryAdvice::kPopulateRead: return MADV_POPULATE_READ;
    case MemoryAdvice::kPopulateWrite: return MADV_POPULATE_WRITE;
    case MemoryAdvice::kHugePage: return MADV_HUGEPAGE;
    case MemoryAdvice::kNoHugePage: return MADV_NOHUGEPAGE;
    case MemoryAdvice::kCollapse: return MADV_COLLAPSE;
    case MemoryAdvice::kDontFork: return MADV_DONTFORK;
    case MemoryAdvice::kDontDump: break;
  }
  return MADV_DONTDUMP;
}

}  // namespace

PageSize os_page_size() noexcept {
  static const PageSize size(static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)));
  return size;
}

Outcome<Address> map_pages(const MapRequest& request) noexcept {
  void* address = MAP_FAILED;
  const Outcome<void> outcome = run_void(Call::kMap, [&] {
    address = ::mmap(request.fixed_address, request.length_bytes, to_bits(request.protection),
                     to_bits(request), request.fd, static_cast<off_t>(request.offset_bytes));
    return address == MAP_FAILED ? -1 : 0;
  });
  if (!outcome) {
    return tl::unexpected<Errno>(outcome.error());
  }
  return static_cast<Address>(address);
}

Outcome<void> unmap_pages(Address address, std::uint64_t length_bytes) noexcept {
  return run_void(Call::kUnmap, [&] { return ::munmap(address, length_bytes); });
}

Outcome<void> protect_pages(Address address, std::uint64_t length_bytes,
                            Protection protection) noexcept {
  return run_void(Call::kProtect,
                  [&] { return ::mprotect(address, length_bytes, to_bits(protection)); });
}

Outcome<void> remap_in_place(Address address, std::uint64_t old_length_bytes,
                             std::uint64_t new_length_bytes) noexcept {
  return run_void(Call::kRemap, [&] {
    return ::mremap(address, old_length_bytes, new_length_bytes, 0) == MAP_FAILED ? -1 : 0;
  });
}

Outcome<void> advise_pages(Address address, std::uint64_t length_bytes,
                           MemoryAdvice advice) noexcept {
  // EAGAIN: the kernel could not take a lock or a page this time. It clears up by itself, but a
  // page that stays busy (a stuck network server) must not hang us: a bounded number of tries.
  constexpr int kTriesMax = 64;
  Outcome<void> outcome;
  for (int attempt = 0; attempt < kTriesMax; ++attempt) {
    outcome = run_void(Call::kAdviseMemory,
                       [&] { return ::madvise(address, length_bytes, to_bits(advice)); });
    if (outcome || outcome.error().value != EAGAIN) {
      return outcome;
    }
  }
  return outcome;
}

Outcome<void> lock_pages(Address address, std::uint64_t length_bytes, LockMode mode) noexcept {
  const unsigned flags = mode == LockMode::kOnFault ? MLOCK_ONFAULT : 0;
  return run_void(Call::kLock, [&] { return ::mlock2(address, length_bytes, flags); });
}

Outcome<void> unlock_pages(Address address, std::uint64_t length_bytes) noexcept {
  // The raw call: sanitizers put a munlock() that does nothing in place of libc's.
  return run_void(Call::kUnlock,
                  [&] { return static_cast<int>(::syscall(SYS_munlock, address, length_bytes)); });
}

Outcome<void> sync_pages(Address address, std::uint64_t length_bytes) noexcept {
  return run_void(Call::kSyncMemory, [&] { return ::msync(address, length_bytes, MS_SYNC); });
}

Outcome<void> page_residency(Address address, std::uint64_t length_bytes,
                             std::span<unsigned char> vector) noexcept {
  // The kernel writes one byte per page, wherever the vector ends.
  QUIRE_CHECK_GE(vector.size(), pages_touched({0, length_bytes}, os_page_size()).value);
  return run_void(Call::kResidency,
                  [&] { return ::mincore(address, length_bytes, vector.data()); });
}

}  // namespace quire::sys
