// SPDX-License-Identifier: Apache-2.0
//
// SimHost: the machine above a simulated disk: one processor, one clock, what its work costs.
//
//   one thread  --spend(ns)-------->  the clock moves, the processor is busy
//               --submit(request)-->  a request goes to the disk; the thread goes on
//               --wait(id)--------->  the clock moves to the completion, the processor is idle
//
// The disk works while the thread does: a request completes at its time, and is_done() knows it as
// soon as the clock is there.
//
// Invariants:    the disk's time never passes the host's; cpu_ns() never exceeds the time passed.
// Thread-safety: one thread at a time.
#pragma once

#include <cstdint>
#include <vector>

#include "quire/sim/sim_clock.h"
#include "quire/sim/sim_disk.h"

namespace quire::sim {

// What work costs on the host. Orders of magnitude of the machine that docs/benchmarks.md
// describes; against a hard disk none of them matters, against NVMe all do.
struct HostModel {
  std::uint64_t system_call_ns = 200;      // Into the kernel, down to the file, and back.
  std::uint64_t page_lookup_ns = 20;       // Per page that a system call finds in the page cache.
  std::uint64_t request_ns = 2000;         // Giving one request to a disk and being woken by it.
  std::uint64_t queued_request_ns = 1000;  // The same through a ring, without being woken.
  std::uint64_t minor_fault_ns = 700;   // A fault that finds its page: 0.5 to 1.9 us are measured.
  std::uint64_t populate_page_ns = 30;  // Per page that is mapped beside the one that faulted.
  std::uint64_t copy_bytes_per_s = 25'000'000'000;      // pread() of 1 MiB: 0.04 s for a GiB.
  std::uint64_t memory_bytes = std::uint64_t{4} << 30;  // For pages of files.
  std::uint64_t read_ahead_bytes = 128 << 10;           // read_ahead_kb, as Linux comes.
};

class SimHost {
 public:
  // The clock begins at `start`, which decides where the platter of a hard disk stands.
  SimHost(const DiskModel& disk, const HostModel& model, SimTime start = {});

  [[nodiscard]] SimTime now() const noexcept { return clock_.now(); }
  [[nodiscard]] const HostModel& model() const noexcept { return model_; }
  [[nodiscard]] const SimDisk& disk() const noexcept { return disk_; }

  // The processor works.
  void spend(std::uint64_t duration_ns) noexcept;
  void spend_copy(std::uint64_t bytes) noexcept;
  // A system call, without what it does.
  void enter_kernel() noexcept;

  [[nodiscard]] OperationId submit(const DiskRequest& request);
  // Whether it has completed by now.
  [[nodiscard]] bool is_done(OperationId id);
  // How many have completed by now.
  [[nodiscard]] std::uint64_t completed_count();
  void wait(OperationId id);
  // Waits for whichever request completes next. REQUIRES: one is under way.
  OperationId wait_next();
  // Whether any request is under way.
  [[nodiscard]] bool is_busy() const noexcept { return disk_.pending() > 0; }

  [[nodiscard]] std::uint64_t cpu_ns() const noexcept { return cpu_ns_; }
  [[nodiscard]] std::uint64_t system_calls() const noexcept { return system_calls_; }

 private:
  void note(const DiskCompletion& completion);
  void poll();

  HostModel model_;
  SimClock clock_;
  SimDisk disk_;
  std::uint64_t cpu_ns_ = 0;
  std::uint64_t system_calls_ = 0;
  std::vector<std::uint8_t> is_done_;  // By id; bytes, because they are looked at all the time.
  std::uint64_t completed_count_ = 0;
  SimTime polled_to_;  // Every completion up to here is known.
};

}  // namespace quire::sim
