// SPDX-License-Identifier: Apache-2.0
//
// PageMemory: memory that starts at a page, as direct I/O likes it.
//
// Thread-safety: as memory.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <span>

#include "quire/base/check.h"

namespace quire::testing {

class PageMemory {
 public:
  // REQUIRES: whole pages. Filled with ones.
  explicit PageMemory(std::size_t size_bytes)
      : bytes_(static_cast<std::byte*>(std::aligned_alloc(kAlignmentBytes, size_bytes)),
               size_bytes) {
    QUIRE_CHECK(bytes_.data() != nullptr);
    std::ranges::fill(bytes_, std::byte{1});
  }
  ~PageMemory() { std::free(bytes_.data()); }
  PageMemory(const PageMemory&) = delete;
  PageMemory& operator=(const PageMemory&) = delete;

  [[nodiscard]] std::span<std::byte> bytes() const { return bytes_; }

 private:
  static constexpr std::size_t kAlignmentBytes = 4096;

  std::span<std::byte> bytes_;
};

}  // namespace quire::testing
