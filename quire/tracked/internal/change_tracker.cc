// SPDX-License-Identifier: Apache-2.0
#include "quire/tracked/internal/change_tracker.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "quire/base/page_window.h"

#define XXH_INLINE_ALL  // NOLINT(readability-identifier-naming): xxhash wants it so.
#include <xxhash.h>

namespace quire::internal {
namespace {

// Runs taken by one call: a KiB of stack.
constexpr std::size_t kRunsMax = 64;

}  // namespace

void append_run(std::vector<ByteRange>& runs, ByteRange run) {
  if (!runs.empty() && end_of(runs.back()) >= run.offset_bytes) {
    const std::uint64_t end = std::max(end_of(runs.back()), end_of(run));
    runs.back().length_bytes = end - runs.back().offset_bytes;
  } else if (run.length_bytes > 0) {
    runs.push_back(run);
  }
}

std::vector<ByteRange> merge_runs(std::span<const ByteRange> a, std::span<const ByteRange> b) {
  std::vector<ByteRange> sorted;
  std::ranges::merge(a, b, std::back_inserter(sorted), {}, &ByteRange::offset_bytes,
                     &ByteRange::offset_bytes);
  std::vector<ByteRange> merged;
  for (const ByteRange& run : sorted) {
    append_run(merged, run);
  }
  return merged;
}

Result<ChangeTracker> ChangeTracker::open(sys::Address view) {
  auto pages = sys::PrivatePages::open();
  if (!pages) {
    return fail(make_error(Errc::kUnsupported, "map", "/proc/self/pagemap",
                           "it cannot be opened (" + errno_name(pages.error().value) +
                               "), and nothing else tells which pages were stored to",
                           "mount /proc, or use a pager"));
  }
  ChangeTracker tracker(view, std::move(*pages));
  auto notes = sys::StoreNotes::open();
  if (!notes || !tracker.pages_.has_scan()) {
    tracker.compare_from_now(notes ? "PAGEMAP_SCAN: this kernel does not have it; run Linux 6.7"
                                   : notes.error().message());
    return tracker;
  }
  tracker.has_notes_ = true;
  tracker.notes_ = std::move(*notes);
  tracker.explanation_ =
      fmt::format("the kernel notes which pages are stored to (WP_ASYNC by {}, PAGEMAP_SCAN)",
                  tracker.notes_.explain());
  return tracker;
}

void ChangeTracker::compare_from_now(const std::string& cause) {
  has_notes_ = false;
  explanation_ = fmt::format(
      "each commit compares the checksums of all private pages, since the kernel does not note "
      "stores: {}",
      cause);
}

void ChangeTracker::watch(ByteRange pages) {
  if (pages.length_bytes == 0) {
    return;
  }
  const sys::Address first = view_ + pages.offset_bytes;
  // A huge page would be committed whole for one byte. EINVAL: this kernel has none.
  static_cast<void>(sys::advise_pages(first, pages.length_bytes, sys::MemoryAdvice::kNoHugePage));
  if (!has_notes_) {
    return;
  }
  if (const auto watched = notes_.watch(first, pages.length_bytes); !watched) {
    compare_from_now(sys::to_error(watched.error(), "watch memory", describe(pages)).message());
  }
}

sys::Outcome<sys::PageWalk> ChangeTracker::step(ByteRange range, Pages which,
                                                std::span<sys::PageRun> into) const {
  const sys::Address first = view_ + range.offset_bytes;
  if (which == Pages::kStored) {
    return pages_.take_stored(first, range.length_bytes, into);
  }
  return pages_.find(first, range.length_bytes, into,
                     which == Pages::kOwn ? sys::OwnPages::kAnywhere : sys::OwnPages::kInMemory);
}

sys::Outcome<std::vector<ByteRange>> ChangeTracker::walk(ByteRange range, Pages which) const {
  std::vector<ByteRange> found;
  std::array<sys::PageRun, kRunsMax> runs;
  for (std::uint64_t at = range.offset_bytes; at < end_of(range);) {
    const sys::PageWalk walked = QUIRE_TRY(step({at, end_of(range) - at}, which, runs));
    for (const sys::PageRun& run : std::span(runs).first(walked.run_count)) {
      append_run(found, {static_cast<std::uint64_t>(run.first - view_), run.length_bytes});
    }
    at += walked.walked_bytes;
  }
  return found;
}

Result<std::vector<ByteRange>> ChangeTracker::take_changes(std::uint64_t length_bytes) {
  const bool takes_all = !has_notes_ || has_failed_;
  // Anew, also when all pages are taken: stores from here on are found the next time.
  sys::Outcome<std::vector<ByteRange>> runs =
      has_notes_ ? walk({0, length_bytes}, Pages::kStored) : sys::Outcome<std::vector<ByteRange>>();
  if (runs && takes_all) {
    runs = walk({0, length_bytes}, Pages::kOwn);
  }
  has_failed_ = !runs.has_value();
  if (!runs) {
    return fail(sys::to_error(runs.error(), "find changed pages", "/proc/self/pagemap",
                              "nothing is lost; try again"));
  }
  return has_notes_ ? std::move(*runs) : compare(*runs);
}

std::vector<ByteRange> ChangeTracker::compare(std::span<const ByteRange> runs) {
  const std::uint64_t page_bytes = sys::os_page_size().bytes();
  std::vector<ByteRange> changed;
  for (const ByteRange& run : runs) {
    for (std::uint64_t at = run.offset_bytes; at < end_of(run); at += page_bytes) {
      ++compared_pages_;
      const XXH128_hash_t hash = XXH3_128bits(view_ + at, page_bytes);
      const Checksum now{hash.low64, hash.high64};
      const auto [place, is_new] = checksums_.try_emplace(at, now);
      if (is_new || place->second != now) {
        place->second = now;
        append_run(changed, {at, page_bytes});
      }
    }
  }
  return changed;
}

Result<std::uint64_t> ChangeTracker::count_private_bytes(ByteRange pages) const {
  const auto runs = walk(pages, Pages::kOwnInMemory);
  if (!runs) {
    return fail(sys::to_error(runs.error(), "find private pages", "/proc/self/pagemap"));
  }
  std::uint64_t total = 0;
  for (const ByteRange& run : *runs) {
    total += run.length_bytes;
  }
  return total;
}

void ChangeTracker::forget_from(std::uint64_t offset_bytes) {
  std::erase_if(checksums_, [&](const auto& entry) { return entry.first >= offset_bytes; });
}

}  // namespace quire::internal
