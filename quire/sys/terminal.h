// SPDX-License-Identifier: Apache-2.0
//
// terminal: what stands at the other end of a descriptor, and how wide it is.
//
// Thread-safety: any thread, except use_environment_locale(), which is for the start of main().
// Errors:        none; a descriptor that is closed or unknown is simply not a terminal.
#pragma once

#include <optional>

#include "quire/sys/outcome.h"

namespace quire::sys {

inline constexpr int kStandardInput = 0;
inline constexpr int kStandardOutput = 1;
inline constexpr int kStandardError = 2;

// Puts something that can be neither read with data nor written in the place of each standard
// descriptor that the caller of the program closed. Otherwise the next file that is opened would
// get its number, and with it whatever is printed. Writing there fails with EBADF. Errors: the
// errno of open(2).
Outcome<void> occupy_standard_descriptors() noexcept;

[[nodiscard]] bool is_terminal(int fd) noexcept;

struct WindowSize {
  int columns = 0;
  int rows = 0;
};
// Nothing when `fd` is no terminal, or one that does not know its size (a serial line).
[[nodiscard]] std::optional<WindowSize> window_size(int fd) noexcept;

// Takes the character set from LC_ALL, LC_CTYPE or LANG. True when it is UTF-8, which is when
// anything beyond ASCII may be printed. Numbers keep the C locale's form.
[[nodiscard]] bool use_environment_locale() noexcept;

}  // namespace quire::sys
