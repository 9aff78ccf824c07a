// SPDX-License-Identifier: Apache-2.0
//
// metadata: what a file has besides its bytes: permission bits, owner, times, extended attributes.
//
// Thread-safety: any thread.
// Errors:        Outcome with the kernel's errno: EPERM for what only the owner or root may change,
//                EOPNOTSUPP where the file system has no such thing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "quire/sys/descriptor.h"
#include "quire/sys/outcome.h"

namespace quire::sys {

// Since the epoch; whole, unlike a count of nanoseconds, which ends in 2262.
struct FileTime {
  std::int64_t seconds = 0;
  std::int64_t nanoseconds = 0;

  friend constexpr bool operator==(const FileTime&, const FileTime&) = default;
};

struct FileMetadata {
  std::uint32_t mode = 0;  // 07777
  std::uint32_t owner = 0;
  std::uint32_t group = 0;
  FileTime accessed;
  FileTime modified;
  FileTime changed;
};

[[nodiscard]] Outcome<FileMetadata> metadata_of(int fd) noexcept;
// Of a name in an open directory; a symbolic link itself.
[[nodiscard]] Outcome<FileMetadata> metadata_at(const Descriptor& directory,
                                                const char* name) noexcept;

// For set_owner(): the owner, or the group, that it has.
inline constexpr std::uint32_t kKeepOwner = ~std::uint32_t{0};

Outcome<void> set_mode(int fd, std::uint32_t mode) noexcept;
Outcome<void> set_owner(int fd, std::uint32_t owner, std::uint32_t group) noexcept;
Outcome<void> set_times(int fd, const FileTime& accessed, const FileTime& modified) noexcept;
// Of a name in an open directory; a symbolic link itself.
Outcome<void> set_owner_at(const Descriptor& directory, const char* name, std::uint32_t owner,
                           std::uint32_t group) noexcept;
Outcome<void> set_times_at(const Descriptor& directory, const char* name, const FileTime& accessed,
                           const FileTime& modified) noexcept;

// The names of a file's extended attributes, access control lists among them.
[[nodiscard]] Outcome<std::vector<std::string>> attribute_names(int fd);
[[nodiscard]] Outcome<std::string> attribute(int fd, const std::string& name);
Outcome<void> set_attribute(int fd, const std::string& name, const std::string& value) noexcept;
// The same for one that is not there yet. Errors: EEXIST.
Outcome<void> add_attribute(int fd, const std::string& name, const std::string& value) noexcept;
// Errors: ENODATA.
Outcome<void> remove_attribute(int fd, const std::string& name) noexcept;

}  // namespace quire::sys
