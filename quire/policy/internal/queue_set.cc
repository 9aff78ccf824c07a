// SPDX-License-Identifier: Apache-2.0
#include "quire/policy/internal/queue_set.h"

#include <algorithm>

#include "quire/base/check.h"

namespace quire::internal {
namespace {

// Entries of pages that are gone may stand for a while: an eighth keeps compaction rare.
constexpr std::size_t slack(std::size_t pages_max) noexcept {
  return pages_max / 8 + PagePool::kChunkPages;
}

}  // namespace

QueueSet::QueueSet(PageHost& host, std::size_t pages_max, QueueId queue_count)
    : host_(host),
      pages_max_(pages_max),
      entries_max_(pages_max + slack(pages_max)),
      queue_count_(queue_count),
      pool_(entries_max_, queue_count),
      queues_(queue_count, PageQueue(pool_)) {
  QUIRE_CHECK(pages_max > 0);
  QUIRE_CHECK_LE(queue_count, kQueueIdMax);
}

std::size_t QueueSet::entry_count() const noexcept {
  std::uint64_t count = 0;
  for (const PageQueue& queue : queues_) {
    count += queue.size();
  }
  return count;
}

bool QueueSet::take_over(PageId page, bool is_guess) noexcept {
  const PageMark old = mark(page);
  if (old.queue() == kNoQueue) {
    return false;
  }
  QUIRE_CHECK(old.is_erased());
  set_mark(page, old.with_erased(false).with_guess(is_guess));
  return true;
}

void QueueSet::insert(QueueId queue, PageId page, PageMark mark) noexcept {
  if (entry_count() == entries_max_) {
    compact();
    QUIRE_CHECK_LT(entry_count(), entries_max_);
  }
  set_mark(page, mark);
  push(queue, page);
}

void QueueSet::erased(PageId page) noexcept {
  const PageMark old = mark(page);
  if (old.queue() != kNoQueue) {
    set_mark(page, old.with_erased(true));
  }
}

void QueueSet::forget(QueueId queue, PageId page) noexcept {
  if (mark(page).queue() == queue) {
    set_mark(page, PageMark::none());
  }
}

void QueueSet::purge(bool (*is_gone)(const void* context, PageId page), const void* context) {
  for (PageQueue& queue : queues_) {
    queue.keep_if([=](PageId page) { return !is_gone(context, page); });
  }
}

// Drops the entries of pages that are gone, and second entries.
void QueueSet::compact() noexcept {
  for (QueueId queue = 1; queue <= queue_count_; ++queue) {
    at(queue).keep_if([this, queue](PageId page) {
      const PageMark old = mark(page);
      if (!old.is_live_in(queue) || host_.standing(page) == PageHost::Standing::kGone) {
        forget(queue, page);
        return false;
      }
      set_mark(page, old.with_met(true));
      return !old.is_met();
    });
  }
  for (const PageQueue& queue : queues_) {
    queue.for_each([this](PageId page) {
      set_mark(page, mark(page).with_met(false));
      return true;
    });
  }
}

void QueueSet::watch_ahead(QueueId queue) noexcept {
  PageQueue& line = at(queue);
  const std::uint64_t goal = std::max<std::uint64_t>(line.size() / kWatchedPart, 1);
  // A short segment is worth smaller batches: else half of it would go by unseen.
  const std::uint64_t batch_min = std::clamp<std::uint64_t>(goal / 4, 1, kWatchBatchMin);
  for (int batch = 0; batch < kWatchBatches; ++batch) {
    const std::uint64_t watched = line.watched();
    if (watched >= goal || (watched > 0 && goal - watched < batch_min)) {
      return;
    }
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(goal - watched, kBatchMax));
    watch(queue, std::span(batch_).first(line.next_unwatched(std::span(batch_).first(count))));
  }
}

// A page that was read ahead was never watched, but its host knows whether it was touched since it
// came: if so it is an ordinary page from here on, and watched. If not there is nothing to take out
// of the page tables.
void QueueSet::watch(QueueId queue, std::span<PageId> pages) noexcept {
  std::size_t watch_count = 0;
  std::size_t guess_count = 0;
  for (const PageId page : pages) {
    const PageMark old = mark(page);
    if (!old.is_live_in(queue) || host_.standing(page) != PageHost::Standing::kEvictable) {
      continue;
    }
    if (old.is_guess()) {
      guesses_[guess_count++] = page;
    } else {
      pages[watch_count++] = page;  // Never ahead of what is read.
    }
  }
  watch_count +=
      touched_guesses(std::span(guesses_).first(guess_count), pages.subspan(watch_count));
  watched_count_ += watch_count;
  if (watch_count > 0) {
    host_.watch(pages.first(watch_count));
  }
}

std::size_t QueueSet::touched_guesses(std::span<const PageId> guesses,
                                      std::span<PageId> touched) noexcept {
  if (guesses.empty()) {
    return 0;
  }
  const std::span<bool> used = std::span(used_).first(guesses.size());
  host_.look(guesses, used);
  std::size_t count = 0;
  for (std::size_t i = 0; i < guesses.size(); ++i) {
    if (used[i]) {
      set_mark(guesses[i], mark(guesses[i]).with_guess(false));
      touched[count++] = guesses[i];
    }
  }
  return count;
}

std::span<const Candidate> QueueSet::tail(QueueId queue, std::uint64_t count, Look look) noexcept {
  const PageQueue& line = at(queue);
  const std::uint64_t within = look == Look::kYes ? line.watched() : line.size();
  count = std::min({count, within, std::uint64_t{kBatchMax}});
  QUIRE_DCHECK(count > 0);
  std::size_t found = 0;
  std::size_t asked = 0;
  line.for_each([&](PageId page) {
    Candidate& candidate = candidates_[found++];
    candidate = Candidate{.page = page};
    if (mark(page).is_live_in(queue)) {
      const PageHost::Standing standing = host_.standing(page);
      if (standing == PageHost::Standing::kBusy) {
        candidate.kind = Candidate::Kind::kBusy;
      } else if (standing == PageHost::Standing::kEvictable) {
        candidate.kind = Candidate::Kind::kEvictable;
        batch_[asked++] = page;
      }
    }
    return found < count;
  });
  const auto candidates = std::span(candidates_).first(found);
  if (look == Look::kYes && asked > 0) {
    host_.look(std::span(batch_).first(asked), std::span(used_).first(asked));
    std::size_t answer = 0;
    for (Candidate& candidate : candidates) {
      if (candidate.kind == Candidate::Kind::kEvictable) {
        candidate.is_used = used_[answer++];
      }
    }
  }
  return candidates;
}

std::size_t QueueSet::peek(QueueId queue, std::uint64_t span, std::span<PageId> pages,
                           std::size_t found) const noexcept {
  if (span == 0 || found == pages.size()) {
    return found;
  }
  at(queue).for_each([&](PageId page) {
    const PageMark own = mark(page);
    if (own.is_live_in(queue) && own.frequency() == 0 &&
        host_.standing(page) == PageHost::Standing::kEvictable) {
      pages[found++] = page;
    }
    return --span > 0 && found < pages.size();
  });
  return found;
}

std::uint64_t QueueSet::metadata_bytes() const noexcept {
  return sizeof(*this) + pool_.bytes() + queues_.capacity() * sizeof(PageQueue);
}

void QueueSet::check_invariants() const {
  QUIRE_CHECK_LE(entry_count(), entries_max_);
  std::vector<PageId> live;
  for (QueueId queue = 1; queue <= queue_count_; ++queue) {
    QUIRE_CHECK_LE(at(queue).watched(), at(queue).size());
    std::uint64_t seen = 0;
    at(queue).for_each([&](PageId page) {
      ++seen;
      QUIRE_CHECK(!mark(page).is_met() || mark(page).queue() == kNoQueue);
      if (mark(page).is_live_in(queue) && host_.standing(page) != PageHost::Standing::kGone) {
        live.push_back(page);
      }
      return true;
    });
    QUIRE_CHECK_EQ(seen, at(queue).size());
  }
  std::sort(live.begin(), live.end());
  const auto distinct = std::unique(live.begin(), live.end()) - live.begin();
  QUIRE_CHECK_LE(static_cast<std::size_t>(distinct), pages_max_);
}

}  // namespace quire::internal
