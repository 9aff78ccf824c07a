// SPDX-License-Identifier: Apache-2.0
//
// path_runner: one way to get at the bytes, as a bare loop. Adding a path means adding a runner.
//
//   open(target)      what a program does once: open, map, advise, allocate     not measured
//   run(work, tally)  the loop of the pattern, with the durability asked for    measured
//   check_written()   reads a sample of it back                                 not measured
//   destructor        unmaps and closes                                         not measured
//
// What is in run() is what a program that uses this path would do, and nothing else: the clock is
// read once per timed operation, a sample is compared to what it must be, and what was read is
// summed up. bench/compare_overhead_bench.cc holds each loop against the same loop written alone.
//
// Thread-safety: one thread.
// Errors:        those of the calls of that path; kTruncated when the file ends early. An access of
//                a mapping that fails raises SIGBUS: a runner runs in a process of its own. A paged
//                one reads zeros, and run() gives the error.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "quire/base/result.h"
#include "quire/base/units.h"
#include "quire/compare/report.h"
#include "quire/compare/target.h"
#include "quire/compare/workload.h"

namespace quire::compare {

// The part of a path that keeps bytes in memory of its own rather than in the page cache. It is
// empty when the runner is opened, and gone with it.
class PathEngine {
 public:
  PathEngine() = default;
  virtual ~PathEngine() = default;
  PathEngine(const PathEngine&) = delete;
  PathEngine& operator=(const PathEngine&) = delete;

  // REQUIRES, of all: the runner is opened.
  // Brings a range of the file into that memory. Not measured. Errors: of the reads.
  virtual Result<void> read_in(ByteRange range) = 0;
  [[nodiscard]] virtual EngineDetails details() const = 0;
  // Since it was opened. What is still being read is not counted yet.
  [[nodiscard]] virtual EngineCounts counts() const = 0;
};

class PathRunner {
 public:
  PathRunner() = default;
  virtual ~PathRunner() = default;
  PathRunner(const PathRunner&) = delete;
  PathRunner& operator=(const PathRunner&) = delete;

  // The target and the work outlive the runner.
  virtual Result<void> open(const Target& target, const Workload& work) = 0;
  virtual Result<void> run(Tally& tally) = 0;
  // Reads a sample of what run() wrote and compares it. Not measured. Errors: kCorrupt.
  virtual Result<void> check_written(const Tally& /*tally*/) { return {}; }

  // Null: the path lives on the page cache, or on nothing.
  [[nodiscard]] virtual PathEngine* engine() noexcept { return nullptr; }
  // A buffered descriptor of the file that is worked on, to look at its page cache; -1: memory.
  [[nodiscard]] virtual int fd() const noexcept = 0;
  // What ran in fact: "pread", "io_uring, depth 32"; and why it is not what was meant, if so.
  [[nodiscard]] virtual std::string method() const = 0;
  [[nodiscard]] virtual std::optional<std::string> fallback() const { return std::nullopt; }
};

// REQUIRES: it is opened for a pattern that the plan has for this path (plan.h).
[[nodiscard]] std::unique_ptr<PathRunner> make_runner(Path path);

}  // namespace quire::compare
