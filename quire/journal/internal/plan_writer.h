// SPDX-License-Identifier: Apache-2.0
//
// plan_writer: puts the newest images of a file from the log into the file: what checkpoints and
// recovery have in common.
//
//   the plan's pages, sorted by offset, as many at a time as the memory holds:
//   log   ..[p]...[p][p][p]......[p]..     read in the order of the log, near ones together
//   file  [p][p][p]..........[p][p]        written in the order of the file, neighbours together
//
// The more memory, the nearer to each other are the images of one turn in the log: with memory for
// all of them the log is read from its beginning to its end, once. Transfers are many at a time.
// Images are compared with their checksums on the way: nothing damaged reaches the file.
//
// Thread-safety: one thread at a time.
// Blocks:        for all of it. Ends with a sync of the file.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "quire/base/result.h"
#include "quire/io/records.h"
#include "quire/io/store.h"
#include "quire/journal/internal/image_reader.h"
#include "quire/journal/internal/page_index.h"
#include "quire/journal/internal/transfers.h"

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
  // `memory_bytes`: of images, at a time; at least a page is. The reader's come on top.
  PlanWriter(Store& log, std::uint64_t log_bytes, std::uint64_t page_bytes,
             std::uint64_t memory_bytes);

  // Sorts the plan's pages. Errors: those of both stores; kCorrupt.
  tl::expected<void, PlanError> write(Store& file, CheckpointPlan& plan);
  [[nodiscard]] const PlanCounts& counts() const noexcept { return counts_; }
  [[nodiscard]] const ImageReaderStats& read_stats() const noexcept { return reader_.stats(); }

 private:
  using Pages = std::span<const CheckpointPlan::Page>;

  Result<void> write_all(Store& file, CheckpointPlan& plan);
  Result<void> set_size(Store& file, const CheckpointPlan& plan);
  // Memory for so many pages, at most.
  void make_memory(std::size_t pages);
  [[nodiscard]] std::byte* place_of(std::size_t page) const noexcept {
    return memory_->begin() + page * page_bytes_;
  }
  Result<void> read_turn(Pages turn);
  Result<void> write_turn(Store& file, Pages turn);
  void write_run(Store& file, std::uint64_t offset_bytes, std::span<std::byte> run);
  static void on_written(IoRequest& request);

  const std::uint64_t page_bytes_;
  const std::size_t pages_max_;
  Transfers transfers_;
  ImageReader reader_;
  std::optional<RecordBuffer> memory_;
  std::vector<WantedImage> wanted_;
  std::vector<IoRequest> writes_;
  std::vector<IoRequest*> free_writes_;
  std::optional<Error> error_;  // Of the first write that failed.
  PlanCounts counts_;
};

}  // namespace quire::internal
