// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/huge_pages.h"

#include <sys/ioctl.h>

#include <algorithm>
#include <array>

#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"
#include "quire/sys/internal/kernel_abi.h"
#include "quire/sys/internal/run.h"
#include "quire/sys/proc_files.h"

namespace quire::sys {
namespace {

struct AddressRange {
  std::uint64_t start = 0;
  std::uint64_t end = 0;

  // The part of [from, to) that lies in it.
  [[nodiscard]] std::uint64_t shared_bytes(std::uint64_t from, std::uint64_t to) const noexcept {
    const std::uint64_t first = std::max(from, start);
    const std::uint64_t last = std::min(to, end);
    return last > first ? last - first : 0;
  }
};

Outcome<std::uint64_t> scan_huge_bytes(AddressRange range) noexcept {
  const Descriptor pagemap = QUIRE_TRY(open_file("/proc/self/pagemap", {}));
  std::array<abi::PagemapRegion, 64> regions{};
  abi::PagemapScan scan{};
  scan.size = sizeof scan;
  scan.end = range.end;
  scan.vector = reinterpret_cast<std::uintptr_t>(regions.data());
  scan.vector_length = regions.size();
  scan.category_mask = abi::kPageIsHuge;
  scan.return_mask = abi::kPageIsHuge;
  std::uint64_t huge_bytes = 0;
  for (scan.start = range.start; scan.start < range.end; scan.start = scan.walk_end) {
    const int count = QUIRE_TRY(internal::run(Call::kControl, [&](const CallSite&) {
      return ::ioctl(pagemap.get(), abi::kPagemapScan, &scan);
    }));
    for (int i = 0; i < count; ++i) {
      const abi::PagemapRegion& region = regions[static_cast<std::size_t>(i)];
      huge_bytes += range.shared_bytes(region.start, region.end);
    }
  }
  return huge_bytes;
}

// The kernel counts per mapping, and merges neighbours: what a mapping has is ours as far as it
// can be.
Outcome<std::uint64_t> count_huge_bytes(AddressRange range) {
  const std::string smaps = QUIRE_TRY(read_proc_file("/proc/self/smaps", kProcFileBytesMax));
  std::uint64_t huge_bytes = 0;
  for (const ProcMappingUse& use : parse_smaps(smaps)) {
    huge_bytes +=
        std::min(use.anonymous_huge_bytes, range.shared_bytes(use.mapping.start, use.mapping.end));
  }
  return huge_bytes;
}

}  // namespace

std::string transparent_huge_page_setting(HugePageUse use) {
  const char* path = use == HugePageUse::kShared
                         ? "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
                         : "/sys/kernel/mm/transparent_hugepage/enabled";
  const Outcome<Descriptor> file = open_file(path, {});
  std::array<std::byte, 256> buffer{};
  const Outcome<std::size_t> got =
      file ? read_at(file->get(), buffer, 0) : Outcome<std::size_t>(std::size_t{0});
  // "always [madvise] never": the one in brackets is in force.
  const std::string text(reinterpret_cast<const char*>(buffer.data()), got.value_or(0));
  const std::size_t open = text.find('[');
  const std::size_t close = text.find(']', open == std::string::npos ? 0 : open);
  if (open == std::string::npos || close == std::string::npos) {
    return "unknown";
  }
  return text.substr(open + 1, close - open - 1);
}

Outcome<std::uint64_t> huge_bytes_in(std::span<const std::byte> range) {
  const auto start = reinterpret_cast<std::uintptr_t>(range.data());
  const AddressRange where{.start = start, .end = start + range.size()};
  const Outcome<std::uint64_t> scanned = scan_huge_bytes(where);
  return scanned ? scanned : count_huge_bytes(where);
}

}  // namespace quire::sys
