// SPDX-License-Identifier: Apache-2.0
//
// What the tests of commits share: a journal whose stores are in memory, counted, gated and made to
// fail (slow_store.h), and areas over its files.
//
// Thread-safety: one thread, but for the stores and the areas.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "quire/journal/journal.h"
#include "quire/journal/journaled_store.h"
#include "quire/pager/pager.h"
#include "quire/testing/pager_fixture.h"
#include "quire/testing/slow_store.h"

namespace quire::testing {

inline const WritablePagedOptions kAtomic{.access = Access::kReadWrite,
                                          .engine = PagingEngine::kPaged,
                                          .reserve_bytes = 32_MiB,
                                          .commit = Commit::kAtomic};

class CommitTest : public ::testing::TestWithParam<FaultPath> {
 protected:
  using Kind = StoreOperation;

  CommitTest() {
    journal_options_.log_bytes = 16_MiB;
    journal_options_.checkpointing = Checkpointing::kOnDemand;
    journal_options_.full_wait_max = std::chrono::milliseconds(0);
  }

  void SetUp() override {
    if (const std::string why = why_no_paging(GetParam()); !why.empty()) {
      GTEST_SKIP() << why;
    }
  }

  // A new journal of files of zeros.
  void make(std::uint64_t size_bytes, std::size_t files = 1) {
    log_bytes_ = std::make_shared<MemoryStore>();
    Journal::format(*log_bytes_, JournalUuid{std::byte{9}}, journal_options_).value();
    log_ = std::make_shared<SlowStore>(log_bytes_);
    files_.clear();
    for (std::size_t i = 0; i < files; ++i) {
      files_.push_back(std::make_shared<SlowStore>(std::make_shared<MemoryStore>(size_bytes)));
    }
    open();
  }

  [[nodiscard]] JournalParts parts() const {
    JournalParts parts{.log = log_, .durable_log = nullptr, .files = {}, .guard = nullptr};
    for (std::size_t i = 0; i < files_.size(); ++i) {
      parts.files.push_back(
          {.store = files_[i], .identity = {static_cast<std::byte>(i + 1)}, .name = "file"});
    }
    return parts;
  }

  // Leaves what was there behind, as a crash does that loses nothing.
  void open() {
    journal_.reset();
    journal_ = Journal::open(parts(), journal_options_).value();
  }

  [[nodiscard]] WritablePagedArea map(Pager& pager, std::size_t file = 0) {
    return pager.map(journal_, file, kAtomic).value();
  }

  // As a crash at this moment would leave the file.
  [[nodiscard]] std::vector<std::byte> committed(std::size_t file = 0) {
    std::vector<std::byte> bytes(journal_->snapshot().size_bytes(file));
    EXPECT_EQ(journal_->file(file).read_committed(0, bytes).value(), bytes.size());
    return bytes;
  }
  [[nodiscard]] int committed_at(std::uint64_t offset, std::size_t file = 0) {
    std::byte byte{};
    EXPECT_EQ(journal_->file(file).read_committed(offset, {&byte, 1}).value(), 1U);
    return static_cast<int>(byte);
  }

  static void store(WritablePagedArea& area, std::uint64_t offset, int value) {
    store_byte(area.bytes().data() + offset, static_cast<std::byte>(value));
  }
  static int load(const PagedArea& area, std::uint64_t offset) {
    return static_cast<int>(load_byte(area.bytes().data() + offset));
  }
  // One byte of every granule.
  static void store_all(WritablePagedArea& area, int value) {
    for (std::uint64_t at = 0; at < area.size_bytes(); at += kGranule) {
      store(area, at, value);
    }
  }

  JournalOptions journal_options_;
  std::shared_ptr<MemoryStore> log_bytes_;
  std::shared_ptr<SlowStore> log_;
  std::vector<std::shared_ptr<SlowStore>> files_;
  std::shared_ptr<Journal> journal_;
};

}  // namespace quire::testing
