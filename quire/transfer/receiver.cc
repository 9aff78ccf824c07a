// SPDX-License-Identifier: Apache-2.0
#include "quire/transfer/receiver.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <utility>

#include "quire/sys/file.h"
#include "quire/sys/socket.h"
#include "quire/sys/transfer_calls.h"
#include "quire/transfer/internal/accounting.h"
#include "quire/transfer/internal/frame_channel.h"
#include "quire/transfer/internal/receive_session.h"

namespace quire {
namespace {

using internal::Blame;
using internal::FrameChannel;

struct Target {
  std::string directory = {};
  std::string file_name = {};  // "" when TARGET is a directory.
};

std::error_code from_errno(int value) {
  return {value, std::system_category()};
}

// The directory and name of a single file; where a link stands there, of what it points at.
Target split(const std::string& target) {
  std::error_code error;
  const std::filesystem::path real = std::filesystem::canonical(target, error);
  const std::filesystem::path path = error ? std::filesystem::path(target) : real;
  const std::string parent = path.parent_path().string();
  return {.directory = parent.empty() ? "." : parent, .file_name = path.filename().string()};
}

Result<Target> look_at_target(const ReceiverOptions& options) {
  const auto status = sys::path_status(options.target.c_str(), false);
  if (!status && status.error().value != ENOENT) {
    return fail(sys::to_error(status.error(), "receive", options.target));
  }
  if (status && status->kind == sys::FileKind::kDirectory) {
    return Target{.directory = options.target};
  }
  if (status && status->kind != sys::FileKind::kRegular) {
    return fail(make_error(Errc::kWrongKind, "receive", options.target,
                           fmt::format("it is {}", sys::describe(status->kind)),
                           "name a directory, or a file"));
  }
  if (status && options.existing == ExistingTarget::kRefuse) {
    return fail(Error({.code = from_errno(EEXIST),
                       .operation = "receive",
                       .subject = options.target,
                       .remedy = "use --overwrite, or another name"}));
  }
  Target target = split(options.target);
  if (const std::string flaw = wire::find_flaw_in_name(target.file_name); !flaw.empty()) {
    return fail(Error({.code = from_errno(EINVAL),
                       .operation = "receive",
                       .subject = options.target,
                       .cause = flaw,
                       .remedy = "name a directory that exists, or another file"}));
  }
  return target;
}

internal::ChannelLimits limits_of(const ReceiverOptions& options) {
  return {.idle = options.exchange.idle_limit, .stop_fd = options.exchange.stop_fd};
}

// The reason as the peer is told it: never a path of this machine.
wire::Refuse refusal_of(const internal::Failure& failure) {
  return {.code = failure.refusal, .text = failure.error.cause().substr(0, wire::kRefusalBytesMax)};
}

}  // namespace

Receiver::Receiver(Listener listener, ReceiverOptions options, sys::Descriptor directory,
                   std::string path, std::string file_name)
    : listener_(std::move(listener)),
      options_(std::move(options)),
      directory_(std::move(directory)),
      directory_path_(std::move(path)),
      file_name_(std::move(file_name)) {}

Result<Receiver> Receiver::open(const Endpoint& endpoint, ReceiverOptions options) {
  QUIRE_TRY(internal::check_options(options.exchange));
  Target target = QUIRE_TRY(look_at_target(options));
  auto directory = sys::open_file(target.directory.c_str(), {.directory = true});
  if (!directory) {
    return fail(sys::to_error(directory.error(), "receive", target.directory));
  }
  Listener listener = QUIRE_TRY(Listener::open(endpoint, options.exchange.allowed_user));
  return Receiver(std::move(listener), std::move(options), std::move(*directory),
                  std::move(target.directory), std::move(target.file_name));
}

Result<sys::Descriptor> Receiver::next_connection() {
  const int wait_ms = options_.wait_limit
                          ? static_cast<int>(std::clamp<std::int64_t>(options_.wait_limit->count(),
                                                                      0, kIdleLimitMax.count()))
                          : -1;
  for (;;) {
    auto connection = sys::accept_from(listener_.fd());
    if (connection) {
      return std::move(*connection);
    }
    if (connection.error().value != EAGAIN) {
      return fail(sys::to_error(connection.error(), "accept", to_text(endpoint())));
    }
    const auto waited =
        sys::wait_for(listener_.fd(), sys::WaitFor::kReadable, options_.exchange.stop_fd, wait_ms);
    if (!waited) {
      return fail(sys::to_error(waited.error(), "poll", to_text(endpoint())));
    }
    if (*waited == sys::WaitEnd::kStopped) {
      return fail(make_error(Errc::kCancelled, "receive", to_text(endpoint())));
    }
    if (*waited == sys::WaitEnd::kTimedOut) {
      return fail(Error({.code = from_errno(ETIMEDOUT),
                         .operation = "receive",
                         .subject = to_text(endpoint()),
                         .cause = "nobody came with a file",
                         .remedy = "start 'quire send', or allow more with --wait"}));
    }
  }
}

Result<ReceivedFile> Receiver::receive_file(const ReceiveEvents& events) {
  for (;;) {
    sys::Descriptor connection = QUIRE_TRY(next_connection());
    std::string peer = describe_peer(connection.get());
    const auto allowed = check_peer(connection.get(), options_.exchange.allowed_user);
    FrameChannel channel(std::move(connection), std::move(peer), limits_of(options_));
    internal::ReceiveSession session(channel, options_, events,
                                     {.directory = &directory_,
                                      .directory_path = directory_path_,
                                      .file_name = file_name_,
                                      .bytes_left = options_.bytes_max - received_bytes_});
    auto received = allowed ? session.run()
                            : tl::make_unexpected(internal::Failure{.error = allowed.error(),
                                                                    .refusal = wire::Refusal::kUser,
                                                                    .blame = Blame::kPeer});
    if (received) {
      received_bytes_ += received->report.size_bytes;
      return std::move(*received);
    }
    if (!channel.was_refused()) {
      channel.refuse(refusal_of(received.error()));
    }
    if (received.error().blame == Blame::kOurs) {
      return fail(received.error().error);
    }
    if (events.on_refused) {
      events.on_refused(received.error().error);
    }
  }
}

void Receiver::turn_away_the_rest() {
  for (;;) {
    auto connection = sys::accept_from(listener_.fd());
    if (!connection) {
      return;
    }
    FrameChannel channel(std::move(*connection), {}, limits_of(options_));
    channel.refuse({.code = wire::Refusal::kNotExpected, .text = "no more files are expected"});
  }
}

}  // namespace quire
