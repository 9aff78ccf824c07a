// SPDX-License-Identifier: Apache-2.0
//
// huge_pages: what this machine is set to grant.
//
// Thread-safety: any thread. Cost: one small file in /sys is read.
#pragma once

#include <string>

namespace quire::sys {

enum class HugePageUse : unsigned char { kAnonymous, kShared };

// The setting in force for transparent huge pages: "always", "madvise", "never", "advise",
// "within_size", "deny", "force"; "unknown" where /sys does not tell.
[[nodiscard]] std::string transparent_huge_page_setting(HugePageUse use);

}  // namespace quire::sys
