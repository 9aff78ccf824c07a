// SPDX-License-Identifier: Apache-2.0
//
// Superblocks that have rotted: an error, or nothing is lost; never an older history.
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "quire/journal/internal/journal_workload_test.h"
#include "quire/testing/crash_disk.h"
#include "quire/testing/seed.h"
#include "quire/testing/slow_store.h"

namespace quire {
namespace {

using internal::JournalWorkload;
using testing::CrashDisk;

constexpr std::size_t kSlotBytes = 16 * 1024;

JournalParts parts_of(CrashDisk& disk) {
  JournalParts parts{.log = disk.store(0), .durable_log = nullptr, .files = {}, .guard = nullptr};
  for (std::size_t file = 0; file < internal::kWorkloadFiles; ++file) {
    parts.files.push_back(
        {.store = disk.store(1 + file), .identity = {static_cast<std::byte>(file)}});
  }
  return parts;
}

CrashDisk::Contents new_disk() {
  testing::MemoryStore log;
  Journal::format(log, JournalUuid{std::byte{3}}, internal::kWorkloadOptions).value();
  CrashDisk::Contents contents{log.image()};
  contents.resize(1 + internal::kWorkloadFiles);
  return contents;
}

enum class Verdict : std::uint8_t { kRefused, kRight, kWrong };

Verdict open_and_judge(CrashDisk::Contents contents, const JournalWorkload& workload) {
  CrashDisk disk(std::move(contents));
  const auto opened = Journal::open(parts_of(disk), internal::kWorkloadOptions);
  if (!opened) {
    EXPECT_EQ(opened.error().code(), Errc::kCorrupt) << opened.error().message();
    return Verdict::kRefused;
  }
  CrashDisk::Contents files = disk.contents();
  files.erase(files.begin());
  return workload.judge(files, workload.generation_count() - 1).empty() ? Verdict::kRight
                                                                        : Verdict::kWrong;
}

// Goal:   a damaged slot is passed over only where the other one knows everything that counts.
// Method: random work; after each step either slot is damaged, and the journal opened.
TEST(JournalDamageTest, ADamagedSuperblockIsNoOlderHistory) {
  int refused = 0;
  int right = 0;
  for (std::uint64_t i = 0; i < 20; ++i) {
    SCOPED_TRACE("seed " + std::to_string(testing::test_seed() + i));
    Prng random(testing::test_seed() + i);
    CrashDisk disk(new_disk());
    JournalWorkload workload(
        random, CrashDisk::Contents(internal::kWorkloadFiles),
        [&disk] { return Journal::open(parts_of(disk), internal::kWorkloadOptions).value(); },
        [](std::uint64_t /*generation*/) {});
    for (int step = 0; step < 60; ++step) {
      workload.work(1);
      for (std::size_t slot = 0; slot < 2; ++slot) {
        CrashDisk::Contents contents = disk.contents();
        contents[0][slot * kSlotBytes + 60] ^= std::byte{1};
        const Verdict verdict = open_and_judge(std::move(contents), workload);
        ASSERT_NE(verdict, Verdict::kWrong) << "step " << step << ", slot " << slot;
        (verdict == Verdict::kRefused ? refused : right)++;
      }
    }
  }
  EXPECT_GT(refused, 100);
  EXPECT_GT(right, 1000);  // Half of all slots are the older one.
}

}  // namespace
}  // namespace quire
