// SPDX-License-Identifier: Apache-2.0
//
// exchange_harness: both sides of an exchange for tests: honest ones that run in a thread,
// dishonest ones that say what the test wants, and a wire between them that changes bytes.
//
//   send_file --> [Wire: changes one byte] --> ReceiverThread
//   Peer (any frames, any bytes) ------------> ReceiverThread
//   send_file --> FakeReceiver (any frames)
//
// Waits end after kPatience: longer than any honest step takes on a busy machine.
// Thread-safety: as each class says; the test's thread otherwise.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "quire/base/mutex.h"
#include "quire/testing/files.h"
#include "quire/testing/temp_dir.h"
#include "quire/transfer/endpoint.h"
#include "quire/transfer/internal/frame_channel.h"
#include "quire/transfer/receiver.h"
#include "quire/transfer/sender.h"

namespace quire::internal {

using testing::Names;
using testing::names_in;
using testing::pattern;
using testing::read_file;
using testing::status_of;
using testing::TempDir;

inline constexpr std::chrono::milliseconds kPatience{60'000};
// Small, so that a test file has many.
inline constexpr std::uint32_t kTestChunkBytes = wire::kChunkBytesMin;
inline constexpr std::uint64_t kChunk = kTestChunkBytes;  // For offsets.

// A descriptor that becomes readable, as the one for Ctrl-C does. raise(): any thread.
class StopPipe {
 public:
  StopPipe();
  [[nodiscard]] int fd() const noexcept { return read_end_.get(); }
  void raise() const;

 private:
  sys::Descriptor read_end_;
  sys::Descriptor write_end_;
};

// A Receiver at work on one file. Stopped and joined by the destructor.
class ReceiverThread {
 public:
  // With stop_fd and on_progress of its own, and an idle limit of kPatience unless one is given.
  explicit ReceiverThread(ReceiverOptions options, const std::string& address = "tcp:0");
  ~ReceiverThread();
  ReceiverThread(const ReceiverThread&) = delete;
  ReceiverThread& operator=(const ReceiverThread&) = delete;

  [[nodiscard]] const Endpoint& endpoint() const { return receiver_->endpoint(); }
  // Waits for the end of receive_file().
  Result<ReceivedFile> join();
  // The same, after asking it to stop.
  Result<ReceivedFile> stop();
  // Waits until so many connections came to nothing; their errors.
  std::vector<Error> wait_for_refusals(std::size_t count);
  [[nodiscard]] std::vector<std::string> remarks();

 private:
  StopPipe stop_;
  std::optional<Receiver> receiver_;
  Mutex mutex_;
  CondVar changed_;
  std::vector<Error> refusals_ QUIRE_GUARDED_BY(mutex_);
  std::vector<std::string> remarks_ QUIRE_GUARDED_BY(mutex_);
  std::optional<Result<ReceivedFile>> end_;
  std::thread thread_;
};

// A connection to a receiver that says whatever the test wants.
class Peer {
 public:
  explicit Peer(const Endpoint& endpoint);

  [[nodiscard]] FrameChannel& channel() { return channel_; }
  // Expects that it can be sent.
  void send(const wire::Message& message);
  void send_raw(std::span<const std::byte> bytes);
  void send_raw(const std::string& bytes) { send_raw(std::as_bytes(std::span(bytes))); }
  // An offer and a start, as an honest sender makes them.
  wire::Accept begin(const wire::Offer& offer);
  // A chunk with these bytes, and its end with this checksum.
  void send_chunk(std::uint64_t offset_bytes, const std::string& bytes, std::uint64_t checksum);
  // What the receiver says next; the error is what it refused with, or how the connection ended.
  Result<wire::Message> hear() { return channel_.receive(); }

 private:
  FrameChannel channel_;
};

// Listens, takes one connection, and runs `talk` with it in a thread.
class FakeReceiver {
 public:
  explicit FakeReceiver(std::function<void(FrameChannel&)> talk);
  ~FakeReceiver() { thread_.join(); }
  FakeReceiver(const FakeReceiver&) = delete;
  FakeReceiver& operator=(const FakeReceiver&) = delete;

  [[nodiscard]] const Endpoint& endpoint() const { return listener_.endpoint(); }

 private:
  Listener listener_;
  std::thread thread_;
};

// Passes one connection on, and changes the byte at `bad_offset_bytes` of what the sender says.
class Wire {
 public:
  Wire(const Endpoint& to, std::uint64_t bad_offset_bytes);
  ~Wire() { thread_.join(); }
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;

  [[nodiscard]] const Endpoint& endpoint() const { return listener_.endpoint(); }

 private:
  Listener listener_;
  std::thread thread_;
};

// An offer of `content` under `name`, in chunks of kTestChunkBytes.
[[nodiscard]] wire::Offer offer_of(const std::string& name, std::uint64_t size_bytes);
// XXH3 of the first `length_bytes` of `content`.
[[nodiscard]] std::uint64_t checksum_of(const std::string& content, std::uint64_t length_bytes);
// send_file with small chunks and kPatience.
[[nodiscard]] SendOptions send_options();

}  // namespace quire::internal
