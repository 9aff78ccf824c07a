// SPDX-License-Identifier: Apache-2.0
//
// quire's kernel mapping with tracked stores, as a keeper of pages and as memory of a file.
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "bench/commit_bench.h"
#include "quire/base/check.h"
#include "quire/base/mutex.h"
#include "quire/tracked/tracked_mapping.h"

namespace quire::bench {
namespace {

class TrackedMemory final : public FileMemory {
 public:
  explicit TrackedMemory(const std::string& path)
      : mapping_(map(path, {.access = Access::kReadWrite, .commit = Commit::kAtomic}).value()) {}

  [[nodiscard]] std::span<std::byte> bytes() override { return mapping_.bytes(); }
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
  [[nodiscard]] Ticket commit_async() { return mapping_.commit_async().value(); }
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

// What one thread does: stores, then commits.
class TrackedPages : public PageStore {
 public:
  explicit TrackedPages(const std::string& path) : memory_(path) {}

  void commit(std::span<const PageValue> values) override {
    store(values);
    memory_.commit({0, memory_.bytes().size()});
  }
  void settle() final { memory_.settle(); }
  void begin_turn() final { memory_.begin_turn(); }
  void read(std::uint64_t page, std::span<std::byte> into) final {
    std::memcpy(into.data(), &memory_.bytes()[page * kPageBytes], into.size());
  }
  [[nodiscard]] nlohmann::json counters() const final { return memory_.counters(); }

 protected:
  void store(std::span<const PageValue> values) {
    for (const PageValue& value : values) {
      std::memcpy(&memory_.bytes()[value.page * kPageBytes], value.bytes.data(),
                  value.bytes.size());
    }
  }
  [[nodiscard]] Ticket commit_async() { return memory_.commit_async(); }

 private:
  TrackedMemory memory_;
};

// What several do who each want a transaction of their own: while one stores and its pages are
// taken, nobody else stores; then it waits while others do.
class SharedTrackedPages final : public TrackedPages {
 public:
  using TrackedPages::TrackedPages;

  void commit(std::span<const PageValue> values) override {
    const Ticket ticket = store_and_take(values);
    QUIRE_CHECK(ticket.wait().has_value());
  }

 private:
  Ticket store_and_take(std::span<const PageValue> values) {
    const MutexLock lock(mutex_);
    store(values);
    return commit_async();
  }

  Mutex mutex_;
};

template <typename Pages>
std::unique_ptr<PageStore> open_pages(const std::string& path) {
  return std::make_unique<Pages>(path);
}

}  // namespace

Product tracked_pages(std::size_t threads) {
  return {.name = "tracked",
          .make = make_page_file,
          .open = threads == 1 ? open_pages<TrackedPages> : open_pages<SharedTrackedPages>};
}

MemoryProduct tracked_memory() {
  return {.name = "tracked", .open = [](const std::string& path) -> std::unique_ptr<FileMemory> {
            return std::make_unique<TrackedMemory>(path);
          }};
}

}  // namespace quire::bench
