// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/user_fault.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "quire/sys/call.h"
#include "quire/sys/internal/kernel_abi.h"
#include "quire/sys/internal/run.h"

namespace quire::sys {
namespace {

// EAGAIN without progress clears up by itself (somebody changed the page tables at that instant). A
// bound all the same, because a thread waits for us: far more than was ever seen, chosen
// arbitrarily.
constexpr int kTriesMax = 1000;

// Messages that one read takes at most: 2 KiB of stack.
constexpr std::size_t kMessagesMax = 64;

std::uint64_t number_of(const std::byte* address) noexcept {
  return reinterpret_cast<std::uintptr_t>(address);
}

// 0, or minus the errno.
std::int64_t control(int fd, unsigned long request, void* argument) noexcept {
  return internal::run_bare(request == abi::kUffdioWake ? Call::kUserFaultWake : Call::kUserFault,
                            [&](const CallSite&) { return ::ioctl(fd, request, argument); });
}

// The same for what either happens or does not.
Outcome<void> control_whole(int fd, unsigned long request, void* argument) noexcept {
  std::int64_t result = 0;
  for (int attempt = 0; attempt < kTriesMax; ++attempt) {
    result = control(fd, request, argument);
    if (result != -EAGAIN) {
      break;
    }
  }
  return result == 0 ? Outcome<void>() : refuse(static_cast<int>(-result));
}

// How far something came that stops at the first page it cannot do.
struct Progress {
  std::uint64_t done_bytes = 0;
  int error = 0;
};

// The same for what may stop half way. `start(done)` builds the argument for the rest; the kernel
// leaves the bytes done in its `done`, and says EAGAIN when that is not all.
template <typename Start>
Progress control_pages(int fd, unsigned long request, std::uint64_t length_bytes,
                       Start&& start) noexcept {
  Progress progress;
  int attempt = 0;
  while (progress.done_bytes < length_bytes) {
    auto argument = start(progress.done_bytes);
    const std::int64_t result = control(fd, request, &argument);
    if (argument.done > 0) {
      progress.done_bytes += static_cast<std::uint64_t>(argument.done);
      attempt = 0;
    } else if (result != -EAGAIN || ++attempt == kTriesMax) {
      progress.error = result == 0 ? EIO : static_cast<int>(-result);
      return progress;
    }
  }
  return progress;
}

// A page that is there already ends a fill, and is no error.
Outcome<std::uint64_t> filled(const Progress& progress) noexcept {
  if (progress.error != 0 && progress.error != EEXIST) {
    return refuse(progress.error);
  }
  return progress.done_bytes;
}

FaultMessage to_message(const abi::UffdMessage& raw) noexcept {
  // NOLINTNEXTLINE(performance-no-int-to-ptr): the kernel's message holds it as a number.
  return {.address = reinterpret_cast<std::byte*>(raw.address),
          .is_store = (raw.flags & abi::kUffdFaultWrite) != 0,
          .is_protected = (raw.flags & abi::kUffdFaultWp) != 0};
}

Outcome<void> write_protect(int fd, Address address, std::uint64_t length_bytes,
                            std::uint64_t mode) noexcept {
  abi::UffdioWriteProtect argument{.range = {number_of(address), length_bytes}, .mode = mode};
  return control_whole(fd, abi::kUffdioWriteProtect, &argument);
}

}  // namespace

Outcome<void> UserFault::watch(Address address, std::uint64_t length_bytes) const noexcept {
  abi::UffdioRegister argument{.range = {number_of(address), length_bytes},
                               .mode = abi::kUffdRegisterMissing | abi::kUffdRegisterWp,
                               .ioctls = 0};
  return control_whole(fd(), abi::kUffdioRegister, &argument);
}

Outcome<void> UserFault::unwatch(Address address, std::uint64_t length_bytes) const noexcept {
  abi::UffdioRange argument{number_of(address), length_bytes};
  return control_whole(fd(), abi::kUffdioUnregister, &argument);
}

Outcome<std::uint64_t> UserFault::copy_in(Address to, std::span<const std::byte> from,
                                          Installed installed) const noexcept {
  const std::uint64_t mode = installed == Installed::kProtected ? abi::kUffdCopyWp : 0;
  return filled(control_pages(fd(), abi::kUffdioCopy, from.size(), [&](std::uint64_t done_bytes) {
    return abi::UffdioCopy{.to = number_of(to) + done_bytes,
                           .from = number_of(from.data()) + done_bytes,
                           .length = from.size() - done_bytes,
                           .mode = mode,
                           .done = 0};
  }));
}

Outcome<std::uint64_t> UserFault::zero_in(Address to, std::uint64_t length_bytes) const noexcept {
  return filled(
      control_pages(fd(), abi::kUffdioZeropage, length_bytes, [&](std::uint64_t done_bytes) {
        return abi::UffdioFill{
            .range = {number_of(to) + done_bytes, length_bytes - done_bytes}, .mode = 0, .done = 0};
      }));
}

Outcome<void> UserFault::protect(Address address, std::uint64_t length_bytes) const noexcept {
  return write_protect(fd(), address, length_bytes, abi::kUffdWriteProtect);
}

Outcome<void> UserFault::allow_writes(Address address, std::uint64_t length_bytes) const noexcept {
  return write_protect(fd(), address, length_bytes, 0);
}

Outcome<void> UserFault::wake(Address address, std::uint64_t length_bytes) const noexcept {
  abi::UffdioRange argument{number_of(address), length_bytes};
  return control_whole(fd(), abi::kUffdioWake, &argument);
}

Outcome<void> UserFault::poison(Address address, std::uint64_t length_bytes) const noexcept {
  const Progress progress =
      control_pages(fd(), abi::kUffdioPoison, length_bytes, [&](std::uint64_t done_bytes) {
        return abi::UffdioFill{
            .range = {number_of(address) + done_bytes, length_bytes - done_bytes},
            .mode = 0,
            .done = 0};
      });
  return progress.error == 0 ? Outcome<void>() : refuse(progress.error);
}

Outcome<std::size_t> UserFault::read_messages(std::span<FaultMessage> into) const noexcept {
  std::array<abi::UffdMessage, kMessagesMax> raw;
  const std::size_t wanted_bytes = std::min(into.size(), raw.size()) * sizeof raw[0];
  const std::int64_t result = internal::run_bare(Call::kUserFaultMessage, [&](const CallSite&) {
    return ::read(fd(), raw.data(), wanted_bytes);
  });
  if (result < 0) {
    return result == -EAGAIN ? Outcome<std::size_t>(0) : refuse(static_cast<int>(-result));
  }
  std::size_t taken = 0;
  for (const abi::UffdMessage& message :
       std::span(raw).first(static_cast<std::size_t>(result) / sizeof raw[0])) {
    if (message.event == abi::kUffdEventPagefault) {  // No other event was asked for.
      into[taken++] = to_message(message);
    }
  }
  return taken;
}

}  // namespace quire::sys
