// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/internal/numbers.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "quire/base/units.h"

namespace quire::compare::internal {
namespace {

struct Unit {
  double size;
  const char* name;
};

std::string with_thousands(std::string digits) {
  const std::size_t whole = std::min(digits.find('.'), digits.size());
  for (std::size_t at = whole; at > 3; at -= 3) {
    digits.insert(at - 3, ",");
  }
  return digits;
}

}  // namespace

std::string three_figures(double value) {
  if (!std::isfinite(value)) {
    return kUnknown;
  }
  if (value <= 0) {
    return "0";
  }
  constexpr int kFigures = 3;
  constexpr int kDecimalsMax = 6;
  int before = static_cast<int>(std::floor(std::log10(value))) + 1;  // Digits before the point.
  if (value + std::pow(10.0, before - kFigures) / 2 >= std::pow(10.0, before)) {
    ++before;  // Rounding adds one: 9.996 is "10.0".
  }
  const double unit = std::pow(10.0, std::max(0, before - kFigures));
  return with_thousands(fmt::format("{:.{}f}", unit > 1 ? std::round(value / unit) * unit : value,
                                    std::clamp(kFigures - before, 0, kDecimalsMax)));
}

std::string rate_text(double mib_per_s) {
  constexpr double kMibPerGib = 1024;
  return mib_per_s >= kMibPerGib ? three_figures(mib_per_s / kMibPerGib) + " GiB/s"
                                 : three_figures(mib_per_s) + " MiB/s";
}

std::string operations_text(double per_s, const char* what) {
  constexpr double kMillion = 1e6;
  return per_s >= kMillion ? fmt::format("{} million {}/s", three_figures(per_s / kMillion), what)
                           : fmt::format("{} {}/s", three_figures(per_s), what);
}

std::string duration_text(double nanoseconds) {
  constexpr std::array<Unit, 4> kUnits{{{1e9, "s"}, {1e6, "ms"}, {1e3, "us"}, {1, "ns"}}};
  if (!std::isfinite(nanoseconds)) {
    return kUnknown;
  }
  for (const Unit& unit : kUnits) {
    if (nanoseconds >= unit.size) {
      return fmt::format("{} {}", three_figures(nanoseconds / unit.size), unit.name);
    }
  }
  return fmt::format("{} ns", three_figures(nanoseconds));
}

std::string factor_text(double factor) {
  constexpr double kFew = 2;
  constexpr double kMany = 9.95;
  if (!std::isfinite(factor)) {
    return kUnknown;
  }
  if (factor >= kMany) {
    return with_thousands(fmt::format("{:.0f}", factor));
  }
  return factor >= kFew ? fmt::format("{:.1f}", factor) : fmt::format("{:.2f}", factor);
}

std::string percent_text(double share) {
  constexpr double kPercent = 100;
  constexpr double kPrecise = 9.95;
  if (!std::isfinite(share)) {
    return kUnknown;
  }
  const double value = share * kPercent;
  return value < kPrecise ? fmt::format("{:.1f} %", value)
                          : with_thousands(fmt::format("{:.0f}", value)) + " %";
}

std::string count_text(std::uint64_t count) {
  return with_thousands(std::to_string(count));
}

std::string bytes_text(std::optional<std::uint64_t> bytes) {
  return bytes ? size_text(*bytes) : kUnknown;
}

std::string size_text(std::uint64_t bytes) {
  std::string text = human_bytes(bytes);
  const std::size_t at = text.find(".0 ");
  return at == std::string::npos ? text : text.erase(at, 2);
}

std::string join_text(const std::vector<std::string>& parts) {
  std::string text;
  for (std::size_t index = 0; index < parts.size(); ++index) {
    const bool is_last = index + 1 == parts.size();
    text += index == 0 ? "" : is_last ? " and " : ", ";
    text += parts[index];
  }
  return text;
}

}  // namespace quire::compare::internal
