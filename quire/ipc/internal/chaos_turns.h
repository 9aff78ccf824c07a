// SPDX-License-Identifier: Apache-2.0
//
// chaos_turns: the game that chaos plays with events: players pass a turn round, each wakes the
// next one by its event, and nothing else does.
//
//   player i:  reset my event; my turn? else wait for it ...   turn: n -> n + 1; set the next's
//
// A wake-up that is lost stops all of them, and that is noticed. A player may die between passing
// the turn and setting the event: its successor sets it once more before anything else.
//
// Thread-safety: as chaos_game.h says.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "quire/ipc/event.h"
#include "quire/ipc/internal/chaos_game.h"

namespace quire::ipc::internal {

struct ChaosEventKind {
  std::string name;
  std::function<void(Event& event, std::uint64_t turn)> set;
};

// That of the library.
[[nodiscard]] ChaosEventKind chaos_event();

class TurnsGame final : public ChaosGame {
 public:
  explicit TurnsGame(ChaosEventKind kind) : kind_(std::move(kind)) {}

  [[nodiscard]] const std::string& name() const noexcept override { return kind_.name; }
  [[nodiscard]] std::vector<Role> roles() const override;
  void add_objects(Layout& layout) const override;
  Result<void> play(ChaosStation& station) const override;
  Result<void> audit(ChaosStation& station) const override;
  [[nodiscard]] std::string explain(const Segment& segment) const override;

 private:
  using Turn = std::atomic<std::uint64_t>;  // Modulo the players: whose it is.

  [[nodiscard]] std::string event_name(unsigned player) const;
  [[nodiscard]] Result<Event> open_event(const ChaosStation& station, unsigned player) const;
  [[nodiscard]] Result<Turn*> find_turn(const Segment& segment) const;
  Result<void> pass_on(ChaosStation& station, Turn& turn, Event& next) const;

  ChaosEventKind kind_;
};

}  // namespace quire::ipc::internal
