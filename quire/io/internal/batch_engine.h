// SPDX-License-Identifier: Apache-2.0
//
// BatchEngine: does the batches of one thread. What batch_reader.h promises happens here.
//
//   classify()   keys --> resident_ | done at once (NOWAIT) | absent_         slice by slice,
//   plan()       absent_ --coalesce--> requests_ --slots--> IoQueue           the queue at work
//   run()        the rest of requests_, while resident_ is copied
//   finish()     each request's bytes to its ranges
//
// A request of one range reads into the caller's memory; one of several reads into a staging buffer
// and is copied out. A copy that meets a page without backing (the file shrank, the device failed)
// is put to the queue instead, which gives the end or the error as a value.
//
// Invariants:    every key is in exactly one of resident_, absent_, or done; slots under way =
//                requests under way; nothing is under way between two batches.
// Thread-safety: the thread that made it.
// Cost:          no allocation once the largest batch was seen.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "quire/base/result.h"
#include "quire/io/batch_reader.h"
#include "quire/io/buffer_pool.h"
#include "quire/io/internal/batch_plan.h"
#include "quire/io/internal/batch_source.h"
#include "quire/io/internal/residency_chunks.h"
#include "quire/io/io_queue.h"

namespace quire::internal {

class BatchEngine {
 public:
  // `source` outlives the engine. Errors: those of the queue.
  static Result<std::unique_ptr<BatchEngine>> make(const BatchSource& source);

  Result<BatchReport> read(std::span<ReadRange> ranges);
  [[nodiscard]] std::string explain() const { return queue_->explain(); }

 private:
  // A request under way.
  struct Slot {
    BatchEngine* engine = nullptr;
    IoRequest request;
    PlannedRequest plan;
    std::optional<BufferPool::Buffer> staging;
  };

  BatchEngine(const BatchSource& source, std::unique_ptr<IoQueue> queue);

  // The keys [first, last) start in one chunk and reach into the chunks up to `end_chunk`.
  struct Run {
    std::size_t first = 0;
    std::size_t last = 0;
    std::uint64_t chunk = 0;
    std::uint64_t end_chunk = 0;
    bool can_be_asked = false;  // Mapped, and the kernel tells the truth.
    bool is_worth_asking = false;
  };

  [[nodiscard]] std::size_t classify(std::size_t at, std::size_t end);
  [[nodiscard]] Run next_run(std::size_t first) const;
  [[nodiscard]] bool is_filled(const Run& run) const;
  [[nodiscard]] std::size_t classify_filled(const Run& run);
  void classify_asked(const Run& run);
  void classify_alone(std::size_t first, std::size_t last);
  [[nodiscard]] bool try_now(const RangeKey& key);

  [[nodiscard]] Result<std::uint64_t> readable_bytes() const;
  Result<void> read_what_shrank();

  void run();
  void plan(std::size_t first);
  [[nodiscard]] Result<void> make_staging(std::size_t first_request);
  bool submit_next();
  void copy_slice();
  void copy_guarded();
  void finish(Slot& slot);
  [[nodiscard]] std::span<std::byte> memory_for(Slot& slot);
  void keep_first(std::optional<Error> error);

  [[nodiscard]] ByteRange bytes_of(const RangeKey& key) const noexcept {
    return {key.offset_bytes, range_of(key).into.size()};
  }
  [[nodiscard]] bool is_readable(const RangeKey& key) const noexcept {
    return key.offset_bytes + range_of(key).into.size() <= readable_bytes_;
  }
  [[nodiscard]] ReadRange& range_of(const RangeKey& key) noexcept { return ranges_[key.index]; }
  [[nodiscard]] const ReadRange& range_of(const RangeKey& key) const noexcept {
    return ranges_[key.index];
  }

  const BatchSource& source_;
  std::unique_ptr<IoQueue> queue_;
  ResidencyChunks chunks_;
  const PageSize alignment_;             // Of requests through a staging buffer.
  std::unique_ptr<BufferPool> staging_;  // A buffer for each slot, as large as was needed yet.
  std::vector<Slot> slots_;
  std::vector<Slot*> free_slots_;
  bool can_try_;  // NOWAIT reads are wanted, and work on this file.

  // Of the batch at work.
  std::span<ReadRange> ranges_;
  std::uint64_t readable_bytes_ = 0;
  std::vector<RangeKey> keys_;
  std::vector<RangeKey> resident_;
  std::vector<RangeKey> absent_;
  std::vector<PlannedRequest> requests_;
  std::size_t next_request_ = 0;
  std::size_t next_copy_ = 0;
  std::size_t slice_end_ = 0;
  BatchReport report_;
  std::optional<Error> error_;
};

}  // namespace quire::internal
