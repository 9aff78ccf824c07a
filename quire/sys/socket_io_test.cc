// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/socket_io.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <vector>

#include "quire/sys/call.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/transfer_calls.h"

namespace quire::sys {
namespace {

struct Ends {
  Descriptor near;
  Descriptor far;
};

Ends unix_ends() {
  std::array<int, 2> ends{};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  return {Descriptor(ends[0]), Descriptor(ends[1])};
}

Ends tcp_ends() {
  const Descriptor listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* const raw = reinterpret_cast<sockaddr*>(&address);
  socklen_t length = sizeof address;
  EXPECT_EQ(::bind(listener.get(), raw, length), 0);
  EXPECT_EQ(::listen(listener.get(), 1), 0);
  EXPECT_EQ(::getsockname(listener.get(), raw, &length), 0);
  Ends ends{Descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), {}};
  EXPECT_EQ(::connect(ends.near.get(), raw, length), 0);
  ends.far = Descriptor(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  EXPECT_TRUE(ends.far.is_open());
  return ends;
}

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

TEST(SocketIoTest, FactsTellFamilyPeerAndWhetherItIsThisMachine) {
  const Ends tcp = tcp_ends();
  const SocketFacts facts = socket_facts(tcp.near.get()).value();
  EXPECT_EQ(facts.family, SocketFamily::kIp4);
  EXPECT_TRUE(facts.is_stream && facts.is_connected && facts.is_loopback);
  const Ends local = unix_ends();
  EXPECT_EQ(socket_facts(local.near.get()).value().family, SocketFamily::kUnix);
  EXPECT_TRUE(socket_facts(local.near.get()).value().is_loopback);
  const Descriptor alone(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const SocketFacts datagram = socket_facts(alone.get()).value();
  EXPECT_FALSE(datagram.is_stream || datagram.is_connected || datagram.is_loopback);
  EXPECT_EQ(socket_facts(STDIN_FILENO).error().value, ENOTSOCK);
}

TEST(SocketIoTest, SendsAndReceivesAndTellsTheEnd) {
  Ends ends = unix_ends();
  EXPECT_EQ(send_some(ends.near.get(), bytes_of("hello"), {}).value(), 5U);
  std::array<std::byte, 16> buffer{};
  EXPECT_EQ(receive_some(ends.far.get(), buffer).value(), 5U);
  ASSERT_TRUE(ends.near.close());
  EXPECT_EQ(receive_some(ends.far.get(), buffer).value(), 0U);
  EXPECT_EQ(send_some(ends.far.get(), bytes_of("x"), {}).error().value, EPIPE);
}

TEST(SocketIoTest, NeverBlocksWhenAskedNotTo) {
  const Ends ends = unix_ends();
  const std::string much(1 << 20, 'x');
  ASSERT_TRUE(send_some(ends.near.get(), bytes_of(much), {.never_block = true}));
  int rounds = 0;
  Outcome<std::size_t> sent = std::size_t{0};
  while (sent && rounds++ < 1'000) {
    sent = send_some(ends.near.get(), bytes_of(much), {.never_block = true});
  }
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().value, EAGAIN);
}

// Goal:   each zero-copy call is told about once, with whether it was copied.
// Method: over the loopback, where the kernel copies when the bytes arrive, and says so.
TEST(SocketIoTest, GivesANoticeForEachZeroCopyCall) {
  const Ends ends = tcp_ends();
  if (const auto enabled = enable_zero_copy(ends.near.get()); !enabled) {
    GTEST_SKIP() << "SO_ZEROCOPY: errno " << enabled.error().value;
  }
  EXPECT_FALSE(next_notice(ends.near.get()).value().has_value());
  const std::string text(20'000, 'z');
  std::vector<std::byte> buffer(text.size());
  std::uint32_t told = 0;
  for (std::uint32_t call = 0; call < 3; ++call) {
    ASSERT_EQ(send_some(ends.near.get(), bytes_of(text), {.zero_copy = true}).value(), text.size());
    ASSERT_EQ(::recv(ends.far.get(), buffer.data(), buffer.size(), MSG_WAITALL),
              static_cast<ssize_t>(buffer.size()));
  }
  while (told < 3) {
    ASSERT_NE(wait_for(ends.near.get(), WaitFor::kNotice, -1, 10'000).value(), WaitEnd::kTimedOut);
    const auto notice = next_notice(ends.near.get()).value();
    if (notice) {
      EXPECT_EQ(notice->first, told);
      EXPECT_GE(notice->last, notice->first);
      EXPECT_TRUE(notice->was_copied);
      told = notice->last + 1;
    }
  }
  EXPECT_FALSE(next_notice(ends.near.get()).value().has_value());
  EXPECT_FALSE(enable_zero_copy(unix_ends().near.get()).has_value()) << "UNIX sockets have none";
}

TEST(SocketIoTest, AReaderIsWokenAtTheLowWaterMarkOrAtTheEnd) {
  Ends ends = tcp_ends();
  EXPECT_EQ(receive_low_water(ends.far.get()).value(), 1);
  ASSERT_TRUE(set_receive_low_water(ends.far.get(), 100));
  EXPECT_EQ(receive_low_water(ends.far.get()).value(), 100);
  ASSERT_TRUE(send_some(ends.near.get(), bytes_of(std::string(99, 'x')), {}));
  EXPECT_EQ(wait_for(ends.far.get(), WaitFor::kReadable, -1, 20).value(), WaitEnd::kTimedOut);
  ASSERT_TRUE(send_some(ends.near.get(), bytes_of("x"), {}));
  EXPECT_EQ(wait_for(ends.far.get(), WaitFor::kReadable, -1, 10'000).value(), WaitEnd::kReady);
  std::vector<std::byte> buffer(200);
  EXPECT_EQ(receive_some(ends.far.get(), buffer).value(), 100U);
  ASSERT_TRUE(ends.near.close());
  EXPECT_EQ(wait_for(ends.far.get(), WaitFor::kReadable, -1, 10'000).value(), WaitEnd::kReady);
}

TEST(SocketIoTest, AFailureCanBeFetchedOnce) {
  Ends ends = tcp_ends();
  // Closing with bytes unread resets the connection.
  ASSERT_TRUE(send_some(ends.near.get(), bytes_of("unread"), {}));
  ASSERT_EQ(wait_for(ends.far.get(), WaitFor::kReadable, -1, 10'000).value(), WaitEnd::kReady);
  ASSERT_TRUE(ends.far.close());
  ASSERT_NE(wait_for(ends.near.get(), WaitFor::kNotice, -1, 10'000).value(), WaitEnd::kTimedOut);
  EXPECT_EQ(take_socket_error(ends.near.get()).value(), ECONNRESET);
  EXPECT_EQ(take_socket_error(ends.near.get()).value(), 0);
}

TEST(SocketIoTest, EveryCallCanBeMadeToFailAndToBeShort) {
  const Ends ends = unix_ends();
  {
    const FaultPlan plan({.call = Call::kSend, .transfer_bytes_max = 2});
    EXPECT_EQ(send_some(ends.near.get(), bytes_of("hello"), {}).value(), 2U);
  }
  const FaultPlan plan({.call = Call::kReceive, .error = ECONNRESET});
  std::array<std::byte, 16> buffer{};
  EXPECT_EQ(receive_some(ends.far.get(), buffer).error().value, ECONNRESET);
}

}  // namespace
}  // namespace quire::sys
