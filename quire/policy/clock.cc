// SPDX-License-Identifier: Apache-2.0
//
// CLOCK: first in, first out, but a page that was used gets a second chance.
//
// Source: Corbato, "A paging experiment with the Multics system", 1968 (printed 1969).
//
// Deviations, marked where they are: a use is seen only in the half of the queue nearest the tail
// (QueueSet::kWatchedPart); a page found busy goes round like one found used; what is used gives
// way in the end, so that a call comes back (Mercy).
#include "quire/policy/internal/queue_policy.h"

namespace quire::internal {
namespace {

constexpr QueueId kRing = 1;

class Clock final : public QueuePolicy {
 public:
  Clock(std::size_t pages_max, PageHost& host) : QueuePolicy(host, pages_max, kRing) {}

  void inserted(PageId page, Arrival /*arrival*/) override {
    ++stats_.inserted;
    if (!queues_.take_over(page, false)) {
      queues_.insert(kRing, page, PageMark::in(kRing));
    }
  }
  void kept(PageId page) override {
    --stats_.evicted;
    queues_.insert(kRing, page, PageMark::in(kRing));
  }
  std::size_t peek_tail(std::span<PageId> pages) const override {
    return queues_.peek(kRing, queues_.size(kRing), pages, 0);
  }
  [[nodiscard]] std::string_view name() const noexcept override {
    return name_of(PolicyKind::kClock);
  }

  std::size_t choose_victims(std::span<PageId> victims) override {
    const std::size_t found = sweep(victims, Mercy::kForUsed);
    return found > 0 ? found : sweep(victims, Mercy::kNone);
  }

 private:
  // The hand goes round once at most.
  std::size_t sweep(std::span<PageId> victims, Mercy mercy) {
    std::size_t found = 0;
    const std::uint64_t size = queues_.size(kRing);
    std::uint64_t passed = 0;
    std::size_t turns = kTurnsMin + kTurnsPerVictim * victims.size();
    while (found < victims.size() && passed < size) {
      const Look look = mercy == Mercy::kForUsed && turns > 0 ? Look::kYes : Look::kNo;
      if (look == Look::kYes) {
        queues_.watch_ahead(kRing);  // Deviation: the textbook's bit counts from the last turn on.
      }
      const std::uint64_t count = look_count(victims.size() - found, passed);
      for (const Candidate& candidate : queues_.tail(kRing, std::min(count, size - passed), look)) {
        if (found == victims.size()) {
          break;
        }
        ++passed;
        if (take(candidate, turns)) {
          victims[found++] = candidate.page;
        }
      }
    }
    return found;
  }

  bool take(const Candidate& candidate, std::size_t& turns) {
    const PageId page = queues_.pop(kRing);
    if (candidate.kind == Candidate::Kind::kStale || !queues_.mark(page).is_live_in(kRing)) {
      queues_.forget(kRing, page);
      return false;
    }
    if (candidate.kind == Candidate::Kind::kBusy) {
      queues_.push(kRing, page);
      return false;
    }
    if (candidate.is_used && turns > 0) {
      --turns;
      ++stats_.given_again;
      queues_.push(kRing, page);
      return false;
    }
    gone(page, PageMark::none());
    return true;
  }
};

}  // namespace

std::unique_ptr<Replacement> make_clock(std::size_t pages_max, PageHost& host) {
  return std::make_unique<Clock>(pages_max, host);
}

}  // namespace quire::internal
