// SPDX-License-Identifier: Apache-2.0
//
// Commit: how the stores of a mapping become durable: all of them since the last commit() together,
// or none, after any crash; or as the kernel likes.
//
//   quire::map("state.bin", {.access = Access::kReadWrite, .commit = Commit::kAtomic})
//
// kAtomic is a type of its own: where it is asked for, map() gives another kind of mapping. It
// turns into a CommitMode where only a value is wanted.
//
// Thread-safety: plain values.
#pragma once

#include <cstdint>

namespace quire {

enum class CommitMode : std::uint8_t { kNone, kAtomic };

struct AtomicCommit {
  explicit constexpr AtomicCommit(int) noexcept {}
  // Implicit: to be one of the values of an option is what it is for.
  constexpr operator CommitMode() const noexcept { return CommitMode::kAtomic; }
};

struct Commit {
  static constexpr CommitMode kNone = CommitMode::kNone;
  static constexpr AtomicCommit kAtomic{0};
};

}  // namespace quire
