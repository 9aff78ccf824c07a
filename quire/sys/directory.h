// SPDX-License-Identifier: Apache-2.0
//
// directory: the names in a directory, read through one fixed buffer however many there are.
//
//   DirectoryReader reader(std::move(descriptor));
//   for (;;) {
//     const std::optional<DirectoryEntry> entry = QUIRE_TRY(reader.next());
//     if (!entry) break;
//   }
//
// Invariants:    "." and ".." are never reported; memory is kBufferBytes per open reader.
// Thread-safety: one thread at a time per reader.
// Errors:        next() gives what getdents64 said, ENOENT for a directory that was removed among
//                them. Names created or deleted meanwhile may or may not appear (POSIX).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "quire/base/result.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/outcome.h"

namespace quire::sys {

struct DirectoryEntry {
  const char* name = "";  // NUL-terminated; valid until the next call of next().
  std::uint64_t inode = 0;
  FileKind kind = FileKind::kOther;  // Of the entry itself: a link is kSymlink.
  bool is_kind_known = false;        // Some file systems leave it to fstat.
};

class DirectoryReader {
 public:
  // One getdents64 call fills at most this; the largest entry (255 bytes of name) is far smaller.
  static constexpr std::size_t kBufferBytes = std::size_t{16} << 10;

  // REQUIRES: `directory` is open for reading.
  explicit DirectoryReader(Descriptor directory);

  // The next entry, or nothing at the end.
  Outcome<std::optional<DirectoryEntry>> next() noexcept;

  // For openat and fstat relative to it.
  [[nodiscard]] const Descriptor& descriptor() const noexcept { return directory_; }

 private:
  Outcome<bool> refill() noexcept;

  struct alignas(std::uint64_t) Buffer {
    std::array<std::byte, kBufferBytes> bytes;
  };

  Descriptor directory_;
  std::unique_ptr<Buffer> buffer_;
  std::size_t filled_bytes_ = 0;
  std::size_t position_bytes_ = 0;
};

// Makes a name durable: fsync of the directory that `path` lies in. Blocks.
// Errors: of open(2) and fsync(2), about that directory.
[[nodiscard]] Result<void> sync_parent_directory(const std::string& path);

}  // namespace quire::sys
