// SPDX-License-Identifier: Apache-2.0
//
// plan_writer: puts the newest images of a file from the log into the file: what checkpoints and
// recovery have in common.
//
//   the plan's pages, sorted by offset, as many at a time as the memory holds:
//   log     ..[p]...[p][p][p]......[p]..   read in the order of the log, near ones together
//   memory  [p][p][p][p][p]                as they come
//   file    [p][p][p]..........[p][p]      written in the order of the file, neighbours together
//
// The more memory, the nearer to each other are the images of one turn in the log: with memory for
// all of them the log is read from its beginning to its end, once. Transfers are many at a time.
// Neighbours of the file that are none in memory are copied together.
// Images are compared with their checksums on the way: nothing damaged reaches the file, and where
// the memory holds all images, one that is damaged leaves the file as it was.
//
// Thread-safety: one thread at a time.
// Blocks:        for all of it. Ends with a sync of the file.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "quire/base/result.h"
#include "quire/io/store.h"
#include "quire/journal/internal/image_arena.h"
#include "quire/journal/internal/image_reader.h"
#include "quire/journal/internal/page_index.h"
#include "quire/journal/internal/transfers.h"
#include "quire/journal/internal/work_meter.h"

namespace quire::internal {

struct PlanCounts {
  std::uint64_t pages = 0;
  std::uint64_t writes = 0;
  std::uint64_t bytes = 0;
};

struct PlanError {
  Error error;
  bool is_full = false;  // No space, no memory: nothing is lost, and it may be tried again.
};

class PlanWriter {
 public:
  // `memory_bytes`: of images, at a time; at least a page is. The blocks of Transfers come on top.
  PlanWriter(Store& log, std::uint64_t log_bytes, std::uint64_t page_bytes,
             std::uint64_t memory_bytes, WorkMeter& meter);

  // Sorts the plan's pages. The meter is told of their bytes, as read and as written.
  // Errors: those of both stores; kCorrupt; ENOMEM; what the meter says.
  tl::expected<void, PlanError> write(Store& file, CheckpointPlan& plan);
  [[nodiscard]] const PlanCounts& counts() const noexcept { return counts_; }
  [[nodiscard]] const ImageReaderStats& read_stats() const noexcept { return reader_.stats(); }

 private:
  using Pages = std::span<const CheckpointPlan::Page>;
  using Places = std::span<std::byte* const>;
  struct Write {
    IoRequest request;
    std::byte* block = nullptr;  // That the pages were copied to.
  };

  Result<void> write_all(Store& file, CheckpointPlan& plan);
  Result<void> set_size(Store& file, const CheckpointPlan& plan);
  // Memory for so many pages, at most.
  Result<void> make_memory(std::size_t pages);
  Result<void> read_turn(Pages turn);
  Result<void> write_turn(Store& file, Pages turn);
  Result<void> write_runs(Store& file, Pages turn);
  // How many pages, from the first, one write takes.
  [[nodiscard]] std::size_t count_together(Pages pages) const;
  // The pages of a write are there, in that order.
  Result<void> write_run(Store& file, Pages run, Places places);
  // Where they lie one behind the other: a block, when they do not by themselves.
  Result<std::byte*> gather(Places places, std::byte*& block);
  void finish(Write& write);

  const std::uint64_t page_bytes_;
  const std::size_t pages_max_;
  WorkMeter& meter_;
  Transfers transfers_;
  ImageReader reader_;
  std::unique_ptr<ImageArena> memory_;
  std::vector<WantedImage> wanted_;
  std::vector<std::byte*> places_;  // Of the turn's pages.
  std::vector<Write> writes_;
  std::vector<Write*> free_writes_;
  std::optional<Error> error_;  // Of the first write that failed.
  PlanCounts counts_;
};

}  // namespace quire::internal
