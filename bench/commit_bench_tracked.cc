// SPDX-License-Identifier: Apache-2.0
//
// quire's kernel mapping with tracked stores, as a keeper of pages and as memory of a file.
#include <memory>
#include <span>
#include <string>

#include "bench/commit_bench.h"
#include "bench/commit_bench_updates.h"
#include "quire/base/check.h"
#include "quire/tracked/tracked_mapping.h"

namespace quire::bench {
namespace {

class TrackedMemory final : public FileMemory {
 public:
  explicit TrackedMemory(const std::string& path)
      : mapping_(map(path, {.access = Access::kReadWrite, .commit = Commit::kAtomic}).value()) {}

  [[nodiscard]] std::span<std::byte> bytes() override { return mapping_.bytes(); }
  [[nodiscard]] Update begin_update() { return mapping_.begin_update(); }
  // It knows itself what was changed.
  void commit(ByteRange /*changed*/) override { QUIRE_CHECK(mapping_.commit().has_value()); }
  void settle() override { QUIRE_CHECK(mapping_.checkpoint().has_value()); }
  // Its pages are in memory then, and mapped.
  void begin_turn() override {
    const auto* const first = reinterpret_cast<const volatile std::byte*>(bytes().data());
    for (std::uint64_t at = 0; at < bytes().size(); at += kPageBytes) {
      static_cast<void>(first[at]);
    }
  }
  [[nodiscard]] nlohmann::json counters() const {
    const TrackedStats stats = mapping_.stats();
    return {{"commits", stats.commits},
            {"committed_pages", stats.committed_pages},
            {"compared_pages", stats.compared_pages},
            {"journal_commits", stats.journal.commits},
            {"log_bytes_written", stats.journal.log_bytes_written},
            {"full_waits", stats.journal.full_waits},
            {"explain", mapping_.explain()}};
  }

 private:
  TrackedMapping mapping_;
};

}  // namespace

Product tracked_pages(std::size_t threads) {
  return {.name = "tracked", .make = make_page_file, .open = opener_of<TrackedMemory>(threads)};
}

MemoryProduct tracked_memory() {
  return {.name = "tracked", .open = [](const std::string& path) -> std::unique_ptr<FileMemory> {
            return std::make_unique<TrackedMemory>(path);
          }};
}

}  // namespace quire::bench
