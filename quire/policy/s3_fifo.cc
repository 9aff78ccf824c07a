// SPDX-License-Identifier: Apache-2.0
//
// S3-FIFO: a small queue keeps what is used once away from the main queue, and a list of ghosts
// lets in what was turned away too early.
//
//   kDemand ----> small (1/10) ----- used -----> main <--.
//                   | not used                    | |    | used, or was used often
//                   v                    not used | '----'
//                 gone, a ghost <--- miss         v
//                   '------------ again? ----> (main)          gone, no ghost
//
//   kReadAhead -> ahead (1/8)   untouched: gone, no ghost; touched late: small; touched: like small
//   kStream ----> stream (1/64) used again: small; not used: gone, no ghost
//
// A queue longer than its share gives the next victim, the upper ones of this list first:
//
//   stream 1/64   behind a reader that does not come back: a moment to be used again, no more
//   ahead  1/8    guesses; those that nobody touched leave from here, and reach no other queue
//   small  1/10   one use so far
//   main   rest   seen to be used again
//
// Source: Yang, Zhang, Qiu, Yue, Rashmi, "FIFO queues are all you need for cache eviction", SOSP
//         2023. The ghost list is the time stamp of its section 4.2.
//
// Deviations, marked where they are: (1) hits are not seen; a page is watched in the last part of
// its queue and one bit is known about it at the tail; (2) in main a bit found set adds one to the
// frequency and one found clear takes one off, so that a page that was used in three laps stays for
// three more; (3) the queues for read-ahead and streams; (4) what is used gives way in the end, so
// that a call comes back (Mercy); (5) busy pages go back to the head.
#include <algorithm>
#include <array>

#include "quire/base/check.h"
#include "quire/policy/internal/queue_policy.h"

namespace quire::internal {
namespace {

constexpr QueueId kStreamQueue = 1;
constexpr QueueId kAheadQueue = 2;
constexpr QueueId kSmallQueue = 3;
constexpr QueueId kMainQueue = 4;
constexpr QueueId kQueueCount = 4;

// The part of memory that a queue may have, as a divisor. 10: the paper's. 8: a few windows of
// read-ahead of a few streams, and a wrong guess costs no more than this. 64: chosen small; a page
// behind a stream is worth nothing.
constexpr std::array<std::size_t, kQueueCount> kShares = {64, 8, 10, 1};

class S3Fifo final : public QueuePolicy {
 public:
  S3Fifo(std::size_t pages_max, PageHost& host);

  void inserted(PageId page, Arrival arrival) override;
  std::size_t choose_victims(std::span<PageId> victims) override;
  void kept(PageId page) override;
  std::size_t peek_tail(std::span<PageId> pages) const override;
  [[nodiscard]] std::string_view name() const noexcept override {
    return name_of(PolicyKind::kS3Fifo);
  }

 private:
  // Entries of each queue that one call may still look at: each queue is gone through once at most.
  using Turns = std::array<std::uint64_t, kQueueCount>;

  [[nodiscard]] std::uint64_t excess(QueueId queue) const noexcept;
  [[nodiscard]] QueueId next_queue(const Turns& turns) const noexcept;
  std::size_t sweep(std::span<PageId> victims, Mercy mercy);
  bool take(QueueId queue, const Candidate& candidate, Mercy mercy);
  [[nodiscard]] PageMark judge(QueueId queue, PageMark mark, bool is_used) noexcept;
  [[nodiscard]] PageMark new_ghost() noexcept;
  [[nodiscard]] bool is_recent(PageMark mark) const noexcept;

  std::array<std::uint64_t, kQueueCount> shares_{};  // In pages.
  // The ghost list has as many entries as main has pages; a page is in it while fewer than that
  // became ghosts after it.
  const std::uint64_t ghosts_max_;
  // Ghosts to a step of the stamps: 1 up to 2^24 ghosts (64 GiB of 4 KiB pages).
  int stamp_shift_ = 0;
  std::uint64_t ghost_count_ = 0;  // Ever.
};

S3Fifo::S3Fifo(std::size_t pages_max, PageHost& host)
    : QueuePolicy(host, pages_max, kQueueCount), ghosts_max_(pages_max - pages_max / 10) {
  for (std::size_t i = 0; i < kQueueCount; ++i) {
    shares_[i] = std::max<std::size_t>(pages_max / kShares[i], 1);
  }
  // Stamps wrap around, and an old one then looks recent: at most one in sixteen.
  while ((ghosts_max_ >> stamp_shift_) > (PageMark::kStampMask >> 4)) {
    ++stamp_shift_;
  }
}

PageMark S3Fifo::new_ghost() noexcept {
  return PageMark::ghost(static_cast<std::uint32_t>(ghost_count_++ >> stamp_shift_));
}

bool S3Fifo::is_recent(PageMark mark) const noexcept {
  if (!mark.is_ghost()) {
    return false;
  }
  const auto now = static_cast<std::uint32_t>(ghost_count_ >> stamp_shift_);
  const std::uint32_t age = (now - mark.stamp()) & PageMark::kStampMask;
  return age <= ghosts_max_ >> stamp_shift_;
}

void S3Fifo::inserted(PageId page, Arrival arrival) {
  ++stats_.inserted;
  const bool is_guess = arrival == Arrival::kReadAhead;
  const bool is_returning = arrival != Arrival::kStream && is_recent(queues_.mark(page));
  stats_.ghost_hits += is_returning ? 1U : 0U;
  if (queues_.take_over(page, is_guess)) {
    return;
  }
  switch (arrival) {
    case Arrival::kDemand: {
      const QueueId queue = is_returning ? kMainQueue : kSmallQueue;
      queues_.insert(queue, page, PageMark::in(queue));
      return;
    }
    case Arrival::kReadAhead:  // Deviation (3). A guess about a ghost counts once it is touched.
      queues_.insert(kAheadQueue, page,
                     PageMark::in(kAheadQueue).with_guess(true).with_frequency(is_returning));
      return;
    case Arrival::kStream:  // Deviation (3).
      queues_.insert(kStreamQueue, page, PageMark::in(kStreamQueue));
      return;
  }
}

// Whatever kept it in memory was a use.
void S3Fifo::kept(PageId page) {
  --stats_.evicted;
  queues_.insert(kMainQueue, page, PageMark::in(kMainQueue));
}

std::uint64_t S3Fifo::excess(QueueId queue) const noexcept {
  const std::uint64_t size = queues_.size(queue);
  const std::uint64_t share = shares_[queue - 1U];
  return size > share ? size - share : 0;
}

// Where the next victim is looked for: in a queue that is longer than its share; else in main;
// else wherever there is something. kNoQueue when every queue has been gone through.
QueueId S3Fifo::next_queue(const Turns& turns) const noexcept {
  for (const QueueId queue : {kStreamQueue, kAheadQueue, kSmallQueue}) {
    if (turns[queue - 1U] > 0 && excess(queue) > 0) {
      return queue;
    }
  }
  for (const QueueId queue : {kMainQueue, kSmallQueue, kAheadQueue, kStreamQueue}) {
    if (turns[queue - 1U] > 0) {
      return queue;
    }
  }
  return kNoQueue;
}

std::size_t S3Fifo::choose_victims(std::span<PageId> victims) {
  const std::size_t found = sweep(victims, Mercy::kForUsed);
  return found > 0 ? found : sweep(victims, Mercy::kNone);  // Deviation (4).
}

std::size_t S3Fifo::sweep(std::span<PageId> victims, Mercy mercy) {
  Turns turns{};
  for (QueueId queue = 1; queue <= kQueueCount; ++queue) {
    turns[queue - 1U] = queues_.size(queue);
  }
  const std::uint64_t given_again_max =
      stats_.given_again + kTurnsMin + kTurnsPerVictim * victims.size();
  std::size_t found = 0;
  std::uint64_t passed = 0;
  for (QueueId queue = next_queue(turns); queue != kNoQueue && found < victims.size();
       queue = next_queue(turns)) {
    if (stats_.given_again >= given_again_max) {
      mercy = Mercy::kNone;
    }
    if (mercy == Mercy::kForUsed) {
      queues_.watch_ahead(queue);  // Deviation (1).
    }
    const std::uint64_t count = look_count(victims.size() - found, passed);
    for (const Candidate& candidate :
         queues_.tail(queue, std::min(count, turns[queue - 1U]),
                      mercy == Mercy::kForUsed ? Look::kYes : Look::kNo)) {
      if (found == victims.size() || next_queue(turns) != queue) {
        break;
      }
      --turns[queue - 1U];
      ++passed;
      if (take(queue, candidate, mercy)) {
        victims[found++] = candidate.page;
      }
    }
  }
  return found;
}

// Takes the entry at the tail out of its queue. True: its page goes.
bool S3Fifo::take(QueueId queue, const Candidate& candidate, Mercy mercy) {
  const PageId page = queues_.pop(queue);
  const PageMark old = queues_.mark(page);
  if (candidate.kind == Candidate::Kind::kStale || !old.is_live_in(queue)) {
    queues_.forget(queue, page);
    return false;
  }
  if (candidate.kind == Candidate::Kind::kBusy) {  // Deviation (5).
    queues_.push(queue, page);
    return false;
  }
  const PageMark mark = mercy == Mercy::kForUsed ? judge(queue, old, candidate.is_used)
                        : queue == kSmallQueue   ? new_ghost()
                                                 : PageMark::none();
  if (mark.queue() == kNoQueue) {
    gone(page, mark);
    return true;
  }
  ++stats_.given_again;
  queues_.set_mark(page, mark);
  queues_.push(mark.queue(), page);
  return false;
}

// What a page at the tail of its queue becomes.
PageMark S3Fifo::judge(QueueId queue, PageMark mark, bool is_used) noexcept {
  if (mark.is_guess()) {  // Nobody had touched it when the watch line came by.
    return is_used ? PageMark::in(kSmallQueue) : PageMark::none();
  }
  const std::uint8_t frequency = mark.frequency();
  switch (queue) {
    case kStreamQueue: return is_used ? PageMark::in(kSmallQueue) : PageMark::none();
    case kAheadQueue:  // Touched once; a frequency says that it was a ghost.
      return is_used || frequency > 0 ? PageMark::in(kMainQueue) : new_ghost();
    case kSmallQueue: return is_used ? PageMark::in(kMainQueue) : new_ghost();
    default: QUIRE_DCHECK_EQ(queue, kMainQueue); break;
  }
  if (is_used) {  // Deviation (2).
    const auto more = static_cast<std::uint8_t>(frequency + 1);
    return mark.with_frequency(std::min(more, PageMark::kFrequencyMax));
  }
  return frequency > 0 ? mark.with_frequency(static_cast<std::uint8_t>(frequency - 1))
                       : PageMark::none();
}

std::size_t S3Fifo::peek_tail(std::span<PageId> pages) const {
  std::size_t found = 0;
  for (const QueueId queue : {kStreamQueue, kAheadQueue, kSmallQueue}) {
    found = queues_.peek(queue, excess(queue), pages, found);
  }
  return queues_.peek(kMainQueue, queues_.size(kMainQueue), pages, found);
}

}  // namespace

std::unique_ptr<Replacement> make_s3_fifo(std::size_t pages_max, PageHost& host) {
  return std::make_unique<S3Fifo>(pages_max, host);
}

}  // namespace quire::internal
