// SPDX-License-Identifier: Apache-2.0
#include "quire/map/file_set.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "quire/base/check.h"
#include "quire/base/prng.h"
#include "quire/map/guarded.h"
#include "quire/sys/call.h"
#include "quire/testing/seed.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using testing::pattern;

class FileSetTest : public ::testing::Test {
 protected:
  std::string write(const std::string& name, std::size_t size_bytes) const {
    return directory_.write(name, pattern(size_bytes));
  }
  // `count` files of the given size in one directory.
  std::vector<std::string> write_many(std::size_t count, std::size_t size_bytes) const {
    std::vector<std::string> paths;
    for (std::size_t i = 0; i < count; ++i) {
      paths.push_back(write("many" + std::to_string(i), size_bytes));
    }
    return paths;
  }

  testing::TempDir directory_;
};

Errc code_of(const FileSet::File& file) {
  const auto bytes = file.bytes();
  return bytes ? Errc{} : static_cast<Errc>(bytes.error().code().value());
}

TEST_F(FileSetTest, EverySizeAroundTheThresholdAndThePageEdgesEqualsTheFile) {
  constexpr std::uint64_t kThreshold = 16_KiB;
  std::vector<std::string> paths;
  for (const std::size_t middle : {0UL, 16UL, 4096UL, 8192UL, 16384UL, 20480UL, 262144UL}) {
    for (std::size_t size_bytes = middle < 2 ? 0 : middle - 2; size_bytes <= middle + 2;
         ++size_bytes) {
      paths.push_back(write("size" + std::to_string(size_bytes), size_bytes));
    }
  }
  const FileSet set = FileSet::open(paths, {.read_bytes_max = kThreshold}).value();
  ASSERT_EQ(set.size(), paths.size());
  for (std::size_t i = 0; i < set.size(); ++i) {
    const std::string expected = testing::read_file(paths[i]);
    EXPECT_EQ(set.file(i).path(), paths[i]);
    ASSERT_EQ(set.file(i).text().value(), expected) << paths[i];
    const std::string size = std::to_string(expected.size());
    EXPECT_EQ(set.file(i).explain(), expected.size() <= kThreshold
                                         ? "read: " + size + " bytes <= threshold 16.0 KiB"
                                         : "mapped: " + size + " bytes > threshold 16.0 KiB");
  }
  EXPECT_EQ(set.stats().files_mapped + set.stats().files_read, paths.size());
  EXPECT_EQ(set.stats().files_of_other_size, 0U);
}

// Goal:   whatever the sizes and their order, no entry touches another.
TEST_F(FileSetTest, RandomSizesInRandomOrderAllKeepTheirBytes) {
  Prng random(testing::test_seed());
  std::vector<std::string> paths;
  for (int i = 0; i < 300; ++i) {
    const std::uint64_t size_bytes = random.below(random.below(4) == 0 ? 200'000 : 3'000);
    paths.push_back(write("random" + std::to_string(i), size_bytes));
  }
  for (const std::uint64_t threshold : {std::uint64_t{0}, std::uint64_t{1000}, kToEnd}) {
    const FileSet set = FileSet::open(paths, {.read_bytes_max = threshold}).value();
    for (std::size_t i = 0; i < set.size(); ++i) {
      ASSERT_EQ(set.file(i).text().value(), testing::read_file(paths[i])) << paths[i];
    }
  }
}

TEST_F(FileSetTest, ThresholdsOfNothingAndOfEverything) {
  const std::vector<std::string> paths{write("one", 1), write("none", 0), write("big", 300'000)};
  const FileSet mapped = FileSet::open(paths, {.read_bytes_max = 0}).value();
  EXPECT_EQ(mapped.stats().files_mapped, 2U);
  EXPECT_EQ(mapped.file(1).bytes().value().size(), 0U);
  const FileSet read = FileSet::open(paths, {.read_bytes_max = kToEnd}).value();
  EXPECT_EQ(read.stats().files_read, 3U);
  EXPECT_EQ(read.file(2).explain(), "read: 300000 bytes, as every file");
}

TEST_F(FileSetTest, TypedViewsAreCheckedAndEntriesAligned) {
  const std::vector<std::string> paths{write("odd", 3), write("records", 64), write("cut", 63)};
  for (const std::size_t alignment : {16UL, 64UL, 4096UL}) {
    const FileSet set = FileSet::open(paths, {.alignment_bytes = alignment}).value();
    for (std::size_t i = 0; i < set.size(); ++i) {
      const auto address = reinterpret_cast<std::uintptr_t>(set.file(i).bytes().value().data());
      EXPECT_EQ(address % alignment, 0U);
    }
    EXPECT_EQ(set.file(1).as<std::uint64_t>().value().size(), 8U);
    EXPECT_EQ(set.file(2).as<std::uint64_t>().error().code(), Errc::kMisaligned);
  }
}

TEST_F(FileSetTest, AnAlignmentThatIsNoPowerOfTwoOrTooLargeIsAnError) {
  for (const std::size_t alignment : {0UL, 3UL, 24UL, 8192UL}) {
    const auto set = FileSet::open({}, {.alignment_bytes = alignment});
    ASSERT_FALSE(set.has_value()) << alignment;
    EXPECT_EQ(set.error().code(), Errc::kOutOfRange);
  }
}

TEST_F(FileSetTest, NothingIsAnEmptySet) {
  FileSet set = FileSet::open({}).value();
  EXPECT_EQ(set.size(), 0U);
  EXPECT_TRUE(set.close().has_value());
  EXPECT_TRUE(set.close().has_value());
  EXPECT_EQ(FileSet().stats().held_bytes(), 0U);
}

// --- What a path may lead to ---------------------------------------------------------------------

TEST_F(FileSetTest, WhatIsNoFileIsAnErrorOfItsEntryAndOfNoOther) {
  const std::string good = write("good", 100);
  const std::string fifo = directory_.file("fifo");
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  const std::string link = directory_.file("dangling");
  std::filesystem::create_symlink("nowhere", link);
  const std::string loop = directory_.file("loop");
  std::filesystem::create_symlink("loop", loop);
  const std::vector<std::string> paths{good,
                                       directory_.file("missing"),
                                       directory_.path(),
                                       fifo,
                                       "/dev/null",
                                       "/dev/zero",
                                       link,
                                       loop,
                                       good + "/x",
                                       std::string("nul\0byte", 8),
                                       "",
                                       "/" + std::string(5000, 'x'),
                                       good};
  const FileSet set = FileSet::open(paths).value();
  ASSERT_EQ(set.size(), paths.size());
  EXPECT_EQ(set.stats().files_failed, paths.size() - 2);
  for (std::size_t i : {std::size_t{0}, paths.size() - 1}) {
    EXPECT_EQ(set.file(i).text().value(), pattern(100));
  }
  for (std::size_t i = 2; i <= 5; ++i) {
    EXPECT_EQ(code_of(set.file(i)), Errc::kWrongKind) << paths[i];
    EXPECT_FALSE(set.file(i).is_open());
  }
  EXPECT_EQ(set.file(2).explain(), "open(" + directory_.path() +
                                       "): it is a directory; a set holds files that have bytes");
  EXPECT_EQ(set.file(1).bytes().error().code(), std::errc::no_such_file_or_directory);
  EXPECT_EQ(set.file(6).bytes().error().code(), std::errc::no_such_file_or_directory);
  EXPECT_EQ(set.file(7).bytes().error().code(), std::errc::too_many_symbolic_link_levels);
  EXPECT_EQ(set.file(8).bytes().error().code(), std::errc::not_a_directory);
  EXPECT_EQ(set.file(9).bytes().error().code(), std::errc::invalid_argument);
  EXPECT_EQ(set.file(10).bytes().error().code(), std::errc::no_such_file_or_directory);
  EXPECT_EQ(set.file(11).bytes().error().code(), std::errc::filename_too_long);
  EXPECT_EQ(set.file(9).path(), paths[9]);
}

// An htree directory of ext4 claims an end of 2^63 - 1; a threshold of "everything" must not try.
TEST_F(FileSetTest, ADirectoryIsNoFileWhateverTheThreshold) {
  for (const std::uint64_t threshold : {std::uint64_t{0}, kReadBytesMaxDefault, kToEnd}) {
    const std::vector<std::string> paths{directory_.path(), "/proc", "/sys", "/dev/shm", "/"};
    const FileSet set = FileSet::open(paths, {.read_bytes_max = threshold}).value();
    for (std::size_t i = 0; i < set.size(); ++i) {
      EXPECT_EQ(code_of(set.file(i)), Errc::kWrongKind) << set.file(i).explain();
    }
  }
}

TEST_F(FileSetTest, ASocketIsNoFile) {
  const std::string previous = std::filesystem::current_path();
  std::filesystem::current_path(directory_.path());  // The path of a socket must be short.
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = "socket"};
  ASSERT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  const std::vector<std::string> paths{"socket"};
  const FileSet set = FileSet::open(paths).value();
  EXPECT_EQ(code_of(set.file(0)), Errc::kWrongKind);
  EXPECT_NE(set.file(0).explain().find("a socket"), std::string::npos);
  close(fd);
  std::filesystem::current_path(previous);
}

TEST_F(FileSetTest, FilesWithoutASizeAreReadToTheirEnd) {
  const std::vector<std::string> paths{"/proc/cpuinfo", "/proc/self/limits", "/proc/filesystems",
                                       "/proc/self/mountinfo"};
  const FileSet set = FileSet::open(paths).value();
  for (std::size_t i : {1UL, 2UL, 3UL}) {  // cpuinfo changes from moment to moment.
    EXPECT_EQ(set.file(i).text().value(), testing::read_file(paths[i]));
    EXPECT_NE(set.file(i).explain().find("it had claimed 0"), std::string::npos);
  }
  EXPECT_NE(set.file(0).text().value().find("processor"), std::string::npos);
  EXPECT_EQ(set.stats().files_of_other_size, 4U);
}

TEST_F(FileSetTest, AFileShorterThanItClaimsIsWhatWasReadAndSaysSo) {
  const std::string path = "/sys/kernel/mm/transparent_hugepage/hpage_pmd_size";
  if (!std::filesystem::exists(path)) {
    GTEST_SKIP() << "transparent huge pages: no sysfs entry";
  }
  const std::vector<std::string> paths{path};
  for (const std::uint64_t threshold : {std::uint64_t{0}, kReadBytesMaxDefault}) {
    const FileSet set = FileSet::open(paths, {.read_bytes_max = threshold}).value();
    EXPECT_EQ(set.file(0).text().value(), testing::read_file(path));
    EXPECT_NE(set.file(0).explain().find("it had claimed 4096"), std::string::npos);
    EXPECT_EQ(set.stats().files_of_other_size, 1U);
  }
}

TEST_F(FileSetTest, AFileWithoutAnEndIsALimit) {
  const std::vector<std::string> paths{"/proc/self/pagemap", write("good", 10)};
  const FileSet set = FileSet::open(paths).value();
  EXPECT_EQ(code_of(set.file(0)), Errc::kLimit);
  EXPECT_EQ(set.file(1).text().value(), pattern(10));
}

// Goal:   a file that grows while it is read gives one consistent prefix, never a torn or padded
//         one.
// Method: an appender runs until the reader has seen many sizes; each content is checked.
TEST_F(FileSetTest, AGrowingFileIsAlwaysAPrefixOfWhatIsWritten) {
  constexpr std::size_t kBytesMax = 256 * 1024;
  constexpr std::size_t kPieceBytes = 37;
  const std::string content = pattern(kBytesMax);
  const std::string path = directory_.write("growing", "");
  std::thread appender([&] {
    std::ofstream out(path, std::ios::binary | std::ios::app);
    for (std::size_t at = 0; at < kBytesMax; at += kPieceBytes) {
      out.write(content.data() + at,
                static_cast<std::streamsize>(std::min(kPieceBytes, kBytesMax - at)));
      out.flush();
    }
  });
  const std::vector<std::string> paths{path};
  std::size_t size_bytes = 0;
  while (size_bytes < kBytesMax) {
    const FileSet set = FileSet::open(paths, {.read_bytes_max = kToEnd}).value();
    const std::string_view text = set.file(0).text().value();
    ASSERT_GE(text.size(), size_bytes);
    size_bytes = text.size();
    ASSERT_EQ(text, std::string_view(content).substr(0, size_bytes));
  }
  appender.join();
}

TEST_F(FileSetTest, ShortReadsOfAnySizeGiveTheSameBytes) {
  const std::vector<std::string> paths{write("a", 1000), write("b", 4096), write("c", 0),
                                       "/proc/self/limits"};
  for (const std::size_t transfer : {1UL, 7UL, 999UL, 1000UL, 1001UL, 4096UL}) {
    const sys::FaultPlan plan(
        {.call = sys::Call::kRead, .times = UINT64_MAX, .transfer_bytes_max = transfer});
    const FileSet set = FileSet::open(paths).value();
    EXPECT_EQ(set.file(0).text().value(), pattern(1000)) << transfer;
    EXPECT_EQ(set.file(1).text().value(), pattern(4096)) << transfer;
    EXPECT_EQ(set.file(2).text().value(), "") << transfer;
    EXPECT_EQ(set.file(3).text().value(), testing::read_file(paths[3])) << transfer;
  }
}

// --- Options -------------------------------------------------------------------------------------

TEST_F(FileSetTest, TheFirstErrorIsTheResultWhenAskedFor) {
  const std::vector<std::string> paths{write("a", 10), directory_.file("missing"), write("b", 10)};
  const int before = testing::count_open_descriptors();
  const auto set = FileSet::open(paths, {.on_error = OnFileError::kFail});
  ASSERT_FALSE(set.has_value());
  EXPECT_EQ(set.error().code(), std::errc::no_such_file_or_directory);
  EXPECT_EQ(set.error().subject(), paths[1]);
  EXPECT_EQ(testing::count_open_descriptors(), before);
}

TEST_F(FileSetTest, WhatDoesNotFitIntoTheArenaIsALimit) {
  const std::vector<std::string> paths{write("a", 600), write("b", 600), write("c", 400),
                                       write("d", 1), "/proc/self/limits"};
  const FileSet set = FileSet::open(paths, {.arena_bytes_max = 1000}).value();
  EXPECT_EQ(set.file(0).text().value(), pattern(600));
  EXPECT_EQ(code_of(set.file(1)), Errc::kLimit);
  EXPECT_EQ(set.file(2).text().value(), pattern(400));
  EXPECT_EQ(code_of(set.file(3)), Errc::kLimit);
  EXPECT_EQ(code_of(set.file(4)), Errc::kLimit);
  EXPECT_EQ(set.stats().read_bytes, 1000U);
}

TEST_F(FileSetTest, BeyondTheLimitOfMappingsFilesAreReadAndSaySo) {
  const std::vector<std::string> paths = write_many(5, 100);
  const FileSet set = FileSet::open(paths, {.read_bytes_max = 10, .mappings_max = 2}).value();
  EXPECT_EQ(set.stats().files_mapped, 2U);
  EXPECT_EQ(set.stats().files_read, 3U);
  for (std::size_t i = 0; i < set.size(); ++i) {
    EXPECT_EQ(set.file(i).text().value(), pattern(100));
  }
  EXPECT_EQ(set.file(4).explain(),
            "read: 100 bytes, since 2 files are mapped already (mappings_max)");
}

// --- Costs ---------------------------------------------------------------------------------------

TEST_F(FileSetTest, ASmallFileCostsFourSystemCallsAndADirectoryTwo) {
  const std::vector<std::string> paths = write_many(200, 1024);
  const sys::FaultPlan plan({});
  const FileSet set = FileSet::open(paths).value();
  EXPECT_EQ(plan.count(sys::Call::kOpen), 201U);
  EXPECT_EQ(plan.count(sys::Call::kSeek), 200U);
  EXPECT_EQ(plan.count(sys::Call::kRead), 200U);
  EXPECT_EQ(plan.count(sys::Call::kClose), 201U);
  EXPECT_EQ(plan.count(sys::Call::kStatus), 0U);
  const FileSetStats& stats = set.stats();
  EXPECT_EQ(stats.open_calls, 201U);
  EXPECT_EQ(stats.seek_calls, 200U);
  EXPECT_EQ(stats.read_calls, 200U);
  EXPECT_EQ(stats.close_calls, 201U);
  EXPECT_EQ(stats.status_calls + stats.map_calls, 0U);
  EXPECT_EQ(stats.memory_calls, plan.count(sys::Call::kMap) + plan.count(sys::Call::kUnmap) +
                                    plan.count(sys::Call::kAdviseMemory));
}

TEST_F(FileSetTest, FiveThousandFilesHoldAFifthMoreThanTheirBytesAndNoDescriptor) {
  constexpr std::size_t kFiles = 5000;
  constexpr std::size_t kBytes = 1024;
  const std::vector<std::string> paths = write_many(kFiles, kBytes);
  const int before = testing::count_open_descriptors();
  {
    const FileSet set = FileSet::open(paths).value();
    EXPECT_EQ(testing::count_open_descriptors(), before);
    EXPECT_EQ(set.stats().files_read, kFiles);
    EXPECT_EQ(set.stats().read_bytes, kFiles * kBytes);
    EXPECT_LE(set.stats().held_bytes() * 10, kFiles * kBytes * 12);
    EXPECT_GE(set.stats().arena_bytes, kFiles * kBytes);
    for (std::size_t i = 0; i < kFiles; ++i) {
      ASSERT_EQ(set.file(i).text().value(), pattern(kBytes));
    }
  }
  EXPECT_EQ(testing::count_open_descriptors(), before);
}

TEST_F(FileSetTest, TwoFreeDescriptorsAreEnoughForAnyNumberOfFiles) {
  std::vector<std::string> paths;
  for (int i = 0; i < 300; ++i) {
    const std::string folder = "folder" + std::to_string(i / 30);
    std::filesystem::create_directory(directory_.file(folder));
    paths.push_back(write(folder + "/" + std::to_string(i), i % 2 == 0 ? 100 : 100'000));
  }
  const int lowest_free = dup(STDIN_FILENO);
  ASSERT_GE(lowest_free, 0);
  close(lowest_free);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit two_more{static_cast<rlim_t>(lowest_free) + 2, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &two_more), 0);
  const auto set = FileSet::open(paths, {.on_error = OnFileError::kFail});
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_TRUE(set.has_value()) << set.error().message();
  EXPECT_EQ(set->stats().files_mapped, 150U);
}

// --- Life ----------------------------------------------------------------------------------------

TEST_F(FileSetTest, BytesSurviveMovingTheSetAndUnlinkingTheFiles) {
  const std::vector<std::string> paths{write("small", 100), write("large", 100'000)};
  FileSet first = FileSet::open(paths).value();
  const FileSet::File file = first.file(1);
  FileSet second = std::move(first);
  for (const std::string& path : paths) {
    std::filesystem::remove(path);
  }
  EXPECT_EQ(file.text().value(), pattern(100'000));
  EXPECT_EQ(second.file(0).text().value(), pattern(100));
  first = std::move(second);
  EXPECT_EQ(file.text().value(), pattern(100'000));
  EXPECT_EQ(second.size(), 0U);  // NOLINT(bugprone-use-after-move): that is the claim.
}

TEST_F(FileSetTest, AMappedFileThatIsTruncatedIsAnErrorUnderAGuard) {
  const std::vector<std::string> paths{write("small", 5000), write("large", 100'000)};
  const FileSet set = FileSet::open(paths).value();
  for (const std::string& path : paths) {
    std::filesystem::resize_file(path, 0);
  }
  EXPECT_EQ(set.file(0).text().value(), pattern(5000));  // Read: nobody can take it away.
  const std::span<const std::byte> bytes = set.file(1).bytes().value();
  const auto value = guarded(bytes, [&] { return bytes[50'000]; });
  ASSERT_FALSE(value.has_value());
  EXPECT_EQ(value.error().code(), Errc::kFault);
}

// --- Directories ---------------------------------------------------------------------------------

TEST_F(FileSetTest, ADirectoryGivesItsFilesByNameAndNothingElse) {
  write("b", 20);
  write("a", 10);
  write("c", 100'000);
  std::filesystem::create_directory(directory_.file("folder"));
  std::filesystem::create_symlink("a", directory_.file("link"));
  std::filesystem::create_symlink("nowhere", directory_.file("dangling"));
  std::filesystem::create_symlink("folder", directory_.file("link-to-folder"));
  ASSERT_EQ(mkfifo(directory_.file("fifo").c_str(), 0600), 0);
  for (const std::string& path : {directory_.path(), directory_.path() + "/"}) {
    const FileSet set = FileSet::open_directory(path).value();
    ASSERT_EQ(set.size(), 4U);
    EXPECT_EQ(set.file(0).path(), directory_.file("a"));
    EXPECT_EQ(set.file(0).text().value(), pattern(10));
    EXPECT_EQ(set.file(1).text().value(), pattern(20));
    EXPECT_EQ(set.file(2).text().value(), pattern(100'000));
    EXPECT_EQ(set.file(3).path(), directory_.file("link"));
    EXPECT_EQ(set.file(3).text().value(), pattern(10));
  }
}

TEST_F(FileSetTest, ADirectoryThatIsNoneIsAnError) {
  const auto missing = FileSet::open_directory(directory_.file("missing"));
  EXPECT_EQ(missing.error().code(), std::errc::no_such_file_or_directory);
  const auto file = FileSet::open_directory(write("file", 1));
  EXPECT_EQ(file.error().code(), std::errc::not_a_directory);
  const auto nul = FileSet::open_directory(std::string("nul\0byte", 8));
  EXPECT_EQ(nul.error().code(), std::errc::invalid_argument);
}

}  // namespace
}  // namespace quire
