// SPDX-License-Identifier: Apache-2.0
//
// memory_cgroups: the memory cgroups that this process lives in, from its own up to the root, of
// version 1 and of version 2 (a machine may have both mounted; then each has its own say).
//
//   /proc/self/cgroup     4:memory:/a/b            which cgroup
//   /proc/self/mountinfo  ... /a /mnt - cgroup memory   where its tree is to be seen, from /a down
//   /mnt/b, /mnt                                   the levels that can be read
//
// Thread-safety: any thread.
// Cost:          three small reads per level.
#pragma once

#include <vector>

#include "quire/sys/limits.h"

namespace quire::sys::internal {

// Deeper trees are cut off: the levels nearest to us count.
inline constexpr std::size_t kCgroupLevelsMax = 128;

// Ours first. Levels that have no memory controller are left out.
[[nodiscard]] std::vector<CgroupLevel> memory_cgroups(const SystemRoot& root);

}  // namespace quire::sys::internal
