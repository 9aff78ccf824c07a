// SPDX-License-Identifier: Apache-2.0
//
// Direct files: edges, the end, and what goes straight. What every Store does is in
// store_conformance_test.cc.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "quire/io/file.h"
#include "quire/io/io_queue.h"
#include "quire/testing/aligned_memory.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using testing::Bytes;
using testing::PageMemory;
using testing::pattern_bytes;
using testing::TempDir;

class DirectFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto opened = open_file(directory_.file("file"), {.writable = true,
                                                      .create = true,
                                                      .cache = CacheUse::kBypass,
                                                      .fallback = Fallback::kRefused});
    if (!opened) {
      GTEST_SKIP() << "direct I/O: " << opened.error().message();
    }
    file_ = *std::move(opened);
    unit_ = file_->kernel_target()->write_alignment_bytes;
  }

  const TempDir directory_;
  std::unique_ptr<File> file_;
  std::uint64_t unit_ = 0;
};

TEST_F(DirectFileTest, OnlyTheEdgesOfAWriteAreRead) {
  const PageMemory memory(1_MiB);
  ASSERT_TRUE(file_->write(0, memory.bytes()).has_value());
  struct Row {
    std::uint64_t offset_bytes, length_bytes, edge_reads;
  };
  for (const Row& row :
       {Row{0, unit_, 0}, Row{0, unit_ - 1, 1}, Row{1, unit_ - 1, 1}, Row{1, unit_ - 2, 1},
        Row{unit_ - 1, 2, 2}, Row{1, 2 * unit_, 2}, Row{1, 600'000, 2}, Row{unit_, 600 * unit_, 0},
        // Past the end there is nothing to read.
        Row{2_MiB, 10, 0}}) {
    const FileStats before = file_->stats();
    ASSERT_TRUE(file_->write(row.offset_bytes, pattern_bytes(0, row.length_bytes)).has_value());
    EXPECT_EQ(file_->stats().edge_reads - before.edge_reads, row.edge_reads)
        << row.offset_bytes << ", " << row.length_bytes;
  }
}

TEST_F(DirectFileTest, TheMiddleOfALargeUnalignedWriteGoesStraight) {
  const PageMemory memory(1_MiB);
  // The memory is as far from a page as the offset is: only the edges must be copied.
  const std::span<std::byte> from = memory.bytes().subspan(100, 900'000);
  ASSERT_TRUE(file_->write(100, from).has_value());
  EXPECT_LT(file_->stats().bounced_bytes, 2 * unit_);
  const FileStats before = file_->stats();
  Bytes copy(from.begin(), from.end());
  std::ranges::fill(from, std::byte{0});
  ASSERT_EQ(file_->read(100, from).value(), from.size());
  EXPECT_TRUE(std::ranges::equal(from, copy));
  EXPECT_LT(file_->stats().bounced_bytes - before.bounced_bytes, 2 * unit_);
  EXPECT_EQ(file_->size_bytes().value(), 900'100U);
}

TEST_F(DirectFileTest, WhatIsTooSmallForTwoRequestsIsOne) {
  ASSERT_TRUE(file_->write(0, pattern_bytes(0, 1_MiB)).has_value());
  Bytes bytes(30'000);
  const FileStats before = file_->stats();
  ASSERT_EQ(file_->read(777, bytes).value(), bytes.size());
  EXPECT_EQ(file_->stats().system_calls - before.system_calls, 1U);
  EXPECT_EQ(file_->stats().bounced_bytes - before.bounced_bytes, bytes.size());
  EXPECT_EQ(bytes, pattern_bytes(777, 30'000));
}

TEST_F(DirectFileTest, TheFileEndsWhereTheLastWriteEnded) {
  std::uint64_t end = 0;
  for (const std::uint64_t length : {1U, 511U, 512U, 3U, 5'000U, 100'000U, 1U}) {
    ASSERT_TRUE(file_->write(end, pattern_bytes(end, length)).has_value());
    end += length;
    struct stat status{};
    ASSERT_EQ(fstat(file_->fd(), &status), 0);
    EXPECT_EQ(static_cast<std::uint64_t>(status.st_size), end);
  }
  Bytes bytes(end);
  ASSERT_EQ(file_->read(0, bytes).value(), end);
  EXPECT_EQ(bytes, pattern_bytes(0, end));
}

TEST_F(DirectFileTest, ItsFileIsSeenByOthersAsWritten) {
  ASSERT_TRUE(file_->write(0, pattern_bytes(0, 70'001)).has_value());
  EXPECT_EQ(testing::read_file(file_->name()), testing::pattern(70'001));
}

TEST_F(DirectFileTest, AKernelRequestMayNotMakeItLonger) {
  ASSERT_TRUE(file_->resize(64_KiB).has_value());
  const PageMemory memory(8192);
  IoRequest request{.store = file_.get(),
                    .operation = IoOperation::kWrite,
                    .offset_bytes = 64_KiB - 8192,
                    .memory = memory.bytes()};
  EXPECT_TRUE(file_->may_kernel_do(request));
  request.offset_bytes += 512;
  EXPECT_FALSE(file_->may_kernel_do(request));
  ASSERT_TRUE(file_->allocate({0, 128_KiB}).has_value());
  EXPECT_TRUE(file_->may_kernel_do(request));
  request.operation = IoOperation::kRead;
  request.offset_bytes = 1_GiB;
  EXPECT_TRUE(file_->may_kernel_do(request));
}

TEST_F(DirectFileTest, TryReadAndPrefetchAreUnsupported) {
  Bytes bytes(10);
  EXPECT_EQ(file_->try_read(0, bytes).error().code(), Errc::kUnsupported);
  EXPECT_EQ(file_->prefetch(kWholeFile).error().code(), Errc::kUnsupported);
}

TEST_F(DirectFileTest, ExplainNamesAlignmentAndItsSource) {
  ASSERT_TRUE(file_->write(0, pattern_bytes(0, 10'000)).has_value());
  EXPECT_NE(file_->explain().find(": direct: O_DIRECT, in units of " + std::to_string(unit_)),
            std::string::npos)
      << file_->explain();
  // Empty then, so nothing confirmed the statement; it is different when it is opened again.
  EXPECT_NE(file_->explain().find("nothing there to confirm it"), std::string::npos);
  const auto again = open_file(file_->name(), {.cache = CacheUse::kBypass}).value();
  EXPECT_NE(again->explain().find("confirmed by a read"), std::string::npos) << again->explain();
}

}  // namespace
}  // namespace quire
