// SPDX-License-Identifier: Apache-2.0
//
// file.h and the page cache: advice, read-ahead, counts, and whom the kernel tells the truth.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "quire/sys/call.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"
#include "quire/sys/memory.h"
#include "quire/testing/process.h"
#include "quire/testing/temp_dir.h"

namespace quire::sys {
namespace {

using testing::TempDir;

constexpr std::uint64_t kPages = 16;
constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();
constexpr uid_t kNobody = 65534;

std::uint64_t page_bytes() {
  return os_page_size().bytes();
}

// A file of 16 pages on the real disk, written, synced, and therefore in the page cache.
class PageCacheTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(sync_all(file_.get()).has_value());
    const Outcome<CacheStatus> status = cache_status(file_.get(), kWholeFile);
    if (!status) {
      GTEST_SKIP() << "cachestat: " << errno_name(status.error().value);
    }
    ASSERT_EQ(status->cached.value, kPages);
  }

  [[nodiscard]] std::uint64_t cached(ByteRange range) const {
    return cache_status(file_.get(), range)->cached.value;
  }
  void evict() const {
    ASSERT_TRUE(advise_file(file_.get(), kWholeFile, FileAdvice::kDontNeed).has_value());
  }

  TempDir directory_;
  std::string path_ = directory_.write("a", testing::pattern(kPages* page_bytes()));
  Descriptor file_ = open_file(path_.c_str(), {.write = true}).value();
};

TEST_F(PageCacheTest, CountsThePagesOfARange) {
  EXPECT_EQ(cached({0, 1}), 1U);
  EXPECT_EQ(cached({page_bytes() - 1, 2}), 2U);
  EXPECT_EQ(cached({page_bytes(), kToEnd}), kPages - 1);
  EXPECT_EQ(cached({kPages * page_bytes(), kToEnd}), 0U) << "past the end";
  const CacheStatus status = cache_status(file_.get(), kWholeFile).value();
  EXPECT_EQ(status.dirty.value, 0U);
  EXPECT_EQ(status.writeback.value, 0U);
}

// Goal:   a sum that overflows means "to the end", not "nothing".
TEST_F(PageCacheTest, RangesThatOverflowReachToTheEnd) {
  EXPECT_EQ(cached({page_bytes(), kMax - 1}), kPages - 1);
  EXPECT_EQ(cached({page_bytes(), kMax - page_bytes() - 1}), kPages - 1);
}

// Goal:   pages that were written are dirty until they are synced.
// Method: somebody else's sync may come between our write and our look; not a hundred times.
TEST_F(PageCacheTest, CountsDirtyPages) {
  const std::string text = testing::pattern(kPages * page_bytes());
  bool was_dirty = false;
  for (int attempt = 0; attempt < 100 && !was_dirty; ++attempt) {
    ASSERT_TRUE(write_at(file_.get(), std::as_bytes(std::span(text)), 0).has_value());
    was_dirty = cache_status(file_.get(), kWholeFile)->dirty.value == kPages;
  }
  EXPECT_TRUE(was_dirty);
  ASSERT_TRUE(sync_data(file_.get()).has_value());
  EXPECT_EQ(cache_status(file_.get(), kWholeFile)->dirty.value, 0U);
}

TEST_F(PageCacheTest, SyncRangeStartsAndWaits) {
  const std::string text = testing::pattern(kPages * page_bytes());
  ASSERT_TRUE(write_at(file_.get(), std::as_bytes(std::span(text)), 0).has_value());
  ASSERT_TRUE(sync_range(file_.get(), kWholeFile, SyncRange::kStart).has_value());
  ASSERT_TRUE(
      sync_range(file_.get(), {page_bytes(), kMax - 1}, SyncRange::kStartAndWait).has_value());
  ASSERT_TRUE(sync_range(file_.get(), kWholeFile, SyncRange::kStartAndWait).has_value());
  const CacheStatus status = cache_status(file_.get(), kWholeFile).value();
  EXPECT_EQ(status.dirty.value, 0U);
  EXPECT_EQ(status.writeback.value, 0U);
}

TEST_F(PageCacheTest, DontNeedEvictsWhatItNames) {
  evict();
  EXPECT_EQ(cached(kWholeFile), 0U);
}

// Goal:   advice about nothing changes nothing. The kernel takes a length of 0 for "to the end".
TEST_F(PageCacheTest, AnEmptyRangeIsNothingAndNotEverything) {
  const FaultPlan plan({});
  ASSERT_TRUE(advise_file(file_.get(), {0, 0}, FileAdvice::kDontNeed).has_value());
  EXPECT_EQ(cached(kWholeFile), kPages);
  ASSERT_TRUE(read_ahead(file_.get(), {0, 0}).has_value());
  ASSERT_TRUE(sync_range(file_.get(), {0, 0}, SyncRange::kStartAndWait).has_value());
  EXPECT_EQ(cached({0, 0}), 0U);
  EXPECT_EQ(plan.count(Call::kAdviseFile), 0U);
  EXPECT_EQ(plan.count(Call::kReadAhead), 0U);
  EXPECT_EQ(plan.count(Call::kSyncRange), 0U);
  EXPECT_EQ(plan.count(Call::kCacheStatus), 1U);
}

// Goal:   both ways to ask for pages bring them, also "to the end".
TEST_F(PageCacheTest, ReadAheadAndWillNeedBringPages) {
  for (const bool is_read_ahead : {true, false}) {
    for (const ByteRange range : {kWholeFile, ByteRange{0, kPages * page_bytes()}}) {
      evict();
      const Outcome<void> asked = is_read_ahead
                                      ? read_ahead(file_.get(), range)
                                      : advise_file(file_.get(), range, FileAdvice::kWillNeed);
      EXPECT_TRUE(asked.has_value()) << describe(range);
      EXPECT_EQ(cached(kWholeFile), kPages) << "placed in the cache, though perhaps not yet read";
    }
  }
}

TEST_F(PageCacheTest, AllAdviceIsAccepted) {
  for (const FileAdvice advice : {FileAdvice::kNormal, FileAdvice::kRandom, FileAdvice::kSequential,
                                  FileAdvice::kWillNeed, FileAdvice::kDontNeed}) {
    EXPECT_TRUE(advise_file(file_.get(), kWholeFile, advice).has_value());
  }
}

TEST(FileAdviceTest, ErrorsComeBackAlthoughPosixFadviseHidesErrno) {
  const TempDir directory;
  EXPECT_EQ(advise_file(-1, kWholeFile, FileAdvice::kNormal).error(), Errno{EBADF});
  const Descriptor fifo = [] {
    std::array<int, 2> ends{};
    EXPECT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
    const Descriptor writer(ends[1]);
    return Descriptor(ends[0]);
  }();
  EXPECT_EQ(advise_file(fifo.get(), kWholeFile, FileAdvice::kNormal).error(), Errno{ESPIPE});
}

// --- whom the kernel tells the truth ------------------------------------------------------------

// Gives up all capabilities but keeps the user: root in a container that was made careful.
bool drop_capabilities() {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  std::array<__user_cap_data_struct, 2> none{};
  return syscall(SYS_capset, &header, none.data()) == 0;
}

bool become_nobody() {
  return setgid(kNobody) == 0 && setuid(kNobody) == 0;
}

// Whether mincore() admits that pages of this evicted file are missing.
bool kernel_tells_the_truth(int fd) {
  const Address view = map_pages({.length_bytes = kPages * page_bytes(), .fd = fd}).value();
  std::array<unsigned char, kPages> pages{};
  if (!page_residency(view, kPages * page_bytes(), pages)) {
    return false;
  }
  return std::any_of(pages.begin(), pages.end(),
                     [](unsigned char page) { return (page & 1) == 0; });
}

struct TruthRow {
  const char* name;
  uid_t owner;
  mode_t mode;
  std::function<bool()> become;
  bool is_told;
};

std::vector<TruthRow> truth_rows() {
  const auto stay_root = [] { return true; };
  return {
      {"root, own file", 0, 0644, stay_root, true},
      {"root, another's file", kNobody, 0600, stay_root, true},
      {"root without capabilities, own file", 0, 0400, drop_capabilities, true},
      {"root without capabilities, another's file", kNobody, 0644, drop_capabilities, false},
      {"root without capabilities, a file for all", kNobody, 0666, drop_capabilities, true},
      {"nobody, own file", kNobody, 0400, become_nobody, true},
      {"nobody, root's file", 0, 0644, become_nobody, false},
      {"nobody, root's secret file", 0, 0600, become_nobody, false},
      {"nobody, a file for all", 0, 0666, become_nobody, true},
  };
}

class ResidencyTruthTest : public PageCacheTest {
 protected:
  void SetUp() override {
    if (geteuid() != 0) {
      GTEST_SKIP() << "other users: only root can become them";
    }
    PageCacheTest::SetUp();
  }
};

// Goal:   residency_is_trustworthy() says yes exactly when mincore() tells the truth.
// Method: as several users, on an evicted file: a kernel that reports it resident is lying.
TEST_F(ResidencyTruthTest, IsTrustworthyExactlyWhenTheKernelTellsTheTruth) {
  enum Answer { kCouldNotBecome = 1, kTrusts = 2, kTold = 4 };
  evict();
  for (const TruthRow& row : truth_rows()) {
    ASSERT_EQ(fchown(file_.get(), row.owner, row.owner), 0);
    ASSERT_EQ(fchmod(file_.get(), row.mode), 0);
    const Descriptor read_only = open_file(path_.c_str(), {}).value();
    ASSERT_EQ(cached(kWholeFile), 0U);
    testing::Child child([&] {
      if (!row.become()) {
        return static_cast<int>(kCouldNotBecome);
      }
      return (residency_is_trustworthy(read_only.get()) ? kTrusts : 0) |
             (kernel_tells_the_truth(read_only.get()) ? kTold : 0);
    });
    const int answer = child.join().exit_code;
    EXPECT_EQ(answer, row.is_told ? kTrusts | kTold : 0) << row.name;
  }
}

TEST_F(ResidencyTruthTest, CountsAreRefusedToWhoMayNotKnow) {
  enum Answer { kCouldNotBecome = 1, kRefused = 2, kAnswered = 3, kOtherError = 4 };
  const Descriptor read_only = open_file(path_.c_str(), {}).value();
  testing::Child child([&]() -> int {
    if (!become_nobody()) {
      return kCouldNotBecome;
    }
    const Outcome<CacheStatus> status = cache_status(read_only.get(), kWholeFile);
    return status ? kAnswered : status.error() == Errno{EPERM} ? kRefused : kOtherError;
  });
  const int answer = child.join().exit_code;
  if (answer == kAnswered) {
    GTEST_SKIP() << "cachestat: this kernel answers everybody";
  }
  EXPECT_EQ(answer, kRefused);
}

TEST(ResidencyTrustTest, NoDescriptorIsNotTrusted) {
  EXPECT_FALSE(residency_is_trustworthy(-1));
  const TempDir directory;
  const Descriptor file = open_file(directory.write("a", "text").c_str(), {}).value();
  EXPECT_TRUE(residency_is_trustworthy(file.get()));
  const FaultPlan plan({.call = Call::kStatus, .error = EIO});
  EXPECT_FALSE(residency_is_trustworthy(file.get()));
}

}  // namespace
}  // namespace quire::sys
