// SPDX-License-Identifier: Apache-2.0
//
// options: what a comparison is asked to do. The same for a real disk and a simulated one.
//
//   {.file = "data.bin"}                                 reads of a user's file, which is never
//                                                        opened for writing
//   {.scratch_bytes = 1_GiB, .directory = "/var/tmp"}    a file of our own: writes too
//
// Thread-safety: plain values.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "quire/base/units.h"
#include "quire/compare/report.h"

namespace quire::compare {

// Sizes of one operation.
struct BlockSizes {
  std::uint64_t small_bytes = 4096;  // The usual page and device block; what random patterns use.
  std::uint64_t large_bytes = 1_MiB;
  std::uint64_t record_bytes = 64;  // Of an append: a log line, a row.
};

struct CompareOptions {
  std::string file;                 // Empty: a scratch file.
  std::string directory = ".";      // Where that is made.
  std::uint64_t scratch_bytes = 0;  // And how large.

  std::optional<std::uint64_t> memory_bytes;  // A memory cgroup with this limit.
  double time_budget_s = 60;                  // Of the measuring; the scratch file comes on top.
  std::uint32_t depth = 32;                   // Requests under way of the queued paths.
  BlockSizes blocks;
  std::uint64_t seed = 1;

  // Empty: all that make sense.
  std::vector<Path> paths;
  std::vector<Pattern> patterns;
  std::vector<State> states;
  std::vector<DurabilityChoice> durabilities;

  int rounds_min = 3;           // Of a cell, before its spread counts for anything.
  int rounds_max = 30;          // A cell that never settles gets no more.
  double spread_target = 0.05;  // A cell within this is settled.
  bool articles = false;        // The articles' experiment instead of the comparison.

  std::string command_line;  // For the report.
  std::string version;
};

// How far a run is.
struct CompareProgress {
  std::string doing;      // "writing the scratch file", "random reads, cold: mmap, as it comes"
  double done_share = 0;  // 0 .. 1 of the whole run.
  std::optional<double> left_s;
  std::uint64_t rounds = 0;
};

// How a run talks to whoever started it; each may be empty.
struct CompareHooks {
  std::function<void(const CompareProgress&)> on_progress;
  std::function<bool()> should_stop;  // Asked several times a second.
};

}  // namespace quire::compare
