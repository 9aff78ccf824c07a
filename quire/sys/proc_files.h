// SPDX-License-Identifier: Apache-2.0
//
// proc_files: the text of /proc and /sys, read whole and taken apart.
//
// The parsers are pure functions over text. They take any bytes: a line that does not have the form
// it should is skipped, a number that does not fit is skipped, nothing is read past the end, and
// what they keep is bounded by the length of the text. No exceptions.
//
// Thread-safety: any thread; plain values.
// Errors:        reading gives an Outcome (ENOENT for a process that has ended, EACCES for one that
//                is not ours, EFBIG past the bound); parsing has none.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "quire/sys/outcome.h"

namespace quire::sys {

inline constexpr std::size_t kProcFileBytesDefault = std::size_t{1} << 20;
// 65530 mappings (vm.max_map_count) of some 900 bytes each in smaps.
inline constexpr std::size_t kProcFileBytesMax = std::size_t{64} << 20;

// The whole file. Its size is not asked for: /proc files claim 0. Errors: EFBIG past the bound.
[[nodiscard]] Outcome<std::string> read_proc_file(
    const std::string& path, std::size_t size_bytes_max = kProcFileBytesDefault);

// The process ids that /proc lists now, ascending. Some may be gone when you look.
[[nodiscard]] Outcome<std::vector<int>> list_processes();

// "/proc/123/maps"
[[nodiscard]] std::string proc_path(int pid, std::string_view file);

// One line of /proc/PID/maps.
struct ProcMapping {
  std::uint64_t start = 0;
  std::uint64_t end = 0;  // Past the last byte; > start.
  bool readable = false;
  bool writable = false;
  bool executable = false;
  bool shared = false;
  std::uint64_t offset_bytes = 0;
  // Together with inode: which file. Comparable with FileStatus::device, except on btrfs and
  // overlay, where the kernel shows another device here than in stat: compare inode and path there.
  std::uint64_t device = 0;
  std::uint64_t inode = 0;  // 0: no file.
  std::string path;         // Also "[heap]" and the like; "" for anonymous memory.
  bool is_deleted = false;  // The kernel put " (deleted)" after the path; it is taken off here.
};

[[nodiscard]] std::optional<ProcMapping> parse_maps_line(std::string_view line);
[[nodiscard]] std::vector<ProcMapping> parse_maps(std::string_view text);

// One mapping of /proc/PID/smaps. The kernel counts in KiB; these are bytes.
struct ProcMappingUse {
  ProcMapping mapping;
  std::uint64_t resident_bytes = 0;      // Rss
  std::uint64_t proportional_bytes = 0;  // Pss
  std::uint64_t shared_dirty_bytes = 0;
  std::uint64_t private_dirty_bytes = 0;
  std::uint64_t anonymous_bytes = 0;  // Of resident: no file's pages, private copies included.
  std::uint64_t locked_bytes = 0;
  std::uint64_t swap_bytes = 0;
  std::uint64_t anonymous_huge_bytes = 0;  // AnonHugePages
  std::uint64_t shared_huge_bytes = 0;     // ShmemPmdMapped
  std::uint64_t file_huge_bytes = 0;       // FilePmdMapped
  std::vector<std::string> flags;          // VmFlags: "rd", "wr", "lo", ...
};

[[nodiscard]] std::vector<ProcMappingUse> parse_smaps(std::string_view text);

// The number of "Name:   123 kB" in bytes, of "Name: 123" and "name 123" as it stands: meminfo,
// status, vmstat, memory.stat. The first line with that name counts.
[[nodiscard]] std::optional<std::uint64_t> parse_field(std::string_view text,
                                                       std::string_view name);

// One decimal number and nothing else but white space: most files of /sys and /proc/sys.
[[nodiscard]] std::optional<std::uint64_t> parse_number(std::string_view text);

// "advise" of "always [advise] never": the choice in brackets.
[[nodiscard]] std::string parse_choice(std::string_view text);

// One zone of /proc/zoneinfo, in pages.
struct MemoryZone {
  int node = 0;
  std::string name;
  std::uint64_t free_pages = 0;
  std::uint64_t low_pages = 0;         // Watermark: kswapd wakes below.
  std::uint64_t protection_pages = 0;  // Kept from requests that could use a higher zone.
  std::uint64_t managed_pages = 0;
};

[[nodiscard]] std::vector<MemoryZone> parse_zoneinfo(std::string_view text);

// One line of /proc/PID/cgroup: "4:memory:/a/b", "0::/a/b" (version 2).
struct CgroupMembership {
  std::vector<std::string> controllers;  // Empty for version 2.
  std::string path;
};

[[nodiscard]] std::vector<CgroupMembership> parse_cgroup(std::string_view text);

// One line of /proc/PID/mountinfo, escapes (\040) resolved.
struct Mount {
  std::uint64_t id = 0;
  std::uint32_t device_major = 0;
  std::uint32_t device_minor = 0;
  std::string root;  // Which part of the file system is seen here.
  std::string mount_point;
  std::vector<std::string> options;  // Of the mount, then of the file system.
  std::string type;                  // "ext4", "fuse.sshfs"
  std::string source;                // "/dev/vda1", "server:/export"
};

[[nodiscard]] std::vector<Mount> parse_mountinfo(std::string_view text);

// "some avg10=0.12 ..." of /proc/pressure/*: the avg10 of the line that starts with `who`.
[[nodiscard]] std::optional<double> parse_pressure(std::string_view text, std::string_view who);

}  // namespace quire::sys
