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
#include "quire/sys/private_pages.h"
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

// "/dev/userfaultfd: ENOENT; userfaultfd(2): EPERM"
void add_refusal(std::string& refusals, const Rung& rung, Errno cause) {
  refusals +=
      fmt::format("{}{}: {}", refusals.empty() ? "" : "; ", rung.name, errno_name(cause.value));
}

// Errors that speak of the moment, and not of what this process may do.
bool is_shortage(Errno cause) noexcept {
  return cause.value == EMFILE || cause.value == ENFILE || cause.value == ENOMEM;
}

// What to say when no rung will do.
struct Wanted {
  const char* subject;
  const char* too_old;  // The cause, when the kernel knows userfaultfd and not this.
  const char* remedy;
};

Error refusal_of_all(const Wanted& wanted, const std::string& refusals, Errno last) {
  if (last.value == EINVAL) {
    return make_error(Errc::kUnsupported, "userfaultfd", wanted.subject,
                      fmt::format("{}: {}", wanted.too_old, refusals), wanted.remedy);
  }
  return make_error(Errc::kUnsupported, "userfaultfd", "this process",
                    "the kernel forbids every way: " + refusals,
                    "let this user open /dev/userfaultfd (chmod, or a udev rule), set "
                    "vm.unprivileged_userfaultfd=1, or allow userfaultfd in the container's "
                    "seccomp profile");
}

struct Opened {
  Descriptor descriptor;
  FaultAccess access = FaultAccess::kFull;
  bool can_poison = false;  // What the handshake said.
  std::string explanation;
};

// The first rung that holds and shakes hands: `shake` takes a descriptor and gives Outcome<bool>.
template <typename Shake>
Result<Opened> climb(const Wanted& wanted, Shake&& shake) {
  std::string refusals;
  Errno last;
  for (const Rung& rung : kLadder) {
    Outcome<Descriptor> opened = rung.open();
    const Outcome<bool> shaken = opened ? shake(opened->get()) : refuse(opened.error().value);
    if (shaken) {
      return Opened{.descriptor = std::move(*opened),
                    .access = rung.access,
                    .can_poison = *shaken,
                    .explanation =
                        refusals.empty() ? rung.name : fmt::format("{} ({})", rung.name, refusals)};
    }
    last = shaken.error();
    if (is_shortage(last)) {
      return fail(to_error(last, "userfaultfd", rung.name));
    }
    add_refusal(refusals, rung, last);
  }
  return fail(refusal_of_all(wanted, refusals, last));
}

}  // namespace

Result<UserFault> open_user_fault(const UserFaultOptions& options) {
  constexpr Wanted kWanted{.subject = "shared memory",
                           .too_old = "this kernel cannot write-protect it",
                           .remedy = "run Linux 5.19 or later, or map the file by the kernel"};
  Opened opened =
      QUIRE_TRY(climb(kWanted, [&](int fd) { return shake_hands(fd, options.delivery); }));
  UserFault faults;
  faults.descriptor_ = std::move(opened.descriptor);
  faults.access_ = opened.access;
  faults.delivery_ = options.delivery;
  faults.can_poison_ = opened.can_poison;
  faults.explanation_ = std::move(opened.explanation);
  return faults;
}

Result<StoreNotes> StoreNotes::open() {
  constexpr Wanted kWanted{.subject = "private memory",
                           .too_old = "this kernel cannot note stores",
                           .remedy = "run Linux 6.7 or later"};
  Opened opened = QUIRE_TRY(climb(kWanted, [](int fd) {
    return ask_for(fd, abi::kUffdFeatureWpAsync).map([](std::uint64_t) { return false; });
  }));
  StoreNotes notes;
  notes.descriptor_ = std::move(opened.descriptor);
  notes.explanation_ = std::move(opened.explanation);
  return notes;
}

}  // namespace quire::sys
