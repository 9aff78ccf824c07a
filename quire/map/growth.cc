// SPDX-License-Identifier: Apache-2.0
//
// WritableMapping's growth: resize, append, secure, punch.
//
// The order of steps is what keeps every failure harmless:
//   grow    secure the space -> back the addresses -> show the bytes
//   shrink  cut the file -> give the pages back
// A step that fails undoes the ones before it; the view changes last.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "quire/base/check.h"
#include "quire/base/page_window.h"
#include "quire/map/internal/space.h"
#include "quire/map/writable_mapping.h"
#include "quire/sys/file.h"

namespace quire {
namespace {

// append() backs addresses and reserves disk space this far ahead: large enough that neither shows
// in its cost, small enough to be trimmed without anybody noticing.
constexpr std::uint64_t kAppendAheadBytes = 16 << 20;

}  // namespace

Result<std::span<std::byte>> WritableMapping::bytes(ByteRange range) {
  const ByteRange found = QUIRE_TRY(resolve(range, "bytes"));
  return bytes().subspan(found.offset_bytes, found.length_bytes);
}

Result<void> WritableMapping::require_resizable(const char* operation) const {
  QUIRE_TRY(resolve(kWholeFile, operation));
  if (state_.is_device) {
    return fail(
        error_on(Errc::kUnsupported, operation, kWholeFile, "a block device has a fixed size"));
  }
  if (state_.origin == Origin::kFile && state_.sharing == Sharing::kPrivate) {
    return fail(error_on(Errc::kUnsupported, operation, kWholeFile,
                         "a private view never changes its file", "map it with Sharing::kShared"));
  }
  if (state_.is_secret || state_.huge_pages == HugePages::kReserved) {
    return fail(error_on(Errc::kUnsupported, operation, kWholeFile,
                         "secret and hugetlb memory have a fixed size"));
  }
  if (!state_.reaches_end && state_.origin != Origin::kAnonymous) {
    return fail(error_on(Errc::kUnsupported, operation, kWholeFile,
                         "the view ends before its file does",
                         "map up to the end: leave length_bytes at kToEnd"));
  }
  return {};
}

Result<void> WritableMapping::resize(std::uint64_t size_bytes) {
  QUIRE_TRY(require_resizable("resize"));
  if (size_bytes > kMapLengthMax || size_bytes > kFileOffsetMax - state_.offset_bytes) {
    return fail(error_on(Errc::kOutOfRange, "resize", {0, size_bytes},
                         "that is more than the address space"));
  }
  return size_bytes > state_.size_bytes ? grow(size_bytes) : shrink(size_bytes);
}

Result<void> WritableMapping::grow(std::uint64_t size_bytes) {
  if (state_.origin == Origin::kAnonymous) {
    return extend_view(size_bytes, 0);
  }
  const std::uint64_t old_end = state_.offset_bytes + state_.size_bytes;
  const std::uint64_t new_end = state_.offset_bytes + size_bytes;
  const auto grow_backing =
      state_.origin == Origin::kMemfd ? internal::grow_memory : internal::grow_file;
  const internal::Secured secured = QUIRE_TRY(grow_backing(
      state_.file.get(), old_end, new_end, state_.space_policy, "resize", state_.path));
  Result<void> extended = extend_view(size_bytes, 0);
  if (!extended) {
    static_cast<void>(sys::truncate_file(state_.file.get(), old_end));
    return extended;
  }
  state_.wrote_zeros = state_.wrote_zeros || secured == internal::Secured::kWritten;
  state_.secured_bytes = std::max(state_.secured_bytes, new_end);
  return {};
}

// Backs addresses for `size_bytes` (and `ahead_bytes` more, as far as they are reserved) and shows
// them.
Result<void> WritableMapping::extend_view(std::uint64_t size_bytes, std::uint64_t ahead_bytes) {
  const PageSize page = sys::os_page_size();
  const std::uint64_t skew = state_.offset_bytes & page.mask();
  const std::uint64_t needed = round_up(skew + size_bytes, page);
  if (needed > state_.space.backed_bytes()) {
    const std::uint64_t wanted = std::max(
        needed, std::min(round_up(needed + ahead_bytes, page), state_.space.reserved_bytes()));
    if (!state_.space.is_open()) {
      sys::Outcome<AddressSpace> space = AddressSpace::map(backing(), wanted, wanted);
      if (!space) {
        return fail(sys::to_error(space.error(), "mmap", subject({0, size_bytes})));
      }
      state_.space = std::move(*space);
      state_.first = state_.space.address() + skew;
    } else if (const auto backed = state_.space.set_backed(backing(), wanted); !backed) {
      return fail(addresses_error(backed.error(), size_bytes));
    }
  }
  state_.size_bytes = size_bytes;
  return {};
}

Error WritableMapping::addresses_error(sys::Errno cause, std::uint64_t size_bytes) const {
  const ByteRange wanted{0, size_bytes};
  if (cause.value != ENOMEM && cause.value != EFAULT) {
    return sys::to_error(cause, "resize", subject(wanted));
  }
  return error_on(
      Errc::kLimit, "resize", wanted,
      fmt::format("only {} of addresses are reserved, and the ones that follow are taken ({})",
                  human_bytes(reserved_bytes()), errno_name(cause.value)),
      "map with reserve_bytes at the largest size it may reach: it costs no memory");
}

Result<void> WritableMapping::shrink(std::uint64_t size_bytes) {
  const PageSize page = sys::os_page_size();
  const std::uint64_t end = state_.offset_bytes + size_bytes;
  if (state_.origin != Origin::kAnonymous) {
    const sys::Outcome<void> cut = sys::truncate_file(state_.file.get(), end);
    if (!cut) {
      return fail(sys::to_error(cut.error(), "resize", subject({0, size_bytes})));
    }
    state_.secured_bytes = end;
  } else {
    // Without a file nobody zeroes what is cut off: growing again must not show it.
    const std::uint64_t partial_end = std::min(round_up(size_bytes, page), state_.size_bytes);
    if (partial_end > size_bytes) {
      std::memset(state_.first + size_bytes, 0, partial_end - size_bytes);
    }
  }
  state_.size_bytes = size_bytes;
  if (state_.space.is_open()) {
    const std::uint64_t skew = state_.offset_bytes & page.mask();
    // A refusal leaves pages mapped that nobody is shown; growing again uses them. Anonymous pages
    // would keep their old bytes, so those are dropped in the same step or not cut at all.
    static_cast<void>(state_.space.set_backed(backing(), round_up(skew + size_bytes, page)));
  }
  return {};
}

Result<void> WritableMapping::append(std::span<const std::byte> data) {
  QUIRE_TRY(require_resizable("append"));
  if (data.empty()) {
    return {};
  }
  const std::uint64_t room = kMapLengthMax - std::min(kMapLengthMax, state_.size_bytes);
  if (data.size() > room || state_.offset_bytes > kFileOffsetMax - kMapLengthMax) {
    return fail(error_on(Errc::kOutOfRange, "append", {state_.size_bytes, data.size()},
                         "that is more than the address space"));
  }
  if (state_.origin == Origin::kAnonymous) {
    return append_anonymous(data);
  }
  const std::uint64_t old_bytes = state_.size_bytes;
  const std::uint64_t old_end = state_.offset_bytes + old_bytes;
  QUIRE_TRY(secure_ahead(old_end + data.size()));
  const sys::Outcome<void> written = sys::write_at(state_.file.get(), data, old_end);
  if (!written) {
    static_cast<void>(sys::truncate_file(state_.file.get(), old_end));
    state_.secured_bytes = old_end;
    return fail(sys::to_error(written.error(), "append", subject({old_bytes, data.size()})));
  }
  Result<void> extended = extend_view(old_bytes + data.size(), kAppendAheadBytes);
  if (!extended) {
    static_cast<void>(sys::truncate_file(state_.file.get(), old_end));
    state_.secured_bytes = old_end;
  }
  return extended;
}

Result<void> WritableMapping::append_anonymous(std::span<const std::byte> data) {
  const std::uint64_t old_bytes = state_.size_bytes;
  QUIRE_TRY(extend_view(old_bytes + data.size(), kAppendAheadBytes));
  std::memcpy(state_.first + old_bytes, data.data(), data.size());
  return {};
}

// Keeps appended records together on the disk. Only a wish: the write itself reports a full disk,
// so a refusal here (no room for so much at once, no support) is not an error.
Result<void> WritableMapping::secure_ahead(std::uint64_t file_end_bytes) {
  if (state_.origin == Origin::kMemfd || state_.space_policy == Space::kSparse ||
      file_end_bytes <= state_.secured_bytes) {
    return {};
  }
  const std::uint64_t start = std::max(state_.secured_bytes, state_.offset_bytes);
  const ByteRange ahead{start, file_end_bytes - start + kAppendAheadBytes};
  if (sys::allocate_space(state_.file.get(), ahead, sys::Allocate::kKeepSize)) {
    state_.secured_bytes = end_of(ahead);
  } else {
    state_.secured_bytes = file_end_bytes;  // Do not ask again for every record.
  }
  return {};
}

Result<void> WritableMapping::secure(ByteRange range) {
  const ByteRange found = QUIRE_TRY(resolve(range, "secure"));
  if (!has_page_cache() || state_.sharing == Sharing::kPrivate) {
    return fail(error_on(Errc::kUnsupported, "secure", range,
                         "no disk space stands behind private memory"));
  }
  if (found.length_bytes == 0) {
    return {};
  }
  const sys::Outcome<void> outcome =
      sys::allocate_space(state_.file.get(), in_file(found), sys::Allocate::kKeepSize);
  if (!outcome) {
    return fail(sys::to_error(outcome.error(), "secure", subject(range)));
  }
  return {};
}

Result<void> WritableMapping::punch(ByteRange range) {
  const ByteRange found = QUIRE_TRY(resolve(range, "punch"));
  if (state_.origin == Origin::kFile && state_.sharing == Sharing::kPrivate) {
    return fail(
        error_on(Errc::kUnsupported, "punch", range, "a private view never changes its file"));
  }
  if (found.length_bytes == 0) {
    return {};
  }
  if (has_page_cache()) {
    const sys::Outcome<void> outcome = sys::punch_hole(state_.file.get(), in_file(found));
    if (!outcome) {
      return fail(sys::to_error(outcome.error(), "punch", subject(range)));
    }
    return {};
  }
  // Plain memory: whole pages go back to the kernel, the edges are cleared.
  const ByteRange inner = inner_pages(found, state_.size_bytes, sys::os_page_size());
  const auto bytes_in = bytes().subspan(found.offset_bytes, found.length_bytes);
  const sys::Outcome<void> dropped =
      inner.length_bytes == 0 ? sys::Outcome<void>{}
                              : sys::advise_pages(state_.first + inner.offset_bytes,
                                                  inner.length_bytes, sys::MemoryAdvice::kDontNeed);
  if (inner.length_bytes == 0 || !dropped) {
    std::memset(bytes_in.data(), 0, bytes_in.size());
    return {};
  }
  std::memset(bytes_in.data(), 0, inner.offset_bytes - found.offset_bytes);
  if (end_of(found) > end_of(inner)) {
    std::memset(state_.first + end_of(inner), 0, end_of(found) - end_of(inner));
  }
  return {};
}

}  // namespace quire
