// SPDX-License-Identifier: Apache-2.0
//
// warm_queue: warming many files as one job: one progress line, one memory guard, one way to stop.
// `warm`, `lock` and `restore` are built on it.
//
//   add() --> | small | small | small | ... --full--> start reading all, then warm one by one
//             a large one: what waits goes first, then it alone, with its own parallel steps
//
// Small files and small ranges cost a round trip to the disk each; a batch of them pays for one.
// Then each is read through: that waits for it, and brings out the error of a device, which the
// page cache alone would hide.
//
// The memory headroom is asked for before every step and every batch, so that other programs' needs
// count too; what does not fit ends the whole job, not only the file.
//
// Invariants:    at most kItemsMax files wait, with at most kBatchBytesMax to read.
// Thread-safety: one thread. Blocks: while reading.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "quire/cli/session.h"
#include "quire/cli/tree_walk.h"
#include "quire/map/warming.h"
#include "quire/sys/descriptor.h"

namespace quire::cli {

struct WarmingChoice {
  bool allow_reclaim = false;
  int threads = WarmOptions{}.threads;
};

// One file, and what of it is wanted.
struct WarmItem {
  std::string path;
  sys::Descriptor file;
  std::uint64_t size_bytes = 0;
  std::vector<ByteRange> ranges = {};
  // Filled by the queue: reading was started, and this much was there before (nothing: unknown).
  struct Started {
    std::optional<std::uint64_t> before_bytes;
  };
  std::optional<Started> started = {};

  [[nodiscard]] std::uint64_t wanted_bytes() const noexcept;
};

class WarmQueue {
 public:
  static constexpr std::size_t kItemsMax = 128;
  static constexpr std::uint64_t kSmallBytes = std::uint64_t{128} << 10;  // A read-ahead window.
  static constexpr std::uint64_t kBatchBytesMax = kItemsMax * kSmallBytes;

  // Called for each item, in the order they were added, with the sum over its ranges.
  using Done = std::function<void(WarmItem&, const Result<WarmReport>&)>;

  // REQUIRES: drain() before `done` or the queue goes away.
  WarmQueue(Session& session, const char* label, std::uint64_t total_bytes,
            const WarmingChoice& choice, Done done);

  void add(WarmItem item);
  // Warms what still waits.
  void drain();
  // Counts bytes that are not going to be read towards the progress.
  void skip(std::uint64_t bytes) { done_bytes_ += bytes; }

  // Since the job began.
  [[nodiscard]] double seconds() const;

  // The limit that a step did not fit into; nothing while all fit. Then the job is over.
  [[nodiscard]] const std::optional<std::string>& binding_limit() const noexcept {
    return binding_limit_;
  }
  // True when nothing more should be started: no memory left, or a stop was requested.
  [[nodiscard]] bool is_over() const { return binding_limit_ || session_.stop_requested(); }

 private:
  void start_reading();
  void finish(WarmItem& item);
  [[nodiscard]] bool has_room_for(std::uint64_t bytes) const;
  [[nodiscard]] Result<WarmReport> warm_item(const WarmItem& item);
  [[nodiscard]] Result<WarmReport> warm_alone(const WarmItem& item, const ByteRange& range);
  [[nodiscard]] Result<WarmReport> read_through(const WarmItem& item,
                                                std::span<const ByteRange> ranges,
                                                WarmItem::Started started);

  Session& session_;
  ProgressLine progress_;
  Done done_;
  WarmOptions options_;
  std::stop_source stop_;
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  std::vector<WarmItem> waiting_;
  std::vector<std::byte> scratch_;  // What was read, which nobody looks at.
  std::uint64_t waiting_bytes_ = 0;
  std::uint64_t done_bytes_ = 0;
  std::uint64_t file_count_ = 0;
  std::optional<std::string> binding_limit_;
};

// What came into memory: where residency is known, the difference tells it best.
[[nodiscard]] std::uint64_t bytes_brought_in(const WarmReport& report) noexcept;

// What a walk would visit: for totals before the work starts.
struct TreeSize {
  std::uint64_t files = 0;
  std::uint64_t size_bytes = 0;
};
// Errors are dropped: the walk that does the work reports them.
[[nodiscard]] TreeSize measure_trees(Session& session, const TreeArguments& tree);

// The size of a visited file; a block device's is the device's.
[[nodiscard]] std::uint64_t size_of(const WalkedFile& file) noexcept;

// The error for bytes that were left out for lack of memory.
[[nodiscard]] Error memory_error(const char* operation, std::uint64_t left_out_bytes,
                                 const std::string& binding_limit);

}  // namespace quire::cli
