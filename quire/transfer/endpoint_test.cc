// SPDX-License-Identifier: Apache-2.0
#include "quire/transfer/endpoint.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "quire/sys/socket.h"
#include "quire/sys/transfer_calls.h"
#include "quire/testing/page_cache.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using testing::TempDir;

std::error_code errno_code(int value) {
  return {value, std::system_category()};
}

Endpoint unix_endpoint(const std::string& path) {
  return parse_endpoint("unix:" + path).value();
}

TEST(EndpointTest, TextIsParsedAndWrittenTheSame) {
  struct Row {
    const char* text;
    Endpoint endpoint;
    const char* written;
  };
  for (const Row& row :
       {Row{"tcp:127.0.0.1:9000", {.host = "127.0.0.1", .port = 9000}, "tcp:127.0.0.1:9000"},
        Row{"tcp:9000", {.host = "127.0.0.1", .port = 9000}, "tcp:127.0.0.1:9000"},
        Row{"tcp:0", {.host = "127.0.0.1", .port = 0}, "tcp:127.0.0.1:0"},
        Row{"tcp:[::1]:65535", {.host = "::1", .port = 65535}, "tcp:[::1]:65535"},
        Row{"tcp:build-host:1", {.host = "build-host", .port = 1}, "tcp:build-host:1"},
        Row{"unix:/run/a:b", {.path = "/run/a:b"}, "unix:/run/a:b"},
        Row{"unix:a", {.path = "a"}, "unix:a"}}) {
    const auto parsed = parse_endpoint(row.text);
    ASSERT_TRUE(parsed.has_value()) << row.text;
    EXPECT_EQ(*parsed, row.endpoint) << row.text;
    EXPECT_EQ(to_text(*parsed), row.written);
  }
}

TEST(EndpointTest, WhatIsNoEndpointIsRefusedWithTheForms) {
  for (const std::string& text :
       {std::string(), std::string("9000"), std::string("tcp:"), std::string("tcp:host"),
        std::string("tcp:host:"), std::string("tcp::1"), std::string("tcp:host:65536"),
        std::string("tcp:host:-1"), std::string("tcp:host:1x"), std::string("tcp:host: 1"),
        std::string("tcp:::1:9000"), std::string("tcp:[]:1"), std::string("udp:host:1"),
        std::string("unix:"), std::string("unix:a\0b", 8), std::string("tcp:a\0b:1", 9)}) {
    const auto parsed = parse_endpoint(text);
    ASSERT_FALSE(parsed.has_value()) << text;
    EXPECT_EQ(parsed.error().code(), errno_code(EINVAL)) << text;
    EXPECT_NE(parsed.error().remedy().find("tcp:HOST:PORT"), std::string::npos);
  }
}

TEST(ListenerTest, APortOfZeroBecomesTheRealOneOnTheLoopbackAlone) {
  const Listener listener = Listener::open(parse_endpoint("tcp:0").value(), {}).value();
  EXPECT_EQ(listener.endpoint().host, "127.0.0.1");
  EXPECT_NE(listener.endpoint().port, 0);
  EXPECT_FALSE(listener.is_public());
  EXPECT_TRUE(connect_to(listener.endpoint(), {}, {}).has_value());
}

TEST(ListenerTest, WhatOthersCanReachIsCalledPublic) {
  const auto listener = Listener::open(parse_endpoint("tcp:0.0.0.0:0").value(), {});
  ASSERT_TRUE(listener.has_value()) << listener.error().message();
  EXPECT_TRUE(listener->is_public());
}

TEST(ListenerTest, APortThatIsInUseIsAnErrorWithARemedy) {
  const Listener first = Listener::open(parse_endpoint("tcp:0").value(), {}).value();
  const auto second = Listener::open(first.endpoint(), {});
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code(), errno_code(EADDRINUSE));
  EXPECT_NE(second.error().remedy().find("another port"), std::string::npos);
}

TEST(ListenerTest, ANodeGoesWithItsListener) {
  const TempDir dir;
  const std::string path = dir.file("socket");
  {
    Listener listener = Listener::open(unix_endpoint(path), {}).value();
    const Listener moved = std::move(listener);
    EXPECT_TRUE(std::filesystem::is_socket(path));
    EXPECT_TRUE(connect_to(moved.endpoint(), {}, {}).has_value());
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(ListenerTest, ANodeThatSomebodyElsePutThereStays) {
  const TempDir dir;
  const std::string path = dir.file("socket");
  {
    const Listener listener = Listener::open(unix_endpoint(path), {}).value();
    std::filesystem::remove(path);
    dir.write("socket", "theirs");
  }
  EXPECT_TRUE(std::filesystem::is_regular_file(path));
}

// Goal:   a receiver that was killed does not keep its address; anything else at the path is safe.
TEST(ListenerTest, AnAbandonedNodeIsReplacedAndNothingElse) {
  const TempDir dir;
  const std::string path = dir.file("socket");
  {
    const auto killed = sys::listen_on(sys::SocketAddress::of_path(path).value(), {}).value();
  }
  ASSERT_TRUE(std::filesystem::is_socket(path));
  const auto listener = Listener::open(unix_endpoint(path), {});
  ASSERT_TRUE(listener.has_value()) << listener.error().message();
  const auto second = Listener::open(unix_endpoint(path), {});
  ASSERT_FALSE(second.has_value()) << "somebody answers there";
  EXPECT_EQ(second.error().code(), errno_code(EADDRINUSE));
  const std::string file = dir.write("file", "precious");
  EXPECT_EQ(Listener::open(unix_endpoint(file), {}).error().code(), errno_code(EADDRINUSE));
  EXPECT_EQ(testing::read_file(file), "precious");
}

TEST(ConnectTest, NobodyThereIsAnErrorWithARemedy) {
  const TempDir dir;
  Endpoint gone;
  {
    const Listener listener = Listener::open(parse_endpoint("tcp:0").value(), {}).value();
    gone = listener.endpoint();
  }
  for (const Endpoint& endpoint : {gone, unix_endpoint(dir.file("missing"))}) {
    const auto connection = connect_to(endpoint, {}, {});
    ASSERT_FALSE(connection.has_value());
    EXPECT_NE(connection.error().remedy().find("quire receive"), std::string::npos);
  }
  EXPECT_EQ(connect_to({.host = "127.0.0.1", .port = 0}, {}, {}).error().code(),
            errno_code(EINVAL));
  EXPECT_EQ(connect_to(unix_endpoint(std::string(200, 'x')), {}, {}).error().code(),
            errno_code(ENAMETOOLONG));
  EXPECT_FALSE(connect_to({.host = "no-such-host.invalid", .port = 1}, {}, {}).has_value());
}

// Goal:   another user is neither let in nor sent to, unless named.
// Method: a child that is nobody connects; root, which we are, checks who it is.
TEST(PeerTest, AnotherUserOfASocketIsRefusedUnlessNamed) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "another user: only root can become nobody";
  }
  const TempDir dir;
  ::chmod(dir.path().c_str(), 0755);
  const Listener listener =
      Listener::open(unix_endpoint(dir.file("socket")), testing::kNobody).value();
  const int code = testing::run_as_nobody([&] {
    const auto strict = connect_to(listener.endpoint(), std::nullopt, {});
    return strict.has_value() ? 0 : 1;  // The other side is root, who may.
  });
  EXPECT_EQ(code, 0);
  ASSERT_EQ(sys::wait_for(listener.fd(), sys::WaitFor::kReadable, -1, 10'000).value(),
            sys::WaitEnd::kReady);
  const sys::Descriptor accepted = sys::accept_from(listener.fd()).value();
  const auto refused = check_peer(accepted.get(), std::nullopt);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), errno_code(EACCES));
  EXPECT_NE(refused.error().message().find("user 65534"), std::string::npos);
  EXPECT_TRUE(check_peer(accepted.get(), testing::kNobody).has_value());
  EXPECT_EQ(describe_peer(accepted.get()), "user 65534");
}

TEST(PeerTest, ANodeWithoutAnAllowedUserKeepsOthersOut) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "another user: only root can become nobody";
  }
  const TempDir dir;
  ::chmod(dir.path().c_str(), 0755);
  const Listener listener = Listener::open(unix_endpoint(dir.file("socket")), {}).value();
  const int code = testing::run_as_nobody([&] {
    const auto connection = connect_to(listener.endpoint(), std::nullopt, {});
    return connection || connection.error().code() != errno_code(EACCES) ? 1 : 0;
  });
  EXPECT_EQ(code, 0);
}

}  // namespace
}  // namespace quire
