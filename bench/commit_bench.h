// SPDX-License-Identifier: Apache-2.0
//
// commit_bench: what the parts of that program share: its setting, its cases, and products that
// keep pages and make sets of them durable together.
//
// The rule of fairness: every side has its files in one directory and of one size, made before
// anything is timed, in this process, in turns; each transaction is durable when its call returns,
// which device_flushes_per_commit is the witness of. What a product puts off (a checkpoint) it does
// at the end of its turn: never in the turn of another one, and settled_rate has it in the time.
//
// At the end every side opens its files again, and each page must hold what was last committed.
//
// Thread-safety: one thread, but where it says otherwise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bench/pager_bench.h"

namespace quire::bench {

struct CommitSetting {
  Setting race;                      // Of it: directory, rounds, seconds, only_side.
  std::uint64_t data_bytes = 0;      // Of what transactions are about.
  std::uint64_t large_bytes = 0;     // Of one large commit.
  std::uint64_t recovery_bytes = 0;  // Of pages in the journal that is recovered.
  std::optional<std::uint64_t> recovery_memory_bytes{};  // For it; nothing: the default.

  [[nodiscard]] std::string file(const std::string& name) const {
    return race.directory + "/" + name;
  }
  [[nodiscard]] std::uint64_t data_pages() const { return data_bytes / kPageBytes; }
};

struct CommitCase {
  const char* name;
  const char* text;
  nlohmann::json (*run)(const CommitSetting& setting);
};

// commit_bench_transactions.cc, _writes.cc, _recovery.cc, _mappings.cc
[[nodiscard]] std::vector<CommitCase> transaction_cases();
[[nodiscard]] std::vector<CommitCase> write_cases();
[[nodiscard]] std::vector<CommitCase> recovery_cases();
[[nodiscard]] std::vector<CommitCase> mapping_cases();

// --- Products ------------------------------------------------------------------------------------

struct PageValue {
  std::uint64_t page = 0;
  std::span<const std::byte> bytes{};  // As long as the product's values are.
};

// An open file, or database, of pages that all have a value.
class PageStore {
 public:
  PageStore() = default;
  virtual ~PageStore() = default;
  PageStore(const PageStore&) = delete;
  PageStore& operator=(const PageStore&) = delete;

  // One transaction: these pages, each once; durable when it returns.
  // Thread-safety: any thread; the pages of two calls under way are others.
  virtual void commit(std::span<const PageValue> values) = 0;
  // Does what was put off. Nothing else is asked for before the next begin_turn().
  virtual void settle() {}
  // Takes no part of the time.
  virtual void begin_turn() {}
  // REQUIRES: into is as long as a value.
  virtual void read(std::uint64_t page, std::span<std::byte> into) = 0;
  // What the product counted; may be null.
  [[nodiscard]] virtual nlohmann::json counters() const { return nullptr; }
};

// How to get one.
struct Product {
  std::string name;
  std::uint64_t value_bytes = kPageBytes;
  // Makes the files; every page has a value afterwards.
  void (*make)(const std::string& path, std::uint64_t pages, std::uint64_t value_bytes);
  // Opens them: with recovery, when they were left and not closed. Destroying it leaves them so
  // where the product knows a difference.
  std::unique_ptr<PageStore> (*open)(const std::string& path);
};

// commit_bench_plain.cc: "raw": a direct write and a flush. Not atomic: the floor for one page.
[[nodiscard]] Product raw_pages();
// commit_bench_journal.cc
[[nodiscard]] Product journal_pages();
// commit_bench_tracked.cc: for so many threads that commit.
[[nodiscard]] Product tracked_pages(std::size_t threads);
// commit_bench_pager.cc
[[nodiscard]] Product paged_pages(std::size_t threads);
// commit_bench_quire.cc: all of those, and how a file of pages of zeros is made for them.
[[nodiscard]] std::vector<Product> quire_products(std::size_t threads);
void make_page_file(const std::string& path, std::uint64_t pages, std::uint64_t value_bytes);
// commit_bench_lmdb.cc, _sqlite.cc
// "_snug": with the longest values that the product needs only one page for: 4096 bytes and its
// own header would be two.
[[nodiscard]] std::vector<Product> lmdb_products();
[[nodiscard]] std::vector<Product> sqlite_products();

// The bytes of a file, in memory: stored to, then committed.
class FileMemory {
 public:
  FileMemory() = default;
  virtual ~FileMemory() = default;
  FileMemory(const FileMemory&) = delete;
  FileMemory& operator=(const FileMemory&) = delete;

  [[nodiscard]] virtual std::span<std::byte> bytes() = 0;
  // Makes everything durable. Whole pages; nothing outside of them was stored to since the last
  // commit: for who cannot know that. Stores of others meanwhile come with this commit or the next.
  virtual void commit(ByteRange changed) = 0;
  // Does what was put off. Nothing else is asked for before the next begin_turn().
  virtual void settle() {}
  // Takes no part of the time. The bytes may be somewhere else afterwards.
  virtual void begin_turn() {}
};

struct MemoryProduct {
  std::string name;
  // As Product's. REQUIRES: the file is there, and all of its space is written.
  std::unique_ptr<FileMemory> (*open)(const std::string& path);
  bool is_mapping = true;  // Stores need no call and no care while a commit is under way.
};

// commit_bench_journal.cc, _tracked.cc, _pager.cc; _quire.cc: all of those.
[[nodiscard]] MemoryProduct journal_memory();
[[nodiscard]] MemoryProduct tracked_memory();
[[nodiscard]] MemoryProduct paged_memory();
[[nodiscard]] std::vector<MemoryProduct> quire_memories();
// commit_bench_plain.cc: what one would do without quire, or what the disk can do at best.
[[nodiscard]] MemoryProduct growing_log();  // "append": write and fdatasync at the end of a file.
[[nodiscard]] MemoryProduct written_log();  // "overwrite": the same into a file that has its space.
[[nodiscard]] MemoryProduct direct_write();     // "raw": one O_DIRECT write and one flush.
[[nodiscard]] MemoryProduct synced_mapping();   // "msync": MAP_SHARED. Neither atomic nor ordered.
[[nodiscard]] MemoryProduct private_mapping();  // "private": MAP_PRIVATE; its commit() is a bug.

// What a side does in a round, and how fast it was, by a meter. All of the bytes are committed when
// it returns. Rounds count from 0.
using MemoryTurn = nlohmann::json (*)(const CommitSetting& setting, FileMemory& memory,
                                      std::uint64_t round);
[[nodiscard]] nlohmann::json race_memories(const CommitSetting& setting,
                                           const std::vector<MemoryProduct>& products,
                                           const std::vector<Figure>& figures,
                                           std::uint64_t size_bytes, MemoryTurn turn);

// --- Tools ---------------------------------------------------------------------------------------

// What the disk under a directory has done, for everybody. Not /proc/self/io: that counts a whole
// folio of the page cache for a page written to it.
struct DeviceCounts {
  std::uint64_t write_bytes = 0;
  std::uint64_t cache_flushes = 0;
};
// Nothing: no disk of its own that would count them.
[[nodiscard]] std::optional<DeviceCounts> device_counts(const std::string& directory);

// A Meter that also gives device_flushes_per_commit and device_write_bytes_per_commit.
class CommitMeter {
 public:
  explicit CommitMeter(const CommitSetting& setting)
      : directory_(setting.race.directory), device_before_(device_counts(directory_)) {}
  // Each commit counts as so many operations: bytes, where the rate is to be one of bytes.
  [[nodiscard]] nlohmann::json stop(std::uint64_t commits, std::uint64_t operations_each = 1) const;

 private:
  std::string directory_;
  std::optional<DeviceCounts> device_before_;
  Meter meter_;
};

// A side's number over all rounds against a limit. Nothing when the side was not asked for.
[[nodiscard]] std::optional<nlohmann::json> limit_figure(const nlohmann::json& report,
                                                         const std::string& side,
                                                         const std::string& number, double at_most);

// A file of zeros with all of its space written, durable.
void write_zeros(const std::string& path, std::uint64_t size_bytes);

// Removes every file of the directory that begins so.
void remove_files(const CommitSetting& setting, const std::string& prefix);

}  // namespace quire::bench
