// SPDX-License-Identifier: Apache-2.0
//
// chaos_sending: what all stations that write messages do, and all that take a place.
//
// Thread-safety: as chaos_station.h says.
#pragma once

#include <chrono>
#include <string>

#include "quire/ipc/internal/chaos_channel.h"

namespace quire::ipc::internal {

// Between two questions for a place that one who was just killed still seems to have.
inline constexpr std::chrono::milliseconds kChaosPlacePause{1};

// What open() returns, as soon as nobody else has the place.
template <typename Open>
auto take_place(const ChaosStation& station, Open open) -> decltype(open()) {
  station.begins(ChaosDoing::kTakingPlace);
  for (;;) {
    auto place = open();
    if (place || place.error().code() != std::errc::device_or_resource_busy) {
      return place;
    }
    station.rest(kChaosPlacePause);
  }
}

// Sends messages until the station should end.
template <typename OpenWriter>
Result<void> play_sender(ChaosStation& station, const std::string& name,
                         const OpenWriter& open_writer) {
  const auto writer =
      QUIRE_TRY(take_place(station, [&] { return open_writer(station.segment(), name); }));
  ChaosLog& log = station.log();
  while (!station.should_end()) {
    const ChaosMessage message{.writer = station.number(),
                               .number = noted(log.begun) + 1,
                               .acknowledged_before = noted(log.acknowledged)};
    note(log.begun, message.number);
    station.begins(ChaosDoing::kSending);
    QUIRE_TRY(writer->send(message, station.patience()));
    note(log.acknowledged, message.number);
    station.has_finished();
  }
  return {};
}

}  // namespace quire::ipc::internal
