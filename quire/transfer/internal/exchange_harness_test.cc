// SPDX-License-Identifier: Apache-2.0
#include "quire/transfer/internal/exchange_harness_test.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <utility>

#include "quire/base/check.h"
#include "quire/sys/file.h"
#include "quire/sys/socket.h"
#include "quire/sys/transfer_calls.h"
#include "quire/transfer/internal/running_checksum.h"

namespace quire::internal {
namespace {

Endpoint any_port() {
  return parse_endpoint("tcp:0").value();
}

sys::Descriptor accept_one(const Listener& listener) {
  const auto ready = sys::wait_for(listener.fd(), sys::WaitFor::kReadable, -1,
                                   static_cast<int>(kPatience.count()));
  QUIRE_CHECK(ready && *ready == sys::WaitEnd::kReady);
  auto connection = sys::accept_from(listener.fd());
  QUIRE_CHECK(connection.has_value());
  return std::move(*connection);
}

sys::Descriptor connect(const Endpoint& endpoint) {
  return connect_to(endpoint, std::nullopt, {.wait = kPatience}).value();
}

// What is there to be read goes to the other side; false at the end.
bool pass_on(int from, int to, std::uint64_t& passed_bytes, std::uint64_t bad_offset_bytes) {
  std::array<std::byte, 16'384> buffer{};
  const ssize_t got = ::read(from, buffer.data(), buffer.size());
  if (got <= 0) {
    return got < 0 && errno == EAGAIN;
  }
  const auto count = static_cast<std::size_t>(got);
  if (bad_offset_bytes >= passed_bytes && bad_offset_bytes < passed_bytes + count) {
    buffer.at(bad_offset_bytes - passed_bytes) ^= std::byte{0x40};
  }
  passed_bytes += count;
  return sys::write_all(to, std::span(buffer).first(count)).has_value();
}

// Until one of the two ends.
void run_wire(int sender, int receiver, std::uint64_t bad_offset_bytes) {
  std::uint64_t forward_bytes = 0;
  std::uint64_t backward_bytes = 0;
  for (;;) {
    std::array<pollfd, 2> ends{pollfd{.fd = sender, .events = POLLIN, .revents = 0},
                               pollfd{.fd = receiver, .events = POLLIN, .revents = 0}};
    if (::poll(ends.data(), ends.size(), static_cast<int>(kPatience.count())) <= 0) {
      return;
    }
    if ((ends[0].revents != 0 && !pass_on(sender, receiver, forward_bytes, bad_offset_bytes)) ||
        (ends[1].revents != 0 && !pass_on(receiver, sender, backward_bytes, kToEnd))) {
      return;
    }
  }
}

}  // namespace

StopPipe::StopPipe() {
  sys::Pipe pipe = sys::create_pipe(4096, true).value();
  read_end_ = std::move(pipe.read_end);
  write_end_ = std::move(pipe.write_end);
}

void StopPipe::raise() const {
  const char byte = 's';
  QUIRE_CHECK(::write(write_end_.get(), &byte, 1) == 1);
}

ReceiverThread::ReceiverThread(ReceiverOptions options, const std::string& address) {
  options.exchange.stop_fd = stop_.fd();
  if (options.exchange.idle_limit == kIdleLimitDefault) {
    options.exchange.idle_limit = kPatience;
  }
  receiver_.emplace(Receiver::open(parse_endpoint(address).value(), std::move(options)).value());
  thread_ = std::thread([this] {
    end_ = receiver_->receive_file({.on_start = {},
                                    .on_remark =
                                        [this](const std::string& text) {
                                          const MutexLock lock(mutex_);
                                          remarks_.push_back(text);
                                        },
                                    .on_refused =
                                        [this](const Error& error) {
                                          const MutexLock lock(mutex_);
                                          refusals_.push_back(error);
                                          changed_.notify_all();
                                        }});
  });
}

ReceiverThread::~ReceiverThread() {
  if (thread_.joinable()) {
    static_cast<void>(stop());
  }
}

Result<ReceivedFile> ReceiverThread::join() {
  thread_.join();
  return *end_;
}

Result<ReceivedFile> ReceiverThread::stop() {
  stop_.raise();
  return join();
}

std::vector<Error> ReceiverThread::wait_for_refusals(std::size_t count) {
  const MutexLock lock(mutex_);
  while (refusals_.size() < count) {
    changed_.wait(mutex_);
  }
  return refusals_;
}

std::vector<std::string> ReceiverThread::remarks() {
  const MutexLock lock(mutex_);
  return remarks_;
}

Peer::Peer(const Endpoint& endpoint)
    : channel_(connect(endpoint), to_text(endpoint), {.idle = kPatience}) {}

void Peer::send(const wire::Message& message) {
  const auto sent = channel_.send(message);
  EXPECT_TRUE(sent.has_value()) << sent.error().message();
}

void Peer::send_raw(std::span<const std::byte> bytes) {
  EXPECT_TRUE(sys::write_all(channel_.fd(), bytes).has_value());
}

wire::Accept Peer::begin(const wire::Offer& offer) {
  send(offer);
  const auto accept = std::get<wire::Accept>(hear().value());
  send(wire::Start{.from_bytes = accept.from_bytes});
  return accept;
}

void Peer::send_chunk(std::uint64_t offset_bytes, const std::string& bytes,
                      std::uint64_t checksum) {
  send(wire::Chunk{.offset_bytes = offset_bytes,
                   .length_bytes = static_cast<std::uint32_t>(bytes.size())});
  send_raw(bytes);
  send(wire::ChunkEnd{.end_bytes = offset_bytes + bytes.size(), .checksum = checksum});
}

FakeReceiver::FakeReceiver(std::function<void(FrameChannel&)> talk)
    : listener_(Listener::open(any_port(), std::nullopt).value()),
      thread_([this, talk = std::move(talk)] {
        FrameChannel channel(accept_one(listener_), "the sender", {.idle = kPatience});
        talk(channel);
      }) {}

Wire::Wire(const Endpoint& to, std::uint64_t bad_offset_bytes)
    : listener_(Listener::open(any_port(), std::nullopt).value()),
      thread_([this, to, bad_offset_bytes] {
        const sys::Descriptor sender = accept_one(listener_);
        const sys::Descriptor receiver = connect(to);
        run_wire(sender.get(), receiver.get(), bad_offset_bytes);
      }) {}

wire::Offer offer_of(const std::string& name, std::uint64_t size_bytes) {
  return {.size_bytes = size_bytes,
          .data_bytes = size_bytes,
          .modified_s = 1'700'000'000,
          .modified_ns = 5,
          .mode = 0644,
          .chunk_bytes = kTestChunkBytes,
          .has_checksums = true,
          .name = name};
}

std::uint64_t checksum_of(const std::string& content, std::uint64_t length_bytes) {
  RunningChecksum checksum;
  checksum.add(std::as_bytes(std::span(content)).first(length_bytes));
  return checksum.value();
}

SendOptions send_options() {
  return {.exchange = {.idle_limit = kPatience}, .chunk_bytes = kTestChunkBytes};
}

}  // namespace quire::internal
