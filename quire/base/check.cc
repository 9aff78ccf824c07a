// SPDX-License-Identifier: Apache-2.0
#include "quire/base/check.h"

#include <array>
#include <cstdio>
#include <cstdlib>

namespace quire::internal {
namespace {

// Long enough for a path and a condition; longer ones are cut, never overrun.
constexpr int kLineBytes = 512;

using Line = std::array<char, kLineBytes>;

// `length`: what snprintf returned, which is more than fits for a line that was cut.
[[noreturn]] void die(Line& line, int length) noexcept {
  if (length >= kLineBytes) {
    line[kLineBytes - 2] = '\n';
  }
  std::fputs(line.data(), stderr);
  std::abort();
}

}  // namespace

void check_failed(const char* condition, const char* file, int line) noexcept {
  Line text{};
  const int length =
      std::snprintf(text.data(), text.size(), "%s:%d: check failed: %s\n", file, line, condition);
  die(text, length);
}

void check_failed(const char* condition, const char* file, int line, CheckOperand left,
                  CheckOperand right) noexcept {
  Line text{};
  const int length = std::snprintf(
      text.data(), text.size(), "%s:%d: check failed: %s (%s%llu, %s%llu)\n", file, line, condition,
      left.is_negative ? "-" : "", static_cast<unsigned long long>(left.magnitude),
      right.is_negative ? "-" : "", static_cast<unsigned long long>(right.magnitude));
  die(text, length);
}

}  // namespace quire::internal
