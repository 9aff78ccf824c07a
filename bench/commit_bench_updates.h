// SPDX-License-Identifier: Apache-2.0
//
// A keeper of pages made of a file's memory: a transaction is stores, and then a commit.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>

#include "bench/commit_bench.h"

namespace quire::bench {

// Where several threads commit, each one's stores are an update, so that none is cut in two.
enum class Committers : std::uint8_t { kOne, kSeveral };

template <typename Memory, Committers kCommitters>
class MemoryPages final : public PageStore {
 public:
  explicit MemoryPages(const std::string& path) : memory_(path) {}

  void commit(std::span<const PageValue> values) override {
    if constexpr (kCommitters == Committers::kSeveral) {
      const auto update = memory_.begin_update();
      store(values);
    } else {
      store(values);
    }
    memory_.commit({0, memory_.bytes().size()});
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

  Memory memory_;
};

template <typename Memory, Committers kCommitters>
std::unique_ptr<PageStore> open_pages(const std::string& path) {
  return std::make_unique<MemoryPages<Memory, kCommitters>>(path);
}

// For Product::open.
template <typename Memory>
auto opener_of(std::size_t threads) {
  return threads == 1 ? open_pages<Memory, Committers::kOne>
                      : open_pages<Memory, Committers::kSeveral>;
}

}  // namespace quire::bench
