// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/internal/chaos_news.h"

#include <fmt/format.h>

#include <chrono>
#include <optional>

#include "quire/ipc/internal/chaos_sending.h"

namespace quire::ipc::internal {
namespace {

constexpr unsigned kWriter = 0;
constexpr unsigned kViewers = 3;
// How long an auditor waits for one more message: there is none.
constexpr std::chrono::milliseconds kAuditPatience{20};

// What one viewer has seen, and whether what comes next may follow it.
class Album {
 public:
  Album(const ChaosNewsKind& kind, const ChaosStation& station, bool from_oldest) noexcept
      : kind_(kind),
        station_(station),
        floor_(from_oldest ? 0 : noted(station.log_of(kWriter).acknowledged)) {}

  // What was acknowledged before the viewer looks for the latest message must not be missing.
  void before_look() noexcept {
    if (kind_.shows_latest) {
      floor_ = noted(station_.log_of(kWriter).acknowledged);
    }
  }
  Result<void> take(const ChaosSight& sight) {
    const auto message = ChaosMessage::read_from(sight.bytes);
    if (!message || message->writer != kWriter) {
      return fail(violation(kind_.name, "a message was seen torn"));
    }
    if (message->number > noted(station_.log_of(kWriter).begun)) {
      return refuse("message {} was seen, which nobody sent", message->number);
    }
    QUIRE_TRY(check_floor(*message));
    QUIRE_TRY(check_order(*message, sight));
    object_ = sight.number;
    last_ = message->number;
    return {};
  }
  [[nodiscard]] std::uint64_t last() const noexcept { return last_; }

 private:
  template <typename... Arguments>
  [[nodiscard]] tl::unexpected<Error> refuse(fmt::format_string<Arguments...> format,
                                             Arguments&&... arguments) const {
    return fail(violation(kind_.name, fmt::format(format, std::forward<Arguments>(arguments)...)));
  }
  // A viewer from the newest on sees later messages alone; one of the latest, none before it.
  [[nodiscard]] Result<void> check_floor(const ChaosMessage& message) const {
    const bool is_old =
        kind_.shows_latest ? message.number < floor_ : floor_ != 0 && message.number <= floor_;
    if (is_old) {
      return refuse("message {} was seen by one who looked after {} had been acknowledged",
                    message.number, floor_);
    }
    return {};
  }
  [[nodiscard]] Result<void> check_order(const ChaosMessage& message,
                                         const ChaosSight& sight) const {
    if (last_ == 0) {
      return {};
    }
    if (message.number <= last_) {
      return refuse("message {} was seen after {}", message.number, last_);
    }
    if (sight.number != *object_ + 1 + sight.missed) {
      return refuse("object {} was seen after {}, and {} were said to be missed", sight.number,
                    *object_, sight.missed);
    }
    if (sight.missed == 0 && message.acknowledged_before > last_) {
      return refuse("message {} was seen after {}, and nobody told that {} was missed",
                    message.number, last_, message.acknowledged_before);
    }
    return {};
  }

  const ChaosNewsKind& kind_;
  const ChaosStation& station_;
  std::uint64_t floor_;
  std::uint64_t last_ = 0;  // Message; 0: none.
  std::optional<std::uint64_t> object_;
};

}  // namespace

std::vector<ChaosGame::Role> NewsGame::roles() const {
  std::vector<Role> roles{{.name = "writer"}};
  for (unsigned viewer = 0; viewer < kViewers; ++viewer) {
    roles.push_back({.name = fmt::format("viewer {}", viewer), .goes_on = true});
  }
  return roles;
}

void NewsGame::add_objects(Layout& layout) const {
  layout.add(kind_.object(kind_.name));
}

Result<void> NewsGame::play(ChaosStation& station) const {
  return station.number() == kWriter ? play_sender(station, kind_.name, kind_.open_writer)
                                     : play_viewer(station);
}

Result<void> NewsGame::play_viewer(ChaosStation& station) const {
  const bool from_oldest = station.random().below(2) == 0;
  Album album(kind_, station, from_oldest);
  const auto viewer = QUIRE_TRY(kind_.open_viewer(station.segment(), kind_.name, from_oldest));
  for (;;) {
    station.begins(ChaosDoing::kReceiving);
    album.before_look();
    QUIRE_TRY(album.take(QUIRE_TRY(viewer->look(station.patience()))));
    station.has_finished();
    station.dawdle();
  }
}

Result<void> NewsGame::audit(ChaosStation& station) const {
  Album album(kind_, station, true);
  const auto viewer = QUIRE_TRY(kind_.open_viewer(station.segment(), kind_.name, true));
  for (;;) {
    album.before_look();
    const auto sight = viewer->look({.policy = WaitPolicy::kSleep, .timeout = kAuditPatience});
    if (sight) {
      QUIRE_TRY(album.take(*sight));
    } else if (sight.error().code() == std::errc::timed_out) {
      break;
    } else {
      return fail(sight.error());
    }
  }
  const std::uint64_t acknowledged = noted(station.log_of(kWriter).acknowledged);
  if (album.last() < acknowledged) {
    return fail(violation(kind_.name,
                          fmt::format("message {} was acknowledged, but the last one there is {}",
                                      acknowledged, album.last())));
  }
  return viewer->is_sound() ? Result<void>()
                            : fail(violation(kind_.name, "its words make no sense"));
}

}  // namespace quire::ipc::internal
