// SPDX-License-Identifier: Apache-2.0
//
// PageHost for tests of replacement policies: pages that are there or not, pinned or not, and bits
// that say whether they were used since they were last watched, exactly as a pager could tell; or,
// instead, bits that are a function of page and round, so that a policy and a naive model of it see
// the same whatever they watch. Checks that a policy watches and looks at pages that can go, and at
// no more than kBatchMax of them in a call.
//
// Thread-safety: one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "quire/base/check.h"
#include "quire/policy/replacement.h"

namespace quire::testing {

class FakePageHost final : public PageHost {
 public:
  explicit FakePageHost(std::size_t page_count) : pages_(page_count) {}

  // Use bits from now on: true for `percent` in a hundred pages, others in each round.
  void draw_use_bits(std::uint64_t round, std::uint64_t percent) {
    drawn_ = Drawn{.round = round, .percent = percent};
  }
  [[nodiscard]] bool drawn_bit(PageId page) const {
    std::uint64_t mixed = (page + 1) * 0x9e3779b97f4a7c15 + drawn_->round * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ (mixed >> 29)) * 0x94d049bb133111eb;
    return (mixed >> 32) % 100 < drawn_->percent;
  }

  void come(PageId page, Arrival arrival) {
    Page& own = pages_[page];
    QUIRE_CHECK(!own.is_here);
    own.is_here = true;
    own.is_watched = arrival == Arrival::kReadAhead;
    own.is_used = false;
    ++here_count_;
  }
  void go(PageId page) {
    QUIRE_CHECK(pages_[page].is_here);
    pages_[page] = Page{.note = pages_[page].note};
    --here_count_;
  }
  void pin(PageId page, bool is_pinned) { pages_[page].is_pinned = is_pinned; }
  // True when it was there.
  bool use(PageId page) {
    pages_[page].is_used = true;
    return pages_[page].is_here;
  }
  void forget_note(PageId page) { pages_[page].note = 0; }

  [[nodiscard]] bool is_here(PageId page) const { return pages_[page].is_here; }
  [[nodiscard]] bool is_pinned(PageId page) const { return pages_[page].is_pinned; }
  [[nodiscard]] std::size_t here_count() const { return here_count_; }
  [[nodiscard]] std::uint64_t watch_calls() const { return watch_calls_; }
  [[nodiscard]] std::uint64_t look_calls() const { return look_calls_; }
  [[nodiscard]] std::uint64_t looked_at() const { return looked_at_; }

  [[nodiscard]] PageNote note(PageId page) const noexcept override { return pages_[page].note; }
  void set_note(PageId page, PageNote note) noexcept override { pages_[page].note = note; }
  [[nodiscard]] Standing standing(PageId page) const noexcept override {
    const Page& own = pages_[page];
    return !own.is_here ? Standing::kGone : own.is_pinned ? Standing::kBusy : Standing::kEvictable;
  }
  void watch(std::span<const PageId> pages) noexcept override {
    QUIRE_CHECK(!pages.empty());
    QUIRE_CHECK_LE(pages.size(), Replacement::kBatchMax);
    ++watch_calls_;
    for (const PageId page : pages) {
      QUIRE_CHECK(standing(page) == Standing::kEvictable);
      pages_[page].is_watched = true;
      pages_[page].is_used = false;
    }
  }
  void look(std::span<const PageId> pages, std::span<bool> used) noexcept override {
    QUIRE_CHECK(!pages.empty());
    QUIRE_CHECK_LE(pages.size(), Replacement::kBatchMax);
    QUIRE_CHECK_EQ(pages.size(), used.size());
    ++look_calls_;
    looked_at_ += pages.size();
    for (std::size_t i = 0; i < pages.size(); ++i) {
      const Page& own = pages_[pages[i]];
      QUIRE_CHECK(standing(pages[i]) == Standing::kEvictable);
      used[i] = drawn_ ? drawn_bit(pages[i]) : own.is_watched && own.is_used;
    }
  }

 private:
  struct Page {
    PageNote note = 0;
    bool is_here = false;
    bool is_pinned = false;
    bool is_watched = false;
    bool is_used = false;
  };
  struct Drawn {
    std::uint64_t round = 0;
    std::uint64_t percent = 0;
  };

  std::vector<Page> pages_;
  std::optional<Drawn> drawn_;
  std::size_t here_count_ = 0;
  std::uint64_t watch_calls_ = 0;
  std::uint64_t look_calls_ = 0;
  std::uint64_t looked_at_ = 0;
};

}  // namespace quire::testing
