// SPDX-License-Identifier: Apache-2.0
//
// HddMechanism: one arm, one platter, one job at a time.
//
//   choice     of the queued reads and writes the one that the head reaches soonest (shortest
//              positioning time first), unless one has waited for kStarvationNs; cached writes in
//              rising order of address, when nothing else is to be done, or in turn with the rest
//              when somebody waits for them
//   read       seek, wait for the sector, transfer; then the head reads on into the buffer until
//              read_ahead_bytes further or until there is other work
//   read-ahead a read that goes on where the last one ended finds its bytes in the buffer, or under
//              the head at that moment: no seek, no turn of the platter. Any other read begins a
//              new stretch, and a write drops the old one.
//   write      seek, wait for the sector, transfer
//
//     buffer of the disk:   begin ...... limit          the head passes from `base`, which it
//                             |== read ==|              reaches at `base_at`, up to `limit`
//
// Thread-safety: one thread at a time.
// Cost:          a choice looks at each queued job: at most queue_depth of them.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "quire/sim/internal/hdd_geometry.h"
#include "quire/sim/internal/medium.h"

namespace quire::sim::internal {

class HddMechanism final : public Medium {
 public:
  // A job that waited so long goes next. Chosen: well above a full queue of the slowest jobs.
  static constexpr std::uint64_t kStarvationNs = kNanosecondsPerSecond;
  // Cached bytes written in one go, so that a read does not wait for all of them.
  static constexpr std::uint64_t kDestageBytesMax = 1_MiB;

  // REQUIRES: model.is_rotating(), and consistent as parse_disk_model() makes it.
  explicit HddMechanism(const DiskModel& model);

  void read(OperationId id, ByteRange range, SimTime now) override;
  void write(OperationId id, ByteRange range, SimTime now) override;
  void destage(ByteRange range, SimTime now) override;
  void set_urgency(Urgency urgency, SimTime now) override;
  [[nodiscard]] std::uint64_t unwritten_bytes() const noexcept override;
  [[nodiscard]] std::optional<SimTime> next_event() const noexcept override;
  void run(SimTime now) override;
  void add_to(DiskCounters& counters) const noexcept override;
  void check_invariants() const override;

 private:
  struct Job {
    OperationId id = 0;
    bool is_write = false;
    ByteRange range{0, 0};
    SimTime arrived;
  };
  struct Running {
    SimTime end;
    std::optional<OperationId> write;  // To be reported.
    std::uint64_t cached_bytes = 0;    // That leave the cache.
  };
  // What the head read last and reads on.
  struct Stretch {
    std::uint64_t begin_bytes = 0;
    std::uint64_t base_bytes = 0;
    SimTime base_at;
    std::uint64_t limit_bytes = 0;
  };
  // From where the head is to the first sector of a range.
  struct Positioning {
    std::uint64_t seek_ns = 0;
    std::uint64_t rotation_ns = 0;

    [[nodiscard]] std::uint64_t total_ns() const noexcept { return seek_ns + rotation_ns; }
  };

  [[nodiscard]] std::uint64_t track_now(SimTime now) const noexcept;
  [[nodiscard]] Positioning position(std::uint64_t offset_bytes, SimTime now) const noexcept;
  [[nodiscard]] bool continues_stretch(ByteRange range) const noexcept;
  [[nodiscard]] SimTime stretch_begin(std::uint64_t offset_bytes) const noexcept;
  [[nodiscard]] SimTime stretch_end(std::uint64_t end_bytes) const noexcept;
  [[nodiscard]] SimTime stretch_stop() const noexcept;
  [[nodiscard]] std::uint64_t cost_ns(const Job& job, SimTime now) const noexcept;

  void count(const Positioning& positioning) noexcept;
  [[nodiscard]] std::vector<Job>::iterator choose_job(SimTime now);
  void start_job(const Job& job, SimTime now);
  void start_read(const Job& job, SimTime now);
  SimTime start_write(ByteRange range, SimTime now);
  void start_destage(SimTime now);
  void finish_running(SimTime now);

  HddGeometry geometry_;
  std::uint64_t capacity_bytes_;
  std::uint64_t read_ahead_bytes_;
  std::uint64_t buffer_bytes_;
  std::uint64_t track_ = 0;  // Under the head, when there is no stretch.
  std::optional<Stretch> stretch_;
  std::vector<Job> jobs_;
  std::optional<Running> running_;
  SimTime decide_at_;  // When the mechanism, at rest, looks for work.
  Urgency urgency_ = Urgency::kNone;
  bool was_destaging_ = false;
  std::map<std::uint64_t, std::uint64_t> cached_;  // Begin to end; apart from each other.
  std::uint64_t cached_bytes_ = 0;                 // In cached_.
  std::uint64_t sweep_bytes_ = 0;                  // Where the last cached write ended.
  DiskCounters counters_;
};

}  // namespace quire::sim::internal
