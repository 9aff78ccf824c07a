// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "quire/base/prng.h"
#include "quire/map/writable_mapping.h"
#include "quire/testing/disk.h"
#include "quire/testing/seed.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using testing::pattern;
using testing::read_file;
using testing::TempDir;

std::span<const std::byte> as_bytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

WritableMapping open_log(const std::string& path, std::uint64_t reserve_bytes = 1_GiB,
                         Space space = Space::kSecured) {
  return map(path, {.access = Access::kReadWrite,
                    .create = true,
                    .reserve_bytes = reserve_bytes,
                    .space = space})
      .value();
}

std::uint64_t allocated_bytes(const std::string& path) {
  struct stat status{};
  EXPECT_EQ(stat(path.c_str(), &status), 0);
  return static_cast<std::uint64_t>(status.st_blocks) * 512;
}

// A small tmpfs of its own, for a disk that gets full. Root only.
class SmallDisk {
 public:
  explicit SmallDisk(std::uint64_t size_bytes) {
    std::filesystem::create_directory(dir_.file("disk"));
    problem_ = mount_.mount("tmpfs", "quire-test", dir_.file("disk"),
                            "size=" + std::to_string(size_bytes));
  }
  // Empty when it is there.
  [[nodiscard]] const std::string& problem() const { return problem_; }
  [[nodiscard]] std::string file(const std::string& name) const {
    return dir_.file("disk/" + name);
  }

 private:
  TempDir dir_;
  testing::Mount mount_;
  std::string problem_;
};

TEST(GrowthTest, CreatesTheFileAndGrowsInPlace) {
  const TempDir dir;
  WritableMapping log = open_log(dir.file("log"));
  EXPECT_TRUE(log.is_empty());
  ASSERT_TRUE(log.resize(100));
  const std::byte* first = log.bytes().data();
  log.bytes()[99] = std::byte{'x'};
  for (const std::uint64_t size : {4096U, 4097U, 1U << 20, 100U << 20}) {
    ASSERT_TRUE(log.resize(size));
    EXPECT_EQ(log.bytes().data(), first) << "pointers stay valid";
    EXPECT_EQ(log.size_bytes(), size);
    EXPECT_EQ(std::filesystem::file_size(dir.file("log")), size);
    log.bytes()[size - 1] = std::byte{'e'};
    log.check_invariants();
  }
  EXPECT_EQ(log.bytes()[99], std::byte{'x'});
}

// Goal:   all kinds that can be resized behave like a byte vector, at every size.
// Method: random resizes, stores and appends against std::string; grown bytes must read as zeros.
TEST(GrowthTest, EveryResizableKindMatchesAVector) {
  const TempDir dir;
  std::vector<WritableMapping> kinds;
  kinds.push_back(open_log(dir.file("secured"), 64_MiB));
  kinds.push_back(open_log(dir.file("sparse"), 64_MiB, Space::kSparse));
  kinds.push_back(map_anonymous({.sharing = Sharing::kShared, .reserve_bytes = 64_MiB}).value());
  kinds.push_back(map_anonymous({.reserve_bytes = 64_MiB}).value());
  for (std::size_t kind = 0; kind < kinds.size(); ++kind) {
    WritableMapping& mapping = kinds[kind];
    Prng random(testing::test_seed() + kind);
    std::string model;
    for (int step = 0; step < 400; ++step) {
      const std::uint64_t choice = random.below(4);
      if (choice == 0) {
        const auto size = static_cast<std::size_t>(random.below(2) == 0
                                                       ? random.below(20) * 4096 + random.below(3)
                                                       : random.below(1 << 18));
        ASSERT_TRUE(mapping.resize(size));
        model.resize(size, '\0');
      } else if (choice == 1) {
        const std::string record = pattern(static_cast<std::size_t>(random.below(9000)));
        ASSERT_TRUE(mapping.append(as_bytes(record)));
        model += record;
      } else if (!model.empty()) {
        const auto at = static_cast<std::size_t>(random.below(model.size()));
        mapping.bytes()[at] = static_cast<std::byte>(step);
        model[at] = static_cast<char>(step);
      }
      mapping.check_invariants();
      ASSERT_EQ(mapping.size_bytes(), model.size());
      ASSERT_TRUE(mapping.text() == model)
          << "kind " << kind << ", step " << step << ", seed " << testing::test_seed();
    }
    ASSERT_TRUE(mapping.close());
    if (kind == 0) {
      EXPECT_TRUE(read_file(dir.file("secured")) == model);
    }
  }
}

TEST(GrowthTest, ShrinkingAndGrowingAgainShowsZeros) {
  const TempDir dir;
  std::vector<WritableMapping> kinds;
  kinds.push_back(open_log(dir.file("log")));
  kinds.push_back(map_anonymous({.sharing = Sharing::kShared}).value());
  kinds.push_back(map_anonymous({}).value());
  for (WritableMapping& mapping : kinds) {
    ASSERT_TRUE(mapping.resize(3 * 4096));
    std::memset(mapping.bytes().data(), 'x', mapping.size_bytes());
    ASSERT_TRUE(mapping.resize(100));
    ASSERT_TRUE(mapping.resize(3 * 4096));
    EXPECT_EQ(mapping.text().substr(0, 100), std::string(100, 'x'));
    EXPECT_EQ(mapping.text().substr(100), std::string(3 * 4096 - 100, '\0'));
  }
}

TEST(GrowthTest, WithoutReservationItGrowsAsFarAsTheAddressesAreFree) {
  const TempDir dir;
  const std::string path = dir.write("f", "abc");
  WritableMapping map =
      quire::map(path, {.access = Access::kReadWrite, .reserve_bytes = 0}).value();
  ASSERT_TRUE(map.resize(4096));  // Inside the page that is mapped anyway.
  // 100 TiB beyond it something is mapped for sure.
  const Result<void> too_far = map.resize(100_TiB);
  ASSERT_FALSE(too_far);
  EXPECT_EQ(map.size_bytes(), 4096U);
  EXPECT_EQ(std::filesystem::file_size(path), 4096U);
}

TEST(GrowthTest, BeyondTheReservationTheErrorNamesReserveBytes) {
  const TempDir dir;
  WritableMapping log = open_log(dir.file("log"), 1_MiB, Space::kSparse);
  ASSERT_TRUE(log.resize(4096));
  // Occupies what follows, so that growing past the reservation cannot succeed by luck.
  void* after = const_cast<std::byte*>(log.bytes().data()) + 1_MiB;
  const sys::Outcome<sys::Address> blocker =
      sys::map_pages({.length_bytes = 4096,
                      .visibility = sys::Visibility::kPrivate,
                      .fixed_address = static_cast<std::byte*>(after)});
  ASSERT_TRUE(blocker);
  const Result<void> grown = log.resize(2_MiB);
  ASSERT_FALSE(grown);
  EXPECT_EQ(grown.error().code(), Errc::kLimit);
  EXPECT_NE(grown.error().message().find("reserve_bytes"), std::string::npos);
  EXPECT_EQ(log.size_bytes(), 4096U);
  EXPECT_EQ(std::filesystem::file_size(dir.file("log")), 4096U);
  ASSERT_TRUE(sys::unmap_pages(*blocker, 4096));
}

TEST(GrowthTest, AppendKeepsTheFileExactAndCloseTrimsTheSpaceAhead) {
  const TempDir dir;
  const std::string path = dir.file("log");
  WritableMapping log = open_log(path);
  std::string model;
  for (int i = 0; i < 1000; ++i) {
    const std::string record = "record " + std::to_string(i) + "\n";
    ASSERT_TRUE(log.append(as_bytes(record)));
    model += record;
    ASSERT_EQ(std::filesystem::file_size(path), model.size());
  }
  EXPECT_EQ(log.text(), model);
  EXPECT_EQ(read_file(path), model);
  EXPECT_GT(allocated_bytes(path), 1_MiB) << "space is reserved ahead";
  ASSERT_TRUE(log.close());
  EXPECT_LT(allocated_bytes(path), 64_KiB);
  EXPECT_EQ(read_file(path), model);
}

TEST(GrowthTest, AppendOfOwnBytesIsFine) {
  const TempDir dir;
  WritableMapping log = open_log(dir.file("log"));
  ASSERT_TRUE(log.append(as_bytes("abc")));
  for (int i = 0; i < 12; ++i) {
    const std::span<const std::byte> own = std::as_const(log).bytes();
    ASSERT_TRUE(log.append(own));
  }
  EXPECT_EQ(log.size_bytes(), 3U << 12);
  EXPECT_EQ(log.text().substr(0, 9), "abcabcabc");
}

TEST(GrowthTest, FullDiskIsAnErrorAndNothingChanges) {
  const SmallDisk disk(1_MiB);
  if (!disk.problem().empty()) {
    GTEST_SKIP() << disk.problem();
  }
  const std::string path = disk.file("log");
  WritableMapping log = open_log(path);
  const std::string record = pattern(300'000);
  ASSERT_TRUE(log.append(as_bytes(record)));
  const Result<void> resized = log.resize(2_MiB);
  ASSERT_FALSE(resized);
  EXPECT_EQ(resized.error().code(), std::errc::no_space_on_device);
  EXPECT_NE(resized.error().message().find("free some space"), std::string::npos);
  EXPECT_EQ(log.size_bytes(), record.size());
  EXPECT_EQ(std::filesystem::file_size(path), record.size());

  Result<void> appended;
  std::uint64_t good_bytes = log.size_bytes();
  for (int i = 0; i < 10 && appended; ++i) {
    good_bytes = log.size_bytes();
    appended = log.append(as_bytes(record));
  }
  ASSERT_FALSE(appended);
  EXPECT_EQ(appended.error().code(), std::errc::no_space_on_device);
  EXPECT_EQ(log.size_bytes(), good_bytes);
  EXPECT_EQ(std::filesystem::file_size(path), good_bytes);
  EXPECT_EQ(log.text().substr(good_bytes - 300'000), record);
  log.check_invariants();
}

TEST(GrowthTest, FullDiskAtCreationLeavesNoFile) {
  const SmallDisk disk(1_MiB);
  if (!disk.problem().empty()) {
    GTEST_SKIP() << disk.problem();
  }
  const Result<WritableMapping> map = quire::map(
      disk.file("new"), {.access = Access::kReadWrite, .create = true, .minimum_bytes = 2_MiB});
  ASSERT_FALSE(map);
  EXPECT_EQ(map.error().code(), std::errc::no_space_on_device);
  EXPECT_FALSE(std::filesystem::exists(disk.file("new")));
}

TEST(GrowthTest, MinimumGrowsAShorterFileAndLeavesALongerOne) {
  const TempDir dir;
  const std::string path = dir.write("f", "abc");
  EXPECT_EQ(map(path, {.access = Access::kReadWrite, .minimum_bytes = 5000})->size_bytes(), 5000U);
  EXPECT_EQ(map(path, {.access = Access::kReadWrite, .minimum_bytes = 7})->size_bytes(), 5000U);
  EXPECT_EQ(read_file(path).substr(0, 4), std::string("abc\0", 4));
}

TEST(GrowthTest, ExclusiveRefusesAnExistingFile) {
  const TempDir dir;
  const std::string path = dir.write("f", "abc");
  const Result<WritableMapping> map =
      quire::map(path, {.access = Access::kReadWrite, .create = true, .exclusive = true});
  ASSERT_FALSE(map);
  EXPECT_EQ(map.error().code(), std::errc::file_exists);
  EXPECT_EQ(read_file(path), "abc");
}

TEST(GrowthTest, SecuredGrowthHasItsBlocksAndSparseGrowthHasNot) {
  const TempDir dir;
  WritableMapping secured = open_log(dir.file("secured"));
  WritableMapping sparse = open_log(dir.file("sparse"), 1_GiB, Space::kSparse);
  ASSERT_TRUE(secured.resize(8_MiB));
  ASSERT_TRUE(sparse.resize(8_MiB));
  EXPECT_GE(allocated_bytes(dir.file("secured")), 8_MiB);
  EXPECT_LT(allocated_bytes(dir.file("sparse")), 1_MiB);
  ASSERT_TRUE(sparse.secure({1_MiB, 2_MiB}));
  EXPECT_GE(allocated_bytes(dir.file("sparse")), 2_MiB);
  EXPECT_EQ(sparse.size_bytes(), 8_MiB);
}

TEST(GrowthTest, PunchedRangesReadAsZerosInEveryKind) {
  const TempDir dir;
  std::vector<WritableMapping> kinds;
  kinds.push_back(open_log(dir.file("log")));
  kinds.push_back(map_anonymous({.sharing = Sharing::kShared}).value());
  kinds.push_back(map_anonymous({}).value());
  for (WritableMapping& mapping : kinds) {
    for (const ByteRange hole : {ByteRange{100, 50}, ByteRange{4000, 9000}, ByteRange{4096, 4096},
                                 ByteRange{16000, kToEnd}, ByteRange{0, 0}}) {
      std::string model = pattern(20'000);
      ASSERT_TRUE(mapping.resize(0));
      ASSERT_TRUE(mapping.append(as_bytes(model)));
      ASSERT_TRUE(mapping.punch(hole));
      for (std::uint64_t i = hole.offset_bytes;
           i < model.size() && i - hole.offset_bytes < hole.length_bytes; ++i) {
        model[i] = '\0';
      }
      EXPECT_TRUE(mapping.text() == model) << mapping.path() << " " << describe(hole);
    }
  }
}

TEST(GrowthTest, ViewsThatCannotBeResizedSayWhy) {
  const TempDir dir;
  const std::string path = dir.write("f", pattern(8192));
  WritableMapping part = map(path, {.access = Access::kReadWrite, .length_bytes = 4096}).value();
  EXPECT_EQ(part.resize(100).error().code(), Errc::kUnsupported);
  WritableMapping copy =
      map(path, {.access = Access::kReadWrite, .sharing = Sharing::kPrivate}).value();
  EXPECT_EQ(copy.resize(100).error().code(), Errc::kUnsupported);
  EXPECT_EQ(copy.append(as_bytes("x")).error().code(), Errc::kUnsupported);
  EXPECT_EQ(copy.punch(kWholeFile).error().code(), Errc::kUnsupported);
  // From an odd offset to the end it works.
  WritableMapping tail = map(path, {.access = Access::kReadWrite, .offset_bytes = 5001}).value();
  ASSERT_TRUE(tail.append(as_bytes("tail")));
  EXPECT_EQ(read_file(path).substr(8192), "tail");
  EXPECT_EQ(tail.text().substr(8192 - 5001), "tail");
  ASSERT_TRUE(tail.resize(1));
  EXPECT_EQ(std::filesystem::file_size(path), 5002U);
  EXPECT_FALSE(tail.resize(kToEnd));
}

TEST(GrowthTest, OptionsForGrowthNeedAWritableSharedMapping) {
  const TempDir dir;
  const Result<Mapping> map = quire::map(dir.file("f"), {.create = true});
  ASSERT_FALSE(map);
  EXPECT_EQ(map.error().code(), Errc::kReadOnly);
  EXPECT_FALSE(std::filesystem::exists(dir.file("f")));
}

}  // namespace
}  // namespace quire
