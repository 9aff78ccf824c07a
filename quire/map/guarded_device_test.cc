// SPDX-License-Identifier: Apache-2.0
//
// guarded() against real trouble: a file system without space, a device that reports EIO.
//
// The tests need root. What they set up goes away with the process, however it ends: the mounts are
// in a mount namespace of its own, the loop devices detach at their last close, and the server of
// the failing device gets SIGKILL from the kernel when its parent dies.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string>
#include <vector>

#include "quire/base/check.h"
#include "quire/base/units.h"
#include "quire/map/guarded.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"
#include "quire/testing/disk.h"
#include "quire/testing/process.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

constexpr std::size_t kPageBytes = 4096;

bool has_program(const std::string& name) {
  return testing::run_program({"sh", "-c", "command -v " + name}).end.exit_code == 0;
}

class MappedRange {
 public:
  MappedRange(int fd, std::size_t length_bytes) : length_bytes_(length_bytes) {
    void* address = mmap(nullptr, length_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    QUIRE_CHECK(address != MAP_FAILED);
    first_ = static_cast<std::byte*>(address);
    QUIRE_CHECK_EQ(madvise(address, length_bytes, MADV_RANDOM), 0);  // No page comes along unasked.
  }
  ~MappedRange() { munmap(first_, length_bytes_); }
  MappedRange(const MappedRange&) = delete;
  MappedRange& operator=(const MappedRange&) = delete;

  [[nodiscard]] std::span<const std::byte> bytes() const { return {first_, length_bytes_}; }
  [[nodiscard]] std::byte load(std::size_t offset) const {
    return *static_cast<volatile std::byte*>(first_ + offset);
  }
  void store(std::size_t offset, std::byte value) const {
    *static_cast<volatile std::byte*>(first_ + offset) = value;
  }

 private:
  std::size_t length_bytes_;
  std::byte* first_ = nullptr;
};

// --- No space ------------------------------------------------------------------------------------

constexpr std::uint64_t kImageBytes = 64_MiB;

// A mounted file system of its own; `problem` says why there is none.
struct SmallFileSystem {
  explicit SmallFileSystem(const testing::TempDir& directory) : path(directory.file("mounted")) {
    const std::string image = directory.file("image");
    sys::Descriptor file = sys::open_file(image.c_str(), {.write = true, .create = true}).value();
    QUIRE_CHECK(sys::truncate_file(file.get(), kImageBytes).has_value());
    QUIRE_CHECK(file.close().has_value());
    QUIRE_CHECK(std::filesystem::create_directory(path));
    if (testing::run_program({"mkfs.ext4", "-q", "-F", "-m", "0", image}).end.exit_code != 0) {
      problem = "mkfs.ext4: not installed, or it failed";
      return;
    }
    problem = loop.attach(image);
    problem = problem.empty() ? mount.mount("ext4", loop.path(), path, "") : problem;
  }

  std::string path;
  std::string problem;
  testing::LoopDevice loop;
  testing::Mount mount;
};

// Writes until the disk is full.
void fill(const std::string& path) {
  const sys::Descriptor file =
      sys::open_file(path.c_str(), {.write = true, .create = true}).value();
  const std::vector<std::byte> block(kPageBytes, std::byte{1});
  std::uint64_t offset_bytes = 0;
  sys::Outcome<void> outcome;
  while ((outcome = sys::write_at(file.get(), block, offset_bytes))) {
    offset_bytes += kPageBytes;
    QUIRE_CHECK_LE(offset_bytes, kImageBytes);
  }
  QUIRE_CHECK_EQ(outcome.error().value, ENOSPC);
}

// Goal:   a store into a hole of a full file system is an Error that names a full disk among the
//         causes; loads of the hole give zeros; with space again the same store works.
TEST(GuardedDeviceTest, AStoreIntoAHoleOnAFullDiskIsAnError) {
  const testing::TempDir directory;
  const SmallFileSystem system(directory);
  if (!system.problem.empty()) {
    GTEST_SKIP() << system.problem;
  }
  const std::string sparse = system.path + "/sparse";
  const sys::Descriptor file =
      sys::open_file(sparse.c_str(), {.write = true, .create = true}).value();
  constexpr std::size_t kPages = 64;
  ASSERT_TRUE(sys::truncate_file(file.get(), kPages * kPageBytes).has_value());
  fill(system.path + "/filler");
  const MappedRange map(file.get(), kPages * kPageBytes);

  EXPECT_EQ(guarded(map.bytes(), [&] { return map.load(5 * kPageBytes); }).value(), std::byte{0});
  std::size_t stored_pages = 0;
  const auto store_everywhere = [&] {
    for (; stored_pages < kPages; ++stored_pages) {
      map.store(stored_pages * kPageBytes, std::byte{7});
    }
  };
  const Result<void> full = guarded(map.bytes(), store_everywhere);
  ASSERT_FALSE(full.has_value());
  EXPECT_EQ(full.error().code(), Errc::kFault);
  EXPECT_NE(full.error().message().find("no space"), std::string::npos) << full.error().message();
  EXPECT_LT(stored_pages, kPages);

  ASSERT_TRUE(sys::unlink_path((system.path + "/filler").c_str()).has_value());
  EXPECT_TRUE(guarded(map.bytes(), store_everywhere).has_value());
  EXPECT_EQ(stored_pages, kPages);
}

// --- A device that fails -------------------------------------------------------------------------

constexpr std::uint64_t kDiskBytes = 64_MiB;

// A disk in the memory of nbdkit, as a file through FUSE, which answers reads with EIO for as long
// as a switch file exists. `problem` says why there is none.
class SwitchedDisk {
 public:
  explicit SwitchedDisk(const testing::TempDir& directory)
      : path_(directory.file("disk")), switch_path_(directory.file("fail")) {
    for (const char* program : {"nbdkit", "nbdfuse"}) {
      if (!has_program(program)) {
        problem = std::string(program) + ": not installed";
        return;
      }
    }
    problem = testing::enter_mount_namespace();
    if (problem.empty()) {
      directory.write("disk", "");
      start(directory.file("ready"));
    }
  }
  ~SwitchedDisk() {
    if (server_ > 0) {
      umount2(path_.c_str(), MNT_DETACH);
      kill(server_, SIGKILL);
      waitpid(server_, nullptr, 0);
    }
  }
  SwitchedDisk(const SwitchedDisk&) = delete;
  SwitchedDisk& operator=(const SwitchedDisk&) = delete;

  void fail_from_now_on() const { QUIRE_CHECK(close(creat(switch_path_.c_str(), 0600)) == 0); }
  void work_again() const { QUIRE_CHECK(unlink(switch_path_.c_str()) == 0); }
  [[nodiscard]] const std::string& path() const { return path_; }

  std::string problem;

 private:
  // nbdfuse writes its process id into `ready_path` once the file can be used: a FIFO, so that
  // waiting needs no clock.
  void start(const std::string& ready_path) {
    QUIRE_CHECK_EQ(mkfifo(ready_path.c_str(), 0600), 0);
    const int ready = open(ready_path.c_str(), O_RDWR | O_CLOEXEC);
    const std::string size = "size=" + std::to_string(kDiskBytes);
    const std::string error_file = "error-file=" + switch_path_;
    server_ = fork();
    QUIRE_CHECK(server_ >= 0);
    if (server_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      execlp("nbdfuse", "nbdfuse", "-P", ready_path.c_str(), path_.c_str(), "[", "nbdkit",
             "--exit-with-parent", "--filter=error", "memory", size.c_str(), "error-pread=EIO",
             "error-pread-rate=100%", error_file.c_str(), "]", static_cast<char*>(nullptr));
      _exit(127);
    }
    wait_until_ready(ready);
    close(ready);
  }

  void wait_until_ready(int ready) {
    constexpr int kStepMs = 50;
    pollfd entry{.fd = ready, .events = POLLIN, .revents = 0};
    while (poll(&entry, 1, kStepMs) == 0) {
      if (waitpid(server_, nullptr, WNOHANG) == server_) {
        server_ = -1;
        problem = "nbdfuse: it ended at once (no FUSE here?)";
        return;
      }
    }
  }

  std::string path_;
  std::string switch_path_;
  pid_t server_ = -1;
};

// Goal:   a device that cannot be read is an Error at the load and at the store, pages that are in
//         memory stay usable, and the same access works when the device does.
TEST(GuardedDeviceTest, ADeviceThatReportsEioIsAnError) {
  const testing::TempDir directory;
  const SwitchedDisk disk(directory);
  if (!disk.problem.empty()) {
    GTEST_SKIP() << disk.problem;
  }
  testing::LoopDevice loop;
  if (const std::string problem = loop.attach(disk.path()); !problem.empty()) {
    GTEST_SKIP() << problem;
  }
  const MappedRange map(loop.descriptor(), kDiskBytes);
  constexpr std::size_t kLoadAt = 32_MiB + 11;
  constexpr std::size_t kStoreAt = 48_MiB;
  EXPECT_EQ(guarded(map.bytes(), [&] { return map.load(0); }).value(), std::byte{0});

  disk.fail_from_now_on();
  EXPECT_TRUE(guarded(map.bytes(), [&] { return map.load(1); }).has_value());
  const auto load = guarded(map.bytes(), [&] { return map.load(kLoadAt); });
  ASSERT_FALSE(load.has_value());
  EXPECT_EQ(load.error().code(), Errc::kFault);
  EXPECT_EQ(load.error().subject(), "offset 33554443 of 67108864 mapped bytes");
  EXPECT_NE(load.error().message().find("device reported an error"), std::string::npos);
  EXPECT_FALSE(guarded(map.bytes(), [&] { map.store(kStoreAt, std::byte{1}); }).has_value());

  disk.work_again();
  EXPECT_EQ(guarded(map.bytes(), [&] { return map.load(kLoadAt); }).value(), std::byte{0});
  EXPECT_TRUE(guarded(map.bytes(), [&] { map.store(kStoreAt, std::byte{1}); }).has_value());
}

}  // namespace
}  // namespace quire
