// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/transfer_calls.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <string>
#include <vector>

#include "quire/sys/call.h"
#include "quire/sys/file.h"
#include "quire/sys/signals.h"
#include "quire/testing/temp_dir.h"

namespace quire::sys {
namespace {

using testing::pattern;
using testing::read_file;
using testing::TempDir;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

class TransferCallsTest : public ::testing::Test {
 protected:
  [[nodiscard]] Descriptor open(const std::string& path, int flags) const {
    const int fd = ::open(path.c_str(), flags | O_CLOEXEC, 0644);
    EXPECT_GE(fd, 0) << path;
    return Descriptor(fd);
  }

  TempDir directory_;
  const std::string content_ = pattern(100'000);
  const Descriptor source_ = open(directory_.write("source", content_), O_RDONLY);
  const Descriptor target_ = open(directory_.file("target"), O_RDWR | O_CREAT);
};

TEST_F(TransferCallsTest, SendFileGoesFromTheOffsetToThePositionAndLeavesTheSourceAlone) {
  ASSERT_EQ(::lseek(source_.get(), 11, SEEK_SET), 11);
  ASSERT_TRUE(set_file_position(target_.get(), 5));
  EXPECT_EQ(send_file(target_.get(), source_.get(), 1'000, 300).value(), 300U);
  EXPECT_EQ(file_position(target_.get()).value(), 305U);
  EXPECT_EQ(file_position(source_.get()).value(), 11U);
  EXPECT_EQ(read_file(directory_.file("target")),
            std::string(5, '\0') + content_.substr(1'000, 300));
  EXPECT_EQ(send_file(target_.get(), source_.get(), content_.size(), 300).value(), 0U);
}

TEST_F(TransferCallsTest, CopyRangeGoesFromOffsetToOffset) {
  EXPECT_EQ(copy_range(target_.get(), 3, source_.get(), {50, 500}).value(), 500U);
  EXPECT_EQ(file_position(target_.get()).value(), 0U);
  EXPECT_EQ(read_file(directory_.file("target")), std::string(3, '\0') + content_.substr(50, 500));
}

TEST_F(TransferCallsTest, SpliceGoesThroughAPipeFromOffsetToOffset) {
  const Pipe pipe = create_pipe(1 << 17, false).value();
  EXPECT_GE(pipe.capacity_bytes, std::size_t{1} << 16);
  EXPECT_EQ(pipe_capacity(pipe.read_end.get()).value(), pipe.capacity_bytes);
  const std::size_t in = splice({.fd = source_.get(), .offset_bytes = 4'096},
                                {.fd = pipe.write_end.get()}, 8'192, SpliceMore::kNo)
                             .value();
  EXPECT_EQ(in, 8'192U);
  EXPECT_EQ(splice({.fd = pipe.read_end.get()}, {.fd = target_.get(), .offset_bytes = 0}, in,
                   SpliceMore::kNo)
                .value(),
            in);
  EXPECT_EQ(read_file(directory_.file("target")), content_.substr(4'096, in));
  EXPECT_EQ(splice({.fd = source_.get()}, {.fd = target_.get()}, 1, SpliceMore::kNo).error().value,
            EINVAL);
}

TEST_F(TransferCallsTest, APipeThatMayNotBlockSaysSoInstead) {
  const Pipe pipe = create_pipe(4'096, true).value();
  std::vector<std::byte> buffer(pipe.capacity_bytes);
  EXPECT_EQ(read_some(pipe.read_end.get(), buffer).error().value, EAGAIN);
  EXPECT_EQ(write_some(pipe.write_end.get(), buffer).value(), buffer.size());
  EXPECT_EQ(write_some(pipe.write_end.get(), buffer).error().value, EAGAIN);
}

TEST_F(TransferCallsTest, ClonesOfNothingAskTheKernelNothing) {
  const FaultPlan plan({.call = Call::kCount});
  EXPECT_TRUE(clone_range(target_.get(), 0, source_.get(), {0, 0}));
  EXPECT_EQ(plan.count(Call::kClone), 0U);
}

TEST_F(TransferCallsTest, OpenStateTellsHowADescriptorWasOpened) {
  const OpenState reading = open_state(source_.get()).value();
  EXPECT_TRUE(reading.is_readable && !reading.is_writable && !reading.is_appending);
  const Descriptor appending = open(directory_.file("target"), O_WRONLY | O_APPEND | O_NONBLOCK);
  const OpenState state = open_state(appending.get()).value();
  EXPECT_TRUE(!state.is_readable && state.is_writable && state.is_appending);
  EXPECT_TRUE(state.is_non_blocking);
  ASSERT_TRUE(set_non_blocking(appending.get(), false));
  EXPECT_FALSE(open_state(appending.get()).value().is_non_blocking);
  EXPECT_TRUE(open_state(appending.get()).value().is_appending);
  const Descriptor path_only = open(directory_.path(), O_PATH);
  EXPECT_FALSE(open_state(path_only.get()).value().is_readable);
}

TEST_F(TransferCallsTest, ReopeningGivesAPositionOfItsOwn) {
  const auto again = reopen_direct(source_.get(), false);
  if (!again) {
    GTEST_SKIP() << "O_DIRECT: errno " << again.error().value;
  }
  EXPECT_TRUE(open_state(again->get()).value().is_direct);
  ASSERT_TRUE(set_file_position(again->get(), 512));
  EXPECT_EQ(file_position(source_.get()).value(), 0U);
}

TEST_F(TransferCallsTest, WaitingEndsByEventStopOrTime) {
  const Pipe data = create_pipe(4'096, false).value();
  const Pipe stop = create_pipe(4'096, false).value();
  const int fd = data.read_end.get();
  EXPECT_EQ(wait_for(fd, WaitFor::kReadable, -1, 0).value(), WaitEnd::kTimedOut);
  EXPECT_EQ(wait_for(data.write_end.get(), WaitFor::kWritable, -1, -1).value(), WaitEnd::kReady);
  ASSERT_TRUE(write_some(data.write_end.get(), bytes_of("x")));
  EXPECT_EQ(wait_for(fd, WaitFor::kReadable, stop.read_end.get(), -1).value(), WaitEnd::kReady);
  ASSERT_TRUE(write_some(stop.write_end.get(), bytes_of("x")));
  EXPECT_EQ(wait_for(fd, WaitFor::kReadable, stop.read_end.get(), -1).value(), WaitEnd::kStopped);
  EXPECT_EQ(wait_for(12345, WaitFor::kReadable, -1, -1).error().value, EBADF);
}

TEST_F(TransferCallsTest, ABrokenPipeIsAnErrorWhileItIsHeldAndTheThreadIsAsItWasAfterwards) {
  const auto previous = std::signal(SIGPIPE, SIG_DFL);
  Pipe pipe = create_pipe(4'096, false).value();
  ASSERT_TRUE(pipe.read_end.close());
  {
    const HeldBrokenPipe outer;
    const HeldBrokenPipe inner;
    EXPECT_EQ(write_some(pipe.write_end.get(), bytes_of("x")).error().value, EPIPE);
  }
  sigset_t now;
  ASSERT_EQ(pthread_sigmask(SIG_BLOCK, nullptr, &now), 0);
  EXPECT_EQ(sigismember(&now, SIGPIPE), 0);
  ASSERT_EQ(sigpending(&now), 0);
  EXPECT_EQ(sigismember(&now, SIGPIPE), 0);
  std::signal(SIGPIPE, previous);
}

TEST_F(TransferCallsTest, EveryCallCanBeMadeToFailAndToBeShort) {
  {
    const FaultPlan plan({.call = Call::kSendFile, .times = 1, .transfer_bytes_max = 7});
    EXPECT_EQ(send_file(target_.get(), source_.get(), 0, 100).value(), 7U);
    EXPECT_EQ(send_file(target_.get(), source_.get(), 7, 100).value(), 100U);
  }
  {
    const FaultPlan plan({.call = Call::kCopyRange, .error = EXDEV});
    EXPECT_EQ(copy_range(target_.get(), 0, source_.get(), {0, 10}).error().value, EXDEV);
  }
  const FaultPlan plan({.call = Call::kPipe, .error = EMFILE});
  EXPECT_EQ(create_pipe(4'096, false).error().value, EMFILE);
}

}  // namespace
}  // namespace quire::sys
