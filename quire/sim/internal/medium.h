// SPDX-License-Identifier: Apache-2.0
//
// Medium: where a simulated disk keeps its bytes, a mechanism (hdd_mechanism.h) or flash
// (flash_array.h). SimDisk gives it work and asks it when something happens next.
//
// Invariants:    unwritten_bytes() covers exactly what destage() got and no run() has finished;
//                every read() ends in one kReading, every write() in one kWritten.
// Thread-safety: one thread at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "quire/base/units.h"
#include "quire/sim/sim_disk.h"

namespace quire::sim::internal {

// Who waits for cached bytes to reach the medium.
enum class Urgency : std::uint8_t {
  kNone,   // Nobody: when there is nothing else to do.
  kRoom,   // Writes that find the cache full.
  kFlush,  // A flush: to the last byte.
};

struct MediumEvent {
  enum class Kind : std::uint8_t {
    kReading,  // The first byte comes at `begin`, the last has come at `end`; both may be past now.
    kWritten,  // At `end`, which is now.
  };
  Kind kind{};
  OperationId id = 0;
  SimTime begin;
  SimTime end;
};

class Medium {
 public:
  Medium() = default;
  virtual ~Medium() = default;
  Medium(const Medium&) = delete;
  Medium& operator=(const Medium&) = delete;

  virtual void read(OperationId id, ByteRange range, SimTime now) = 0;
  virtual void write(OperationId id, ByteRange range, SimTime now) = 0;
  // Bytes that the cache took; written in the medium's own time.
  virtual void destage(ByteRange range, SimTime now) = 0;
  virtual void set_urgency(Urgency urgency, SimTime now) = 0;

  [[nodiscard]] virtual std::uint64_t unwritten_bytes() const noexcept = 0;
  // When run() has something to do.
  [[nodiscard]] virtual std::optional<SimTime> next_event() const noexcept = 0;
  // Does one thing that is due. REQUIRES: next_event() is now.
  virtual void run(SimTime now) = 0;

  virtual void add_to(DiskCounters& counters) const noexcept = 0;
  virtual void check_invariants() const = 0;

  // What happened since the last call.
  [[nodiscard]] std::vector<MediumEvent> take_events() noexcept {
    return std::exchange(events_, {});
  }

 protected:
  void report(const MediumEvent& event) { events_.push_back(event); }

 private:
  std::vector<MediumEvent> events_;
};

}  // namespace quire::sim::internal
