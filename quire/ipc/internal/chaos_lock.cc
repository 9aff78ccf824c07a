// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/internal/chaos_lock.h"

#include <fmt/format.h>

#include <array>
#include <atomic>
#include <utility>

namespace quire::ipc::internal {
namespace {

constexpr unsigned kLockers = 4;
constexpr const char* kSignature = "chaos v1";

class LibraryMutex final : public ChaosLock {
 public:
  explicit LibraryMutex(Mutex mutex) : mutex_(std::move(mutex)) {}
  Result<Ownership> lock(const WaitOptions& options) override { return mutex_.lock(options); }
  Result<void> mark_consistent() override { return mutex_.mark_consistent(); }
  Result<void> unlock() override { return mutex_.unlock(); }

 private:
  Mutex mutex_;
};

}  // namespace

std::string describe_member(Participants& participants, MemberId member) {
  for (const Participant& one : participants.list()) {
    if (one.id == member) {
      return fmt::format("pid {}, {}", one.pid,
                         one.liveness == Liveness::kAlive ? "alive" : "dead");
    }
  }
  return "somebody who is gone";
}

// What the lock protects: relaxed atomics, since a lock that fails must not make us undefined.
struct LockGame::Pairs {
  using Numbers = std::array<std::atomic<std::uint64_t>, kLockers>;
  Numbers first;
  Numbers second;
  std::atomic<std::uint64_t> inside;  // A station's number + 1; 0: nobody.

  // What a dead owner left half done.
  void mend() noexcept {
    for (unsigned station = 0; station < kLockers; ++station) {
      second[station] = first[station].load();
    }
    inside = 0;
  }
  [[nodiscard]] bool is_whole() const noexcept {
    for (unsigned station = 0; station < kLockers; ++station) {
      if (first[station] != second[station]) {
        return false;
      }
    }
    return true;
  }
};

ChaosLockKind chaos_mutex() {
  return {.name = "mutex",
          .object = [](const std::string& name) { return Mutex::object(name); },
          .open = [](const Segment& segment,
                     const std::string& name) -> Result<std::unique_ptr<ChaosLock>> {
            return std::make_unique<LibraryMutex>(QUIRE_TRY(Mutex::open(segment, name)));
          }};
}

std::vector<ChaosGame::Role> LockGame::roles() const {
  std::vector<Role> roles;
  for (unsigned station = 0; station < kLockers; ++station) {
    roles.push_back({.name = fmt::format("locker {}", station)});
  }
  return roles;
}

void LockGame::add_objects(Layout& layout) const {
  layout.add(kind_.object(kind_.name));
  layout.add({.name = kind_.name + ".pairs",
              .kind = ObjectKind::kUser,
              .signature = kSignature,
              .size_bytes = sizeof(Pairs)});
}

Result<LockGame::Pairs*> LockGame::find_pairs(const Segment& segment) const {
  const ObjectRef object =
      QUIRE_TRY(segment.find(kind_.name + ".pairs", ObjectKind::kUser, kSignature));
  return reinterpret_cast<Pairs*>(object.bytes().data());
}

Result<void> LockGame::play(ChaosStation& station) const {
  const auto lock = QUIRE_TRY(kind_.open(station.segment(), kind_.name));
  Pairs& pairs = *QUIRE_TRY(find_pairs(station.segment()));
  while (!station.should_end()) {
    QUIRE_TRY(enter(station, *lock, pairs));
    QUIRE_TRY(change(station, pairs));
    station.begins(ChaosDoing::kUnlocking);
    QUIRE_TRY(lock->unlock());
    note(station.log().acknowledged, noted(station.log().begun));
    station.has_finished();
  }
  return {};
}

// Returns inside, where all is whole.
Result<void> LockGame::enter(ChaosStation& station, ChaosLock& lock, Pairs& pairs) const {
  station.begins(ChaosDoing::kLocking);
  const Ownership ownership = QUIRE_TRY(lock.lock(station.patience()));
  station.begins(ChaosDoing::kInside);
  const bool was_told = ownership == Ownership::kOwnerDied;
  const std::uint64_t other = pairs.inside;
  if (other != 0 && !was_told) {
    return fail(violation(
        kind_.name, fmt::format("locker {} came in and was not told of a death, but locker {} has "
                                "not gone out",
                                station.number(), other - 1)));
  }
  if (was_told) {
    pairs.mend();
    pairs.inside = station.number() + 1;
    note(station.log().told_of_death, noted(station.log().told_of_death) + 1);
    return lock.mark_consistent();
  }
  pairs.inside = station.number() + 1;
  return pairs.is_whole()
             ? Result<void>()
             : fail(violation(kind_.name, "a change was left half made, and nobody was told"));
}

Result<void> LockGame::change(ChaosStation& station, Pairs& pairs) const {
  ChaosLog& log = station.log();
  const unsigned me = station.number();
  const std::uint64_t done = pairs.first[me];
  if (done < noted(log.acknowledged) || done > noted(log.begun)) {
    return fail(violation(
        kind_.name, fmt::format("locker {} had unlocked after change {} and begun {}, but finds {}",
                                me, noted(log.acknowledged), noted(log.begun), done)));
  }
  const std::uint64_t number = noted(log.begun) + 1;
  note(log.begun, number);
  pairs.first[me] = number;
  station.dawdle();
  pairs.second[me] = number;
  if (pairs.inside != me + 1) {
    return fail(violation(kind_.name, fmt::format("somebody came in beside locker {}", me)));
  }
  pairs.inside = 0;
  return {};
}

Result<void> LockGame::audit(ChaosStation& station) const {
  const auto lock = QUIRE_TRY(kind_.open(station.segment(), kind_.name));
  Pairs& pairs = *QUIRE_TRY(find_pairs(station.segment()));
  QUIRE_TRY(enter(station, *lock, pairs));
  for (unsigned other = 0; other < kLockers; ++other) {
    const std::uint64_t done = pairs.first[other];
    const std::uint64_t acknowledged = noted(station.log_of(other).acknowledged);
    if (done < acknowledged || done > noted(station.log_of(other).begun)) {
      return fail(violation(
          kind_.name, fmt::format("locker {} had unlocked after change {}, but {} is there", other,
                                  acknowledged, done)));
    }
  }
  pairs.inside = 0;
  return lock->unlock();
}

std::string LockGame::explain(const Segment& segment) const {
  const auto mutex = Mutex::open(segment, kind_.name);
  if (!mutex) {
    return "";
  }
  const MemberId owner = mutex->owner();
  return owner.is_nobody()
             ? "the lock is free"
             : "the lock is held by " + describe_member(segment.participants(), owner);
}

}  // namespace quire::ipc::internal
