// SPDX-License-Identifier: Apache-2.0
//
// ipc_chaos: `quire ipc chaos`: the library's chaos as a verb, with its report as text and JSON.
//
// Thread-safety: the thread of main().
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "quire/cli/session.h"

namespace quire::cli {

struct IpcChaosArguments {
  std::optional<double> seconds;
  std::optional<std::uint64_t> seed;    // Nothing: one is drawn.
  std::vector<std::string> structures;  // None: all.
};

// kFailed when a promise was broken, and each of those is reported.
[[nodiscard]] ExitCode run_ipc_chaos(Session& session, const IpcChaosArguments& given);

}  // namespace quire::cli
