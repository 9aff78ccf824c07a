// SPDX-License-Identifier: Apache-2.0
#include "quire/base/page_window.h"

#include <fmt/format.h>

#include <algorithm>

namespace quire {

Result<PageWindow> make_page_window(ByteRange wanted, PageSize page) {
  if (wanted.offset_bytes > kFileOffsetMax ||
      wanted.length_bytes > kFileOffsetMax - wanted.offset_bytes) {
    return fail(make_error(Errc::kOutOfRange, "page_window", describe(wanted),
                           "the end exceeds the largest file offset, 2^63 - 1"));
  }
  if (wanted.length_bytes == 0) {
    return PageWindow{.map_offset_bytes = round_down(wanted.offset_bytes, page)};
  }
  const std::uint64_t start = round_down(wanted.offset_bytes, page);
  const std::uint64_t skew = wanted.offset_bytes - start;
  // skew + length <= 2^63 - 1 because start + skew + length is; rounding up cannot wrap.
  const std::uint64_t map_length = round_up(skew + wanted.length_bytes, page);
  if (map_length > kMapLengthMax) {
    return fail(make_error(Errc::kOutOfRange, "page_window", describe(wanted),
                           fmt::format("{} do not fit into the address space ({})",
                                       human_bytes(map_length), human_bytes(kMapLengthMax)),
                           "walk the file in windows: quire::open_windows()"));
  }
  return PageWindow{.map_offset_bytes = start,
                    .map_length_bytes = map_length,
                    .skew_bytes = skew,
                    .length_bytes = wanted.length_bytes};
}

Result<ByteRange> resolve_range(ByteRange wanted, std::uint64_t size_bytes) {
  if (wanted.offset_bytes > size_bytes) {
    return fail(make_error(Errc::kOutOfRange, "range", describe(wanted),
                           fmt::format("it starts past the end, at {} bytes", size_bytes)));
  }
  const std::uint64_t left = size_bytes - wanted.offset_bytes;
  if (wanted.length_bytes == kToEnd) {
    return ByteRange{wanted.offset_bytes, left};
  }
  if (wanted.length_bytes > left) {
    return fail(make_error(Errc::kOutOfRange, "range", describe(wanted),
                           fmt::format("it ends past the end, at {} bytes", size_bytes),
                           fmt::format("ask for at most {} bytes, or for quire::kToEnd", left)));
  }
  return wanted;
}

ByteRange inner_pages(ByteRange range, std::uint64_t size_bytes, PageSize page) noexcept {
  const std::uint64_t start = round_up(range.offset_bytes, page);
  const std::uint64_t end = end_of(range);
  const std::uint64_t inner_end =
      end >= size_bytes ? round_up(size_bytes, page) : round_down(end, page);
  return {start, inner_end > start ? inner_end - start : 0};
}

ByteRange next_step(ByteRange whole, std::uint64_t position, PageSize step_bytes) noexcept {
  const std::uint64_t end = end_of(whole);
  const std::uint64_t start = std::max(position, whole.offset_bytes);
  if (start >= end) {
    return {end, 0};
  }
  const std::uint64_t room = kToEnd - start;
  const std::uint64_t stop =
      step_bytes.bytes() > room ? kToEnd : round_down(start + step_bytes.bytes(), step_bytes);
  return {start, std::min(stop, end) - start};
}

}  // namespace quire
