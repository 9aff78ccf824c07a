// SPDX-License-Identifier: Apache-2.0
//
// Huge pages: each kind is asked for, touched, and looked for in smaps; a setting that says
// "always" is no huge page yet.
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

#include "quire/base/units.h"
#include "quire/sys/internal/probe_parts.h"
#include "quire/sys/proc_files.h"

namespace quire::sys::internal {
namespace {

constexpr const char* kSettings = "/sys/kernel/mm/transparent_hugepage/";

// Larger ones (512 MiB with 64 KiB pages on arm64) are not worth zeroing for a probe.
constexpr std::uint64_t kHugePageBytesTriedMax = 32_MiB;

constexpr Trial kAnonymous{"huge_pages.anonymous", "direct reads about twice as fast",
                           "direct reads run at about half the rate"};
constexpr Trial kShared{"huge_pages.shared_memory", "shared memory can have huge pages",
                        "shared memory has small pages"};
constexpr Trial kPool{"huge_pages.pool", "MAP_HUGETLB works", "reserve with vm.nr_hugepages"};

std::uint64_t huge_page_bytes() {
  const auto text = read_proc_file(std::string(kSettings) + "hpage_pmd_size");
  return text ? parse_number(*text).value_or(0) : 0;
}

std::string setting_of(const char* name) {
  const auto text = read_proc_file(std::string(kSettings) + name);
  return text ? fmt::format("{}={}", name, parse_choice(*text)) : std::string();
}

// What smaps says about the mapping that holds `address`.
Outcome<ProcMappingUse> use_of(Address address) {
  const std::string text = QUIRE_TRY(read_proc_file("/proc/self/smaps", kProcFileBytesMax));
  const std::uint64_t wanted = reinterpret_cast<std::uintptr_t>(address);
  for (ProcMappingUse& use : parse_smaps(text)) {
    if (use.mapping.start <= wanted && wanted < use.mapping.end) {
      return std::move(use);
    }
  }
  return refuse(ENOENT);
}

// The first address of `pages` where a huge page may begin.
Address first_aligned(const ProbePages& pages, std::uint64_t huge_bytes) {
  const std::uint64_t start = reinterpret_cast<std::uintptr_t>(pages.address());
  return pages.address() + (huge_bytes - start % huge_bytes) % huge_bytes;
}

// Advises and touches one huge page; it must then show as huge.
Finding touch_huge(Address aligned, std::uint64_t huge_bytes) {
  QUIRE_TRY(try_call([&] { return ::madvise(aligned, huge_bytes, MADV_HUGEPAGE); }));
  *aligned = std::byte{1};
  const ProcMappingUse use = QUIRE_TRY(use_of(aligned));
  if (use.anonymous_huge_bytes == 0 && use.shared_huge_bytes == 0) {
    return refuse(EOPNOTSUPP);
  }
  return human_bytes(huge_bytes);
}

Finding try_anonymous(std::uint64_t huge_bytes) {
  const ProbePages pages = QUIRE_TRY(ProbePages::map({.length_bytes = 2 * huge_bytes,
                                                      .protection = Protection::kReadWrite,
                                                      .visibility = Visibility::kPrivate}));
  return touch_huge(first_aligned(pages, huge_bytes), huge_bytes);
}

Finding try_shared(std::uint64_t huge_bytes) {
  const long fd = QUIRE_TRY(try_call([] { return ::memfd_create("quire-probe", MFD_CLOEXEC); }));
  const Descriptor memfd(static_cast<int>(fd));
  const std::uint64_t length_bytes = 2 * huge_bytes;
  QUIRE_TRY(try_call([&] { return ::ftruncate(memfd.get(), static_cast<off_t>(length_bytes)); }));
  // The kernel places a shared mapping with the file's own alignment only by chance: the file's
  // first huge page must fall on an aligned address, so room is reserved and the place chosen.
  const ProbePages room = QUIRE_TRY(ProbePages::map({.length_bytes = length_bytes + huge_bytes,
                                                     .protection = Protection::kNone,
                                                     .visibility = Visibility::kPrivate,
                                                     .no_reserve = true}));
  Address aligned = first_aligned(room, huge_bytes);
  QUIRE_TRY(map_pages({.length_bytes = length_bytes,
                       .protection = Protection::kReadWrite,
                       .fd = memfd.get(),
                       .fixed_address = aligned}));
  return touch_huge(aligned, huge_bytes);
}

// Mapping takes the pages out of the pool or fails; nothing needs to be touched.
Finding try_pool(std::uint64_t huge_bytes) {
  const ProbePages pages = QUIRE_TRY(ProbePages::map({.length_bytes = huge_bytes,
                                                      .protection = Protection::kReadWrite,
                                                      .visibility = Visibility::kPrivate,
                                                      .huge_pages = true}));
  return human_bytes(huge_bytes);
}

Capability conclude_touched(const Trial& trial, std::uint64_t huge_bytes,
                            Finding (*run)(std::uint64_t), const std::string& hint) {
  if (huge_bytes == 0) {
    return conclude_unavailable(trial, "this kernel has no transparent huge pages");
  }
  if (huge_bytes > kHugePageBytesTriedMax) {
    return conclude_unknown(
        trial, fmt::format("not tried: a huge page has {} here", human_bytes(huge_bytes)));
  }
  Finding finding = run(huge_bytes);
  if (!finding && finding.error().value == EOPNOTSUPP) {
    return conclude_unavailable(trial, "small pages came (" + hint + ")");
  }
  if (finding && !hint.empty()) {
    finding->append(", ").append(hint);
  }
  return conclude(trial, finding, hint);
}

Capability conclude_pool() {
  const std::string meminfo = read_proc_file("/proc/meminfo").value_or("");
  const std::uint64_t huge_bytes = parse_field(meminfo, "Hugepagesize").value_or(0);
  const std::string pool =
      fmt::format("{} of {} pages free", parse_field(meminfo, "HugePages_Free").value_or(0),
                  parse_field(meminfo, "HugePages_Total").value_or(0));
  if (huge_bytes == 0) {
    return conclude_unavailable(kPool, "this kernel has no hugetlb pages");
  }
  Finding finding = try_pool(huge_bytes);
  if (finding) {
    return conclude(kPool, *finding + ", " + pool);
  }
  if (finding.error().value == ENOMEM) {
    return conclude_unavailable(kPool, "ENOMEM: " + pool);
  }
  return conclude(kPool, finding, pool);
}

}  // namespace

void probe_huge_pages(std::vector<Capability>& found) {
  const std::uint64_t huge_bytes = huge_page_bytes();
  found.push_back(conclude_touched(kAnonymous, huge_bytes, try_anonymous, setting_of("enabled")));
  found.push_back(conclude_touched(kShared, huge_bytes, try_shared, setting_of("shmem_enabled")));
  found.push_back(conclude_pool());
}

}  // namespace quire::sys::internal
