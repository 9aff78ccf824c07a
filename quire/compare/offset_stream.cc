// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/offset_stream.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "quire/base/check.h"

namespace quire::compare {
namespace {

double zeta(std::uint64_t count) noexcept {
  double sum = 0;
  for (std::uint64_t rank = 1; rank <= count; ++rank) {
    sum += std::pow(static_cast<double>(rank), -kZipfExponent);
  }
  return sum;
}

constexpr std::uint64_t mix(std::uint64_t value) noexcept {
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

// 53 random bits as a fraction in [0, 1).
double fraction(Prng& prng) noexcept {
  return static_cast<double>(prng() >> 11) * 0x1.0p-53;
}

}  // namespace

ZipfRanks::ZipfRanks(std::uint64_t count)
    : count_(count), zeta_(zeta(count)), exponent_(1 / (1 - kZipfExponent)) {
  QUIRE_CHECK(count > 0);
  const double n = static_cast<double>(count);
  const double zeta_of_two = zeta(std::min<std::uint64_t>(count, 2));
  eta_ = (1 - std::pow(2 / n, 1 - kZipfExponent)) / (1 - zeta_of_two / zeta_);
}

std::uint64_t ZipfRanks::draw(Prng& prng) const noexcept {
  const double u = fraction(prng);
  const double scaled = u * zeta_;
  if (scaled < 1 || count_ == 1) {
    return 0;
  }
  if (scaled < 1 + std::pow(0.5, kZipfExponent) || count_ == 2) {
    return 1;
  }
  const double rank = static_cast<double>(count_) * std::pow(eta_ * u - eta_ + 1, exponent_);
  return std::min(static_cast<std::uint64_t>(rank), count_ - 1);
}

Permutation::Permutation(std::uint64_t count, std::uint64_t seed) noexcept
    : count_(count),
      seed_(seed),
      half_bits_((static_cast<int>(std::bit_width(count - 1)) + 1) / 2) {
  QUIRE_CHECK(count > 0);
}

// Four rounds of a balanced Feistel network over 2 * half_bits_ bits: one-to-one by construction.
std::uint64_t Permutation::scramble(std::uint64_t value) const noexcept {
  const std::uint64_t mask = (std::uint64_t{1} << half_bits_) - 1;
  std::uint64_t left = value >> half_bits_;
  std::uint64_t right = value & mask;
  for (std::uint64_t round = 0; round < 4; ++round) {
    const std::uint64_t mixed = left ^ (mix(right + (round << 56) + seed_) & mask);
    left = right;
    right = mixed;
  }
  return (left << half_bits_) | right;
}

std::uint64_t Permutation::operator()(std::uint64_t index) const noexcept {
  QUIRE_DCHECK_LT(index, count_);
  // The network permutes a power of four below 4 * count: walking its cycle comes back inside.
  do {
    index = scramble(index);
  } while (index >= count_);
  return index;
}

std::vector<std::uint32_t> draw_pages(const OffsetRequest& request) {
  QUIRE_CHECK(request.page_count > 0);
  QUIRE_CHECK_LE(request.page_count, std::numeric_limits<std::uint32_t>::max());
  Prng prng(request.seed);
  std::vector<std::uint32_t> pages(request.draws);
  if (request.skew == Skew::kUniform) {
    for (std::uint32_t& page : pages) {
      page = static_cast<std::uint32_t>(prng.below(request.page_count));
    }
    return pages;
  }
  const ZipfRanks ranks(request.page_count);
  const Permutation scatter(request.page_count, request.hot_seed);
  for (std::uint32_t& page : pages) {
    page = static_cast<std::uint32_t>(scatter(ranks.draw(prng)));
  }
  return pages;
}

}  // namespace quire::compare
