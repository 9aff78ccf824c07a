// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/internal/chaos_turns.h"

#include <fmt/format.h>

namespace quire::ipc::internal {
namespace {

constexpr unsigned kPlayers = 3;
constexpr const char* kSignature = "chaos v1";

}  // namespace

ChaosEventKind chaos_event() {
  return {.name = "event", .set = [](Event& event, std::uint64_t) { event.set(); }};
}

std::vector<ChaosGame::Role> TurnsGame::roles() const {
  std::vector<Role> roles;
  for (unsigned player = 0; player < kPlayers; ++player) {
    roles.push_back({.name = fmt::format("player {}", player)});
  }
  return roles;
}

std::string TurnsGame::event_name(unsigned player) const {
  return fmt::format("{}.{}", kind_.name, player % kPlayers);
}

void TurnsGame::add_objects(Layout& layout) const {
  for (unsigned player = 0; player < kPlayers; ++player) {
    layout.add(Event::object(event_name(player)));
  }
  layout.add({.name = kind_.name + ".turn",
              .kind = ObjectKind::kUser,
              .signature = kSignature,
              .size_bytes = sizeof(Turn)});
}

Result<Event> TurnsGame::open_event(const ChaosStation& station, unsigned player) const {
  return Event::open(station.segment(), event_name(player));
}

Result<TurnsGame::Turn*> TurnsGame::find_turn(const Segment& segment) const {
  const ObjectRef object =
      QUIRE_TRY(segment.find(kind_.name + ".turn", ObjectKind::kUser, kSignature));
  return reinterpret_cast<Turn*>(object.bytes().data());
}

Result<void> TurnsGame::play(ChaosStation& station) const {
  Event mine = QUIRE_TRY(open_event(station, station.number()));
  Event next = QUIRE_TRY(open_event(station, station.number() + 1));
  Turn& turn = *QUIRE_TRY(find_turn(station.segment()));
  // Whom we replace may have passed the turn on and died before this.
  kind_.set(next, turn);
  while (!station.should_end()) {
    station.begins(ChaosDoing::kAwaiting);
    mine.reset();
    if (turn % kPlayers == station.number()) {
      QUIRE_TRY(pass_on(station, turn, next));
    } else if (!mine.wait(station.patience())) {
      return fail(violation(kind_.name, "a wait without a limit came back with nothing"));
    }
  }
  kind_.set(next, turn);  // It shall end, too.
  return {};
}

Result<void> TurnsGame::pass_on(ChaosStation& station, Turn& turn, Event& next) const {
  ChaosLog& log = station.log();
  std::uint64_t number = turn;
  if (number < noted(log.acknowledged) || number % kPlayers != station.number()) {
    return fail(
        violation(kind_.name, fmt::format("player {} had passed on turn {}, and finds {}",
                                          station.number(), noted(log.acknowledged), number)));
  }
  station.begins(ChaosDoing::kInside);
  station.dawdle();
  if (!turn.compare_exchange_strong(number, number + 1)) {
    return fail(violation(
        kind_.name, fmt::format("it was player {}'s turn, and another played", station.number())));
  }
  kind_.set(next, number);
  note(log.acknowledged, number);
  station.has_finished();
  return {};
}

Result<void> TurnsGame::audit(ChaosStation& station) const {
  const std::uint64_t turn = *QUIRE_TRY(find_turn(station.segment()));
  for (unsigned player = 0; player < kPlayers; ++player) {
    const std::uint64_t acknowledged = noted(station.log_of(player).acknowledged);
    if (acknowledged > turn) {
      return fail(violation(kind_.name, fmt::format("player {} passed on turn {}, but {} is there",
                                                    player, acknowledged, turn)));
    }
    Event event = QUIRE_TRY(open_event(station, player));
    event.set();
    if (!event.is_set() || !event.wait(station.patience())) {
      return fail(violation(kind_.name, "it was set, and is not"));
    }
    event.reset();
    if (event.is_set()) {
      return fail(violation(kind_.name, "it was reset, and is set"));
    }
  }
  return {};
}

std::string TurnsGame::explain(const Segment& segment) const {
  const auto turn = find_turn(segment);
  return turn ? fmt::format("it is player {}'s turn", (*turn)->load() % kPlayers) : "";
}

}  // namespace quire::ipc::internal
