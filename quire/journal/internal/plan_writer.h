// SPDX-License-Identifier: Apache-2.0
//
// plan_writer: puts the newest images of a file from the log into the file: what checkpoints and
// recovery have in common.
//
//   the plan's pages, sorted by offset, in chunks of up to 4 MiB:
//   log   ..[p]...[p][p][p]......[p]..     read in the order of the log, neighbours together
//   file  [p][p][p]..........[p][p]        written in the order of the file, neighbours together
//
// Short pieces, which pages changed here and there make, go through an IoQueue: many at a time.
// Images are compared with their checksums on the way: nothing damaged reaches the file.
//
// Thread-safety: one thread at a time.
// Blocks:        for all of it. Ends with a sync of the file.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>

#include "quire/base/result.h"
#include "quire/io/io_queue.h"
#include "quire/io/store.h"
#include "quire/journal/internal/page_index.h"

namespace quire::internal {

struct PlanCounts {
  std::uint64_t pages = 0;
  std::uint64_t writes = 0;
  std::uint64_t bytes = 0;
};

struct PlanError {
  Error error;
  bool is_full = false;  // No space: nothing is lost, and it may be tried again.
};

class PlanWriter {
 public:
  PlanWriter(Store& log, std::uint64_t log_bytes, std::uint64_t page_bytes)
      : log_(log), log_bytes_(log_bytes), page_bytes_(page_bytes) {}

  // Sorts the plan's pages. Errors: those of both stores; kCorrupt.
  tl::expected<void, PlanError> write(Store& file, CheckpointPlan& plan);
  [[nodiscard]] const PlanCounts& counts() const noexcept { return counts_; }

 private:
  using Pages = std::span<const CheckpointPlan::Page>;

  // Begins a short transfer, or does it, where no queue is to be had.
  Result<void> begin(const IoRequest& request);
  // The end of all that were begun. Errors: the first.
  Result<void> end();
  Result<void> set_size(Store& file, const CheckpointPlan& plan);
  Result<void> read_chunk(Pages chunk, std::span<std::byte> memory);
  Result<void> read_run(std::uint64_t position, MutablePieces into);
  [[nodiscard]] Result<void> fail_short() const;
  Result<void> write_chunk(Store& file, Pages chunk, std::span<std::byte> memory);

  Store& log_;
  const std::uint64_t log_bytes_;
  const std::uint64_t page_bytes_;
  PlanCounts counts_;
  std::deque<IoRequest> requests_;  // Under way.
  std::unique_ptr<IoQueue> queue_;  // Made for the first short transfer.
};

}  // namespace quire::internal
