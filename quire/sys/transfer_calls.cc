// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/transfer_calls.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>

#include "quire/base/page_window.h"
#include "quire/sys/call.h"
#include "quire/sys/internal/run.h"

namespace quire::sys {
namespace {

using internal::run;
using internal::run_void;

off_t to_off(std::uint64_t bytes) noexcept {
  return static_cast<off_t>(std::min(bytes, kFileOffsetMax));
}

std::size_t bounded(std::uint64_t wanted_bytes, const CallSite& site) noexcept {
  return static_cast<std::size_t>(
      std::min<std::uint64_t>({wanted_bytes, kCallBytesMax, site.transfer_bytes_max}));
}

Outcome<std::size_t> to_size(const Outcome<ssize_t>& outcome) noexcept {
  if (!outcome) {
    return tl::unexpected<Errno>(outcome.error());
  }
  return static_cast<std::size_t>(*outcome);
}

Outcome<int> open_flags_of(int fd) noexcept {
  return run(Call::kStatus, [&](const CallSite&) { return ::fcntl(fd, F_GETFL); });
}

short events_of(WaitFor what) noexcept {
  switch (what) {
    case WaitFor::kReadable: return POLLIN;
    case WaitFor::kWritable: return POLLOUT;
    case WaitFor::kNotice: break;
  }
  return 0;
}

}  // namespace

Outcome<std::size_t> write_some(int fd, std::span<const std::byte> from) noexcept {
  return to_size(run(Call::kWrite, [&](const CallSite& site) {
    return ::write(fd, from.data(), bounded(from.size(), site));
  }));
}

Outcome<std::size_t> write_some_at(int fd, std::span<const std::byte> from,
                                   std::uint64_t offset_bytes) noexcept {
  return to_size(run(Call::kWrite, [&](const CallSite& site) {
    return ::pwrite(fd, from.data(), bounded(from.size(), site), to_off(offset_bytes));
  }));
}

Outcome<std::size_t> send_file(int target, int source, std::uint64_t source_offset_bytes,
                               std::size_t length_bytes) noexcept {
  return to_size(run(Call::kSendFile, [&](const CallSite& site) {
    off_t offset = to_off(source_offset_bytes);
    return ::sendfile(target, source, &offset, bounded(length_bytes, site));
  }));
}

Outcome<std::size_t> splice(const SpliceEnd& from, const SpliceEnd& to, std::size_t length_bytes,
                            SpliceMore more) noexcept {
  return to_size(run(Call::kSplice, [&](const CallSite& site) {
    loff_t from_offset = to_off(from.offset_bytes.value_or(0));
    loff_t to_offset = to_off(to.offset_bytes.value_or(0));
    return ::splice(from.fd, from.offset_bytes ? &from_offset : nullptr, to.fd,
                    to.offset_bytes ? &to_offset : nullptr, bounded(length_bytes, site),
                    more == SpliceMore::kYes ? SPLICE_F_MORE : 0U);
  }));
}

Outcome<std::size_t> copy_range(int target, std::uint64_t target_offset_bytes, int source,
                                ByteRange range) noexcept {
  return to_size(run(Call::kCopyRange, [&](const CallSite& site) {
    loff_t from = to_off(range.offset_bytes);
    loff_t to = to_off(target_offset_bytes);
    return ::copy_file_range(source, &from, target, &to, bounded(range.length_bytes, site), 0U);
  }));
}

Outcome<void> clone_file(int target, int source) noexcept {
  return run_void(Call::kClone, [&] { return ::ioctl(target, FICLONE, source); });
}

Outcome<void> clone_range(int target, std::uint64_t target_offset_bytes, int source,
                          ByteRange range) noexcept {
  if (range.length_bytes == 0) {
    return {};  // To the kernel it would mean "to the end".
  }
  file_clone_range request{
      .src_fd = source,
      .src_offset = range.offset_bytes,
      .src_length = range.length_bytes == kToEnd ? 0 : range.length_bytes,
      .dest_offset = target_offset_bytes,
  };
  return run_void(Call::kClone, [&] { return ::ioctl(target, FICLONERANGE, &request); });
}

Outcome<Pipe> create_pipe(std::size_t capacity_bytes, bool non_blocking) noexcept {
  std::array<int, 2> ends{-1, -1};
  const Outcome<void> outcome = run_void(Call::kPipe, [&] {
    return ::pipe2(ends.data(), O_CLOEXEC | (non_blocking ? O_NONBLOCK : 0));
  });
  if (!outcome) {
    return tl::unexpected<Errno>(outcome.error());
  }
  Pipe pipe{.read_end = Descriptor(ends[0]), .write_end = Descriptor(ends[1])};
  const Outcome<std::size_t> capacity = enlarge_pipe(pipe.write_end.get(), capacity_bytes);
  if (!capacity) {
    return tl::unexpected<Errno>(capacity.error());
  }
  pipe.capacity_bytes = *capacity;
  return pipe;
}

Outcome<std::size_t> pipe_capacity(int fd) noexcept {
  const Outcome<int> bytes =
      run(Call::kControl, [&](const CallSite&) { return ::fcntl(fd, F_GETPIPE_SZ); });
  if (!bytes) {
    return tl::unexpected<Errno>(bytes.error());
  }
  return static_cast<std::size_t>(*bytes);
}

Outcome<std::size_t> enlarge_pipe(int fd, std::size_t capacity_bytes) noexcept {
  const Outcome<std::size_t> now = pipe_capacity(fd);
  if (!now || *now >= capacity_bytes) {
    return now;
  }
  // Refused past the user's limit: the smaller pipe works, too.
  for (std::size_t wanted = capacity_bytes; wanted > *now; wanted /= 2) {
    const Outcome<int> set = run(Call::kControl, [&](const CallSite&) {
      return ::fcntl(fd, F_SETPIPE_SZ, static_cast<int>(wanted));
    });
    if (set) {
      return static_cast<std::size_t>(*set);
    }
  }
  return now;
}

Outcome<OpenState> open_state(int fd) noexcept {
  const Outcome<int> flags = open_flags_of(fd);
  if (!flags) {
    return tl::unexpected<Errno>(flags.error());
  }
  const int access = *flags & O_ACCMODE;
  return OpenState{.is_readable = access != O_WRONLY && (*flags & O_PATH) == 0,
                   .is_writable = access != O_RDONLY && (*flags & O_PATH) == 0,
                   .is_appending = (*flags & O_APPEND) != 0,
                   .is_non_blocking = (*flags & O_NONBLOCK) != 0,
                   .is_direct = (*flags & O_DIRECT) != 0};
}

Outcome<void> set_non_blocking(int fd, bool on) noexcept {
  const Outcome<int> flags = open_flags_of(fd);
  if (!flags) {
    return tl::unexpected<Errno>(flags.error());
  }
  const int wanted = on ? *flags | O_NONBLOCK : *flags & ~O_NONBLOCK;
  return run_void(Call::kControl, [&] { return ::fcntl(fd, F_SETFL, wanted); });
}

Outcome<Descriptor> reopen_direct(int fd, bool write) noexcept {
  std::array<char, 32> path{};
  std::snprintf(path.data(), path.size(), "/proc/self/fd/%d", fd);
  const Outcome<int> opened = run(Call::kOpen, [&](const CallSite&) {
    return ::open(path.data(), (write ? O_RDWR : O_RDONLY) | O_DIRECT | O_CLOEXEC | O_NOCTTY);
  });
  if (!opened) {
    return tl::unexpected<Errno>(opened.error());
  }
  return Descriptor(*opened);
}

Outcome<std::uint64_t> file_position(int fd) noexcept {
  const Outcome<off_t> position =
      run(Call::kSeek, [&](const CallSite&) { return ::lseek(fd, 0, SEEK_CUR); });
  if (!position) {
    return tl::unexpected<Errno>(position.error());
  }
  return static_cast<std::uint64_t>(*position);
}

Outcome<void> set_file_position(int fd, std::uint64_t offset_bytes) noexcept {
  const Outcome<off_t> position = run(
      Call::kSeek, [&](const CallSite&) { return ::lseek(fd, to_off(offset_bytes), SEEK_SET); });
  if (!position) {
    return tl::unexpected<Errno>(position.error());
  }
  return {};
}

Outcome<WaitEnd> wait_for(int fd, WaitFor what, int stop_fd, int timeout_ms) noexcept {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
  const short events = events_of(what);
  std::array<pollfd, 2> entries{pollfd{.fd = fd, .events = events, .revents = 0},
                                pollfd{.fd = stop_fd, .events = POLLIN, .revents = 0}};
  int left_ms = timeout_ms;
  const Outcome<int> count = run(Call::kPoll, [&](const CallSite&) {
    const int result = ::poll(entries.data(), entries.size(), left_ms);  // fd -1 is passed over.
    if (result < 0 && timeout_ms >= 0) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
      left_ms = static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, timeout_ms));
    }
    return result;
  });
  if (!count) {
    return tl::unexpected<Errno>(count.error());
  }
  if ((entries[0].revents & POLLNVAL) != 0) {
    return refuse(EBADF);
  }
  if (entries[1].revents != 0) {
    return WaitEnd::kStopped;
  }
  if (*count == 0) {
    return WaitEnd::kTimedOut;
  }
  return (entries[0].revents & events) != 0 ? WaitEnd::kReady : WaitEnd::kHungUp;
}

}  // namespace quire::sys
