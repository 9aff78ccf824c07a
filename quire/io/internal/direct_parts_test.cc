// SPDX-License-Identifier: Apache-2.0
//
// The parts of direct I/O: PieceCursor, the choice of stretches, EdgeLock.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#include "quire/base/prng.h"
#include "quire/io/internal/direct_stretch.h"
#include "quire/io/internal/edge_lock.h"
#include "quire/io/internal/piece_cursor.h"
#include "quire/testing/seed.h"

namespace quire::internal {
namespace {

using Cursor = PieceCursor<std::byte>;

// --- PieceCursor ---------------------------------------------------------------------------------

TEST(PieceCursorTest, EmptyPiecesAreSteppedOver) {
  std::array<std::byte, 10> memory{};
  const std::array<std::span<std::byte>, 5> pieces{
      std::span<std::byte>(), std::span(memory).first(3), std::span<std::byte>(),
      std::span(memory).subspan(3, 7), std::span<std::byte>()};
  Cursor cursor(pieces, kToEnd);
  EXPECT_EQ(cursor.left_bytes(), 10U);
  EXPECT_EQ(cursor.front().size(), 3U);
  cursor.advance(3);
  EXPECT_EQ(cursor.front().data(), memory.data() + 3);
  cursor.advance(2);
  EXPECT_EQ(cursor.front().size(), 5U);
  cursor.advance(5);
  EXPECT_EQ(cursor.left_bytes(), 0U);
  EXPECT_TRUE(cursor.front().empty());
  Cursor nothing({}, kToEnd);
  EXPECT_EQ(nothing.left_bytes(), 0U);
}

TEST(PieceCursorTest, ALimitCutsWhatIsLeft) {
  std::array<std::byte, 10> memory{};
  const std::array<std::span<std::byte>, 2> pieces{std::span(memory).first(6),
                                                   std::span(memory).last(4)};
  Cursor cursor(pieces, 8);
  EXPECT_EQ(cursor.left_bytes(), 8U);
  Cursor::Batch batch;
  const auto all = cursor.fill(batch, kToEnd);
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[1].size(), 2U);
  EXPECT_EQ(total_bytes(cursor.fill(batch, 7)), 7U);
  EXPECT_EQ(cursor.fill(batch, 6).size(), 1U);
}

TEST(PieceCursorTest, ABatchHoldsWhatOneCallTakes) {
  std::vector<std::byte> memory(1000);
  std::vector<std::span<std::byte>> pieces;
  for (std::size_t i = 0; i < memory.size(); ++i) {
    pieces.push_back(std::span(memory).subspan(i, 1));
  }
  Cursor cursor(pieces, kToEnd);
  Cursor::Batch batch;
  EXPECT_EQ(cursor.fill(batch, kToEnd).size(), sys::kPiecesPerCallMax);
}

// --- Stretches -----------------------------------------------------------------------------------

struct Free {
  void operator()(std::byte* memory) const { std::free(memory); }
};

const DirectRules kRules{
    .offset_unit = PageSize(512), .memory_unit = PageSize(512), .bounce_bytes = 256 * 1024};

class StretchTest : public ::testing::Test {
 protected:
  static constexpr std::size_t kBytes = std::size_t{4} << 20;

  struct Row {
    std::uint64_t offset_bytes, skew_bytes, length_bytes;
  };
  [[nodiscard]] Stretch first_of(const Row& row) const {
    const std::span<std::byte> piece(memory_.get() + row.skew_bytes, row.length_bytes);
    return next_stretch(Cursor({&piece, 1}, kToEnd), row.offset_bytes, kRules);
  }

  const std::unique_ptr<std::byte, Free> memory_{
      static_cast<std::byte*>(std::aligned_alloc(4096, kBytes))};
};

TEST_F(StretchTest, WhatIsAlignedGoesStraightAndTheRestIsAsShortAsItPays) {
  struct Case {
    Row row;
    bool is_straight;
    std::uint64_t length_bytes;
  };
  for (const Case& expected : {
           Case{{0, 0, 512}, true, 512},
           Case{{1024, 512, 1_MiB}, true, 1_MiB},
           Case{{0, 0, 511}, false, 511},                  // No whole block.
           Case{{0, 0, 5000}, false, 5000},                // Two requests would cost more.
           Case{{0, 0, 1_MiB + 5}, true, 1_MiB},           // Then a tail.
           Case{{0, 1, 1_MiB}, false, 256_KiB},            // The memory never fits.
           Case{{100, 100, 1_MiB}, false, 412},            // Up to the first whole block.
           Case{{100, 101, 1_MiB}, false, 256_KiB - 100},  // Full buffers end at edges.
           Case{{100, 100, 412 + 65'535}, false, 65'947},  // Too little for a request of its own.
           Case{{511, 511, 1}, false, 1},
       }) {
    const Stretch stretch = first_of(expected.row);
    EXPECT_EQ(stretch.is_straight, expected.is_straight) << expected.row.offset_bytes;
    EXPECT_EQ(stretch.length_bytes, expected.length_bytes) << expected.row.offset_bytes;
  }
}

// Goal:   the stretches of any request are legal, cover it, and make progress.
// Method: random pieces and offsets, walked to their end.
TEST_F(StretchTest, StretchesCoverAnyRequest) {
  Prng random(testing::test_seed());
  for (int round = 0; round < 2000; ++round) {
    std::vector<std::span<std::byte>> pieces;
    std::size_t at = random.below(3) == 0 ? random.below(600) : 0;
    for (std::uint64_t i = 1 + random.below(6); i > 0; --i) {
      std::size_t length = random.below(300'000);
      if (random.below(2) == 0) {
        length = length / 512 * 512;
      }
      pieces.push_back({memory_.get() + at, length});
      at += length + (random.below(4) == 0 ? random.below(600) : 0);
    }
    std::uint64_t offset = random.below(2) == 0 ? random.below(5000) : random.below(10) * 512;
    Cursor cursor(pieces, kToEnd);
    while (cursor.left_bytes() > 0) {
      const Stretch stretch = next_stretch(cursor, offset, kRules);
      ASSERT_GT(stretch.length_bytes, 0U);
      ASSERT_LE(stretch.length_bytes, cursor.left_bytes());
      if (stretch.is_straight) {
        ASSERT_EQ(offset % 512, 0U);
        ASSERT_EQ(stretch.length_bytes % 512, 0U);
        std::uint64_t left = stretch.length_bytes;
        cursor.for_each([&](std::span<std::byte> piece) {
          EXPECT_TRUE(is_aligned(piece, kRules.memory_unit));
          left -= std::min<std::uint64_t>(left, piece.size());
          return left > 0;
        });
      } else {
        const std::uint64_t begin = round_down(offset, kRules.offset_unit);
        const std::uint64_t end = round_up(offset + stretch.length_bytes, kRules.offset_unit);
        ASSERT_LE(end - begin, kRules.bounce_bytes);
      }
      cursor.advance(stretch.length_bytes);
      offset += stretch.length_bytes;
    }
  }
}

// --- EdgeLock ------------------------------------------------------------------------------------

std::vector<std::uint64_t> edges(std::uint64_t begin, std::uint64_t end) {
  const EdgeLock::Edges found = EdgeLock::edges_of(begin, end, 512);
  return {found.held().begin(), found.held().end()};
}

TEST(EdgeLockTest, EdgesAreTheBlocksCoveredInPart) {
  using Blocks = std::vector<std::uint64_t>;
  EXPECT_EQ(edges(0, 512), Blocks{});
  EXPECT_EQ(edges(0, 1), Blocks{0});
  EXPECT_EQ(edges(1, 512), Blocks{0});
  EXPECT_EQ(edges(1, 511), Blocks{0});
  EXPECT_EQ(edges(511, 513), (Blocks{0, 1}));
  EXPECT_EQ(edges(512, 1025), Blocks{2});
  EXPECT_EQ(edges(100, 5120), Blocks{0});
  EXPECT_EQ(edges(100, 5121), (Blocks{0, 10}));
}

// Goal:   nobody holds a block that somebody else holds, and crossing pairs do not wait for each
//         other for ever.
// Method: threads take random pairs of few blocks; a counter per block shows who else is in it.
TEST(EdgeLockTest, ABlockHasOneHolder) {
  constexpr std::uint64_t kBlocks = 6;
  EdgeLock lock;
  std::array<std::atomic<int>, kBlocks> holders{};
  std::atomic<int> collisions{0};
  {
    std::vector<std::jthread> threads;
    for (std::uint64_t t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        Prng random(testing::test_seed() + t);
        for (int i = 0; i < 3000; ++i) {
          const std::uint64_t first = random.below(kBlocks);
          const std::uint64_t last = first + random.below(kBlocks - first);
          const EdgeLock::Edges wanted = EdgeLock::edges_of(first * 512 + 1, last * 512 + 2, 512);
          const EdgeLock::Guard guard(lock, wanted);
          for (const std::uint64_t block : wanted.held()) {
            collisions += holders.at(block).fetch_add(1) == 0 ? 0 : 1;
          }
          std::this_thread::yield();
          for (const std::uint64_t block : wanted.held()) {
            holders.at(block).fetch_sub(1);
          }
        }
      });
    }
  }
  EXPECT_EQ(collisions.load(), 0);
}

}  // namespace
}  // namespace quire::internal
