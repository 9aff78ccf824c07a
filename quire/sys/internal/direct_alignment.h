// SPDX-License-Identifier: Apache-2.0
//
// direct_alignment: reading what statx(2) states about direct I/O.
//
// Thread-safety: pure functions.
#pragma once

#include <bit>
#include <cstdint>
#include <optional>

#include "quire/sys/direct_io.h"
#include "quire/sys/internal/kernel_abi.h"

namespace quire::sys::internal {

// No device asks for more; a statement beyond that is not believed.
inline constexpr std::uint32_t kAlignmentBytesMax = std::uint32_t{1} << 20;

[[nodiscard]] inline bool is_believable(std::uint32_t alignment_bytes) noexcept {
  return std::has_single_bit(alignment_bytes) && alignment_bytes <= kAlignmentBytesMax;
}

// Whether it is stated that there is no direct I/O.
[[nodiscard]] inline bool is_direct_refused(const abi::Statx& answer) noexcept {
  return (answer.mask & abi::kStatxDioAlign) != 0 && answer.dio_offset_align == 0;
}

// What statx states; nothing when it states nothing.
[[nodiscard]] inline std::optional<DirectAlignment> stated_alignment(
    const abi::Statx& answer) noexcept {
  if ((answer.mask & abi::kStatxDioAlign) == 0 || !is_believable(answer.dio_memory_align) ||
      !is_believable(answer.dio_offset_align)) {
    return std::nullopt;
  }
  DirectAlignment alignment{.memory_bytes = answer.dio_memory_align,
                            .offset_bytes = answer.dio_offset_align,
                            .read_offset_bytes = std::nullopt};
  if ((answer.mask & abi::kStatxDioReadAlign) != 0 && is_believable(answer.dio_read_offset_align)) {
    alignment.read_offset_bytes = answer.dio_read_offset_align;
  }
  return alignment;
}

}  // namespace quire::sys::internal
