// SPDX-License-Identifier: Apache-2.0
#include "quire/base/units.h"

#include <fmt/format.h>

#include <array>

namespace quire {

std::string human_bytes(std::uint64_t bytes) {
  constexpr std::array<const char*, 7> kUnits{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) {
    return fmt::format("{} B", bytes);
  }
  auto scaled = static_cast<double>(bytes);
  std::size_t unit = 0;
  // 1023.95 would print as "1024.0": step up before rounding does.
  while (scaled >= 1023.95 && unit + 1 < kUnits.size()) {
    scaled /= 1024;
    ++unit;
  }
  return fmt::format("{:.1f} {}", scaled, kUnits.at(unit));
}

std::string describe(ByteRange range) {
  if (range == kWholeFile) {
    return "whole file";
  }
  if (range.length_bytes == kToEnd) {
    return fmt::format("offset {} to the end", range.offset_bytes);
  }
  return fmt::format("offset {}, {} bytes", range.offset_bytes, range.length_bytes);
}

}  // namespace quire
