// SPDX-License-Identifier: Apache-2.0
//
// workload: the bytes that a round asks for, what they must be, and what is done with them.
//
//   scratch file   |page 0|page 1|page 2| ...
//                   '-- 8 bytes: its number; 8 bytes: how often it was updated; random bytes
//
// What is read is summed up, all of it, so that no path can be optimised away or get by without
// looking at its bytes; a reader of a mapping sums in place, as a user of a pointer would. In a
// scratch file a sample of the pages is also checked to be what was asked for.
//
// Thread-safety: plain values and pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "quire/compare/latency_histogram.h"
#include "quire/compare/report.h"

namespace quire::compare {

// The unit of the random patterns and of the scratch file's numbering.
inline constexpr std::uint64_t kPatternPageBytes = 4096;

// Every kSampleEvery-th operation is checked; a power of two.
inline constexpr std::uint64_t kSampleEvery = 64;
// Pages drawn for a round; when they are used up they come again. A power of two.
inline constexpr std::size_t kPagesDrawn = std::size_t{1} << 18;

// The sum of all 8-byte words, and of the bytes behind them.
[[nodiscard]] std::uint64_t sum_of(std::span<const std::byte> bytes) noexcept;

// REQUIRES: page is kPatternPageBytes long.
void fill_page(std::span<std::byte> page, std::uint64_t page_number, std::uint64_t seed) noexcept;

// A record carries its number like a page, unless it is shorter than that.
inline constexpr std::uint64_t kStampBytes = sizeof(std::uint64_t);

inline void stamp_page(std::byte* page, std::uint64_t page_number) noexcept {
  std::memcpy(page, &page_number, sizeof page_number);
}
[[nodiscard]] inline std::uint64_t stamp_of(const std::byte* page) noexcept {
  std::uint64_t page_number = 0;
  std::memcpy(&page_number, page, sizeof page_number);
  return page_number;
}
// The update counter behind the stamp.
inline void count_update(std::byte* page) noexcept {
  std::uint64_t count = 0;
  std::memcpy(&count, page + sizeof count, sizeof count);
  ++count;
  std::memcpy(page + sizeof count, &count, sizeof count);
}

// What one round does, whatever the path.
struct Workload {
  Pattern pattern{};
  DurabilityChoice durability{};
  std::uint64_t working_set_bytes = 0;        // Offsets are below this.
  std::optional<std::uint64_t> memory_bytes;  // The limit that is in force; nothing: unlimited.
  std::uint64_t block_bytes = 0;              // Of one operation.
  std::uint32_t depth = 1;
  std::uint64_t start_bytes = 0;     // Sequential patterns begin here and go round.
  std::vector<std::uint32_t> pages;  // Random patterns; kPagesDrawn of them ...
  std::uint64_t first_draw = 0;      // ... beginning with this one, and going round.
  bool has_stamps = false;           // The file is a scratch file.
  std::uint64_t latency_mask = 0;    // Operations whose number & mask is 0 are timed.

  // A round ends at whichever comes first.
  double seconds_max = 1;
  std::uint64_t bytes_max = 0;
};

// What was done.
struct Tally {
  std::uint64_t bytes = 0;
  std::uint64_t operations = 0;
  std::uint64_t system_calls = 0;
  std::uint64_t sum = 0;
  // The file offset of the first operation that gave something else than it should; if any.
  std::optional<std::uint64_t> wrong_at_bytes;
  LatencyHistogram latency;
};

}  // namespace quire::compare
