// SPDX-License-Identifier: Apache-2.0
//
// Opening with commits that never came to the file: how much is read and written for it, and that
// it ends the same with however little memory.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <numeric>
#include <vector>

#include "quire/base/prng.h"
#include "quire/journal/internal/image_reader.h"
#include "quire/journal/internal/journal_fixture_test.h"
#include "quire/journal/internal/journal_format.h"
#include "quire/journal/journal_file.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"
#include "quire/testing/seed.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

constexpr std::uint64_t kPageBytes = internal::kTestPageBytes;
constexpr std::uint64_t kPages = 1500;
constexpr std::uint64_t kCommitPages = 100;

std::byte value_of(std::uint64_t page) {
  return static_cast<std::byte>(page * 7 + 1);
}

class JournalRecoveryTest : public internal::JournalFixture {
 protected:
  JournalRecoveryTest() : order_(kPages) {
    options_.log_bytes = 16_MiB;
    std::iota(order_.begin(), order_.end(), 0U);
    std::shuffle(order_.begin(), order_.end(), Prng(testing::test_seed()));
  }

  // Every page once, in random order, the last one in part.
  void commit_all(Journal& journal) const {
    ASSERT_TRUE(journal.file(0).resize(kSizeBytes).has_value());
    for (std::size_t first = 0; first < kPages; first += kCommitPages) {
      std::vector<Bytes> pages;
      std::vector<PageImages> images;
      for (std::size_t i = first; i < first + kCommitPages; ++i) {
        pages.emplace_back(kPageBytes, value_of(order_[i]));
        images.push_back({.offset_bytes = order_[i] * kPageBytes, .bytes = pages.back()});
      }
      const FileCommit commit{.file = 0, .images = images};
      ASSERT_TRUE(journal.commit({&commit, 1}).has_value());
    }
  }

  static void expect_all(std::span<const std::byte> found) {
    ASSERT_EQ(found.size(), kSizeBytes);
    for (std::uint64_t i = 0; i < kSizeBytes; ++i) {
      ASSERT_EQ(found[i], value_of(i / kPageBytes)) << i;
    }
  }

  static constexpr std::uint64_t kSizeBytes = kPages * kPageBytes - 100;
  std::vector<std::uint64_t> order_;
};

// Goal:   with memory for all of them, images in random order cost few requests.
TEST_F(JournalRecoveryTest, TheLogIsReadInItsOrderAndTheFileWrittenInItsOwn) {
  make();
  commit_all(*journal_);
  const std::uint64_t reads = log_->count(Kind::kRead);
  const std::uint64_t read_bytes = log_->bytes(Kind::kRead);
  const std::uint64_t writes = files_[0]->count(Kind::kWrite);
  open();
  EXPECT_EQ(journal_->stats().recovered_pages, kPages);
  // What looks for records reads each header, and now and then the end of one.
  EXPECT_LT(
      log_->count(Kind::kRead) - reads,
      2 * kPages / kCommitPages + 2 * kPages * kPageBytes / internal::ImageReader::kReadBytes);
  // What looks for records reads some of it before.
  EXPECT_LT(log_->bytes(Kind::kRead) - read_bytes, 3 * kPages * kPageBytes);
  EXPECT_EQ(files_[0]->count(Kind::kWrite) - writes, (kSizeBytes + 1_MiB - 1) / 1_MiB);
  expect_all(file_bytes_[0]->image());
}

TEST_F(JournalRecoveryTest, LittleMemoryIsEnough) {
  for (const std::uint64_t memory_bytes :
       {std::uint64_t{0}, kPageBytes, 3 * kPageBytes, 64 * kPageBytes + 1, kPages * kPageBytes}) {
    SCOPED_TRACE(memory_bytes);
    options_.recovery_memory_bytes = memory_bytes;
    make();
    commit_all(*journal_);
    open();
    EXPECT_EQ(journal_->stats().recovered_pages, kPages);
    expect_all(file_bytes_[0]->image());
  }
}

// Goal:   whichever request fails, opening does, and the next one finds everything.
TEST_F(JournalRecoveryTest, ARequestThatFailsIsNotTheEnd) {
  options_.recovery_memory_bytes = 100 * kPageBytes;
  make();
  commit_all(*journal_);
  journal_.reset();
  const auto fail_each = [&](testing::SlowStore& store, Kind operation, int error) {
    for (std::uint64_t nth = 1;; nth = nth * 2 + 1) {
      SCOPED_TRACE(nth);
      store.fail({.operation = operation, .nth = nth, .error = error});
      const std::uint64_t faults = store.fault_count();
      const auto opened = Journal::open(parts(), options_);
      const bool has_failed = store.fault_count() > faults;
      store.heal();
      if (!has_failed) {
        return nth;
      }
      EXPECT_EQ(opened ? std::error_code() : opened.error().code(),
                std::error_code(error, std::system_category()));
    }
  };
  // Each run that nothing fails empties the log.
  EXPECT_GT(fail_each(*log_, Kind::kRead, EIO), 100U);
  expect_all(file_bytes_[0]->image());
  open();
  commit_all(*journal_);
  journal_.reset();
  EXPECT_GT(fail_each(*files_[0], Kind::kWrite, ENOSPC), 10U);
  expect_all(file_bytes_[0]->image());
}

// Method: the same with requests that the kernel does, many at a time.
TEST_F(JournalRecoveryTest, FilesAreRecoveredWithAnyMemory) {
  const testing::TempDir directory;
  const std::string path = directory.file("data");
  for (const std::uint64_t memory_bytes : {2 * kPageBytes, 200 * kPageBytes, 64_MiB}) {
    SCOPED_TRACE(memory_bytes);
    JournalFileOptions chosen{.create = true, .journal = options_};
    chosen.journal.recovery_memory_bytes = memory_bytes;
    auto journal = open_journal({path}, chosen).value();
    commit_all(*journal);
    journal.reset();
    journal = open_journal({path}, chosen).value();
    EXPECT_EQ(journal->stats().recovered_pages, kPages);
    Bytes found(kSizeBytes);
    ASSERT_EQ(journal->file(0).read(0, found).value(), found.size());
    expect_all(found);
    ASSERT_TRUE(journal->close().has_value());
    ASSERT_TRUE(sys::unlink_path(path.c_str()).has_value());
  }
}

// Goal:   an image that was durable and is damaged never comes to the file, and is named; what is
//         read before it does not come there, either.
TEST_F(JournalRecoveryTest, ADamagedImageAmongOthersIsRefused) {
  const testing::TempDir directory;
  const std::string path = directory.file("data");
  const JournalFileOptions chosen{.create = true, .journal = options_};
  auto journal = open_journal({path}, chosen).value();
  commit_all(*journal);
  journal.reset();
  {
    const sys::Descriptor log =
        sys::open_file(journal_path_of(path).c_str(), {.write = true}).value();
    const std::byte wrong = ~value_of(order_[5]);
    // Of the first record, which the later ones say is durable: the last byte of its sixth image.
    const std::uint64_t at = internal::kCircleOffsetBytes +
                             internal::record_header_bytes(2, kCommitPages) + 6 * kPageBytes - 1;
    ASSERT_TRUE(sys::write_at(log.get(), {&wrong, 1}, at).has_value());
  }
  const auto refused = open_journal({path}, chosen);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Errc::kCorrupt);
  EXPECT_NE(refused.error().message().find("checksum of a committed page"), std::string::npos)
      << refused.error().message();
  EXPECT_EQ(testing::read_file(path), "");  // All images fit into the memory: nothing was begun.
}

}  // namespace
}  // namespace quire
