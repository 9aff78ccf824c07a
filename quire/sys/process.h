// SPDX-License-Identifier: Apache-2.0
//
// process: who we are.
//
// Thread-safety: any thread. Cost: a system call that never fails.
#pragma once

namespace quire::sys {

[[nodiscard]] int process_id() noexcept;

}  // namespace quire::sys
