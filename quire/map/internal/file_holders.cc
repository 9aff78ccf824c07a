// SPDX-License-Identifier: Apache-2.0
#include "quire/map/internal/file_holders.h"

#include <algorithm>
#include <cerrno>

namespace quire::internal {
namespace {

// What `use` can hold of the range: its resident bytes, at most the part of the range it maps.
std::uint64_t held_bytes(const sys::ProcMappingUse& use, ByteRange range) {
  const ByteRange shown{use.mapping.offset_bytes, use.mapping.end - use.mapping.start};
  return std::min(use.resident_bytes, intersect(shown, range).length_bytes);
}

bool is_locked(const sys::ProcMappingUse& use) {
  return std::find(use.flags.begin(), use.flags.end(), "lo") != use.flags.end();
}

std::string process_name(int pid) {
  std::string name = sys::read_proc_file(sys::proc_path(pid, "comm")).value_or(std::string());
  while (!name.empty() && name.back() == '\n') {
    name.pop_back();
  }
  return name;
}

FileHolder weigh(int pid, const CachedFile& file, ByteRange range, const std::string& path) {
  FileHolder holder{.process = {.pid = pid, .name = process_name(pid)}};
  const sys::Outcome<std::string> text =
      sys::read_proc_file(sys::proc_path(pid, "smaps"), sys::kProcFileBytesMax);
  for (const sys::ProcMappingUse& use : sys::parse_smaps(text.value_or(std::string()))) {
    if (shows_file(use.mapping, file.status, path)) {
      (is_locked(use) ? holder.locked_bytes : holder.mapped_bytes) += held_bytes(use, range);
    }
  }
  return holder;
}

}  // namespace

bool shows_file(const sys::ProcMapping& mapping, const sys::FileStatus& status,
                const std::string& path) {
  return mapping.inode != 0 && mapping.inode == status.inode &&
         (mapping.device == status.device || mapping.path == path);
}

HolderScan find_holders(const CachedFile& file, ByteRange range) {
  HolderScan scan;
  const std::string path = sys::path_of(file.fd);
  const sys::Outcome<std::vector<int>> processes = sys::list_processes();
  if (!processes) {
    scan.processes_hidden = 1;  // No /proc: at least somebody is not visible.
    return scan;
  }
  for (const int pid : *processes) {
    const sys::Outcome<std::string> text =
        sys::read_proc_file(sys::proc_path(pid, "maps"), sys::kProcFileBytesMax);
    if (!text) {
      const bool has_ended = text.error().value == ENOENT || text.error().value == ESRCH;
      scan.processes_hidden += has_ended ? 0 : 1;
      continue;
    }
    const std::vector<sys::ProcMapping> mappings = sys::parse_maps(*text);
    const bool is_holder = std::any_of(mappings.begin(), mappings.end(), [&](const auto& mapping) {
      return shows_file(mapping, file.status, path);
    });
    if (is_holder) {
      scan.holders.push_back(weigh(pid, file, range, path));
    }
  }
  return scan;
}

}  // namespace quire::internal
