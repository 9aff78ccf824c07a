// SPDX-License-Identifier: Apache-2.0
//
// await_guardian_of: await_guardian() for an open file; see quire/pager/survive_kill.h.
//
// Thread-safety: any thread. Blocks.
#pragma once

#include <chrono>
#include <string>

#include "quire/base/result.h"

namespace quire::internal {

Result<void> await_guardian_of(int fd, const std::string& name, std::chrono::milliseconds limit);

}  // namespace quire::internal
