// SPDX-License-Identifier: Apache-2.0
//
// stream_detector: how much to read at a fault. Random accesses read one granule; streams, forward,
// backward or with a stride, and many of them at once, are read ahead of their readers.
//
// What a reader's third granule in a row starts (each window is twice the one before, up to a
// limit, and up to windows_ahead of them are in flight):
//
//      0 1 2 3 4 5 6 7 8 9 ...
//      F F F = = = t - - - - - - - T - - - - - - - - - - - - - - -
//          |       ^               ^
//          |       |               '- tripwire of the next window, and so on
//          |       '- tripwire: the reader faults here although the data is there (or on its way)
//          '- demand window: read now, the reader waits for its first granule
//
// Tripwires.  A pager does not see hits, so a stream that is read ahead would vanish from its
// sight. Hence the caller makes a whole window accessible *except its tripwire*, the granule that a
// reader comes to first. It holds that one granule back, in memory. The reader's fault there costs
// no I/O; the caller makes the granule accessible and calls on_tripwire(), and the plan it gets
// starts the next windows, while the reader still has whole windows before him.
//
//   on_fault(g)     g is in nobody's memory: read plan.demand now, start plan.ahead[] behind it
//   on_tripwire(g)  g is a tripwire, in memory or on its way: plan.demand is {g, 1}; start
//                   plan.ahead[]
//
// A plan's ranges may overlap what is in memory or on its way (another stream's, an older plan's):
// the caller leaves those granules out. It may also drop any of plan.ahead[], when memory is short:
// the reader then faults there, and the stream goes on from that place.
//
// Pressure.   A fault at a granule that was planned says that it was dropped, or evicted before it
// was used: windows halve, and when they cannot the stream is no longer believed.
//
// A contiguous stream is believed at the third granule in a row, so that records of two granules at
// random places stay random; a strided one (up to kStrideMax) at the fifth granule in arithmetic
// progression. The last kRecentMax faults that belong to no stream are searched for such rows, so
// that streams may be interleaved, with each other and with random accesses, in any order.
//
// Source:        our own, after Linux mm/readahead.c (doubling windows; the PG_readahead mark is
//                our tripwire) and, for streams found among recent misses, Palacharla and Kessler,
//                "Evaluating stream buffers as a secondary cache replacement", ISCA 1994. We
//                deviate: three misses, not two; strides; backward streams.
// Invariants:    demand contains the granule asked about; every range lies in the file; a plan for
//                a granule of no stream is that granule and nothing else.
// Thread-safety: one thread at a time; no locks, no allocation, no exceptions: a plain value of
//                fixed size, for use where a fault is being served. Under contention a caller may
//                do without it: {g, 1} is always a valid plan.
// Cost:          O(kStreamsMax + kRecentMax) comparisons a fault, about 50 ns.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

namespace quire {

struct GranuleSpan {
  std::uint64_t first = 0;
  std::uint64_t count = 0;

  [[nodiscard]] constexpr std::uint64_t end() const noexcept { return first + count; }
  friend constexpr bool operator==(const GranuleSpan&, const GranuleSpan&) = default;
};

inline constexpr std::uint64_t kNoGranule = std::numeric_limits<std::uint64_t>::max();

// A window to be read behind the demanded one.
struct AheadWindow {
  GranuleSpan span{};
  // The granule to hold back; kNoGranule when none of the window is.
  std::uint64_t tripwire = kNoGranule;
};

enum class StreamDirection : std::uint8_t { kForward, kBackward };

struct FillPlan {
  static constexpr std::size_t kAheadMax = 32;

  GranuleSpan demand{};
  std::array<AheadWindow, kAheadMax> ahead{};
  std::size_t ahead_count = 0;
  bool is_stream = false;
  StreamDirection direction = StreamDirection::kForward;  // Of a stream.

  // In the order in which the reader will need them.
  [[nodiscard]] std::span<const AheadWindow> windows() const noexcept {
    return std::span(ahead).first(ahead_count);
  }
};

// What the application said about its accesses.
enum class StreamAdvice : std::uint8_t {
  kNone,        // Find out.
  kRandom,      // One granule a fault, always.
  kSequential,  // Forward: the largest windows from the first fault on.
};

struct StreamOptions {
  std::uint64_t granule_bytes = 4096;
  std::uint64_t window_bytes_min = 16 << 10;  // The first window of a stream.
  // Where doubling ends. Devices reach their bandwidth well below it.
  std::uint64_t window_bytes_max = 2 << 20;
  // In flight ahead of the window that a reader is in, at most. With that one they should stay well
  // below what the replacement policy grants to read-ahead (s3_fifo: an eighth of the memory), or
  // they go before they are used.
  std::uint32_t windows_ahead = 4;
};

class StreamDetector {
 public:
  static constexpr std::size_t kStreamsMax = 16;
  static constexpr std::size_t kRecentMax = 64;
  // In granules. Further apart, and the windows between would be as well read by themselves.
  static constexpr std::int64_t kStrideMax = 1024;
  static constexpr std::uint32_t kWindowsAheadMax = 8;
  static_assert(kWindowsAheadMax < FillPlan::kAheadMax, "one plan may start all of them");

  // REQUIRES: granule_bytes > 0; window_bytes_min <= window_bytes_max; windows_ahead <=
  //           kWindowsAheadMax. A window holds at least one granule. With no windows_ahead only
  //           demand windows grow.
  explicit StreamDetector(const StreamOptions& options) noexcept;

  // See above. `granule_count` is the file's, now; `advice` is what holds at this granule.
  // REQUIRES: granule < granule_count < 2^62.
  [[nodiscard]] FillPlan on_fault(std::uint64_t granule, std::uint64_t granule_count,
                                  StreamAdvice advice = StreamAdvice::kNone) noexcept;
  [[nodiscard]] FillPlan on_tripwire(std::uint64_t granule, std::uint64_t granule_count,
                                     StreamAdvice advice = StreamAdvice::kNone) noexcept;

  // Streams that are believed at present.
  [[nodiscard]] std::size_t stream_count() const noexcept;
  void check_invariants() const;

 private:
  // Positions are signed, so that "before the beginning" needs no special case.
  struct Stream {
    std::int64_t last = 0;    // Where its reader was seen last.
    std::int64_t stride = 0;  // Signed; 0: the slot is free. +-1: contiguous.
    std::int64_t next = 0;    // The first position, in reading direction, that was not planned yet.
    // Granules (contiguous) or strides of the latest window; 0: the stream is not believed yet.
    std::int64_t window = 0;
    std::uint32_t steps = 0;    // Strides seen until it was believed, then plans made.
    std::uint64_t used_at = 0;  // tick_, for choosing the one to replace.

    [[nodiscard]] bool is_contiguous() const noexcept { return stride == 1 || stride == -1; }
    [[nodiscard]] bool is_believed() const noexcept { return window > 0; }
  };
  enum class Event : std::uint8_t { kFault, kTripwire };

  FillPlan plan(Event event, std::uint64_t granule, std::uint64_t granule_count,
                StreamAdvice advice) noexcept;
  // The stream that comes to this position, known or just found, believed; nullptr: none.
  Stream* advance(Event event, std::int64_t position, StreamAdvice advice) noexcept;
  [[nodiscard]] Stream* stream_of(std::int64_t position) noexcept;
  [[nodiscard]] bool is_expected(const Stream& stream, std::int64_t position) const noexcept;
  [[nodiscard]] std::int64_t find_stride(std::int64_t position) const noexcept;
  Stream& begin_stream(std::int64_t position, std::int64_t stride) noexcept;
  void advance_contiguous(Stream& stream, Event event, std::int64_t position) noexcept;
  void advance_strided(Stream& stream, Event event, std::int64_t position) noexcept;

  void remember(std::int64_t position) noexcept;
  [[nodiscard]] std::int64_t recent(std::size_t age) const noexcept;
  [[nodiscard]] bool was_recent(std::int64_t position, std::size_t older_than) const noexcept;

  void plan_contiguous(Stream& stream, Event event, std::int64_t granule_count,
                       FillPlan& plan) const noexcept;
  void plan_strided(Stream& stream, std::int64_t granule_count, FillPlan& plan) const noexcept;

  std::int64_t window_min_;  // In granules.
  std::int64_t window_max_;
  std::int64_t windows_ahead_;
  std::int64_t strides_max_;  // In one plan.
  std::uint64_t tick_ = 0;
  std::array<Stream, kStreamsMax> streams_{};
  std::array<std::int64_t, kRecentMax> recent_{};  // A ring.
  std::size_t recent_count_ = 0;                   // Ever.
};

}  // namespace quire
