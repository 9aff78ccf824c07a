// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "quire/base/prng.h"
#include "quire/map/writable_mapping.h"
#include "quire/sys/limits.h"
#include "quire/testing/process.h"
#include "quire/testing/seed.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using testing::pattern;
using testing::TempDir;

std::string to_string(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST(MappingTest, ShowsTheWholeFileByDefault) {
  const TempDir dir;
  const std::string content = pattern(10'000);
  const Mapping map = quire::map(dir.write("f", content)).value();
  EXPECT_EQ(map.text(), content);
  EXPECT_EQ(map.size_bytes(), content.size());
  EXPECT_EQ(map.origin(), Origin::kFile);
  EXPECT_EQ(map.offset_bytes(), 0U);
  map.check_invariants();
}

// Goal:   any offset and any length show what pread(2) shows.
// Method: every pair around page edges, then random pairs; the file ends inside a page.
TEST(MappingTest, AnyOffsetAndLengthEqualsPread) {
  const TempDir dir;
  const std::string content = pattern(3 * 4096 + 123);
  const std::string path = dir.write("f", content);
  std::vector<std::uint64_t> edges;
  for (std::uint64_t page = 0; page <= 3; ++page) {
    for (const std::int64_t delta : {-1, 0, 1}) {
      edges.push_back(page * 4096 + static_cast<std::uint64_t>(delta));
    }
  }
  Prng random(testing::test_seed());
  for (int i = 0; i < 200; ++i) {
    edges.push_back(random.below(content.size()));
  }
  for (const std::uint64_t offset : edges) {
    for (const std::uint64_t length : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{4095},
                                       std::uint64_t{4096}, std::uint64_t{4097}}) {
      const Result<Mapping> map =
          quire::map(path, {.offset_bytes = offset, .length_bytes = length});
      if (offset > content.size() || length > content.size() - offset) {
        ASSERT_FALSE(map) << offset << " " << length;
        EXPECT_EQ(map.error().code(), Errc::kOutOfRange);
        continue;
      }
      ASSERT_TRUE(map) << map.error().message();
      EXPECT_EQ(map->text(), std::string_view(content).substr(offset, length));
      EXPECT_EQ(map->offset_bytes(), offset);
      map->check_invariants();
    }
  }
}

TEST(MappingTest, LengthZeroIsEmptyAndNeverTheWholeFile) {
  const TempDir dir;
  const Mapping map =
      quire::map(dir.write("f", "content"), {.offset_bytes = 3, .length_bytes = 0}).value();
  EXPECT_TRUE(map.is_empty());
  EXPECT_TRUE(map.is_open());
  EXPECT_TRUE(map.text().empty());
}

TEST(MappingTest, EmptyFileGivesAnEmptyView) {
  const TempDir dir;
  const Mapping map = quire::map(dir.write("f", "")).value();
  EXPECT_TRUE(map.is_open());
  EXPECT_TRUE(map.bytes().empty());
  EXPECT_TRUE(map.as<std::uint64_t>().value().empty());
  EXPECT_EQ(map.resident().value().resident_bytes, 0U);
  EXPECT_TRUE(map.prefetch());
  EXPECT_TRUE(map.populate());
  EXPECT_TRUE(map.evict());
  EXPECT_TRUE(map.lock());
  EXPECT_TRUE(map.advise(kWholeFile, Advice::kRandom));
  EXPECT_TRUE(map.guarded(kWholeFile, [](auto) { return 1; }));
}

TEST(MappingTest, RangeErrorsNameThePathTheRangeAndTheSize) {
  const TempDir dir;
  const std::string path = dir.write("f", "12345");
  const Error error = quire::map(path, {.offset_bytes = 2, .length_bytes = 9}).error();
  EXPECT_EQ(error.operation(), "map");
  EXPECT_NE(error.message().find(path), std::string::npos);
  EXPECT_NE(error.message().find("offset 2, 9 bytes"), std::string::npos);
  EXPECT_NE(error.message().find("5 bytes"), std::string::npos);
  EXPECT_NE(error.message().find("at most 3"), std::string::npos);
}

TEST(MappingTest, RangesNearTheIntegerLimitsAreErrors) {
  const TempDir dir;
  const std::string path = dir.write("f", pattern(100));
  for (const std::uint64_t huge : {kToEnd, kToEnd - 1, std::uint64_t{1} << 63}) {
    EXPECT_FALSE(quire::map(path, {.offset_bytes = huge, .length_bytes = 1}));
    EXPECT_FALSE(quire::map(path, {.offset_bytes = huge}));
    if (huge != kToEnd) {
      EXPECT_FALSE(quire::map(path, {.offset_bytes = 1, .length_bytes = huge}));
    }
  }
  EXPECT_TRUE(quire::map(path, {.offset_bytes = 100}));
}

TEST(MappingTest, MovingLeavesAnEmptyObject) {
  const TempDir dir;
  Mapping first = quire::map(dir.write("f", "content")).value();
  const Mapping second = std::move(first);
  EXPECT_EQ(second.text(), "content");
  EXPECT_FALSE(first.is_open());  // NOLINT(bugprone-use-after-move): that is the claim.
  EXPECT_TRUE(first.bytes().empty());
  EXPECT_EQ(first.resident().error().code(), Errc::kClosed);
  first.check_invariants();
}

TEST(MappingTest, EveryOperationOfAClosedMappingSaysClosed) {
  const TempDir dir;
  WritableMapping map =
      quire::map(dir.write("f", "content"), {.access = Access::kReadWrite}).value();
  ASSERT_TRUE(map.close());
  EXPECT_TRUE(map.close());
  const auto is_closed = [](const auto& result) {
    return !result && result.error().code() == Errc::kClosed;
  };
  EXPECT_TRUE(is_closed(map.bytes(kWholeFile)));
  EXPECT_TRUE(is_closed(map.as<char>()));
  EXPECT_TRUE(is_closed(map.advise(kWholeFile, Advice::kNormal)));
  EXPECT_TRUE(is_closed(map.prefetch()));
  EXPECT_TRUE(is_closed(map.populate()));
  EXPECT_TRUE(is_closed(map.resident()));
  EXPECT_TRUE(is_closed(map.lock()));
  EXPECT_TRUE(is_closed(map.evict()));
  EXPECT_TRUE(is_closed(map.guarded(kWholeFile, [](auto) {})));
  EXPECT_TRUE(is_closed(map.resize(1)));
  EXPECT_TRUE(is_closed(map.append({})));
  EXPECT_TRUE(is_closed(map.secure(kWholeFile)));
  EXPECT_TRUE(is_closed(map.punch(kWholeFile)));
  EXPECT_TRUE(is_closed(map.flush()));
  EXPECT_TRUE(is_closed(map.flush_async()));
  EXPECT_TRUE(is_closed(map.seal(sys::Seals::kShrink)));
  map.check_invariants();
}

TEST(MappingTest, SubViewsAndWindowsCoverTheView) {
  const TempDir dir;
  const std::string content = pattern(1000);
  const Mapping map = quire::map(dir.write("f", content), {.offset_bytes = 7}).value();
  EXPECT_EQ(to_string(map.bytes({10, 20}).value()), content.substr(17, 20));
  EXPECT_EQ(map.bytes({994, 0}).error().code(), Errc::kOutOfRange);
  std::string joined;
  for (const std::span<const std::byte> window : map.windows(300)) {
    EXPECT_LE(window.size(), 300U);
    joined += to_string(window);
  }
  EXPECT_EQ(joined, content.substr(7));
}

TEST(MappingTest, LargerThanTheAddressSpaceIsAnErrorThatNamesWindows) {
  const TempDir dir;
  const std::string path = dir.write("f", "");
  // 16 TiB is what ext4 can address; other file systems take less. Either way it is sparse.
  if (truncate(path.c_str(), (std::int64_t{16} << 40) - 4096) != 0) {
    GTEST_SKIP() << "no 16 TiB sparse file here: " << std::strerror(errno);
  }
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "address space limit: sanitizers reserve terabytes";
#endif
  rlimit limit{};
  testing::Child child([&] {
    limit = {.rlim_cur = std::uint64_t{4} << 30, .rlim_max = std::uint64_t{4} << 30};
    setrlimit(RLIMIT_AS, &limit);
    const Result<Mapping> map = quire::map(path);
    return !map && map.error().message().find("open_windows") != std::string::npos ? 0 : 1;
  });
  EXPECT_EQ(child.join().exit_code, 0);
}

TEST(MappingTest, EvictionIsMeasuredAndPrefetchBringsItBack) {
  const TempDir dir;
  const std::string content = pattern(1 << 20);
  WritableMapping map = quire::map(dir.write("f", content), {.access = Access::kReadWrite}).value();
  map.bytes()[5] = std::byte{'x'};
  ASSERT_TRUE(map.flush());
  const EvictionReport evicted = map.evict().value();
  EXPECT_EQ(evicted.bytes_before, content.size());
  EXPECT_EQ(evicted.bytes_after, 0U);
  EXPECT_EQ(map.resident().value().resident_bytes, 0U);
  const WarmReport warmed = map.prefetch().value();
  EXPECT_EQ(warmed.bytes_resident_after, content.size());
  EXPECT_EQ(map.resident().value().resident_bytes, content.size());
  EXPECT_EQ(map.bytes()[5], std::byte{'x'});
}

TEST(MappingTest, EvictingPrivateChangesIsRefused) {
  const TempDir dir;
  WritableMapping map = quire::map(dir.write("f", "content"),
                                   {.access = Access::kReadWrite, .sharing = Sharing::kPrivate})
                            .value();
  map.bytes()[0] = std::byte{'X'};
  EXPECT_EQ(map.evict().error().code(), Errc::kUnsupported);
  EXPECT_EQ(map.text(), "Xontent");
  const WritableMapping memory = quire::map_anonymous({.size_bytes = 4096}).value();
  EXPECT_EQ(memory.evict().error().code(), Errc::kUnsupported);
}

TEST(MappingTest, EveryAdviceLeavesTheBytesAlone) {
  const TempDir dir;
  const std::string content = pattern(64 << 10);
  const Mapping map = quire::map(dir.write("f", content), {.offset_bytes = 1}).value();
  for (const Advice advice :
       {Advice::kNormal, Advice::kRandom, Advice::kSequential, Advice::kWillNeed, Advice::kCold,
        Advice::kPageOut, Advice::kNoHugePages, Advice::kDontFork, Advice::kDontDump}) {
    const Result<void> advised = map.advise({3, 5000}, advice);
    EXPECT_TRUE(advised) << advised.error().message();
    EXPECT_EQ(map.text(), std::string_view(content).substr(1));
  }
}

TEST(MappingTest, LockedPagesAreCountedAndUnlocked) {
  const TempDir dir;
  const Mapping map = quire::map(dir.write("f", pattern(8192))).value();
  const std::uint64_t before = sys::process_limits().locked_now_bytes.value();
  {
    const PageLock lock = map.lock({1, 4096}).value();
    EXPECT_EQ(sys::process_limits().locked_now_bytes.value(), before + 8192);
  }
  EXPECT_EQ(sys::process_limits().locked_now_bytes.value(), before);
}

TEST(MappingTest, AnonymousMemoryReportsItsResidency) {
  WritableMapping map = quire::map_anonymous({.size_bytes = 10 * 4096}).value();
  EXPECT_EQ(map.resident().value().resident_bytes, 0U);
  map.bytes()[0] = std::byte{1};
  map.bytes()[5 * 4096] = std::byte{1};
  EXPECT_EQ(map.resident().value().resident_bytes, 2U * 4096);
  EXPECT_EQ(map.populate().value().bytes_populated, 10U * 4096);
  EXPECT_EQ(map.resident().value().resident_bytes, 10U * 4096);
}

TEST(MappingTest, TruncationUnderAReaderBecomesAnError) {
  const TempDir dir;
  const std::string path = dir.write("f", pattern(4 * 4096));
  const Mapping map = quire::map(path, {.offset_bytes = 100}).value();
  ASSERT_EQ(truncate(path.c_str(), 4096), 0);
  const auto sum = [](std::span<const std::byte> bytes) {
    unsigned total = 0;
    for (const std::byte byte : bytes) {
      total += std::to_integer<unsigned>(byte);
    }
    return total;
  };
  EXPECT_TRUE(map.guarded({0, 3000}, sum));
  const Result<unsigned> total = map.guarded(kWholeFile, sum);
  ASSERT_FALSE(total);
  EXPECT_EQ(total.error().code(), Errc::kTruncated);
  EXPECT_NE(total.error().message().find("offset 4096"), std::string::npos)
      << total.error().message();
  EXPECT_NE(total.error().message().find("truncated to 4096"), std::string::npos);
}

// Goal:   the size that was looked at and the pages that are mapped may differ; nothing dies.
TEST(MappingTest, TruncationBetweenOpeningAndMappingIsHarmless) {
  const TempDir dir;
  const std::string path = dir.write("f", pattern(4 * 4096));
  std::atomic<bool> stop{false};
  std::thread truncator([&] {
    while (!stop) {
      EXPECT_EQ(truncate(path.c_str(), 0), 0);
      EXPECT_EQ(truncate(path.c_str(), 4 * 4096), 0);
    }
  });
  for (int i = 0; i < 2000; ++i) {
    const Result<Mapping> map = quire::map(path);
    ASSERT_TRUE(map) << map.error().message();
    const Result<int> first = map->guarded(kWholeFile, [](std::span<const std::byte> bytes) {
      return bytes.empty() ? 0 : std::to_integer<int>(bytes.back());
    });
    EXPECT_TRUE(first || first.error().code() == Errc::kTruncated ||
                first.error().code() == Errc::kFault);
  }
  stop = true;
  truncator.join();
}

TEST(MappingTest, ExplainNamesEngineSharingAndSize) {
  const TempDir dir;
  const std::string path = dir.write("f", pattern(5000));
  EXPECT_NE(quire::map(path)->explain().find("shared, read-only; 4.9 KiB of " + path),
            std::string::npos);
  const WritableMapping log =
      quire::map(path, {.access = Access::kReadWrite, .reserve_bytes = 1_GiB}).value();
  EXPECT_NE(log.explain().find("can grow in place to 1.0 GiB"), std::string::npos) << log.explain();
  const WritableMapping huge =
      quire::map_anonymous({.size_bytes = 4_MiB, .huge_pages = HugePages::kTransparent}).value();
  EXPECT_NE(huge.explain().find("transparent huge pages asked for"), std::string::npos);
}

TEST(MappingTest, OpeningAndClosingTwoHundredThousandTimesLeaksNothing) {
  const TempDir dir;
  const std::string path = dir.write("f", "content");
  const int before = testing::count_open_descriptors();
  for (int i = 0; i < 200'000; ++i) {
    ASSERT_TRUE(quire::map(path));
  }
  EXPECT_EQ(testing::count_open_descriptors(), before);
}

}  // namespace
}  // namespace quire
