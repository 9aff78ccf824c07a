// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/internal/chaos_station.h"

#include <chrono>
#include <thread>
#include <utility>

#include "quire/sys/futex.h"

namespace quire::ipc::internal {
namespace {

// Chosen so that rings become full as often as empty, and most processes sleep most of the time:
// there are more of them than processors.
constexpr std::uint64_t kRestOncePer = 64;
constexpr std::uint64_t kRestMaxUs = 2'000;
constexpr std::uint64_t kDawdleOncePer = 8;
constexpr std::uint64_t kDawdleOfThoseSleeps = 16;

}  // namespace

const char* name_of(ChaosDoing doing) noexcept {
  switch (doing) {
    case ChaosDoing::kStarting: return "starting";
    case ChaosDoing::kTakingPlace: return "waiting for its place";
    case ChaosDoing::kSending: return "sending, or waiting for room";
    case ChaosDoing::kReceiving: return "waiting for a message";
    case ChaosDoing::kLocking: return "waiting for the lock";
    case ChaosDoing::kInside: return "inside the lock, or at its turn";
    case ChaosDoing::kUnlocking: return "unlocking";
    case ChaosDoing::kAcquiring: return "waiting for a unit";
    case ChaosDoing::kHolding: return "holding a unit";
    case ChaosDoing::kAwaiting: return "waiting for its event";
    case ChaosDoing::kResting: return "resting";
  }
  return "doing nothing that has a name";
}

void ChaosStation::rest(std::chrono::nanoseconds duration) const noexcept {
  sys::shared_futex_wait(place_.ends, 0, duration);
}

void ChaosStation::has_finished() {
  begins(ChaosDoing::kResting);
  log().finished.fetch_add(1, std::memory_order_relaxed);
  if (random_.below(kRestOncePer) == 0) {
    rest(std::chrono::microseconds(random_.below(kRestMaxUs)));
  }
}

void ChaosStation::dawdle() {
  if (random_.below(kDawdleOncePer) != 0) {
    return;
  }
  if (random_.below(kDawdleOfThoseSleeps) == 0) {
    rest(std::chrono::microseconds(random_.below(kRestMaxUs)));
  } else {
    std::this_thread::yield();
  }
}

WaitOptions ChaosStation::patience() noexcept {
  return {.policy = random_.below(2) == 0 ? WaitPolicy::kSpinThenSleep : WaitPolicy::kSleep};
}

Error violation(const std::string& structure, std::string what) {
  return make_error(Errc::kCorrupt, "chaos", structure, std::move(what));
}

}  // namespace quire::ipc::internal
