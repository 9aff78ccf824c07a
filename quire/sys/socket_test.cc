// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <functional>

#include "quire/sys/call.h"
#include "quire/sys/transfer_calls.h"
#include "quire/testing/nth_fault.h"
#include "quire/testing/temp_dir.h"

namespace quire::sys {
namespace {

using testing::TempDir;

SocketAddress loopback(std::uint16_t port) {
  return resolve_tcp("127.0.0.1", port).value().at(0);
}

// Connected ends of a listener.
struct Ends {
  Descriptor connected;
  Descriptor accepted;
};

Ends connect_through(const Descriptor& listener) {
  Ends ends;
  ends.connected = start_connect(local_address(listener.get()).value()).value();
  EXPECT_EQ(wait_for(listener.get(), WaitFor::kReadable, -1, 10'000).value(), WaitEnd::kReady);
  ends.accepted = accept_from(listener.get()).value();
  EXPECT_EQ(wait_for(ends.connected.get(), WaitFor::kWritable, -1, 10'000).value(),
            WaitEnd::kReady);
  EXPECT_TRUE(finish_connect(ends.connected.get()).has_value());
  return ends;
}

bool has_flags(int fd) {
  return (::fcntl(fd, F_GETFL) & O_NONBLOCK) != 0 && (::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0;
}

TEST(SocketTest, BytesGoFromAConnectionToTheListenersEnd) {
  const TempDir dir;
  for (const SocketAddress& address :
       {loopback(0), SocketAddress::of_path(dir.file("socket")).value()}) {
    const Descriptor listener = listen_on(address, {}).value();
    const Ends ends = connect_through(listener);
    for (const int fd : {listener.get(), ends.connected.get(), ends.accepted.get()}) {
      EXPECT_TRUE(has_flags(fd)) << "non-blocking and close-on-exec";
    }
    const std::byte sent{42};
    EXPECT_EQ(send_some(ends.connected.get(), {&sent, 1}, {}).value(), 1U);
    EXPECT_TRUE(shut_down_sending(ends.connected.get()).has_value());
    std::array<std::byte, 2> got{};
    EXPECT_EQ(wait_for(ends.accepted.get(), WaitFor::kReadable, -1, 10'000).value(),
              WaitEnd::kReady);
    EXPECT_EQ(receive_some(ends.accepted.get(), got).value(), 1U);
    EXPECT_EQ(got[0], sent);
    EXPECT_EQ(receive_some(ends.accepted.get(), got).value(), 0U) << "the end";
  }
}

TEST(SocketTest, AnAddressTellsWhereItIs) {
  EXPECT_EQ(loopback(9000).host(), "127.0.0.1");
  EXPECT_EQ(loopback(9000).port(), 9000);
  EXPECT_EQ(loopback(9000).family(), SocketFamily::kIp4);
  const SocketAddress path = SocketAddress::of_path("/run/a.sock").value();
  EXPECT_EQ(path.host(), "/run/a.sock");
  EXPECT_EQ(path.port(), 0);
  EXPECT_EQ(path.family(), SocketFamily::kUnix);
  const SocketAddress six = resolve_tcp("::1", 7).value().at(0);
  EXPECT_EQ(six.host(), "::1");
  EXPECT_EQ(six.port(), 7);
}

// Goal:   what other machines can reach is never taken for local.
TEST(SocketTest, OnlyLoopbackAddressesAndPathsAreLocal) {
  struct Row {
    const char* host;
    bool is_local;
  };
  for (const Row& row : {Row{"127.0.0.1", true}, Row{"127.9.8.7", true}, Row{"::1", true},
                         Row{"::ffff:127.0.0.1", true}, Row{"0.0.0.0", false}, Row{"::", false},
                         Row{"10.0.0.1", false}, Row{"128.0.0.1", false}, Row{"fe80::1", false},
                         Row{"::ffff:10.0.0.1", false}}) {
    EXPECT_EQ(resolve_tcp(row.host, 1).value().at(0).is_local(), row.is_local) << row.host;
  }
  EXPECT_TRUE(SocketAddress::of_path("/run/a").value().is_local());
}

TEST(SocketTest, PathsThatNoSocketCanHaveAreRefused) {
  EXPECT_EQ(SocketAddress::of_path("").error().value, EINVAL);
  EXPECT_EQ(SocketAddress::of_path(std::string("\0a", 2)).error().value, EINVAL);
  EXPECT_TRUE(SocketAddress::of_path(std::string(107, 'a')).has_value());
  EXPECT_EQ(SocketAddress::of_path(std::string(108, 'a')).error().value, ENAMETOOLONG);
}

TEST(SocketTest, ANameThatNobodyKnowsIsAnErrorThatNamesIt) {
  const auto found = resolve_tcp("no-such-host.invalid", 1);
  ASSERT_FALSE(found.has_value());
  EXPECT_EQ(found.error().subject(), "no-such-host.invalid");
  EXPECT_FALSE(found.error().cause().empty());
}

TEST(SocketTest, AnAddressThatIsInUseIsRefused) {
  const TempDir dir;
  const SocketAddress path = SocketAddress::of_path(dir.write("file", "not a socket")).value();
  EXPECT_EQ(listen_on(path, {}).error().value, EADDRINUSE);
  const Descriptor first = listen_on(loopback(0), {}).value();
  EXPECT_EQ(listen_on(local_address(first.get()).value(), {}).error().value, EADDRINUSE);
}

TEST(SocketTest, NobodyListeningIsRefused) {
  std::uint16_t port = 0;
  {
    const Descriptor gone = listen_on(loopback(0), {}).value();
    port = local_address(gone.get()).value().port();
  }
  const auto connection = start_connect(loopback(port));
  if (connection) {
    EXPECT_NE(wait_for(connection->get(), WaitFor::kWritable, -1, 10'000).value(),
              WaitEnd::kTimedOut);
    EXPECT_EQ(finish_connect(connection->get()).error().value, ECONNREFUSED);
  } else {
    EXPECT_EQ(connection.error().value, ECONNREFUSED);
  }
  const TempDir dir;
  const SocketAddress missing = SocketAddress::of_path(dir.file("missing")).value();
  EXPECT_EQ(start_connect(missing).error().value, ENOENT);
}

TEST(SocketTest, AcceptingWithNobodyThereSaysSoAtOnce) {
  const Descriptor listener = listen_on(loopback(0), {}).value();
  EXPECT_EQ(accept_from(listener.get()).error().value, EAGAIN);
}

TEST(SocketTest, ANodeHasItsModeWhateverTheUmask) {
  const TempDir dir;
  const mode_t mask = ::umask(0);
  for (const auto& [umask_bits, mode] : {std::pair{0U, 0600U}, std::pair{0022U, 0666U}}) {
    ::umask(umask_bits);
    const std::string path = dir.file(std::to_string(mode));
    const Descriptor listener =
        listen_on(SocketAddress::of_path(path).value(), {.path_mode = mode}).value();
    struct stat status{};
    ASSERT_EQ(::stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, mode);
  }
  ::umask(mask);
}

TEST(SocketTest, TheKernelTellsWhoIsAtTheOtherEnd) {
  const TempDir dir;
  const Descriptor listener =
      listen_on(SocketAddress::of_path(dir.file("socket")).value(), {}).value();
  const Ends ends = connect_through(listener);
  EXPECT_EQ(peer_user(ends.accepted.get()).value(), ::geteuid());
  EXPECT_EQ(peer_user(ends.connected.get()).value(), effective_user());
  EXPECT_EQ(peer_address(ends.connected.get()).value().host(), dir.file("socket"));
}

// Goal:   each call of listening and of connecting fails as what it is, and leaks no descriptor.
TEST(SocketTest, EveryCallMayFail) {
  const SocketAddress any = loopback(0);
  const Descriptor listener = listen_on(any, {}).value();
  const SocketAddress there = local_address(listener.get()).value();
  const TempDir dir;
  const std::string path = dir.file("socket");
  const std::vector<std::function<bool()>> uses{
      [&] { return listen_on(SocketAddress::of_path(path).value(), {}).has_value(); },
      [&] { return listen_on(any, {}).has_value(); },
      [&] { return start_connect(there).has_value(); },
      [&] { return resolve_tcp("127.0.0.1", 1).has_value(); },
      [&] { return local_address(listener.get()).has_value(); },
  };
  const int before = testing::count_open_descriptors();
  for (std::size_t use = 0; use < uses.size(); ++use) {
    const std::string what = "socket call of use " + std::to_string(use);
    const std::uint64_t calls = testing::fail_each_nth(what, [&](testing::NthFault& fault) {
      const FaultPlan plan({.call = Call::kSocket, .nth = fault.nth, .error = ENOBUFS});
      const bool is_done = uses[use]();
      fault.was_hit = plan.hits() > 0;
      EXPECT_EQ(is_done, !fault.was_hit);
    });
    EXPECT_GT(calls, 0U) << what;
  }
  EXPECT_EQ(testing::count_open_descriptors(), before);
  EXPECT_TRUE(std::filesystem::is_socket(path)) << "of the try that met no fault";
}

}  // namespace
}  // namespace quire::sys
