// SPDX-License-Identifier: Apache-2.0
//
// ImageArena: what is prepared is there, and what is written stays, whoever makes the memory.
#include "quire/journal/internal/image_arena.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "quire/sys/call.h"
#include "quire/sys/memory.h"

namespace quire::internal {
namespace {

constexpr std::uint64_t kSizeBytes = ImageArena::kAheadBytesMin + 2_MiB + 12'288;
constexpr std::uint64_t kStepBytes = 4096;

std::uint64_t resident_bytes(const ImageArena& arena, std::uint64_t length_bytes) {
  const std::uint64_t page_bytes = sys::os_page_size().bytes();
  std::vector<unsigned char> pages(length_bytes / page_bytes);
  EXPECT_TRUE(sys::page_residency(arena.begin(), length_bytes, pages).has_value());
  return page_bytes * static_cast<std::uint64_t>(std::ranges::count_if(
                          pages, [](unsigned char page) { return (page & 1) != 0; }));
}

void fill(ImageArena& arena) {
  for (std::uint64_t at = 0; at < kSizeBytes; at += kStepBytes) {
    arena.prepare(at + kStepBytes);
    std::fill_n(arena.begin() + at, kStepBytes, static_cast<std::byte>(at / kStepBytes + 1));
  }
}

void expect_filled(const ImageArena& arena) {
  for (std::uint64_t at = 0; at < kSizeBytes; ++at) {
    ASSERT_EQ(arena.begin()[at], static_cast<std::byte>(at / kStepBytes + 1)) << at;
  }
}

TEST(ImageArenaTest, WhatIsPreparedIsThere) {
  const auto arena = ImageArena::make(kSizeBytes).value();
  if (!sys::advise_pages(arena->begin(), 2_MiB, sys::MemoryAdvice::kPopulateWrite)) {
    GTEST_SKIP() << "MADV_POPULATE_WRITE: not before Linux 5.14";
  }
  arena->make_ahead();
  for (const std::uint64_t bytes : {std::uint64_t{1}, std::uint64_t{2_MiB}, std::uint64_t{9_MiB}}) {
    arena->prepare(bytes);
    EXPECT_GE(resident_bytes(*arena, 10_MiB), bytes);
  }
  arena->prepare(kSizeBytes);
  // But the last huge page, which the thread may be making: nothing is left to do meanwhile.
  EXPECT_GE(resident_bytes(*arena, ImageArena::kAheadBytesMin), ImageArena::kAheadBytesMin - 2_MiB);
}

TEST(ImageArenaTest, WhatIsFilledWhileMemoryIsMadeStays) {
  const auto arena = ImageArena::make(kSizeBytes).value();
  arena->make_ahead();
  fill(*arena);
  expect_filled(*arena);
}

// Goal: where memory cannot be made ahead, it is made when it is touched.
TEST(ImageArenaTest, ARefusalToMakeItAheadChangesNothing) {
  const sys::FaultPlan plan(
      {.call = sys::Call::kAdviseMemory, .nth = 1, .times = 1000, .error = EINVAL});
  const auto arena = ImageArena::make(kSizeBytes).value();
  arena->make_ahead();
  fill(*arena);
  expect_filled(*arena);
  EXPECT_GT(plan.hits(), 0U);
}

TEST(ImageArenaTest, NoMoreMemoryIsTakenThanAskedFor) {
  const auto arena = ImageArena::make(3 * kStepBytes).value();
  arena->make_ahead();
  std::fill_n(arena->begin(), 3 * kStepBytes, std::byte{1});
  EXPECT_LE(resident_bytes(*arena, 2_MiB), 3 * std::max(kStepBytes, sys::os_page_size().bytes()));
}

TEST(ImageArenaTest, NoMemoryIsAnError) {
  const sys::FaultPlan plan({.call = sys::Call::kMap, .nth = 1, .error = ENOMEM});
  const auto arena = ImageArena::make(kSizeBytes);
  ASSERT_FALSE(arena.has_value());
  EXPECT_EQ(arena.error().code(), std::errc::not_enough_memory);
}

}  // namespace
}  // namespace quire::internal
