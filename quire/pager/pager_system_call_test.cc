// SPDX-License-Identifier: Apache-2.0
//
// System calls, other processes and the kernel itself at the memory of an area: they work, or fail
// as documented, and never leave a page behind that the pager does not know of.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <vector>

#include "quire/pager/pager.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"
#include "quire/testing/pager_fixture.h"
#include "quire/testing/process.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using testing::Bytes;
using testing::kGranule;
using testing::load_byte;
using testing::pattern;
using testing::pattern_bytes;
using testing::read_file;

constexpr std::uint64_t kFileBytes = 4_MiB;
const WritablePagedOptions kWritable{.access = Access::kReadWrite, .engine = PagingEngine::kPaged};

class PagerSystemCallTest : public ::testing::TestWithParam<FaultPath> {
 protected:
  void SetUp() override {
    if (const std::string why = testing::why_no_paging(GetParam()); !why.empty()) {
      GTEST_SKIP() << why;
    }
    area_ = pager_.map(directory_.write("data", pattern(kFileBytes)), kWritable).value();
    ASSERT_TRUE(area_.advise(kWholeFile, Pattern::kRandom).has_value());
    other_ = sys::open_file(directory_.write("other", std::string(kFileBytes, 'o')).c_str(),
                            {.write = true})
                 .value();
  }
  void TearDown() override {
    if (area_.is_open()) {
      testing::settle(area_);
      area_.check_invariants();
    }
  }

  // Whether the kernel waits for the pager when a system call meets an absent page.
  [[nodiscard]] static bool are_calls_served() {
    return GetParam() == FaultPath::kHandler &&
           sys::open_user_fault({}).value().access() == sys::FaultAccess::kFull;
  }
  [[nodiscard]] const std::byte* at(std::uint64_t granule) const {
    return area_.bytes().data() + granule * kGranule;
  }
  [[nodiscard]] std::byte* at(std::uint64_t granule) {
    return area_.bytes().data() + granule * kGranule;
  }
  [[nodiscard]] bool is_whole_area_right() const {
    return std::ranges::equal(area_.bytes(), pattern_bytes(0, kFileBytes));
  }
  [[nodiscard]] Bytes other_bytes(std::uint64_t count) const {
    Bytes bytes(count);
    EXPECT_EQ(sys::read_at(other_.get(), bytes, 0).value(), count);
    return bytes;
  }

  const testing::TempDir directory_;
  Pager pager_{{.memory_bytes = 1_MiB, .fault_path = GetParam()}};
  WritablePagedArea area_;
  sys::Descriptor other_;
};

// A system call's result, or minus the errno.
template <typename Call>
ssize_t outcome_of(Call&& call) {
  errno = 0;
  const ssize_t got = call();
  return got < 0 ? -errno : got;
}

// Goal:   writing from an absent range is EFAULT where the documentation says so, and works pinned.
TEST_P(PagerSystemCallTest, WriteFromAbsentPagesWorksPinnedOrServed) {
  constexpr std::uint64_t kBytes = 3 * kGranule;
  const auto write_from = [&](std::uint64_t granule) {
    return outcome_of([&] { return ::pwrite(other_.get(), at(granule), kBytes, 0); });
  };
  EXPECT_EQ(write_from(10), are_calls_served() ? static_cast<ssize_t>(kBytes) : -EFAULT);
  testing::settle(area_);
  EXPECT_EQ(area_.stats().resident_bytes, are_calls_served() ? kBytes : 0U);
  const Pin pin = area_.pin({20 * kGranule, kBytes}).value();
  EXPECT_EQ(write_from(20), static_cast<ssize_t>(kBytes));
  EXPECT_EQ(other_bytes(kBytes), pattern_bytes(20 * kGranule, kBytes));
  EXPECT_TRUE(is_whole_area_right());
}

// Goal:   a call that writes into an absent range, or into a clean one, is EFAULT or served; never
//         is a store lost.
TEST_P(PagerSystemCallTest, ReadIntoAbsentAndCleanPagesWorksOrIsRefused) {
  const auto read_into = [&](std::uint64_t granule) {
    return outcome_of([&] { return ::pread(other_.get(), at(granule), kGranule, 0); });
  };
  const ssize_t expected = are_calls_served() ? static_cast<ssize_t>(kGranule) : -EFAULT;
  EXPECT_EQ(read_into(10), expected);
  static_cast<void>(load_byte(at(20)));
  EXPECT_EQ(read_into(20), expected);
  const Pin pin = area_.pin({30 * kGranule, kGranule}).value();  // Not for writing.
  EXPECT_EQ(read_into(30), expected);
  std::string image = pattern(kFileBytes);
  if (are_calls_served()) {
    for (const std::uint64_t granule : {10U, 20U, 30U}) {
      std::fill_n(image.begin() + static_cast<std::ptrdiff_t>(granule * kGranule), kGranule, 'o');
    }
  }
  ASSERT_TRUE(area_.flush().has_value());
  EXPECT_EQ(read_file(directory_.file("data")), image);
}

// Goal:   what a system call stores through a pin for writing is flushed, also when the page was
//         written back in between.
TEST_P(PagerSystemCallTest, ReadIntoPinnedForWritingReachesTheFile) {
  constexpr ByteRange kRange{7 * kGranule + 100, 2 * kGranule};
  WritablePin pin = area_.pin_for_writing(kRange).value();
  for (const char letter : {'p', 'q', 'r'}) {
    const std::string letters(kRange.length_bytes, letter);
    ASSERT_TRUE(sys::write_at(other_.get(), std::as_bytes(std::span(letters)), 0).has_value());
    EXPECT_EQ(outcome_of(
                  [&] { return ::pread(other_.get(), pin.bytes().data(), pin.bytes().size(), 0); }),
              static_cast<ssize_t>(kRange.length_bytes));
    ASSERT_TRUE(area_.flush().has_value());
    std::string image = pattern(kFileBytes);
    std::fill_n(image.begin() + static_cast<std::ptrdiff_t>(kRange.offset_bytes),
                kRange.length_bytes, letter);
    EXPECT_EQ(read_file(directory_.file("data")), image);
    EXPECT_EQ(area_.evict().value().kept_bytes, 3 * kGranule);
  }
}

// Goal:   vectored calls over pages in every state transfer what they say they transferred.
TEST_P(PagerSystemCallTest, VectoredWriteOverMixedPagesIsShortOrWhole) {
  static_cast<void>(load_byte(at(1)));
  const Pin pin = area_.pin({3 * kGranule, kGranule}).value();
  std::array<iovec, 4> pieces{};
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    pieces[i] = {at(i == 0 ? 1 : i + 1), kGranule};  // Present, absent, pinned, absent.
  }
  const ssize_t wrote = outcome_of([&] { return ::pwritev(other_.get(), pieces.data(), 4, 0); });
  EXPECT_EQ(wrote, static_cast<ssize_t>(are_calls_served() ? 4 * kGranule : kGranule));
  EXPECT_EQ(other_bytes(kGranule), pattern_bytes(kGranule, kGranule));
  EXPECT_TRUE(is_whole_area_right());
}

// --- Other ways into the memory ------------------------------------------------------------------

// Goal:   a debugger's read ends, with the right bytes or an error, and plants no page.
TEST_P(PagerSystemCallTest, ReadsThroughProcSelfMemEndAndPlantNothing) {
  const sys::Descriptor memory = sys::open_file("/proc/self/mem", {}).value();
  for (const std::uint64_t granule : {0U, 50U, 1023U}) {
    Bytes bytes(kGranule);
    const ssize_t got = outcome_of([&] {
      return ::pread(memory.get(), bytes.data(), bytes.size(),
                     static_cast<off_t>(reinterpret_cast<std::uintptr_t>(at(granule))));
    });
    EXPECT_TRUE(got == static_cast<ssize_t>(kGranule) || got == -EIO) << got;
    if (got > 0) {
      EXPECT_EQ(bytes, pattern_bytes(granule * kGranule, kGranule));
    }
  }
  EXPECT_TRUE(is_whole_area_right());
}

TEST_P(PagerSystemCallTest, ReadsByAnotherProcessEndAndPlantNothing) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "fork: a sanitizer's child inherits its allocator's locks";
#endif
  static_cast<void>(load_byte(at(1)));
  testing::Child child([&] {
    Bytes bytes(kGranule);
    for (const std::uint64_t granule : {1U, 2U, 600U}) {
      const iovec local{bytes.data(), bytes.size()};
      const iovec remote{const_cast<std::byte*>(std::as_const(*this).at(granule)), kGranule};
      const ssize_t got = ::process_vm_readv(getppid(), &local, 1, &remote, 1, 0);
      if (got > 0 && bytes != pattern_bytes(granule * kGranule, kGranule)) {
        return 1;
      }
      if (granule == 1 && got != static_cast<ssize_t>(kGranule) && errno != EPERM) {
        return 2;  // What is in memory can be read.
      }
    }
    return 0;
  });
  EXPECT_EQ(child.join().exit_code, 0);
  EXPECT_TRUE(is_whole_area_right());
}

// Goal:   mlock and populate advice on absent pages end, and what is locked holds the file's bytes.
TEST_P(PagerSystemCallTest, LockingAndPopulatingEndAndPlantNothing) {
  const int locked = ::mlock(at(0), 16 * kGranule);
  EXPECT_TRUE(locked == 0 || errno == ENOMEM || errno == EAGAIN || errno == EFAULT ||
              errno == EPERM)
      << errno;
  constexpr int kPopulateRead = 22;
  const int populated = ::madvise(at(64), 16 * kGranule, kPopulateRead);
  EXPECT_EQ(populated == 0, are_calls_served()) << errno;
  EXPECT_TRUE(is_whole_area_right());
  EXPECT_TRUE(area_.evict().has_value());
  EXPECT_TRUE(is_whole_area_right());
  EXPECT_EQ(::munlock(at(0), 16 * kGranule), 0);
  EXPECT_LE(pager_.stats().taken_bytes_max, 1_MiB);
}

// Goal:   a process that locks its memory, present and future, maps the file's bytes, not zeros.
// Method: under MCL_FUTURE the kernel populates each new mapping before anybody can watch it.
TEST_P(PagerSystemCallTest, AreasOfAProcessThatLocksItsMemoryHoldTheFile) {
  if (::mlockall(MCL_FUTURE) != 0) {
    GTEST_SKIP() << "mlockall: errno " << errno;
  }
  {
    Pager pager({.memory_bytes = 1_MiB, .fault_path = GetParam()});
    const PagedArea area =
        pager.map(directory_.file("data"), {.engine = PagingEngine::kPaged}).value();
    EXPECT_EQ(area.stats().resident_bytes, 0U);
    EXPECT_TRUE(std::ranges::equal(area.bytes(), pattern_bytes(0, kFileBytes)));
    EXPECT_LE(pager.stats().taken_bytes_max, 1_MiB);
  }
  EXPECT_EQ(::munlockall(), 0);
}

INSTANTIATE_TEST_SUITE_P(Paths, PagerSystemCallTest,
                         ::testing::Values(FaultPath::kInline, FaultPath::kHandler),
                         testing::path_name);

}  // namespace
}  // namespace quire
