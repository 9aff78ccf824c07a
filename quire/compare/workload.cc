// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/workload.h"

#include <array>

#include "quire/base/check.h"
#include "quire/base/prng.h"

namespace quire::compare {

std::uint64_t sum_of(std::span<const std::byte> bytes) noexcept {
  // Four sums, so that additions do not wait for each other.
  std::array<std::uint64_t, 4> sums{};
  std::size_t at = 0;
  for (; at + sizeof sums <= bytes.size(); at += sizeof sums) {
    std::array<std::uint64_t, 4> words;
    std::memcpy(words.data(), bytes.data() + at, sizeof words);
    for (std::size_t i = 0; i < words.size(); ++i) {
      sums[i] += words[i];
    }
  }
  std::uint64_t sum = sums[0] + sums[1] + sums[2] + sums[3];
  for (; at < bytes.size(); ++at) {
    sum += static_cast<std::uint64_t>(bytes[at]) << (8 * (at % 8));
  }
  return sum;
}

void fill_page(std::span<std::byte> page, std::uint64_t page_number, std::uint64_t seed) noexcept {
  QUIRE_CHECK_EQ(page.size(), kPatternPageBytes);
  Prng prng(seed ^ (page_number * 0x9e3779b97f4a7c15));
  for (std::size_t at = 0; at < page.size(); at += sizeof(std::uint64_t)) {
    const std::uint64_t word = prng();
    std::memcpy(page.data() + at, &word, sizeof word);
  }
  const std::array<std::uint64_t, 2> head{page_number, 0};
  std::memcpy(page.data(), head.data(), sizeof head);
}

}  // namespace quire::compare
