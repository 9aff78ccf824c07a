// SPDX-License-Identifier: Apache-2.0
#include "quire/io/internal/residency_chunks.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <numeric>
#include <string>

#include "quire/sys/call.h"
#include "quire/testing/page_cache.h"
#include "quire/testing/temp_dir.h"

namespace quire::internal {
namespace {

constexpr std::uint64_t kChunk = ResidencyChunks::kChunkBytes;

// A file of three and a half chunks, mapped.
class ResidencyChunksTest : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = directory_.write("data", testing::pattern(size_bytes_));
    fd_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    ASSERT_GE(fd_, 0);
    void* address = ::mmap(nullptr, size_bytes_, PROT_READ, MAP_SHARED, fd_, 0);
    ASSERT_NE(address, MAP_FAILED);
    mapping_ = {static_cast<std::byte*>(address), size_bytes_};
    ::madvise(address, size_bytes_, MADV_RANDOM);
  }
  void TearDown() override {
    ::munmap(mapping_.data(), mapping_.size());
    ::close(fd_);
  }

  // Nothing is in memory but the pages named.
  void leave_only(const std::vector<std::uint64_t>& pages) {
    testing::make_cold(path_);
    testing::read_pages(path_, pages);
  }

  const std::size_t size_bytes_ = 3 * kChunk + kChunk / 2 + 100;
  testing::TempDir directory_;
  std::string path_;
  std::span<std::byte> mapping_;
  int fd_ = -1;
};

TEST_F(ResidencyChunksTest, TellsPresentPagesFromAbsentOnes) {
  leave_only({3, 4, 600});
  ResidencyChunks chunks(mapping_, fd_);
  ASSERT_EQ(chunks.chunk_count(), 4U);
  ASSERT_TRUE(chunks.look(0, 4));
  EXPECT_TRUE(chunks.was_resident({3 * 4096 + 1, 4096}));
  EXPECT_FALSE(chunks.was_resident({2 * 4096, 4097}));
  EXPECT_FALSE(chunks.was_resident({4 * 4096, 4097}));
  EXPECT_TRUE(chunks.was_resident({600 * 4096, 4096}));
  EXPECT_FALSE(chunks.was_resident({size_bytes_ - 1, 1}));
}

TEST_F(ResidencyChunksTest, LooksAtALaterChunkAloneAndAtTheShortLastOne) {
  leave_only({512 * 3 + 1});
  ResidencyChunks chunks(mapping_, fd_);
  ASSERT_TRUE(chunks.look(3, 1));
  EXPECT_TRUE(chunks.was_resident({3 * kChunk + 4096, 4096}));
  EXPECT_FALSE(chunks.was_resident({size_bytes_ - 100, 100}));
}

// Goal:   the copy of a resident chunk faults no more once the chunk was looked at.
// Method: the page tables are filled by one advice per whole chunk, the first time only.
TEST_F(ResidencyChunksTest, FillsThePageTablesOfAResidentChunkOnce) {
  std::vector<std::uint64_t> pages(512);
  std::iota(pages.begin(), pages.end(), 512);
  leave_only(pages);
  ResidencyChunks chunks(mapping_, fd_);
  const sys::FaultPlan plan({});
  ASSERT_TRUE(chunks.look(0, 3));
  EXPECT_EQ(plan.count(sys::Call::kAdviseMemory), 1U);
  ASSERT_TRUE(chunks.look(0, 3));
  EXPECT_EQ(plan.count(sys::Call::kAdviseMemory), 1U);
}

TEST_F(ResidencyChunksTest, ForgetsAChunkThatWasDropped) {
  std::vector<std::uint64_t> pages(512);
  std::iota(pages.begin(), pages.end(), 0);
  leave_only(pages);
  ResidencyChunks chunks(mapping_, fd_);
  ASSERT_TRUE(chunks.look(0, 1));
  EXPECT_TRUE(chunks.was_resident({0, kChunk}));
  ::madvise(mapping_.data(), mapping_.size(), MADV_DONTNEED);  // Our own view keeps pages.
  testing::make_cold(path_);
  ASSERT_TRUE(chunks.look(0, 1));
  EXPECT_FALSE(chunks.was_resident({0, 1}));
}

using Presence = ResidencyChunks::Presence;

TEST_F(ResidencyChunksTest, CountsWhatIsThereOfEachChunk) {
  std::vector<std::uint64_t> pages(512);
  std::iota(pages.begin(), pages.end(), 512);
  pages.push_back(3 * 512 + 7);
  leave_only(pages);
  for (const bool has_cachestat : {true, false}) {
    ResidencyChunks chunks(mapping_, fd_);
    const sys::FaultPlan plan({.call = has_cachestat ? sys::Call::kCount : sys::Call::kCacheStatus,
                               .times = 100,
                               .error = ENOSYS});
    EXPECT_NE(chunks.ask(0), Presence::kAll);
    EXPECT_EQ(chunks.ask(1), Presence::kAll);
    EXPECT_EQ(chunks.ask(3), Presence::kSome);
    EXPECT_TRUE(chunks.is_filled(1));
    EXPECT_FALSE(chunks.is_filled(0));
    EXPECT_EQ(plan.count(sys::Call::kCacheStatus), has_cachestat ? 3U : 1U);
  }
}

TEST_F(ResidencyChunksTest, AnswersForOneRangeAcrossChunks) {
  leave_only({511, 512, 3 * 512 + 256});
  ResidencyChunks chunks(mapping_, fd_);
  EXPECT_TRUE(chunks.is_range_resident({kChunk - 100, 200}));
  EXPECT_FALSE(chunks.is_range_resident({kChunk - 5000, 5000}));
  EXPECT_TRUE(chunks.is_range_resident({size_bytes_ - 100, 100}));
  EXPECT_FALSE(chunks.is_range_resident({0, 1}));
}

TEST_F(ResidencyChunksTest, SaysNoWhenTheKernelDoesNotAnswer) {
  ResidencyChunks chunks(mapping_, fd_);
  const sys::FaultPlan plan({.call = sys::Call::kResidency, .error = EAGAIN});
  EXPECT_FALSE(chunks.look(0, 1));
  EXPECT_FALSE(chunks.was_resident({0, 1}));
}

}  // namespace
}  // namespace quire::internal
