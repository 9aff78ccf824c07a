// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/direct_io.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <string>

#include "quire/sys/call.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"
#include "quire/sys/memory.h"
#include "quire/testing/disk.h"
#include "quire/testing/nth_fault.h"
#include "quire/testing/temp_dir.h"

namespace quire::sys {
namespace {

using testing::pattern;

class DirectIoTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!open_direct(path_)) {
      GTEST_SKIP() << "O_DIRECT: refused by the file system of the test directory";
    }
  }
  static Outcome<Descriptor> open_direct(const std::string& path) {
    return open_file(path.c_str(), {.write = true, .direct = true});
  }

  testing::TempDir directory_;
  std::string path_ = directory_.write("data", pattern(1 << 20));
};

// Reads `length_bytes` from `offset_bytes` to an address that is `skew_bytes` beyond a page.
Outcome<std::size_t> read_skewed(int fd, std::size_t length_bytes, std::uint64_t offset_bytes,
                                 std::size_t skew_bytes) {
  constexpr std::uint64_t kRoom = 1 << 21;
  Address room = map_pages({.length_bytes = kRoom,
                            .protection = Protection::kReadWrite,
                            .visibility = Visibility::kPrivate})
                     .value();
  const Outcome<std::size_t> read =
      read_some_at(fd, std::span(room + skew_bytes, length_bytes), offset_bytes);
  EXPECT_TRUE(unmap_pages(room, kRoom).has_value());
  return read;
}

// Goal:   the alignment is enough, and half of it is not, where that can be seen.
TEST_F(DirectIoTest, TheAlignmentThatIsFoundWorksAndLessDoesNot) {
  const Descriptor file = open_direct(path_).value();
  const Outcome<DirectSupport> support = direct_support_of(file.get());
  ASSERT_TRUE(support.has_value());
  EXPECT_TRUE(support->is_confirmed);
  const DirectAlignment& alignment = support->alignment;
  EXPECT_TRUE(std::has_single_bit(alignment.memory_bytes));
  EXPECT_TRUE(std::has_single_bit(alignment.offset_bytes));
  const std::size_t block = alignment.read_offset_bytes.value_or(alignment.offset_bytes);
  EXPECT_EQ(read_skewed(file.get(), block, block, alignment.memory_bytes), block);
  if (support->is_stated && alignment.memory_bytes >= 8) {  // The kernel means what it states.
    EXPECT_EQ(read_skewed(file.get(), block, block / 2, alignment.memory_bytes).error(),
              Errno{EINVAL});
  }
}

TEST_F(DirectIoTest, AFileThatCannotConfirmIsNotConfirmed) {
  const Descriptor empty = open_direct(directory_.write("empty", "")).value();
  EXPECT_FALSE(direct_support_of(empty.get()).value().is_confirmed);
  const Descriptor write_only(::open(path_.c_str(), O_WRONLY | O_DIRECT | O_CLOEXEC));
  const Outcome<DirectSupport> support = direct_support_of(write_only.get());
  ASSERT_TRUE(support.has_value());
  EXPECT_FALSE(support->is_confirmed);
  const Descriptor file = open_direct(path_).value();
  EXPECT_EQ(support->alignment, direct_support_of(file.get()).value().alignment);
}

TEST_F(DirectIoTest, ODirectIsSwitchedOnAndOff) {
  const Descriptor file = open_file(path_.c_str(), {}).value();
  EXPECT_EQ(is_direct(file.get()), false);
  EXPECT_EQ(direct_support_of(file.get()).map([](auto) {}).error(), Errno{EINVAL});
  ASSERT_TRUE(set_direct(file.get(), true).has_value());
  EXPECT_EQ(is_direct(file.get()), true);
  EXPECT_TRUE(direct_support_of(file.get()).has_value());
  EXPECT_EQ(read_skewed(file.get(), 1, 1, 1).error(), Errno{EINVAL});
  ASSERT_TRUE(set_direct(file.get(), false).has_value());
  EXPECT_EQ(is_direct(file.get()), false);
  EXPECT_EQ(read_skewed(file.get(), 1, 1, 1), 1U);
}

// Goal:   a candidate that the file refuses leads to the next one, and an error is an error.
TEST_F(DirectIoTest, AnAlignmentThatIsRefusedIsNotBelieved) {
  const Descriptor file = open_direct(path_).value();
  {
    const FaultPlan plan({.call = Call::kRead, .error = EINVAL});
    const Outcome<DirectSupport> support = direct_support_of(file.get());
    ASSERT_TRUE(support.has_value());
    if (plan.count(Call::kRead) == 2) {
      EXPECT_FALSE(support->is_stated);
      EXPECT_EQ(support->alignment.memory_bytes, os_page_size().bytes());
      EXPECT_EQ(support->alignment.offset_bytes, os_page_size().bytes());
    }
  }
  for (const int error : {EINVAL, EIO}) {
    const FaultPlan plan({.call = Call::kRead, .times = UINT64_MAX, .error = error});
    EXPECT_EQ(direct_support_of(file.get()).map([](auto) {}).error(), Errno{error});
    EXPECT_EQ(plan.count(Call::kRead), error == EINVAL ? 2U : 1U);
  }
}

TEST_F(DirectIoTest, EveryCallThatFailsIsReportedOrDoneWithout) {
  const Descriptor file = open_direct(path_).value();
  for (const Call call : {Call::kStatus, Call::kMap}) {
    testing::fail_each_nth(name_of(call), [&](testing::NthFault& fault) {
      const FaultPlan plan({.call = call, .nth = fault.nth, .error = EACCES});
      const Outcome<DirectSupport> support = direct_support_of(file.get());
      fault.was_hit = plan.hits() > 0;
      ASSERT_EQ(support.has_value(), !fault.was_hit);
      if (!support) {
        EXPECT_EQ(support.error(), Errno{EACCES});
      }
    });
  }
  EXPECT_EQ(direct_support_of(-1).map([](auto) {}).error(), Errno{EBADF});
  EXPECT_EQ(set_direct(-1, true).error(), Errno{EBADF});
}

TEST_F(DirectIoTest, ABlockDeviceIsReadInItsOwnBlocks) {
  testing::LoopDevice device;
  if (const std::string reason = device.attach(path_); !reason.empty()) {
    GTEST_SKIP() << "loop device: " << reason;
  }
  const Descriptor file = open_file(device.path().c_str(), {.direct = true}).value();
  const Outcome<DirectSupport> support = direct_support_of(file.get());
  ASSERT_TRUE(support.has_value());
  EXPECT_TRUE(support->is_confirmed);
  EXPECT_EQ(support->alignment.offset_bytes, 512U);
}

TEST(DirectIoMemoryTest, AFileInMemoryStatesNothingAndThePageWorks) {
  const Descriptor owner(memfd_create("quire-test", MFD_CLOEXEC));
  ASSERT_TRUE(truncate_file(owner.get(), 1 << 16).has_value());
  const std::string path = "/proc/self/fd/" + std::to_string(owner.get());
  const Outcome<Descriptor> memory = open_file(path.c_str(), {.direct = true});
  if (!memory) {
    GTEST_SKIP() << "O_DIRECT on tmpfs: this kernel has none";  // Before 6.6.
  }
  const Outcome<DirectSupport> support = direct_support_of(memory->get());
  ASSERT_TRUE(support.has_value());
  EXPECT_FALSE(support->is_stated);
  EXPECT_TRUE(support->is_confirmed);
  EXPECT_EQ(support->alignment.memory_bytes, os_page_size().bytes());
}

}  // namespace
}  // namespace quire::sys
