// SPDX-License-Identifier: Apache-2.0
#include "quire/map/warming.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cerrno>

#include "quire/map/internal/cached_file.h"
#include "quire/map/internal/pacing.h"
#include "quire/map/internal/page_loader.h"
#include "quire/map/residency.h"
#include "quire/sys/file.h"
#include "quire/sys/memory.h"

namespace quire {
namespace {

using internal::CachedFile;
using internal::kPieceBytes;
using internal::LoaderPool;
using internal::Pace;

// Threads that share out `length_bytes`; 0 when one piece is all there is.
int threads_for(std::uint64_t length_bytes, int threads_max) {
  const std::uint64_t pieces = (length_bytes + kPieceBytes - 1) / kPieceBytes;
  const auto limit = static_cast<std::uint64_t>(std::max(threads_max, 0));
  return pieces <= 1 ? 0 : static_cast<int>(std::min(pieces, limit));
}

// Steps in flight: enough that every thread has a piece while one step is being finished.
std::size_t steps_in_flight(const WarmOptions& options) {
  const std::uint64_t ahead_bytes = 2 * static_cast<std::uint64_t>(options.threads) * kPieceBytes;
  return std::max<std::size_t>(2, ahead_bytes / options.step_bytes + 1);
}

class Warmer {
 public:
  Warmer(const CachedFile& file, const WarmOptions& options)
      : file_(file),
        options_(options),
        pace_(options, file.range.length_bytes),
        pool_(file, threads_for(file.range.length_bytes, options.threads)),
        position_(file.range.offset_bytes) {}

  Result<void> run(WarmReport& report) {
    while (position_ < end_of(file_.range) && !pool_.failure()) {
      if (!pace_.may_go_on(0, report.stopped, report.binding_limit) || !advance(report)) {
        break;
      }
      pace_.report(done_bytes(), report.bytes_read);
    }
    pool_.wait_until_at_most(0);
    report.bytes_left_out = end_of(file_.range) - position_;
    report.pieces_reread = pool_.pieces_reread();
    report.seconds = pace_.seconds();
    if (const std::optional<Error> failure = pool_.failure()) {
      return fail(*failure);
    }
    pace_.report(done_bytes(), report.bytes_read);
    return {};
  }

 private:
  // One hole or one step; false when the step would not fit into memory.
  bool advance(WarmReport& report) {
    if (position_ >= data_end_) {
      find_data();
    }
    if (position_ < data_start_) {
      report.bytes_skipped += data_start_ - position_;
      position_ = data_start_;
      return true;
    }
    const ByteRange data{file_.range.offset_bytes, data_end_ - file_.range.offset_bytes};
    const ByteRange step = next_step(data, position_, PageSize(options_.step_bytes));
    const std::uint64_t missing_bytes = missing_in(step);
    if (missing_bytes > 0) {
      if (!pace_.may_go_on(pool_.outstanding_bytes() + missing_bytes, report.stopped,
                           report.binding_limit)) {
        return false;
      }
      pool_.submit(step, missing_bytes);
      ++report.steps;
      report.bytes_read += missing_bytes;
      pool_.wait_until_at_most(steps_in_flight(options_) - 1);
    }
    position_ = end_of(step);
    return true;
  }

  // The next data at or after position_. What cannot be asked (a block device) is data.
  void find_data() {
    const std::uint64_t end = end_of(file_.range);
    const sys::Outcome<std::uint64_t> data = sys::seek_data(file_.fd, position_);
    const bool is_hole_to_end = !data && data.error().value == ENXIO;
    data_start_ = is_hole_to_end ? end : std::clamp(data.value_or(position_), position_, end);
    const sys::Outcome<std::uint64_t> hole = sys::seek_hole(file_.fd, data_start_);
    data_end_ = hole && *hole > data_start_ ? std::min(*hole, end) : end;
  }

  std::uint64_t missing_in(ByteRange step) const {
    const sys::Outcome<sys::CacheStatus> status = sys::cache_status(file_.fd, step);
    if (!status || !file_.has_counts) {
      return step.length_bytes;
    }
    const PageSize page = sys::os_page_size();
    const std::uint64_t pages = pages_touched(step, page).value;
    const std::uint64_t missing = pages - std::min(pages, status->cached.value);
    return std::min(missing * page.bytes(), step.length_bytes);
  }

  std::uint64_t done_bytes() {
    return std::min(position_, pool_.done_up_to()) - file_.range.offset_bytes;
  }

  const CachedFile& file_;
  const WarmOptions& options_;
  Pace pace_;
  LoaderPool pool_;
  std::uint64_t position_;
  std::uint64_t data_start_ = 0;  // The data around or after position_ ...
  std::uint64_t data_end_ = 0;    // ... and its end; both 0 before the first find_data().
};

}  // namespace

const char* name_of(StopReason reason) noexcept {
  switch (reason) {
    case StopReason::kDone: return "done";
    case StopReason::kCancelled: return "cancelled";
    case StopReason::kMemory: break;
  }
  return "memory";
}

Result<WarmReport> warm(int fd, ByteRange range, const WarmOptions& options) {
  const CachedFile file = QUIRE_TRY(internal::look_at(fd, range, "warm"));
  QUIRE_TRY(internal::check_pace(options, "warm"));
  if (file.range.length_bytes == 0) {
    return WarmReport{};
  }
  const Residency before = QUIRE_TRY(residency(fd, file.range));
  WarmReport report{.size_bytes = file.range.length_bytes,
                    .bytes_resident_before = before.resident_bytes,
                    .bytes_resident_after = before.resident_bytes,
                    .known = before.resident_known,
                    .why_unknown = before.resident_known ? std::string() : before.why_unknown};
  if (before.resident_known && before.resident_bytes == before.size_bytes) {
    return report;
  }
  QUIRE_TRY(Warmer(file, options).run(report));
  const Residency after = QUIRE_TRY(residency(fd, file.range));
  report.bytes_resident_after = after.resident_bytes;
  report.known = report.known && after.resident_known;
  return report;
}

}  // namespace quire
