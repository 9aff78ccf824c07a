// SPDX-License-Identifier: Apache-2.0
#include "quire/transfer/internal/job.h"

#include <cerrno>

#include "quire/sys/file.h"
#include "quire/transfer/internal/stop.h"

namespace quire::internal {

bool is_refusal(int error) noexcept {
  switch (error) {
    case EINVAL:      // A flag, an alignment, O_APPEND, a pair of files that it is not made for.
    case ENOSYS:      // Not in this kernel.
    case EOPNOTSUPP:  // Not on this file system, or not for this kind of socket.
    case EXDEV:       // Not across file systems.
    case ENOTTY:      // No such ioctl here.
    case EPERM:      // A seccomp filter, a sealed or immutable file: another way, or its own words.
    case EACCES:     // The same from a security module.
    case EBADF:      // copy_file_range onto O_APPEND; a descriptor that is closed fails anew.
    case ETXTBSY:    // copy_file_range onto a swap file.
    case ENODEV:     // Not to be mapped.
    case ESPIPE:     // No offsets.
    case EOVERFLOW:  // copy_file_range past what the file system counts to.
    case ENOBUFS:    // No room for pinned pages.
    case ENOMEM:     // No room for the method's own needs; reading and writing needs the least.
      return true;
    default: return false;
  }
}

Step refused_or_failed(const char* operation, sys::Errno cause) noexcept {
  const Fault fault{.operation = operation, .error = cause.value};
  return is_refusal(cause.value) ? Step::refused(fault) : Step::failed(fault);
}

void Job::moved(std::uint64_t bytes, unsigned copies) noexcept {
  report_.bytes += bytes;
  add_copied(bytes * copies);
}

void Job::moved_with_unknown_copies(std::uint64_t bytes) noexcept {
  report_.bytes += bytes;
  report_.bytes_copied_by_cpu.reset();
}

void Job::add_copied(std::uint64_t bytes) noexcept {
  if (report_.bytes_copied_by_cpu) {
    *report_.bytes_copied_by_cpu += bytes;
  }
}

void Job::skipped_hole(std::uint64_t bytes) noexcept {
  report_.bytes += bytes;
  report_.hole_bytes += bytes;
}

Step Job::read_piece(std::span<std::byte> into, std::uint64_t ahead_bytes, std::size_t& got) {
  for (;;) {
    count_call();
    const auto read = source_.is_placed()
                          ? sys::read_some_at(source_.fd, into, source_offset() + ahead_bytes)
                          : sys::read_some(source_.fd, into);
    if (read) {
      got = *read;
      return Step::moved();
    }
    if (read.error().value != EAGAIN) {
      return Step::failed({.operation = "read", .error = read.error().value});
    }
    if (const Step waited = wait_for_source(); !waited.is_moved()) {
      return waited;
    }
  }
}

sys::Outcome<std::size_t> Job::write_once(std::span<const std::byte> from) {
  count_call();
  if (target_.is_placed()) {
    return sys::write_some_at(target_.fd, from, target_offset());
  }
  return target_.is_socket() ? sys::send_some(target_.fd, from, {})
                             : sys::write_some(target_.fd, from);
}

Step Job::write_piece(std::span<const std::byte> from, unsigned copies) {
  while (!from.empty()) {
    const auto written = write_once(from);
    if (written && *written > 0) {
      moved(*written, copies);
      from = from.subspan(*written);
      continue;
    }
    const int error = written ? EIO : written.error().value;  // 0 and no error: no loop for ever.
    if (error != EAGAIN) {
      return Step::failed({.operation = target_.is_socket() ? "send" : "write", .error = error});
    }
    if (const Step waited = wait_for_target(); !waited.is_moved()) {
      return waited;
    }
  }
  return Step::moved();
}

Step Job::wait(int fd, sys::WaitFor what, bool is_non_blocking, const char* operation) {
  if (!is_non_blocking) {
    // A blocking call that gives up has a time limit of its own (SO_SNDTIMEO): the caller's wish.
    return Step::failed({.operation = operation, .error = EAGAIN});
  }
  count_call();
  const auto end = sys::wait_for(fd, what, options_.stop_fd, options_.stall_timeout_ms);
  if (!end) {
    return Step::failed({.operation = "poll", .error = end.error().value});
  }
  switch (*end) {
    case sys::WaitEnd::kReady:
    case sys::WaitEnd::kHungUp: return Step::moved();  // The next call says what is the matter.
    case sys::WaitEnd::kStopped: return Step::failed({.code = Errc::kCancelled});
    case sys::WaitEnd::kTimedOut: break;
  }
  return Step::failed({.operation = operation, .error = ETIMEDOUT});
}

Step Job::wait_for_source() {
  const auto wait_once = [this] {
    return wait(source_.fd, sys::WaitFor::kReadable, source_.open.is_non_blocking,
                "waiting for the source");
  };
  const Step waited = wait_once();
  const bool is_over_time = waited.end == Step::End::kFailed && waited.fault.error == ETIMEDOUT;
  return is_over_time && last_resort_ && last_resort_() ? wait_once() : waited;
}

Step Job::wait_for_target() {
  return wait(target_.fd, sys::WaitFor::kWritable, target_.open.is_non_blocking,
              "waiting for the target");
}

Step Job::wait_for_either() {
  if (source_.is_placed() || !source_.open.is_non_blocking) {
    return wait_for_target();
  }
  if (target_.is_placed() || !target_.open.is_non_blocking) {
    return wait_for_source();
  }
  count_call();
  const auto now = sys::wait_for(source_.fd, sys::WaitFor::kReadable, -1, 0);
  return now && *now == sys::WaitEnd::kTimedOut ? wait_for_source() : wait_for_target();
}

Step Job::wait_for_notice() {
  return wait(target_.fd, sys::WaitFor::kNotice, true, "waiting for the peer to take all of it");
}

bool Job::is_stopped() {
  if (options_.stop_fd >= 0) {
    count_call();
  }
  return is_stop_requested(options_.stop, options_.stop_fd);
}

}  // namespace quire::internal
