// SPDX-License-Identifier: Apache-2.0
//
// SimDisk: a disk that keeps simulated time. Operations are submitted at moments; the disk says in
// which order and when they complete. No byte is stored: this is about time alone.
//
//   SimDisk disk(preset(DiskKind::kHdd));
//   disk.submit({DiskOperation::kRead, {.offset_bytes = 0, .length_bytes = 4096}}, SimTime{0});
//   while (auto done = disk.next_completion()) { ... done->at ... }
//
//   submitted --> waiting --> controller --> [read ] medium --> link ---------------> completed
//                 (queue      (one at a      [write] link --> cache | medium ------>
//                 is full)    time)          [flush] wait until the cache is empty ->
//
//   waiting      only queue_depth operations are inside the disk at a time; the rest waits in order
//   medium       hard disk: one at a time, the one that the head reaches soonest; flash: every unit
//                one page at a time, in order; cached writes follow when nothing else is to be done
//   link         one transfer at a time, overlapping the medium's work on the same operation
//   cache        holds written bytes; when full, writes wait; a flush lets no write in before it
//
// The order of completion is decided as late as possible: a submission at the moment of a
// completion is seen by every decision of that moment.
//
// Invariants:    every operation completes once, not before it was submitted; completions come in
//                the order of time; bytes never pass faster than the link; the same submissions
//                give the same completions, always. check_invariants() asserts the rest.
// Thread-safety: one thread at a time.
// Cost:          a few events per operation, each a logarithm of what is under way; a choice among
//                queued operations of a hard disk looks at each of them.
#pragma once

#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <optional>
#include <queue>
#include <unordered_map>
#include <vector>

#include "quire/base/units.h"
#include "quire/sim/disk_model.h"
#include "quire/sim/sim_clock.h"

namespace quire::sim {

namespace internal {
class Medium;
}

enum class DiskOperation : std::uint8_t { kRead, kWrite, kFlush };

struct DiskRequest {
  DiskOperation operation = DiskOperation::kRead;
  ByteRange range{0, 0};  // Whole sectors; of a flush, empty.
};

// Counts up from 0 in the order of submission.
using OperationId = std::uint64_t;

struct DiskCompletion {
  OperationId id = 0;
  DiskRequest request;
  SimTime submitted;
  SimTime at;
};

struct DiskCounters {
  std::uint64_t reads = 0;  // Operations completed.
  std::uint64_t writes = 0;
  std::uint64_t flushes = 0;
  std::uint64_t read_bytes = 0;  // Over the link.
  std::uint64_t written_bytes = 0;
  std::uint64_t read_ahead_hits = 0;  // Hard disk: reads that found every byte in the buffer.
  std::uint64_t medium_writes = 0;    // Hard disk: writes of the head. Flash: pages programmed.
  std::uint64_t seeks = 0;            // Hard disk: movements of the arm.
  std::uint64_t seek_ns = 0;          // Time of the arm;
  std::uint64_t rotation_ns = 0;      // waiting for the platter;
  std::uint64_t transfer_ns = 0;      // under the head. Flash: of all units, added up.
};

class SimDisk {
 public:
  static constexpr SimTime kForever{std::numeric_limits<std::uint64_t>::max()};

  // REQUIRES: the model came from preset() or parse_disk_model().
  explicit SimDisk(const DiskModel& model);
  ~SimDisk();
  SimDisk(SimDisk&&) noexcept;
  SimDisk& operator=(SimDisk&&) noexcept;

  // REQUIRES: at >= now(); the range is of whole sectors, inside the disk, and empty for a flush
  //           alone.
  OperationId submit(const DiskRequest& request, SimTime at);

  // Runs the disk to its next completion, or to `until` when there is none before or at it.
  std::optional<DiskCompletion> next_completion(SimTime until = kForever);

  // Where simulated time is: the latest completion given out, or a later `until`.
  [[nodiscard]] SimTime now() const noexcept { return now_; }
  [[nodiscard]] std::size_t pending() const noexcept { return operations_.size(); }
  // Written and acknowledged, and lost if the power went now.
  [[nodiscard]] std::uint64_t unflushed_bytes() const noexcept;
  [[nodiscard]] DiskCounters counters() const noexcept;
  [[nodiscard]] const DiskModel& model() const noexcept { return model_; }

  void check_invariants() const;

 private:
  enum class Step : std::uint8_t { kArrive, kDecoded, kReceived, kStreaming, kComplete };
  struct Event {
    SimTime at;
    std::uint64_t sequence = 0;  // Of two events at one moment the earlier made comes first.
    Step step{};
    OperationId id = 0;

    friend bool operator>(const Event& a, const Event& b) noexcept {
      return a.at != b.at ? a.at > b.at : a.sequence > b.sequence;
    }
  };
  struct Operation {
    DiskRequest request;
    SimTime submitted;
  };

  void schedule(SimTime at, Step step, OperationId id);
  [[nodiscard]] SimTime use_link(SimTime ready, std::uint64_t bytes) noexcept;
  void handle(const Event& event);
  void admit_waiting();
  void decode(OperationId id);
  void receive(OperationId id);
  void send(OperationId id);
  void run_medium();
  void collect_from_medium();
  void serve_cache();
  [[nodiscard]] DiskCompletion complete(OperationId id);

  DiskModel model_;
  std::unique_ptr<internal::Medium> medium_;
  SimTime now_;
  SimTime controller_free_;
  SimTime link_free_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::uint64_t event_count_ = 0;
  std::uint64_t submitted_count_ = 0;
  std::uint64_t completed_count_ = 0;
  std::uint64_t inside_count_ = 0;  // Operations that hold a place of the queue.
  std::unordered_map<OperationId, Operation> operations_;
  std::deque<OperationId> waiting_;         // For a place in the queue.
  std::deque<OperationId> waiting_writes_;  // For room in the cache, or a flush to end.
  std::deque<OperationId> flushes_;         // For the cache to be empty.
  DiskCounters counters_;
};

}  // namespace quire::sim
