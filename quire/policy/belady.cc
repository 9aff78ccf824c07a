// SPDX-License-Identifier: Apache-2.0
#include "quire/policy/belady.h"

#include <algorithm>
#include <compare>
#include <limits>
#include <vector>

#include "quire/base/check.h"

namespace quire {
namespace {

constexpr std::uint32_t kNever = std::numeric_limits<std::uint32_t>::max();

// For each access, the index of the next one of the same page.
std::vector<std::uint32_t> find_next_uses(std::span<const PageAccess> accesses,
                                          std::uint32_t page_span) {
  std::vector<std::uint32_t> next_uses(accesses.size());
  std::vector<std::uint32_t> seen_at(page_span, kNever);
  for (std::size_t i = accesses.size(); i-- > 0;) {
    QUIRE_CHECK_LT(accesses[i].page(), page_span);
    std::uint32_t& seen = seen_at[accesses[i].page()];
    next_uses[i] = seen;
    seen = static_cast<std::uint32_t>(i);
  }
  return next_uses;
}

class Memory {
 public:
  Memory(std::uint32_t page_span, std::size_t pages_max)
      : pages_(page_span, State::kAbsent), pages_max_(pages_max) {}

  void access(PageAccess access, std::uint32_t next_use) {
    State& state = pages_[access.page()];
    if (state == State::kAbsent) {
      ++stats_.misses;
      if (stats_.misses - stats_.evictions > pages_max_) {
        evict();
      }
      state = State::kClean;
    } else {
      ++stats_.hits;
      ++outdated_;  // Its entry for this use.
    }
    if (access.is_store()) {
      state = State::kDirty;
    }
    uses_.push_back({.next_use = next_use, .page = access.page()});
    std::push_heap(uses_.begin(), uses_.end());
  }

  void drop_outdated(std::size_t now) {
    if (outdated_ <= pages_max_ + kOutdatedMin) {
      return;
    }
    std::erase_if(uses_, [now](const Use& use) { return use.next_use <= now; });
    std::make_heap(uses_.begin(), uses_.end());
    outdated_ = 0;
  }

  [[nodiscard]] BeladyStats finish() {
    stats_.dirty_at_end =
        static_cast<std::uint64_t>(std::count(pages_.begin(), pages_.end(), State::kDirty));
    return stats_;
  }

 private:
  enum class State : std::uint8_t { kAbsent, kClean, kDirty };
  struct Use {
    std::uint32_t next_use = 0;
    std::uint32_t page = 0;
    friend constexpr auto operator<=>(const Use&, const Use&) = default;
  };
  // Chosen: tidying a small heap is not worth its call.
  static constexpr std::size_t kOutdatedMin = 1024;

  // The top is never outdated: entries for uses that have passed are below all that are to come,
  // and each page in memory has one of these.
  void evict() {
    std::pop_heap(uses_.begin(), uses_.end());
    State& state = pages_[uses_.back().page];
    QUIRE_DCHECK(state != State::kAbsent);
    uses_.pop_back();
    ++stats_.evictions;
    stats_.dirty_evictions += state == State::kDirty ? 1U : 0U;
    state = State::kAbsent;
  }

  std::vector<State> pages_;
  const std::size_t pages_max_;
  std::vector<Use> uses_;  // A heap: the furthest on top.
  std::size_t outdated_ = 0;
  BeladyStats stats_;
};

}  // namespace

BeladyStats belady(std::span<const PageAccess> accesses, std::uint32_t page_span,
                   std::size_t memory_pages) {
  QUIRE_CHECK(memory_pages > 0);
  QUIRE_CHECK_LT(accesses.size(), std::size_t{kNever});
  const std::vector<std::uint32_t> next_uses = find_next_uses(accesses, page_span);
  Memory memory(page_span, memory_pages);
  for (std::size_t i = 0; i < accesses.size(); ++i) {
    memory.access(accesses[i], next_uses[i]);
    memory.drop_outdated(i);
  }
  return memory.finish();
}

}  // namespace quire
