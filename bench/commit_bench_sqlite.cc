// SPDX-License-Identifier: Apache-2.0
//
// SQLite as a keeper of pages: a table (id INTEGER PRIMARY KEY, value BLOB) in WAL mode with
// synchronous=FULL: a commit appends the changed pages to the WAL and syncs it; every 1000 pages,
// as by default, the commit that comes then brings them to the database. Its cache holds all.
//
// Threads share one connection and wait for it outside: SQLite lets one write at a time, and its
// own way to wait, in sleeps, would be slower.
#include <fmt/format.h>
#include <sqlite3.h>

#include <cstring>
#include <vector>

#include "bench/commit_bench.h"
#include "quire/base/check.h"
#include "quire/base/mutex.h"

namespace quire::bench {
namespace {

// What still fits into a leaf of 4096 bytes beside the headers of leaf, cell and record.
constexpr std::uint64_t kSnugValueBytes = 4048;
constexpr std::uint64_t kCacheKibibytes = std::uint64_t{1} << 20;

class Statement {
 public:
  Statement(sqlite3* database, const char* text) {
    QUIRE_CHECK_EQ(
        ::sqlite3_prepare_v3(database, text, -1, SQLITE_PREPARE_PERSISTENT, &statement_, nullptr),
        SQLITE_OK);
  }
  ~Statement() { ::sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  void run() {
    QUIRE_CHECK_EQ(::sqlite3_step(statement_), SQLITE_DONE);
    QUIRE_CHECK_EQ(::sqlite3_reset(statement_), SQLITE_OK);
  }
  [[nodiscard]] sqlite3_stmt* get() const { return statement_; }

 private:
  sqlite3_stmt* statement_ = nullptr;
};

// Closed after the statements that are members of the same object behind it.
class Database {
 public:
  explicit Database(const std::string& path) {
    QUIRE_CHECK_EQ(::sqlite3_open_v2(
                       path.c_str(), &database_,
                       SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr),
                   SQLITE_OK);
    run("PRAGMA journal_mode=WAL");
    run("PRAGMA synchronous=FULL");
    run(fmt::format("PRAGMA cache_size=-{}", kCacheKibibytes).c_str());
    run("CREATE TABLE IF NOT EXISTS pages (id INTEGER PRIMARY KEY, value BLOB)");
  }
  ~Database() { QUIRE_CHECK_EQ(::sqlite3_close(database_), SQLITE_OK); }
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  void run(const char* text) {
    QUIRE_CHECK_EQ(::sqlite3_exec(database_, text, nullptr, nullptr, nullptr), SQLITE_OK);
  }
  [[nodiscard]] sqlite3* get() const { return database_; }

 private:
  sqlite3* database_ = nullptr;
};

class SqlitePages final : public PageStore {
 public:
  explicit SqlitePages(const std::string& path)
      : database_(path),
        begin_(database_.get(), "BEGIN IMMEDIATE"),
        update_(database_.get(), "UPDATE pages SET value = ?2 WHERE id = ?1"),
        commit_(database_.get(), "COMMIT"),
        select_(database_.get(), "SELECT value FROM pages WHERE id = ?1") {
    // Else the last commits would not be found in the WAL when it is opened again.
    QUIRE_CHECK_EQ(
        ::sqlite3_db_config(database_.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr),
        SQLITE_OK);
  }

  void commit(std::span<const PageValue> values) override {
    const MutexLock lock(mutex_);
    begin_.run();
    for (const PageValue& value : values) {
      sqlite3_stmt* const update = update_.get();
      QUIRE_CHECK_EQ(::sqlite3_bind_int64(update, 1, static_cast<sqlite3_int64>(value.page)),
                     SQLITE_OK);
      QUIRE_CHECK_EQ(
          ::sqlite3_bind_blob64(update, 2, value.bytes.data(), value.bytes.size(), SQLITE_STATIC),
          SQLITE_OK);
      update_.run();
      QUIRE_CHECK_EQ(::sqlite3_changes(database_.get()), 1);
    }
    commit_.run();
  }
  void settle() override {
    QUIRE_CHECK_EQ(::sqlite3_wal_checkpoint_v2(database_.get(), nullptr, SQLITE_CHECKPOINT_FULL,
                                               nullptr, nullptr),
                   SQLITE_OK);
  }
  void read(std::uint64_t page, std::span<std::byte> into) override {
    sqlite3_stmt* const select = select_.get();
    QUIRE_CHECK_EQ(::sqlite3_bind_int64(select, 1, static_cast<sqlite3_int64>(page)), SQLITE_OK);
    QUIRE_CHECK_EQ(::sqlite3_step(select), SQLITE_ROW);
    QUIRE_CHECK_EQ(static_cast<std::size_t>(::sqlite3_column_bytes(select, 0)), into.size());
    std::memcpy(into.data(), ::sqlite3_column_blob(select, 0), into.size());
    QUIRE_CHECK_EQ(::sqlite3_reset(select), SQLITE_OK);
  }

 private:
  Mutex mutex_;
  Database database_;
  Statement begin_;
  Statement update_;
  Statement commit_;
  Statement select_;
};

void make_database(const std::string& path, std::uint64_t pages, std::uint64_t value_bytes) {
  Database database(path);
  database.run("BEGIN");
  Statement insert(database.get(), "INSERT INTO pages VALUES (?1, zeroblob(?2))");
  for (std::uint64_t i = 0; i < pages; ++i) {
    ::sqlite3_bind_int64(insert.get(), 1, static_cast<sqlite3_int64>(i));
    ::sqlite3_bind_int64(insert.get(), 2, static_cast<sqlite3_int64>(value_bytes));
    insert.run();
  }
  database.run("COMMIT");
}

std::unique_ptr<PageStore> open_database(const std::string& path) {
  return std::make_unique<SqlitePages>(path);
}

}  // namespace

std::vector<Product> sqlite_products() {
  return {{.name = "sqlite", .make = make_database, .open = open_database},
          {.name = "sqlite_snug",
           .value_bytes = kSnugValueBytes,
           .make = make_database,
           .open = open_database}};
}

}  // namespace quire::bench
