// SPDX-License-Identifier: Apache-2.0
#include "quire/io/batch_reader.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "quire/base/prng.h"
#include "quire/sys/call.h"
#include "quire/testing/failing_disk.h"
#include "quire/testing/nth_fault.h"
#include "quire/testing/page_cache.h"
#include "quire/testing/seed.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using testing::kPageBytes;

// Ranges of a batch with memory of their own, filled with a byte that no answer has by accident.
class Batch {
 public:
  void add(std::uint64_t offset_bytes, std::size_t length_bytes) {
    memory_.emplace_back(length_bytes, std::byte{0xEE});
    ranges_.push_back({.offset_bytes = offset_bytes, .into = memory_.back()});
  }
  [[nodiscard]] std::span<ReadRange> ranges() noexcept { return ranges_; }

  // Every range has what the file has there, and not a byte more was touched.
  void expect_content(const std::string& content) const {
    for (const ReadRange& range : ranges_) {
      const std::uint64_t start = std::min<std::uint64_t>(range.offset_bytes, content.size());
      const std::uint64_t length =
          std::min<std::uint64_t>(range.into.size(), content.size() - start);
      ASSERT_EQ(range.done_bytes, length) << "offset " << range.offset_bytes;
      const auto* bytes = reinterpret_cast<const char*>(range.into.data());
      ASSERT_EQ(std::string(bytes, length), content.substr(start, length))
          << "offset " << range.offset_bytes;
    }
  }

 private:
  std::vector<std::vector<std::byte>> memory_;
  std::vector<ReadRange> ranges_;
};

class BatchReaderTest : public ::testing::TestWithParam<CacheUse> {
 protected:
  static constexpr std::size_t kSizeBytes = 9 * 1024 * 1024 + 777;

  void SetUp() override {
    content_ = testing::pattern(kSizeBytes);
    path_ = directory_.write("data", content_);
  }

  [[nodiscard]] std::unique_ptr<BatchReader> reader(std::uint32_t depth = 16) const {
    return BatchReader::make(path_, {.depth = depth, .cache = GetParam()}).value();
  }

  // Odd offsets and lengths all over the file, some of them past its end.
  static Batch random_batch(Prng& prng, std::size_t count) {
    Batch batch;
    for (std::size_t i = 0; i < count; ++i) {
      batch.add(prng.below(kSizeBytes + 5000), prng.below(prng.below(20) == 0 ? 300'000 : 9000));
    }
    return batch;
  }

  testing::TempDir directory_;
  std::string content_;
  std::string path_;
};

TEST_P(BatchReaderTest, GivesEveryByteOfAColdFile) {
  testing::make_cold(path_);
  Prng prng(testing::test_seed());
  Batch batch = random_batch(prng, 500);
  const BatchReport report = reader()->read_batch(batch.ranges()).value();
  batch.expect_content(content_);
  EXPECT_EQ(report.ranges, 500U);
  EXPECT_GT(report.requests, 0U);
  EXPECT_LT(report.requests, 500U) << "neighbours are read together";
}

TEST_P(BatchReaderTest, CopiesAWarmFileWithoutOneRequest) {
  Batch batch;
  for (std::size_t i = 0; i < 1000; ++i) {
    batch.add((i * 7919 * 4096) % (kSizeBytes - 4096), 4096);
  }
  const auto warm = reader();
  const BatchReport report = warm->read_batch(batch.ranges()).value();
  batch.expect_content(content_);
  EXPECT_EQ(report.resident_ranges, 1000U);
  EXPECT_EQ(report.requests, 0U);
  EXPECT_EQ(report.bytes, 1000U * 4096U);
}

TEST_P(BatchReaderTest, AsksTheDeviceForWhatIsAbsentOnly) {
  testing::make_cold(path_);
  std::vector<std::uint64_t> pages;
  for (std::uint64_t page = 0; page < kSizeBytes / kPageBytes; page += 2) {
    pages.push_back(page);
  }
  testing::read_pages(path_, pages);
  Batch batch;
  for (std::uint64_t page = 0; page + 1 < kSizeBytes / kPageBytes; ++page) {
    batch.add(page * kPageBytes, kPageBytes);
  }
  const auto half = BatchReader::make(path_, {.cache = GetParam(), .coalesce_gap_bytes = 0});
  const BatchReport report = (*half)->read_batch(batch.ranges()).value();
  batch.expect_content(content_);
  EXPECT_EQ(report.resident_ranges, pages.size());
  EXPECT_EQ(report.requests, batch.ranges().size() - pages.size());
}

TEST_P(BatchReaderTest, LoneRangesAreReadWithoutWaitingOrAsked) {
  testing::make_cold(path_);
  testing::read_pages(path_, {0});
  Batch batch;
  batch.add(10, 100);
  batch.add(5 * 1024 * 1024, 100);
  const BatchReport report = reader()->read_batch(batch.ranges()).value();
  batch.expect_content(content_);
  EXPECT_EQ(report.resident_ranges, 1U);
  EXPECT_EQ(report.requests, 1U);
}

TEST_P(BatchReaderTest, EmptyBatchAndEmptyRangesAreNothing) {
  const auto subject = reader();
  EXPECT_EQ(subject->read_batch({}).value().requests, 0U);
  Batch batch;
  batch.add(100, 0);
  batch.add(~std::uint64_t{0}, 0);
  EXPECT_EQ(subject->read_batch(batch.ranges()).value().bytes, 0U);
}

TEST_P(BatchReaderTest, EmptyFileGivesNothing) {
  const std::string path = directory_.write("empty", "");
  Batch batch;
  batch.add(0, 100);
  batch.add(1 << 20, 100);
  const auto subject = BatchReader::make(path, {.cache = GetParam()}).value();
  EXPECT_EQ(subject->read_batch(batch.ranges()).value().bytes, 0U);
}

TEST_P(BatchReaderTest, DepthOfOneReadsTheSame) {
  testing::make_cold(path_);
  Prng prng(testing::test_seed() + 1);
  Batch batch = random_batch(prng, 100);
  ASSERT_TRUE(reader(1)->read_batch(batch.ranges()));
  batch.expect_content(content_);
}

// Goal:   a file that shrinks after it was mapped is an end, not a signal.
TEST_P(BatchReaderTest, FileThatShrinksEndsEarlier) {
  const auto subject = reader();
  Batch first;
  first.add(8 * 1024 * 1024, 4096);
  ASSERT_TRUE(subject->read_batch(first.ranges()));
  content_.resize(5 * 1024 * 1024 + 100);
  ASSERT_EQ(::truncate(path_.c_str(), off_t(content_.size())), 0);
  Prng prng(testing::test_seed() + 2);
  Batch batch = random_batch(prng, 400);
  ASSERT_TRUE(subject->read_batch(batch.ranges()));
  batch.expect_content(content_);
}

TEST_P(BatchReaderTest, FileThatGrowsIsReadBeyondItsFirstSize) {
  const auto subject = reader();
  content_ += testing::pattern(3 * 1024 * 1024);
  directory_.write("data", content_);
  Prng prng(testing::test_seed() + 3);
  Batch batch;
  for (int i = 0; i < 200; ++i) {
    batch.add(prng.below(content_.size()), 5000);
  }
  ASSERT_TRUE(subject->read_batch(batch.ranges()));
  batch.expect_content(content_);
}

TEST_P(BatchReaderTest, TicketsOfSeveralBatchesAllResolve) {
  testing::make_cold(path_);
  Prng prng(testing::test_seed() + 4);
  std::vector<Batch> batches;
  std::vector<BatchReport> reports(5);
  for (int i = 0; i < 5; ++i) {
    batches.push_back(random_batch(prng, 100));
  }
  const auto subject = reader();
  std::vector<Ticket> tickets;
  for (std::size_t i = 0; i < 5; ++i) {
    tickets.push_back(subject->read_batch_async(batches[i].ranges(), &reports[i]));
  }
  for (std::size_t i = 0; i < 5; ++i) {
    ASSERT_TRUE(tickets[i].wait());
    batches[i].expect_content(content_);
    EXPECT_EQ(reports[i].ranges, 100U);
  }
}

TEST_P(BatchReaderTest, ReaderThatGoesFinishesItsBatches) {
  testing::make_cold(path_);
  Prng prng(testing::test_seed() + 5);
  Batch batch = random_batch(prng, 300);
  auto subject = reader();
  const Ticket ticket = subject->read_batch_async(batch.ranges());
  subject.reset();
  EXPECT_TRUE(ticket.is_done());
  batch.expect_content(content_);
}

// Goal:   whichever request fails, the batch fails with its error and nothing hangs.
// Method: fail the completion of request 1, 2, 3 ... until a batch meets no fault.
TEST_P(BatchReaderTest, ErrorOfAnyRequestIsTheErrorOfTheBatch) {
  const auto subject = reader(4);
  testing::fail_each_nth("completion", [&](testing::NthFault& fault) {
    testing::make_cold(path_);
    Batch batch;
    for (std::uint64_t i = 0; i < 12; ++i) {
      batch.add(i * 700'000, 4096);
    }
    const sys::FaultPlan plan({.call = sys::Call::kRingCompletion, .nth = fault.nth, .error = EIO});
    const Result<BatchReport> report = subject->read_batch(batch.ranges());
    fault.was_hit = plan.hits() > 0;
    if (!fault.was_hit && fault.nth == 1) {
      GTEST_SKIP() << "io_uring: " << subject->explain();
    }
    ASSERT_EQ(report.has_value(), !fault.was_hit);
    if (!report) {
      EXPECT_EQ(report.error().code(), std::errc::io_error);
      EXPECT_NE(report.error().message().find("data"), std::string::npos);
    }
  });
}

TEST_P(BatchReaderTest, ShortCompletionsAreGoneOnWith) {
  const auto subject = reader(4);
  testing::make_cold(path_);
  Prng prng(testing::test_seed() + 6);
  Batch batch = random_batch(prng, 60);
  const sys::FaultPlan plan(
      {.call = sys::Call::kRingCompletion, .times = 1000, .transfer_bytes_max = 1024});
  ASSERT_TRUE(subject->read_batch(batch.ranges()));
  batch.expect_content(content_);
}

TEST_P(BatchReaderTest, UserWhoIsNotToldWhatIsResidentGetsTheSameBytes) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "setuid: needs root";
  }
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "ThreadSanitizer: no threads after fork";  // One reads the end of the file.
#endif
  ASSERT_EQ(::chmod(directory_.path().c_str(), 0755), 0);
  const int code = testing::run_as_nobody([&] {
    Prng prng(testing::test_seed() + 7);
    Batch batch = random_batch(prng, 100);
    const auto subject = BatchReader::make(path_, {.cache = GetParam()});
    EXPECT_TRUE(subject) << subject.error().message();
    if (!subject) {
      return 1;
    }
    const auto report = (*subject)->read_batch(batch.ranges());
    EXPECT_TRUE(report) << report.error().message();
    batch.expect_content(content_);
    return ::testing::Test::HasFailure() ? 2 : 0;
  });
  EXPECT_EQ(code, 0);
}

TEST_P(BatchReaderTest, OptionsOutOfRangeAreRefused) {
  EXPECT_EQ(BatchReader::make(path_, {.depth = 0}).error().code(), Errc::kLimit);
  EXPECT_EQ(BatchReader::make(path_, {.request_bytes_max = 1_GiB}).error().code(), Errc::kLimit);
  EXPECT_EQ(BatchReader::make(directory_.file("missing")).error().code(),
            std::errc::no_such_file_or_directory);
}

TEST(BatchReaderDeviceTest, BadBlockIsAnErrorWhetherCopiedOrRead) {
  testing::TempDir directory;
  const testing::FailingDisk disk(directory, 4 << 20, 2 << 20);
  if (!disk.problem().empty()) {
    GTEST_SKIP() << disk.problem();
  }
  const auto subject = BatchReader::make(disk.path()).value();
  Batch good;
  good.add(0, 4096);
  good.add(1 << 20, 4096);
  EXPECT_TRUE(subject->read_batch(good.ranges()));
  Batch bad;
  bad.add(0, 4096);
  bad.add(3 << 20, 4096);
  const auto report = subject->read_batch(bad.ranges());
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code(), std::errc::io_error);
}

INSTANTIATE_TEST_SUITE_P(Caches, BatchReaderTest,
                         ::testing::Values(CacheUse::kKeep, CacheUse::kBypass),
                         [](const auto& param) {
                           return param.param == CacheUse::kKeep ? "Keep" : "Bypass";
                         });

}  // namespace
}  // namespace quire
