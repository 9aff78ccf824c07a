// SPDX-License-Identifier: Apache-2.0
//
// userfaultfd: the ways it may be opened, best first, and its features by name.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>

#include "quire/sys/internal/kernel_abi.h"
#include "quire/sys/internal/probe_parts.h"

namespace quire::sys::internal {
namespace {

constexpr int kOpenFlags = O_CLOEXEC | O_NONBLOCK;

struct Feature {
  int bit;
  Trial trial;
};

constexpr std::array kFeatures = std::to_array<Feature>({
    {0,
     {"userfaultfd.write_protect", "writes to anonymous memory can be noticed",
      "no dirty tracking for anonymous memory"}},
    {5,
     {"userfaultfd.missing_shmem", "a paged mapping can fill shared memory on demand",
      "no paged mappings over shared memory"}},
    {7,
     {"userfaultfd.sigbus", "faults can be resolved inline, in the thread that met them",
      "every fault goes to a handler thread, which costs several times more"}},
    {8,
     {"userfaultfd.thread_id", "a fault names its thread",
      "faults cannot be attributed to threads"}},
    {10,
     {"userfaultfd.minor_shmem", "pages that are in memory can be mapped without a copy",
      "filling a page always copies it"}},
    {11,
     {"userfaultfd.exact_address", "a fault names the byte, not just the page",
      "faults are known to the page only"}},
    {12,
     {"userfaultfd.write_protect_shmem", "the paged engine can see which pages were written",
      "no paged engine: it needs write protection of shared memory (5.19)"}},
    {13,
     {"userfaultfd.write_protect_unpopulated", "pages can be protected before they exist",
      "each page must be touched before it can be protected"}},
    {14,
     {"userfaultfd.poison", "a page that could not be read can be made to fail again",
      "a failed page needs the error handling of the engine"}},
    {15,
     {"userfaultfd.write_protect_async",
      "changed pages of any mapping are found without a handler: commit() on kernel mappings",
      "no tracked kernel mappings: commit() needs the paged engine (6.7)"}},
    {16,
     {"userfaultfd.move", "anonymous pages can be moved instead of copied",
      "anonymous pages are filled by copying"}},
});

Outcome<Descriptor> to_descriptor(const Outcome<long>& fd) noexcept {
  if (!fd) {
    return tl::unexpected<Errno>(fd.error());
  }
  return Descriptor(static_cast<int>(*fd));
}

Outcome<Descriptor> open_by_device() noexcept {
  const Descriptor device = QUIRE_TRY(to_descriptor(
      try_call([] { return ::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC | O_NOCTTY); })));
  return to_descriptor(
      try_call([&] { return ::ioctl(device.get(), abi::kUffdDeviceNew, kOpenFlags); }));
}

Outcome<Descriptor> open_by_call() noexcept {
  return to_descriptor(try_call([] { return ::syscall(SYS_userfaultfd, kOpenFlags); }));
}

Outcome<Descriptor> open_for_user_mode() noexcept {
  return to_descriptor(
      try_call([] { return ::syscall(SYS_userfaultfd, kOpenFlags | abi::kUffdUserModeOnly); }));
}

// The handshake: asking for no feature gets the list of all.
Outcome<std::uint64_t> ask_features(int fd) noexcept {
  abi::UffdioApi api{.api = abi::kUffdApi, .features = 0, .ioctls = 0};
  QUIRE_TRY(try_call([&] { return ::ioctl(fd, abi::kUffdioApi, &api); }));
  return api.features;
}

struct Way {
  Trial trial;
  Outcome<Descriptor> (*open)() noexcept;
};

constexpr std::array kWays = std::to_array<Way>({
    {{"userfaultfd.device", "full mode: faults in system calls are served too",
      "the next way is tried: userfaultfd(2)"},
     open_by_device},
    {{"userfaultfd.syscall", "full mode: faults in system calls are served too",
      "only USER_MODE_ONLY is left: read() into an absent page fails with EFAULT, so pin first"},
     open_by_call},
    {{"userfaultfd.user_mode_only",
      "paged mappings work; system calls on absent pages fail with EFAULT, so pin first",
      "no paged mappings: kernel mappings only"},
     open_for_user_mode},
});

std::string hint_for(const Outcome<std::uint64_t>& outcome) {
  if (outcome || outcome.error().value != EPERM) {
    return {};
  }
  return setting("vm.unprivileged_userfaultfd", "/proc/sys/vm/unprivileged_userfaultfd");
}

// Opens it this way and shakes hands: a descriptor that refuses the handshake is of no use.
Outcome<std::uint64_t> try_way(const Way& way) noexcept {
  const Descriptor uffd = QUIRE_TRY(way.open());
  return ask_features(uffd.get());
}

}  // namespace

void probe_userfaultfd(std::vector<Capability>& found) {
  Outcome<std::uint64_t> features = refuse(ENOSYS);
  for (const Way& way : kWays) {
    const Outcome<std::uint64_t> outcome = try_way(way);
    const Finding finding = outcome.map([](std::uint64_t) { return std::string(); });
    found.push_back(conclude(way.trial, finding, hint_for(outcome)));
    features = features ? features : outcome;
  }
  for (const Feature& feature : kFeatures) {
    if (!features) {
      found.push_back(conclude_unavailable(
          feature.trial, "userfaultfd cannot be opened in any way: " + explain(features.error())));
    } else if (((*features >> feature.bit) & 1) == 0) {
      found.push_back(conclude_unavailable(
          feature.trial,
          fmt::format("this kernel's UFFDIO_API does not list bit {}", feature.bit)));
    } else {
      found.push_back(conclude(feature.trial, std::string()));
    }
  }
}

}  // namespace quire::sys::internal
