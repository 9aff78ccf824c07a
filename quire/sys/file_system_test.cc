// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/file_system.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "quire/sys/call.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"
#include "quire/testing/disk.h"
#include "quire/testing/temp_dir.h"

namespace quire::sys {
namespace {

using testing::TempDir;

FileSystem look(const char* path) {
  const Descriptor file = open_file(path, {.path_only = true}).value();
  return file_system_of(file.get()).value();
}

struct KindRow {
  const char* path;
  const char* type;
  StorageKind kind;
};

TEST(FileSystemTest, KnownPlacesHaveTheirKinds) {
  for (const KindRow& row : {KindRow{"/proc/self/maps", "proc", StorageKind::kPseudo},
                             KindRow{"/sys/kernel", "sysfs", StorageKind::kPseudo},
                             KindRow{"/dev/shm", "tmpfs", StorageKind::kMemory}}) {
    if (access(row.path, F_OK) != 0) {
      continue;  // A sandbox may leave one out; /proc is always there for the others.
    }
    const FileSystem fs = look(row.path);
    EXPECT_EQ(fs.type.name, row.type) << row.path;
    EXPECT_EQ(fs.type.kind, row.kind) << row.path;
    EXPECT_FALSE(fs.device) << row.path;
  }
}

TEST(FileSystemTest, MagicNumbersAndNamesAgree) {
  EXPECT_EQ(file_system_type(0xef53).kind, StorageKind::kLocalDisk);
  EXPECT_EQ(file_system_type(0x6969).name, "nfs");
  EXPECT_EQ(file_system_type(0x1badface).name, "0x1badface");
  EXPECT_EQ(file_system_type(0x1badface).kind, StorageKind::kUnknown);
  EXPECT_EQ(storage_kind("fuse.sshfs"), StorageKind::kUserSpace);
  EXPECT_EQ(storage_kind("fuseblk"), StorageKind::kUserSpace);
  EXPECT_EQ(storage_kind("nfs4"), StorageKind::kNetwork);
  EXPECT_EQ(storage_kind("overlay"), StorageKind::kStacked);
  EXPECT_EQ(storage_kind("ext3"), StorageKind::kLocalDisk);
  EXPECT_EQ(storage_kind("fusectl"), StorageKind::kUnknown);
  EXPECT_EQ(storage_kind(""), StorageKind::kUnknown);
}

TEST(FileSystemTest, SpaceAndMountOfTheTestDirectoryAreFound) {
  const TempDir dir;
  const FileSystem fs = look(dir.path().c_str());
  EXPECT_GT(fs.total_bytes, 0U);
  EXPECT_LE(fs.free_bytes, fs.total_bytes);
  EXPECT_FALSE(fs.is_read_only);
  EXPECT_TRUE(dir.path().starts_with(fs.mount_point)) << fs.mount_point;
}

TEST(FileSystemTest, ARefusedQuestionIsAnError) {
  const FaultPlan plan({.call = Call::kFileSystem, .nth = 1, .error = ENOSYS});
  const auto fs = file_system_of(0);
  ASSERT_FALSE(fs);
  EXPECT_EQ(fs.error().code(), std::errc::function_not_supported);
}

TEST(FileSystemTest, WithoutMountTheTypeComesFromTheMagicNumber) {
  const FaultPlan plan({.call = Call::kStatus, .nth = 1, .times = 9, .error = ENOSYS});
  const Descriptor file = open_file("/proc", {.path_only = true}).value();
  const FileSystem fs = file_system_of(file.get()).value();
  EXPECT_EQ(fs.type.name, "proc");
  EXPECT_EQ(fs.mount_point, "");
}

// Goal:   where the pages are another file's, the counts of the page cache are not believed.
// Method: a file, and the same file through an overlay.
TEST(CacheCountsTest, AreNotBelievedOnAStackedFileSystem) {
  const TempDir directory;
  for (const char* name : {"lower", "upper", "work", "merged"}) {
    std::filesystem::create_directory(directory.file(name));
  }
  const std::string path = directory.write("lower/file", testing::pattern(8192));
  const ByteRange page{.offset_bytes = 4096, .length_bytes = 4096};
  const auto is_counted = [&](const Descriptor& file) {
    return sees_cached_page(file.get(), page, [&] {
      const auto status = cache_status(file.get(), page);
      return status && status->cached.value > 0;
    });
  };
  const Descriptor plain = open_file(path.c_str(), {}).value();
  if (!cache_status(plain.get(), page)) {
    GTEST_SKIP() << "cachestat: before Linux 6.5, or not for us";
  }
  EXPECT_EQ(has_cache_counts(plain.get()).value(), true);
  EXPECT_TRUE(is_counted(plain));
  testing::Mount overlay;
  if (const std::string why = overlay.mount("overlay", "overlay", directory.file("merged"),
                                            "lowerdir=" + directory.file("lower") +
                                                ",upperdir=" + directory.file("upper") +
                                                ",workdir=" + directory.file("work"));
      !why.empty()) {
    GTEST_SKIP() << "overlay: " << why;
  }
  const Descriptor stacked = open_file(directory.file("merged/file").c_str(), {}).value();
  EXPECT_EQ(has_cache_counts(stacked.get()).value(), false);
  EXPECT_FALSE(is_counted(stacked));
}

TEST(CacheCountsTest, AreNotKnownOfWhatIsNotOpen) {
  EXPECT_EQ(has_cache_counts(-1).error(), Errno{EBADF});
  EXPECT_FALSE(sees_cached_page(-1, {0, 4096}, [] { return true; }));
}

// A made-up /sys: a disk with one partition.
class FakeDisk {
 public:
  FakeDisk() {
    std::filesystem::create_directories(dir_.file("sys/dev/block"));
    std::filesystem::create_directories(dir_.file("sys/devices/vda/queue"));
    std::filesystem::create_directories(dir_.file("sys/devices/vda/vda1"));
    std::filesystem::create_directories(dir_.file("sys/devices/vda/slaves/sdb"));
    std::filesystem::create_directory_symlink("../../devices/vda/vda1",
                                              dir_.file("sys/dev/block/8:1"));
    std::filesystem::create_directory_symlink("../../devices/vda", dir_.file("sys/dev/block/8:0"));
    dir_.write("sys/devices/vda/vda1/partition", "1\n");
    write("read_ahead_kb", "8192\n");
  }
  void write(const std::string& name, const std::string& content) const {
    dir_.write("sys/devices/vda/queue/" + name, content);
  }
  [[nodiscard]] const std::string& prefix() const { return dir_.path(); }

 private:
  TempDir dir_;
};

TEST(BlockDeviceTest, APartitionHasTheQueueOfItsDisk) {
  const FakeDisk disk;
  disk.write("rotational", "0\n");
  disk.write("scheduler", "none [mq-deadline]\n");
  disk.write("nr_requests", "256\n");
  disk.write("logical_block_size", "512\n");
  disk.write("write_cache", "write back\n");
  const auto device = block_device(makedev(8, 1), disk.prefix());
  ASSERT_TRUE(device);
  EXPECT_EQ(device->name, "vda");
  EXPECT_EQ(device->partition, "vda1");
  EXPECT_EQ(device->read_ahead_bytes, 8192U << 10);
  EXPECT_EQ(device->is_rotational, false);
  EXPECT_EQ(device->scheduler, "mq-deadline");
  EXPECT_EQ(device->requests_max, 256U);
  EXPECT_EQ(device->logical_block_bytes, 512U);
  EXPECT_EQ(device->physical_block_bytes, std::nullopt);
  EXPECT_EQ(device->write_cache, "write back");
}

TEST(BlockDeviceTest, AWholeDiskListsWhatItIsMadeOf) {
  const FakeDisk disk;
  disk.write("scheduler", "none\n");
  const auto device = block_device(makedev(8, 0), disk.prefix());
  ASSERT_TRUE(device);
  EXPECT_EQ(device->name, "vda");
  EXPECT_EQ(device->partition, "");
  EXPECT_EQ(device->scheduler, "none");
  EXPECT_EQ(device->lower_devices, std::vector<std::string>{"sdb"});
}

TEST(BlockDeviceTest, HostileNumbersAreUnknown) {
  const FakeDisk disk;
  disk.write("read_ahead_kb", "18446744073709551615\n");
  disk.write("rotational", "yes\n");
  const auto device = block_device(makedev(8, 0), disk.prefix());
  ASSERT_TRUE(device);
  EXPECT_EQ(device->read_ahead_bytes, std::nullopt);
  EXPECT_EQ(device->is_rotational, std::nullopt);
}

TEST(BlockDeviceTest, AnUnknownDeviceIsNothing) {
  const FakeDisk disk;
  EXPECT_FALSE(block_device(makedev(9, 9), disk.prefix()));
  EXPECT_FALSE(block_device(0));
}

}  // namespace
}  // namespace quire::sys
