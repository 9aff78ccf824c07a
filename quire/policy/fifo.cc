// SPDX-License-Identifier: Apache-2.0
//
// First in, first out. Busy pages go back to the head, which is the only deviation.
//
// Source: Belady, "A study of replacement algorithms for a virtual-storage computer", IBM Systems
//         Journal 5(2), 1966.
#include "quire/policy/internal/queue_policy.h"

namespace quire::internal {
namespace {

constexpr QueueId kAll = 1;

class Fifo final : public QueuePolicy {
 public:
  Fifo(std::size_t pages_max, PageHost& host) : QueuePolicy(host, pages_max, kAll) {}

  void inserted(PageId page, Arrival /*arrival*/) override {
    ++stats_.inserted;
    if (!queues_.take_over(page, false)) {
      queues_.insert(kAll, page, PageMark::in(kAll));
    }
  }
  void kept(PageId page) override {
    --stats_.evicted;
    queues_.insert(kAll, page, PageMark::in(kAll));
  }
  std::size_t peek_tail(std::span<PageId> pages) const override {
    return queues_.peek(kAll, queues_.size(kAll), pages, 0);
  }
  [[nodiscard]] std::string_view name() const noexcept override {
    return name_of(PolicyKind::kFifo);
  }

  std::size_t choose_victims(std::span<PageId> victims) override {
    std::size_t found = 0;
    std::uint64_t left =
        queues_.size(kAll);  // One pass: what goes back to the head is not met again.
    while (found < victims.size() && left > 0) {
      const std::uint64_t count = std::min<std::uint64_t>(victims.size() - found, left);
      for (const Candidate& candidate : queues_.tail(kAll, count, Look::kNo)) {
        --left;
        found += take(candidate, victims.subspan(found)) ? 1U : 0U;
      }
    }
    return found;
  }

 private:
  bool take(const Candidate& candidate, std::span<PageId> victims) {
    const PageId page = queues_.pop(kAll);
    if (candidate.kind == Candidate::Kind::kStale || !queues_.mark(page).is_live_in(kAll)) {
      queues_.forget(kAll, page);
      return false;
    }
    if (candidate.kind == Candidate::Kind::kBusy) {
      queues_.push(kAll, page);
      return false;
    }
    gone(page, PageMark::none());
    victims.front() = page;
    return true;
  }
};

}  // namespace

std::unique_ptr<Replacement> make_fifo(std::size_t pages_max, PageHost& host) {
  return std::make_unique<Fifo>(pages_max, host);
}

}  // namespace quire::internal
