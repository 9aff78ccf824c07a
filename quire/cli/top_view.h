// SPDX-License-Identifier: Apache-2.0
//
// top_view: `quire map --top [N]`: of all files that some process maps or has open, those with most
// bytes in memory, and who uses them.
//
//   /proc/PID/maps  \   each regular file once, by device and inode, with the processes that use it
//   /proc/PID/fd    /   --> opened through /proc (deleted and unnamed files too) --> residency
//
// Processes that we may not look into are counted, and said so.
//
// Thread-safety: one thread.
// Errors:        reported: /proc cannot be listed. Processes and files that vanish are passed by.
#pragma once

#include <cstdint>

#include "quire/cli/session.h"

namespace quire::cli {

inline constexpr std::uint64_t kTopFilesMax = 1000;
// Files in use that are remembered while looking; a machine has a few thousand.
inline constexpr std::size_t kUsedFilesMax = 65'536;

[[nodiscard]] ExitCode show_top(Session& session, std::uint64_t files_max);

}  // namespace quire::cli
