// SPDX-License-Identifier: Apache-2.0
//
// ipc_bench: what quire's ipc takes, beside the bare means of the machine that do the same.
//
// Contenders are two or more processes, each on a processor of its own; they take turns, and what
// is promised is the ratio of their medians, round by round (bench.h).
//
// Thread-safety: one thread.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>

namespace quire::bench {

struct IpcBenchOptions {
  std::size_t rounds = 7;
  bool is_smoke = false;  // A moment of everything: that it works.

  // How many times something is done that takes about a microsecond (or less) each.
  [[nodiscard]] std::size_t times(std::size_t usual) const {
    constexpr std::size_t kSmokeTimes = 50;
    return is_smoke ? kSmokeTimes : usual;
  }
};

// Binds the calling thread to a processor, modulo how many there are.
void stay_on_processor(unsigned number);

// Round trips of a message between two processes, spinning and sleeping.
[[nodiscard]] nlohmann::json measure_sync(const IpcBenchOptions& options);
void print_sync(const nlohmann::json& found);

// A lock, uncontended and among several processes.
[[nodiscard]] nlohmann::json measure_locks(const IpcBenchOptions& options);
void print_locks(const nlohmann::json& found);

// Messages per second, small and large, from one writer and from many.
[[nodiscard]] nlohmann::json measure_rings(const IpcBenchOptions& options);
void print_rings(const nlohmann::json& found);

}  // namespace quire::bench
