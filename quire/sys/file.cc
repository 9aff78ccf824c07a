// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/file.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <limits>

#include "quire/base/page_window.h"
#include "quire/sys/call.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/internal/run.h"

// Younger than Debian 12's headers (6.5); the numbers are the same on every architecture.
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

namespace quire::sys {
namespace {

using internal::run;
using internal::run_void;

// The most one read(2) or write(2) moves (MAX_RW_COUNT).
constexpr std::size_t kTransferBytesMax = 0x7ffff000;

off_t to_off(std::uint64_t bytes) noexcept {
  return static_cast<off_t>(std::min(bytes, kFileOffsetMax));
}

// The length of a range that is not empty, for calls where 0 means "to the end".
off_t to_length(ByteRange range) noexcept {
  return end_of(range) >= kFileOffsetMax ? 0 : to_off(range.length_bytes);
}

Outcome<std::uint64_t> seek(int fd, std::uint64_t from_bytes, int whence) noexcept {
  const auto outcome =
      run(Call::kSeek, [&](const CallSite&) { return ::lseek(fd, to_off(from_bytes), whence); });
  if (!outcome) {
    return tl::unexpected<Errno>(outcome.error());
  }
  return static_cast<std::uint64_t>(*outcome);
}

Outcome<void> change_space(Call call, int fd, ByteRange range, int flags) noexcept {
  if (range.length_bytes == 0) {
    return {};
  }
  if (end_of(range) > kFileOffsetMax) {
    return refuse(EFBIG);
  }
  return run_void(call, [&] {
    return ::fallocate(fd, flags, to_off(range.offset_bytes), to_off(range.length_bytes));
  });
}

// What poll(2) reports about `fd`, or 0 when the time runs out. Interruptions do not prolong it.
Outcome<short> wait_for_events(int fd, short events, int timeout_ms) noexcept {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
  pollfd entry{.fd = fd, .events = events, .revents = 0};
  int left_ms = timeout_ms;
  const auto outcome = run(Call::kPoll, [&](const CallSite&) {
    const int result = ::poll(&entry, 1, left_ms);
    if (result < 0 && timeout_ms >= 0) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
      left_ms = static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, timeout_ms));
    }
    return result;
  });
  if (!outcome) {
    return tl::unexpected<Errno>(outcome.error());
  }
  if ((entry.revents & POLLNVAL) != 0) {
    return refuse(EBADF);
  }
  return *outcome == 0 ? short{0} : entry.revents;
}

}  // namespace

std::int64_t read_bare(int fd, std::span<std::byte> into, std::uint64_t offset_bytes) noexcept {
  return internal::run_bare(Call::kRead, [&](const CallSite& site) {
    return ::pread(fd, into.data(), std::min(into.size(), site.transfer_bytes_max),
                   to_off(offset_bytes));
  });
}

std::int64_t write_bare(int fd, std::span<const std::byte> from,
                        std::uint64_t offset_bytes) noexcept {
  return internal::run_bare(Call::kWrite, [&](const CallSite& site) {
    return ::pwrite(fd, from.data(), std::min(from.size(), site.transfer_bytes_max),
                    to_off(offset_bytes));
  });
}

Outcome<std::size_t> read_at(int fd, std::span<std::byte> into,
                             std::uint64_t offset_bytes) noexcept {
  std::size_t done = 0;
  while (done < into.size()) {
    const auto outcome = run(Call::kRead, [&](const CallSite& site) {
      const std::size_t want =
          std::min({into.size() - done, kTransferBytesMax, site.transfer_bytes_max});
      return ::pread(fd, into.data() + done, want, to_off(offset_bytes + done));
    });
    if (!outcome) {
      return tl::unexpected<Errno>(outcome.error());
    }
    if (*outcome == 0) {
      break;
    }
    done += static_cast<std::size_t>(*outcome);
  }
  return done;
}

Outcome<std::size_t> read_some(int fd, std::span<std::byte> into) noexcept {
  const auto outcome = run(Call::kRead, [&](const CallSite& site) {
    const std::size_t want = std::min({into.size(), kTransferBytesMax, site.transfer_bytes_max});
    return ::read(fd, into.data(), want);
  });
  if (!outcome) {
    return tl::unexpected<Errno>(outcome.error());
  }
  return static_cast<std::size_t>(*outcome);
}

Outcome<std::size_t> read_some_at(int fd, std::span<std::byte> into,
                                  std::uint64_t offset_bytes) noexcept {
  const auto outcome = run(Call::kRead, [&](const CallSite& site) {
    const std::size_t want = std::min({into.size(), kTransferBytesMax, site.transfer_bytes_max});
    return ::pread(fd, into.data(), want, to_off(offset_bytes));
  });
  if (!outcome) {
    return tl::unexpected<Errno>(outcome.error());
  }
  return static_cast<std::size_t>(*outcome);
}

Outcome<void> write_at(int fd, std::span<const std::byte> from,
                       std::uint64_t offset_bytes) noexcept {
  std::size_t done = 0;
  while (done < from.size()) {
    const auto outcome = run(Call::kWrite, [&](const CallSite& site) {
      const std::size_t want =
          std::min({from.size() - done, kTransferBytesMax, site.transfer_bytes_max});
      return ::pwrite(fd, from.data() + done, want, to_off(offset_bytes + done));
    });
    if (!outcome) {
      return tl::unexpected<Errno>(outcome.error());
    }
    if (*outcome == 0) {
      return refuse(EIO);  // A write that moves nothing and says nothing would loop for ever.
    }
    done += static_cast<std::size_t>(*outcome);
  }
  return {};
}

Outcome<void> write_all(int fd, std::span<const std::byte> from) noexcept {
  std::size_t done = 0;
  while (done < from.size()) {
    const auto outcome = run(Call::kWrite, [&](const CallSite& site) {
      const std::size_t want =
          std::min({from.size() - done, kTransferBytesMax, site.transfer_bytes_max});
      return ::write(fd, from.data() + done, want);
    });
    if (!outcome && outcome.error().value == EAGAIN) {
      // Somebody who shares the descriptor made it non-blocking; the promise is to write all.
      const Outcome<short> ready = wait_for_events(fd, POLLOUT, -1);
      if (!ready) {
        return tl::unexpected<Errno>(ready.error());
      }
      continue;
    }
    if (!outcome) {
      return tl::unexpected<Errno>(outcome.error());
    }
    if (*outcome == 0) {
      return refuse(EIO);
    }
    done += static_cast<std::size_t>(*outcome);
  }
  return {};
}

Outcome<void> truncate_file(int fd, std::uint64_t size_bytes) noexcept {
  if (size_bytes > kFileOffsetMax) {
    return refuse(EFBIG);  // Clamped, it would succeed on a tmpfs, with another size.
  }
  return run_void(Call::kTruncate, [&] { return ::ftruncate(fd, to_off(size_bytes)); });
}

Outcome<void> allocate_space(int fd, ByteRange range, Allocate mode) noexcept {
  return change_space(Call::kAllocate, fd, range,
                      mode == Allocate::kKeepSize ? FALLOC_FL_KEEP_SIZE : 0);
}

Outcome<void> punch_hole(int fd, ByteRange range) noexcept {
  return change_space(Call::kPunch, fd, range, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
}

Outcome<void> sync_data(int fd) noexcept {
  return run_void(Call::kSyncData, [&] { return ::fdatasync(fd); });
}

Outcome<void> sync_all(int fd) noexcept {
  return run_void(Call::kSyncAll, [&] { return ::fsync(fd); });
}

Outcome<void> sync_range(int fd, ByteRange range, SyncRange mode) noexcept {
  if (range.length_bytes == 0) {
    return {};
  }
  unsigned flags = SYNC_FILE_RANGE_WRITE;
  if (mode == SyncRange::kStartAndWait) {
    flags |= SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WAIT_AFTER;
  }
  return run_void(Call::kSyncRange, [&] {
    return ::sync_file_range(fd, to_off(range.offset_bytes), to_length(range), flags);
  });
}

Outcome<void> advise_file(int fd, ByteRange range, FileAdvice advice) noexcept {
  if (range.length_bytes == 0) {
    return {};
  }
  int value = POSIX_FADV_NORMAL;
  switch (advice) {
    case FileAdvice::kNormal: break;
    case FileAdvice::kRandom: value = POSIX_FADV_RANDOM; break;
    case FileAdvice::kSequential: value = POSIX_FADV_SEQUENTIAL; break;
    case FileAdvice::kWillNeed: value = POSIX_FADV_WILLNEED; break;
    case FileAdvice::kDontNeed: value = POSIX_FADV_DONTNEED; break;
  }
  return run_void(Call::kAdviseFile, [&] {
    // posix_fadvise returns the error instead of setting errno.
    errno = ::posix_fadvise(fd, to_off(range.offset_bytes), to_length(range), value);
    return errno == 0 ? 0 : -1;
  });
}

Outcome<void> read_ahead(int fd, ByteRange range) noexcept {
  if (range.length_bytes == 0) {
    return {};
  }
  // "To the end" would be a negative length to the kernel.
  const auto length = static_cast<std::size_t>(
      std::min(range.length_bytes, kFileOffsetMax - std::min(range.offset_bytes, kFileOffsetMax)));
  return run_void(Call::kReadAhead, [&] {
    return static_cast<int>(::readahead(fd, to_off(range.offset_bytes), length));
  });
}

Outcome<CacheStatus> cache_status(int fd, ByteRange range) noexcept {
  struct {
    std::uint64_t offset;
    std::uint64_t length;
  } where{range.offset_bytes, static_cast<std::uint64_t>(to_length(range))};
  struct {
    std::uint64_t cached;
    std::uint64_t dirty;
    std::uint64_t writeback;
    std::uint64_t evicted;
    std::uint64_t recently_evicted;
  } found{};
  if (range.length_bytes == 0) {
    return CacheStatus{};
  }
  const Outcome<void> outcome = run_void(Call::kCacheStatus, [&] {
    return static_cast<int>(::syscall(SYS_cachestat, fd, &where, &found, 0U));
  });
  if (!outcome) {
    return tl::unexpected<Errno>(outcome.error());
  }
  return CacheStatus{.cached = {found.cached},
                     .dirty = {found.dirty},
                     .writeback = {found.writeback},
                     .evicted = {found.evicted},
                     .recently_evicted = {found.recently_evicted}};
}

Outcome<std::uint64_t> seek_data(int fd, std::uint64_t from_bytes) noexcept {
  return seek(fd, from_bytes, SEEK_DATA);
}

Outcome<std::uint64_t> seek_hole(int fd, std::uint64_t from_bytes) noexcept {
  return seek(fd, from_bytes, SEEK_HOLE);
}

Outcome<std::uint64_t> seek_end(int fd) noexcept {
  return seek(fd, 0, SEEK_END);
}

bool residency_is_trustworthy(int fd) noexcept {
  struct stat raw{};
  if (!run_void(Call::kStatus, [&] { return ::fstat(fd, &raw); })) {
    return false;
  }
  if (raw.st_uid == ::geteuid()) {
    return true;
  }
  char path[32];
  std::snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  // The kernel asks for write permission on the file, whatever the descriptor was opened for.
  if (run_void(Call::kStatus, [&] { return ::faccessat(AT_FDCWD, path, W_OK, AT_EACCESS); })) {
    return true;
  }
  // Or for being as good as the owner, which is not the same as being user 0: in a container that
  // user may lack CAP_FOWNER. O_NOATIME asks the very same question (inode_owner_or_capable).
  if (!S_ISREG(raw.st_mode)) {
    return false;
  }
  const Outcome<int> probe = run(Call::kOpen, [&](const CallSite&) {
    return ::open(path, O_RDONLY | O_NOATIME | O_CLOEXEC | O_NONBLOCK);
  });
  return probe && Descriptor(*probe).is_open();
}

Outcome<PollResult> wait_readable(int fd, int timeout_ms) noexcept {
  const Outcome<short> events = wait_for_events(fd, POLLIN, timeout_ms);
  if (!events) {
    return tl::unexpected<Errno>(events.error());
  }
  if (*events == 0) {
    return PollResult::kTimedOut;
  }
  return (*events & POLLIN) != 0 ? PollResult::kReadable : PollResult::kHungUp;
}

Outcome<void> lock_file(int fd) noexcept {
  return run_void(Call::kControl, [&] { return ::flock(fd, LOCK_EX | LOCK_NB); });
}

Outcome<void> rename_path(const char* from, const char* to) noexcept {
  return run_void(Call::kRename, [&] { return std::rename(from, to); });
}

Outcome<void> unlink_path(const char* path) noexcept {
  return run_void(Call::kUnlink, [&] { return ::unlink(path); });
}

}  // namespace quire::sys
