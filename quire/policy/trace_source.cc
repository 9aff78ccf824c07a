// SPDX-License-Identifier: Apache-2.0
#include "quire/policy/trace_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <numeric>
#include <optional>
#include <utility>

#include "quire/base/check.h"

namespace quire {
namespace {

using Kind = WorkloadPart::Kind;

struct KindName {
  const char* name;
  Kind kind;
};
constexpr std::array<KindName, 5> kKinds{{{"uniform", Kind::kUniform},
                                          {"zipf", Kind::kZipf},
                                          {"scan", Kind::kScan},
                                          {"loop", Kind::kLoop},
                                          {"stride", Kind::kStride}}};

Error wrong_part(std::string_view part, std::string cause) {
  return make_error(Errc::kOutOfRange, "parse_workload", std::string(part), std::move(cause),
                    "write uniform, zipf:THETA, scan:LENGTH, loop:PAGES or stride:STEP, joined by "
                    "'+', each with *WEIGHT or /EVERY");
}

template <typename Number>
std::optional<Number> number_of(std::string_view text) {
  Number number{};
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool is_all = error == std::errc{} && stop == text.data() + text.size();
  return is_all ? std::optional(number) : std::nullopt;
}

// What stands before the first of `marks`; `text` keeps the mark and what follows.
std::string_view cut_before(std::string_view& text, std::string_view marks) noexcept {
  const std::size_t end = std::min(text.find_first_of(marks), text.size());
  return std::exchange(text, text.substr(end)).substr(0, end);
}

Result<void> parse_number(std::string_view whole, std::string_view text, WorkloadPart& part) {
  if (part.kind == Kind::kUniform) {
    return fail(wrong_part(whole, "uniform has no number"));
  }
  if (part.kind == Kind::kZipf) {
    const auto theta = number_of<double>(text);
    if (!theta || !(*theta >= 0 && *theta <= kZipfThetaMax)) {
      return fail(wrong_part(whole, fmt::format("THETA is from 0 to {}", kZipfThetaMax)));
    }
    part.theta = *theta;
    return {};
  }
  const auto pages = number_of<std::uint64_t>(text);
  if (!pages || *pages == 0 || *pages > kSimulatedPagesMax) {
    return fail(
        wrong_part(whole, fmt::format("a number of pages is from 1 to {}", kSimulatedPagesMax)));
  }
  part.number = *pages;
  return {};
}

Result<void> parse_share(std::string_view whole, std::string_view text, WorkloadPart& part) {
  const auto number = number_of<std::uint64_t>(text.substr(1));
  if (text.front() == '*') {
    if (!number || *number == 0 || *number > kWorkloadWeightMax) {
      return fail(wrong_part(whole, fmt::format("WEIGHT is from 1 to {}", kWorkloadWeightMax)));
    }
    part.weight = static_cast<std::uint32_t>(*number);
    return {};
  }
  if (part.kind == Kind::kUniform || part.kind == Kind::kZipf) {
    return fail(wrong_part(whole, "only scan, loop and stride have passes, for /EVERY"));
  }
  if (!number || *number == 0) {
    return fail(wrong_part(whole, "EVERY is a number of accesses, from 1"));
  }
  part.every = *number;
  return {};
}

Result<WorkloadPart> parse_part(std::string_view whole) {
  std::string_view rest = whole;
  const std::string_view name = cut_before(rest, ":*/");
  const auto* const found = std::find_if(kKinds.begin(), kKinds.end(),
                                         [&](const KindName& kind) { return name == kind.name; });
  if (found == kKinds.end()) {
    return fail(wrong_part(whole, fmt::format("there is no '{}'", name)));
  }
  WorkloadPart part{.kind = found->kind};
  if (rest.starts_with(':')) {
    rest.remove_prefix(1);
    QUIRE_TRY(parse_number(whole, cut_before(rest, "*/"), part));
  }
  if (!rest.empty()) {
    QUIRE_TRY(parse_share(whole, rest, part));
  }
  return part;
}

// expm1(x) / x and log1p(x) / x, which are 1 at 0: they keep theta = 1 from being a special case.
double expm1_ratio(double x) noexcept {
  return std::abs(x) > 1e-8 ? std::expm1(x) / x : 1 + x / 2;
}
double log1p_ratio(double x) noexcept {
  return std::abs(x) > 1e-8 ? std::log1p(x) / x : 1 - x / 2;
}

// 53 random bits as a fraction in [0, 1).
double fraction(Prng& prng) noexcept {
  return static_cast<double>(prng() >> 11) * 0x1.0p-53;
}

// Any number will do that shares no divisor with `count`; small ones would keep neighbours close.
std::uint64_t scatter_factor(std::uint64_t count, std::uint64_t seed) noexcept {
  constexpr double kGoldenSection = 0.6180339887498949;
  auto factor = static_cast<std::uint64_t>(static_cast<double>(count) * kGoldenSection);
  factor += Prng(seed).below(count / 8 + 1);
  while (std::gcd(factor, count) != 1) {
    ++factor;
  }
  return factor;
}

}  // namespace

Result<Workload> parse_workload(std::string_view text) {
  Workload workload;
  std::string_view rest = text;
  while (true) {
    const std::string_view part = cut_before(rest, "+");
    if (workload.size() == kWorkloadPartsMax) {
      return fail(wrong_part(part, fmt::format("{} parts are the most", kWorkloadPartsMax)));
    }
    workload.push_back(QUIRE_TRY(parse_part(part)));
    if (rest.empty()) {
      break;
    }
    rest.remove_prefix(1);
  }
  const auto is_mixed = [](const WorkloadPart& part) { return part.every == 0; };
  if (std::none_of(workload.begin(), workload.end(), is_mixed)) {
    return fail(wrong_part(text, "one part must be without /EVERY, for the others to wait for"));
  }
  return workload;
}

void FootprintSurvey::add(std::span<const PageAccess> accesses) noexcept {
  accesses_ += accesses.size();
  for (const PageAccess access : accesses) {
    stores_ += access.is_store() ? 1 : 0;
    if (!is_touched_[access.page()]) {
      is_touched_[access.page()] = true;
      ++pages_;
    }
  }
}

// --- Zipf ----------------------------------------------------------------------------------------
//
// The weights 1 / r^theta are bars of width 1 around each rank r; the curve 1 / x^theta over them
// is easily integrated and inverted. A point is drawn under the curve: its x, rounded, is the rank,
// and stands unless the point lies above the bar. Near the middle of a bar it cannot, so most draws
// end there.

ZipfDraw::ZipfDraw(std::uint64_t count, double theta) noexcept
    : theta_(theta),
      rank_max_(static_cast<double>(count)),
      // The first bar reaches up to its curve: it takes exactly weight 1.
      integral_first_(integral_of(1.5) - 1),
      integral_last_(integral_of(rank_max_ + 0.5)),
      sure_distance_(2 - rank_of(integral_of(2.5) - weight_of(2))) {
  QUIRE_DCHECK(count > 0);
}

double ZipfDraw::weight_of(double rank) const noexcept {
  return std::exp(-theta_ * std::log(rank));
}

double ZipfDraw::integral_of(double rank) const noexcept {
  const double logarithm = std::log(rank);
  return expm1_ratio((1 - theta_) * logarithm) * logarithm;
}

double ZipfDraw::rank_of(double integral) const noexcept {
  // Rounding may bring the product just below -1, where there is no logarithm.
  const double x = std::max(integral * (1 - theta_), -1.0);
  return std::exp(log1p_ratio(x) * integral);
}

std::uint64_t ZipfDraw::operator()(Prng& prng) const noexcept {
  while (true) {
    const double integral = integral_last_ + fraction(prng) * (integral_first_ - integral_last_);
    const double x = rank_of(integral);
    const double rank = std::clamp(std::floor(x + 0.5), 1.0, rank_max_);
    if (rank - x <= sure_distance_ || integral >= integral_of(rank + 0.5) - weight_of(rank)) {
      return static_cast<std::uint64_t>(rank);
    }
  }
}

// --- SyntheticSource -----------------------------------------------------------------------------

SyntheticSource::SyntheticSource(const SyntheticOptions& options)
    : options_(options),
      scatter_(scatter_factor(options.pages, options.seed)),
      prng_(options.seed) {
  QUIRE_CHECK(options.pages > 0 && options.pages <= kSimulatedPagesMax);
  QUIRE_CHECK_LE(options.store_percent, 100U);
  rewind();
  QUIRE_CHECK(!mixed_.empty());
}

void SyntheticSource::rewind() {
  prng_ = Prng(options_.seed);
  mixed_.clear();
  passing_.clear();
  weight_sum_ = 0;
  for (const WorkloadPart& part : options_.workload) {
    (part.every == 0 ? mixed_ : passing_).push_back(make_player(part));
    weight_sum_ += part.every == 0 ? part.weight : 0;
  }
  running_ = nullptr;
  left_of_pass_ = 0;
  given_ = 0;
}

SyntheticSource::Player SyntheticSource::make_player(const WorkloadPart& part) const {
  const std::uint32_t pages = options_.pages;
  WorkloadPart settled = part;
  if (settled.number == 0) {
    settled.number = part.kind == Kind::kStride ? kStrideDefault
                     : part.kind == Kind::kLoop ? (pages + 1) / 2
                                                : pages;
  }
  settled.number = std::min<std::uint64_t>(settled.number, pages);
  const std::uint64_t pass_pages =
      part.kind == Kind::kStride ? pages / settled.number : settled.number;
  return {.part = settled,
          .zipf = ZipfDraw(pages, part.theta),
          .pass_pages = static_cast<std::uint32_t>(pass_pages),
          .due_in = part.every};
}

std::uint32_t SyntheticSource::draw_from(Player& player) noexcept {
  const std::uint64_t pages = options_.pages;
  const std::uint64_t number = player.part.number;
  const std::uint64_t here = player.position;
  std::uint64_t next = 0;
  switch (player.part.kind) {
    case Kind::kUniform: return static_cast<std::uint32_t>(prng_.below(pages));
    case Kind::kZipf:
      return static_cast<std::uint32_t>((player.zipf(prng_) - 1) * scatter_ % pages);
    case Kind::kScan: next = (here + 1) % pages; break;
    case Kind::kLoop: next = (here + 1) % number; break;
    case Kind::kStride:
      next = here + number < pages ? here + number : (here % number + 1) % number;
      break;
  }
  player.position = static_cast<std::uint32_t>(next);
  return static_cast<std::uint32_t>(here);
}

SyntheticSource::Player& SyntheticSource::choose_mixed() noexcept {
  if (mixed_.size() == 1) {
    return mixed_.front();
  }
  std::uint64_t left = prng_.below(weight_sum_);
  for (Player& player : mixed_) {
    if (left < player.part.weight) {
      return player;
    }
    left -= player.part.weight;
  }
  return mixed_.back();
}

SyntheticSource::Player* SyntheticSource::passing() noexcept {
  if (left_of_pass_ > 0) {
    --left_of_pass_;
    return running_;
  }
  for (Player& player : passing_) {
    if (player.due_in == 0) {
      player.due_in = player.part.every;
      left_of_pass_ = player.pass_pages - 1;
      running_ = &player;
      return running_;
    }
  }
  for (Player& player : passing_) {
    --player.due_in;
  }
  return nullptr;
}

std::uint32_t SyntheticSource::draw_page() {
  Player* const player = passing_.empty() ? nullptr : passing();
  return draw_from(player != nullptr ? *player : choose_mixed());
}

std::size_t SyntheticSource::next(std::span<PageAccess> into) {
  const std::uint64_t left = options_.accesses - given_;
  const std::size_t count = std::min<std::uint64_t>(into.size(), left);
  for (PageAccess& access : into.first(count)) {
    const std::uint32_t page = draw_page();
    const bool is_store = options_.store_percent > 0 && prng_.below(100) < options_.store_percent;
    access = PageAccess(page, is_store);
  }
  given_ += count;
  return count;
}

}  // namespace quire
