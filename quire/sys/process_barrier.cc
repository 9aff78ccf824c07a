// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/process_barrier.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "quire/sys/call.h"

namespace quire::sys {
namespace {

bool membarrier(int command) noexcept {
  const CallSite site = CallSite::enter(Call::kBarrier);
  if (site.error != 0) {
    return false;
  }
  const int saved_errno = errno;
  const bool is_done = ::syscall(SYS_membarrier, command, 0U, 0) == 0;
  errno = saved_errno;
  return is_done;
}

}  // namespace

bool join_barriers() noexcept {
  return membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED);
}

bool barrier_in_all() noexcept {
  return membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED);
}

}  // namespace quire::sys
