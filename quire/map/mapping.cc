// SPDX-License-Identifier: Apache-2.0
#include "quire/map/mapping.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "quire/base/check.h"
#include "quire/base/page_window.h"
#include "quire/map/internal/flush_state.h"
#include "quire/sys/file.h"

namespace quire {
namespace {

sys::MemoryAdvice to_kernel(Advice advice) noexcept {
  switch (advice) {
    case Advice::kNormal: return sys::MemoryAdvice::kNormal;
    case Advice::kRandom: return sys::MemoryAdvice::kRandom;
    case Advice::kSequential: return sys::MemoryAdvice::kSequential;
    case Advice::kWillNeed: return sys::MemoryAdvice::kWillNeed;
    case Advice::kCold: return sys::MemoryAdvice::kCold;
    case Advice::kPageOut: return sys::MemoryAdvice::kPageOut;
    case Advice::kHugePages: return sys::MemoryAdvice::kHugePage;
    case Advice::kNoHugePages: return sys::MemoryAdvice::kNoHugePage;
    case Advice::kDontFork: return sys::MemoryAdvice::kDontFork;
    case Advice::kDontDump: break;
  }
  return sys::MemoryAdvice::kDontDump;
}

}  // namespace

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this != &other) {
    state_ = std::move(other.state_);
    other.forget();
  }
  return *this;
}

Result<std::span<const std::byte>> Mapping::bytes(ByteRange range) const {
  const ByteRange found = QUIRE_TRY(resolve(range, "bytes"));
  return bytes().subspan(found.offset_bytes, found.length_bytes);
}

std::uint64_t Mapping::reserved_bytes() const noexcept {
  if (!state_.space.is_open()) {
    return 0;
  }
  return state_.space.reserved_bytes() -
         static_cast<std::uint64_t>(state_.first - state_.space.address());
}

Result<void> Mapping::advise(ByteRange range, Advice advice) const {
  const ByteRange found = QUIRE_TRY(resolve(range, "advise"));
  const std::span<std::byte> pages = pages_of(found);
  if (pages.empty()) {
    return {};
  }
  const sys::Outcome<void> outcome =
      sys::advise_pages(pages.data(), pages.size(), to_kernel(advice));
  if (outcome) {
    return {};
  }
  if (advice == Advice::kHugePages && outcome.error().value == EINVAL) {
    return fail(error_on(Errc::kUnsupported, "advise", range,
                         "transparent huge pages are not to be had for this kind of memory",
                         "quire doctor shows what this machine grants"));
  }
  return fail(sys::to_error(outcome.error(), "advise", subject(range)));
}

Result<WarmReport> Mapping::prefetch(ByteRange range, const WarmOptions& options) const {
  const ByteRange found = QUIRE_TRY(resolve(range, "prefetch"));
  if (!has_page_cache()) {
    return WarmReport{.size_bytes = found.length_bytes,
                      .bytes_resident_before = found.length_bytes,
                      .bytes_resident_after = found.length_bytes};
  }
  Result<WarmReport> report = warm(state_.file.get(), in_file(found), options);
  return report ? report
                : Result<WarmReport>(fail(report.error().about("prefetch", subject(range))));
}

Result<PopulateReport> Mapping::populate(ByteRange range, const WarmOptions& options) const {
  const ByteRange found = QUIRE_TRY(resolve(range, "populate"));
  const bool needs_memory = state_.origin == Origin::kAnonymous;
  Result<PopulateReport> report = quire::populate(
      pages_of(found), needs_memory ? PopulateAccess::kWrite : PopulateAccess::kRead, options);
  return report ? report
                : Result<PopulateReport>(fail(report.error().about("populate", subject(range))));
}

Result<Residency> Mapping::resident(ByteRange range) const {
  const ByteRange found = QUIRE_TRY(resolve(range, "resident"));
  if (!has_page_cache()) {
    return resident_in_memory(found);
  }
  if (state_.is_secret) {
    return Residency{.size_bytes = found.length_bytes,
                     .resident_known = false,
                     .dirty_known = false,
                     .why_unknown = "the kernel does not look into secret memory"};
  }
  return residency(state_.file.get(), in_file(found));
}

// Memory without a file: mincore on the addresses themselves, in bounded pieces.
Result<Residency> Mapping::resident_in_memory(ByteRange range) const {
  constexpr std::uint64_t kPagesPerCall = 1 << 16;
  const PageSize page = sys::os_page_size();
  Residency residency{.size_bytes = range.length_bytes};
  const std::span<std::byte> pages = pages_of(range);
  std::vector<unsigned char> present(
      static_cast<std::size_t>(std::min(kPagesPerCall, pages.size() >> page.shift())));
  std::uint64_t page_count = 0;
  for (std::uint64_t at = 0; at < pages.size(); at += kPagesPerCall << page.shift()) {
    const std::uint64_t length = std::min(kPagesPerCall << page.shift(), pages.size() - at);
    const sys::Outcome<void> outcome = sys::page_residency(pages.data() + at, length, present);
    if (!outcome) {
      return fail(sys::to_error(outcome.error(), "mincore", subject(range)));
    }
    page_count += static_cast<std::uint64_t>(std::count_if(
        present.begin(), present.begin() + static_cast<std::ptrdiff_t>(length >> page.shift()),
        [](unsigned char byte) { return (byte & 1U) != 0; }));
  }
  residency.resident_bytes = std::min(page_count << page.shift(), range.length_bytes);
  return residency;
}

Result<PageLock> Mapping::lock(ByteRange range, LockMode mode) const {
  const ByteRange found = QUIRE_TRY(resolve(range, "lock"));
  Result<PageLock> lock =
      PageLock::lock(bytes().subspan(found.offset_bytes, found.length_bytes), mode);
  return lock ? std::move(lock)
              : Result<PageLock>(fail(lock.error().about("lock", subject(range))));
}

Result<EvictionReport> Mapping::evict(ByteRange range) const {
  const ByteRange found = QUIRE_TRY(resolve(range, "evict"));
  if (!has_page_cache()) {
    return fail(
        error_on(Errc::kUnsupported, "evict", range, "memory is the only copy of these bytes"));
  }
  if (state_.sharing == Sharing::kPrivate && state_.is_writable) {
    return fail(error_on(Errc::kUnsupported, "evict", range,
                         "dropping the pages would drop the private changes in them",
                         "map the file once more, read-only, and evict through that"));
  }
  // Our own page table entries first: a single one left keeps its page in memory.
  const std::span<std::byte> own = pages_of(found);
  Result<EvictionReport> report = quire::evict(
      state_.file.get(), in_file(found),
      {.own_mappings = own.empty() ? std::span<const std::span<std::byte>>{} : std::span(&own, 1)});
  return report ? std::move(report)
                : Result<EvictionReport>(fail(report.error().about("evict", subject(range))));
}

Result<void> Mapping::close() {
  State state = std::exchange(state_, State{});
  if (!state.is_open) {
    return {};
  }
  Result<void> result;
  const auto keep_first = [&](const sys::Outcome<void>& outcome, const char* operation) {
    if (!outcome && result) {
      result = fail(sys::to_error(outcome.error(), operation, state.path));
    }
  };
  if (state.flush_state != nullptr) {
    if (const std::optional<Error> error = state.flush_state->error()) {
      result = fail(*error);
    }
  }
  const std::uint64_t end_bytes = state.offset_bytes + state.size_bytes;
  if (state.reaches_end && state.origin == Origin::kFile && state.secured_bytes > end_bytes) {
    keep_first(sys::truncate_file(state.file.get(), end_bytes), "trim");
  }
  keep_first(state.space.release(), "munmap");
  keep_first(state.file.close(), "close");
  return result;
}

void Mapping::check_invariants() const {
  state_.space.check_invariants();
  if (!state_.is_open) {
    QUIRE_CHECK_EQ(state_.size_bytes, 0U);
    QUIRE_CHECK(!state_.space.is_open() && !state_.file.is_open());
    return;
  }
  if (state_.size_bytes > 0) {
    QUIRE_CHECK(state_.first >= state_.space.address());
    const auto skew = static_cast<std::uint64_t>(state_.first - state_.space.address());
    QUIRE_CHECK_LE(skew + state_.size_bytes, state_.space.backed_bytes());
  }
  if (has_page_cache() && state_.space.is_open()) {
    QUIRE_CHECK_EQ(state_.offset_bytes & sys::os_page_size().mask(),
                   reinterpret_cast<std::uintptr_t>(state_.first) & sys::os_page_size().mask());
  }
}

Error Mapping::fault_error(const GuardFault& fault, const std::byte* region) const {
  const std::uint64_t at =
      state_.offset_bytes + static_cast<std::uint64_t>(region - state_.first) + fault.offset_bytes;
  const std::string where = fmt::format("{}, offset {}", state_.path, at);
  const sys::Outcome<sys::FileStatus> status = sys::file_status(state_.file.get());
  if (status && status->kind == sys::FileKind::kRegular && status->size_bytes <= at) {
    return make_error(
        Errc::kTruncated, "guarded", where,
        fmt::format("the file was truncated to {} bytes while it was mapped", status->size_bytes),
        "map it again, or agree with whoever writes it");
  }
  return make_error(Errc::kFault, "guarded", where, describe(fault), remedy_for(fault));
}

Error Mapping::error_on(Errc code, const char* operation, ByteRange range, std::string cause,
                        std::string remedy) const {
  return make_error(code, operation, subject(range), std::move(cause), std::move(remedy));
}

std::string Mapping::subject(ByteRange range) const {
  return range == kWholeFile ? state_.path : fmt::format("{}, {}", state_.path, describe(range));
}

AddressSpace::Backing Mapping::backing() const noexcept {
  const bool is_private = state_.sharing == Sharing::kPrivate;
  return {.fd = has_page_cache() ? state_.file.get() : -1,
          .offset_bytes = round_down(state_.offset_bytes, sys::os_page_size()),
          .protection = state_.is_writable || !has_page_cache() ? sys::Protection::kReadWrite
                                                                : sys::Protection::kRead,
          .visibility = is_private || !has_page_cache() ? sys::Visibility::kPrivate
                                                        : sys::Visibility::kShared,
          .no_reserve = is_private && state_.origin == Origin::kFile,
          .huge_pages =
              state_.origin == Origin::kAnonymous && state_.huge_pages == HugePages::kReserved};
}

Result<ByteRange> Mapping::resolve(ByteRange range, const char* operation) const {
  if (!state_.is_open) {
    return fail(make_error(Errc::kClosed, operation, "mapping",
                           "it is empty: never mapped, moved from, or closed"));
  }
  Result<ByteRange> found = resolve_range(range, state_.size_bytes);
  return found ? found : Result<ByteRange>(fail(found.error().about(operation, subject(range))));
}

std::span<std::byte> Mapping::pages_of(ByteRange range) const noexcept {
  if (range.length_bytes == 0) {
    return {};
  }
  const auto skew = static_cast<std::uint64_t>(state_.first - state_.space.address());
  const PageSize page = sys::os_page_size();
  const std::uint64_t start = round_down(skew + range.offset_bytes, page);
  const std::uint64_t end = round_up(skew + end_of(range), page);
  return {state_.space.address() + start, static_cast<std::size_t>(end - start)};
}

}  // namespace quire
