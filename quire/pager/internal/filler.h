// SPDX-License-Identifier: Apache-2.0
//
// Filler: gives an access what it needs. Whoever faults with FaultPath::kInline, and whoever pins,
// runs serve() in his own thread; the service thread uses the pieces, one completion at a time.
//
//   serve()   kAbsent    claim: credit, leaf, kFilling; read; complete: install, then kClean/kDirty
//             kHeld      a tripwire: install what waits in the buffer, start the next windows
//             kClean, kWriting, for a store: lift the protection, kDirty or redirtied
//             in transition: wait for whoever is at work on it, and look again
//
// The order that matters: memory is there before its state says so, and the policy knows a page
// before its state lets anybody evict it.
//
// Atomic areas: whatever lets a store in is inside the area's gate, which a cut shuts; and an
// access only lifts protections itself: what is absent, held, or finds no buffer for its image is
// handed to the service thread.
//
// Thread-safety: every member from any thread, also in the SIGBUS handler: nothing allocates or
//                takes a lock that an application could hold. Stores without a kernel_target() are
//                called as they are.
// Blocks:        serve(); the pieces do not.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <system_error>

#include "quire/pager/internal/area_state.h"

namespace quire::internal {

enum class Served : std::uint8_t {
  kServed,   // Try again: it works now.
  kFailed,   // It will not; the cause says why.
  kClosing,  // The area is going away under the access.
};

// Who wants it: a plain access can only be given a signal or zeros, a pin an Error.
enum class Asker : std::uint8_t { kAccess, kPin };

// Granules in kFilling, neighbours, whose credits are taken; they belong to who claimed them.
struct Fill {
  AreaState* area = nullptr;
  std::uint64_t first = 0;
  std::uint64_t count = 0;
  std::uint64_t demanded = kNoGranule;  // Whom somebody waits for ...
  Need need = Need::kLoad;              // ... and what for.
  Asker asker = Asker::kAccess;
  std::uint64_t tripwire = kNoGranule;  // Held back, if there is room for it.
  Arrival arrival = Arrival::kDemand;   // Of all but the demanded one.
  // Into the page tables at once. If not, the first touch maps it, and is visible.
  bool is_mapped = true;
};

// A page that UFFDIO_COPY maps is dirty in the page tables, and the kernel flushes every TLB for
// each such page that it takes out of a view. A read-only view does without: the page goes into the
// memfd alone, and the access that is repeated maps it, clean, with the neighbours' flushes
// gathered.
[[nodiscard]] inline bool maps_demand(const AreaState& area) noexcept {
  return area.options.is_writable;
}

class Filler {
 public:
  explicit Filler(PagerCore& core) : core_(core) {}

  // Until the granule can be accessed as needed. `cause` is set with kFailed.
  Served serve(AreaState& area, std::uint64_t index, Need need, std::error_code& cause,
               Asker asker = Asker::kAccess) noexcept;

  // --- Pieces ------------------------------------------------------------------------------------

  enum class Claim : std::uint8_t { kClaimed, kNoCredit, kTaken };
  // One granule: credit, leaf, kAbsent -> kFilling; or nothing of it. Never waits.
  [[nodiscard]] Claim try_claim(AreaState& area, std::uint64_t index) noexcept;
  // More of them around `index`, which is claimed: as far as `span` goes, granules are absent, and
  // credits last. Returns what is claimed now.
  [[nodiscard]] GranuleSpan extend_claim(AreaState& area, std::uint64_t index,
                                         GranuleSpan span) noexcept;
  // Gives claimed granules back untouched.
  void abandon(AreaState& area, std::uint64_t first, std::uint64_t count) noexcept;
  // The claimed granules' bytes are in `memory`, of which the first `got_bytes` come from the
  // store. Everything that could be read is made accessible; the rest is abandoned. Returns what
  // became of the demanded one (of all, when none was).
  std::error_code complete(const Fill& fill, std::span<std::byte> memory,
                           std::uint64_t got_bytes) noexcept;
  // The read failed. Zeros, poison or nothing, as the area's options say.
  void fail(const Fill& fill, std::error_code cause) noexcept;

  // Claimed granules for a store, as zeros that may be stored to: no read.
  Served fill_blank(AreaState& area, GranuleSpan span, std::uint64_t index, Need need,
                    std::error_code& cause) noexcept;
  // Accesses get SIGBUS, for a while: then it is tried again. False: that cannot be had.
  bool poison(AreaState& area, std::uint64_t index) noexcept;
  void unpoison(AreaState& area, std::uint64_t index) noexcept;
  // kHeld -> accessible. False: somebody else was faster.
  bool install_held(AreaState& area, std::uint64_t index, Need need) noexcept;
  // kHeld -> kAbsent, if it still is.
  void drop_held(AreaState& area, std::uint64_t index) noexcept;
  // A store to a clean or written granule.
  enum class Store : std::uint8_t {
    kLetIn,
    kLookAgain,  // Its state was another one meanwhile.
    kHeldUp,     // By a commit that has no image of it yet, or a rollback: see Committer.
  };
  [[nodiscard]] Store let_in(AreaState& area, std::uint64_t index) noexcept;
  // The same for who knows that no commit holds it up. False: look again.
  bool lift(AreaState& area, std::uint64_t index) noexcept;
  // The demand window for a miss: what one read should bring; starts the windows after it.
  [[nodiscard]] GranuleSpan plan(AreaState& area, std::uint64_t index, Need need) noexcept;
  // Whether a store there would need no read.
  [[nodiscard]] static bool is_blank_for_stores(const AreaState& area,
                                                std::uint64_t index) noexcept;
  // Whether a fill of claimed granules needs no read: the store has nothing there, or they will be
  // overwritten. That is believed of what was never in memory since it was said: a granule that
  // comes back holds what was stored to it.
  [[nodiscard]] bool take_blank(AreaState& area, GranuleSpan span, Need need) noexcept;

 private:
  using Clock = std::chrono::steady_clock;
  // What a fault that blocks knows about itself.
  struct Patience {
    Asker asker = Asker::kAccess;
    Clock::time_point began = Clock::now();
    bool was_reported = false;
  };

  Served fill(AreaState& area, std::uint64_t index, Need need, Patience& patience,
              std::error_code& cause) noexcept;
  std::optional<Served> bring_in(AreaState& area, std::uint64_t index, Need need,
                                 Patience& patience, std::error_code& cause) noexcept;
  std::optional<Served> serve_resident(AreaState& area, std::uint64_t index, Need need,
                                       Patience& patience) noexcept;
  Served hand_over(AreaState& area, std::uint64_t index, Need need) noexcept;
  Served read_into(const Fill& claimed, std::uint32_t slot, std::error_code& cause) noexcept;
  Served take_room(AreaState& area, Patience& patience, std::error_code& cause) noexcept;
  Served await_slot(AreaState& area, Patience& patience, std::uint32_t& slot) noexcept;
  void await_granule(AreaState& area, std::uint64_t index, GranuleWord word,
                     Patience& patience) noexcept;
  void throttle(AreaState& area, Patience& patience) noexcept;
  void complain(const AreaState& area, std::uint64_t index, Patience& patience,
                const char* what) noexcept;
  sys::Outcome<void> install_blank(AreaState& area, GranuleSpan span) noexcept;
  [[nodiscard]] static GranuleSpan blank_span(AreaState& area, std::uint64_t index) noexcept;
  sys::Outcome<void> install(const Fill& fill, std::span<const std::byte> memory,
                             GranuleSpan part) noexcept;
  sys::Outcome<void> install_part(const Fill& fill, std::span<const std::byte> memory,
                                  GranuleSpan part, sys::Installed installed) noexcept;
  [[nodiscard]] bool let_store(AreaState& area, std::uint64_t index) noexcept;
  void settle(const Fill& fill, GranuleSpan part) noexcept;
  std::error_code install_and_settle(const Fill& fill, std::span<std::byte> memory,
                                     GranuleSpan part) noexcept;
  void offer_next(AreaState& area, std::uint64_t index) noexcept;
  bool hold(const Fill& fill, std::span<const std::byte> memory) noexcept;
  [[nodiscard]] bool charge_leaf(AreaState& area, std::uint64_t index) noexcept;

  PagerCore& core_;
};

}  // namespace quire::internal
