// SPDX-License-Identifier: Apache-2.0
//
// FileWindows: a file of any size through one bounded piece of address space after the other.
//
//   file    |------- window 0 -------|------- window 1 -------|-- window 2 --|
//   mapped                            ^^^^^^^^^^^^^^^^^^^^^^^^ one at a time
//
//   auto windows = QUIRE_TRY(quire::open_windows("huge.bin", {.window_bytes = 1_GiB}));
//   while (QUIRE_TRY(windows.next())) {
//     consume(windows.offset_bytes(), windows.bytes());
//   }
//
// For 32-bit or limited address space (ulimit -v), and to bound the page tables of a scan: the
// window that is left gives its page tables back. With overlap_bytes each window begins again that
// much before the end of the last, so that a record that straddles the border is seen whole.
//
// States:        before the first --next()--> on a window --next()--> ... --next(): false--> after
//                bytes() is valid until the next call of next().
// Invariants:    the windows cover the range, in order, without a gap.
// Thread-safety: one thread at a time.
// Errors:        as map(); the size is the one at opening: kTruncated when the file is shorter now.
#pragma once

#include <cstdint>
#include <span>

#include "quire/base/path_argument.h"
#include "quire/base/result.h"
#include "quire/base/units.h"
#include "quire/map/mapping.h"

namespace quire {

// Large enough that the cost of mapping does not show, small against a 32-bit address space.
inline constexpr std::uint64_t kWindowBytesDefault = std::uint64_t{64} << 20;

struct WindowOptions {
  std::uint64_t window_bytes = kWindowBytesDefault;
  std::uint64_t overlap_bytes = 0;  // Less than window_bytes.
  ByteRange range = kWholeFile;
};

class FileWindows {
 public:
  // Moves to the next window; false after the last one.
  [[nodiscard]] Result<bool> next();

  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return window_.bytes(); }
  // Of the window in the file.
  [[nodiscard]] std::uint64_t offset_bytes() const noexcept { return window_.offset_bytes(); }
  // For advise(), guarded() and the rest.
  [[nodiscard]] const Mapping& mapping() const noexcept { return window_; }
  // Of the whole range.
  [[nodiscard]] std::uint64_t size_bytes() const noexcept { return range_.length_bytes; }

 private:
  friend Result<FileWindows> open_windows(PathArgument, const WindowOptions&);

  FileWindows() = default;

  sys::Descriptor file_;
  std::string path_;
  ByteRange range_;
  WindowOptions options_;
  std::uint64_t position_bytes_ = 0;  // Up to here, in the file, the windows have come.
  bool has_started_ = false;
  Mapping window_;
};

[[nodiscard]] Result<FileWindows> open_windows(PathArgument path,
                                               const WindowOptions& options = {});

}  // namespace quire
