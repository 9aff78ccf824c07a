// SPDX-License-Identifier: Apache-2.0
//
// quire's pager with atomic areas, as a keeper of pages and as memory of a file.
//
// Its budget holds the file three times: it is what it costs that is measured here, as for who
// keeps everything in memory; what a small budget costs is pager_bench's question.
#include <memory>
#include <span>
#include <string>

#include "bench/commit_bench.h"
#include "bench/commit_bench_updates.h"
#include "quire/base/check.h"
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
  [[nodiscard]] Update begin_update() { return area_.begin_update(); }
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

}  // namespace

Product paged_pages(std::size_t threads) {
  return {.name = "pager", .make = make_page_file, .open = opener_of<PagedMemory>(threads)};
}

MemoryProduct paged_memory() {
  return {.name = "pager", .open = [](const std::string& path) {
            return std::unique_ptr<FileMemory>(std::make_unique<PagedMemory>(path));
          }};
}

}  // namespace quire::bench
