// SPDX-License-Identifier: Apache-2.0
//
// ReadAhead: the service thread's reads: windows ahead of streams, ranges of prefetch(), and, with
// FaultPath::kHandler, the faults themselves.
//
//   offers (from faults)   --.                      .-- small ones: a demand buffer
//   prefetch jobs          --+--> claim, credits ---+-- windows: a window buffer
//   faults (messages)      --'        |             '--> IoQueue --> Filler::complete()
//                                     '-- in memory already, or no credit: left out
//
// What is offered is claimed at once, by the thread that faults: a reader that is faster than this
// thread then waits for his window, instead of reading it in small pieces himself.
//
// Nobody waits for what is read ahead: where memory or buffers are short it is left out, or comes
// later; what somebody waits for goes first, and keeps some buffers for itself.
//
// A window's copy into the memfd costs several times what the device needs to read it, and a stream
// is as fast as its copies. So of two windows that are ready one is completed by a thread of the
// queue, and the other here.
//
// Thread-safety: offer() from any thread, also in a signal handler; the rest in the service thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "quire/base/ticket.h"
#include "quire/cache/slot_pool.h"
#include "quire/io/io_queue.h"
#include "quire/pager/internal/area_state.h"
#include "quire/pager/internal/filler.h"
#include "quire/sys/futex.h"

namespace quire::internal {

struct PrefetchJob {
  AreaState* area = nullptr;  // begin_service()d.
  std::vector<GranuleSpan> spans;
  bool maps = true;          // Into the page tables, too: see maps_demand().
  std::size_t at = 0;        // Of spans ...
  std::uint64_t cursor = 0;  // ... and a granule in it.
  std::size_t pending = 0;
  Ticket::Source source;
};

class ReadAhead {
 public:
  ReadAhead(PagerCore& core, IoQueue& queue);
  ~ReadAhead();
  ReadAhead(const ReadAhead&) = delete;
  ReadAhead& operator=(const ReadAhead&) = delete;

  // `maps`: the stream is sure of itself; its pages go into the page tables at once, which saves
  // the reader a minor fault each. Otherwise a page that is never touched can be told from one that
  // is. False: too many wait already.
  bool offer(AreaState& area, const AheadWindow& window, bool maps) noexcept;
  void add(std::unique_ptr<PrefetchJob> job);

  // A fault that a message told of. kClaimed: it will be served. kNoCredit: not now, neither memory
  // nor buffer is free. kTaken: look at the granule again.
  [[nodiscard]] Filler::Claim demand(AreaState& area, std::uint64_t index, Need need);

  // Begins what can be begun. True: something was.
  bool step();
  [[nodiscard]] bool is_idle() const noexcept { return under_way_ == 0; }

 private:
  struct Read {
    ReadAhead* owner = nullptr;
    Fill fill;
    SlotPool* pool = nullptr;
    std::uint32_t slot = 0;
    PrefetchJob* job = nullptr;
    IoRequest request;
    IoRequest installation;  // By another thread.
  };
  enum class Begun : std::uint8_t { kBegun, kNothing, kNoRoom };
  static constexpr std::size_t kOffersMax = 128;
  // Demand buffers that read-ahead leaves to faults, of four.
  static constexpr std::uint32_t kKeptFor = 4;
  // Windows that reads leave to write-back.
  static constexpr std::uint32_t kKeptForWrites = 2;

  bool step_offers();
  bool step_prefetches();
  [[nodiscard]] bool step(PrefetchJob& job);
  Begun begin(AreaState& area, GranuleSpan span, const Fill& pattern, PrefetchJob* job,
              std::uint64_t& end);
  bool offer_run(Fill& run) noexcept;
  [[nodiscard]] std::optional<std::pair<SlotPool*, std::uint32_t>> take_buffer(
      std::uint64_t granules) noexcept;
  [[nodiscard]] bool has_buffer(std::uint64_t granules) const noexcept;
  [[nodiscard]] bool make_credit(AreaState& area, std::uint64_t index, Filler::Claim& claim);
  void start(AreaState& area, const Fill& fill, SlotPool& pool, std::uint32_t slot,
             PrefetchJob* job);
  static void on_done(IoRequest& request);
  void finish(Read& read, std::error_code cause);
  void install(Read& read) noexcept;
  void install_elsewhere(Read& read);
  void end(Read& read);
  void end_job(PrefetchJob& job);

  PagerCore& core_;
  IoQueue& queue_;
  std::vector<std::unique_ptr<Read>> reads_;
  std::vector<Read*> idle_;
  std::size_t under_way_ = 0;
  bool may_install_elsewhere_;  // Nobody does, and there is a processor for it.
  std::deque<std::unique_ptr<PrefetchJob>> jobs_;
  std::optional<Fill> current_;  // Taken from offers_, and waiting for a buffer.

  sys::FutexLock offers_lock_;
  std::array<Fill, kOffersMax> offers_ QUIRE_GUARDED_BY(offers_lock_){};
  std::size_t offers_begin_ QUIRE_GUARDED_BY(offers_lock_) = 0;
  std::size_t offers_count_ QUIRE_GUARDED_BY(offers_lock_) = 0;
};

}  // namespace quire::internal
