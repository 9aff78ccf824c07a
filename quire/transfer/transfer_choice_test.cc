// SPDX-License-Identifier: Apache-2.0
//
// Which method is chosen, what becomes of the source's pages in memory, and file systems that can
// share blocks.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <string>
#include <vector>

#include "quire/sys/call.h"
#include "quire/sys/descriptor.h"
#include "quire/testing/disk.h"
#include "quire/testing/page_cache.h"
#include "quire/testing/process.h"
#include "quire/testing/temp_dir.h"
#include "quire/transfer/internal/ends_test.h"
#include "quire/transfer/transfer.h"

namespace quire::internal {
namespace {

TEST(TransferChoiceTest, SharesNoPagesOfASourceThatMayChange) {
  const TempDir directory;
  const std::string content = pattern(100'000);
  const TestSource source(SourceKind::kFile, directory, content);
  for (const TargetKind kind : {TargetKind::kPipe, TargetKind::kTcpSocket, TargetKind::kFile}) {
    TestTarget target(kind, directory);
    const auto moved = transfer({.fd = source.fd()}, {.fd = target.fd()},
                                {.stability = SourceStability::kMayChange});
    ASSERT_TRUE(moved) << moved.error().message();
    EXPECT_EQ(moved->method, kind == TargetKind::kFile ? TransferMethod::kCopyFileRange
                                                       : TransferMethod::kReadWrite);
    EXPECT_TRUE(target.received() == content);
  }
}

TEST(TransferChoiceTest, KnowsEveryMethodByItsName) {
  for (std::size_t i = 0; i < kTransferMethodCount; ++i) {
    const auto method = static_cast<TransferMethod>(i);
    EXPECT_EQ(transfer_method_of(name_of(method)), method);
  }
  EXPECT_EQ(transfer_method_of("teleport"), std::nullopt);
}

int low_water_of(int fd) {
  int value = 0;
  socklen_t length = sizeof value;
  EXPECT_EQ(::getsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &value, &length), 0);
  return value;
}

// Goal:   a TCP source gathers bytes before it wakes us, never past the end of what is asked for,
//         and has its own limit again afterwards.
TEST(ReceiveBatchingTest, EndsBeforeTheLastBytesAndPutsTheSocketsLimitBack) {
  const std::string content = long_pattern(2'000'003);
  for (const TransferMethod method : {TransferMethod::kReadWrite, TransferMethod::kSplice}) {
    for (const Blocking blocking : {Blocking::kYes, Blocking::kNo}) {
      const TempDir directory;
      // More follows and stays in the socket: a limit that outlived its bytes would wait for it.
      const TestSource source(SourceKind::kTcpSocket, directory, content + "tail", blocking);
      const int own = 3;
      ASSERT_EQ(::setsockopt(source.fd(), SOL_SOCKET, SO_RCVLOWAT, &own, sizeof own), 0);
      TestTarget target(TargetKind::kFile, directory);
      int during = 0;
      const auto moved =
          transfer({.fd = source.fd(), .range = {0, content.size()}}, {.fd = target.fd()},
                   {.method = method, .on_progress = [&](const TransferProgress&) {
                      during = std::max(during, low_water_of(source.fd()));
                    }});
      ASSERT_TRUE(moved) << moved.error().message();
      EXPECT_TRUE(target.received() == content);
      EXPECT_GT(during, 64 << 10);
      EXPECT_EQ(low_water_of(source.fd()), own);
    }
  }
}

// Goal:   bytes that lie below the limit when the peer falls silent are taken, not given up.
TEST(ReceiveBatchingTest, TakesWhatIsThereWhenThePeerFallsSilent) {
  const EndPair pair = tcp_pair();
  ASSERT_EQ(::fcntl(pair.near.get(), F_SETFL, O_NONBLOCK), 0);
  const std::string some = pattern(1'000);
  ASSERT_EQ(::send(pair.far.get(), some.data(), some.size(), 0), 1'000);
  const TempDir directory;
  TestTarget target(TargetKind::kFile, directory);
  TransferReport so_far;
  const auto moved = transfer({.fd = pair.near.get(), .range = {0, 1 << 20}}, {.fd = target.fd()},
                              {.stall_timeout_ms = 50, .so_far = &so_far});
  ASSERT_FALSE(moved);
  EXPECT_EQ(moved.error().code(), std::errc::timed_out) << moved.error().message();
  EXPECT_EQ(so_far.bytes, some.size());
  EXPECT_TRUE(target.received() == some);
}

// Goal:   a long source leaves in memory what was there before, and nothing else, when asked so.
// Method: a file of which one window is resident, by the witness of mincore(2).
TEST(SourceCacheTest, GivesBackWhatItBroughtInAndOnlyThat) {
  constexpr std::size_t kWindow = 8 << 20;
  constexpr std::size_t kWindowPages = kWindow / testing::kPageBytes;
  const TempDir directory;
  const std::string path = directory.write("source", long_pattern(5 * kWindow));
  const sys::Descriptor source = open_at(path, O_RDONLY);
  for (const SourceCache wish : {SourceCache::kDropBehind, SourceCache::kKeep}) {
    testing::make_cold(path);
    testing::read_pages(path, {2 * kWindowPages + 5});
    TestTarget target(TargetKind::kFile, directory);
    ASSERT_TRUE(transfer({.fd = source.get()}, {.fd = target.fd()}, {.source_cache = wish}));
    const std::vector<bool> resident = testing::resident_pages(path);
    for (std::size_t window = 0; window < 5; ++window) {
      const auto first = resident.begin() + static_cast<std::ptrdiff_t>(window * kWindowPages);
      const auto count = std::count(first, first + kWindowPages, true);
      const bool stays = window == 2 || wish == SourceCache::kKeep;
      EXPECT_EQ(count, stays ? static_cast<std::ptrdiff_t>(kWindowPages) : 0) << window;
    }
  }
}

TEST(SourceCacheTest, KeepsWhereTheKernelDoesNotTellWhatWasThere) {
  const TempDir directory;
  const std::string path = directory.write("source", long_pattern(16 << 20));
  testing::make_cold(path);
  const sys::Descriptor source = open_at(path, O_RDONLY);
  TestTarget target(TargetKind::kFile, directory);
  const sys::FaultPlan plan({.call = sys::Call::kCacheStatus, .times = 1'000, .error = EPERM});
  ASSERT_TRUE(transfer({.fd = source.get()}, {.fd = target.fd()},
                       {.source_cache = SourceCache::kDropBehind}));
  const std::vector<bool> resident = testing::resident_pages(path);
  EXPECT_EQ(std::count(resident.begin(), resident.end(), false), 0);
}

// An XFS with shared blocks, in a file.
class ReflinkTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string image = directory_.file("image");
    const sys::Descriptor file = open_at(image, O_RDWR | O_CREAT);
    ASSERT_EQ(::ftruncate(file.get(), off_t{400} << 20), 0);  // The least that mkfs.xfs takes.
    const auto made = testing::run_program({"mkfs.xfs", "-q", "-m", "reflink=1", image});
    if (made.end.exit_code != 0) {
      GTEST_SKIP() << "mkfs.xfs: " << made.standard_error;
    }
    if (std::string why = loop_.attach(image); !why.empty()) {
      GTEST_SKIP() << "loop device: " << why;
    }
    root_ = directory_.file("xfs");
    ASSERT_EQ(::mkdir(root_.c_str(), 0755), 0);
    if (std::string why = mount_.mount("xfs", loop_.path(), root_, ""); !why.empty()) {
      GTEST_SKIP() << "xfs: " << why;
    }
  }

  TempDir directory_;
  testing::LoopDevice loop_;
  testing::Mount mount_;
  std::string root_;
};

// Goal:   sharing blocks costs the same whatever the length.
// Method: the number of system calls, and of bytes copied, for 4 KiB and for 64 MiB.
TEST_F(ReflinkTest, SharesBlocksInATimeIndependentOfTheLength) {
  std::uint64_t calls = 0;
  for (const std::size_t length : {std::size_t{4096}, std::size_t{64} << 20}) {
    const std::string name = root_ + "/source" + std::to_string(length);
    std::ofstream(name) << pattern(length);
    const sys::Descriptor source = open_at(name, O_RDONLY);
    const sys::Descriptor target = open_at(name + ".copy", O_RDWR | O_CREAT);
    const auto moved = transfer({.fd = source.get()}, {.fd = target.get()});
    ASSERT_TRUE(moved) << moved.error().message();
    EXPECT_EQ(moved->method, TransferMethod::kReflink);
    EXPECT_EQ(moved->bytes, length);
    EXPECT_EQ(moved->bytes_copied_by_cpu, 0U);
    EXPECT_TRUE(calls == 0 || calls == moved->system_calls);
    calls = moved->system_calls;
    EXPECT_TRUE(read_file(name + ".copy") == read_file(name));
  }
}

TEST_F(ReflinkTest, FallsBackForARangeThatCannotBeShared) {
  const std::string name = root_ + "/source";
  const std::string content = pattern(100'000);
  std::ofstream(name) << content;
  const sys::Descriptor source = open_at(name, O_RDONLY);
  const sys::Descriptor target = open_at(root_ + "/target", O_RDWR | O_CREAT);
  const auto moved = transfer({.fd = source.get(), .range = {1, 50'000}}, {.fd = target.get()});
  ASSERT_TRUE(moved) << moved.error().message();
  ASSERT_EQ(moved->fallbacks.size(), 1U);
  EXPECT_EQ(moved->fallbacks.front().method, TransferMethod::kReflink);
  EXPECT_EQ(moved->method, TransferMethod::kCopyFileRange);
  EXPECT_TRUE(read_file(root_ + "/target") == content.substr(1, 50'000));
}

}  // namespace
}  // namespace quire::internal
