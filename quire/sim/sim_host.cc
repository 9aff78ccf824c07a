// SPDX-License-Identifier: Apache-2.0
#include "quire/sim/sim_host.h"

#include "quire/base/check.h"

namespace quire::sim {

SimHost::SimHost(const DiskModel& disk, const HostModel& model, SimTime start)
    : model_(model), disk_(disk) {
  clock_.wait_until(start);
  QUIRE_CHECK(!disk_.next_completion(start).has_value());
}

void SimHost::spend(std::uint64_t duration_ns) noexcept {
  clock_.advance(duration_ns);
  cpu_ns_ += duration_ns;
}

void SimHost::spend_copy(std::uint64_t bytes) noexcept {
  spend(transfer_ns(bytes, model_.copy_bytes_per_s));
}

void SimHost::enter_kernel() noexcept {
  ++system_calls_;
  spend(model_.system_call_ns);
}

OperationId SimHost::submit(const DiskRequest& request) {
  is_done_.push_back(0);
  polled_to_ = {};  // It may complete at this very moment.
  return disk_.submit(request, clock_.now());
}

void SimHost::note(const DiskCompletion& completion) {
  is_done_[completion.id] = 1;
  ++completed_count_;
  clock_.wait_until(completion.at);
}

// Learns of every completion up to now.
void SimHost::poll() {
  while (polled_to_ < clock_.now()) {
    const auto completion = disk_.next_completion(clock_.now());
    if (completion) {
      note(*completion);
    } else {
      polled_to_ = clock_.now();
    }
  }
}

bool SimHost::is_done(OperationId id) {
  if (is_done_[id] == 0) {
    poll();
  }
  return is_done_[id] != 0;
}

std::uint64_t SimHost::completed_count() {
  poll();
  return completed_count_;
}

void SimHost::wait(OperationId id) {
  while (is_done_[id] == 0) {
    const auto completion = disk_.next_completion();
    QUIRE_CHECK(completion.has_value());
    note(*completion);
  }
}

OperationId SimHost::wait_next() {
  const auto completion = disk_.next_completion();
  QUIRE_CHECK(completion.has_value());
  note(*completion);
  return completion->id;
}

}  // namespace quire::sim
