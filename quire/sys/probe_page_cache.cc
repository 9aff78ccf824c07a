// SPDX-License-Identifier: Apache-2.0
//
// The page cache of one file: whether it can be mapped, whether the kernel tells what is resident,
// and whether it is kept in large folios.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <span>

#include "quire/base/units.h"
#include "quire/sys/file.h"
#include "quire/sys/internal/kernel_abi.h"
#include "quire/sys/internal/probe_parts.h"

namespace quire::sys::internal {
namespace {

constexpr Trial kMapping{"map.shared", "the file can be mapped",
                         "the file is read into memory instead of mapped"};
constexpr Trial kResidency{"residency_told", "cachestat tells what is in memory",
                           "mincore has to tell what is in memory, page by page"};
constexpr Trial kLargeFolios{"large_folios", "pages come and go in larger pieces",
                             "each page is faulted and evicted by itself"};

// How much of the file's beginning is looked at for large folios.
constexpr std::uint64_t kLookBytesMax = 2_MiB;
constexpr std::size_t kLookPagesMax = 512;

Outcome<ProbePages> map_start(const PathSubject& subject, std::uint64_t length_bytes) noexcept {
  return ProbePages::map({.length_bytes = length_bytes, .fd = subject.fd});
}

Finding try_mapping(const PathSubject& subject) {
  const ProbePages page = QUIRE_TRY(map_start(subject, os_page_size().bytes()));
  return std::string();
}

struct CacheCount {
  std::uint64_t cached_pages = 0;
  std::uint64_t dirty_pages = 0;
};

Outcome<CacheCount> count_cached(int fd) noexcept {
  std::array<std::uint64_t, 2> range{0, 0};  // Length 0: to the end.
  std::array<std::uint64_t, 5> pages{};
  QUIRE_TRY(
      try_call([&] { return ::syscall(abi::kSysCachestat, fd, range.data(), pages.data(), 0U); }));
  return CacheCount{.cached_pages = pages[0], .dirty_pages = pages[1]};
}

// Overlay answers without an error and counts nothing, since the pages belong to the file of the
// layer below: whoever counts nothing must count a page that was just read.
Outcome<bool> counts_truly(const PathSubject& subject, const CacheCount& first) noexcept {
  if (first.cached_pages > 0 || subject.size_bytes == 0) {
    return true;
  }
  std::byte byte{};
  QUIRE_TRY(read_at(subject.fd, {&byte, 1}, 0));
  return QUIRE_TRY(count_cached(subject.fd)).cached_pages > 0;
}

Capability conclude_residency(const PathSubject& subject) {
  const Outcome<CacheCount> count = count_cached(subject.fd);
  if (!count) {
    return conclude(kResidency, tl::unexpected<Errno>(count.error()));
  }
  const Outcome<bool> is_true = counts_truly(subject, *count);
  if (!is_true) {
    return conclude(kResidency, tl::unexpected<Errno>(is_true.error()));
  }
  if (!*is_true) {
    return conclude_unavailable(kResidency,
                                "cachestat counts nothing, not even a page that was just read");
  }
  if (subject.is_ours()) {
    return conclude(kResidency, std::string());  // A file that was just made says nothing.
  }
  const std::uint64_t page_bytes = os_page_size().bytes();
  return conclude(kResidency, fmt::format("{} resident, {} dirty",
                                          human_bytes(count->cached_pages * page_bytes),
                                          human_bytes(count->dirty_pages * page_bytes)));
}

Outcome<Descriptor> open_read_only(const char* path) noexcept {
  const long fd = QUIRE_TRY(try_call([&] { return ::open(path, O_RDONLY | O_CLOEXEC); }));
  return Descriptor(static_cast<int>(fd));
}

Outcome<std::uint64_t> read_entry(int fd, std::uint64_t index) noexcept {
  std::uint64_t entry = 0;
  const long got = QUIRE_TRY(try_call(
      [&] { return ::pread(fd, &entry, sizeof entry, static_cast<off_t>(index * sizeof entry)); }));
  if (got != sizeof entry) {
    return refuse(EIO);
  }
  return entry;
}

struct FolioCount {
  std::uint64_t resident_pages = 0;
  std::uint64_t large_pages = 0;  // That are part of a larger folio.
};

// Looks at the pages that are in memory already; touching a resident page makes it show in pagemap.
Outcome<FolioCount> count_folios(const PathSubject& subject) {
  constexpr std::uint64_t kFrameMask = (std::uint64_t{1} << 55) - 1;
  const std::uint64_t page_bytes = os_page_size().bytes();
  const std::uint64_t page_count = std::min<std::uint64_t>(
      std::min(subject.size_bytes, kLookBytesMax) / page_bytes, kLookPagesMax);
  FolioCount count;
  if (page_count == 0) {
    return count;
  }
  const Descriptor pagemap = QUIRE_TRY(open_read_only("/proc/self/pagemap"));
  const Descriptor flags = QUIRE_TRY(open_read_only("/proc/kpageflags"));
  const ProbePages view = QUIRE_TRY(map_start(subject, page_count * page_bytes));
  std::array<unsigned char, kLookPagesMax> residency{};
  QUIRE_TRY(
      page_residency(view.address(), view.length_bytes(), std::span(residency).first(page_count)));
  const std::uint64_t first = reinterpret_cast<std::uintptr_t>(view.address()) / page_bytes;
  for (std::uint64_t page = 0; page < page_count; ++page) {
    if ((residency.at(page) & 1U) == 0) {
      continue;
    }
    QUIRE_TRY(
        advise_pages(view.address() + page * page_bytes, page_bytes, MemoryAdvice::kPopulateRead));
    const std::uint64_t frame = QUIRE_TRY(read_entry(pagemap.get(), first + page)) & kFrameMask;
    const std::uint64_t bits = QUIRE_TRY(read_entry(flags.get(), frame));
    ++count.resident_pages;
    const bool is_large = ((bits >> abi::kPageFlagCompoundHead) & 1) != 0 ||
                          ((bits >> abi::kPageFlagCompoundTail) & 1) != 0;
    count.large_pages += is_large ? 1 : 0;
  }
  return count;
}

// Whatever was dropped since it was written comes back in the folios that the kernel chooses.
void warm_trial_file(const PathSubject& subject) {
  std::vector<std::byte> content(subject.size_bytes);
  static_cast<void>(read_at(subject.fd, content, 0));
}

Capability conclude_folios(const PathSubject& subject) {
  if (subject.is_ours()) {
    warm_trial_file(subject);
  }
  const Outcome<FolioCount> count = count_folios(subject);
  if (!count && (count.error().value == EACCES || count.error().value == EPERM)) {
    return conclude_unknown(kLargeFolios,
                            explain(count.error(), "only root may look at /proc/kpageflags"));
  }
  if (!count) {
    return conclude(kLargeFolios, tl::unexpected<Errno>(count.error()));
  }
  if (count->resident_pages == 0) {
    return conclude_unknown(kLargeFolios,
                            "nothing of this file's beginning is in memory to look at");
  }
  if (count->large_pages == 0) {
    const std::string seen =
        fmt::format("the {} resident pages looked at are single", count->resident_pages);
    return subject.is_ours()
               ? conclude_unavailable(kLargeFolios, seen)
               : conclude_unknown(kLargeFolios, seen + ", perhaps from having been read singly");
  }
  return conclude(kLargeFolios, fmt::format("{} of {} pages looked at", count->large_pages,
                                            count->resident_pages));
}

}  // namespace

bool probe_page_cache(const PathSubject& subject, std::vector<Capability>& found) {
  found.push_back(conclude_residency(subject));
  const bool is_told = found.back().available == Availability::kYes;
  found.push_back(conclude(kMapping, try_mapping(subject)));
  found.push_back(conclude_folios(subject));
  return is_told;
}

void skip_page_cache(const std::string& reason, std::vector<Capability>& found) {
  for (const Trial& trial : {kMapping, kResidency, kLargeFolios}) {
    found.push_back(conclude_unknown(trial, reason));
  }
}

}  // namespace quire::sys::internal
