// SPDX-License-Identifier: Apache-2.0
//
// Commits of many pages, which are written in slices: from where the images lie, or copied.
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <thread>

#include "quire/journal/internal/journal_fixture_test.h"
#include "quire/journal/internal/log_writer.h"
#include "quire/journal/journal_file.h"
#include "quire/testing/aligned_memory.h"
#include "quire/testing/nth_fault.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

constexpr std::uint64_t kPageBytes = internal::kTestPageBytes;
constexpr std::uint64_t kPages = 2100;  // Three records, and slices that are not full.

std::byte value_of(std::uint64_t page, int round) {
  return static_cast<std::byte>(page * 7 + static_cast<std::uint64_t>(round) * 31);
}

class JournalLargeTest : public internal::JournalFixture {
 protected:
  JournalLargeTest() : memory_(kPages * kPageBytes + kPageBytes) { options_.log_bytes = 32_MiB; }

  // Page i at `places(i)` of the memory.
  template <typename Places>
  [[nodiscard]] std::vector<PageImages> images(int round, Places&& places) const {
    std::vector<PageImages> images;
    for (std::uint64_t i = 0; i < kPages; ++i) {
      const std::span<std::byte> page = memory_.bytes().subspan(places(i), kPageBytes);
      std::memset(page.data(), static_cast<int>(value_of(i, round)), page.size());
      images.push_back({.offset_bytes = i * kPageBytes, .bytes = page});
    }
    return images;
  }

  static Result<std::uint64_t> commit(Journal& journal, std::span<const PageImages> images,
                                      ImageMemory memory = ImageMemory::kStill) {
    const FileCommit all{
        .file = 0, .images = images, .size_bytes = kPages * kPageBytes, .memory = memory};
    return journal.commit({&all, 1});
  }

  static void expect_round(Journal& journal, int round) {
    Bytes found(kPages * kPageBytes);
    ASSERT_EQ(journal.file(0).read_committed(0, found).value(), found.size());
    for (std::uint64_t i = 0; i < kPages; ++i) {
      ASSERT_EQ(found[i * kPageBytes], value_of(i, round)) << i;
      ASSERT_EQ(found[(i + 1) * kPageBytes - 1], value_of(i, round)) << i;
    }
  }

  const testing::PageMemory memory_;
};

// Method: neighbours, pages in reverse, and pages that no direct write can take from where they
//         lie; with kernel I/O, and found again by recovery, which compares the checksums.
TEST_F(JournalLargeTest, PagesAreCommittedWhereverTheirImagesLie) {
  const testing::TempDir directory;
  const std::string path = directory.file("data");
  const JournalFileOptions chosen{.create = true, .journal = options_};
  auto journal = open_journal({path}, chosen).value();
  const auto check_again = [&](int round) {
    expect_round(*journal, round);
    journal.reset();
    journal = open_journal({path}, chosen).value();
    EXPECT_EQ(journal->stats().recovered_pages, kPages);
    expect_round(*journal, round);
  };
  ASSERT_TRUE(commit(*journal, images(1, [](std::uint64_t i) { return i * kPageBytes; })));
  check_again(1);
  ASSERT_TRUE(
      commit(*journal, images(2, [](std::uint64_t i) { return (kPages - 1 - i) * kPageBytes; })));
  check_again(2);
  ASSERT_TRUE(commit(*journal, images(3, [](std::uint64_t i) { return i * kPageBytes + 8; })));
  check_again(3);
}

// Goal:   images that are stored to meanwhile have the checksums of what is written.
TEST_F(JournalLargeTest, ImagesThatChangeMeanwhileAreWhole) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the race between stores and copies is what it is about";
#endif
  const testing::TempDir directory;
  const std::string path = directory.file("data");
  const JournalFileOptions chosen{.create = true, .journal = options_};
  auto journal = open_journal({path}, chosen).value();
  const std::vector<PageImages> all = images(1, [](std::uint64_t i) { return i * kPageBytes; });
  std::atomic<bool> is_done{false};
  std::thread writer([&] {
    for (std::uint64_t i = 0; !is_done; ++i) {
      std::atomic_ref(
          *reinterpret_cast<std::uint64_t*>(&memory_.bytes()[i * 641 % kPages * kPageBytes + 64]))
          .store(i);
    }
  });
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(commit(*journal, all, ImageMemory::kChanging));
  }
  is_done = true;
  writer.join();
  journal.reset();
  journal = open_journal({path}, chosen).value();  // Else kCorrupt.
  expect_round(*journal, 1);
}

// Goal:   one slice that cannot be written fails the commit, and the journal.
TEST_F(JournalLargeTest, ASliceThatFailsFailsTheCommit) {
  const auto places = [](std::uint64_t i) { return i * kPageBytes; };
  testing::fail_each_nth("write", [&](testing::NthFault& fault) {
    make();
    ASSERT_TRUE(commit(*journal_, images(1, places)));
    log_->fail({.operation = Kind::kWrite, .nth = fault.nth, .error = EIO});
    const Result<std::uint64_t> second = commit(*journal_, images(2, places));
    fault.was_hit = log_->fault_count() > 0;
    log_->heal();
    ASSERT_EQ(second.has_value(), !fault.was_hit);
    if (second) {
      EXPECT_GT(fault.nth, kPages * kPageBytes / internal::LogWriter::kSliceBytes);
      return;
    }
    EXPECT_FALSE(commit(*journal_, images(3, places))) << "nobody knows what is on the disk";
    open();
    // Of the last write enough may have come to the disk.
    expect_round(*journal_, value_at(0) == static_cast<int>(value_of(0, 2)) ? 2 : 1);
  });
}

}  // namespace
}  // namespace quire
