// SPDX-License-Identifier: Apache-2.0
//
// inline_delivery: FaultPath::kInline: SIGBUS at an address of an area is served by the thread that
// raised it; then the instruction is repeated.
//
// One resolver for the process, in sys/bus_guard.h's handler: addresses of nobody, past an area's
// end, or that could not be filled, go on from there to guards and to the previous action.
//
// Thread-safety: install: any thread. The resolver runs wherever a fault happens.
#pragma once

#include "quire/base/result.h"

namespace quire::internal {

// Installs the resolver, once for the process, and makes sure that this thread can use it.
// Errors: those of sys::set_bus_resolver(); kFailed when SIGBUS is blocked in the calling thread.
[[nodiscard]] Result<void> install_inline_delivery();

}  // namespace quire::internal
