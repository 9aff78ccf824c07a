// SPDX-License-Identifier: Apache-2.0
//
// Opening a file whose journal is full of commits that never reached it.
#include <algorithm>
#include <numeric>
#include <vector>

#include "bench/commit_bench.h"
#include "quire/base/check.h"
#include "quire/base/prng.h"
#include "quire/io/buffer_pool.h"
#include "quire/journal/journal_file.h"
#include "quire/journal/journaled_store.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"
#include "quire/testing/aligned_memory.h"

namespace quire::bench {
namespace {

constexpr std::uint64_t kPagesEach = 256;  // In a transaction.
constexpr double kGoal = 0.7;
constexpr std::uint64_t kBlockBytes = 8_MiB;  // More in one request makes nothing faster.

std::uint64_t word_of(std::uint64_t page, std::uint64_t round) {
  return mark_of(page) + round;
}

void write_words(std::span<std::byte> page, std::uint64_t word) {
  auto* const words = reinterpret_cast<std::uint64_t*>(page.data());
  std::fill_n(words, page.size() / sizeof word, word);
}

class RecoveredFile {
 public:
  explicit RecoveredFile(const CommitSetting& setting)
      : setting_(setting),
        path_(setting.file("recovered")),
        // Transactions have headers, and no commit must find the log so full that it empties it.
        options_{.create = false,
                 .journal = {.log_bytes = setting.recovery_bytes / 16 * 17 + 1_MiB,
                             .checkpointing = Checkpointing::kOnDemand,
                             .recovery_memory_bytes = setting.recovery_memory_bytes}} {}

  nlohmann::json turn() {
    if (round_ == 0) {
      write_zeros(path_, setting_.recovery_bytes);
    }
    ++round_;
    const std::uint64_t commits = leave_commits();
    const CommitMeter meter(setting_);
    const std::unique_ptr<Journal> journal = open_journal({path_}, options_).value();
    nlohmann::json found = meter.stop(1, setting_.recovery_bytes);
    QUIRE_CHECK_EQ(journal->stats().recovered_commits, commits);
    QUIRE_CHECK_EQ(journal->stats().recovered_pages, page_count());
    QUIRE_CHECK(journal->close().has_value());
    check();
    return found;
  }

 private:
  [[nodiscard]] std::uint64_t page_count() const { return setting_.recovery_bytes / kPageBytes; }

  // Every page once, in random order; then nothing, as if the process had died.
  std::uint64_t leave_commits() {
    std::vector<std::uint64_t> pages(page_count());
    std::iota(pages.begin(), pages.end(), 0U);
    std::shuffle(pages.begin(), pages.end(), Prng(round_));
    const std::unique_ptr<Journal> journal = open_journal({path_}, options_).value();
    const testing::PageMemory memory(kPagesEach * kPageBytes);
    std::uint64_t commits = 0;
    for (auto rest = std::span(pages); !rest.empty(); ++commits) {
      const auto some = rest.first(std::min<std::size_t>(rest.size(), kPagesEach));
      std::vector<PageImages> images;
      for (const std::uint64_t page : some) {
        const auto image = memory.bytes().subspan(images.size() * kPageBytes, kPageBytes);
        write_words(image, word_of(page, round_));
        images.push_back({.offset_bytes = page * kPageBytes, .bytes = image});
      }
      const FileCommit file{.file = 0, .images = images};
      QUIRE_CHECK(journal->commit({&file, 1}).has_value());
      rest = rest.subspan(some.size());
    }
    QUIRE_CHECK_EQ(journal->stats().checkpoints, 0U);
    return commits;
  }

  // The file itself, without its journal, has everything.
  void check() const {
    const sys::Descriptor file = sys::open_file(path_.c_str(), {}).value();
    std::vector<std::uint64_t> block(1_MiB / sizeof(std::uint64_t));
    constexpr std::size_t kPageWords = kPageBytes / sizeof(std::uint64_t);
    for (std::uint64_t page = 0; page < page_count(); page += block.size() / kPageWords) {
      QUIRE_CHECK_EQ(
          sys::read_at(file.get(), std::as_writable_bytes(std::span(block)), page * kPageBytes)
              .value(),
          1_MiB);
      for (std::size_t i = 0; i < block.size(); ++i) {
        QUIRE_CHECK_EQ(block[i], word_of(page + i / kPageWords, round_));
      }
    }
  }

  const CommitSetting& setting_;
  const std::string path_;
  const JournalFileOptions options_;
  std::uint64_t round_ = 0;
};

// As many bytes read from a file, one block after the other, then written back, and one flush.
nlohmann::json copy_turn(const CommitSetting& setting, std::span<std::byte> memory) {
  const std::string path = setting.file("copied");
  if (!sys::path_status(path.c_str(), false)) {
    write_random_file(path, setting.recovery_bytes);
  }
  const sys::Descriptor file =
      sys::open_file(path.c_str(), {.write = true, .direct = true}).value();
  const auto block_at = [&](std::uint64_t at) {
    return memory.first(std::min(kBlockBytes, setting.recovery_bytes - at));
  };
  const CommitMeter meter(setting);
  for (std::uint64_t at = 0; at < setting.recovery_bytes; at += kBlockBytes) {
    QUIRE_CHECK_EQ(sys::read_at(file.get(), block_at(at), at).value(), block_at(at).size());
  }
  for (std::uint64_t at = 0; at < setting.recovery_bytes; at += kBlockBytes) {
    QUIRE_CHECK(sys::write_at(file.get(), block_at(at), at).has_value());
  }
  QUIRE_CHECK(sys::sync_data(file.get()).has_value());
  return meter.stop(1, setting.recovery_bytes);
}

// Through memory as malloc() has it, ...
nlohmann::json plain_copy(const CommitSetting& setting) {
  const testing::PageMemory memory(kBlockBytes);
  return copy_turn(setting, memory.bytes());
}

// ... and through huge pages, which a device is done with sooner.
nlohmann::json huge_copy(const CommitSetting& setting) {
  const auto pool = BufferPool::make({.buffer_bytes = kBlockBytes, .buffer_count = 1}).value();
  return copy_turn(setting, pool->take().bytes());
}

nlohmann::json recovery(const CommitSetting& setting) {
  RecoveredFile recovered(setting);
  nlohmann::json report =
      race(setting.race,
           {{.name = "journal", .run = [&] { return recovered.turn(); }, .is_apart = false},
            {.name = "copy", .run = [&] { return plain_copy(setting); }, .is_apart = false},
            {.name = "huge_copy", .run = [&] { return huge_copy(setting); }, .is_apart = false}},
           {{"journal to copy", "journal", {"copy"}, kGoal},
            {"journal to huge_copy", "journal", {"huge_copy"}, kGoal}},
           Start::kAny);
  remove_files(setting, "recovered");
  remove_files(setting, "copied");
  return report;
}

}  // namespace

std::vector<CommitCase> recovery_cases() {
  return {{"recovery", "opening a file with a journal full of commits, against a copy (bytes)",
           recovery}};
}

}  // namespace quire::bench
