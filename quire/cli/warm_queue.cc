// SPDX-License-Identifier: Apache-2.0
#include "quire/cli/warm_queue.h"

#include <algorithm>
#include <utility>

#include "quire/base/units.h"
#include "quire/map/residency.h"
#include "quire/sys/file.h"
#include "quire/sys/limits.h"

namespace quire::cli {
namespace {

void add_to(WarmReport& sum, const WarmReport& part) {
  sum.size_bytes += part.size_bytes;
  sum.bytes_resident_before += part.bytes_resident_before;
  sum.bytes_resident_after += part.bytes_resident_after;
  sum.known = sum.known && part.known;
  sum.bytes_read += part.bytes_read;
  sum.bytes_skipped += part.bytes_skipped;
  sum.bytes_left_out += part.bytes_left_out;
  sum.stopped = part.stopped;
  sum.binding_limit = part.binding_limit;
  sum.seconds += part.seconds;
}

// The first ranges that are small, as many as go into one batch.
std::span<const ByteRange> small_start(std::span<const ByteRange> ranges) {
  std::size_t count = 0;
  while (count < std::min(ranges.size(), WarmQueue::kItemsMax) &&
         ranges[count].length_bytes <= WarmQueue::kSmallBytes) {
    ++count;
  }
  return ranges.first(count);
}

std::uint64_t length_of(std::span<const ByteRange> ranges) noexcept {
  std::uint64_t bytes = 0;
  for (const ByteRange& range : ranges) {
    bytes += range.length_bytes;
  }
  return bytes;
}

// What of the ranges is resident; nothing where it is unknown.
std::optional<std::uint64_t> resident_in(int fd, std::span<const ByteRange> ranges) {
  std::uint64_t bytes = 0;
  for (const ByteRange& range : ranges) {
    const auto found = residency(fd, range);
    if (!found || !found->resident_known) {
      return std::nullopt;
    }
    bytes += found->resident_bytes;
  }
  return bytes;
}

// Counts what is there, then starts reading the rest. Nothing where that cannot be started.
std::optional<WarmItem::Started> start_ranges(int fd, std::span<const ByteRange> ranges) {
  const WarmItem::Started started{.before_bytes = resident_in(fd, ranges)};
  if (started.before_bytes == length_of(ranges)) {
    return started;
  }
  for (const ByteRange& range : ranges) {
    if (!sys::read_ahead(fd, range)) {
      return std::nullopt;
    }
  }
  return started;
}

}  // namespace

std::uint64_t WarmItem::wanted_bytes() const noexcept {
  return length_of(ranges);
}

WarmQueue::WarmQueue(Session& session, const char* label, std::uint64_t total_bytes,
                     const WarmingChoice& choice, Done done)
    : session_(session), progress_(session, label, total_bytes), done_(std::move(done)) {
  options_.allow_reclaim = choice.allow_reclaim;
  options_.threads = choice.threads;
  options_.stop = stop_.get_token();
  options_.on_progress = [this](const Progress& progress) {
    progress_.update(done_bytes_ + progress.done_bytes, file_count_);
    if (session_.stop_requested()) {
      stop_.request_stop();
    }
  };
}

void WarmQueue::add(WarmItem item) {
  const std::uint64_t bytes = item.wanted_bytes();
  const bool is_small = bytes <= kSmallBytes;
  if (!is_small) {
    drain();
  }
  waiting_bytes_ += bytes;
  waiting_.push_back(std::move(item));
  if (!is_small || waiting_.size() == kItemsMax || waiting_bytes_ >= kBatchBytesMax) {
    drain();
  }
}

void WarmQueue::drain() {
  start_reading();
  for (WarmItem& item : std::exchange(waiting_, {})) {
    if (is_over()) {
      break;
    }
    finish(item);
  }
  waiting_bytes_ = 0;
}

void WarmQueue::start_reading() {
  if (waiting_.size() < 2 || is_over() || !has_room_for(waiting_bytes_)) {
    return;
  }
  for (WarmItem& item : waiting_) {
    item.started = start_ranges(item.file.get(), item.ranges);
  }
}

void WarmQueue::finish(WarmItem& item) {
  const Result<WarmReport> report = warm_item(item);
  ++file_count_;
  progress_.update(done_bytes_, file_count_);
  done_(item, report);
}

bool WarmQueue::has_room_for(std::uint64_t bytes) const {
  return options_.allow_reclaim || sys::headroom().bytes >= bytes;
}

// Slice by slice: many small ranges, or one large one.
Result<WarmReport> WarmQueue::warm_item(const WarmItem& item) {
  if (item.started) {
    return read_through(item, item.ranges, *item.started);
  }
  WarmReport sum;
  std::span<const ByteRange> rest = item.ranges;
  while (!rest.empty() && sum.stopped == StopReason::kDone && !session_.stop_requested()) {
    const auto small = small_start(rest);
    const bool is_batch = small.size() > 1 && has_room_for(length_of(small));
    const auto started =
        is_batch ? start_ranges(item.file.get(), small) : std::optional<WarmItem::Started>();
    add_to(sum, started ? QUIRE_TRY(read_through(item, small, *started))
                        : QUIRE_TRY(warm_alone(item, rest.front())));
    rest = rest.subspan(started ? small.size() : 1);
  }
  return sum;
}

Result<WarmReport> WarmQueue::warm_alone(const WarmItem& item, const ByteRange& range) {
  WarmReport report = QUIRE_TRY(warm(item.file.get(), range, options_));
  done_bytes_ += report.size_bytes;
  if (report.stopped == StopReason::kMemory) {
    binding_limit_ = report.binding_limit;
  }
  return report;
}

Result<WarmReport> WarmQueue::read_through(const WarmItem& item, std::span<const ByteRange> ranges,
                                           WarmItem::Started started) {
  WarmReport report{.size_bytes = length_of(ranges),
                    .bytes_resident_before = started.before_bytes.value_or(0),
                    .bytes_read = length_of(ranges)};
  scratch_.resize(kSmallBytes);
  for (const ByteRange& range : ranges) {
    const auto read = sys::read_at(item.file.get(), std::span(scratch_).first(range.length_bytes),
                                   range.offset_bytes);
    if (!read) {
      return fail(sys::to_error(read.error(), "warm", describe(range)));
    }
    if (*read < range.length_bytes) {
      return fail(make_error(Errc::kTruncated, "warm", describe(range)));
    }
  }
  const auto after_bytes = resident_in(item.file.get(), ranges);
  report.known = started.before_bytes && after_bytes;
  report.bytes_resident_after = after_bytes.value_or(0);
  done_bytes_ += report.size_bytes;
  return report;
}

double WarmQueue::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count();
}

std::uint64_t bytes_brought_in(const WarmReport& report) noexcept {
  const std::uint64_t more = report.bytes_resident_after -
                             std::min(report.bytes_resident_after, report.bytes_resident_before);
  return report.known ? more : report.bytes_read;
}

TreeSize measure_trees(Session& session, const TreeArguments& tree) {
  TreeSize size;
  std::vector<Error> dropped;
  session.redirect_errors(&dropped);
  ProgressLine progress(session, "looking");
  TreeWalk walk(session, "look", {.one_file_system = tree.one_file_system});
  walk.walk(tree.paths, [&](const WalkedFile& file) {
    ++size.files;
    size.size_bytes += size_of(file);
    progress.update(size.size_bytes, size.files);
  });
  session.redirect_errors(nullptr);
  return size;
}

std::uint64_t size_of(const WalkedFile& file) noexcept {
  return file.status.kind == sys::FileKind::kBlockDevice
             ? sys::block_device_bytes(file.file.get()).value_or(0)
             : file.status.size_bytes;
}

Error memory_error(const char* operation, std::uint64_t left_out_bytes,
                   const std::string& binding_limit) {
  return make_error(
      Errc::kLimit, operation, human_bytes(left_out_bytes) + " left out",
      fmt::format("reading more would make the kernel give up other pages: {}", binding_limit),
      "free some memory, raise that limit, or read on with --allow-reclaim");
}

}  // namespace quire::cli
