// SPDX-License-Identifier: Apache-2.0
//
// Whichever system call fails, comes back short or is interrupted: a transfer moves all bytes or
// says how far it came, the target holds exactly that much of the source, and nothing leaks.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <string>
#include <thread>
#include <tuple>

#include "quire/sys/call.h"
#include "quire/testing/nth_fault.h"
#include "quire/testing/temp_dir.h"
#include "quire/transfer/internal/ends_test.h"
#include "quire/transfer/transfer.h"

namespace quire::internal {
namespace {

// Every path has several steps of 256 KiB; the kernel's own methods are made short to have them.
constexpr std::size_t kBytes = (1 << 20) + 77;
// More calls of one kind than a transfer of that length makes.

struct Route {
  TransferMethod method;
  SourceKind source;
  TargetKind target;
};

std::ostream& operator<<(std::ostream& out, const Route& route) {
  return out << name_of(route.method) << "_" << name_of(route.source) << "_"
             << name_of(route.target);
}

constexpr Route kRoutes[] = {
    {TransferMethod::kAutomatic, SourceKind::kFile, TargetKind::kFile},
    {TransferMethod::kAutomatic, SourceKind::kFile, TargetKind::kTcpSocket},
    {TransferMethod::kAutomatic, SourceKind::kFile, TargetKind::kPipe},
    {TransferMethod::kAutomatic, SourceKind::kPipe, TargetKind::kFile},
    {TransferMethod::kAutomatic, SourceKind::kTcpSocket, TargetKind::kFile},
    {TransferMethod::kReadWrite, SourceKind::kFile, TargetKind::kUnixSocket},
    {TransferMethod::kDirect, SourceKind::kFile, TargetKind::kFile},
    {TransferMethod::kMapWrite, SourceKind::kFile, TargetKind::kFile},
    {TransferMethod::kSplice, SourceKind::kTcpSocket, TargetKind::kFile},
    {TransferMethod::kSplice, SourceKind::kFile, TargetKind::kTcpSocket},
    {TransferMethod::kZeroCopySend, SourceKind::kFile, TargetKind::kTcpSocket},
    {TransferMethod::kRingSend, SourceKind::kFile, TargetKind::kTcpSocket},
};

constexpr sys::Call kCalls[] = {
    sys::Call::kStatus,      sys::Call::kRead,      sys::Call::kWrite,      sys::Call::kSendFile,
    sys::Call::kSplice,      sys::Call::kSend,      sys::Call::kCopyRange,  sys::Call::kClone,
    sys::Call::kPipe,        sys::Call::kPoll,      sys::Call::kMap,        sys::Call::kUnmap,
    sys::Call::kSocket,      sys::Call::kSeek,      sys::Call::kTruncate,   sys::Call::kOpen,
    sys::Call::kReceive,     sys::Call::kControl,   sys::Call::kFileSystem, sys::Call::kAdviseFile,
    sys::Call::kCacheStatus, sys::Call::kRingSetup, sys::Call::kRingSubmit};

class TransferFaultTest : public ::testing::TestWithParam<Route> {
 protected:
  // One run under `rule`; false when the rule was not reached.
  bool run_under(const sys::FaultRule& rule, bool must_succeed) {
    const Route route = GetParam();
    const TempDir directory;
    const TestSource source(route.source, directory, content_, Blocking::kNo);
    TestTarget target(route.target, directory, Blocking::kNo);
    TransferReport so_far;
    bool was_hit = false;
    Result<TransferReport> moved = fail(make_error(Errc::kFailed, "", ""));
    {
      const sys::FaultPlan plan(rule);
      moved = transfer({.fd = source.fd()}, {.fd = target.fd()},
                       {.method = route.method, .so_far = &so_far});
      was_hit = plan.hits() > 0;
    }
    const std::string received = target.received();
    const std::string what = std::string(sys::name_of(rule.call)) + ", call " +
                             std::to_string(rule.nth) + ", error " + std::to_string(rule.error);
    if (moved) {
      EXPECT_EQ(moved->bytes, content_.size()) << what;
      EXPECT_TRUE(received == content_) << what;
    } else {
      EXPECT_FALSE(must_succeed) << what << ": " << moved.error().message();
      EXPECT_TRUE(moved.error().code()) << what;
      EXPECT_EQ(received.size(), so_far.bytes) << what << ": " << moved.error().message();
      EXPECT_TRUE(content_.compare(0, received.size(), received) == 0) << what;
    }
    return was_hit;
  }

  const std::string content_ = long_pattern(kBytes);
};

INSTANTIATE_TEST_SUITE_P(Routes, TransferFaultTest, ::testing::ValuesIn(kRoutes),
                         ::testing::PrintToStringParamName());

// Goal:   what was reported as moved is what arrived, whichever call fails in whichever way.
// Method: every kind of call, its n-th time, for every n, with errors that mean "not this way",
//         "the device" and "no space".
TEST_P(TransferFaultTest, ReportsExactlyWhatArrivedWhicheverCallFails) {
  const int before = testing::count_open_descriptors();
  for (const sys::Call call : kCalls) {
    for (const int error : {EIO, EINVAL, ENOSPC}) {
      testing::fail_each_nth(sys::name_of(call), [&](testing::NthFault& fault) {
        fault.was_hit = run_under({.call = call, .nth = fault.nth, .error = error}, false);
      });
    }
  }
  EXPECT_EQ(testing::count_open_descriptors(), before);
}

TEST_P(TransferFaultTest, NoticesNoInterruption) {
  for (const sys::Call call : kCalls) {
    run_under({.call = call, .nth = 1, .times = 3, .error = EINTR}, true);
  }
}

TEST_P(TransferFaultTest, GoesOnAfterShortTransfers) {
  for (const sys::Call call : {sys::Call::kRead, sys::Call::kWrite, sys::Call::kSendFile,
                               sys::Call::kSplice, sys::Call::kSend, sys::Call::kCopyRange}) {
    for (const std::size_t most : {std::size_t{1} << 15, std::size_t{40'001}}) {
      run_under({.call = call, .nth = 1, .times = 100'000, .transfer_bytes_max = most}, true);
    }
    run_under({.call = call, .nth = 2, .times = 1, .transfer_bytes_max = 1}, true);
  }
}

// Goal:   a method that refuses in the middle is followed by the next, at the same byte.
// Method: its second call fails; the report tells the method, the position and the cause.
TEST(TransferFallbackTest, GoesOnWithTheNextMethodWhereOneRefuses) {
  const TempDir directory;
  const std::string content = long_pattern(20 << 20);
  const TestSource source(SourceKind::kFile, directory, content);
  TestTarget target(TargetKind::kFile, directory);
  Result<TransferReport> moved = fail(make_error(Errc::kFailed, "", ""));
  {
    const sys::FaultPlan plan({.call = sys::Call::kCopyRange, .nth = 2, .error = EXDEV});
    moved = transfer({.fd = source.fd()}, {.fd = target.fd()}, {});
  }
  ASSERT_TRUE(moved) << moved.error().message();
  EXPECT_TRUE(target.received() == content);
  EXPECT_EQ(moved->method, TransferMethod::kSendFile);
  ASSERT_FALSE(moved->fallbacks.empty());
  const TransferFallback& last = moved->fallbacks.back();
  EXPECT_EQ(last.method, TransferMethod::kCopyFileRange);
  EXPECT_GT(last.at_bytes, 0U);
  EXPECT_LT(last.at_bytes, content.size());
  EXPECT_NE(last.cause.find("EXDEV"), std::string::npos) << last.cause;
  EXPECT_NE(moved->reason.find("copy_file_range"), std::string::npos) << moved->reason;
}

// Goal:   what splice had taken from a stream when it was refused is not lost.
// Method: the way out of the pipe refuses; the rest goes by hand.
TEST(TransferFallbackTest, LosesNothingOfAStreamWhenSpliceRefusesHalfWay) {
  for (std::uint64_t nth = 1; nth <= 6; ++nth) {
    const TempDir directory;
    const std::string content = long_pattern(8 << 20);
    const TestSource source(SourceKind::kTcpSocket, directory, content);
    TestTarget target(TargetKind::kFile, directory);
    TransferReport so_far;
    const sys::FaultPlan plan({.call = sys::Call::kSplice, .nth = nth, .error = EINVAL});
    const auto moved = transfer({.fd = source.fd()}, {.fd = target.fd()},
                                {.method = TransferMethod::kSplice, .so_far = &so_far});
    ASSERT_FALSE(moved);  // Asked for by name: no other method may take over.
    EXPECT_EQ(moved.error().code(), Errc::kUnsupported);
    EXPECT_TRUE(target.received() == content.substr(0, so_far.bytes)) << nth;
    // The stream goes on exactly behind what arrived.
    std::string rest(64, '\0');
    const ssize_t got = ::recv(source.fd(), rest.data(), rest.size(), MSG_WAITALL);
    ASSERT_EQ(got, 64);
    EXPECT_EQ(rest, content.substr(so_far.bytes, 64)) << nth;
  }
}

class BrokenPeerTest : public ::testing::TestWithParam<std::tuple<TransferMethod, TargetKind>> {
 protected:
  void SetUp() override { previous_ = std::signal(SIGPIPE, SIG_DFL); }
  void TearDown() override { std::signal(SIGPIPE, previous_); }

 private:
  sighandler_t previous_ = SIG_DFL;
};

INSTANTIATE_TEST_SUITE_P(
    All, BrokenPeerTest,
    ::testing::Combine(::testing::Values(TransferMethod::kAutomatic, TransferMethod::kReadWrite,
                                         TransferMethod::kSendFile, TransferMethod::kSplice,
                                         TransferMethod::kMapWrite, TransferMethod::kZeroCopySend,
                                         TransferMethod::kRingSend),
                       ::testing::Values(TargetKind::kPipe, TargetKind::kUnixSocket,
                                         TargetKind::kTcpSocket)));

// Goal:   a peer that goes away is an error; the process lives, and no SIGPIPE waits for it.
// Method: the signal has its deadly default action.
TEST_P(BrokenPeerTest, GivesAnErrorAndNoSignal) {
  const auto [method, kind] = GetParam();
  const bool needs_tcp =
      method == TransferMethod::kZeroCopySend || method == TransferMethod::kRingSend;
  if (needs_tcp && kind != TargetKind::kTcpSocket) {
    return;
  }
  const TempDir directory;
  const TestSource source(SourceKind::kFile, directory, long_pattern(20 << 20));
  EndPair pair = kind == TargetKind::kTcpSocket ? tcp_pair() : unix_pair();
  if (kind == TargetKind::kPipe) {
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    pair = {.near = sys::Descriptor(ends[1]), .far = sys::Descriptor(ends[0])};
  }
  ASSERT_TRUE(pair.far.close());
  const auto moved = transfer({.fd = source.fd()}, {.fd = pair.near.get()}, {.method = method});
  ASSERT_FALSE(moved);
  if (moved.error().code() == Errc::kUnsupported) {
    GTEST_SKIP() << name_of(method) << ": " << moved.error().cause();
  }
  EXPECT_TRUE(moved.error().code() == std::errc::broken_pipe ||
              moved.error().code() == std::errc::connection_reset)
      << moved.error().message();
  sigset_t pending;
  sigemptyset(&pending);
  ASSERT_EQ(sigpending(&pending), 0);
  EXPECT_EQ(sigismember(&pending, SIGPIPE), 0);
  sigset_t blocked;
  ASSERT_EQ(pthread_sigmask(SIG_BLOCK, nullptr, &blocked), 0);
  EXPECT_EQ(sigismember(&blocked, SIGPIPE), 0);
}

class StalledPeerTest : public ::testing::TestWithParam<TransferMethod> {};

INSTANTIATE_TEST_SUITE_P(All, StalledPeerTest,
                         ::testing::Values(TransferMethod::kReadWrite, TransferMethod::kSendFile,
                                           TransferMethod::kSplice, TransferMethod::kMapWrite,
                                           TransferMethod::kZeroCopySend,
                                           TransferMethod::kRingSend),
                         [](const auto& of) { return name_of(of.param); });

// Nobody reads at the other end: the socket's buffers fill, and then nothing moves any more.
TEST_P(StalledPeerTest, IsWaitedForNoLongerThanAllowed) {
  const TempDir directory;
  const TestSource source(SourceKind::kFile, directory, long_pattern(20 << 20));
  const EndPair pair = tcp_pair();
  ASSERT_EQ(::fcntl(pair.near.get(), F_SETFL, O_NONBLOCK), 0);
  TransferReport so_far;
  const auto moved = transfer({.fd = source.fd()}, {.fd = pair.near.get()},
                              {.method = GetParam(), .stall_timeout_ms = 100, .so_far = &so_far});
  ASSERT_FALSE(moved);
  if (moved.error().code() == Errc::kUnsupported) {
    GTEST_SKIP() << name_of(GetParam()) << ": " << moved.error().cause();
  }
  EXPECT_EQ(moved.error().code(), std::errc::timed_out) << moved.error().message();
  EXPECT_GT(so_far.bytes, 0U);
}

TEST_P(StalledPeerTest, IsLeftWhenTheStopDescriptorBecomesReadable) {
  const TempDir directory;
  const TestSource source(SourceKind::kFile, directory, long_pattern(20 << 20));
  const EndPair pair = tcp_pair();
  ASSERT_EQ(::fcntl(pair.near.get(), F_SETFL, O_NONBLOCK), 0);
  int stop[2];
  ASSERT_EQ(::pipe2(stop, O_CLOEXEC), 0);
  const sys::Descriptor stop_read(stop[0]);
  const sys::Descriptor stop_write(stop[1]);
  // Asked to stop when nothing more fits: it is waiting, or just about to.
  std::jthread watcher([&] {
    pollfd room{.fd = pair.near.get(), .events = POLLOUT, .revents = 0};
    while (::poll(&room, 1, 0) != 0) {
      std::this_thread::yield();
    }
    ASSERT_EQ(::write(stop_write.get(), "s", 1), 1);
  });
  const auto moved = transfer({.fd = source.fd()}, {.fd = pair.near.get()},
                              {.method = GetParam(), .stop_fd = stop_read.get()});
  ASSERT_FALSE(moved);
  if (moved.error().code() == Errc::kUnsupported) {
    watcher.join();
    GTEST_SKIP() << name_of(GetParam()) << ": " << moved.error().cause();
  }
  EXPECT_EQ(moved.error().code(), Errc::kCancelled) << moved.error().message();
}

}  // namespace
}  // namespace quire::internal
