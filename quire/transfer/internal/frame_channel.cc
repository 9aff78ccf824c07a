// SPDX-License-Identifier: Apache-2.0
#include "quire/transfer/internal/frame_channel.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>
#include <vector>

#include "quire/sys/file.h"
#include "quire/sys/socket.h"
#include "quire/sys/socket_io.h"
#include "quire/sys/transfer_calls.h"

namespace quire::internal {
namespace {

constexpr std::size_t kDiscardBytes = std::size_t{64} << 10;
// How long and how far refuse() waits for the other side to read what it was told.
constexpr std::chrono::milliseconds kGoodbyeMax{1000};
constexpr std::uint64_t kGoodbyeBytesMax = 256_MiB;
// Often enough for the shortest idle limit that can be asked for, a second.
constexpr std::chrono::milliseconds kBusyInterval{300};

std::error_code from_errno(int value) {
  return {value, std::system_category()};
}

// The code that a refusal of the other side has here.
std::error_code code_of(wire::Refusal refusal) {
  switch (refusal) {
    case wire::Refusal::kOtherVersion: return Errc::kNewerVersion;
    case wire::Refusal::kNotExpected: return from_errno(ECONNREFUSED);
    case wire::Refusal::kToken:
    case wire::Refusal::kUser: return from_errno(EACCES);
    case wire::Refusal::kName: return from_errno(EINVAL);
    case wire::Refusal::kExists: return from_errno(EEXIST);
    case wire::Refusal::kTooLarge: return from_errno(EFBIG);
    case wire::Refusal::kNoSpace: return from_errno(ENOSPC);
    case wire::Refusal::kProtocol:
    case wire::Refusal::kDamaged: return Errc::kCorrupt;
    case wire::Refusal::kChanged: return Errc::kChanged;
    // Not kCancelled: that is when this side was asked to stop.
    case wire::Refusal::kStopped: return from_errno(ECONNABORTED);
    case wire::Refusal::kFailed: break;
  }
  return Errc::kFailed;
}

bool is_break(std::error_code code) {
  return code == from_errno(EPIPE) || code == from_errno(ECONNRESET);
}

}  // namespace

Error FrameChannel::broken(std::error_code code, std::string cause, std::string remedy) const {
  return Error({.code = code,
                .operation = "exchange",
                .subject = peer_,
                .cause = std::move(cause),
                .remedy = std::move(remedy)});
}

Error FrameChannel::ended() const {
  return parser_.is_between_frames()
             ? broken(from_errno(ECONNRESET), "the other side ended the connection", "")
             : broken(Errc::kTruncated, "the connection ended in the middle of a frame", "");
}

Result<void> FrameChannel::wait_readable(Clock::time_point deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
  const int left_ms = static_cast<int>(std::max<std::int64_t>(left.count(), 0));
  const auto waited = sys::wait_for(fd(), sys::WaitFor::kReadable, limits_.stop_fd, left_ms);
  if (!waited) {
    return fail(sys::to_error(waited.error(), "poll", peer_));
  }
  if (*waited == sys::WaitEnd::kStopped) {
    return fail(broken(Errc::kCancelled, "stopped on request", ""));
  }
  if (*waited == sys::WaitEnd::kTimedOut) {
    return fail(broken(from_errno(ETIMEDOUT),
                       fmt::format("nothing came for {:.1f} s",
                                   std::chrono::duration<double>(limits_.idle).count()),
                       "look at the other side, or allow more with --idle-limit"));
  }
  return {};
}

Result<void> FrameChannel::take_busy(const wire::Busy& busy) {
  if (busy_received_ && busy.progress <= *busy_received_) {
    return fail(broken(Errc::kCorrupt, "the other side is busy without getting on", ""));
  }
  busy_received_ = busy.progress;
  return {};
}

Result<std::optional<wire::Message>> FrameChannel::receive_frame(Wait wait) {
  Clock::time_point give_up = deadline();
  for (;;) {
    const auto got = sys::receive_some(fd(), parser_.wanted());
    if (!got && got.error().value == EAGAIN) {
      if (wait == Wait::kNever) {
        return std::optional<wire::Message>();
      }
      QUIRE_TRY(wait_readable(give_up));
      continue;
    }
    if (!got) {
      return fail(sys::to_error(got.error(), "exchange", peer_));
    }
    if (*got == 0) {
      return fail(ended());
    }
    auto message = parser_.advance(*got);
    if (!message) {
      return fail(message.error().about("exchange", peer_));
    }
    if (!*message) {
      continue;
    }
    if (const auto* busy = std::get_if<wire::Busy>(&**message)) {
      QUIRE_TRY(take_busy(*busy));
      give_up = deadline();
      continue;
    }
    if (const auto* refuse = std::get_if<wire::Refuse>(&**message)) {
      was_refused_ = true;
      return fail(broken(code_of(refuse->code), "the other side refused: " + refuse->text, ""));
    }
    return std::move(*message);
  }
}

Result<wire::Message> FrameChannel::receive() {
  std::optional<wire::Message> message = QUIRE_TRY(receive_frame(Wait::kForMessage));
  return *std::move(message);
}

Result<std::optional<wire::Message>> FrameChannel::poll() {
  return receive_frame(Wait::kNever);
}

Result<void> FrameChannel::send(const wire::Message& message, More more) {
  const std::vector<std::byte> frame = wire::encode(message);
  std::span<const std::byte> rest = frame;
  while (!rest.empty()) {
    const auto sent = sys::send_some(fd(), rest, {.more = more == More::kYes});
    if (sent) {
      rest = rest.subspan(*sent);
      continue;
    }
    if (sent.error().value != EAGAIN) {
      return fail(why_broken(sys::to_error(sent.error(), "exchange", peer_)));
    }
    const auto waited = sys::wait_for(fd(), sys::WaitFor::kWritable, limits_.stop_fd,
                                      static_cast<int>(limits_.idle.count()));
    if (!waited) {
      return fail(sys::to_error(waited.error(), "poll", peer_));
    }
    if (*waited == sys::WaitEnd::kStopped) {
      return fail(broken(Errc::kCancelled, "stopped on request", ""));
    }
    if (*waited == sys::WaitEnd::kTimedOut) {
      return fail(broken(from_errno(ETIMEDOUT), "the other side does not read", ""));
    }
  }
  last_sent_ = Clock::now();
  return {};
}

Result<void> FrameChannel::discard(std::uint64_t length_bytes) {
  std::vector<std::byte> scratch(std::min<std::uint64_t>(length_bytes, kDiscardBytes));
  while (length_bytes > 0) {
    const std::uint64_t piece = std::min<std::uint64_t>(length_bytes, scratch.size());
    const auto got = sys::receive_some(fd(), std::span(scratch).first(piece));
    if (got && *got == 0) {
      return fail(broken(Errc::kTruncated, "the connection ended in the middle of a chunk", ""));
    }
    if (!got && got.error().value != EAGAIN) {
      return fail(sys::to_error(got.error(), "exchange", peer_));
    }
    if (!got) {
      QUIRE_TRY(wait_readable(deadline()));
    }
    length_bytes -= got.value_or(0);
  }
  return {};
}

Result<void> FrameChannel::keep_alive() {
  if (Clock::now() - last_sent_ < kBusyInterval) {
    return {};
  }
  QUIRE_TRY(send(wire::Busy{.progress = ++busy_sent_}));
  if (limits_.stop_fd >= 0 &&
      sys::wait_readable(limits_.stop_fd, 0) == sys::PollResult::kReadable) {
    return fail(broken(Errc::kCancelled, "stopped on request", ""));
  }
  return {};
}

Error FrameChannel::why_broken(Error otherwise) {
  if (!is_break(otherwise.code())) {
    return otherwise;
  }
  for (;;) {
    const auto message = poll();
    if (!message) {
      return was_refused_ ? message.error() : otherwise;
    }
    if (!*message) {
      return otherwise;
    }
  }
}

void FrameChannel::refuse(const wire::Refuse& refusal) {
  // A stop that was asked for must not keep us from saying so.
  limits_ = {.idle = kGoodbyeMax, .stop_fd = -1};
  if (send(refusal)) {
    drain();
  }
}

void FrameChannel::drain() {
  if (!sys::shut_down_sending(fd())) {
    return;
  }
  const Clock::time_point give_up = deadline();
  std::vector<std::byte> scratch(kDiscardBytes);
  std::uint64_t drained_bytes = 0;
  while (drained_bytes < kGoodbyeBytesMax && Clock::now() < give_up) {
    const auto got = sys::receive_some(fd(), scratch);
    if (got && *got > 0) {
      drained_bytes += *got;
    } else if (got || got.error().value != EAGAIN || !wait_readable(give_up)) {
      return;
    }
  }
}

}  // namespace quire::internal
