// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/metadata.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "quire/sys/call.h"
#include "quire/sys/internal/run.h"

namespace quire::sys {
namespace {

using internal::run;
using internal::run_void;

FileTime to_time(const timespec& time) noexcept {
  return {.seconds = time.tv_sec, .nanoseconds = time.tv_nsec};
}

std::array<timespec, 2> to_times(const FileTime& accessed, const FileTime& modified) noexcept {
  return {timespec{.tv_sec = accessed.seconds, .tv_nsec = accessed.nanoseconds},
          timespec{.tv_sec = modified.seconds, .tv_nsec = modified.nanoseconds}};
}

FileMetadata to_metadata(const struct stat& raw) noexcept {
  return {.mode = raw.st_mode & 07777U,
          .owner = raw.st_uid,
          .group = raw.st_gid,
          .accessed = to_time(raw.st_atim),
          .modified = to_time(raw.st_mtim),
          .changed = to_time(raw.st_ctim)};
}

// Asks for the size, then for the content, again while it grows in between.
template <typename Get>
Outcome<std::string> sized_text(Get&& get) {
  for (;;) {
    const Outcome<ssize_t> size =
        run(Call::kAttribute, [&](const CallSite&) { return get(nullptr, std::size_t{0}); });
    if (!size) {
      return tl::unexpected<Errno>(size.error());
    }
    std::string text(static_cast<std::size_t>(*size), '\0');
    if (text.empty()) {
      return text;
    }
    const Outcome<ssize_t> filled =
        run(Call::kAttribute, [&](const CallSite&) { return get(text.data(), text.size()); });
    if (filled) {
      text.resize(static_cast<std::size_t>(*filled));
      return text;
    }
    if (filled.error().value != ERANGE) {
      return tl::unexpected<Errno>(filled.error());
    }
  }
}

}  // namespace

Outcome<FileMetadata> metadata_of(int fd) noexcept {
  struct stat raw{};
  const Outcome<void> outcome = run_void(Call::kStatus, [&] { return ::fstat(fd, &raw); });
  if (!outcome) {
    return tl::unexpected<Errno>(outcome.error());
  }
  return to_metadata(raw);
}

Outcome<FileMetadata> metadata_at(const Descriptor& directory, const char* name) noexcept {
  struct stat raw{};
  const Outcome<void> outcome = run_void(
      Call::kStatus, [&] { return ::fstatat(directory.get(), name, &raw, AT_SYMLINK_NOFOLLOW); });
  if (!outcome) {
    return tl::unexpected<Errno>(outcome.error());
  }
  return to_metadata(raw);
}

Outcome<void> set_mode(int fd, std::uint32_t mode) noexcept {
  return run_void(Call::kMetadata, [&] { return ::fchmod(fd, mode); });
}

Outcome<void> set_owner(int fd, std::uint32_t owner, std::uint32_t group) noexcept {
  return run_void(Call::kMetadata, [&] { return ::fchown(fd, owner, group); });
}

Outcome<void> set_times(int fd, const FileTime& accessed, const FileTime& modified) noexcept {
  const std::array<timespec, 2> times = to_times(accessed, modified);
  return run_void(Call::kMetadata, [&] { return ::futimens(fd, times.data()); });
}

Outcome<void> set_owner_at(const Descriptor& directory, const char* name, std::uint32_t owner,
                           std::uint32_t group) noexcept {
  return run_void(Call::kMetadata, [&] {
    return ::fchownat(directory.get(), name, owner, group, AT_SYMLINK_NOFOLLOW);
  });
}

Outcome<void> set_times_at(const Descriptor& directory, const char* name, const FileTime& accessed,
                           const FileTime& modified) noexcept {
  const std::array<timespec, 2> times = to_times(accessed, modified);
  return run_void(Call::kMetadata, [&] {
    return ::utimensat(directory.get(), name, times.data(), AT_SYMLINK_NOFOLLOW);
  });
}

Outcome<std::vector<std::string>> attribute_names(int fd) {
  const Outcome<std::string> list = sized_text(
      [&](char* into, std::size_t size_bytes) { return ::flistxattr(fd, into, size_bytes); });
  if (!list) {
    return tl::unexpected<Errno>(list.error());
  }
  std::vector<std::string> names;
  for (std::size_t start = 0; start < list->size();) {
    names.emplace_back(list->c_str() + start);  // Each ends with a NUL, the last one too.
    start += names.back().size() + 1;
  }
  return names;
}

Outcome<std::string> attribute(int fd, const std::string& name) {
  return sized_text([&](char* into, std::size_t size_bytes) {
    return ::fgetxattr(fd, name.c_str(), into, size_bytes);
  });
}

Outcome<void> set_attribute(int fd, const std::string& name, const std::string& value) noexcept {
  return run_void(Call::kAttribute,
                  [&] { return ::fsetxattr(fd, name.c_str(), value.data(), value.size(), 0); });
}

Outcome<void> add_attribute(int fd, const std::string& name, const std::string& value) noexcept {
  return run_void(Call::kAttribute, [&] {
    return ::fsetxattr(fd, name.c_str(), value.data(), value.size(), XATTR_CREATE);
  });
}

Outcome<void> remove_attribute(int fd, const std::string& name) noexcept {
  return run_void(Call::kAttribute, [&] { return ::fremovexattr(fd, name.c_str()); });
}

}  // namespace quire::sys
