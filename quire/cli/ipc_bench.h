// SPDX-License-Identifier: Apache-2.0
//
// ipc_bench: `quire ipc bench`: what messages, round trips and locks take on this machine, beside
// what else it has for them, as text and as JSON.
//
// Thread-safety: the thread of main().
#pragma once

#include <optional>

#include "quire/cli/session.h"

namespace quire::cli {

[[nodiscard]] ExitCode measure_ipc(Session& session, std::optional<double> seconds, bool pins);

}  // namespace quire::cli
