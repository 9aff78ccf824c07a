// SPDX-License-Identifier: Apache-2.0
//
// trace_source: accesses for the simulator, made by a formula or read from a trace.
//
//   zipf:0.99+scan/1000000       few pages get most of the accesses, and after each million of them
//                                somebody reads everything once
//
//   workload := part { "+" part }         part := kind [":" number] ["*" weight | "/" every]
//   uniform       any page, as likely as any other
//   zipf:THETA    rank r in proportion to 1 / r^THETA (0.99), the ranks scattered over the pages
//   scan:LENGTH   one page after the other, over and over; with /EVERY: LENGTH of them (all) at a
//                 time, the next time from there on
//   loop:PAGES    the first PAGES (half of all), in order, over and over
//   stride:STEP   each STEP-th page (16), then the same from one page further on
//   *WEIGHT       parts without /EVERY are mixed at random, by weight (1): programs side by side
//   /EVERY        after so many accesses of the others, one whole pass: a program that comes, goes
//
// Source:        W. Hoermann, G. Derflinger, "Rejection-inversion to generate variates from
//                monotone discrete distributions", ACM TOMACS 6(3), 1996: no table, any exponent.
//                YCSB for the exponent 0.99 and for scattering ranks; we scatter by a
//                multiplication modulo the number of pages, so no two ranks share a page.
// Invariants:    pages are below page_span(); the same options give the same accesses.
// Thread-safety: one thread at a time per object.
// Cost:          of an access: a draw; of a zipf draw, a logarithm and an exponential.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "quire/base/prng.h"
#include "quire/base/result.h"

namespace quire {

// 8 TiB of 4 KiB pages; a page and its kind of access fit 32 bits.
inline constexpr std::uint64_t kSimulatedPagesMax = (std::uint64_t{1} << 31) - 1;

class PageAccess {
 public:
  constexpr PageAccess() noexcept = default;
  // REQUIRES: page < kSimulatedPagesMax.
  constexpr PageAccess(std::uint32_t page, bool is_store) noexcept
      : word_(page << 1 | (is_store ? 1U : 0U)) {}

  [[nodiscard]] constexpr std::uint32_t page() const noexcept { return word_ >> 1; }
  [[nodiscard]] constexpr bool is_store() const noexcept { return (word_ & 1) != 0; }

  friend constexpr bool operator==(const PageAccess&, const PageAccess&) = default;

 private:
  std::uint32_t word_ = 0;
};

class AccessSource {
 public:
  virtual ~AccessSource() = default;
  // The next accesses; fewer than `into` holds only at the end, 0 behind it.
  [[nodiscard]] virtual std::size_t next(std::span<PageAccess> into) = 0;
  // From the beginning again, the same.
  virtual void rewind() = 0;
  [[nodiscard]] virtual std::uint64_t access_count() const noexcept = 0;
  // Pages are below it.
  [[nodiscard]] virtual std::uint32_t page_span() const noexcept = 0;
  // Where pages lie on the device: who reads ahead goes by that. Positions are below 2^63.
  // REQUIRES: page < page_span().
  [[nodiscard]] virtual std::uint64_t position_of(std::uint32_t page) const noexcept = 0;
  // Nothing for what is never accessed.
  [[nodiscard]] virtual std::optional<std::uint32_t> page_at(
      std::uint64_t position) const noexcept = 0;
  // Behind the last page of the area that `page` is in.
  [[nodiscard]] virtual std::uint64_t end_of_area(std::uint32_t page) const noexcept = 0;
};

// What a source's accesses are of, found by looking at all of them.
class FootprintSurvey {
 public:
  explicit FootprintSurvey(std::uint32_t page_span) : is_touched_(page_span) {}
  void add(std::span<const PageAccess> accesses) noexcept;
  [[nodiscard]] std::uint64_t accesses() const noexcept { return accesses_; }
  [[nodiscard]] std::uint64_t stores() const noexcept { return stores_; }
  // Different pages.
  [[nodiscard]] std::uint32_t pages() const noexcept { return pages_; }

 private:
  std::vector<bool> is_touched_;
  std::uint64_t accesses_ = 0;
  std::uint64_t stores_ = 0;
  std::uint32_t pages_ = 0;
};

// --- Formulas ------------------------------------------------------------------------------------

inline constexpr std::size_t kWorkloadPartsMax = 16;
inline constexpr std::uint32_t kWorkloadWeightMax = 1'000'000;
inline constexpr double kZipfThetaMax = 10;  // By then all accesses are of one page.
inline constexpr double kZipfThetaDefault = 0.99;
inline constexpr std::uint32_t kStrideDefault = 16;

struct WorkloadPart {
  enum class Kind : std::uint8_t { kUniform, kZipf, kScan, kLoop, kStride };
  Kind kind = Kind::kUniform;
  double theta = kZipfThetaDefault;  // kZipf
  std::uint64_t number = 0;          // LENGTH, PAGES or STEP; 0: the default.
  std::uint32_t weight = 1;
  std::uint64_t every = 0;  // 0: mixed with the others.
};

// Invariants: 1 to kWorkloadPartsMax parts, one of them without `every`.
using Workload = std::vector<WorkloadPart>;

// Errors: kOutOfRange, with the part that is wrong and what there is.
[[nodiscard]] Result<Workload> parse_workload(std::string_view text);

// Ranks 1 .. count, rank r in proportion to 1 / r^theta.
class ZipfDraw {
 public:
  // REQUIRES: count > 0; 0 <= theta <= kZipfThetaMax.
  ZipfDraw(std::uint64_t count, double theta) noexcept;
  [[nodiscard]] std::uint64_t operator()(Prng& prng) const noexcept;

 private:
  [[nodiscard]] double weight_of(double rank) const noexcept;
  [[nodiscard]] double integral_of(double rank) const noexcept;
  [[nodiscard]] double rank_of(double integral) const noexcept;

  double theta_;
  double rank_max_;
  double integral_first_;
  double integral_last_;
  double sure_distance_;  // Below it a rank is taken without computing its weight.
};

struct SyntheticOptions {
  Workload workload;
  std::uint32_t pages = 0;
  std::uint64_t accesses = 0;
  std::uint32_t store_percent = 0;
  std::uint64_t seed = 1;
};

class SyntheticSource final : public AccessSource {
 public:
  // REQUIRES: the workload's invariants; 0 < pages <= kSimulatedPagesMax; store_percent <= 100.
  explicit SyntheticSource(const SyntheticOptions& options);
  SyntheticSource(const SyntheticSource&) = delete;
  SyntheticSource& operator=(const SyntheticSource&) = delete;

  [[nodiscard]] std::size_t next(std::span<PageAccess> into) override;
  void rewind() override;
  [[nodiscard]] std::uint64_t access_count() const noexcept override { return options_.accesses; }
  [[nodiscard]] std::uint32_t page_span() const noexcept override { return options_.pages; }
  [[nodiscard]] std::uint64_t position_of(std::uint32_t page) const noexcept override {
    return page;
  }
  [[nodiscard]] std::optional<std::uint32_t> page_at(
      std::uint64_t position) const noexcept override {
    return static_cast<std::uint32_t>(position);
  }
  [[nodiscard]] std::uint64_t end_of_area(std::uint32_t) const noexcept override {
    return options_.pages;
  }

 private:
  struct Player {
    WorkloadPart part;
    ZipfDraw zipf;
    std::uint32_t position = 0;
    std::uint32_t pass_pages = 0;  // Of one pass, for parts with `every`.
    std::uint64_t due_in = 0;      // Accesses of the others until the next pass.
  };

  [[nodiscard]] Player make_player(const WorkloadPart& part) const;
  [[nodiscard]] std::uint32_t draw_page();
  [[nodiscard]] std::uint32_t draw_from(Player& player) noexcept;
  [[nodiscard]] Player& choose_mixed() noexcept;
  // The part whose pass it is now; none: a mixed one's turn.
  [[nodiscard]] Player* passing() noexcept;

  SyntheticOptions options_;
  std::uint64_t scatter_ = 1;  // Has no divisor in common with the number of pages.
  std::uint64_t weight_sum_ = 0;
  Prng prng_;
  std::vector<Player> mixed_;
  std::vector<Player> passing_;
  Player* running_ = nullptr;  // Of passing_, with pages left of its pass.
  std::uint32_t left_of_pass_ = 0;
  std::uint64_t given_ = 0;
};

}  // namespace quire
