// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/internal/memory_cgroups.h"

#include <algorithm>
#include <string_view>

#include "quire/sys/proc_files.h"

namespace quire::sys::internal {
namespace {

// Version 1 says "no limit" as LONG_MAX rounded down to a page; no machine has half of that.
constexpr std::uint64_t kNoLimitBytes = std::uint64_t{1} << 62;

struct CgroupFiles {
  int version = 2;
  std::string_view limit;
  std::string_view high;  // "" where there is none.
  std::string_view usage;
};

constexpr CgroupFiles kVersion1{
    .version = 1, .limit = "memory.limit_in_bytes", .high = {}, .usage = "memory.usage_in_bytes"};
constexpr CgroupFiles kVersion2{
    .version = 2, .limit = "memory.max", .high = "memory.high", .usage = "memory.current"};

bool contains(const std::vector<std::string>& list, std::string_view item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

std::optional<std::uint64_t> read_number(const std::string& directory, std::string_view file) {
  if (file.empty()) {
    return std::nullopt;
  }
  const Outcome<std::string> text = read_proc_file(directory + "/" + std::string(file));
  return text ? parse_number(*text) : std::nullopt;  // "max" is no number: no limit.
}

std::optional<std::uint64_t> below_no_limit(std::optional<std::uint64_t> bytes) {
  return bytes && *bytes < kNoLimitBytes ? bytes : std::nullopt;
}

// What follows `root` in `path`; std::nullopt when `path` is not below it.
std::optional<std::string> relative_to(std::string_view root, std::string_view path) {
  if (path.find("/..") != std::string_view::npos) {
    return std::nullopt;  // Outside of our cgroup namespace: not to be seen from here.
  }
  if (root == "/") {
    return std::string(path == "/" ? "" : path);
  }
  if (path == root) {
    return std::string();
  }
  if (path.starts_with(root) && path[root.size()] == '/') {
    return std::string(path.substr(root.size()));
  }
  return std::nullopt;
}

std::string_view parent_of(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

// Reads every level from mount_point + below up to the mount point.
void append_levels(const std::string& mount_point, std::string_view below, std::string_view root,
                   const CgroupFiles& files, std::vector<CgroupLevel>& levels) {
  for (std::size_t depth = 0; depth < kCgroupLevelsMax; ++depth) {
    const std::string directory = mount_point + std::string(below);
    CgroupLevel level{.version = files.version,
                      .path = (root == "/" ? "" : std::string(root)) + std::string(below),
                      .directory = directory,
                      .limit_bytes = below_no_limit(read_number(directory, files.limit)),
                      .high_bytes = below_no_limit(read_number(directory, files.high)),
                      .usage_bytes = read_number(directory, files.usage)};
    if (level.path.empty()) {
      level.path = "/";
    }
    if (level.limit_bytes || level.high_bytes || level.usage_bytes) {
      levels.push_back(std::move(level));
    }
    if (below.empty()) {
      return;
    }
    below = parent_of(below);
  }
}

bool holds_memory(const Mount& mount, int version) {
  return version == 2 ? mount.type == "cgroup2"
                      : mount.type == "cgroup" && contains(mount.options, "memory");
}

// The first mount that shows our cgroup; else the first one at all, whose top is all we can see.
void append_hierarchy(const SystemRoot& root, const std::vector<Mount>& mounts,
                      const std::string& path, const CgroupFiles& files,
                      std::vector<CgroupLevel>& levels) {
  const Mount* any = nullptr;
  for (const Mount& mount : mounts) {
    if (!holds_memory(mount, files.version)) {
      continue;
    }
    if (const std::optional<std::string> below = relative_to(mount.root, path)) {
      append_levels(root.prefix + mount.mount_point, *below, mount.root, files, levels);
      return;
    }
    any = any == nullptr ? &mount : any;
  }
  if (any != nullptr) {
    append_levels(root.prefix + any->mount_point, "", any->root, files, levels);
  }
}

}  // namespace

std::vector<CgroupLevel> memory_cgroups(const SystemRoot& root) {
  const Outcome<std::string> memberships = read_proc_file(root.prefix + "/proc/self/cgroup");
  const Outcome<std::string> mountinfo = read_proc_file(root.prefix + "/proc/self/mountinfo");
  std::vector<CgroupLevel> levels;
  if (!memberships || !mountinfo) {
    return levels;
  }
  const std::vector<Mount> mounts = parse_mountinfo(*mountinfo);
  for (const CgroupMembership& membership : parse_cgroup(*memberships)) {
    if (membership.controllers.empty()) {
      append_hierarchy(root, mounts, membership.path, kVersion2, levels);
    } else if (contains(membership.controllers, "memory")) {
      append_hierarchy(root, mounts, membership.path, kVersion1, levels);
    }
  }
  return levels;
}

}  // namespace quire::sys::internal
