// SPDX-License-Identifier: Apache-2.0
//
// The pager as its users call it: mapping, residency, sizes, flushing, errors and their texts.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "quire/pager/pager.h"
#include "quire/testing/pager_fixture.h"
#include "quire/testing/slow_store.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using testing::Bytes;
using testing::is_pattern;
using testing::kGranule;
using testing::kReadOnly;
using testing::kWritable;
using testing::load_byte;
using testing::pattern;
using testing::pattern_at;
using testing::pattern_bytes;
using testing::read_file;
using testing::store_byte;

class PagerTest : public testing::AreaTest {};

// --- Mapping -------------------------------------------------------------------------------------

// Goal:   whatever the size: every byte is the file's, and what is stored gets there; nothing else.
// Method: sizes around one OS page, the granule and the budget, with granules of 4 and 64 KiB.
TEST_P(PagerTest, FilesOfEverySizeReadAndWriteAsTheyAre) {
  for (const std::uint64_t granule_bytes : {4_KiB, 64_KiB}) {
    Pager pager({.memory_bytes = std::max(1_MiB, 64 * granule_bytes),
                 .fault_path = GetParam(),
                 .granule_bytes = granule_bytes});
    for (const std::uint64_t size_bytes :
         {std::uint64_t{1}, std::uint64_t{100}, 4_KiB - 1, 4_KiB, 4_KiB + 1, 64_KiB - 5, 64_KiB,
          64_KiB + 4_KiB + 7, 64 * granule_bytes + 13}) {
      SCOPED_TRACE(std::to_string(size_bytes) + " / " + std::to_string(granule_bytes));
      const std::string path = file(size_bytes);
      PagedArea reader = pager.map(path, kReadOnly).value();
      ASSERT_EQ(reader.size_bytes(), size_bytes);
      EXPECT_TRUE(is_pattern(reader.bytes()));
      EXPECT_TRUE(reader.close().has_value());
      WritablePagedArea area = pager.map(path, kWritable).value();
      area.bytes().front() = std::byte{0xa1};
      area.bytes().back() = std::byte{0xa2};
      ASSERT_TRUE(area.flush().has_value());
      std::string expected = pattern(size_bytes);
      expected.front() = '\xa1';
      expected.back() = '\xa2';
      EXPECT_EQ(read_file(path), expected);
      testing::settle(area);
      area.check_invariants();
      EXPECT_TRUE(area.close().has_value());
      pager.check_invariants();
    }
  }
}

TEST_P(PagerTest, EmptyFileHasNoBytesAndEveryFunctionWorks) {
  const std::string path = file(0);
  PagedArea reader = pager_.map(path, kReadOnly).value();
  EXPECT_TRUE(reader.bytes().empty());
  EXPECT_TRUE(reader.is_open());
  EXPECT_TRUE(reader.close().has_value());
  WritablePagedArea area = pager_.map(path, kWritable).value();
  EXPECT_EQ(area.resident().value().resident_bytes, 0U);
  EXPECT_TRUE(area.pin(kWholeFile).has_value());
  EXPECT_TRUE(area.prefetch(kWholeFile).wait().has_value());
  EXPECT_EQ(area.evict().value().evicted_bytes, 0U);
  EXPECT_TRUE(area.flush().has_value());
  EXPECT_EQ(area.as<std::uint64_t>().value().size(), 0U);
  EXPECT_EQ(area.pin({0, 1}).error().code(), Errc::kOutOfRange);
  ASSERT_TRUE(area.resize(3 * kGranule + 1).has_value());
  store_byte(area.bytes().data() + 3 * kGranule, std::byte{7});
  EXPECT_TRUE(area.close().has_value());
  EXPECT_EQ(read_file(path), std::string(3 * kGranule, '\0') + '\7');
}

TEST_P(PagerTest, TypedViewsAreCheckedForSizeAndRange) {
  WritablePagedArea area = map_random(2 * kGranule + 4);
  const PagedArea& reader = area;
  EXPECT_EQ(reader.as<std::uint64_t>().error().code(), Errc::kMisaligned);
  EXPECT_EQ(reader.as<std::uint64_t>({4, 16}).error().code(), Errc::kMisaligned);
  EXPECT_EQ(reader.as<std::uint64_t>({8, 2 * kGranule}).error().code(), Errc::kOutOfRange);
  const std::span<std::uint64_t> words = area.as<std::uint64_t>({0, 2 * kGranule}).value();
  words.back() = 0x0102030405060708;
  EXPECT_EQ(reader.as<std::uint64_t>({2 * kGranule - 8, 8}).value().front(), 0x0102030405060708U);
  EXPECT_EQ(area.bytes({kGranule, kGranule}).value().data(), area.bytes().data() + kGranule);
  EXPECT_EQ(area.bytes({kGranule, 2 * kGranule}).error().code(), Errc::kOutOfRange);
}

TEST_P(PagerTest, CreatedFilesHaveTheirMinimumAndPermissions) {
  const std::string path = directory_.file("new");
  const WritablePagedOptions options{.access = Access::kReadWrite,
                                     .engine = PagingEngine::kPaged,
                                     .create = true,
                                     .exclusive = true,
                                     .create_mode = 0600,
                                     .minimum_bytes = 10'000};
  WritablePagedArea area = pager_.map(path, options).value();
  EXPECT_EQ(area.size_bytes(), 10'000U);
  EXPECT_TRUE(std::ranges::all_of(area.bytes(), [](std::byte b) { return b == std::byte{0}; }));
  EXPECT_EQ(std::filesystem::status(path).permissions(), std::filesystem::perms(0600));
  EXPECT_EQ(pager_.map(path, options).error().code(), std::errc::file_exists);
  EXPECT_TRUE(area.close().has_value());
  EXPECT_EQ(std::filesystem::file_size(path), 10'000U);
}

TEST_P(PagerTest, ErrorsOfMappingNameTheFileAndTheCause) {
  const auto missing = pager_.map(directory_.file("missing"), kReadOnly);
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().code(), std::errc::no_such_file_or_directory);
  EXPECT_NE(missing.error().message().find("missing"), std::string::npos);
  EXPECT_NE(missing.error().message().find("ENOENT"), std::string::npos);
  EXPECT_FALSE(pager_.map(directory_.path(), kReadOnly).has_value());
  EXPECT_FALSE(pager_.map(std::string("a\0b", 3), kReadOnly).has_value());
}

// Goal:   options out of range are an Error of the first map() that names the option.
TEST_P(PagerTest, OptionsOutOfRangeAreNamed) {
  const std::string path = file(100);
  const std::pair<PagerOptions, const char*> rows[] = {
      {{.memory_bytes = 1_MiB - 1}, "memory_bytes"},
      {{.memory_bytes = 1_MiB, .granule_bytes = 2_MiB}, "memory_bytes"},
      {{.memory_bytes = ~std::uint64_t{0}}, "memory_bytes"},
      {{.policy = PolicyKind::kLru}, "lru"},
      {{.granule_bytes = 6000}, "granule_bytes"},
      {{.granule_bytes = 2048}, "granule_bytes"},
      {{.granule_bytes = 4_MiB}, "granule_bytes"},
      {{.read_ahead_windows = 1000}, "read_ahead_windows"},
      {{.dirty_start_percent = 60, .dirty_max_percent = 50}, "dirty_start_percent"},
      {{.dirty_start_percent = 10, .dirty_max_percent = 99}, "dirty_max_percent"},
  };
  for (const auto& [options, name] : rows) {
    Pager pager(options);
    const auto refused = pager.map(path, kReadOnly);
    ASSERT_FALSE(refused.has_value()) << name;
    EXPECT_EQ(refused.error().code(), Errc::kOutOfRange) << name;
    EXPECT_NE(refused.error().message().find(name), std::string::npos) << refused.error().message();
  }
}

TEST_P(PagerTest, ExplainSaysWhatWasChosen) {
  EXPECT_NE(pager_.explain().find("1.0 MiB"), std::string::npos) << pager_.explain();
  const PagedArea area = pager_.map(file(4_MiB), kReadOnly).value();
  EXPECT_TRUE(area.is_paged());
  EXPECT_NE(area.name().find("data"), std::string::npos);
  const std::string text = area.explain();
  for (const char* word : {"data", "paged", "4.0 MiB", "1.0 MiB", "granules of 4.0 KiB", "s3",
                           "system calls", name_of(GetParam())}) {
    EXPECT_NE(text.find(word), std::string::npos) << word << " in: " << text;
  }
  EXPECT_NE(pager_.explain().find("taken"), std::string::npos) << pager_.explain();
}

// --- Closing -------------------------------------------------------------------------------------

TEST_P(PagerTest, CloseWritesAndTheDestructorDoesNot) {
  for (const bool closes : {false, true}) {
    const std::string path = file(2 * kGranule);
    {
      WritablePagedArea area = pager_.map(path, kWritable).value();
      store_byte(area.bytes().data() + kGranule, std::byte{0x5a});
      if (closes) {
        EXPECT_TRUE(area.close().has_value());
        EXPECT_FALSE(area.is_open());
        EXPECT_TRUE(area.bytes().empty());
      }
    }
    std::string expected = pattern(2 * kGranule);
    expected[kGranule] = closes ? '\x5a' : expected[kGranule];
    EXPECT_EQ(read_file(path), expected);
    EXPECT_EQ(pager_.stats().areas, 0U);
    EXPECT_EQ(pager_.stats().page_bytes, 0U);
  }
}

// Goal:   an area that is not open answers every call with kClosed, and no call harms.
TEST_P(PagerTest, EmptyAreaAnswersKClosed) {
  WritablePagedArea first = map_random(2 * kGranule);
  const WritablePagedArea second = std::move(first);
  EXPECT_TRUE(is_pattern(second.bytes()));
  WritablePagedArea area;
  EXPECT_FALSE(area.is_open());
  EXPECT_FALSE(area.is_paged());
  EXPECT_EQ(area.pin({0, 1}).error().code(), Errc::kClosed);
  EXPECT_EQ(area.pin_for_writing({0, 1}).error().code(), Errc::kClosed);
  EXPECT_EQ(area.prefetch({0, 1}).wait().error().code(), Errc::kClosed);
  EXPECT_EQ(area.advise({0, 1}, Pattern::kRandom).error().code(), Errc::kClosed);
  EXPECT_EQ(area.resident().error().code(), Errc::kClosed);
  EXPECT_EQ(area.evict().error().code(), Errc::kClosed);
  EXPECT_EQ(area.flush().error().code(), Errc::kClosed);
  EXPECT_EQ(area.resize(1).error().code(), Errc::kClosed);
  EXPECT_EQ(area.check().error().code(), Errc::kClosed);
  EXPECT_EQ(area.close().error().code(), Errc::kClosed);
  EXPECT_EQ(area.bytes({0, 0}).error().code(), Errc::kClosed);
  EXPECT_EQ(area.stats().faults, 0U);
  EXPECT_EQ(area.name(), "");
  area.check_invariants();
}

// --- Several areas, and stores of one's own ------------------------------------------------------

// Goal:   areas share one budget, and a page of one goes for a page of another.
TEST_P(PagerTest, AreasShareOneBudget) {
  std::vector<PagedArea> areas;
  for (int i = 0; i < 4; ++i) {
    areas.push_back(
        pager_.map(directory_.write(std::to_string(i), pattern(1_MiB)), kReadOnly).value());
  }
  for (const PagedArea& area : areas) {
    EXPECT_TRUE(is_pattern(area.bytes()));
  }
  pager_.check_invariants();  // Waits until nothing is under way.
  const PagerStats stats = pager_.stats();
  EXPECT_EQ(stats.areas, 4U);
  EXPECT_EQ(stats.memory_bytes, 1_MiB);
  EXPECT_LE(stats.taken_bytes_max, 1_MiB);
  EXPECT_EQ(stats.taken_bytes, stats.page_bytes + stats.buffer_bytes + stats.metadata_bytes);
  EXPECT_GE(stats.evicted, 3_MiB / kGranule);
  std::uint64_t resident_bytes = 0;
  for (const PagedArea& area : areas) {
    resident_bytes += area.stats().resident_bytes;
  }
  // Tripwires, which are held back and not resident, have their credits, too.
  EXPECT_LE(resident_bytes, stats.page_bytes);
  EXPECT_GE(resident_bytes + 32 * kGranule, stats.page_bytes);
  for (PagedArea& area : areas) {
    testing::settle(area);
    area.check_invariants();
    EXPECT_TRUE(area.close().has_value());
  }
  pager_.check_invariants();
}

TEST_P(PagerTest, StoresOfOnesOwnAreMappedLikeFiles) {
  const auto store = std::make_shared<testing::MemoryStore>(pattern_bytes(0, 2_MiB + 5));
  WritablePagedArea area = pager_.map(store, kWritable).value();
  EXPECT_EQ(area.name(), "memory store");
  EXPECT_TRUE(is_pattern(area.bytes()));
  std::ranges::fill(area.bytes(), std::byte{0x42});
  ASSERT_TRUE(area.resize(3_MiB).has_value());
  ASSERT_TRUE(area.close().has_value());
  Bytes expected(3_MiB, std::byte{0x42});
  std::fill(expected.begin() + 2_MiB + 5, expected.end(), std::byte{0});
  EXPECT_EQ(store->image(), expected);
}

// Goal:   the default serves a file in the faulting thread, a foreign store in the pager's.
TEST(PagerChoiceTest, AutomaticIsInlineForFilesAndHandlerForStores) {
  if (const std::string why = testing::why_no_paging(FaultPath::kAutomatic); !why.empty()) {
    GTEST_SKIP() << why;
  }
  const testing::TempDir directory;
  Pager pager({.memory_bytes = 1_MiB});
  const PagedArea file = pager.map(directory.write("data", pattern(1_MiB)), kReadOnly).value();
  const auto store = std::make_shared<testing::MemoryStore>(pattern_bytes(0, 1_MiB));
  const PagedArea area = pager.map(store, kReadOnly).value();
  EXPECT_NE(file.explain().find("inline"), std::string::npos) << file.explain();
  EXPECT_NE(area.explain().find("handler"), std::string::npos) << area.explain();
  EXPECT_NE(area.explain().find("cannot be read in a signal handler"), std::string::npos);
  EXPECT_TRUE(is_pattern(file.bytes()));
  EXPECT_TRUE(is_pattern(area.bytes()));
}

TEST(PagerChoiceDeathTest, PagerThatDiesBeforeItsAreaIsABug) {
  if (const std::string why = testing::why_no_paging(FaultPath::kHandler); !why.empty()) {
    GTEST_SKIP() << why;
  }
  const testing::TempDir directory;
  const std::string path = directory.write("data", pattern(100));
  EXPECT_DEATH(
      {
        auto pager = std::make_unique<Pager>();
        const PagedArea area = pager->map(path, kReadOnly).value();
        pager.reset();
      },
      "areas");
}

// Goal:   a fill that fails gives a plain load what was chosen, check() the cause, pin() the Error.
TEST_P(PagerTest, FailedFillIsASignalOrZerosAndCheckHasTheCause) {
  for (const OnFillError choice : {OnFillError::kSignal, OnFillError::kZeros}) {
    const auto slow = std::make_shared<testing::SlowStore>(
        std::make_shared<testing::MemoryStore>(pattern_bytes(0, 64 * kGranule)));
    PagedArea area =
        pager_.map(slow, {.engine = PagingEngine::kPaged, .on_fill_error = choice}).value();
    EXPECT_TRUE(area.check().has_value());
    slow->fail({.operation = testing::StoreOperation::kRead, .times = 1000});
    const std::byte* const address = area.bytes().data() + 9 * kGranule + 3;
    const auto refused = area.pin({5 * kGranule, 1});
    ASSERT_FALSE(refused.has_value() && choice == OnFillError::kSignal);
    EXPECT_TRUE(refused.has_value() || refused.error().code() == std::errc::io_error);
    const auto fault = testing::bus_fault_of(address);
    EXPECT_EQ(fault.has_value(), choice == OnFillError::kSignal);
    if (fault) {
      EXPECT_EQ(fault->address, reinterpret_cast<std::uintptr_t>(address));
    } else {
      EXPECT_EQ(load_byte(address), std::byte{0});
    }
    EXPECT_EQ(area.check().error().code(), std::errc::io_error);
    EXPECT_GE(area.stats().failed_fills, 1U);
    slow->heal();
    EXPECT_EQ(load_byte(area.bytes().data() + 20 * kGranule), pattern_at(20 * kGranule));
    EXPECT_EQ(area.close().error().code(), std::errc::io_error);
  }
}

INSTANTIATE_TEST_SUITE_P(Paths, PagerTest,
                         ::testing::Values(FaultPath::kInline, FaultPath::kHandler),
                         testing::path_name);

}  // namespace
}  // namespace quire
