// SPDX-License-Identifier: Apache-2.0
//
// What a File says about itself, and whether direct reads really were.
#include <fmt/format.h>

#include <algorithm>

#include "quire/base/page_window.h"
#include "quire/io/internal/direct_blocks.h"
#include "quire/io/internal/file_state.h"
#include "quire/sys/file.h"
#include "quire/sys/file_system.h"
#include "quire/sys/journal_mark.h"
#include "quire/sys/memory.h"

namespace quire::internal {
namespace {

std::string explain_direct(const sys::DirectSupport& support) {
  const sys::DirectAlignment& alignment = support.alignment;
  std::string units = fmt::format("in units of {} bytes", alignment.offset_bytes);
  if (alignment.read_offset_bytes) {
    units += fmt::format(" (reads: {})", *alignment.read_offset_bytes);
  }
  return fmt::format("direct: O_DIRECT, {}, memory at multiples of {} ({}, {})", units,
                     alignment.memory_bytes, support.is_stated ? "stated by statx" : "assumed",
                     support.is_confirmed ? "confirmed by a read" : "nothing there to confirm it");
}

std::string explain_cache(const FileState& file) {
  switch (file.drop_method) {
    case DropMethod::kNone: return "pages are kept";
    case DropMethod::kFlag:
      return "pages are dropped behind, read ones by RWF_DONTCACHE, written ones by advice";
    case DropMethod::kAdvice: break;
  }
  return fmt::format("pages are dropped behind by advice ({})", file.advice_reason);
}

std::string explain_read_ahead(const FileOptions& options) {
  switch (options.read_ahead) {
    case ReadAhead::kKernel: return "read-ahead is the kernel's";
    case ReadAhead::kNone: return "no read-ahead (FADV_RANDOM)";
    case ReadAhead::kSequential: return "read-ahead is twice the kernel's (FADV_SEQUENTIAL)";
    case ReadAhead::kWindow: break;
  }
  return fmt::format("{} are read ahead", human_bytes(options.read_ahead_bytes));
}

std::string explain_buffered(const FileState& file) {
  std::string text =
      fmt::format("buffered: {}, {}", explain_cache(file), explain_read_ahead(file.options));
  if (!file.fallback_reason.empty()) {
    text += fmt::format(", not direct (O_DIRECT: {})", file.fallback_reason);
  }
  if (file.options.write_behind_bytes > 0) {
    text += fmt::format(", write-back is started every {}",
                        human_bytes(file.options.write_behind_bytes));
  }
  return text;
}

std::optional<std::uint64_t> cached_pages(int fd, ByteRange range) noexcept {
  const sys::Outcome<sys::CacheStatus> status = sys::cache_status(fd, range);
  return status ? std::optional(status->cached.value) : std::nullopt;
}

// Overlay counts nothing, and says so to nobody: whoever claims that nothing was cached has to show
// that a page which surely is would have been counted. Leaves no page behind that was not there.
bool counts_truly(const FileState& file, ByteRange page) {
  const sys::Outcome<sys::Descriptor> buffered =
      sys::open_file(fmt::format("/proc/self/fd/{}", file.fd()).c_str(), {});
  return buffered && sys::sees_cached_page(buffered->get(), page, [&] {
           return cached_pages(file.fd(), page).value_or(0) > 0;
         });
}

// A place of the file that is not in the page cache: only there can a direct read show what it is.
std::optional<ByteRange> uncached_place(const FileState& file, std::uint64_t length_bytes) {
  constexpr std::uint64_t kPlaces = 16;
  const std::uint64_t size_bytes = file.size_now().value_or(0);
  for (std::uint64_t i = 0; i < kPlaces && size_bytes > 0; ++i) {
    const std::uint64_t offset = round_down((size_bytes - 1) / kPlaces * i, PageSize(length_bytes));
    const ByteRange place{offset, length_bytes};
    if (cached_pages(file.fd(), place) == 0) {
      return place;
    }
  }
  return std::nullopt;
}

}  // namespace

std::string explain(const FileState& file) {
  std::string text =
      file.name + ": " + (file.is_direct() ? explain_direct(*file.direct) : explain_buffered(file));
  if (file.options.write_through == WriteThrough::kEachWrite) {
    text += ", each write is durable (RWF_DSYNC)";
  }
  const bool is_its_journal = file.options.behind_journal == BehindJournal::kAllowed;
  if (!is_its_journal && sys::has_journal_mark(file.fd())) {
    text += std::string("; ") + sys::kBehindItsJournal;
  }
  return text;
}

Result<Directness> verify_direct(FileState& file) {
  if (!file.is_direct()) {
    return Directness::kUnknown;
  }
  const PageSize unit(file.direct->alignment.offset_bytes);
  const std::uint64_t length_bytes = std::max(unit.bytes(), sys::os_page_size().bytes());
  const std::optional<ByteRange> place = uncached_place(file, length_bytes);
  if (!place) {
    return Directness::kUnknown;
  }
  const BufferPool::Buffer buffer = QUIRE_TRY(file.bounce_pool())->take();
  const sys::Outcome<std::uint64_t> got =
      read_blocks(file, buffer.bytes().first(length_bytes), place->offset_bytes, unit);
  if (!got) {
    return fail(file.error(got.error(), "verify_direct", *place));
  }
  const std::optional<std::uint64_t> after = cached_pages(file.fd(), *place);
  if (!after) {
    return Directness::kUnknown;
  }
  if (*after > 0) {
    return Directness::kSilentlyBuffered;
  }
  return counts_truly(file, *place) ? Directness::kVerified : Directness::kUnknown;
}

}  // namespace quire::internal
