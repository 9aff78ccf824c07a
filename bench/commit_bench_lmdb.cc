// SPDX-License-Identifier: Apache-2.0
//
// LMDB as a keeper of pages: one database, integer keys, default flags: a commit writes the changed
// pages, syncs, and writes a meta page through. Nothing is put off.
#include <fmt/format.h>
#include <lmdb.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "bench/commit_bench.h"
#include "quire/base/check.h"

namespace quire::bench {
namespace {

// A value that is too long for a node has pages of its own, which begin with 16 bytes of header.
constexpr std::uint64_t kSnugValueBytes = kPageBytes - 16;
// Of the data: room for what is written before the pages of earlier transactions can be used again.
constexpr std::uint64_t kMapFactor = 8;
constexpr std::size_t kPagesPerLoad = 1024;

void check(int code) {
  if (code != MDB_SUCCESS) {
    fmt::print(stderr, "LMDB: {}\n", ::mdb_strerror(code));
    QUIRE_CHECK_EQ(code, MDB_SUCCESS);
  }
}

class Transaction {
 public:
  Transaction(MDB_env* environment, unsigned flags) {
    check(::mdb_txn_begin(environment, nullptr, flags, &transaction_));
  }
  ~Transaction() {
    if (transaction_ != nullptr) {
      ::mdb_txn_abort(transaction_);
    }
  }
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  void commit() { check(::mdb_txn_commit(std::exchange(transaction_, nullptr))); }
  [[nodiscard]] MDB_txn* get() const { return transaction_; }

 private:
  MDB_txn* transaction_ = nullptr;
};

class LmdbPages final : public PageStore {
 public:
  // A size is needed only by who makes it.
  explicit LmdbPages(const std::string& path, std::uint64_t map_bytes = 0) {
    check(::mdb_env_create(&environment_));
    if (map_bytes > 0) {
      check(::mdb_env_set_mapsize(environment_, map_bytes));
    }
    check(::mdb_env_open(environment_, path.c_str(), MDB_NOSUBDIR, 0644));
    Transaction transaction(environment_, 0);
    check(::mdb_dbi_open(transaction.get(), nullptr, MDB_INTEGERKEY, &pages_));
    transaction.commit();
  }
  ~LmdbPages() override { ::mdb_env_close(environment_); }

  void commit(std::span<const PageValue> values) override {
    Transaction transaction(environment_, 0);
    for (const PageValue& value : values) {
      std::uint64_t number = value.page;
      MDB_val key{sizeof number, &number};
      MDB_val data{value.bytes.size(), const_cast<std::byte*>(value.bytes.data())};
      check(::mdb_put(transaction.get(), pages_, &key, &data, 0));
    }
    transaction.commit();
  }
  void read(std::uint64_t page, std::span<std::byte> into) override {
    const Transaction transaction(environment_, MDB_RDONLY);
    MDB_val key{sizeof page, &page};
    MDB_val data{};
    check(::mdb_get(transaction.get(), pages_, &key, &data));
    QUIRE_CHECK_EQ(data.mv_size, into.size());
    std::memcpy(into.data(), data.mv_data, into.size());
  }

 private:
  MDB_env* environment_ = nullptr;
  MDB_dbi pages_ = 0;
};

void make_database(const std::string& path, std::uint64_t pages, std::uint64_t value_bytes) {
  LmdbPages database(path, pages * kPageBytes * kMapFactor);
  const std::vector<std::byte> zeros(value_bytes);
  for (std::uint64_t from = 0; from < pages; from += kPagesPerLoad) {
    std::vector<PageValue> values;
    for (std::uint64_t i = from; i < std::min(from + kPagesPerLoad, pages); ++i) {
      values.push_back({.page = i, .bytes = zeros});
    }
    database.commit(values);
  }
}

std::unique_ptr<PageStore> open_database(const std::string& path) {
  return std::make_unique<LmdbPages>(path);
}

}  // namespace

std::vector<Product> lmdb_products() {
  return {{.name = "lmdb", .make = make_database, .open = open_database},
          {.name = "lmdb_snug",
           .value_bytes = kSnugValueBytes,
           .make = make_database,
           .open = open_database}};
}

}  // namespace quire::bench
