// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/file_system.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>

#include "quire/sys/call.h"
#include "quire/sys/file.h"
#include "quire/sys/proc_files.h"

namespace quire::sys {
namespace {

struct MagicRow {
  std::uint64_t magic;
  const char* name;
  StorageKind kind;
};

// <linux/magic.h> has most of these; those of file systems outside the kernel tree are their own.
constexpr std::array kMagics = std::to_array<MagicRow>({
    {0xef53, "ext4", StorageKind::kLocalDisk},
    {0x58465342, "xfs", StorageKind::kLocalDisk},
    {0x9123683e, "btrfs", StorageKind::kLocalDisk},
    {0x2fc12fc1, "zfs", StorageKind::kLocalDisk},
    {0xca451a4e, "bcachefs", StorageKind::kLocalDisk},
    {0xf2f52010, "f2fs", StorageKind::kLocalDisk},
    {0x4d44, "vfat", StorageKind::kLocalDisk},
    {0x2011bab0, "exfat", StorageKind::kLocalDisk},
    {0x7366746e, "ntfs3", StorageKind::kLocalDisk},
    {0x9660, "iso9660", StorageKind::kLocalDisk},
    {0x15013346, "udf", StorageKind::kLocalDisk},
    {0x73717368, "squashfs", StorageKind::kLocalDisk},
    {0xe0f5e1e2, "erofs", StorageKind::kLocalDisk},
    {0x3153464a, "jfs", StorageKind::kLocalDisk},
    {0x52654973, "reiserfs", StorageKind::kLocalDisk},
    {0x3434, "nilfs2", StorageKind::kLocalDisk},
    {0x01021994, "tmpfs", StorageKind::kMemory},
    {0x858458f6, "ramfs", StorageKind::kMemory},
    {0x958458f6, "hugetlbfs", StorageKind::kMemory},
    {0x6969, "nfs", StorageKind::kNetwork},
    {0xff534d42, "cifs", StorageKind::kNetwork},
    {0xfe534d42, "smb2", StorageKind::kNetwork},
    {0x517b, "smbfs", StorageKind::kNetwork},
    {0x01021997, "9p", StorageKind::kNetwork},
    {0x00c36400, "ceph", StorageKind::kNetwork},
    {0x5346414f, "afs", StorageKind::kNetwork},
    {0x73757245, "coda", StorageKind::kNetwork},
    {0x01161970, "gfs2", StorageKind::kNetwork},
    {0x7461636f, "ocfs2", StorageKind::kNetwork},
    {0x0bd00bd0, "lustre", StorageKind::kNetwork},
    {0x47504653, "gpfs", StorageKind::kNetwork},
    {0x786f4256, "vboxsf", StorageKind::kNetwork},
    {0x65735546, "fuse", StorageKind::kUserSpace},
    {0x794c7630, "overlay", StorageKind::kStacked},
    {0xf15f, "ecryptfs", StorageKind::kStacked},
    {0x61756673, "aufs", StorageKind::kStacked},
    {0x9fa0, "proc", StorageKind::kPseudo},
    {0x62656572, "sysfs", StorageKind::kPseudo},
    {0x27e0eb, "cgroup", StorageKind::kPseudo},
    {0x63677270, "cgroup2", StorageKind::kPseudo},
    {0x64626720, "debugfs", StorageKind::kPseudo},
    {0x74726163, "tracefs", StorageKind::kPseudo},
    {0x73636673, "securityfs", StorageKind::kPseudo},
    {0x6165676c, "pstore", StorageKind::kPseudo},
    {0xcafe4a11, "bpf", StorageKind::kPseudo},
    {0x1cd1, "devpts", StorageKind::kPseudo},
    {0x19800202, "mqueue", StorageKind::kPseudo},
    {0x62656570, "configfs", StorageKind::kPseudo},
    {0x42494e4d, "binfmt_misc", StorageKind::kPseudo},
    {0xde5e81e4, "efivarfs", StorageKind::kPseudo},
    {0x6e736673, "nsfs", StorageKind::kPseudo},
    {0x50494446, "pidfs", StorageKind::kPseudo},
});

bool has_option(const std::vector<std::string>& options, std::string_view option) {
  return std::find(options.begin(), options.end(), option) != options.end();
}

// The mount that an open file was reached through, by the id that statx gives.
std::optional<Mount> mount_of(int fd) {
  const CallSite site = CallSite::enter(Call::kStatus);
  struct statx raw{};
  if (site.error != 0 || ::statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &raw) != 0 ||
      (raw.stx_mask & STATX_MNT_ID) == 0) {
    return std::nullopt;
  }
  const Outcome<std::string> text = read_proc_file("/proc/self/mountinfo", kProcFileBytesMax);
  for (Mount& mount : parse_mountinfo(text.value_or(""))) {
    if (mount.id == raw.stx_mnt_id) {
      return std::move(mount);
    }
  }
  return std::nullopt;
}

// The device number below a mount. Where the file system has one of its own making (btrfs: major
// 0), the source names the device.
std::uint64_t device_of(const Mount& mount) {
  if (mount.device_major != 0) {
    return makedev(mount.device_major, mount.device_minor);
  }
  const CallSite site = CallSite::enter(Call::kStatus);
  struct stat raw{};
  const bool is_node = mount.source.starts_with("/dev/") && site.error == 0 &&
                       ::stat(mount.source.c_str(), &raw) == 0 && S_ISBLK(raw.st_mode);
  return is_node ? raw.st_rdev : 0;
}

// The device that a block device node stands for; nothing for other files.
std::optional<std::uint64_t> device_node(int fd) {
  const CallSite site = CallSite::enter(Call::kStatus);
  struct stat raw{};
  if (site.error != 0 || ::fstat(fd, &raw) != 0 || !S_ISBLK(raw.st_mode)) {
    return std::nullopt;
  }
  return raw.st_rdev;
}

void describe_mount(const Mount& mount, FileSystem& into) {
  into.mount_point = mount.mount_point;
  into.source = mount.source;
  into.options = mount.options;
  into.is_read_only = has_option(mount.options, "ro");
  into.is_dax = has_option(mount.options, "dax") || has_option(mount.options, "dax=always");
  into.has_barriers =
      !has_option(mount.options, "nobarrier") && !has_option(mount.options, "barrier=0");
  // Several types share a magic number (ext2, ext4; every FUSE file system): the name knows better.
  into.type.name = mount.type;
  const StorageKind kind = storage_kind(mount.type);
  into.type.kind = kind == StorageKind::kUnknown ? into.type.kind : kind;
}

}  // namespace

const char* describe(StorageKind kind) noexcept {
  switch (kind) {
    case StorageKind::kLocalDisk: return "a local disk";
    case StorageKind::kMemory: return "memory";
    case StorageKind::kNetwork: return "a network file system";
    case StorageKind::kUserSpace: return "a file system in user space";
    case StorageKind::kPseudo: return "a pseudo file system";
    case StorageKind::kStacked: return "a stacked file system";
    case StorageKind::kUnknown: break;
  }
  return "an unknown kind of storage";
}

const char* name_of(StorageKind kind) noexcept {
  switch (kind) {
    case StorageKind::kLocalDisk: return "local_disk";
    case StorageKind::kMemory: return "memory";
    case StorageKind::kNetwork: return "network";
    case StorageKind::kUserSpace: return "user_space";
    case StorageKind::kPseudo: return "pseudo";
    case StorageKind::kStacked: return "stacked";
    case StorageKind::kUnknown: break;
  }
  return "unknown";
}

FileSystemType file_system_type(std::uint64_t magic) {
  for (const MagicRow& row : kMagics) {
    if (row.magic == magic) {
      return {.name = row.name, .kind = row.kind};
    }
  }
  return {.name = fmt::format("{:#x}", magic), .kind = StorageKind::kUnknown};
}

StorageKind storage_kind(std::string_view type_name) noexcept {
  constexpr std::string_view kFuse = "fuse";
  if (type_name.starts_with("fuse.") || type_name == kFuse) {
    return StorageKind::kUserSpace;
  }
  if (type_name == "fuseblk") {
    return StorageKind::kUserSpace;  // ntfs-3g: a disk, but every miss waits for a process.
  }
  if (type_name == "virtiofs" || type_name == "nfs4" || type_name == "smb3") {
    return StorageKind::kNetwork;  // virtiofs answers from the host: a round trip as well.
  }
  if (type_name == "ext2" || type_name == "ext3") {
    return StorageKind::kLocalDisk;
  }
  if (type_name == "devtmpfs") {
    return StorageKind::kMemory;
  }
  for (const MagicRow& row : kMagics) {
    if (type_name == row.name) {
      return row.kind;
    }
  }
  return StorageKind::kUnknown;
}

namespace {

Outcome<struct statfs> ask_file_system(int fd) noexcept {
  const CallSite site = CallSite::enter(Call::kFileSystem);
  if (site.error != 0) {
    return refuse(site.error);
  }
  struct statfs raw{};
  if (::fstatfs(fd, &raw) != 0) {
    return refuse_with_errno();
  }
  return raw;
}

FileSystemType type_of(const struct statfs& raw) {
  return file_system_type(static_cast<std::uint64_t>(raw.f_type) & UINT32_MAX);
}

}  // namespace

Outcome<FileSystemType> file_system_type_of(int fd) {
  return type_of(QUIRE_TRY(ask_file_system(fd)));
}

Outcome<bool> has_cache_counts(int fd) {
  const FileSystemType type = QUIRE_TRY(file_system_type_of(fd));
  return type.kind != StorageKind::kStacked;
}

bool sees_cached_page(int fd, ByteRange page, const std::function<bool()>& is_counted) {
  std::byte byte{};
  static_cast<void>(advise_file(fd, kWholeFile, FileAdvice::kRandom));
  const bool is_read = read_at(fd, {&byte, 1}, page.offset_bytes).value_or(0) > 0;
  const bool is_seen = is_counted();
  static_cast<void>(advise_file(fd, page, FileAdvice::kDontNeed));
  return is_read && is_seen;
}

Outcome<std::uint64_t> free_bytes_of(int fd) noexcept {
  const struct statfs raw = QUIRE_TRY(ask_file_system(fd));
  if (raw.f_blocks == 0) {
    return kToEnd;
  }
  return static_cast<std::uint64_t>(raw.f_bavail) * static_cast<std::uint64_t>(raw.f_bsize);
}

Result<FileSystem> file_system_of(int fd) {
  const Outcome<struct statfs> asked = ask_file_system(fd);
  if (!asked) {
    return fail(to_error(asked.error(), "fstatfs", fmt::format("descriptor {}", fd)));
  }
  const struct statfs& raw = *asked;
  const std::uint64_t block_bytes = static_cast<std::uint64_t>(raw.f_bsize);
  FileSystem found;
  found.type = type_of(raw);
  found.block_bytes = block_bytes;
  found.total_bytes = raw.f_blocks * block_bytes;
  found.free_bytes = raw.f_bavail * block_bytes;
  if (raw.f_files != 0) {
    found.free_inodes = raw.f_ffree;
  }
  std::uint64_t device = 0;
  if (const std::optional<Mount> mount = mount_of(fd)) {
    describe_mount(*mount, found);
    device = device_of(*mount);
  }
  if (const std::optional<std::uint64_t> node = device_node(fd)) {
    device = *node;
  }
  found.device = device != 0 ? block_device(device) : std::nullopt;
  return found;
}

}  // namespace quire::sys
