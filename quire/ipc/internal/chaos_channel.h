// SPDX-License-Identifier: Apache-2.0
//
// chaos_channel: rings of all kinds as chaos uses them, and the game that it plays with them.
//
// A message says who wrote it, its number, and the number of the last message of that writer which
// was acknowledged before. So its receiver needs no book but its own: a gap that begins after that
// number is of messages whose writer was killed before send() returned; any other one is a loss.
// All bytes behind the head follow from writer and number.
//
//   message   0  4  writer     4  4  length      8  8  number     16  8  acknowledged before
//            24  8  check of the four            32  ..  pattern
//
// Thread-safety: one thread at a time.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "quire/ipc/internal/chaos_game.h"

namespace quire::ipc::internal {

struct ChaosMessage {
  static constexpr std::size_t kHeadBytes = 32;

  std::uint32_t writer = 0;
  std::uint64_t number = 0;
  std::uint64_t acknowledged_before = 0;

  // Fills all of `bytes`. REQUIRES: at least kHeadBytes.
  void write_to(std::span<std::byte> bytes) const noexcept;
  // Nothing when a single byte is not what it should be.
  [[nodiscard]] static std::optional<ChaosMessage> read_from(
      std::span<const std::byte> bytes) noexcept;
};

class ChaosWriter {
 public:
  virtual ~ChaosWriter() = default;
  // Writes it in place, and publishes it. Blocks.
  virtual Result<void> send(const ChaosMessage& message, const WaitOptions& options) = 0;
};

class ChaosReader {
 public:
  virtual ~ChaosReader() = default;
  // The next message, in place. Blocks. Errors: ETIMEDOUT.
  virtual Result<std::span<const std::byte>> receive(const WaitOptions& options) = 0;
  virtual void release() = 0;
  // Whether nobody has begun to send something that was not published.
  [[nodiscard]] virtual bool is_idle() = 0;
  // Whether all words are sound. REQUIRES: nobody else uses it.
  [[nodiscard]] virtual bool is_sound() = 0;
};

struct ChaosChannel {
  std::string name;
  unsigned writers = 1;
  std::function<ObjectSpec(const std::string& name)> object;
  std::function<Result<std::unique_ptr<ChaosWriter>>(const Segment&, const std::string& name)>
      open_writer;
  std::function<Result<std::unique_ptr<ChaosReader>>(const Segment&, const std::string& name)>
      open_reader;
};

// Those of the library.
[[nodiscard]] std::vector<ChaosChannel> chaos_channels();

class ChannelGame final : public ChaosGame {
 public:
  explicit ChannelGame(ChaosChannel channel);

  [[nodiscard]] const std::string& name() const noexcept override { return channel_.name; }
  [[nodiscard]] std::vector<Role> roles() const override;
  void add_objects(Layout& layout) const override;
  Result<void> play(ChaosStation& station) const override;
  Result<void> audit(ChaosStation& station) const override;

 private:
  Result<void> play_reader(ChaosStation& station) const;
  Result<void> drain(ChaosStation& station, ChaosReader& reader) const;
  Result<void> compare_books(ChaosStation& station) const;

  ChaosChannel channel_;
};

}  // namespace quire::ipc::internal
