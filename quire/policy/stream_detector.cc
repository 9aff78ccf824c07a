// SPDX-License-Identifier: Apache-2.0
#include "quire/policy/stream_detector.h"

#include <algorithm>

#include "quire/base/check.h"

namespace quire {
namespace {

// Five granules in arithmetic progression: with three, hot pages of a small file would do.
constexpr std::uint32_t kStridesToBelieve = 4;
// Two strides were seen when a stream was found; its first plan is the next step.
constexpr std::uint32_t kStepsOfFirstPlan = 3;
constexpr std::int64_t kStridesFirst = 4;
// A stream that was not heard of for so many faults is over. With the largest windows a stream is
// heard of once in 512 granules, and there may be a hundred random faults for each of its own.
constexpr std::uint64_t kIdleMax = 1 << 16;

std::int64_t magnitude(std::int64_t value) noexcept {
  return value < 0 ? -value : value;
}

}  // namespace

StreamDetector::StreamDetector(const StreamOptions& options) noexcept
    : window_min_(0), window_max_(0), windows_ahead_(options.windows_ahead), strides_max_(0) {
  QUIRE_CHECK(options.granule_bytes > 0);
  QUIRE_CHECK_LE(options.window_bytes_min, options.window_bytes_max);
  QUIRE_CHECK_LE(options.windows_ahead, kWindowsAheadMax);
  const auto granules = [&](std::uint64_t bytes) {
    return static_cast<std::int64_t>(std::max<std::uint64_t>(bytes / options.granule_bytes, 1));
  };
  window_min_ = granules(options.window_bytes_min);
  window_max_ = granules(options.window_bytes_max);
  // As many bytes as a contiguous stream may have in flight.
  strides_max_ = std::min<std::int64_t>(FillPlan::kAheadMax, windows_ahead_ * window_max_);
}

FillPlan StreamDetector::on_fault(std::uint64_t granule, std::uint64_t granule_count,
                                  StreamAdvice advice) noexcept {
  return plan(Event::kFault, granule, granule_count, advice);
}

FillPlan StreamDetector::on_tripwire(std::uint64_t granule, std::uint64_t granule_count,
                                     StreamAdvice advice) noexcept {
  return plan(Event::kTripwire, granule, granule_count, advice);
}

FillPlan StreamDetector::plan(Event event, std::uint64_t granule, std::uint64_t granule_count,
                              StreamAdvice advice) noexcept {
  QUIRE_DCHECK_LT(granule, granule_count);
  FillPlan plan;
  plan.demand = {.first = granule, .count = 1};
  if (advice == StreamAdvice::kRandom) {
    return plan;
  }
  ++tick_;
  const auto position = static_cast<std::int64_t>(granule);
  Stream* stream = advance(event, position, advice);
  if (stream == nullptr) {
    remember(position);
    return plan;
  }
  stream->last = position;
  ++stream->steps;
  plan.is_stream = true;
  plan.direction = stream->stride > 0 ? StreamDirection::kForward : StreamDirection::kBackward;
  if (stream->is_contiguous()) {
    plan_contiguous(*stream, event, static_cast<std::int64_t>(granule_count), plan);
  } else {
    plan_strided(*stream, static_cast<std::int64_t>(granule_count), plan);
  }
  return plan;
}

StreamDetector::Stream* StreamDetector::advance(Event event, std::int64_t position,
                                                StreamAdvice advice) noexcept {
  Stream* stream = stream_of(position);
  if (stream == nullptr) {
    const std::int64_t stride = advice == StreamAdvice::kSequential ? 1 : find_stride(position);
    if (stride == 0) {
      return nullptr;
    }
    stream = &begin_stream(position, stride);
    if (advice == StreamAdvice::kSequential) {
      stream->window = window_max_;
      stream->steps = kStepsOfFirstPlan + kWindowsAheadMax;
    } else if (stream->is_contiguous()) {
      stream->window = window_min_;
    }
  } else if (stream->is_contiguous()) {
    advance_contiguous(*stream, event, position);
  } else {
    advance_strided(*stream, event, position);
  }
  stream->used_at = tick_;
  return stream->is_believed() ? stream : nullptr;
}

// The stream that expects a reader there, the nearest one if there are several.
StreamDetector::Stream* StreamDetector::stream_of(std::int64_t position) noexcept {
  Stream* nearest = nullptr;
  for (Stream& stream : streams_) {
    if (stream.stride != 0 && is_expected(stream, position) &&
        (nearest == nullptr ||
         magnitude(position - stream.last) < magnitude(position - nearest->last))) {
      nearest = &stream;
    }
  }
  return nearest;
}

// From where the reader was last to one window behind what was planned.
bool StreamDetector::is_expected(const Stream& stream, std::int64_t position) const noexcept {
  const std::int64_t distance = position - stream.last;
  if (!stream.is_believed()) {
    return distance == stream.stride;
  }
  if (distance % stream.stride != 0 || tick_ - stream.used_at > kIdleMax) {
    return false;
  }
  const std::int64_t strides = distance / stream.stride;
  const std::int64_t planned = (stream.next - stream.last) / stream.stride;
  return strides >= 0 && strides <= planned + stream.window;
}

// The smallest stride for which the two positions before this one were seen, in order; 0: none.
std::int64_t StreamDetector::find_stride(std::int64_t position) const noexcept {
  const std::size_t count = std::min(recent_count_, kRecentMax);
  std::int64_t found = 0;
  for (std::size_t age = 0; age < count; ++age) {
    const std::int64_t stride = position - recent(age);
    if (stride == 0 || magnitude(stride) > kStrideMax ||
        (found != 0 && magnitude(stride) >= magnitude(found))) {
      continue;
    }
    if (was_recent(position - 2 * stride, age)) {
      found = stride;
    }
  }
  return found;
}

// In a free slot, or in that of the stream nobody heard of for the longest time; streams that were
// never believed first.
StreamDetector::Stream& StreamDetector::begin_stream(std::int64_t position,
                                                     std::int64_t stride) noexcept {
  const auto is_better = [](const Stream& one, const Stream& other) {
    if ((one.stride == 0) != (other.stride == 0)) {
      return one.stride == 0;
    }
    if (one.is_believed() != other.is_believed()) {
      return !one.is_believed();
    }
    return one.used_at < other.used_at;
  };
  Stream& slot = *std::min_element(streams_.begin(), streams_.end(), is_better);
  slot = Stream{.last = position,
                .stride = stride,
                .next = position,
                .window = 0,
                .steps = kStepsOfFirstPlan - 1};
  return slot;
}

void StreamDetector::advance_contiguous(Stream& stream, Event event,
                                        std::int64_t position) noexcept {
  const bool was_planned = (stream.next - position) * stream.stride > 0;
  if (event == Event::kTripwire || position == stream.next) {
    stream.window = std::min(2 * stream.window, window_max_);
  } else if (was_planned) {  // Dropped or evicted: see "Pressure".
    stream.window /= 2;
    if (stream.window < window_min_) {
      stream = Stream{};
    }
  }
}

void StreamDetector::advance_strided(Stream& stream, Event event, std::int64_t position) noexcept {
  if (stream.is_believed()) {
    const bool was_planned = (stream.next - position) / stream.stride > 0;
    if (event == Event::kTripwire || !was_planned) {
      stream.window = std::min(2 * stream.window, strides_max_);
    } else if (stream.window > 1) {  // See "Pressure".
      stream.window /= 2;
    } else {
      stream = Stream{};
    }
    return;
  }
  ++stream.steps;
  stream.last = position;
  stream.next = position;
  if (stream.steps == kStridesToBelieve) {
    stream.window = std::min(kStridesFirst, strides_max_);
  }
}

void StreamDetector::remember(std::int64_t position) noexcept {
  recent_[recent_count_++ % kRecentMax] = position;
}

// Age 0 is the latest.
std::int64_t StreamDetector::recent(std::size_t age) const noexcept {
  return recent_[(recent_count_ - 1 - age) % kRecentMax];
}

bool StreamDetector::was_recent(std::int64_t position, std::size_t older_than) const noexcept {
  const std::size_t count = std::min(recent_count_, kRecentMax);
  for (std::size_t age = older_than + 1; age < count; ++age) {
    if (recent(age) == position) {
      return true;
    }
  }
  return false;
}

namespace {

// `count` granules from `first` on in reading direction, cut at the file's ends.
GranuleSpan span_from(std::int64_t first, std::int64_t count, std::int64_t direction,
                      std::int64_t granule_count) noexcept {
  if (direction > 0) {
    const std::int64_t end = std::min(first + count, granule_count);
    return {.first = static_cast<std::uint64_t>(first),
            .count = static_cast<std::uint64_t>(end - first)};
  }
  const std::int64_t begin = std::max<std::int64_t>(first - count + 1, 0);
  return {.first = static_cast<std::uint64_t>(begin),
          .count = static_cast<std::uint64_t>(first - begin + 1)};
}

}  // namespace

void StreamDetector::plan_contiguous(Stream& stream, Event event, std::int64_t granule_count,
                                     FillPlan& plan) const noexcept {
  const std::int64_t direction = stream.stride;
  const auto is_beyond = [direction](std::int64_t one, std::int64_t other) {
    return (one - other) * direction > 0;
  };
  if (event == Event::kFault) {
    plan.demand = span_from(stream.last, stream.window, direction, granule_count);
  }
  // The end of the window that the reader is in; what is ahead begins there, or later.
  const std::int64_t current_end = stream.last + direction * stream.window;
  const std::int64_t demand_end =
      stream.last + direction * static_cast<std::int64_t>(plan.demand.count);
  if (is_beyond(demand_end, stream.next)) {
    stream.next = demand_end;
  }
  // One more window at each plan, so that a short run does not start them all.
  const auto windows = std::min<std::int64_t>(windows_ahead_, stream.steps - kStepsOfFirstPlan + 1);
  const std::int64_t goal = current_end + direction * windows * stream.window;
  while (!is_beyond(stream.next + direction * stream.window, goal) && stream.next >= 0 &&
         stream.next < granule_count) {
    const GranuleSpan span = span_from(stream.next, stream.window, direction, granule_count);
    plan.ahead[plan.ahead_count++] = {.span = span,
                                      .tripwire = static_cast<std::uint64_t>(stream.next)};
    stream.next += direction * static_cast<std::int64_t>(span.count);
  }
}

// Only the first granule of each batch is a tripwire: the others cost their reader nothing.
void StreamDetector::plan_strided(Stream& stream, std::int64_t granule_count,
                                  FillPlan& plan) const noexcept {
  const std::int64_t planned = (stream.next - stream.last) / stream.stride;
  if (planned > stream.window) {
    return;
  }
  if (planned <= 0) {
    stream.next = stream.last + stream.stride;
  }
  for (std::int64_t i = 0; i < stream.window && stream.next >= 0 && stream.next < granule_count;
       ++i) {
    const auto granule = static_cast<std::uint64_t>(stream.next);
    plan.ahead[plan.ahead_count++] = {.span = {.first = granule, .count = 1},
                                      .tripwire = i == 0 ? granule : kNoGranule};
    stream.next += stream.stride;
  }
}

std::size_t StreamDetector::stream_count() const noexcept {
  return static_cast<std::size_t>(std::count_if(
      streams_.begin(), streams_.end(), [](const Stream& stream) { return stream.is_believed(); }));
}

void StreamDetector::check_invariants() const {
  for (const Stream& stream : streams_) {
    QUIRE_CHECK_LE(magnitude(stream.stride), kStrideMax);
    QUIRE_CHECK(stream.stride != 0 || !stream.is_believed());
    QUIRE_CHECK_LE(stream.window, std::max(window_max_, strides_max_));
    QUIRE_CHECK_LE(stream.used_at, tick_);
    if (stream.is_believed()) {
      QUIRE_CHECK((stream.next - stream.last) * stream.stride >= 0);
    }
  }
}

}  // namespace quire
