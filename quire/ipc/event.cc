// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/event.h"

#include <utility>

#include "quire/base/check.h"
#include "quire/ipc/segment.h"

namespace quire::ipc {
namespace {

constexpr std::uint64_t kSet = 1;

}  // namespace

struct alignas(64) Event::Shared {
  std::atomic<std::uint64_t> state;
  std::byte spare[56];
  WaitPoint waiters;
};

ObjectSpec Event::object(std::string name) {
  static_assert(sizeof(Shared) == 128 && offsetof(Shared, waiters) == 64);
  return {.name = std::move(name),
          .kind = ObjectKind::kEvent,
          .signature = "event v1",
          .size_bytes = sizeof(Shared)};
}

Result<Event> Event::open(const Segment& segment, const std::string& name) {
  const ObjectSpec spec = object(name);
  return Event(QUIRE_TRY(segment.find(name, spec.kind, spec.signature)));
}

Event::Event(ObjectRef object)
    : object_(std::move(object)), shared_(reinterpret_cast<Shared*>(object_.bytes().data())) {
  QUIRE_CHECK_GE(object_.bytes().size(), sizeof(Shared));
  Participants& participants = object_.participants();
  recovery_ = participants.add_recovery([shared = shared_, &participants](MemberId) {
    notify_after_death(shared->waiters, participants);
  });
}

void Event::set() noexcept {
  std::uint64_t state = shared_->state.load(std::memory_order_relaxed);
  QUIRE_IPC_STEP("event.set.begin");
  // Release: who sees it set sees what happened before.
  while ((state & kSet) == 0 && !shared_->state.compare_exchange_weak(
                                    state, state + 2 * kSet + kSet, std::memory_order_release,
                                    std::memory_order_relaxed)) {
  }
  // Even if it was set: whoever set it may have died before this.
  notify(shared_->waiters, object_.participants());
  QUIRE_IPC_STEP("event.set.end");
}

void Event::reset() noexcept {
  QUIRE_IPC_STEP("event.reset.begin");
  shared_->state.fetch_and(~kSet, std::memory_order_relaxed);
  QUIRE_IPC_STEP("event.reset.end");
}

bool Event::is_set() const noexcept {
  return (shared_->state.load(std::memory_order_acquire) & kSet) != 0;  // Pairs with set().
}

bool Event::wait(const WaitOptions& options) const {
  const std::uint64_t first = shared_->state.load(std::memory_order_acquire);
  return ipc::wait(shared_->waiters, options, [&] {
    const std::uint64_t state = shared_->state.load(std::memory_order_acquire);  // As is_set().
    return (state & kSet) != 0 || (state | kSet) != (first | kSet);
  });
}

bool Event::arm(const Doorbell& bell) const {
  return ipc::arm(shared_->waiters, bell, [this] { return is_set(); });
}

}  // namespace quire::ipc
