// SPDX-License-Identifier: Apache-2.0
//
// receiver: takes files from senders (sender.h): what was asked for, and nothing else.
//
//   Receiver receiver = QUIRE_TRY(Receiver::open(endpoint, {.target = "inbox"}));
//   const ReceivedFile file = QUIRE_TRY(receiver.receive_file(events));
//
//   listening --connection--> offered --wanted--> receiving --whole, durable--> received
//       ^                        | not wanted         | broke off
//       +------- refused --------+---- NAME.quire-part stays, to be resumed -----+
//
// Refused, with a reason that the sender reads: another version or token; on a UNIX socket another
// user; a name with a directory in it; a name that is taken, unless `existing` says replace; more
// bytes than `bytes_max`, than the disk has or than its files can have; whatever breaks the
// protocol. A refused or broken connection is told to `on_refused` and listening goes on; an error
// of this side (a full disk, a missing permission) ends receive_file().
//
// Bytes go to NAME.quire-part, beside it the offer they belong to (NAME.quire-offer); both are
// locked against a second receiver. Every chunk's checksum is compared with what the page cache
// then holds of the part. When all of them agree, mode and time of modification are set, the part
// is made durable (fsync) and renamed, the directory is made durable, and only then the sender is
// told so. A name never stands for half a file.
//
// Safety:        set-user-ID, set-group-ID and sticky bits are never taken over; the umask applies.
//                Symbolic links at NAME or NAME.quire-part are not followed.
// Invariants:    memory and address space are those of a chunk, at most wire::kChunkBytesMax; one
//                connection is served at a time, so a peer can hold the others up for its idle
//                limit.
// Thread-safety: one thread at a time.
// Blocks:        yes; see ExchangeOptions::idle_limit and stop_fd.
// Errors:        those of listening (endpoint.h); ENOSPC, EACCES, EROFS ... of the target;
//                kCancelled; ETIMEDOUT when nobody connected for `wait_limit`.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "quire/base/result.h"
#include "quire/transfer/copy.h"
#include "quire/transfer/exchange.h"

namespace quire {

struct ReceiverOptions {
  ExchangeOptions exchange = {};
  // A directory, which files go into under the names they are offered with; or the name of the one
  // file, existing or not.
  std::string target = {};
  ExistingTarget existing = ExistingTarget::kRefuse;
  std::uint64_t bytes_max = kToEnd;  // Of all files together.
  // How long to wait for the next connection; nothing: for ever.
  std::optional<std::chrono::milliseconds> wait_limit = std::nullopt;
};

struct ReceivedFile {
  std::string path = {};
  std::string peer = {};  // "127.0.0.1:41234", "user 1000".
  ExchangeReport report = {};
};

// Who listens to the receiver. All may be empty.
struct ReceiveEvents {
  // A file that is wanted begins, or goes on, from report.resumed_from_bytes.
  std::function<void(const ReceivedFile&)> on_start = {};
  // Worth knowing, no error: a part that could not be used, a chunk that is sent again.
  std::function<void(const std::string&)> on_remark = {};
  // A connection that came to nothing, and why.
  std::function<void(const Error&)> on_refused = {};
};

class Receiver {
 public:
  // Listens. Errors: also kWrongKind, ENOENT, EEXIST for a target that cannot be one.
  [[nodiscard]] static Result<Receiver> open(const Endpoint& endpoint, ReceiverOptions options);

  // Where it listens, with the real port.
  [[nodiscard]] const Endpoint& endpoint() const noexcept { return listener_.endpoint(); }
  [[nodiscard]] bool is_public() const noexcept { return listener_.is_public(); }

  // Waits until one file is whole and durable.
  [[nodiscard]] Result<ReceivedFile> receive_file(const ReceiveEvents& events = {});
  // Tells those who have connected that no more files are expected; at most a second for each.
  void turn_away_the_rest();

 private:
  Receiver(Listener listener, ReceiverOptions options, sys::Descriptor directory, std::string path,
           std::string file_name);

  [[nodiscard]] Result<sys::Descriptor> next_connection();

  Listener listener_;
  ReceiverOptions options_;
  sys::Descriptor directory_;   // Where files go.
  std::string directory_path_;  // For messages.
  std::string file_name_;       // Of the one file; "": as offered.
  std::uint64_t received_bytes_ = 0;
};

}  // namespace quire
