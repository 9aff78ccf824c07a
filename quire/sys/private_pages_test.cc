// SPDX-License-Identifier: Apache-2.0
//
// What the kernel says about private pages, with notes about stores and without.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <vector>

#include "quire/sys/call.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/memory.h"
#include "quire/sys/private_pages.h"
#include "quire/testing/temp_dir.h"

namespace quire::sys {
namespace {

constexpr std::uint64_t kPages = 300;  // More than fit into one call.

class PrivatePagesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string path = directory_.write("data", testing::pattern(kPages * page_));
    file_ = open_file(path.c_str(), {}).value();
    map({.fd = file_.get()});
  }
  void TearDown() override { ASSERT_TRUE(unmap_pages(view_, kPages * page_).has_value()); }

  // A view of kPages private pages, in place of the one before.
  void map(MapRequest request) {
    request.length_bytes = kPages * page_;
    request.protection = Protection::kReadWrite;
    request.visibility = Visibility::kPrivate;
    request.fixed_address = view_;
    view_ = map_pages(request).value();
    ASSERT_TRUE(advise_pages(view_, kPages * page_, MemoryAdvice::kNoHugePage).has_value());
  }

  void watch_or_skip() {
    auto notes = StoreNotes::open();
    if (!notes || !pages_.has_scan()) {
      GTEST_SKIP() << "stores are not noted: "
                   << (notes ? "no PAGEMAP_SCAN" : notes.error().message());
    }
    notes_ = std::move(*notes);
    ASSERT_TRUE(notes_.watch(view_, kPages * page_).has_value());
  }

  void store(std::uint64_t page) {
    *static_cast<volatile std::byte*>(view_ + page * page_) = std::byte{1};
  }
  void load(std::uint64_t page) {
    static_cast<void>(*static_cast<volatile std::byte*>(view_ + page * page_));
  }

  using Numbers = std::vector<std::uint64_t>;
  template <typename Walk>
  Numbers numbers(Walk&& walk) {
    Numbers found;
    std::vector<PageRun> runs(3);
    for (std::uint64_t at = 0; at < kPages * page_;) {
      const PageWalk walked = walk(view_ + at, kPages * page_ - at, runs).value();
      for (std::size_t i = 0; i < walked.run_count; ++i) {
        for (std::uint64_t byte = 0; byte < runs[i].length_bytes; byte += page_) {
          found.push_back((static_cast<std::uint64_t>(runs[i].first - view_) + byte) / page_);
        }
      }
      at += walked.walked_bytes;
    }
    return found;
  }
  Numbers take_stored() {
    return numbers([&](auto&&... rest) { return pages_.take_stored(rest...); });
  }
  Numbers find(OwnPages which = OwnPages::kAnywhere) {
    return numbers([&](auto&&... rest) { return pages_.find(rest..., which); });
  }

  const std::uint64_t page_ = os_page_size().bytes();
  const testing::TempDir directory_;
  Descriptor file_;
  Address view_ = nullptr;
  StoreNotes notes_;
  PrivatePages pages_ = PrivatePages::open().value();
};

TEST_F(PrivatePagesTest, LoadsMakeNoPageOnesOwn) {
  for (std::uint64_t page = 0; page < kPages; ++page) {
    load(page);
  }
  EXPECT_EQ(find(), Numbers{});
  map({});  // Memory without a file shows the page of zeros.
  load(7);
  if (pages_.has_scan()) {
    EXPECT_EQ(find(), Numbers{});
  }
}

TEST_F(PrivatePagesTest, StoresAreFoundOnceAndOwnPagesEachTime) {
  watch_or_skip();
  load(1);
  const Numbers first{0, 1, 9, 10, 12, 100, 299};
  std::ranges::for_each(first, [&](std::uint64_t page) { store(page); });
  EXPECT_EQ(take_stored(), first);
  EXPECT_EQ(take_stored(), Numbers{});
  store(10);
  EXPECT_EQ(take_stored(), Numbers{10});
  EXPECT_EQ(find(), first);
}

// Goal:   pages that are not there, between others, do not make each look as long as they are many.
// Method: every other page is one's own. A few are noted in vain, each by itself, before the rest
//         is passed over.
TEST_F(PrivatePagesTest, EmptyPagesBetweenOthersDoNotCostACallEach) {
  watch_or_skip();
  Numbers stored;
  for (std::uint64_t page = 0; page < kPages; page += 2) {
    stored.push_back(page);
    store(page);
  }
  EXPECT_EQ(take_stored(), stored);
  store(200);
  std::vector<PageRun> runs(64);
  const FaultPlan counter({});
  const PageWalk walk = pages_.take_stored(view_, kPages * page_, runs).value();
  EXPECT_EQ(walk.walked_bytes, kPages * page_);
  ASSERT_EQ(walk.run_count, 1U);
  EXPECT_EQ(runs[0].first, view_ + 200 * page_);
  EXPECT_LE(counter.count(Call::kPageScan), kPages / 2 / 3);
}

TEST_F(PrivatePagesTest, MemoryWithoutAFileIsNotedToo) {
  map({});
  watch_or_skip();
  load(3);
  store(3);
  store(5);
  load(6);
  EXPECT_EQ(take_stored(), (Numbers{3, 5}));
  store(6);
  store(5);
  EXPECT_EQ(take_stored(), (Numbers{5, 6}));
}

// Goal:   pages that were given back are the file's again, and noted again.
TEST_F(PrivatePagesTest, AStoreAfterGivingBackIsNoted) {
  watch_or_skip();
  store(4);
  store(5);
  EXPECT_EQ(take_stored(), (Numbers{4, 5}));
  ASSERT_TRUE(advise_pages(view_ + 4 * page_, 2 * page_, MemoryAdvice::kDontNeed).has_value());
  load(4);
  EXPECT_EQ(take_stored(), Numbers{});
  EXPECT_EQ(find(OwnPages::kInMemory), Numbers{});
  store(4);
  store(5);
  EXPECT_EQ(take_stored(), (Numbers{4, 5}));
}

TEST_F(PrivatePagesTest, MemoryThatIsNotWatchedIsAnError) {
  if (!pages_.has_scan()) {
    GTEST_SKIP() << "no PAGEMAP_SCAN";
  }
  store(1);
  PageRun run;
  const auto taken = pages_.take_stored(view_, kPages * page_, {&run, 1});
  ASSERT_FALSE(taken.has_value());
  EXPECT_EQ(taken.error().value, EPERM);
}

TEST_F(PrivatePagesTest, TheWordsOfPagemapSayTheSame) {
  const FaultPlan plan({.call = Call::kPageScan, .error = ENOTTY});
  pages_ = PrivatePages::open().value();
  ASSERT_FALSE(pages_.has_scan());
  const Numbers stored{0, 1, 9, 10, 12, 100, 298, 299};
  load(2);
  std::ranges::for_each(stored, [&](std::uint64_t page) { store(page); });
  EXPECT_EQ(find(), stored);
  EXPECT_EQ(find(OwnPages::kInMemory), stored);
}

TEST_F(PrivatePagesTest, AKernelThatCannotNoteStoresIsNamed) {
  const FaultPlan plan({.call = Call::kUserFault, .times = 100, .error = EINVAL});
  const auto notes = StoreNotes::open();
  ASSERT_FALSE(notes.has_value());
  EXPECT_EQ(notes.error().code(), Errc::kUnsupported);
  EXPECT_NE(notes.error().message().find("6.7"), std::string::npos) << notes.error().message();
}

}  // namespace
}  // namespace quire::sys
