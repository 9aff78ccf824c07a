// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/names.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <cstdio>

#include "quire/sys/call.h"
#include "quire/sys/internal/run.h"

namespace quire::sys {
namespace {

using internal::run;
using internal::run_void;

}  // namespace

Outcome<Descriptor> open_nameless(const Descriptor& directory, std::uint32_t mode) noexcept {
  const Outcome<int> opened = run(Call::kOpen, [&](const CallSite&) {
    return ::openat(directory.get(), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, mode);
  });
  if (!opened) {
    return tl::unexpected<Errno>(opened.error());
  }
  return Descriptor(*opened);
}

Outcome<void> link_nameless(int fd, const Descriptor& directory, const char* name) noexcept {
  // The way that needs no privilege (AT_EMPTY_PATH does).
  std::array<char, 32> path{};
  std::snprintf(path.data(), path.size(), "/proc/self/fd/%d", fd);
  return run_void(Call::kLink, [&] {
    return ::linkat(AT_FDCWD, path.data(), directory.get(), name, AT_SYMLINK_FOLLOW);
  });
}

Outcome<void> link_at(const Descriptor& from, const char* old_name, const Descriptor& to,
                      const char* new_name) noexcept {
  return run_void(Call::kLink,
                  [&] { return ::linkat(from.get(), old_name, to.get(), new_name, 0); });
}

Outcome<void> symlink_at(const std::string& text, const Descriptor& directory,
                         const char* name) noexcept {
  return run_void(Call::kLink, [&] { return ::symlinkat(text.c_str(), directory.get(), name); });
}

Outcome<std::string> read_link_at(const Descriptor& directory, const char* name) {
  std::array<char, PATH_MAX> text{};  // The kernel stores no longer ones.
  const Outcome<ssize_t> length = run(Call::kStatus, [&](const CallSite&) {
    return ::readlinkat(directory.get(), name, text.data(), text.size());
  });
  if (!length) {
    return tl::unexpected<Errno>(length.error());
  }
  return std::string(text.data(), static_cast<std::size_t>(*length));
}

Outcome<void> make_directory(const char* path, std::uint32_t mode) noexcept {
  return run_void(Call::kMakeDirectory, [&] { return ::mkdir(path, mode); });
}

Outcome<void> make_directory_at(const Descriptor& directory, const char* name,
                                std::uint32_t mode) noexcept {
  return run_void(Call::kMakeDirectory, [&] { return ::mkdirat(directory.get(), name, mode); });
}

Outcome<void> rename_at(const Descriptor& directory, const char* old_name, const char* new_name,
                        RenameOver over) noexcept {
  return run_void(Call::kRename, [&] {
    return ::renameat2(directory.get(), old_name, directory.get(), new_name,
                       over == RenameOver::kRefuse ? RENAME_NOREPLACE : 0U);
  });
}

Outcome<void> unlink_at(const Descriptor& directory, const char* name) noexcept {
  return run_void(Call::kUnlink, [&] { return ::unlinkat(directory.get(), name, 0); });
}

Outcome<void> remove_directory_at(const Descriptor& directory, const char* name) noexcept {
  return run_void(Call::kUnlink, [&] { return ::unlinkat(directory.get(), name, AT_REMOVEDIR); });
}

}  // namespace quire::sys
