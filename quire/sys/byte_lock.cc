// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/byte_lock.h"

#include <fcntl.h>
#include <unistd.h>

#include "quire/sys/call.h"
#include "quire/sys/internal/run.h"

namespace quire::sys {
namespace {

struct flock lock_of(short type, std::uint64_t offset_bytes) noexcept {
  struct flock lock{};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(offset_bytes);
  lock.l_len = 1;
  return lock;
}

}  // namespace

Outcome<void> lock_byte_shared(int fd, std::uint64_t offset_bytes, LockHolder holder) noexcept {
  struct flock lock = lock_of(F_RDLCK, offset_bytes);
  const int command = holder == LockHolder::kProcess ? F_SETLK : F_OFD_SETLK;
  return internal::run_void(Call::kControl, [&] { return ::fcntl(fd, command, &lock); });
}

Outcome<std::optional<ByteLock>> find_byte_lock(int fd, std::uint64_t offset_bytes) noexcept {
  // Whoever would stand in the way of a lock for us alone.
  struct flock lock = lock_of(F_WRLCK, offset_bytes);
  QUIRE_TRY(internal::run_void(Call::kControl, [&] { return ::fcntl(fd, F_OFD_GETLK, &lock); }));
  if (lock.l_type == F_UNLCK) {
    return std::optional<ByteLock>();
  }
  return std::optional<ByteLock>(ByteLock{.pid = lock.l_pid});
}

}  // namespace quire::sys
