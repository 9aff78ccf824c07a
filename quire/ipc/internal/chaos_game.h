// SPDX-License-Identifier: Apache-2.0
//
// ChaosGame: one structure under chaos: who uses it, how, and what must be true afterwards.
//
// Thread-safety: const, and used by one process each after a fork.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "quire/ipc/internal/chaos_station.h"
#include "quire/ipc/layout.h"

namespace quire::ipc::internal {

class ChaosGame {
 public:
  // Who takes part. Stations that go on end by being killed, once the others have ended: they
  // serve them.
  struct Role {
    std::string name;  // "writer 0"
    bool goes_on = false;
  };

  ChaosGame() = default;
  virtual ~ChaosGame() = default;
  ChaosGame(const ChaosGame&) = delete;
  ChaosGame& operator=(const ChaosGame&) = delete;

  [[nodiscard]] virtual const std::string& name() const noexcept = 0;
  [[nodiscard]] virtual std::vector<Role> roles() const = 0;
  virtual void add_objects(Layout& layout) const = 0;

  // What a station's process does until should_end(), or for ever. Errors: a broken promise.
  virtual Result<void> play(ChaosStation& station) const = 0;
  // Once all have ended, in a process of its own, which stands at the last station: whether the
  // books are right. Errors: a broken promise.
  virtual Result<void> audit(ChaosStation& station) const = 0;
  // Who keeps the others waiting at this moment, if the structure tells; "" where it does not.
  [[nodiscard]] virtual std::string explain(const Segment& /*segment*/) const { return {}; }
};

using ChaosGames = std::vector<std::unique_ptr<ChaosGame>>;

// "pid 71, dead", from what the segment knows.
[[nodiscard]] std::string describe_member(Participants& participants, MemberId member);

}  // namespace quire::ipc::internal
