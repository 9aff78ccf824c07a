// SPDX-License-Identifier: Apache-2.0
#include "quire/map/eviction.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <numeric>

#include "quire/map/internal/file_holders.h"
#include "quire/map/residency.h"
#include "quire/map/warming.h"
#include "quire/sys/call.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"
#include "quire/testing/page_cache.h"
#include "quire/testing/process.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using testing::kPageBytes;
using testing::TempDir;

constexpr std::size_t kPages = 16;
constexpr std::size_t kFileBytes = kPages * kPageBytes;

// A shared mapping of a whole file, every page of it touched.
class TouchedMapping {
 public:
  explicit TouchedMapping(int fd)
      : address_(mmap(nullptr, kFileBytes, PROT_READ, MAP_SHARED, fd, 0)) {
    QUIRE_CHECK(address_ != MAP_FAILED);
    touch();
  }
  ~TouchedMapping() { munmap(address_, kFileBytes); }
  TouchedMapping(const TouchedMapping&) = delete;
  TouchedMapping& operator=(const TouchedMapping&) = delete;

  void touch() const {
    for (std::size_t i = 0; i < kPages; ++i) {
      static_cast<void>(*(static_cast<const volatile char*>(address_) + i * kPageBytes));
    }
  }
  [[nodiscard]] std::span<std::byte> bytes() const {
    return {static_cast<std::byte*>(address_), kFileBytes};
  }

 private:
  void* address_;
};

// A file whose pages are all resident, each a folio of its own.
class EvictionTest : public ::testing::Test {
 protected:
  EvictionTest() {
    testing::make_cold(path_);
    std::vector<std::uint64_t> all(kPages);
    std::iota(all.begin(), all.end(), 0);
    testing::read_pages(path_, all);
  }

  [[nodiscard]] int fd() const { return file_.get(); }

  // Evicts, and checks what holds for every report.
  EvictionReport evict_all(const EvictionOptions& options = {}, ByteRange range = kWholeFile) {
    EvictionReport report = evict(fd(), range, options).value();
    std::uint64_t explained = 0;
    for (const Kept& kept : report.remaining) {
      explained += kept.bytes;
      EXPECT_NE(describe(kept), "");
    }
    EXPECT_EQ(explained, report.known ? report.bytes_after : 0);
    return report;
  }

  const TempDir directory_;
  const std::string path_ = directory_.write("file", testing::pattern(kFileBytes));
  const sys::Descriptor file_ = sys::open_file(path_.c_str(), {.write = true}).value();
};

TEST_F(EvictionTest, CleanPagesGoWithoutASync) {
  const sys::FaultPlan plan({});
  const EvictionReport report = evict_all();
  EXPECT_EQ(report.bytes_before, kFileBytes);
  EXPECT_EQ(report.bytes_after, 0U);
  EXPECT_TRUE(report.remaining.empty());
  EXPECT_EQ(plan.count(sys::Call::kSyncData), 0U);
  EXPECT_EQ(residency(fd()).value().resident_bytes, 0U);
}

TEST_F(EvictionTest, DirtyPagesAreWrittenFirst) {
  const std::array<std::byte, 3> text{std::byte{'n'}, std::byte{'e'}, std::byte{'w'}};
  ASSERT_TRUE(sys::write_at(fd(), text, 5000).has_value());
  const sys::FaultPlan plan({});
  EXPECT_EQ(evict_all().bytes_after, 0U);
  EXPECT_EQ(plan.count(sys::Call::kSyncData), 1U);
  EXPECT_EQ(testing::read_file(path_).substr(5000, 3), "new");
}

TEST_F(EvictionTest, AFailedWriteBackIsAnErrorAndKeepsThePages) {
  const std::byte byte{1};
  ASSERT_TRUE(sys::write_at(fd(), {&byte, 1}, 0).has_value());
  const sys::FaultPlan plan({.call = sys::Call::kSyncData, .error = EIO});
  EXPECT_EQ(evict(fd()).error().code(), std::errc::io_error);
  EXPECT_EQ(residency(fd()).value().resident_bytes, kFileBytes);
}

TEST_F(EvictionTest, OnlyWholePagesInsideTheRangeGo) {
  const EvictionReport report = evict_all({}, {100, 3 * kPageBytes});
  EXPECT_EQ(report.range, (ByteRange{kPageBytes, 2 * kPageBytes}));
  EXPECT_EQ(report.bytes_before, 2 * kPageBytes);
  EXPECT_EQ(report.bytes_after, 0U);
  EXPECT_EQ(residency(fd()).value().resident_bytes, kFileBytes - 2 * kPageBytes);
  EXPECT_EQ(evict_all({}, {10, 20}).range.length_bytes, 0U);
}

TEST_F(EvictionTest, APartialLastPageCountsAsWhole) {
  ASSERT_TRUE(sys::truncate_file(fd(), kPageBytes + 10).has_value());
  const EvictionReport report = evict_all();
  EXPECT_EQ(report.range, (ByteRange{0, kPageBytes + 10}));
  EXPECT_EQ(report.bytes_after, 0U);
}

// Goal:   one mapping that the caller forgot is enough to keep the pages; it is named.
TEST_F(EvictionTest, MappedTwiceNamesTheResidueAndThisProcess) {
  const TouchedMapping first(fd());
  const TouchedMapping second(fd());
  const std::array own{first.bytes()};
  const EvictionReport kept = evict_all({.own_mappings = own});
  EXPECT_EQ(kept.bytes_after, kFileBytes);
  ASSERT_EQ(kept.remaining.size(), 1U);
  EXPECT_EQ(kept.remaining[0].reason, KeptReason::kMapped);
  ASSERT_EQ(kept.remaining[0].holders.size(), 1U);
  EXPECT_EQ(kept.remaining[0].holders[0].pid, getpid());
  EXPECT_NE(kept.remaining[0].holders[0].name, "");

  first.touch();
  const std::array both{first.bytes(), second.bytes()};
  EXPECT_EQ(evict_all({.own_mappings = both}).bytes_after, 0U);
  EXPECT_EQ(first.bytes()[kPageBytes], testing::pattern_at(kPageBytes));
}

TEST_F(EvictionTest, AnotherProcessThatMapsIsNamed) {
  const testing::Signal ready;
  const testing::Signal go_on;
  testing::Child child([&] {
    const TouchedMapping mapping(fd());
    ready.raise();
    go_on.wait();
    return 0;
  });
  ready.wait();
  const EvictionReport report = evict_all();
  EXPECT_EQ(report.bytes_after, kFileBytes);
  ASSERT_EQ(report.remaining.size(), 1U);
  ASSERT_EQ(report.remaining[0].holders.size(), 1U);
  EXPECT_EQ(report.remaining[0].holders[0].pid, child.pid());
  EXPECT_NE(describe(report.remaining[0]).find(std::to_string(child.pid())), std::string::npos);
  go_on.raise();
  EXPECT_EQ(child.join().exit_code, 0);
  EXPECT_EQ(evict_all().bytes_after, 0U);
}

TEST_F(EvictionTest, LockedPagesAreReportedAsLocked) {
  const TouchedMapping mapping(fd());
  // Not mlock(): the sanitizers make that do nothing.
  if (mlock2(mapping.bytes().data(), 4 * kPageBytes, 0) != 0) {
    GTEST_SKIP() << "mlock2: " << errno_name(errno);
  }
  // madvise refuses a range that touches locked pages, so the caller's drop does not help here.
  const std::array unlocked{mapping.bytes().subspan(4 * kPageBytes)};
  const EvictionReport report = evict_all({.own_mappings = unlocked});
  EXPECT_EQ(report.bytes_after, 4 * kPageBytes);
  ASSERT_EQ(report.remaining.size(), 1U);
  EXPECT_EQ(report.remaining[0].reason, KeptReason::kLocked);
  EXPECT_EQ(report.remaining[0].bytes, 4 * kPageBytes);
  EXPECT_EQ(report.remaining[0].holders.at(0).pid, getpid());
}

TEST_F(EvictionTest, PagesOfAMemoryFileAreTheOnlyCopy) {
  const sys::Descriptor file(memfd_create("eviction", MFD_CLOEXEC));
  const std::vector<std::byte> bytes(3 * kPageBytes, std::byte{1});
  ASSERT_TRUE(sys::write_at(file.get(), bytes, 0).has_value());
  const EvictionReport report = evict(file.get()).value();
  EXPECT_EQ(report.bytes_after, 3 * kPageBytes);
  ASSERT_EQ(report.remaining.size(), 1U);
  EXPECT_EQ(report.remaining[0].reason, KeptReason::kNotEvictable);
}

// Goal:   half of a large folio cannot go, and the report says so instead of calling it unknown.
TEST_F(EvictionTest, ALargeFolioAcrossTheEdgeIsNamed) {
  const std::string path = directory_.write("large", testing::pattern(4_MiB));
  testing::make_cold(path);
  const sys::Descriptor file = sys::open_file(path.c_str(), {}).value();
  ASSERT_TRUE(warm(file.get()).has_value());  // With huge-page advice: folios up to 2 MiB.
  const EvictionReport report = evict(file.get(), {1_MiB, 2_MiB}).value();
  if (report.bytes_after == 0) {
    GTEST_SKIP() << "large folios: this file system or kernel made none";
  }
  ASSERT_EQ(report.remaining.size(), 1U);
  EXPECT_EQ(report.remaining[0].reason, KeptReason::kLargeFolio);
  EXPECT_TRUE(report.remaining[0].holders.empty());
  EXPECT_EQ(evict(file.get()).value().bytes_after, 0U);
}

TEST_F(EvictionTest, AStrangerEvictsAndSaysThatHeCannotTell) {
  if (geteuid() != 0) {
    GTEST_SKIP() << "changing the user: not root";
  }
  const sys::Descriptor readable = sys::open_file(path_.c_str(), {}).value();
  const int exit_code = testing::run_as_nobody([&] {
    const EvictionReport report = evict(readable.get()).value();
    return !report.known && !report.why_unknown.empty() && report.remaining.empty() ? 0 : 1;
  });
  EXPECT_EQ(exit_code, 0);
  EXPECT_EQ(residency(fd()).value().resident_bytes, 0U);
}

// Goal:   a holder whose maps the caller may not read is "unknown", not "in use".
TEST_F(EvictionTest, AHiddenHolderIsUnknown) {
  if (geteuid() != 0) {
    GTEST_SKIP() << "changing the user: not root";
  }
  ASSERT_EQ(chown(path_.c_str(), testing::kNobody, testing::kNobody), 0);
  const TouchedMapping mapping(fd());  // Of root, into whom nobody may not look.
  const int exit_code = testing::run_as_nobody([&] {
    // The child inherited the mapping; it must not be the explanation.
    munmap(mapping.bytes().data(), kFileBytes);
    const EvictionReport report = evict(fd()).value();
    const bool is_honest = report.processes_hidden > 0 && report.remaining.size() == 1 &&
                           report.remaining[0].reason == KeptReason::kUnknown;
    return report.known && report.bytes_after == kFileBytes && is_honest ? 0 : 1;
  });
  EXPECT_EQ(exit_code, 0);
}

TEST_F(EvictionTest, EmptyFilesAndWrongKinds) {
  ASSERT_TRUE(sys::truncate_file(fd(), 0).has_value());
  EXPECT_EQ(evict_all().bytes_before, 0U);
  const sys::Descriptor folder = sys::open_file(directory_.path().c_str(), {}).value();
  EXPECT_EQ(evict(folder.get()).error().code(), Errc::kWrongKind);
  EXPECT_EQ(evict(fd(), {1, 0}).error().code(), Errc::kOutOfRange);
}

TEST(FileHoldersTest, AMappingIsRecognisedByDeviceOrElseByPath) {
  const sys::FileStatus status{.device = 7, .inode = 12};
  sys::ProcMapping mapping;
  mapping.device = 7;
  mapping.inode = 12;
  mapping.path = "/other/name";
  EXPECT_TRUE(internal::shows_file(mapping, status, "/a"));
  mapping.device = 8;  // btrfs and overlayfs show another one.
  EXPECT_FALSE(internal::shows_file(mapping, status, "/a"));
  mapping.path = "/a";
  EXPECT_TRUE(internal::shows_file(mapping, status, "/a"));
  mapping.inode = 13;
  EXPECT_FALSE(internal::shows_file(mapping, status, "/a"));
}

TEST(KeptTest, DescribesTheHoldersAndStopsAtAFew) {
  const Kept few{
      .reason = KeptReason::kMapped, .bytes = 4096, .holders = {{17, "reader"}, {18, ""}}};
  EXPECT_EQ(describe(few), "4.0 KiB mapped by process 17 (reader), 18");
  Kept many{.reason = KeptReason::kLocked, .bytes = 4096};
  for (int pid = 1; pid <= 20; ++pid) {
    many.holders.push_back({pid, "x"});
  }
  EXPECT_NE(describe(many).find("and 12 more"), std::string::npos);
}

}  // namespace
}  // namespace quire
