// SPDX-License-Identifier: Apache-2.0
//
// Transactions of a few random pages each, one after the other until the time is over; the same
// pages in the same order for every side.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bench/commit_bench.h"
#include "quire/base/check.h"
#include "quire/base/prng.h"
#include "quire/testing/aligned_memory.h"

namespace quire::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kThreads = 4;
constexpr std::uint64_t kLastTransactions = 4;  // Behind the last settle(): found in a log, if any.

// Of what a direct write and a flush of the page alone can do: the journal's record has a header.
constexpr double kFloorShare = 0.85;

// A page's value: bytes that do not compress, its number, and at both ends what stamp it has.
// A stamp of 0 stands for the zeros that are there at first.
void write_value(std::span<std::byte> bytes, std::uint64_t page, std::uint64_t stamp) {
  const std::uint64_t front[2] = {stamp, mark_of(page)};
  std::memcpy(bytes.data(), front, sizeof front);
  std::memcpy(&bytes[bytes.size() - sizeof stamp], &stamp, sizeof stamp);
}

void check_value(std::span<const std::byte> bytes, std::uint64_t page, std::uint64_t stamp) {
  std::uint64_t front[2];
  std::uint64_t back = 0;
  std::memcpy(front, bytes.data(), sizeof front);
  std::memcpy(&back, &bytes[bytes.size() - sizeof back], sizeof back);
  QUIRE_CHECK_EQ(front[0], stamp);
  QUIRE_CHECK_EQ(front[1], stamp == 0 ? 0 : mark_of(page));
  QUIRE_CHECK_EQ(back, stamp);
}

// Who commits: one thread's pages, which are every `stride`th, and the stamps they have.
class Committer {
 public:
  Committer(std::size_t index, std::size_t stride, std::uint64_t pages, std::size_t pages_each,
            std::uint64_t value_bytes)
      : index_(index),
        stride_(stride),
        random_(index + 1),
        stamps_(pages / stride),
        memory_(pages_each * kPageBytes) {
    // Else a transaction cannot find so many different ones.
    QUIRE_CHECK_GE(stamps_.size(), 2 * pages_each);
    Prng bytes(index + 1);
    for (std::size_t i = 0; i < pages_each; ++i) {
      const std::span<std::byte> value = memory_.bytes().subspan(i * kPageBytes, value_bytes);
      std::ranges::generate(value, [&] { return static_cast<std::byte>(bytes()); });
      values_.push_back({.bytes = value});
    }
  }

  void commit_one(PageStore& store) {
    ++stamp_;
    for (std::size_t i = 0; i < values_.size(); ++i) {
      const std::uint64_t own = draw();
      stamps_[own] = stamp_;
      values_[i].page = page_of(own);
      write_value(memory_.bytes().subspan(i * kPageBytes, values_[i].bytes.size()), page_of(own),
                  stamp_);
    }
    store.commit(values_);
  }

  // Aborts unless the last transaction of each page is there.
  void check(PageStore& store) const {
    std::vector<std::byte> found(values_[0].bytes.size());
    for (std::uint64_t own = 0; own < stamps_.size(); ++own) {
      store.read(page_of(own), found);
      check_value(found, page_of(own), stamps_[own]);
    }
  }

 private:
  [[nodiscard]] std::uint64_t page_of(std::uint64_t own) const { return own * stride_ + index_; }
  // One that this transaction does not have yet.
  std::uint64_t draw() {
    for (;;) {
      const std::uint64_t own = random_.below(stamps_.size());
      if (stamps_[own] != stamp_) {
        return own;
      }
    }
  }

  const std::size_t index_;
  const std::size_t stride_;
  Prng random_;
  std::uint64_t stamp_ = 0;
  std::vector<std::uint64_t> stamps_;
  testing::PageMemory memory_;
  std::vector<PageValue> values_;
};

// A product in the race. Its files are made in the first turn, which does not count.
class Entrant {
 public:
  Entrant(const CommitSetting& setting, const Product& product, std::size_t pages_each,
          std::size_t threads)
      : setting_(setting), product_(product), pages_each_(pages_each), threads_(threads) {}

  [[nodiscard]] Side side() {
    return {.name = product_.name, .run = [this] { return turn(); }, .is_apart = false};
  }

  // What is committed is there when the files are opened again.
  void check_and_remove() {
    if (store_ == nullptr) {
      return;  // Not asked for.
    }
    store_->begin_turn();
    for (std::uint64_t i = 0; i < kLastTransactions; ++i) {
      committers_[i % threads_]->commit_one(*store_);
    }
    store_.reset();
    store_ = product_.open(path());
    for (const auto& committer : committers_) {
      committer->check(*store_);
    }
    store_.reset();
    remove_files(setting_, file_name());
  }

 private:
  [[nodiscard]] std::string file_name() const { return product_.name + ".pages"; }
  [[nodiscard]] std::string path() const { return setting_.file(file_name()); }

  void make() {
    remove_files(setting_, file_name());
    product_.make(path(), setting_.data_pages(), product_.value_bytes);
    store_ = product_.open(path());
    for (std::size_t i = 0; i < threads_; ++i) {
      committers_.push_back(std::make_unique<Committer>(i, threads_, setting_.data_pages(),
                                                        pages_each_, product_.value_bytes));
    }
  }

  // Until the time is over; returns how many there were.
  std::uint64_t commit_for_a_while() {
    const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                        std::chrono::duration<double>(setting_.race.seconds));
    std::atomic<std::uint64_t> total{0};
    const auto body = [&](std::size_t index) {
      std::uint64_t count = 0;
      do {
        committers_[index]->commit_one(*store_);
        ++count;
      } while (Clock::now() < end);
      total += count;
    };
    if (threads_ == 1) {
      body(0);
    } else {
      run_threads(threads_, body);
    }
    return total;
  }

  nlohmann::json turn() {
    if (store_ == nullptr) {
      make();
    }
    store_->begin_turn();
    const CommitMeter meter(setting_);
    const std::uint64_t transactions = commit_for_a_while();
    nlohmann::json found = meter.stop(transactions);
    if (nlohmann::json counters = store_->counters(); !counters.is_null()) {
      found["counters"] = std::move(counters);
    }
    const double settle_seconds = seconds_of([this] { store_->settle(); });
    found["settle_seconds"] = settle_seconds;
    found["settled_rate"] =
        static_cast<double>(transactions) / (found["seconds"].get<double>() + settle_seconds);
    return found;
  }

  const CommitSetting& setting_;
  const Product product_;
  const std::size_t pages_each_;
  const std::size_t threads_;
  std::unique_ptr<PageStore> store_;
  std::vector<std::unique_ptr<Committer>> committers_;
};

nlohmann::json transactions(const CommitSetting& setting, std::size_t pages_each,
                            std::size_t threads, double goal) {
  std::vector<std::unique_ptr<Entrant>> entrants;
  std::vector<Side> sides;
  const auto enter = [&](const Product& product) {
    entrants.push_back(std::make_unique<Entrant>(setting, product, pages_each, threads));
    sides.push_back(entrants.back()->side());
  };
  std::vector<std::string> others;
  for (const auto& some : {lmdb_products(), sqlite_products()}) {
    for (const Product& product : some) {
      enter(product);
      others.push_back(product.name);
    }
  }
  std::vector<Figure> figures;
  for (const Product& product : quire_products(threads)) {
    enter(product);
    figures.push_back({product.name + " to the best", product.name, others, goal});
    figures.push_back({product.name + " to the best, all settled", product.name, others, goal,
                       Goal::kAtLeast, "settled_rate"});
  }
  if (pages_each == 1 && threads == 1) {
    const Product raw = raw_pages();
    enter(raw);
    figures.push_back({"journal to raw", "journal", {raw.name}, kFloorShare});
    figures.push_back({"raw to the best: what can be had", raw.name, others, 1});
  }
  nlohmann::json report = race(setting.race, sides, figures, Start::kAny);
  for (const auto& entrant : entrants) {
    entrant->check_and_remove();
  }
  return report;
}

}  // namespace

std::vector<CommitCase> transaction_cases() {
  return {{"txn-1", "durable transactions of 1 random page of 4 KiB",
           [](const CommitSetting& setting) { return transactions(setting, 1, 1, 1.5); }},
          {"txn-16", "of 16 pages",
           [](const CommitSetting& setting) { return transactions(setting, 16, 1, 1.5); }},
          {"txn-256", "of 256 pages",
           [](const CommitSetting& setting) { return transactions(setting, 256, 1, 1.5); }},
          {"txn-1-threads4", "of 1 page, 4 threads",
           [](const CommitSetting& setting) { return transactions(setting, 1, kThreads, 2); }},
          {"txn-16-threads4", "of 16 pages, 4 threads",
           [](const CommitSetting& setting) { return transactions(setting, 16, kThreads, 2); }},
          {"txn-256-threads4", "of 256 pages, 4 threads",
           [](const CommitSetting& setting) { return transactions(setting, 256, kThreads, 2); }}};
}

}  // namespace quire::bench
