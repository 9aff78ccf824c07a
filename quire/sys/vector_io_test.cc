// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/vector_io.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cerrno>
#include <string>
#include <vector>

#include "quire/base/prng.h"
#include "quire/sys/call.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"
#include "quire/testing/page_cache.h"
#include "quire/testing/seed.h"
#include "quire/testing/temp_dir.h"

namespace quire::sys {
namespace {

using testing::pattern;
using testing::read_file;

constexpr std::size_t kFileBytes = 10'000;

struct Subject {
  testing::TempDir directory;
  std::string path = directory.write("data", pattern(kFileBytes));
  Descriptor file = open_file(path.c_str(), {.write = true}).value();
};

// One text cut into pieces.
class Pieces {
 public:
  Pieces(std::string text, const std::vector<std::size_t>& lengths) : text_(std::move(text)) {
    std::size_t offset = 0;
    for (const std::size_t length : lengths) {
      into_.push_back(std::as_writable_bytes(std::span(text_)).subspan(offset, length));
      from_.push_back(std::as_bytes(std::span(text_)).subspan(offset, length));
      offset += length;
    }
    EXPECT_EQ(offset, text_.size());
  }

  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] ReadPieces into() const { return into_; }
  [[nodiscard]] WritePieces from() const { return from_; }

 private:
  std::string text_;
  std::vector<std::span<std::byte>> into_;
  std::vector<std::span<const std::byte>> from_;
};

Pieces empty_pieces(const std::vector<std::size_t>& lengths) {
  std::size_t sum = 0;
  for (const std::size_t length : lengths) {
    sum += length;
  }
  return {std::string(sum, '?'), lengths};
}

TEST(VectorIoTest, ReadsIntoPiecesInOrderUpToTheEnd) {
  const Subject subject;
  const Pieces pieces = empty_pieces({10, 0, 1, 500});
  EXPECT_EQ(read_vector_at(subject.file.get(), pieces.into(), 123), 511U);
  EXPECT_EQ(pieces.text(), pattern(634).substr(123));
  const Pieces rest = empty_pieces({0, 60, 60});
  EXPECT_EQ(read_vector_at(subject.file.get(), rest.into(), kFileBytes - 70), 70U);
  EXPECT_EQ(rest.text(), pattern(kFileBytes).substr(kFileBytes - 70) + std::string(50, '?'));
  EXPECT_EQ(read_vector_at(subject.file.get(), rest.into(), kFileBytes), 0U);
}

TEST(VectorIoTest, WritesFromPiecesInOrder) {
  const Subject subject;
  const Pieces pieces("onetwothree", {3, 0, 3, 5});
  ASSERT_TRUE(write_vector_at(subject.file.get(), pieces.from(), 1000).has_value());
  EXPECT_EQ(read_file(subject.path), pattern(kFileBytes).replace(1000, 11, "onetwothree"));
}

TEST(VectorIoTest, NoPiecesAreNoSystemCall) {
  const FaultPlan plan({});
  const Pieces nothing = empty_pieces({0, 0, 0});
  EXPECT_EQ(read_vector_at(-1, {}, 0), 0U);
  EXPECT_EQ(read_vector_at(-1, nothing.into(), 0), 0U);
  EXPECT_EQ(read_vector_some_at(-1, nothing.into(), 0), 0U);
  EXPECT_TRUE(write_vector_at(-1, {}, 0).has_value());
  EXPECT_TRUE(write_vector_at(-1, nothing.from(), 0).has_value());
  EXPECT_EQ(plan.count(Call::kRead) + plan.count(Call::kWrite), 0U);
}

// Goal:   every byte has its place, however the calls cut the transfer.
// Method: random pieces, empty ones among them; each call moves at most a few bytes.
TEST(VectorIoTest, ShortTransfersAreCompletedWhereverTheyStop) {
  Prng prng(testing::test_seed());
  const Subject subject;
  for (int round = 0; round < 60; ++round) {
    std::vector<std::size_t> lengths(1 + prng.below(12));
    std::size_t sum = 0;
    for (std::size_t& length : lengths) {
      length = prng.below(4) == 0 ? 0 : prng.below(80);
      sum += length;
    }
    const std::size_t most = 1 + prng.below(150);
    const std::size_t offset = prng.below(kFileBytes - sum);
    const FaultPlan plan({.call = round % 2 == 0 ? Call::kRead : Call::kWrite,
                          .times = UINT64_MAX,
                          .transfer_bytes_max = most});
    if (round % 2 == 0) {
      const Pieces pieces = empty_pieces(lengths);
      EXPECT_EQ(read_vector_at(subject.file.get(), pieces.into(), offset), sum);
      EXPECT_EQ(pieces.text(), read_file(subject.path).substr(offset, sum));
    } else {
      std::string text(sum, ' ');
      for (char& letter : text) {
        letter = static_cast<char>(prng());
      }
      const std::string expected = read_file(subject.path).replace(offset, sum, text);
      const Pieces pieces(text, lengths);
      ASSERT_TRUE(write_vector_at(subject.file.get(), pieces.from(), offset).has_value());
      EXPECT_EQ(read_file(subject.path), expected);
    }
    EXPECT_EQ(plan.hits(), (sum + most - 1) / most);
  }
}

TEST(VectorIoTest, MorePiecesThanOneCallTakesAreSeveralCalls) {
  const Subject subject;
  const std::size_t count = 2 * kPiecesPerCallMax + 1;
  const Pieces pieces = empty_pieces(std::vector<std::size_t>(count, 7));
  const FaultPlan plan({});
  EXPECT_EQ(read_vector_at(subject.file.get(), pieces.into(), 3), 7 * count);
  EXPECT_EQ(plan.count(Call::kRead), 3U);
  EXPECT_EQ(pieces.text(), pattern(3 + 7 * count).substr(3));
  EXPECT_EQ(read_vector_some_at(subject.file.get(), pieces.into(), 3), 7 * kPiecesPerCallMax);
}

TEST(VectorIoTest, ErrorsComeBackAndInterruptionsDoNot) {
  const Subject subject;
  const Pieces pieces = empty_pieces({10, 10});
  for (const Call call : {Call::kRead, Call::kWrite}) {
    for (const int error : {EIO, EINTR, ENOSPC}) {
      const FaultPlan plan({.call = call, .times = 2, .error = error});
      const Outcome<void> outcome =
          call == Call::kRead
              ? read_vector_at(subject.file.get(), pieces.into(), 0).map([](auto) {})
              : write_vector_at(subject.file.get(), pieces.from(), 0);
      EXPECT_EQ(outcome.has_value(), error == EINTR);
      EXPECT_EQ(plan.count(call), error == EINTR ? 3U : 1U);
    }
  }
}

// Goal:   a read that must not wait gives what is there, or says that nothing is.
// Method: an empty page cache. Which of the two it is, is the device's speed: the kernel starts to
//         read, and looks again before it refuses.
TEST(VectorIoTest, NoWaitReadsWhatIsThereOrRefuses) {
  const Subject subject;
  testing::make_cold(subject.path);
  const Pieces pieces = empty_pieces({100, 900});
  const Outcome<std::uint64_t> read =
      read_vector_at(subject.file.get(), pieces.into(), 0, {.no_wait = true});
  if (!read && read.error().value == EOPNOTSUPP) {
    GTEST_SKIP() << "RWF_NOWAIT: EOPNOTSUPP on this file system";
  }
  if (read) {
    EXPECT_EQ(pieces.text().substr(0, *read), pattern(*read));
  } else {
    EXPECT_EQ(read.error(), Errno{EAGAIN});
  }
  ASSERT_EQ(read_vector_at(subject.file.get(), pieces.into(), 0), 1000U);
  EXPECT_EQ(read_vector_at(subject.file.get(), pieces.into(), 0, {.no_wait = true}), 1000U);
  EXPECT_EQ(pieces.text(), pattern(1000));
}

// Goal:   what a short answer hides is kept apart: bytes that came, then the error.
TEST(VectorIoTest, NoWaitThatStopsInTheMiddleReturnsWhatCame) {
  const Subject subject;
  const Pieces pieces = empty_pieces({100, 100});
  {
    const FaultPlan plan({.call = Call::kRead, .nth = 1, .error = EAGAIN});
    EXPECT_EQ(read_vector_at(subject.file.get(), pieces.into(), 0).error(), Errno{EAGAIN});
  }
  // The first call moves as many pieces as a call can; the second is refused.
  const Pieces many = empty_pieces(std::vector<std::size_t>(kPiecesPerCallMax + 1, 1));
  const FaultPlan plan({.call = Call::kRead, .nth = 2, .error = EAGAIN});
  EXPECT_EQ(read_vector_at(subject.file.get(), many.into(), 0), kPiecesPerCallMax);
}

TEST(VectorIoTest, WriteFlagsReachTheKernel) {
  const Subject subject;
  const Pieces pieces("tail", {2, 2});
  ASSERT_TRUE(write_vector_at(subject.file.get(), pieces.from(), 0, {.append = true}).has_value());
  EXPECT_EQ(read_file(subject.path), pattern(kFileBytes) + "tail");
  ASSERT_TRUE(sync_data(subject.file.get()).has_value());
  ASSERT_TRUE(
      write_vector_at(subject.file.get(), pieces.from(), 0, {.sync_data = true}).has_value());
  EXPECT_EQ(cache_status(subject.file.get(), kWholeFile)->dirty, PageCount{0});
}

TEST(VectorIoTest, DropBehindLeavesNoPagesOrIsRefused) {
  const Subject subject;
  testing::make_cold(subject.path);
  const Pieces pieces = empty_pieces({kFileBytes});
  const Outcome<std::uint64_t> read =
      read_vector_at(subject.file.get(), pieces.into(), 0, {.drop_behind = true});
  if (!read && read.error().value == EOPNOTSUPP) {
    GTEST_SKIP() << "RWF_DONTCACHE: EOPNOTSUPP";
  }
  EXPECT_EQ(read, kFileBytes);
  EXPECT_EQ(pieces.text(), pattern(kFileBytes));
  EXPECT_EQ(cache_status(subject.file.get(), kWholeFile)->cached, PageCount{0});
}

TEST(VectorIoTest, FlagsThatAFileSystemDoesNotKnowAreRefused) {
  const Descriptor memory(memfd_create("quire-test", MFD_CLOEXEC));
  const Pieces pieces = empty_pieces({10});
  for (const TransferFlags flags : {TransferFlags{.no_wait = true}, {.drop_behind = true}}) {
    EXPECT_EQ(read_vector_at(memory.get(), pieces.into(), 0, flags).error(), Errno{EOPNOTSUPP});
  }
}

}  // namespace
}  // namespace quire::sys
