// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cerrno>

#include "quire/base/page_window.h"
#include "quire/map/internal/pacing.h"
#include "quire/map/warming.h"
#include "quire/sys/memory.h"

namespace quire {
namespace {

using internal::Pace;

// Whether the kernel knows the advice at all: EINVAL has other causes too.
bool kernel_can_populate(sys::MemoryAdvice advice) {
  const std::uint64_t page_bytes = sys::os_page_size().bytes();
  const sys::Outcome<sys::Address> page = sys::map_pages({.length_bytes = page_bytes,
                                                          .protection = sys::Protection::kReadWrite,
                                                          .visibility = sys::Visibility::kPrivate});
  if (!page) {
    return true;  // Nothing learned; the error of the caller's own range stands.
  }
  const sys::Outcome<void> outcome = sys::advise_pages(*page, page_bytes, advice);
  static_cast<void>(sys::unmap_pages(*page, page_bytes));
  return outcome.has_value() || outcome.error().value != EINVAL;
}

class Populator {
 public:
  Populator(std::span<std::byte> mapped, sys::MemoryAdvice advice)
      : mapped_(mapped), advice_(advice) {}

  // Populates one step, or says at which page it fails.
  Result<void> populate_step(ByteRange step) const {
    const sys::Outcome<void> outcome = advise(step);
    if (outcome) {
      return {};
    }
    if (outcome.error().value == EINVAL && !kernel_can_populate(advice_)) {
      return fail(make_error(Errc::kUnsupported, "populate", describe(step),
                             "this kernel has no MADV_POPULATE_READ/WRITE (Linux 5.14)",
                             "touch the pages under quire::guarded() instead"));
    }
    if (const Result<void> found = find_bad_page(step, outcome.error()); !found) {
      return found;
    }
    // It was repaired meanwhile (a file that grew again): once more, and then believe it.
    const sys::Outcome<void> again = advise(step);
    return again ? Result<void>{} : fail(to_error(step, again.error()));
  }

 private:
  sys::Outcome<void> advise(ByteRange part) const {
    return sys::advise_pages(mapped_.data() + part.offset_bytes, part.length_bytes, advice_);
  }

  // Halves the step until one page is left: the pages before the failing one are populated, so a
  // first half that works means that the second one fails.
  Result<void> find_bad_page(ByteRange part, sys::Errno cause) const {
    const PageSize page = sys::os_page_size();
    while (part.length_bytes > page.bytes()) {
      const std::uint64_t half_bytes = round_up(part.length_bytes / 2, page);
      if (half_bytes >= part.length_bytes) {
        break;
      }
      const ByteRange first{part.offset_bytes, half_bytes};
      const ByteRange second{end_of(first), part.length_bytes - half_bytes};
      const sys::Outcome<void> outcome = advise(first);
      part = outcome ? second : first;
      cause = outcome ? cause : outcome.error();
    }
    if (advise(part)) {
      return {};
    }
    return fail(to_error(part, cause));
  }

  static Error to_error(ByteRange part, sys::Errno cause) {
    if (cause.value == EFAULT) {
      return make_error(Errc::kFault, "populate", describe(part),
                        "a load or store there would raise SIGBUS: the file ends before it, the "
                        "disk is full behind a hole, or the device failed");
    }
    return sys::to_error(cause, "populate", describe(part));
  }

  std::span<std::byte> mapped_;
  sys::MemoryAdvice advice_;
};

}  // namespace

Result<PopulateReport> populate(std::span<std::byte> mapped, PopulateAccess access,
                                const WarmOptions& options) {
  QUIRE_TRY(internal::check_pace(options, "populate"));
  const Populator populator(mapped, access == PopulateAccess::kRead
                                        ? sys::MemoryAdvice::kPopulateRead
                                        : sys::MemoryAdvice::kPopulateWrite);
  const Pace pace(options, mapped.size());
  const ByteRange whole{0, mapped.size()};
  PopulateReport report;
  while (report.bytes_populated < mapped.size()) {
    const ByteRange step = next_step(whole, report.bytes_populated, PageSize(options.step_bytes));
    if (!pace.may_go_on(step.length_bytes, report.stopped, report.binding_limit)) {
      break;
    }
    QUIRE_TRY(populator.populate_step(step));
    ++report.steps;
    report.bytes_populated = end_of(step);
    pace.report(report.bytes_populated, report.bytes_populated);
  }
  report.bytes_left_out = mapped.size() - report.bytes_populated;
  report.seconds = pace.seconds();
  return report;
}

}  // namespace quire
