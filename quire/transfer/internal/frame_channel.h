// SPDX-License-Identifier: Apache-2.0
//
// frame_channel: messages over a connected socket, with an end to every wait.
//
// A wait ends when the frame is there, when nothing of use came for the idle limit, or when the
// stop descriptor becomes readable. The limit is for a whole frame, so a peer that sends a byte now
// and then does not hold us; a Busy frame starts it again, and has to count upwards.
//
// A Refuse of the other side comes out as the Error it stands for.
//
// Thread-safety: one thread at a time.
// Blocks:        send, receive, discard: at most the idle limit without a stop.
// Errors:        those of the parser; kTruncated when the connection ends inside a frame;
//                ECONNRESET when it ends between two; ETIMEDOUT; kCancelled; what Refuse says.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "quire/base/result.h"
#include "quire/sys/descriptor.h"
#include "quire/transfer/wire.h"

namespace quire::internal {

struct ChannelLimits {
  std::chrono::milliseconds idle{30'000};
  int stop_fd = -1;
};

enum class More : std::uint8_t { kNo, kYes };

class FrameChannel {
 public:
  // `peer` names the other side in errors.
  FrameChannel(sys::Descriptor socket, std::string peer, ChannelLimits limits)
      : socket_(std::move(socket)), peer_(std::move(peer)), limits_(limits) {}

  [[nodiscard]] int fd() const noexcept { return socket_.get(); }
  [[nodiscard]] const std::string& peer() const noexcept { return peer_; }

  // kYes: something follows at once, so the frame may wait for it.
  Result<void> send(const wire::Message& message, More more = More::kNo);
  // The next message that is not Busy.
  [[nodiscard]] Result<wire::Message> receive();
  // The same, if it is there already.
  [[nodiscard]] Result<std::optional<wire::Message>> poll();
  // Reads and forgets the bytes of a chunk that cannot be used.
  Result<void> discard(std::uint64_t length_bytes);

  // For who computes for long: tells the other side that we are at work, if it has not heard of us
  // for a while. Errors: also kCancelled when a stop was asked for.
  Result<void> keep_alive();

  // The connection broke while something was sent: what the other side said before it did, or
  // `otherwise` if it said nothing.
  [[nodiscard]] Error why_broken(Error otherwise);
  [[nodiscard]] bool was_refused() const noexcept { return was_refused_; }

  // Tells why we end it, and waits a moment until the other side has read that: a connection that
  // is closed with bytes unread takes what we said last with it. Best effort.
  void refuse(const wire::Refuse& refusal);

 private:
  using Clock = std::chrono::steady_clock;
  enum class Wait : std::uint8_t { kForMessage, kNever };

  [[nodiscard]] Result<std::optional<wire::Message>> receive_frame(Wait wait);
  Result<void> wait_readable(Clock::time_point deadline);
  [[nodiscard]] Clock::time_point deadline() const { return Clock::now() + limits_.idle; }
  [[nodiscard]] Error broken(std::error_code code, std::string cause, std::string remedy) const;
  [[nodiscard]] Error ended() const;
  Result<void> take_busy(const wire::Busy& busy);
  void drain();

  sys::Descriptor socket_;
  std::string peer_;
  ChannelLimits limits_;
  wire::FrameParser parser_;
  Clock::time_point last_sent_ = Clock::now();
  std::uint64_t busy_sent_ = 0;
  std::optional<std::uint64_t> busy_received_;
  bool was_refused_ = false;
};

}  // namespace quire::internal
