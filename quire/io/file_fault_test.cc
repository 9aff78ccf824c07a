// SPDX-License-Identifier: Apache-2.0
//
// File, with every system call failing in its turn: interrupted, cut short, refused, broken.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include "quire/base/page_window.h"
#include "quire/io/file.h"
#include "quire/sys/call.h"
#include "quire/testing/nth_fault.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using sys::Call;
using testing::pattern_bytes;
using testing::TempDir;
using Bytes = std::vector<std::byte>;

// The kinds of File that the walks below go over.
struct Kind {
  std::string name;
  FileOptions options;
};

std::vector<Kind> kinds() {
  std::vector<Kind> all{
      {"buffered", {}},
      {"read ahead", {.read_ahead = ReadAhead::kWindow, .read_ahead_bytes = 256_KiB}},
      {"dropping by advice",
       {.cache = CacheUse::kDropBehind,
        .read_ahead = ReadAhead::kWindow,
        .read_ahead_bytes = 256_KiB,
        .write_behind_bytes = 128_KiB}},
      {"direct", {.cache = CacheUse::kBypass}},
      {"direct, durable", {.cache = CacheUse::kBypass, .write_through = WriteThrough::kEachWrite}}};
  for (Kind& kind : all) {
    kind.options.writable = true;
    kind.options.create = true;
  }
  return all;
}

// A little life of a file. Whatever a request says was done must be so; the first one that fails
// ends it, with its error.
class Life {
 public:
  explicit Life(File& file) : file_(file) {}

  Result<void> run(bool syncs) {
    for (const auto& [offset, length] : {std::pair<std::uint64_t, std::size_t>{0, 300'001},
                                         {100, 3},
                                         {511, 2},
                                         {8192, 4096},
                                         {310'000, 100},
                                         {65'536, 400'000}}) {
      QUIRE_TRY(write(offset, length));
    }
    QUIRE_TRY(read(0, 465'536));
    QUIRE_TRY(read(465'000, 100'000));
    QUIRE_TRY(read(777, 10));
    QUIRE_TRY(file_.punch({1'000, 5'000}));
    std::fill_n(model_.begin() + 1'000, 5'000, std::byte{0});
    QUIRE_TRY(file_.resize(400'003));
    model_.resize(400'003);
    QUIRE_TRY(file_.allocate({0, 500'000}));
    model_.resize(500'000);
    if (syncs) {
      QUIRE_TRY(file_.sync(Durability::kStarted));
      QUIRE_TRY(file_.sync(Durability::kData));
      QUIRE_TRY(file_.sync(Durability::kAll));
    }
    QUIRE_TRY(read(0, 600'000));
    return file_.close();
  }

 private:
  Result<void> write(std::uint64_t offset, std::size_t length) {
    const Bytes bytes = pattern_bytes(offset * 3, length);
    QUIRE_TRY(file_.write(offset, bytes));
    model_.resize(std::max<std::uint64_t>(model_.size(), offset + length));
    std::ranges::copy(bytes, model_.begin() + static_cast<std::ptrdiff_t>(offset));
    return {};
  }

  Result<void> read(std::uint64_t offset, std::size_t length) {
    Bytes bytes(length);
    const std::uint64_t got = QUIRE_TRY(file_.read(offset, bytes));
    const ByteRange there = intersect({offset, length}, {0, model_.size()});
    EXPECT_EQ(got, there.length_bytes) << "a partial result was called whole";
    EXPECT_TRUE(std::equal(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(got),
                           model_.begin() + static_cast<std::ptrdiff_t>(offset)));
    return {};
  }

  File& file_;
  Bytes model_;
};

// Syncs only where they are what the test is about: they are slow.
Result<void> live(const TempDir& directory, const FileOptions& options, Call call) {
  const std::string path = directory.file("file");
  ::unlink(path.c_str());
  const auto file = QUIRE_TRY(open_file(path, options));
  return Life(*file).run(call == Call::kSyncData || call == Call::kSyncAll ||
                         call == Call::kSyncRange ||
                         // Of the directory, which is the same whatever the file is.
                         (call == Call::kOpen && options.cache == CacheUse::kKeep));
}

// An error that such a call may really give.
int error_of(Call call) {
  return call == Call::kWrite || call == Call::kAllocate || call == Call::kPunch ? ENOSPC : EIO;
}

// What these calls find out is only used to do better; a file can do without.
bool may_be_swallowed(Call call) {
  return call == Call::kReadAhead || call == Call::kAdviseFile || call == Call::kStatus ||
         // Of /proc, about limits of memory: the content of the file is compared in any case.
         call == Call::kOpen || call == Call::kRead || call == Call::kClose || call == Call::kMap;
}

// Goal:   a call that is interrupted, or that moves less than it was asked to, is gone on with.
// Method: every call of the kind does so, from the n-th on.
TEST(FileFaultTest, InterruptedAndShortCallsMakeNoDifference) {
  const TempDir directory;
  for (const Kind& kind : kinds()) {
    for (const Call call : {Call::kRead, Call::kWrite, Call::kSyncData, Call::kSyncAll,
                            Call::kTruncate, Call::kAllocate, Call::kPunch, Call::kSyncRange,
                            Call::kReadAhead, Call::kAdviseFile, Call::kStatus, Call::kOpen}) {
      const sys::FaultPlan plan({.call = call, .nth = 1, .times = 3, .error = EINTR});
      const Result<void> lived = live(directory, kind.options, call);
      EXPECT_TRUE(lived.has_value()) << kind.name << ": " << lived.error().message();
    }
    for (const Call call : {Call::kRead, Call::kWrite}) {
      for (const std::size_t bytes : {std::size_t{1}, std::size_t{4096}, std::size_t{12'288}}) {
        if (kind.options.cache == CacheUse::kBypass && bytes < 4096) {
          continue;  // The kernel would refuse the cut call, where in truth it answers short.
        }
        const sys::FaultPlan plan(
            {.call = call, .nth = 2, .times = 1000, .transfer_bytes_max = bytes});
        const Result<void> lived = live(directory, kind.options, call);
        EXPECT_TRUE(lived.has_value()) << kind.name << ": " << lived.error().message();
      }
    }
  }
}

// Goal:   whichever call fails, the request that needed it says so, or the result is right without.
// Method: fail call 1, 2, 3 ... of each kind until a run meets no fault.
TEST(FileFaultTest, AFailureIsToldWhicheverCallFails) {
  const TempDir directory;
  for (const Kind& kind : kinds()) {
    for (const Call call :
         {Call::kRead, Call::kWrite, Call::kSyncData, Call::kSyncAll, Call::kTruncate,
          Call::kAllocate, Call::kPunch, Call::kSyncRange, Call::kReadAhead, Call::kAdviseFile,
          Call::kStatus, Call::kOpen, Call::kClose, Call::kMap}) {
      if (kind.options.write_through == WriteThrough::kEachWrite && call != Call::kWrite &&
          call != Call::kTruncate && call != Call::kSyncData) {
        continue;  // The rest is as without.
      }
      const std::string what = std::string(kind.name) + ": " + sys::name_of(call);
      testing::fail_each_nth(what, [&](testing::NthFault& fault) {
        const sys::FaultPlan plan({.call = call, .nth = fault.nth, .error = error_of(call)});
        const Result<void> lived = live(directory, kind.options, call);
        fault.was_hit = plan.hits() > 0;
        if (lived) {
          EXPECT_TRUE(!fault.was_hit || may_be_swallowed(call)) << "swallowed";
        } else {
          EXPECT_TRUE(fault.was_hit);
          EXPECT_EQ(lived.error().code().value(), error_of(call)) << lived.error().message();
        }
      });
    }
  }
}

// --- Errors that stick ---------------------------------------------------------------------------

class StickyTest : public ::testing::TestWithParam<CacheUse> {
 protected:
  [[nodiscard]] bool is_written() const { return file_->write(0, Bytes(100)).has_value(); }

  void expect_stuck(const Error& first) const {
    ASSERT_TRUE(file_->sticky_error().has_value());
    EXPECT_EQ(file_->sticky_error()->message(), first.message());
    const sys::FaultPlan plan({});
    for (const Result<void>& later :
         {file_->write(0, Bytes(1)), file_->sync(Durability::kStarted),
          file_->sync(Durability::kData), file_->sync(Durability::kAll), file_->resize(1),
          file_->punch({0, 1}), file_->allocate({0, 1})}) {
      ASSERT_FALSE(later.has_value());
      EXPECT_EQ(later.error().code(), Errc::kFailed);
      EXPECT_NE(later.error().message().find(first.message()), std::string::npos);
    }
    // Nothing is tried again: the kernel would say that all is well.
    EXPECT_EQ(plan.count(Call::kSyncData) + plan.count(Call::kSyncAll) + plan.count(Call::kWrite) +
                  plan.count(Call::kSyncRange),
              0U);
    Bytes bytes(10);
    EXPECT_TRUE(file_->read(0, bytes).has_value());  // What is there can still be saved.
    const Result<void> closed = file_->close();
    ASSERT_FALSE(closed.has_value());
    EXPECT_EQ(closed.error().message(), first.message());
  }

  const TempDir directory_;
  const std::unique_ptr<File> file_ =
      open_file(directory_.file("file"), {.writable = true, .create = true, .cache = GetParam()})
          .value();
};

INSTANTIATE_TEST_SUITE_P(Caches, StickyTest,
                         ::testing::Values(CacheUse::kKeep, CacheUse::kDropBehind,
                                           CacheUse::kBypass));

TEST_P(StickyTest, AFailedSyncSticks) {
  ASSERT_TRUE(is_written());
  Result<void> synced;
  {
    const sys::FaultPlan plan({.call = Call::kSyncData, .error = ENOSPC});
    synced = file_->sync(Durability::kData);
  }
  ASSERT_FALSE(synced.has_value());
  EXPECT_EQ(synced.error().code(), std::errc::no_space_on_device);
  expect_stuck(synced.error());
}

TEST_P(StickyTest, AWriteThatFailsWithEioSticks) {
  Result<void> written;
  {
    const sys::FaultPlan plan({.call = Call::kWrite, .error = EIO});
    written = file_->write(0, Bytes(100));
  }
  ASSERT_FALSE(written.has_value());
  expect_stuck(written.error());
}

TEST_P(StickyTest, AFullDiskOrARefusalDoesNotStick) {
  {
    const sys::FaultPlan plan({.call = Call::kWrite, .error = ENOSPC});
    EXPECT_EQ(file_->write(0, Bytes(100)).error().code(), std::errc::no_space_on_device);
  }
  {
    const sys::FaultPlan plan({.call = Call::kSyncData, .error = EINVAL});
    EXPECT_FALSE(file_->sync(Durability::kData).has_value());
  }
  EXPECT_FALSE(file_->sticky_error().has_value());
  EXPECT_TRUE(is_written());
  EXPECT_TRUE(file_->sync(Durability::kData).has_value());
  EXPECT_TRUE(file_->close().has_value());
}

// The kernel tells a write-back error once: whoever waited for the window is the only one to know.
TEST(FileFaultTest, AFailedWriteBackOfAWindowSticks) {
  const TempDir directory;
  const auto file = open_file(directory.file("file"),
                              {.writable = true, .create = true, .write_behind_bytes = 64_KiB})
                        .value();
  ASSERT_TRUE(file->write(0, Bytes(64_KiB)).has_value());
  Result<void> written;
  {
    const sys::FaultPlan plan({.call = Call::kSyncRange, .nth = 2, .error = EIO});
    written = file->write(64_KiB, Bytes(64_KiB));
  }
  ASSERT_FALSE(written.has_value());
  EXPECT_EQ(written.error().operation(), "write_back");
  EXPECT_EQ(file->sync(Durability::kData).error().code(), Errc::kFailed);
  EXPECT_EQ(file->close().error().message(), written.error().message());
}

}  // namespace
}  // namespace quire
