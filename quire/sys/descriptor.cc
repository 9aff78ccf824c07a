// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/descriptor.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <limits>

#include "quire/sys/call.h"
#include "quire/sys/internal/run.h"

namespace quire::sys {
namespace {

using internal::run;
using internal::run_void;

constexpr std::int64_t kNanosecondsPerSecond = 1'000'000'000;
constexpr std::uint64_t kStatBlockBytes = 512;  // Whatever the file system's blocks are (stat(2)).

FileKind kind_of(mode_t mode) noexcept {
  switch (mode & S_IFMT) {
    case S_IFREG: return FileKind::kRegular;
    case S_IFDIR: return FileKind::kDirectory;
    case S_IFBLK: return FileKind::kBlockDevice;
    case S_IFCHR: return FileKind::kCharacterDevice;
    case S_IFIFO: return FileKind::kPipe;
    case S_IFSOCK: return FileKind::kSocket;
    case S_IFLNK: return FileKind::kSymlink;
    default: return FileKind::kOther;
  }
}

// Saturates: file systems store times far past 2262, where 64 bits of nanoseconds end.
std::int64_t to_nanoseconds(const timespec& time) noexcept {
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();
  if (time.tv_sec >= kMax / kNanosecondsPerSecond) {
    return kMax;
  }
  if (time.tv_sec <= kMin / kNanosecondsPerSecond) {
    return kMin;
  }
  return time.tv_sec * kNanosecondsPerSecond + time.tv_nsec;
}

FileStatus to_status(const struct stat& raw) noexcept {
  return {.kind = kind_of(raw.st_mode),
          .size_bytes = raw.st_size > 0 ? static_cast<std::uint64_t>(raw.st_size) : 0,
          .allocated_bytes = static_cast<std::uint64_t>(raw.st_blocks) * kStatBlockBytes,
          .preferred_bytes = static_cast<std::uint64_t>(raw.st_blksize),
          .device = raw.st_dev,
          .inode = raw.st_ino,
          .link_count = raw.st_nlink,
          .modified_ns = to_nanoseconds(raw.st_mtim),
          .changed_ns = to_nanoseconds(raw.st_ctim),
          .mode = raw.st_mode & 07777U,
          .owner = raw.st_uid};
}

int to_open_flags(const OpenFlags& flags) noexcept {
  int bits = O_CLOEXEC | O_NOCTTY;
  // A FIFO without a writer must not stop us, and regular files do not care.
  bits |= flags.path_only ? O_PATH : O_NONBLOCK;
  bits |= flags.write ? O_RDWR : O_RDONLY;
  bits |= flags.create ? O_CREAT : 0;
  bits |= flags.exclusive ? O_EXCL : 0;
  bits |= flags.truncate ? O_TRUNC : 0;
  bits |= flags.directory ? O_DIRECTORY : 0;
  bits |= flags.no_follow ? O_NOFOLLOW : 0;
  bits |= flags.direct ? O_DIRECT : 0;
  return bits;
}

Outcome<Descriptor> to_descriptor(const Outcome<int>& fd) noexcept {
  if (!fd) {
    return tl::unexpected<Errno>(fd.error());
  }
  return Descriptor(*fd);
}

Outcome<Descriptor> open_at(int directory, const char* path, const OpenFlags& flags) noexcept {
  return to_descriptor(run(Call::kOpen, [&](const CallSite&) {
    return ::openat(directory, path, to_open_flags(flags), flags.mode);
  }));
}

}  // namespace

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (this != &other) {
    static_cast<void>(close());
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

Outcome<void> Descriptor::close() noexcept {
  if (fd_ < 0) {
    return {};
  }
  const CallSite site = CallSite::enter(Call::kClose);
  // Even a failed close(2) frees the number on Linux: trying again could close somebody else's.
  const int result = ::close(std::exchange(fd_, -1));
  const int error = site.error != 0 ? site.error : result < 0 ? errno : 0;
  // EINTR means the descriptor is closed too; there is nothing left to report about it.
  if (error != 0 && error != EINTR) {
    return refuse(error);
  }
  return {};
}

std::size_t FileIdHash::operator()(const FileId& id) const noexcept {
  // Inodes are dense and devices few: a multiplication spreads both.
  constexpr std::uint64_t kMultiplier = 0x9e3779b97f4a7c15;  // 2^64 by the golden ratio.
  return static_cast<std::size_t>((id.inode + id.device * kMultiplier) * kMultiplier);
}

const char* describe(FileKind kind) noexcept {
  switch (kind) {
    case FileKind::kRegular: return "a regular file";
    case FileKind::kDirectory: return "a directory";
    case FileKind::kBlockDevice: return "a block device";
    case FileKind::kCharacterDevice: return "a character device";
    case FileKind::kPipe: return "a pipe";
    case FileKind::kSocket: return "a socket";
    case FileKind::kSymlink: return "a symbolic link";
    case FileKind::kOther: break;
  }
  return "an unknown kind of file";
}

Outcome<Descriptor> open_file(const char* path, const OpenFlags& flags) noexcept {
  return open_at(AT_FDCWD, path, flags);
}

Outcome<Descriptor> open_file_at(const Descriptor& directory, const char* path,
                                 const OpenFlags& flags) noexcept {
  return open_at(directory.get(), path, flags);
}

Outcome<Descriptor> duplicate(int fd) noexcept {
  return to_descriptor(
      run(Call::kDuplicate, [&](const CallSite&) { return ::fcntl(fd, F_DUPFD_CLOEXEC, 0); }));
}

Outcome<FileStatus> file_status(int fd) noexcept {
  struct stat raw{};
  const Outcome<void> outcome = run_void(Call::kStatus, [&] { return ::fstat(fd, &raw); });
  if (!outcome) {
    return tl::unexpected<Errno>(outcome.error());
  }
  return to_status(raw);
}

Outcome<FileStatus> path_status(const char* path, bool no_follow) noexcept {
  struct stat raw{};
  const Outcome<void> outcome = run_void(Call::kStatus, [&] {
    return ::fstatat(AT_FDCWD, path, &raw, no_follow ? AT_SYMLINK_NOFOLLOW : 0);
  });
  if (!outcome) {
    return tl::unexpected<Errno>(outcome.error());
  }
  return to_status(raw);
}

Outcome<bool> is_writable(int fd) noexcept {
  const Outcome<int> flags =
      run(Call::kStatus, [&](const CallSite&) { return ::fcntl(fd, F_GETFL); });
  if (!flags) {
    return tl::unexpected<Errno>(flags.error());
  }
  return (*flags & O_ACCMODE) == O_RDWR || (*flags & O_ACCMODE) == O_WRONLY;
}

Outcome<std::uint64_t> block_device_bytes(int fd) noexcept {
  std::uint64_t size_bytes = 0;
  const Outcome<void> outcome =
      run_void(Call::kControl, [&] { return ::ioctl(fd, BLKGETSIZE64, &size_bytes); });
  if (!outcome) {
    return tl::unexpected<Errno>(outcome.error());
  }
  return size_bytes;
}

std::string path_of(int fd) {
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  std::array<char, 4096> target{};
  const Outcome<ssize_t> length = run(Call::kStatus, [&](const CallSite&) {
    return ::readlink(link.c_str(), target.data(), target.size());
  });
  return length ? std::string(target.data(), static_cast<std::size_t>(*length))
                : "descriptor " + std::to_string(fd);
}

}  // namespace quire::sys
