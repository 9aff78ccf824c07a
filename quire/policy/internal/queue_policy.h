// SPDX-License-Identifier: Apache-2.0
//
// queue_policy: what the policies made of queues have in common, and the makers of them all.
//
// Source:        none; the papers are named in fifo.cc, clock.cc, s3_fifo.cc and lru.cc.
// Thread-safety: one thread at a time.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "quire/policy/internal/queue_set.h"
#include "quire/policy/replacement.h"

namespace quire::internal {

// In a sweep over a queue's tail.
enum class Mercy : std::uint8_t {
  kForUsed,  // Pages in use get another turn.
  kNone,     // The first that can go goes: something must.
};

// After so many further turns in one call, use bits save no page any more: a call costs O(victims)
// whatever the application does. Nine pages in ten in use leave this far away; the constant keeps
// calls for a single victim from being short of it.
inline constexpr std::size_t kTurnsPerVictim = 32;
inline constexpr std::size_t kTurnsMin = 1024;
// How many entries to look at next, in one system call: as many as victims are wanted, and as many
// as were looked at before in this call, so that neither one victim nor a long search costs many.
[[nodiscard]] constexpr std::uint64_t look_count(std::size_t wanted,
                                                 std::uint64_t looked_at) noexcept {
  return std::max<std::uint64_t>(wanted, looked_at);
}

class QueuePolicy : public Replacement {
 public:
  void used(PageId /*page*/) override {}
  void erased(PageId page) override { queues_.erased(page); }
  void purge(bool (*is_gone)(const void* context, PageId page), const void* context) override {
    queues_.purge(is_gone, context);
  }
  [[nodiscard]] std::size_t queued() const noexcept override { return queues_.entry_count(); }
  [[nodiscard]] PolicyStats stats() const noexcept override {
    PolicyStats stats = stats_;
    stats.watched = queues_.watched_count();
    return stats;
  }
  [[nodiscard]] std::uint64_t metadata_bytes() const noexcept override {
    return sizeof(*this) + queues_.metadata_bytes();
  }
  void check_invariants() const override { queues_.check_invariants(); }

 protected:
  QueuePolicy(PageHost& host, std::size_t pages_max, QueueId queue_count)
      : queues_(host, pages_max, queue_count) {}

  void gone(PageId page, PageMark mark) noexcept {
    queues_.set_mark(page, mark);
    ++stats_.evicted;
  }

  QueueSet queues_;
  PolicyStats stats_;
};

[[nodiscard]] std::unique_ptr<Replacement> make_fifo(std::size_t pages_max, PageHost& host);
[[nodiscard]] std::unique_ptr<Replacement> make_clock(std::size_t pages_max, PageHost& host);
[[nodiscard]] std::unique_ptr<Replacement> make_s3_fifo(std::size_t pages_max, PageHost& host);
[[nodiscard]] std::unique_ptr<Replacement> make_lru(std::size_t pages_max, PageHost& host);

}  // namespace quire::internal
