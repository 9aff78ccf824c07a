// SPDX-License-Identifier: Apache-2.0
//
// Company: whether it is worth waiting a moment for others, so that one costly step serves all.
//
// Threads whose commits went together were woken at the same time and, if they have more, are on
// their way. The first of them to come would leave the others behind, with a write and a flush of
// their own; while it yields to them they come sooner. Where that was wrong fewer are expected, and
// nobody is waited for again.
//
//   for (const auto since = Clock::now(); company.is_expected(waiting(), since);) yield;
//   ... serve all who are there ...      company.note(how_many, how_long_it_took);
//
// Thread-safety: none.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>

namespace quire {

class Company {
 public:
  using Clock = std::chrono::steady_clock;

  void note(std::size_t count, Clock::duration took) noexcept {
    count_ = count;
    took_ = took;
  }
  // Whether more than those who are `here` are worth waiting for, `since` when one does.
  [[nodiscard]] bool is_expected(std::size_t here, Clock::time_point since) const noexcept {
    return here < count_ && Clock::now() - since < std::min(took_ / kShare, kMost);
  }

 private:
  // Of the time that they will save if they come.
  static constexpr int kShare = 2;
  static constexpr Clock::duration kMost = std::chrono::milliseconds(5);

  std::size_t count_ = 0;
  Clock::duration took_{};
};

}  // namespace quire
