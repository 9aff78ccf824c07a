// SPDX-License-Identifier: Apache-2.0
//
// huge_pages: what this machine is set to grant, and what it granted.
//
// Thread-safety: any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "quire/sys/outcome.h"

namespace quire::sys {

enum class HugePageUse : unsigned char { kAnonymous, kShared };

// The setting in force for transparent huge pages: "always", "madvise", "never", "advise",
// "within_size", "deny", "force"; "unknown" where /sys does not tell. Reads one small file.
[[nodiscard]] std::string transparent_huge_page_setting(HugePageUse use);

// How many bytes of the range are in huge pages now. Asks the page tables of just the range
// (PAGEMAP_SCAN, 6.7); before that /proc/self/smaps, which walks all of the process.
// REQUIRES: whole pages. Errors: of opening or reading either.
[[nodiscard]] Outcome<std::uint64_t> huge_bytes_in(std::span<const std::byte> range);

}  // namespace quire::sys
