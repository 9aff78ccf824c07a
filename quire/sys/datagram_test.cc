// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/datagram.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <cerrno>
#include <string>

#include "quire/sys/process.h"
#include "quire/testing/process.h"

namespace quire::sys {
namespace {

bool is_readable(const Descriptor& socket) {
  pollfd look{.fd = socket.get(), .events = POLLIN, .revents = 0};
  return ::poll(&look, 1, 0) == 1;
}

std::string own_name() {
  return "quire-test/" + std::to_string(process_id());
}

TEST(DatagramTest, WhatIsSentToANameMakesItsSocketReadableUntilItIsTaken) {
  const Descriptor receiver = receive_datagrams_at(own_name()).value();
  const Descriptor sender = open_datagram_sender().value();
  EXPECT_FALSE(is_readable(receiver));
  ASSERT_TRUE(send_datagram(sender.get(), own_name()).has_value());
  ASSERT_TRUE(send_datagram(sender.get(), own_name()).has_value());
  EXPECT_TRUE(is_readable(receiver));
  take_datagrams(receiver.get());
  EXPECT_FALSE(is_readable(receiver));
  take_datagrams(receiver.get());  // Nothing there: nothing happens.
}

TEST(DatagramTest, ANameThatNobodyHasIsRefusedAndAFullOneDoesNotBlock) {
  const Descriptor sender = open_datagram_sender().value();
  EXPECT_EQ(send_datagram(sender.get(), own_name()).error().value, ECONNREFUSED);
  const Descriptor receiver = receive_datagrams_at(own_name()).value();
  Outcome<void> sent;
  for (int i = 0; i < 100'000 && sent.has_value(); ++i) {
    sent = send_datagram(sender.get(), own_name());
  }
  EXPECT_EQ(sent.error().value, EAGAIN);
}

TEST(DatagramTest, ANameIsTakenOnceAndFreeAgainWhenItsOwnerIsKilled) {
  testing::Signal bound;
  testing::Child owner([&] {
    const Outcome<Descriptor> receiver = receive_datagrams_at("quire-test/killed");
    bound.raise();
    testing::Signal().wait();
    return receiver.has_value() ? 0 : 1;
  });
  bound.wait();
  EXPECT_EQ(receive_datagrams_at("quire-test/killed").error().value, EADDRINUSE);
  owner.kill(SIGKILL);
  owner.join();
  EXPECT_TRUE(receive_datagrams_at("quire-test/killed").has_value());
}

TEST(DatagramTest, ATooLongNameIsRefusedAndTheLongestIsNot) {
  const Descriptor sender = open_datagram_sender().value();
  EXPECT_TRUE(receive_datagrams_at(std::string(107, 'q')).has_value());
  EXPECT_EQ(receive_datagrams_at(std::string(108, 'q')).error().value, ENAMETOOLONG);
  EXPECT_EQ(send_datagram(sender.get(), std::string(108, 'q')).error().value, ENAMETOOLONG);
}

}  // namespace
}  // namespace quire::sys
