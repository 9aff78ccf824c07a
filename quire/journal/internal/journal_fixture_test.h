// SPDX-License-Identifier: Apache-2.0
//
// What the tests of the journal share: a journal over stores in memory whose requests are counted,
// gated and made to fail (testing/slow_store.h).
//
// Thread-safety: one thread, but for the stores.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "quire/journal/journal.h"
#include "quire/journal/journaled_store.h"
#include "quire/testing/slow_store.h"

namespace quire::internal {

inline constexpr std::uint64_t kTestPageBytes = 4096;

class JournalFixture : public ::testing::Test {
 protected:
  using Bytes = std::vector<std::byte>;
  using Kind = testing::StoreOperation;

  JournalFixture() {
    options_.log_bytes = 256 * 1024;
    options_.checkpointing = Checkpointing::kOnDemand;
    options_.full_wait_max = std::chrono::milliseconds(0);
  }

  // A new journal of empty files.
  void make(std::size_t files = 1) {
    log_bytes_ = std::make_shared<testing::MemoryStore>();
    Journal::format(*log_bytes_, JournalUuid{std::byte{9}}, options_).value();
    log_ = std::make_shared<testing::SlowStore>(log_bytes_);
    file_bytes_.clear();
    files_.clear();
    for (std::size_t i = 0; i < files; ++i) {
      file_bytes_.push_back(std::make_shared<testing::MemoryStore>());
      files_.push_back(std::make_shared<testing::SlowStore>(file_bytes_.back()));
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
    journal_ = Journal::open(parts(), options_).value();
  }

  [[nodiscard]] JournaledStore& file(std::size_t number = 0) { return journal_->file(number); }

  static Bytes page_of(int value) { return {kTestPageBytes, static_cast<std::byte>(value)}; }
  void write_page(std::uint64_t page, int value, std::size_t number = 0) {
    ASSERT_TRUE(file(number).write(page * kTestPageBytes, page_of(value)).has_value());
  }
  // The first byte of a page; -1 past the end.
  [[nodiscard]] int value_at(std::uint64_t page, std::size_t number = 0) {
    std::byte byte{};
    const std::uint64_t got = file(number).read(page * kTestPageBytes, {&byte, 1}).value();
    return got == 0 ? -1 : static_cast<int>(byte);
  }
  [[nodiscard]] int committed_value_at(std::uint64_t page, std::size_t number = 0) {
    std::byte byte{};
    const std::uint64_t got =
        file(number).read_committed(page * kTestPageBytes, {&byte, 1}).value();
    return got == 0 ? -1 : static_cast<int>(byte);
  }

  JournalOptions options_;
  std::shared_ptr<testing::MemoryStore> log_bytes_;
  std::shared_ptr<testing::SlowStore> log_;
  std::vector<std::shared_ptr<testing::MemoryStore>> file_bytes_;
  std::vector<std::shared_ptr<testing::SlowStore>> files_;
  std::unique_ptr<Journal> journal_;
};

}  // namespace quire::internal
