// SPDX-License-Identifier: Apache-2.0
//
// The ladder of permissions: each way to a userfaultfd is tried, shakes hands, and leaves a word
// about why it was not taken.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "quire/sys/call.h"
#include "quire/sys/internal/kernel_abi.h"
#include "quire/sys/internal/run.h"
#include "quire/sys/user_fault.h"

namespace quire::sys {
namespace {

constexpr int kOpenFlags = O_CLOEXEC | O_NONBLOCK;

// A shared mapping cannot be paged without these.
constexpr std::uint64_t kFeaturesNeeded = abi::kUffdFeatureFlagWp | abi::kUffdFeatureMissingShmem |
                                          abi::kUffdFeatureExactAddress | abi::kUffdFeatureWpShmem;

Outcome<Descriptor> to_descriptor(const Outcome<int>& fd) noexcept {
  if (!fd) {
    return tl::unexpected<Errno>(fd.error());
  }
  return Descriptor(*fd);
}

Outcome<Descriptor> open_by_device() noexcept {
  const Descriptor device = QUIRE_TRY(open_file("/dev/userfaultfd", {.write = true}));
  return to_descriptor(internal::run(Call::kUserFault, [&](const CallSite&) {
    return ::ioctl(device.get(), abi::kUffdDeviceNew, kOpenFlags);
  }));
}

Outcome<Descriptor> open_by_call(int flags) noexcept {
  return to_descriptor(internal::run(Call::kUserFault, [&](const CallSite&) {
    return static_cast<int>(::syscall(SYS_userfaultfd, kOpenFlags | flags));
  }));
}

Outcome<Descriptor> open_by_call() noexcept {
  return open_by_call(0);
}

Outcome<Descriptor> open_for_user_mode() noexcept {
  return open_by_call(abi::kUffdUserModeOnly);
}

// The handshake. A refused one leaves the descriptor as it was. Returns what the kernel can do.
Outcome<std::uint64_t> ask_for(int fd, std::uint64_t features) noexcept {
  abi::UffdioApi api{.api = abi::kUffdApi, .features = features, .ioctls = 0};
  QUIRE_TRY(
      internal::run_void(Call::kUserFault, [&] { return ::ioctl(fd, abi::kUffdioApi, &api); }));
  return (api.features & features) == features ? Outcome<std::uint64_t>(api.features)
                                               : refuse(EINVAL);
}

// Asks for poison too, where the kernel has it (6.6).
Outcome<bool> shake_hands(int fd, FaultDelivery delivery) noexcept {
  const std::uint64_t features =
      kFeaturesNeeded | (delivery == FaultDelivery::kSignals ? abi::kUffdFeatureSigbus : 0);
  const Outcome<std::uint64_t> all = ask_for(fd, features | abi::kUffdFeaturePoison);
  if (all || all.error().value != EINVAL) {
    return all.map([](std::uint64_t) { return true; });
  }
  return ask_for(fd, features).map([](std::uint64_t) { return false; });
}

struct Rung {
  const char* name;
  FaultAccess access;
  Outcome<Descriptor> (*open)() noexcept;
};

constexpr std::array kLadder = std::to_array<Rung>({
    {"/dev/userfaultfd", FaultAccess::kFull, open_by_device},
    {"userfaultfd(2)", FaultAccess::kFull, open_by_call},
    {"userfaultfd(2), user mode only", FaultAccess::kUserMode, open_for_user_mode},
});

struct Opened {
  Descriptor descriptor;
  bool can_poison = false;
};

Outcome<Opened> climb(const Rung& rung, FaultDelivery delivery) noexcept {
  Descriptor descriptor = QUIRE_TRY(rung.open());
  const bool can_poison = QUIRE_TRY(shake_hands(descriptor.get(), delivery));
  return Opened{.descriptor = std::move(descriptor), .can_poison = can_poison};
}

// "/dev/userfaultfd: ENOENT; userfaultfd(2): EPERM"
void add_refusal(std::string& refusals, const Rung& rung, Errno cause) {
  refusals +=
      fmt::format("{}{}: {}", refusals.empty() ? "" : "; ", rung.name, errno_name(cause.value));
}

// Errors that speak of the moment, and not of what this process may do.
bool is_shortage(Errno cause) noexcept {
  return cause.value == EMFILE || cause.value == ENFILE || cause.value == ENOMEM;
}

Error refusal_of_all(const std::string& refusals, Errno last) {
  if (last.value == EINVAL) {
    return make_error(Errc::kUnsupported, "userfaultfd", "shared memory",
                      "this kernel cannot write-protect it: " + refusals,
                      "run Linux 5.19 or later, or map the file by the kernel");
  }
  return make_error(Errc::kUnsupported, "userfaultfd", "this process",
                    "the kernel forbids every way: " + refusals,
                    "let this user open /dev/userfaultfd (chmod, or a udev rule), set "
                    "vm.unprivileged_userfaultfd=1, or allow userfaultfd in the container's "
                    "seccomp profile");
}

}  // namespace

Result<UserFault> open_user_fault(const UserFaultOptions& options) {
  std::string refusals;
  Errno last;
  for (const Rung& rung : kLadder) {
    Outcome<Opened> opened = climb(rung, options.delivery);
    if (opened) {
      UserFault faults;
      faults.descriptor_ = std::move(opened->descriptor);
      faults.access_ = rung.access;
      faults.delivery_ = options.delivery;
      faults.can_poison_ = opened->can_poison;
      faults.explanation_ =
          refusals.empty() ? rung.name : fmt::format("{} ({})", rung.name, refusals);
      return faults;
    }
    last = opened.error();
    if (is_shortage(last)) {
      return fail(to_error(last, "userfaultfd", rung.name));
    }
    add_refusal(refusals, rung, last);
  }
  return fail(refusal_of_all(refusals, last));
}

}  // namespace quire::sys
