// SPDX-License-Identifier: Apache-2.0
//
// quire's pager with atomic areas, as a keeper of pages and as memory of a file.
//
// Its budget holds the file three times: it is what it costs that is measured here, as for who
// keeps everything in memory; what a small budget costs is pager_bench's question.
#include <cstring>
#include <memory>
#include <span>
#include <string>

#include "bench/commit_bench.h"
#include "quire/base/check.h"
#include "quire/base/mutex.h"
#include "quire/journal/journal_file.h"
#include "quire/pager/pager.h"

namespace quire::bench {
namespace {

constexpr std::uint64_t kMemoryBytesMin = 32_MiB;

class PagedMemory final : public FileMemory {
 public:
  explicit PagedMemory(const std::string& path)
      : journal_(open_journal({path}).value()),
        pager_({.memory_bytes = std::max(kMemoryBytesMin, 3 * size_of(*journal_)),
                .dirty_start_percent = 70,
                .dirty_max_percent = 90}),
        area_(pager_
                  .map(journal_, 0,
                       {.access = Access::kReadWrite,
                        .engine = PagingEngine::kPaged,
                        .commit = Commit::kAtomic})
                  .value()) {}

  [[nodiscard]] std::span<std::byte> bytes() override { return area_.bytes(); }
  // It knows itself what was changed.
  void commit(ByteRange /*changed*/) override { QUIRE_CHECK(area_.commit().has_value()); }
  void settle() override { QUIRE_CHECK(journal_->checkpoint().has_value()); }
  // Everything is in memory then.
  void begin_turn() override { QUIRE_CHECK(area_.prefetch(kWholeFile).wait().has_value()); }

  [[nodiscard]] nlohmann::json counters() const {
    const AreaStats stats = area_.stats();
    const JournalStats journal = journal_->stats();
    return {{"commits", stats.commits},
            {"committed_bytes", stats.committed_bytes},
            {"commit_conflicts", stats.commit_conflicts},
            {"spilled_bytes", stats.spilled_bytes},
            {"store_upgrades", stats.store_upgrades},
            {"journal_commits", journal.commits},
            {"log_writes", journal.log_writes},
            {"log_bytes_written", journal.log_bytes_written},
            {"full_waits", journal.full_waits}};
  }

 private:
  static std::uint64_t size_of(Journal& journal) { return journal.snapshot().size_bytes(0); }

  const std::shared_ptr<Journal> journal_;
  Pager pager_;
  WritablePagedArea area_;
};

// Each commit() is a transaction of its own: nobody stores while the cut of another one is taken.
// Those that come meanwhile store one after the other and share the next one.
class PagedPages final : public PageStore {
 public:
  explicit PagedPages(const std::string& path) : memory_(path) {}

  void commit(std::span<const PageValue> values) override {
    const MutexLock lock(mutex_);
    ++arriving_;
    while (is_committing_) {
      changed_.wait(mutex_);
    }
    store(values);
    --arriving_;
    changed_.notify_all();
    const std::uint64_t own = ++stored_;
    while (committed_ < own) {
      if (is_committing_ || arriving_ > 0) {
        changed_.wait(mutex_);
      } else {
        commit_all();
      }
    }
  }
  void settle() override { memory_.settle(); }
  void begin_turn() override { memory_.begin_turn(); }
  void read(std::uint64_t page, std::span<std::byte> into) override {
    std::memcpy(into.data(), &memory_.bytes()[page * kPageBytes], into.size());
  }
  [[nodiscard]] nlohmann::json counters() const override { return memory_.counters(); }

 private:
  void store(std::span<const PageValue> values) {
    for (const PageValue& value : values) {
      std::memcpy(&memory_.bytes()[value.page * kPageBytes], value.bytes.data(),
                  value.bytes.size());
    }
  }
  void commit_all() QUIRE_REQUIRES(mutex_) {
    is_committing_ = true;
    const std::uint64_t all = stored_;
    mutex_.unlock();
    memory_.commit({});
    mutex_.lock();
    committed_ = all;
    is_committing_ = false;
    changed_.notify_all();
  }

  PagedMemory memory_;
  Mutex mutex_;
  CondVar changed_;
  std::uint64_t arriving_ QUIRE_GUARDED_BY(mutex_) = 0;  // With something to store.
  std::uint64_t stored_ QUIRE_GUARDED_BY(mutex_) = 0;
  std::uint64_t committed_ QUIRE_GUARDED_BY(mutex_) = 0;
  bool is_committing_ QUIRE_GUARDED_BY(mutex_) = false;
};

}  // namespace

Product paged_pages() {
  return {.name = "pager", .make = make_page_file, .open = [](const std::string& path) {
            return std::unique_ptr<PageStore>(std::make_unique<PagedPages>(path));
          }};
}

MemoryProduct paged_memory() {
  return {.name = "pager", .open = [](const std::string& path) {
            return std::unique_ptr<FileMemory>(std::make_unique<PagedMemory>(path));
          }};
}

}  // namespace quire::bench
