// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <array>
#include <atomic>
#include <chrono>
#include <vector>

#include "quire/ipc/internal/chaos_lock.h"
#include "quire/ipc/semaphore.h"

namespace quire::ipc::internal {
namespace {

constexpr unsigned kHolders = 4;
constexpr SemaphoreOptions kUnits{.units = 2};
constexpr const char* kTableName = "semaphore.holders";
constexpr const char* kSignature = "chaos v1";
// Nobody holds a unit any more: those of the dead are found at once.
constexpr std::chrono::seconds kAuditPatience{10};

// Who uses which unit; a station's number + 1, 0: nobody.
using Holders = std::array<std::atomic<std::uint64_t>, kUnits.units>;

Result<Holders*> find_holders(const Segment& segment) {
  const ObjectRef object = QUIRE_TRY(segment.find(kTableName, ObjectKind::kUser, kSignature));
  return reinterpret_cast<Holders*>(object.bytes().data());
}

// Makes the unit of a permit ours.
Result<void> take(const std::string& name, const ChaosStation& station, Holders& holders,
                  const Permit& permit) {
  if (permit.unit() >= kUnits.units) {
    return fail(violation(name, fmt::format("it gave unit {} of {}", permit.unit(), kUnits.units)));
  }
  const std::uint64_t other = holders[permit.unit()].exchange(station.number() + 1);
  if (other != 0 && !permit.owner_died()) {
    return fail(violation(
        name, fmt::format("holder {} was given unit {} and not told of a death, but holder {} has "
                          "not given it back",
                          station.number(), permit.unit(), other - 1)));
  }
  if (permit.owner_died()) {
    note(station.log().told_of_death, noted(station.log().told_of_death) + 1);
  }
  return {};
}

Result<void> leave(const std::string& name, const ChaosStation& station, Holders& holders,
                   const Permit& permit) {
  if (holders[permit.unit()].exchange(0) != station.number() + 1) {
    return fail(violation(name, fmt::format("unit {} was given to another one beside holder {}",
                                            permit.unit(), station.number())));
  }
  return {};
}

}  // namespace

std::vector<ChaosGame::Role> PermitGame::roles() const {
  std::vector<Role> roles;
  for (unsigned station = 0; station < kHolders; ++station) {
    roles.push_back({.name = fmt::format("holder {}", station)});
  }
  return roles;
}

void PermitGame::add_objects(Layout& layout) const {
  layout.add(Semaphore::object(name_, kUnits));
  layout.add({.name = kTableName,
              .kind = ObjectKind::kUser,
              .signature = kSignature,
              .size_bytes = sizeof(Holders)});
}

Result<void> PermitGame::play(ChaosStation& station) const {
  Semaphore semaphore = QUIRE_TRY(Semaphore::open(station.segment(), name_, kUnits));
  Holders& holders = *QUIRE_TRY(find_holders(station.segment()));
  while (!station.should_end()) {
    station.begins(ChaosDoing::kAcquiring);
    Permit permit = QUIRE_TRY(semaphore.acquire(station.patience()));
    station.begins(ChaosDoing::kHolding);
    QUIRE_TRY(take(name_, station, holders, permit));
    station.dawdle();
    QUIRE_TRY(leave(name_, station, holders, permit));
    permit.release();
    station.has_finished();
  }
  return {};
}

Result<void> PermitGame::audit(ChaosStation& station) const {
  Semaphore semaphore = QUIRE_TRY(Semaphore::open(station.segment(), name_, kUnits));
  Holders& holders = *QUIRE_TRY(find_holders(station.segment()));
  std::vector<Permit> permits;
  for (unsigned unit = 0; unit < kUnits.units; ++unit) {
    auto permit = semaphore.acquire({.timeout = kAuditPatience});
    if (!permit) {
      return fail(violation(
          name_, fmt::format("of {} units only {} came back", kUnits.units, permits.size())));
    }
    QUIRE_TRY(take(name_, station, holders, *permit));
    permits.push_back(std::move(*permit));
  }
  if (semaphore.try_acquire()) {
    return fail(violation(name_, "it gave more units than it has"));
  }
  return {};
}

std::string PermitGame::explain(const Segment& segment) const {
  const auto semaphore = Semaphore::open(segment, name_, kUnits);
  std::string text;
  for (unsigned unit = 0; semaphore && unit < kUnits.units; ++unit) {
    const MemberId holder = semaphore->holder(unit);
    text += fmt::format("{}unit {} is {}", unit == 0 ? "" : ", ", unit,
                        holder.is_nobody()
                            ? std::string("free")
                            : "held by " + describe_member(segment.participants(), holder));
  }
  return text;
}

}  // namespace quire::ipc::internal
