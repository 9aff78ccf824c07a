// SPDX-License-Identifier: Apache-2.0
//
// file_system: what a file lies on: the file system, how it is mounted, and the block device below.
//
//   path -> fstatfs: type, free space     -> kind: what a mapped read may cost
//        -> statx + mountinfo: options, source
//        -> /sys/dev/block/M:m: queue     (a partition's queue is its disk's)
//
// Thread-safety: any thread; plain values.
// Cost:          a dozen small reads; nothing is read from or written to the file itself, but by
//                sees_cached_page().
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "quire/base/result.h"
#include "quire/base/units.h"
#include "quire/sys/outcome.h"

namespace quire::sys {

enum class StorageKind : std::uint8_t {
  kLocalDisk,  // ext4, xfs, btrfs, zfs, ...: a page miss costs a device read.
  kMemory,     // tmpfs, ramfs, hugetlbfs: the page cache is the storage.
  kNetwork,    // nfs, cifs, 9p, ceph, ...: a page miss costs a round trip; others may change it.
  kUserSpace,  // fuse: a page miss waits for another process.
  kPseudo,     // proc, sysfs, cgroup, ...: made up when read; most cannot be mapped.
  kStacked,    // overlay, ecryptfs: another file system below answers.
  kUnknown,
};

// "a local disk", "a network file system": for sentences.
[[nodiscard]] const char* describe(StorageKind kind) noexcept;
// "local_disk": for machines.
[[nodiscard]] const char* name_of(StorageKind kind) noexcept;

// A file system type by the magic number that statfs(2) gives.
struct FileSystemType {
  std::string name;  // "ext4"; "0x1badface" for one that is not known.
  StorageKind kind = StorageKind::kUnknown;
};
[[nodiscard]] FileSystemType file_system_type(std::uint64_t magic);
// The same by the name in mountinfo, which tells ext4 from ext2 and "fuse.sshfs" from "fuse".
[[nodiscard]] StorageKind storage_kind(std::string_view type_name) noexcept;

// The queue of a block device, as /sys shows it. What is not shown is std::nullopt or "".
struct BlockDevice {
  std::string name;       // "vda", "nvme0n1": the whole disk.
  std::string partition;  // "vda1"; "" when the disk is used whole.
  std::optional<std::uint64_t> read_ahead_bytes;
  std::optional<bool> is_rotational;
  std::optional<std::uint64_t> requests_max;       // nr_requests
  std::optional<std::uint64_t> request_bytes_max;  // max_sectors_kb
  std::optional<std::uint64_t> logical_block_bytes;
  std::optional<std::uint64_t> physical_block_bytes;
  std::string scheduler;                   // "none", "mq-deadline"
  std::string write_cache;                 // "write back": flushes matter; "write through"
  std::string backing_file;                // Of a loop device.
  std::vector<std::string> lower_devices;  // Of a device mapper or RAID device.
};

// By device number. std::nullopt when /sys knows no such block device (major 0, containers).
[[nodiscard]] std::optional<BlockDevice> block_device(std::uint64_t device,
                                                      const std::string& sys_prefix = {});

struct FileSystem {
  FileSystemType type;
  std::string mount_point;           // "" when mountinfo does not tell.
  std::string source;                // "/dev/vda1", "server:/export"
  std::vector<std::string> options;  // All of them, as mountinfo lists them.
  bool is_read_only = false;
  bool is_dax = false;       // Mapped without page cache.
  bool has_barriers = true;  // False with nobarrier, barrier=0: a flush may be a promise.
  std::uint64_t block_bytes = 0;
  std::uint64_t total_bytes = 0;
  std::uint64_t free_bytes = 0;              // What this user may still fill.
  std::optional<std::uint64_t> free_inodes;  // std::nullopt where they are made as needed.
  std::optional<BlockDevice> device;         // Nothing for network, memory and pseudo file systems.
};

// Only the type: one system call, for code that asks of every file.
[[nodiscard]] Outcome<FileSystemType> file_system_type_of(int fd);

// Whether cache_status() of files there means something. On a stacked file system the pages are
// those of a file below: all counts are 0, and no error says so. Errors: of fstatfs.
[[nodiscard]] Outcome<bool> has_cache_counts(int fd);
// The same by trial, for whoever draws conclusions from "nothing is cached": reads a byte of `page`
// into the page cache, asks `is_counted`, and drops the page. (DAX, for one, has no pages either.)
// `fd` is for that alone: it reads through the page cache, and without read-ahead from then on.
[[nodiscard]] bool sees_cached_page(int fd, ByteRange page,
                                    const std::function<bool()>& is_counted);

// What this user may still fill; kToEnd where the file system does not count (0 of 0 blocks).
[[nodiscard]] Outcome<std::uint64_t> free_bytes_of(int fd) noexcept;

// Of an open file. For a block device node: the device itself, and the file system of the node.
// Errors: the errno of fstatfs.
[[nodiscard]] Result<FileSystem> file_system_of(int fd);

}  // namespace quire::sys
