// SPDX-License-Identifier: Apache-2.0
//
// Descriptor: an open file, owned. And what one look at it tells: FileStatus.
//
// Every descriptor of quire is close-on-exec. Opening never waits for a peer (a FIFO without a
// writer) and never makes a terminal ours.
//
// Thread-safety: one thread at a time per object; the kernel's own object may be shared.
// Errors:        Outcome; EINTR never gets out of here.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "quire/sys/outcome.h"

namespace quire::sys {

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) noexcept : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept;
  ~Descriptor() { static_cast<void>(close()); }

  [[nodiscard]] bool is_open() const noexcept { return fd_ >= 0; }
  // The number, still owned here; -1 when closed.
  [[nodiscard]] int get() const noexcept { return fd_; }
  // The number, no longer owned here.
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }
  // Closing twice is harmless. The descriptor is gone even when an error comes back (Linux).
  Outcome<void> close() noexcept;

 private:
  int fd_ = -1;
};

enum class FileKind : std::uint8_t {
  kRegular,
  kDirectory,
  kBlockDevice,
  kCharacterDevice,
  kPipe,
  kSocket,
  kSymlink,
  kOther,
};

// "a directory", "a socket": for sentences.
[[nodiscard]] const char* describe(FileKind kind) noexcept;

// Which file it is, whatever its name.
struct FileId {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;

  friend constexpr auto operator<=>(const FileId&, const FileId&) = default;
};
// For std::unordered_map and its like.
struct FileIdHash {
  [[nodiscard]] std::size_t operator()(const FileId& id) const noexcept;
};

struct FileStatus {
  FileKind kind = FileKind::kOther;
  std::uint64_t size_bytes = 0;       // As stat says; 0 for devices and pipes.
  std::uint64_t allocated_bytes = 0;  // Blocks that the file system holds for it.
  std::uint64_t preferred_bytes = 0;  // Block size for I/O; on hugetlbfs the huge page size.
  std::uint64_t device = 0;           // Together with inode: which file this is.
  std::uint64_t inode = 0;
  std::uint64_t link_count = 0;
  std::int64_t modified_ns = 0;  // Since the epoch.
  std::int64_t changed_ns = 0;
  std::uint32_t mode = 0;  // Permission bits only, 07777.
  std::uint32_t owner = 0;

  [[nodiscard]] FileId id() const noexcept { return {.device = device, .inode = inode}; }
};

struct OpenFlags {
  bool write = false;
  bool create = false;     // Together with `write`.
  bool exclusive = false;  // With `create`: fail with EEXIST when it is there.
  bool truncate = false;
  bool directory = false;     // Fail with ENOTDIR on anything else.
  bool no_follow = false;     // Fail with ELOOP on a symbolic link.
  bool path_only = false;     // O_PATH: to look at, not to read.
  bool direct = false;        // O_DIRECT: past the page cache, see direct_io.h.
  std::uint32_t mode = 0644;  // For a created file, before the umask.
};

// REQUIRES: path holds no NUL (std::string callers check; see path_has_nul).
[[nodiscard]] Outcome<Descriptor> open_file(const char* path, const OpenFlags& flags) noexcept;
// The same, relative to an open directory.
[[nodiscard]] Outcome<Descriptor> open_file_at(const Descriptor& directory, const char* path,
                                               const OpenFlags& flags) noexcept;
[[nodiscard]] Outcome<Descriptor> duplicate(int fd) noexcept;
[[nodiscard]] Outcome<FileStatus> file_status(int fd) noexcept;
// Of a path; a symbolic link itself where `no_follow`.
[[nodiscard]] Outcome<FileStatus> path_status(const char* path, bool no_follow) noexcept;
// Whether the descriptor was opened for writing. Errors: EBADF.
[[nodiscard]] Outcome<bool> is_writable(int fd) noexcept;
// The size of a block device, in bytes.
[[nodiscard]] Outcome<std::uint64_t> block_device_bytes(int fd) noexcept;

// What the kernel calls an open file: its path now, with " (deleted)" behind it after an unlink,
// "pipe:[123]"; "descriptor 7" when it does not tell. For messages only.
[[nodiscard]] std::string path_of(int fd);

// True when the kernel would see a shorter path than the caller wrote.
[[nodiscard]] inline bool path_has_nul(const std::string& path) noexcept {
  return path.find('\0') != std::string::npos;
}

}  // namespace quire::sys
