// SPDX-License-Identifier: Apache-2.0
//
// numbers: how measured values are written for people: three figures that matter, a unit.
//
// More figures than the spread allows would be a lie; a machine gets them all from the JSON.
//
// Thread-safety: pure functions. A value that is not finite is written as "-".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace quire::compare::internal {

inline constexpr const char* kUnknown = "-";

// Three figures: "0.0420", "8.41", "31.0", "312", "1,910", "52,500".
[[nodiscard]] std::string three_figures(double value);
// "31.0 MiB/s", "1.87 GiB/s".
[[nodiscard]] std::string rate_text(double mib_per_s);
// "7,930 reads/s", "1.20 million reads/s" for what="reads".
[[nodiscard]] std::string operations_text(double per_s, const char* what);
// "410 ns", "82.0 us", "1.30 ms", "2.10 s".
[[nodiscard]] std::string duration_text(double nanoseconds);
// "1.25", "6.4", "12", "340": for "N times as fast".
[[nodiscard]] std::string factor_text(double factor);
// "0.4 %", "12 %".
[[nodiscard]] std::string percent_text(double share);
[[nodiscard]] std::string count_text(std::uint64_t count);
[[nodiscard]] std::string bytes_text(std::optional<std::uint64_t> bytes);
// human_bytes() without ".0": "256 MiB", "1 GiB", "1.5 GiB".
[[nodiscard]] std::string size_text(std::uint64_t bytes);
// "a", "a and b", "a, b and c".
[[nodiscard]] std::string join_text(const std::vector<std::string>& parts);

}  // namespace quire::compare::internal
