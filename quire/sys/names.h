// SPDX-License-Identifier: Apache-2.0
//
// names: entries of an open directory, made, changed and removed without looking up a path twice:
// what is renamed into place is what was written, whatever happens to the path meanwhile.
//
// Thread-safety: any thread.
// Errors:        Outcome with the kernel's errno.
#pragma once

#include <cstdint>
#include <string>

#include "quire/sys/descriptor.h"
#include "quire/sys/outcome.h"

namespace quire::sys {

// A regular file in that directory without a name: gone with its last descriptor, unless
// link_nameless() names it. Errors: EOPNOTSUPP, EISDIR where the file system has none.
[[nodiscard]] Outcome<Descriptor> open_nameless(const Descriptor& directory,
                                                std::uint32_t mode) noexcept;
// Errors: EEXIST when the name is taken; ENOENT without /proc.
Outcome<void> link_nameless(int fd, const Descriptor& directory, const char* name) noexcept;

// A second name for a file. A symbolic link is not followed.
Outcome<void> link_at(const Descriptor& from, const char* old_name, const Descriptor& to,
                      const char* new_name) noexcept;
Outcome<void> symlink_at(const std::string& text, const Descriptor& directory,
                         const char* name) noexcept;
[[nodiscard]] Outcome<std::string> read_link_at(const Descriptor& directory, const char* name);
Outcome<void> make_directory(const char* path, std::uint32_t mode) noexcept;
Outcome<void> make_directory_at(const Descriptor& directory, const char* name,
                                std::uint32_t mode) noexcept;

enum class RenameOver : std::uint8_t { kReplace, kRefuse };
// Within one directory. kRefuse: EEXIST when the new name is taken (EINVAL where the file system
// cannot promise it).
Outcome<void> rename_at(const Descriptor& directory, const char* old_name, const char* new_name,
                        RenameOver over) noexcept;
Outcome<void> unlink_at(const Descriptor& directory, const char* name) noexcept;
// Errors: ENOTEMPTY; EBUSY for a cgroup with processes in it.
Outcome<void> remove_directory_at(const Descriptor& directory, const char* name) noexcept;

}  // namespace quire::sys
