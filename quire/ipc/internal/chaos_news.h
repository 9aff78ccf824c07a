// SPDX-License-Identifier: Apache-2.0
//
// chaos_news: Broadcast and Blackboard as chaos uses them, and the game that it plays with them:
// one writer, viewers who come and go, each of whom must see whole messages in order and be told
// exactly what it missed.
//
//   in order     numbers of messages rise; numbers of objects rise by 1 + missed
//   untold loss  an object was not missed: then no message that was acknowledged lies between
//   newest       whoever began with what is new sees nothing that was acknowledged before; whoever
//                wants the latest value sees nothing older than what was acknowledged before
//
// Thread-safety: as chaos_game.h says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "quire/ipc/internal/chaos_channel.h"
#include "quire/ipc/internal/chaos_game.h"

namespace quire::ipc::internal {

// What came with a message.
struct ChaosSight {
  std::span<const std::byte> bytes;  // A copy, until the next look.
  std::uint64_t number = 0;          // Of the object.
  std::uint64_t missed = 0;          // Objects between the one before and this one.
};

class ChaosViewer {
 public:
  virtual ~ChaosViewer() = default;
  // The next one. Blocks. Errors: ETIMEDOUT.
  virtual Result<ChaosSight> look(const WaitOptions& options) = 0;
  [[nodiscard]] virtual bool is_sound() = 0;
};

struct ChaosNewsKind {
  std::string name;
  bool shows_latest = false;  // A viewer sees the latest message, and not the next one.
  std::function<ObjectSpec(const std::string& name)> object;
  std::function<Result<std::unique_ptr<ChaosWriter>>(const Segment&, const std::string& name)>
      open_writer;
  // From the oldest one that is left, or from the newest.
  std::function<Result<std::unique_ptr<ChaosViewer>>(const Segment&, const std::string& name,
                                                     bool from_oldest)>
      open_viewer;
};

// Those of the library.
[[nodiscard]] std::vector<ChaosNewsKind> chaos_news();

class NewsGame final : public ChaosGame {
 public:
  explicit NewsGame(ChaosNewsKind kind) : kind_(std::move(kind)) {}

  [[nodiscard]] const std::string& name() const noexcept override { return kind_.name; }
  [[nodiscard]] std::vector<Role> roles() const override;
  void add_objects(Layout& layout) const override;
  Result<void> play(ChaosStation& station) const override;
  Result<void> audit(ChaosStation& station) const override;

 private:
  Result<void> play_viewer(ChaosStation& station) const;

  ChaosNewsKind kind_;
};

}  // namespace quire::ipc::internal
