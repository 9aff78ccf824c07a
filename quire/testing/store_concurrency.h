// SPDX-License-Identifier: Apache-2.0
//
// The part of store_conformance.h that is about threads; included there.
//
// Thread-safety: that is what it tests.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <thread>
#include <vector>

#include "quire/testing/store_fixture.h"

namespace quire::testing {

// Goal:   writers of disjoint bytes never lose each other's, also within one block of the device.
// Method: each thread owns every fourth stretch of 100 bytes and writes it, again and again, in
//         an order of its own.
TEST_P(StoreConformanceTest, NeighboursWithinABlockDoNotDisturbEachOther) {
  constexpr std::size_t kThreads = 4;
  constexpr std::size_t kStretchBytes = 100;
  constexpr std::size_t kStretches = 64;
  constexpr int kRounds = 6;
  ASSERT_TRUE(store().resize(kStretches * kStretchBytes).has_value());
  std::array<int, kThreads> failures{};
  {
    std::vector<std::jthread> threads;
    for (std::size_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([this, t, &failures] {
        for (int round = 0; round < kRounds; ++round) {
          for (std::size_t i = t; i < kStretches; i += kThreads) {
            const std::size_t stretch = round % 2 == 0 ? i : kStretches - kThreads + 2 * t - i;
            const std::uint64_t offset = stretch * kStretchBytes;
            const Bytes bytes =
                pattern_bytes(offset + static_cast<std::uint64_t>(round), kStretchBytes);
            const bool is_written = store().write(offset, bytes).has_value();
            const bool is_there = is_written && read_at(offset, kStretchBytes) == bytes;
            failures.at(t) += is_there ? 0 : 1;
          }
        }
      });
    }
  }
  EXPECT_EQ(failures, (std::array<int, kThreads>{}));
  Bytes expected;
  for (std::size_t i = 0; i < kStretches; ++i) {
    const Bytes bytes = pattern_bytes(i * kStretchBytes + kRounds - 1, kStretchBytes);
    expected.insert(expected.end(), bytes.begin(), bytes.end());
  }
  EXPECT_EQ(read_all(), expected);
}

// Goal:   writers past the end make the store as long as the last of them needs, and never shorter.
// Method: each thread writes pieces of odd lengths at places of their own, far ones first; now and
//         then one reads the size, which must cover what it wrote itself.
TEST_P(StoreConformanceTest, WritersPastTheEndDoNotCutEachOther) {
  constexpr std::size_t kThreads = 4;
  constexpr std::size_t kPieceBytes = 777;
  constexpr std::size_t kPieces = 120;
  std::array<int, kThreads> failures{};
  {
    std::vector<std::jthread> threads;
    for (std::size_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([this, t, &failures] {
        for (std::size_t i = 0; i < kPieces / kThreads; ++i) {
          // Some rising and some falling, so that all kinds of growth meet.
          const std::size_t place = t % 2 == 0 ? i : kPieces / kThreads - 1 - i;
          const std::uint64_t offset = (place * kThreads + t) * kPieceBytes;
          const bool is_written =
              store().write(offset, pattern_bytes(offset, kPieceBytes)).has_value();
          const bool is_covered =
              is_written && store().size_bytes().value_or(0) >= offset + kPieceBytes;
          failures.at(t) += is_covered ? 0 : 1;
        }
      });
    }
  }
  EXPECT_EQ(failures, (std::array<int, kThreads>{}));
  EXPECT_EQ(read_all(), pattern_bytes(0, kPieces * kPieceBytes));
}

}  // namespace quire::testing
