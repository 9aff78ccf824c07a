// SPDX-License-Identifier: Apache-2.0
//
// Views of a memfd as page tables: taking pages out of them in bulk, and asking which are in.
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>

#include "quire/base/check.h"
#include "quire/base/page_window.h"
#include "quire/sys/call.h"
#include "quire/sys/file.h"
#include "quire/sys/internal/kernel_abi.h"
#include "quire/sys/internal/run.h"
#include "quire/sys/user_fault.h"

namespace quire::sys {
namespace {

using Ranges = std::span<const std::span<std::byte>>;

// Ranges of one system call, regions of one scan, words of one read: 1 to 2 KiB of stack each.
constexpr std::size_t kRangesMax = 64;
constexpr std::size_t kRegionsMax = 64;
constexpr std::size_t kWordsMax = 128;

// Set for good once the kernel has refused the call for many ranges but done them one by one.
std::atomic<bool> g_is_bulk_refused{false};
static_assert(std::atomic<bool>::is_always_lock_free, "used on fault paths");

Outcome<void> unmap_one_by_one(Ranges ranges) noexcept {
  for (const std::span<std::byte> range : ranges) {
    QUIRE_TRY(advise_pages(range.data(), range.size(), MemoryAdvice::kDontNeed));
  }
  return {};
}

// One process_madvise; minus the errno when nothing was done, else the bytes done.
// REQUIRES: at most kRangesMax ranges.
std::int64_t unmap_in_bulk(Ranges ranges) noexcept {
  std::array<iovec, kRangesMax> vector;
  std::transform(ranges.begin(), ranges.end(), vector.begin(), [](std::span<std::byte> range) {
    return iovec{.iov_base = range.data(), .iov_len = range.size()};
  });
  return internal::run_bare(Call::kAdviseMemory, [&](const CallSite&) {
    return ::syscall(abi::kSysProcessMadvise, abi::kPidfdSelf, vector.data(), ranges.size(),
                     MADV_DONTNEED, 0U);
  });
}

std::int64_t total_bytes(Ranges ranges) noexcept {
  std::size_t total = 0;
  for (const std::span<std::byte> range : ranges) {
    total += range.size();
  }
  return static_cast<std::int64_t>(total);
}

// What a kernel says, or a seccomp filter, that does not have the call for oneself: ENOSYS before
// 5.10, EINVAL before 6.13, EBADF before 6.14.
bool is_refusal(std::int64_t result) noexcept {
  return result == -ENOSYS || result == -EINVAL || result == -EBADF || result == -EPERM;
}

Outcome<void> unmap_batch(Ranges ranges) noexcept {
  if (ranges.size() == 1 || g_is_bulk_refused.load(std::memory_order_relaxed)) {
    return unmap_one_by_one(ranges);
  }
  const std::int64_t result = unmap_in_bulk(ranges);
  if (result == total_bytes(ranges)) {
    return {};
  }
  // Refused, or stopped half way: one by one tells at which range and why, and doing one twice
  // changes nothing.
  QUIRE_TRY(unmap_one_by_one(ranges));
  if (is_refusal(result)) {
    g_is_bulk_refused.store(true, std::memory_order_relaxed);
  }
  return {};
}

// --- Which pages are mapped ----------------------------------------------------------------------

struct PageSpan {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

// One PAGEMAP_SCAN over `span`; the regions found are in `regions`.
struct Scan {
  abi::PagemapScan argument{};
  std::array<abi::PagemapRegion, kRegionsMax> regions;

  // How many regions, or minus the errno. The scan stopped at argument.walk_end.
  std::int64_t run(int fd, PageSpan span) noexcept {
    argument = {};
    argument.size = sizeof argument;
    argument.start = span.begin;
    argument.end = span.end;
    argument.vector = reinterpret_cast<std::uintptr_t>(regions.data());
    argument.vector_length = regions.size();
    argument.category_mask = abi::kPageIsPresent;
    argument.return_mask = abi::kPageIsPresent;
    return internal::run_bare(Call::kPageScan, [&](const CallSite&) {
      return ::ioctl(fd, abi::kPagemapScan, &argument);
    });
  }
};

Outcome<void> scan_present(int fd, PageSpan span, std::span<bool> present) noexcept {
  const int shift = os_page_size().shift();
  Scan scan;
  for (std::uint64_t at = span.begin; at < span.end; at = scan.argument.walk_end) {
    const std::int64_t count = scan.run(fd, {at, span.end});
    if (count < 0) {
      return refuse(static_cast<int>(-count));
    }
    if (scan.argument.walk_end <= at) {
      return refuse(EIO);  // It would go on for ever.
    }
    for (const abi::PagemapRegion& region :
         std::span(scan.regions).first(static_cast<std::size_t>(count))) {
      const auto first = static_cast<std::ptrdiff_t>((region.start - span.begin) >> shift);
      const auto last = static_cast<std::ptrdiff_t>((region.end - span.begin) >> shift);
      std::fill(present.begin() + first, present.begin() + last, true);
    }
  }
  return {};
}

// The same from the words of the file, one for each page.
Outcome<void> read_present(int fd, PageSpan span, std::span<bool> present) noexcept {
  const int shift = os_page_size().shift();
  std::array<std::uint64_t, kWordsMax> words;
  const std::uint64_t page_count = (span.end - span.begin) >> shift;
  for (std::uint64_t page = 0; page < page_count; page += words.size()) {
    const auto some =
        std::span(words).first(std::min<std::uint64_t>(words.size(), page_count - page));
    const std::uint64_t offset_bytes = ((span.begin >> shift) + page) * sizeof words[0];
    const std::size_t got_bytes =
        QUIRE_TRY(read_at(fd, std::as_writable_bytes(some), offset_bytes));
    if (got_bytes != some.size_bytes()) {
      return refuse(EFAULT);  // Past the end of the address space.
    }
    for (std::size_t i = 0; i < some.size(); ++i) {
      present[page + i] = (some[i] & abi::kPagemapPresent) != 0;
    }
  }
  return {};
}

}  // namespace

Outcome<void> unmap_from_view(Ranges ranges) noexcept {
  while (!ranges.empty()) {
    const std::size_t count = std::min(ranges.size(), kRangesMax);
    QUIRE_TRY(unmap_batch(ranges.first(count)));
    ranges = ranges.subspan(count);
  }
  return {};
}

Outcome<PageScan> PageScan::open() noexcept {
  Descriptor descriptor = QUIRE_TRY(open_file("/proc/self/pagemap", {}));
  Scan scan;
  // An empty range: is the call known?
  const bool has_scan = scan.run(descriptor.get(), {0, 0}) >= 0;
  return PageScan(std::move(descriptor), has_scan);
}

Outcome<void> PageScan::present(Address address, std::uint64_t length_bytes,
                                std::span<bool> present) const noexcept {
  const std::uint64_t page_count = pages_touched({0, length_bytes}, os_page_size()).value;
  QUIRE_CHECK_GE(present.size(), page_count);
  const auto begin = reinterpret_cast<std::uintptr_t>(address);
  const PageSpan span{begin, begin + page_count * os_page_size().bytes()};
  if (!has_scan_) {
    return read_present(descriptor_.get(), span, present);
  }
  std::fill_n(present.begin(), page_count, false);
  return scan_present(descriptor_.get(), span, present);
}

}  // namespace quire::sys
