// SPDX-License-Identifier: Apache-2.0
//
// plan: which cells make sense, before anything is measured.
//
//   working sets     fits: what half of the memory holds     exceeds: the whole file, if larger
//   reads    cold    the whole file
//            warm    what fits, read in before; and the whole file in the state that many reads
//                    leave it in, where it exceeds memory
//   writes           a new file (sequential, append), the scratch file itself (update)
//
// A path is left out where it would only repeat another (large blocks for random pages), and is
// kept as a skipped cell, with the reason, where this file or machine cannot do it.
//
// Thread-safety: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "quire/compare/options.h"
#include "quire/compare/report.h"

namespace quire::compare {

// What the machine and the file allow. A reason means no.
struct Possibilities {
  std::uint64_t file_bytes = 0;
  bool is_writable = false;                   // A scratch file.
  std::optional<std::uint64_t> limit_bytes;   // Of memory, enforced.
  std::uint64_t available_bytes = 0;          // Memory there is, without a limit of ours.
  std::optional<std::string> why_never_cold;  // "tmpfs: the page cache is the storage"
  std::optional<std::string> why_not_direct;
  std::optional<std::string> why_not_paged = {};
  bool has_pager = true;  // A simulated host has none: such paths are left out.
};

// Cells in the order in which they are run and shown. The same options give the same cells.
[[nodiscard]] std::vector<Cell> plan_cells(const CompareOptions& options,
                                           const Possibilities& possible);

// The most that a write pattern writes into a new file, and an append.
inline constexpr std::uint64_t kNewFileBytesMax = std::uint64_t{128} << 20;
inline constexpr std::uint64_t kAppendBytesMax = std::uint64_t{64} << 20;
// Large blocks under way: more only takes memory.
inline constexpr std::uint32_t kScanDepthMax = 8;
// Warm working sets: larger ones behave the same and take long to read in.
inline constexpr std::uint64_t kWarmBytesMax = std::uint64_t{256} << 20;

}  // namespace quire::compare
