// SPDX-License-Identifier: Apache-2.0
//
// page_window: from the bytes a caller wants to the whole pages the kernel accepts.
//
//         |<- skew ->|<----------- length ----------->|
//   ...---|==========page==========|==========page==========|---...
//         |<---------------- map_length ------------------->|
//         ^ map_offset
//
// This is the only arithmetic on offsets, lengths and pages in quire: every mmap, msync, madvise,
// mlock and fadvise range passes through here, and nothing else rounds. Unaligned offsets, empty
// ranges and sums that overflow are the field's most repeated bugs (mio, Boost.Interprocess, folly,
// memmap2-rs#169 among them), so every function is total over the 64-bit range and tested
// against 128-bit arithmetic.
//
// Thread-safety: plain values, pure functions.
// Cost:          a handful of instructions; no system call; allocation only for an Error.
#pragma once

#include <cstddef>
#include <cstdint>

#include "quire/base/result.h"
#include "quire/base/units.h"

namespace quire {

// The largest file offset the kernel accepts (loff_t is signed).
inline constexpr std::uint64_t kFileOffsetMax = (std::uint64_t{1} << 63) - 1;
// The largest mapping we ask for: user space of four-level page tables. The kernel
// refuses earlier when it must; this bound only keeps the sums below from wrapping.
inline constexpr std::uint64_t kMapLengthMax = std::uint64_t{1} << 47;

// Invariants: map offset and map length are page multiples; skew < one page;
//             skew + length <= map length, which is the smallest that fits;
//             map length is 0 only for an empty request.
struct PageWindow {
  std::uint64_t map_offset_bytes = 0;  // Where the mapping starts in the file.
  std::uint64_t map_length_bytes = 0;  // 0 only for an empty request, which maps nothing.
  std::uint64_t skew_bytes = 0;        // From the mapping's start to the first wanted byte.
  std::uint64_t length_bytes = 0;      // What the caller asked for, and all they will see.

  friend constexpr bool operator==(const PageWindow&, const PageWindow&) = default;
};

// Covers `wanted` with whole pages. kToEnd is not a length here: resolve_range() comes first.
// Errors: kOutOfRange when the end exceeds kFileOffsetMax or the pages exceed kMapLengthMax.
[[nodiscard]] Result<PageWindow> make_page_window(ByteRange wanted, PageSize page);

// What `wanted` means in an object of `size_bytes`: kToEnd becomes what is left.
// Errors: kOutOfRange when it starts or ends past the end, or the sum overflows.
//         An offset equal to the size is fine and gives an empty range.
[[nodiscard]] Result<ByteRange> resolve_range(ByteRange wanted, std::uint64_t size_bytes);

// The largest page multiple <= value.
[[nodiscard]] constexpr std::uint64_t round_down(std::uint64_t value, PageSize page) noexcept {
  return value & ~page.mask();
}

// The smallest page multiple >= value, or the largest multiple of all when that would overflow.
// Saturation is right for every use here: the kernel refuses the saturated value.
[[nodiscard]] constexpr std::uint64_t round_up(std::uint64_t value, PageSize page) noexcept {
  const std::uint64_t down = round_down(value, page);
  if (down == value || down > std::numeric_limits<std::uint64_t>::max() - page.bytes()) {
    return down;
  }
  return down + page.bytes();
}

// offset + length, or the maximum when that overflows: safe to compare with. It is the end that the
// functions below go by, so the byte at offset 2^64 - 1 belongs to no range.
[[nodiscard]] constexpr std::uint64_t end_of(ByteRange range) noexcept {
  const std::uint64_t room = kToEnd - range.offset_bytes;
  return range.length_bytes > room ? kToEnd : range.offset_bytes + range.length_bytes;
}

// The part two ranges share; empty (length 0, at the later start) when they do not meet.
[[nodiscard]] constexpr ByteRange intersect(ByteRange a, ByteRange b) noexcept {
  const std::uint64_t start = a.offset_bytes > b.offset_bytes ? a.offset_bytes : b.offset_bytes;
  const std::uint64_t end = end_of(a) < end_of(b) ? end_of(a) : end_of(b);
  return {start, end > start ? end - start : 0};
}

// Pages touched by a range.
[[nodiscard]] constexpr PageCount pages_touched(ByteRange range, PageSize page) noexcept {
  const std::uint64_t end = end_of(range);
  if (end == range.offset_bytes) {
    return {0};
  }
  const std::uint64_t last = end - 1;
  return {(last >> page.shift()) - (range.offset_bytes >> page.shift()) + 1};
}

// The whole pages inside a range: for advice that must not touch a neighbour's bytes.
// Where `size_bytes` ends inside the range, the file's last partial page counts as whole, and no
// page beyond it counts.
[[nodiscard]] ByteRange inner_pages(ByteRange range, std::uint64_t size_bytes,
                                    PageSize page) noexcept;

// The next piece of at most `step_bytes` at or after `position`, ending on a multiple of the step
// where it can, so that pieces stay aligned: for walking a range in paced steps.
// REQUIRES: step_bytes is a power of two.
[[nodiscard]] ByteRange next_step(ByteRange whole, std::uint64_t position,
                                  PageSize step_bytes) noexcept;

}  // namespace quire
