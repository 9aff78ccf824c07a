// SPDX-License-Identifier: Apache-2.0
//
// quire's journal alone, for who has memory of their own: page images are given to
// Journal::commit(), one write and one flush for each group of transactions that come together.
#include <memory>
#include <span>
#include <vector>

#include "bench/commit_bench.h"
#include "quire/base/check.h"
#include "quire/journal/journal_file.h"
#include "quire/journal/journaled_store.h"
#include "quire/testing/aligned_memory.h"

namespace quire::bench {
namespace {

class JournalPages final : public PageStore {
 public:
  explicit JournalPages(const std::string& path) : journal_(open_journal({path}).value()) {}

  void commit(std::span<const PageValue> values) override {
    std::vector<PageImages> images;
    images.reserve(values.size());
    for (const PageValue& value : values) {
      images.push_back({.offset_bytes = value.page * kPageBytes, .bytes = value.bytes});
    }
    const FileCommit file{.file = 0, .images = images};
    QUIRE_CHECK(journal_->commit({&file, 1}).has_value());
  }
  void settle() override { QUIRE_CHECK(journal_->checkpoint().has_value()); }
  void read(std::uint64_t page, std::span<std::byte> into) override {
    QUIRE_CHECK_EQ(journal_->file(0).read(page * kPageBytes, into).value(), into.size());
  }
  [[nodiscard]] nlohmann::json counters() const override {
    const JournalStats stats = journal_->stats();
    return {{"commit_calls", stats.commit_calls},
            {"commits", stats.commits},
            {"log_writes", stats.log_writes},
            {"log_bytes_written", stats.log_bytes_written},
            {"full_waits", stats.full_waits},
            {"checkpoints", stats.checkpoints},
            {"checkpoint_pages", stats.checkpoint_pages},
            {"checkpoint_writes", stats.checkpoint_writes},
            {"index_bytes", stats.index_bytes}};
  }

 private:
  const std::unique_ptr<Journal> journal_;
};

// The journal under memory of one's own.
class JournalMemory final : public FileMemory {
 public:
  explicit JournalMemory(const std::string& path)
      : journal_(open_journal({path}).value()),
        memory_(static_cast<std::size_t>(journal_->file(0).size_bytes().value())) {
    QUIRE_CHECK_EQ(journal_->file(0).read(0, bytes()).value(), bytes().size());
  }

  [[nodiscard]] std::span<std::byte> bytes() override { return memory_.bytes(); }
  void commit(ByteRange changed) override {
    const PageImages images{.offset_bytes = changed.offset_bytes,
                            .bytes = bytes().subspan(changed.offset_bytes, changed.length_bytes)};
    const FileCommit file{.file = 0, .images = {&images, 1}};
    QUIRE_CHECK(journal_->commit({&file, 1}).has_value());
  }
  void settle() override { QUIRE_CHECK(journal_->checkpoint().has_value()); }

 private:
  const std::unique_ptr<Journal> journal_;
  const testing::PageMemory memory_;
};

}  // namespace

Product journal_pages() {
  return {.name = "journal", .make = make_page_file, .open = [](const std::string& path) {
            return std::unique_ptr<PageStore>(std::make_unique<JournalPages>(path));
          }};
}

MemoryProduct journal_memory() {
  return {.name = "journal",
          .open =
              [](const std::string& path) {
                return std::unique_ptr<FileMemory>(std::make_unique<JournalMemory>(path));
              },
          .is_mapping = false};
}

}  // namespace quire::bench
