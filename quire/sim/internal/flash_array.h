// SPDX-License-Identifier: Apache-2.0
//
// FlashArray: many units, each reading or programming one page at a time, in the order asked.
//
//   reads     page n lies on unit n modulo the number of units: a large read uses all of them
//   writes    go to the next unit in turn, whatever their addresses, as a log-structured mapping
//             does; a random write costs what a sequential one costs
//   cache     bytes gather until they fill a page; a flush programs the last, partial one too
//
// Not modelled: garbage collection, erasing, suspending a program for a read, wear.
//
// Thread-safety: one thread at a time.
// Cost:          a handful of instructions per page.
#pragma once

#include <functional>
#include <queue>
#include <vector>

#include "quire/sim/internal/medium.h"

namespace quire::sim::internal {

class FlashArray final : public Medium {
 public:
  // REQUIRES: a flash model, consistent as parse_disk_model() makes it.
  explicit FlashArray(const DiskModel& model);

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
  // A page being programmed, or the last page of a write that goes past the cache.
  struct Program {
    SimTime end;
    std::uint64_t sequence = 0;
    std::uint64_t cached_bytes = 0;  // That leave the cache with it.
    std::optional<OperationId> write;

    friend bool operator>(const Program& a, const Program& b) noexcept {
      return a.end != b.end ? a.end > b.end : a.sequence > b.sequence;
    }
  };

  [[nodiscard]] SimTime use_unit(std::size_t unit, SimTime now, std::uint64_t duration_ns) noexcept;
  [[nodiscard]] SimTime program_page(SimTime now) noexcept;
  void program_cached(std::uint64_t bytes, SimTime now);
  void program_partial_if_wanted(SimTime now);

  std::uint64_t page_bytes_;
  std::uint64_t read_ns_;
  std::uint64_t program_ns_;
  std::vector<SimTime> unit_free_;
  std::size_t next_unit_ = 0;            // Of the next program.
  std::uint64_t gathered_bytes_ = 0;     // Less than a page.
  std::uint64_t programming_bytes_ = 0;  // Cached, and in programs_.
  Urgency urgency_ = Urgency::kNone;
  std::priority_queue<Program, std::vector<Program>, std::greater<>> programs_;
  std::uint64_t program_count_ = 0;
  std::uint64_t busy_ns_ = 0;
};

}  // namespace quire::sim::internal
