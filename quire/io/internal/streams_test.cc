// SPDX-License-Identifier: Apache-2.0
//
// ReadStream and WriteStream: what is decided, as tables of steps.
#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "quire/base/page_window.h"
#include "quire/base/prng.h"
#include "quire/io/internal/read_stream.h"
#include "quire/io/internal/write_stream.h"
#include "quire/testing/seed.h"

namespace quire::internal {
namespace {

constexpr ByteRange kNothing{0, 0};

TEST(ReadStreamTest, AScanFromTheStartIsReadAheadOfAtOnce) {
  ReadStream stream;
  stream.configure({.ahead_bytes = 4_MiB});
  EXPECT_EQ(stream.before({0, 64_KiB}).ahead, (ByteRange{0, 4_MiB + 64_KiB}));
  // The next time only when a quarter of the window is used up.
  std::uint64_t at = 64_KiB;
  for (; at < 1_MiB; at += 64_KiB) {
    ASSERT_EQ(stream.before({at, 64_KiB}).ahead, kNothing) << at;
  }
  EXPECT_EQ(stream.before({at, 64_KiB}).ahead, (ByteRange{4_MiB + 64_KiB, 1_MiB}));
}

TEST(ReadStreamTest, AJumpIsReadAheadOfOnceItGoesOn) {
  ReadStream stream;
  stream.configure({.ahead_bytes = 1_MiB});
  EXPECT_EQ(stream.before({5_MiB, 4096}).ahead, kNothing);
  EXPECT_EQ(stream.before({5_MiB + 4096, 4096}).ahead, (ByteRange{5_MiB + 4096, 1_MiB + 4096}));
  EXPECT_EQ(stream.before({1_MiB, 4096}).ahead, kNothing);
}

TEST(ReadStreamTest, AReadLargerThanTheWindowIsReadAheadOfAsWell) {
  ReadStream stream;
  stream.configure({.ahead_bytes = 1_MiB});
  for (std::uint64_t at = 0; at < 32_MiB; at += 8_MiB) {
    const ByteRange ahead = stream.before({at, 8_MiB}).ahead;
    EXPECT_EQ(end_of(ahead), at + 9_MiB);
  }
}

TEST(ReadStreamTest, TheLargestOffsetsDoNotOverflow) {
  ReadStream stream;
  stream.configure({.ahead_bytes = 1_MiB, .drop = DropReads::kAll});
  EXPECT_EQ(stream.before({kFileOffsetMax - 100, 50}).ahead, kNothing);
  const ByteRange ahead = stream.before({kFileOffsetMax - 50, 100}).ahead;
  EXPECT_LE(end_of(ahead), kFileOffsetMax);
  static_cast<void>(stream.before({kToEnd, 10}));
  static_cast<void>(stream.after());
  EXPECT_LE(end_of(stream.finish().drop), kToEnd);
}

TEST(ReadStreamTest, WhatTheKernelReadAheadIsDroppedAfterARunOfSeveral) {
  ReadStream stream;
  stream.configure({.drop = DropReads::kUnused});
  static_cast<void>(stream.before({1_MiB, 4096}));
  EXPECT_FALSE(stream.before({9_MiB, 4096}).drop_ahead);  // A single read: nothing ahead of it.
  EXPECT_FALSE(stream.before({9_MiB + 4096, 4096}).drop_ahead);
  const ReadStream::Before jump = stream.before({0, 4096});
  EXPECT_TRUE(jump.drop_ahead);
  EXPECT_EQ(jump.run_end_bytes, 9_MiB + 8192);
  EXPECT_EQ(jump.drop, kNothing);  // Reads drop their own pages.
  EXPECT_EQ(stream.after(), kNothing);
}

// Goal:   with kAll each byte that was read is dropped once, and nothing before it was read or
//         asked for ahead.
// Method: random runs; the ranges to drop, cut into pages, against the pages touched.
TEST(ReadStreamTest, EverythingReadIsDroppedOnce) {
  constexpr std::uint64_t kPage = 4096;
  Prng random(testing::test_seed());
  for (const std::uint64_t ahead_bytes : {std::uint64_t{0}, 1_MiB}) {
    ReadStream stream;
    stream.configure({.ahead_bytes = ahead_bytes, .drop = DropReads::kAll});
    std::map<std::uint64_t, int> touched;
    std::map<std::uint64_t, int> dropped;
    const auto each_page = [](ByteRange range, auto&& visit) {
      for (std::uint64_t at = range.offset_bytes; at < end_of(range); at += kPage) {
        visit(at);
      }
    };
    const auto drop = [&](ByteRange range) {
      each_page(range, [&](std::uint64_t at) {
        EXPECT_TRUE(touched.contains(at)) << at;
        ++dropped[at];
      });
    };
    std::uint64_t next = 0;
    for (int i = 0; i < 2000; ++i) {
      // Runs do not meet, nor does what was asked for ahead of them.
      if (random.below(40) == 0) {
        next = round_up(next + 2_MiB, PageSize(16_MiB));
      }
      const ByteRange read{next, (1 + random.below(64)) * kPage};
      const ReadStream::Before before = stream.before(read);
      each_page(before.ahead, [&](std::uint64_t at) { touched[at] = 1; });
      drop(before.drop);
      each_page(read, [&](std::uint64_t at) { touched[at] = 1; });
      drop(stream.after());
      next = end_of(read);
    }
    drop(stream.finish().drop);
    drop(stream.finish().drop);  // Nothing is left.
    EXPECT_EQ(dropped, touched);
  }
}

// --- WriteStream ---------------------------------------------------------------------------------

TEST(WriteStreamTest, AFullWindowIsStartedAndTheOneBeforeFinished) {
  WriteStream stream;
  stream.configure({.window_bytes = 1_MiB, .drops = true});
  EXPECT_EQ(stream.after({0, 1_MiB - 1}).start, kNothing);
  const WriteStream::Steps first = stream.after({1_MiB - 1, 100});
  EXPECT_EQ(first.start, (ByteRange{0, 1_MiB}));  // The page that is not full waits.
  EXPECT_TRUE(first.finish.empty());
  const WriteStream::Steps second = stream.after({1_MiB + 99, 1_MiB});
  EXPECT_EQ(second.start, (ByteRange{1_MiB, 1_MiB}));
  EXPECT_EQ(second.finish, (std::vector<ByteRange>{{0, 1_MiB}}));
  EXPECT_EQ(stream.take_all(), (std::vector<ByteRange>{{1_MiB, 1_MiB}, {2_MiB, 99}}));
  EXPECT_TRUE(stream.take_all().empty());
}

TEST(WriteStreamTest, AJumpIsLeftToTheKernelUnlessPagesAreToGo) {
  for (const bool drops : {true, false}) {
    WriteStream stream;
    stream.configure({.window_bytes = 1_MiB, .drops = drops});
    EXPECT_EQ(stream.after({0, 5000}).jumped_from, kNothing);
    const WriteStream::Steps steps = stream.after({1_GiB, 5000});
    EXPECT_EQ(steps.jumped_from, drops ? (ByteRange{0, 5000}) : kNothing);
    EXPECT_EQ(steps.start, kNothing);
    EXPECT_EQ(stream.take_all().size(), drops ? 2U : 1U);
  }
}

// Goal:   what is started and not finished is bounded, and each byte is started once and finished
//         once.
// Method: random runs and jumps against a list of what was written.
TEST(WriteStreamTest, WhatIsUnderWayIsBounded) {
  constexpr std::uint64_t kWindow = 256_KiB;
  Prng random(testing::test_seed());
  WriteStream stream;
  stream.configure({.window_bytes = kWindow, .drops = true});
  std::uint64_t next = 0;
  std::uint64_t written_bytes = 0;
  std::uint64_t started_bytes = 0;
  std::uint64_t finished_bytes = 0;
  std::size_t under_way = 0;
  for (int i = 0; i < 5000; ++i) {
    if (random.below(3) == 0) {
      next += 1_GiB;
    }
    const std::uint64_t length = 1 + random.below(100'000);
    const WriteStream::Steps steps = stream.after({next, length});
    next += length;
    written_bytes += length;
    for (const ByteRange range : {steps.jumped_from, steps.start}) {
      started_bytes += range.length_bytes;
      under_way += range.length_bytes > 0 ? 1 : 0;
    }
    for (const ByteRange range : steps.finish) {
      finished_bytes += range.length_bytes;
      --under_way;
    }
    ASSERT_LE(under_way, WriteStream::kStartedMax);
    // One window, and the piece that was started last, which may be as large as a write more.
    ASSERT_LE(started_bytes - finished_bytes, 2 * kWindow + 100'000);
  }
  for (const ByteRange range : stream.take_all()) {
    finished_bytes += range.length_bytes;
  }
  EXPECT_EQ(finished_bytes, written_bytes);
}

}  // namespace
}  // namespace quire::internal
