// SPDX-License-Identifier: Apache-2.0
#include "quire/map/file_windows.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <string>

#include "quire/testing/process.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using testing::pattern;
using testing::TempDir;

std::string join(FileWindows& windows, std::uint64_t overlap_bytes) {
  std::string joined;
  std::uint64_t expected_offset = windows.offset_bytes();
  bool is_first = true;
  for (;;) {
    const Result<bool> more = windows.next();
    EXPECT_TRUE(more) << more.error().message();
    if (!more || !*more) {
      return joined;
    }
    const std::string_view text = windows.mapping().text();
    EXPECT_TRUE(is_first || windows.offset_bytes() == expected_offset - overlap_bytes);
    joined += is_first ? text : text.substr(overlap_bytes);
    expected_offset = windows.offset_bytes() + text.size();
    is_first = false;
  }
}

TEST(FileWindowsTest, CoverAnyRangeInAnyWindowSize) {
  const TempDir dir;
  const std::string content = pattern(50'000);
  const std::string path = dir.write("f", content);
  for (const std::uint64_t window : {1000U, 4096U, 10'000U, 50'000U, 1U << 20}) {
    for (const std::uint64_t overlap : {0U, 1U, 999U}) {
      for (const ByteRange range : {kWholeFile, ByteRange{4095, 20'000}, ByteRange{49'999, 1}}) {
        FileWindows windows =
            open_windows(path, {.window_bytes = window, .overlap_bytes = overlap, .range = range})
                .value();
        EXPECT_EQ(join(windows, overlap), content.substr(range.offset_bytes, range.length_bytes));
      }
    }
  }
}

TEST(FileWindowsTest, EmptyFileHasNoWindow) {
  const TempDir dir;
  FileWindows windows = open_windows(dir.write("f", "")).value();
  EXPECT_FALSE(windows.next().value());
  EXPECT_FALSE(windows.next().value());
}

TEST(FileWindowsTest, BadOptionsAndRangesAreErrors) {
  const TempDir dir;
  const std::string path = dir.write("f", "abc");
  EXPECT_FALSE(open_windows(path, {.window_bytes = 0}));
  EXPECT_FALSE(open_windows(path, {.window_bytes = 10, .overlap_bytes = 10}));
  EXPECT_EQ(open_windows(path, {.range = {4, 1}}).error().code(), Errc::kOutOfRange);
  EXPECT_EQ(open_windows(dir.path()).error().code(), Errc::kWrongKind);
  EXPECT_FALSE(open_windows(dir.file("missing")));
}

TEST(FileWindowsTest, FileTruncatedOnTheWayIsAnError) {
  const TempDir dir;
  const std::string path = dir.write("f", pattern(3 * 4096));
  FileWindows windows = open_windows(path, {.window_bytes = 4096}).value();
  ASSERT_TRUE(windows.next().value());
  ASSERT_EQ(truncate(path.c_str(), 5000), 0);
  const Result<bool> next = windows.next();
  ASSERT_FALSE(next);
  EXPECT_EQ(next.error().code(), Errc::kTruncated);
}

// Goal:   a file larger than the address space can be walked (W4 of the weaknesses of mmap).
TEST(FileWindowsTest, WalksAFileLargerThanTheAddressSpaceAllowed) {
  const TempDir dir;
  const std::string path = dir.write("f", "");
  constexpr std::int64_t kFileBytes = std::int64_t{8} << 30;
  ASSERT_EQ(truncate(path.c_str(), kFileBytes), 0);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "address space limit: sanitizers reserve terabytes";
#endif
  testing::Child child([&] {
    const rlimit limit{.rlim_cur = std::uint64_t{1} << 30, .rlim_max = std::uint64_t{1} << 30};
    if (setrlimit(RLIMIT_AS, &limit) != 0 || quire::map(path)) {
      return 1;
    }
    Result<FileWindows> windows = open_windows(path, {.window_bytes = 512_MiB});
    std::uint64_t seen_bytes = 0;
    while (windows && windows->next().value_or(false)) {
      seen_bytes += windows->bytes().size();
    }
    return seen_bytes == static_cast<std::uint64_t>(kFileBytes) ? 0 : 2;
  });
  EXPECT_EQ(child.join().exit_code, 0);
}

}  // namespace
}  // namespace quire
