// SPDX-License-Identifier: Apache-2.0
//
// Memory primitives: advice, tracking, memory files, and residency. Each is tried on a page of the
// probe's own, and where a call could claim success and do nothing, the effect is looked at.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>

#include "quire/sys/internal/kernel_abi.h"
#include "quire/sys/internal/probe_parts.h"

#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif

namespace quire::sys::internal {
namespace {

struct MemoryTrial {
  Trial trial;
  Finding (*run)() noexcept;
};

// An effect that did not happen, though the call said that it did.
tl::unexpected<Errno> refuse_without_effect() noexcept {
  return refuse(EOPNOTSUPP);
}

Outcome<Descriptor> open_memfd(unsigned flags) noexcept {
  const long fd =
      QUIRE_TRY(try_call([&] { return ::memfd_create("quire-probe", flags | MFD_CLOEXEC); }));
  return Descriptor(static_cast<int>(fd));
}

// A memory file of `length_bytes`, mapped shared.
struct MappedMemfd {
  Descriptor fd;
  ProbePages pages;
};

Outcome<MappedMemfd> map_memfd(unsigned flags, std::uint64_t length_bytes) noexcept {
  Descriptor fd = QUIRE_TRY(open_memfd(flags));
  QUIRE_TRY(try_call([&] { return ::ftruncate(fd.get(), static_cast<off_t>(length_bytes)); }));
  ProbePages pages = QUIRE_TRY(ProbePages::map(
      {.length_bytes = length_bytes, .protection = Protection::kReadWrite, .fd = fd.get()}));
  return MappedMemfd{.fd = std::move(fd), .pages = std::move(pages)};
}

Finding advise(Address address, std::uint64_t length_bytes, int advice) noexcept {
  QUIRE_TRY(try_call([&] { return ::madvise(address, length_bytes, advice); }));
  return std::string();
}

Finding try_populate(int advice) noexcept {
  const ProbePages page = QUIRE_TRY(one_page());
  QUIRE_TRY(advise(page.address(), page.length_bytes(), advice));
  unsigned char is_resident = 0;
  QUIRE_TRY(page_residency(page.address(), page.length_bytes(), {&is_resident, 1}));
  if ((is_resident & 1U) == 0) {
    return refuse_without_effect();
  }
  return std::string();
}

Finding try_populate_read() noexcept {
  return try_populate(MADV_POPULATE_READ);
}

Finding try_populate_write() noexcept {
  return try_populate(MADV_POPULATE_WRITE);
}

Finding try_guard(const ProbePages& page) noexcept {
  QUIRE_TRY(advise(page.address(), page.length_bytes(), abi::kAdviseGuardInstall));
  return advise(page.address(), page.length_bytes(), abi::kAdviseGuardRemove);
}

Finding try_guard_anonymous() noexcept {
  const ProbePages page = QUIRE_TRY(one_page());
  return try_guard(page);
}

Finding try_guard_file() noexcept {
  const MappedMemfd file = QUIRE_TRY(map_memfd(0, os_page_size().bytes()));
  return try_guard(file.pages);
}

// Drops a page of ours through process_madvise and looks whether it is gone.
Finding try_process_madvise(int pidfd) noexcept {
  const ProbePages page = QUIRE_TRY(one_page());
  *page.address() = std::byte{1};
  const iovec range{.iov_base = page.address(), .iov_len = page.length_bytes()};
  QUIRE_TRY(try_call([&] {
    return ::syscall(SYS_process_madvise, pidfd, &range, std::size_t{1}, MADV_DONTNEED, 0U);
  }));
  if (*static_cast<volatile std::byte*>(page.address()) != std::byte{0}) {
    return refuse_without_effect();
  }
  return std::string();
}

Outcome<Descriptor> open_pidfd() noexcept {
  const long fd = QUIRE_TRY(try_call([] { return ::syscall(SYS_pidfd_open, ::getpid(), 0U); }));
  return Descriptor(static_cast<int>(fd));
}

Finding try_pidfd_open() noexcept {
  return open_pidfd().map([](const Descriptor&) { return std::string(); });
}

Finding try_process_madvise_pidfd() noexcept {
  const Descriptor pidfd = QUIRE_TRY(open_pidfd());
  return try_process_madvise(pidfd.get());
}

Finding try_process_madvise_self() noexcept {
  return try_process_madvise(abi::kPidfdSelf);
}

// Asks for the present pages of a range of one touched page: it must be the answer.
Finding try_pagemap_scan() noexcept {
  const ProbePages page = QUIRE_TRY(one_page());
  *page.address() = std::byte{1};
  const long fd =
      QUIRE_TRY(try_call([] { return ::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC); }));
  const Descriptor pagemap(static_cast<int>(fd));
  const std::uint64_t start = reinterpret_cast<std::uintptr_t>(page.address());
  abi::PagemapRegion region{};
  abi::PagemapScan scan{};
  scan.size = sizeof scan;
  scan.start = start;
  scan.end = start + page.length_bytes();
  scan.vector = reinterpret_cast<std::uintptr_t>(&region);
  scan.vector_length = 1;
  scan.category_mask = abi::kPageIsPresent;
  scan.return_mask = abi::kPageIsPresent;
  const long regions =
      QUIRE_TRY(try_call([&] { return ::ioctl(pagemap.get(), abi::kPagemapScan, &scan); }));
  if (regions != 1 || region.start != start) {
    return refuse_without_effect();
  }
  return std::string();
}

Finding try_memfd() noexcept {
  return open_memfd(MFD_ALLOW_SEALING).map([](const Descriptor&) { return std::string(); });
}

Finding try_memfd_noexec_seal() noexcept {
  return open_memfd(abi::kMfdNoexecSeal).map([](const Descriptor&) { return std::string(); });
}

Finding try_memfd_secret() noexcept {
  const long fd = QUIRE_TRY(
      try_call([] { return ::syscall(SYS_memfd_secret, static_cast<unsigned>(O_CLOEXEC)); }));
  const Descriptor secret(static_cast<int>(fd));
  return std::string();
}

// A sealed page stays for the life of the process, so the length is 0: a kernel that knows the call
// accepts that and does nothing.
Finding try_mseal() noexcept {
  const ProbePages page = QUIRE_TRY(one_page());
  QUIRE_TRY(
      try_call([&] { return ::syscall(abi::kSysMseal, page.address(), std::size_t{0}, 0UL); }));
  return std::string();
}

// One written page of a memory file must be counted as cached.
Finding try_cachestat() noexcept {
  const std::uint64_t length_bytes = os_page_size().bytes();
  const MappedMemfd file = QUIRE_TRY(map_memfd(0, length_bytes));
  *file.pages.address() = std::byte{1};
  std::array<std::uint64_t, 2> range{0, length_bytes};
  std::array<std::uint64_t, 5> pages{};
  QUIRE_TRY(try_call([&] {
    return ::syscall(abi::kSysCachestat, file.fd.get(), range.data(), pages.data(), 0U);
  }));
  if (pages[0] != 1) {
    return refuse_without_effect();
  }
  return std::string();
}

constexpr std::array kTrials = std::to_array<MemoryTrial>({
    {{"cachestat", "residency and dirty pages of a file in one call",
      "residency comes from mincore, page by page; dirty pages stay unknown"},
     try_cachestat},
    {{"madvise.populate_read", "warming a mapping reports errors instead of raising SIGBUS",
      "warming touches pages under a SIGBUS guard"},
     try_populate_read},
    {{"madvise.populate_write", "backing can be allocated ahead, with errors as values",
      "pages are touched one by one to allocate them"},
     try_populate_write},
    {{"madvise.guard", "guard pages cost no mapping of their own",
      "each guard page splits a mapping (see mappings)"},
     try_guard_anonymous},
    {{"madvise.guard_file", "parts of file mappings can be made to fault",
      "no guard pages inside file mappings"},
     try_guard_file},
    {{"pidfd_open", "a process can be named without the risk of meeting its successor",
      "processes are named by number, start time checked"},
     try_pidfd_open},
    {{"process_madvise.pidfd", "scattered pages are dropped in one call",
      "scattered pages are dropped by one madvise each"},
     try_process_madvise_pidfd},
    {{"process_madvise.self", "the same without a descriptor (PIDFD_SELF)",
      "needs a pidfd of the own process, kept open"},
     try_process_madvise_self},
    {{"pagemap_scan", "changed and present pages are found in O(changed)",
      "finding changed pages reads eight bytes for every page"},
     try_pagemap_scan},
    {{"memfd", "anonymous shared memory can be grown, sealed and sent",
      "no anonymous shared mappings"},
     try_memfd},
    {{"memfd.noexec_seal", "shared memory is never executable",
      "shared memory could be made executable by who receives it"},
     try_memfd_noexec_seal},
    {{"memfd_secret", "memory that even the kernel does not map is offered",
      "no secret memory: asking for it is an error"},
     try_memfd_secret},
    {{"mseal", "mappings can be made unchangeable", "mappings cannot be sealed"}, try_mseal},
});

}  // namespace

void probe_memory(std::vector<Capability>& found) {
  for (const MemoryTrial& row : kTrials) {
    found.push_back(conclude(row.trial, row.run()));
  }
}

}  // namespace quire::sys::internal
