// SPDX-License-Identifier: Apache-2.0
//
// Output: standard output, buffered, with an end that is noticed.
//
// A reader that goes away (`| head -c 1`) or a full disk makes one write fail; from then on writes
// are dropped, failure() says why, and the verbs look at it between two files. Session turns it
// into one line on standard error and an exit code.
//
// Invariants:    at most kBufferBytes are held back; bytes reach the descriptor in order.
// Thread-safety: one thread.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "quire/sys/outcome.h"

namespace quire::cli {

class Output {
 public:
  static constexpr std::size_t kBufferBytes = std::size_t{64} << 10;

  explicit Output(int fd) : fd_(fd) { buffer_.reserve(kBufferBytes); }

  void write(std::string_view bytes);
  // Hands over what is held back. Returns what went wrong first, now or earlier.
  sys::Outcome<void> flush();

  // The first error, which stays.
  [[nodiscard]] std::optional<sys::Errno> failure() const noexcept { return failure_; }

 private:
  int fd_;
  std::string buffer_;
  std::optional<sys::Errno> failure_;
};

}  // namespace quire::cli
