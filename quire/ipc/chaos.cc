// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/chaos.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "quire/ipc/internal/chaos_channel.h"
#include "quire/ipc/internal/chaos_lock.h"
#include "quire/ipc/internal/chaos_news.h"
#include "quire/ipc/internal/chaos_referee.h"
#include "quire/ipc/internal/chaos_turns.h"

namespace quire::ipc {
namespace {

internal::ChaosGames all_games() {
  internal::ChaosGames games;
  for (internal::ChaosChannel& channel : internal::chaos_channels()) {
    games.push_back(std::make_unique<internal::ChannelGame>(std::move(channel)));
  }
  for (internal::ChaosNewsKind& kind : internal::chaos_news()) {
    games.push_back(std::make_unique<internal::NewsGame>(std::move(kind)));
  }
  games.push_back(std::make_unique<internal::LockGame>(internal::chaos_mutex()));
  games.push_back(std::make_unique<internal::PermitGame>());
  games.push_back(std::make_unique<internal::TurnsGame>(internal::chaos_event()));
  return games;
}

Result<internal::ChaosGames> games_named(const std::vector<std::string>& names) {
  internal::ChaosGames games = all_games();
  const std::vector<std::string> known = chaos_structures();
  for (const std::string& name : names) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      return fail(make_error(Errc::kOutOfRange, "chaos", name, "there is no such structure",
                             fmt::format("choose from {}", fmt::join(known, ", "))));
    }
  }
  if (!names.empty()) {
    std::erase_if(games, [&](const auto& game) {
      return std::find(names.begin(), names.end(), game->name()) == names.end();
    });
  }
  return games;
}

}  // namespace

std::vector<std::string> chaos_structures() {
  std::vector<std::string> names;
  for (const auto& game : all_games()) {
    names.push_back(game->name());
  }
  return names;
}

Result<ChaosReport> run_chaos(const ChaosOptions& options) {
  internal::ChaosGames games = QUIRE_TRY(games_named(options.only));
  auto referee = QUIRE_TRY(internal::ChaosReferee::make(options, std::move(games)));
  return referee.run();
}

}  // namespace quire::ipc
