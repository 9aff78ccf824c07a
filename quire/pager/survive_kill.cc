// SPDX-License-Identifier: Apache-2.0
#include "quire/pager/survive_kill.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>

#include "quire/pager/internal/await_guardian.h"
#include "quire/pager/internal/guardian_process.h"
#include "quire/sys/byte_lock.h"
#include "quire/sys/file.h"
#include "quire/sys/process_identity.h"

namespace quire {
namespace internal {
namespace {

using Clock = std::chrono::steady_clock;

// The guardian that has something to write, if there is one.
sys::Outcome<std::optional<sys::ByteLock>> find_orphan(int fd) {
  const std::optional<sys::ByteLock> guardian = QUIRE_TRY(sys::find_byte_lock(fd, kGuardianByte));
  if (guardian && QUIRE_TRY(sys::find_byte_lock(fd, kOwnerByte))) {
    return std::optional<sys::ByteLock>();
  }
  return guardian;
}

// False: the time is over.
sys::Outcome<bool> await_end(int pid, std::chrono::milliseconds left) {
  const sys::Outcome<sys::Descriptor> process = sys::open_process(pid);
  if (!process) {
    return process.error().value == ESRCH ? sys::Outcome<bool>(true)
                                          : sys::refuse(process.error().value);
  }
  constexpr std::int64_t kLongest = 1'000'000'000;
  const auto timeout_ms = std::clamp<std::int64_t>(left.count(), 0, kLongest);
  const sys::PollResult ended =
      QUIRE_TRY(sys::wait_readable(process->get(), static_cast<int>(timeout_ms)));
  return ended != sys::PollResult::kTimedOut;
}

}  // namespace

Result<void> await_guardian_of(int fd, const std::string& name, std::chrono::milliseconds limit) {
  const Clock::time_point began = Clock::now();
  for (;;) {
    const auto orphan = find_orphan(fd);
    if (!orphan) {
      return fail(sys::to_error(orphan.error(), "await_guardian", name));
    }
    if (!*orphan) {
      return {};
    }
    const int pid = (*orphan)->pid;
    const auto waited = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - began);
    const sys::Outcome<bool> ended =
        pid > 0 ? await_end(pid, limit - waited) : sys::Outcome<bool>(false);
    if (!ended) {
      return fail(sys::to_error(ended.error(), "await_guardian", name));
    }
    if (!*ended) {
      return fail(make_error(Errc::kFailed, "await_guardian", name,
                             fmt::format("guardian process {} still writes what a process that "
                                         "was killed had stored",
                                         pid > 0 ? std::to_string(pid) : "of another namespace"),
                             "wait for its end, then try again"));
    }
  }
}

}  // namespace internal

Result<void> await_guardian(PathArgument path, std::chrono::milliseconds limit) {
  const std::string name = path.take();
  const sys::Outcome<sys::Descriptor> file =
      sys::path_has_nul(name) ? sys::Outcome<sys::Descriptor>(sys::refuse(EINVAL))
                              : sys::open_file(name.c_str(), {});
  if (!file) {
    return fail(sys::to_error(file.error(), "await_guardian", name));
  }
  return internal::await_guardian_of(file->get(), name, limit);
}

}  // namespace quire
