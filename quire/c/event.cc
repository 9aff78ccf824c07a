// SPDX-License-Identifier: Apache-2.0
#include "quire/c/event.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "quire/base/mutex.h"
#include "quire/c/internal/ipc_handles.h"
#include "quire/ipc/event.h"
#include "quire/ipc/semaphore.h"

namespace quire::c {
namespace {

// The units that a handle has, by number: C has no scopes that give them back.
class HeldUnits {
 public:
  explicit HeldUnits(std::uint32_t units) : permits_(units) {}

  void add(ipc::Permit&& permit) QUIRE_EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    permits_[permit.unit()].emplace(std::move(permit));
  }
  // Nothing: it is not here.
  std::optional<ipc::Permit> take(std::uint32_t unit) QUIRE_EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    if (unit >= permits_.size() || !permits_[unit]) {
      return std::nullopt;
    }
    std::optional<ipc::Permit> permit(std::move(permits_[unit]));
    permits_[unit].reset();
    return permit;
  }

 private:
  Mutex mutex_;
  std::vector<std::optional<ipc::Permit>> permits_ QUIRE_GUARDED_BY(mutex_);
};

}  // namespace
}  // namespace quire::c

struct quire_event {
  quire::ipc::Event event;
  const quire::ipc::Participants* participants;
  std::string name;
};

struct quire_semaphore {
  quire::ipc::Semaphore semaphore;
  const quire::ipc::Participants* participants;
  // Gone before the semaphore, and there only once that stays where it is.
  std::unique_ptr<quire::c::HeldUnits> held;
};

using namespace quire::c;
using quire::Result;

quire_code quire_event_open(const quire_segment* segment, const char* name, quire_event** event,
                            quire_error* error) noexcept {
  const auto open = [&](const char* /*operation*/) -> Result<quire_event> {
    return quire_event{QUIRE_TRY(quire::ipc::Event::open(segment->segment, name)),
                       &segment->segment.participants(), name};
  };
  return open_object(__func__, segment, name, "event", event, error, open);
}

quire_code quire_event_set(quire_event* event, quire_error* error) noexcept {
  return run(__func__, {{"event", event}}, error, [&]() -> Result<void> {
    event->event.set();
    return {};
  });
}

quire_code quire_event_reset(quire_event* event, quire_error* error) noexcept {
  return run(__func__, {{"event", event}}, error, [&]() -> Result<void> {
    event->event.reset();
    return {};
  });
}

int32_t quire_event_is_set(const quire_event* event) noexcept {
  return event != nullptr && event->event.is_set() ? 1 : 0;
}

quire_code quire_event_wait(const quire_event* event, uint32_t timeout_ms,
                            quire_error* error) noexcept {
  return run(__func__, {{"event", event}}, error, [&](const char* operation) -> Result<void> {
    if (!event->event.wait(to_wait(timeout_ms))) {
      return quire::fail(quire::Error({.code = std::make_error_code(std::errc::timed_out),
                                       .operation = operation,
                                       .subject = event->name,
                                       .cause = "the time was over before it was set",
                                       .remedy = {}}));
    }
    return {};
  });
}

quire_code quire_event_arm(const quire_event* event, const quire_doorbell* bell, int32_t* is_armed,
                           quire_error* error) noexcept {
  return arm_bell(__func__, "event", event, bell, is_armed, error,
                  [&](const quire::ipc::Doorbell& armed) { return event->event.arm(armed); });
}

void quire_event_free(quire_event* event) noexcept {
  delete event;
}

quire_code quire_semaphore_open(const quire_segment* segment, const char* name,
                                quire_semaphore** semaphore, quire_error* error) noexcept {
  const auto open = [&](const char* /*operation*/) -> Result<quire_semaphore> {
    // One that is no semaphore has no units; its kind is what is refused.
    const std::uint32_t units = std::max(segment->choice(name).units, 1U);
    return quire_semaphore{
        QUIRE_TRY(quire::ipc::Semaphore::open(segment->segment, name, {.units = units})),
        &segment->segment.participants(), std::make_unique<HeldUnits>(units)};
  };
  return open_object(__func__, segment, name, "semaphore", semaphore, error, open);
}

quire_code quire_semaphore_acquire(quire_semaphore* semaphore, uint32_t timeout_ms, uint32_t* unit,
                                   int32_t* owner_died, quire_error* error) noexcept {
  return run(__func__, {{"semaphore", semaphore}, {"unit", unit}}, error, [&]() -> Result<void> {
    quire::ipc::Permit permit = QUIRE_TRY(semaphore->semaphore.acquire(to_wait(timeout_ms)));
    *unit = permit.unit();
    if (owner_died != nullptr) {
      *owner_died = permit.owner_died() ? 1 : 0;
    }
    semaphore->held->add(std::move(permit));
    return {};
  });
}

quire_code quire_semaphore_release(quire_semaphore* semaphore, uint32_t unit,
                                   quire_error* error) noexcept {
  return run(__func__, {{"semaphore", semaphore}}, error,
             [&](const char* operation) -> Result<void> {
               if (!semaphore->held->take(unit)) {
                 return quire::fail(
                     quire::Error({.code = std::make_error_code(std::errc::operation_not_permitted),
                                   .operation = operation,
                                   .subject = "unit " + std::to_string(unit),
                                   .cause = "this handle has not acquired it",
                                   .remedy = {}}));
               }
               return {};
             });
}

uint32_t quire_semaphore_available(const quire_semaphore* semaphore) noexcept {
  return semaphore != nullptr ? semaphore->semaphore.free_units() : 0;
}

quire_code quire_semaphore_arm(quire_semaphore* semaphore, const quire_doorbell* bell,
                               int32_t* is_armed, quire_error* error) noexcept {
  return arm_bell(
      __func__, "semaphore", semaphore, bell, is_armed, error,
      [&](const quire::ipc::Doorbell& armed) { return semaphore->semaphore.arm(armed); });
}

void quire_semaphore_free(quire_semaphore* semaphore) noexcept {
  delete semaphore;
}
