// SPDX-License-Identifier: Apache-2.0
//
// What each kind of entry of a ring does.
#include "quire/sys/ring.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "quire/sys/call.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/event.h"
#include "quire/sys/file.h"
#include "quire/sys/probe.h"
#include "quire/testing/ring.h"
#include "quire/testing/temp_dir.h"

namespace quire::sys {
namespace {

using testing::bytes_of;
using testing::finish_all;
using testing::finish_by_tag;
using testing::finish_one;
using testing::kTag;
using testing::pattern;
using testing::PatternFile;
using testing::Pipe;
using testing::read_file;
using testing::writable;

// Two ends of a TCP connection over loopback: zero-copy sends want the real thing.
struct Connection {
  Connection() {
    const Descriptor listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    socklen_t length = sizeof address;
    EXPECT_EQ(::bind(listener.get(), generic, length), 0);
    EXPECT_EQ(::listen(listener.get(), 1), 0);
    EXPECT_EQ(::getsockname(listener.get(), generic, &length), 0);
    sender = Descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(sender.get(), generic, length), 0) << std::strerror(errno);
    receiver = Descriptor(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  }
  [[nodiscard]] std::string receive(std::size_t length_bytes) const {
    std::string text(length_bytes, '?');
    EXPECT_EQ(::recv(receiver.get(), text.data(), text.size(), MSG_WAITALL),
              static_cast<ssize_t>(length_bytes));
    return text;
  }
  Descriptor sender;
  Descriptor receiver;
};

class RingEntryTest : public testing::OpenRingFixture {
 protected:
  [[nodiscard]] RingFile file() const { return ring_file(subject_.file.get()); }

  PatternFile subject_;
};

TEST_F(RingEntryTest, ReadsUpToTheEndOfTheFile) {
  std::string text(1000, '?');
  ASSERT_TRUE(ring().prepare_read(file(), writable(text), 3000, {.tag = kTag}));
  EXPECT_EQ(finish_one(ring()), 1000);
  EXPECT_EQ(text, pattern(4000).substr(3000));
  ASSERT_TRUE(ring().prepare_read(file(), writable(text), 16384 - 10, {.tag = kTag}));
  EXPECT_EQ(finish_one(ring()), 10);
  ASSERT_TRUE(ring().prepare_read(file(), writable(text), 16384, {.tag = kTag}));
  EXPECT_EQ(finish_one(ring()), 0);
}

TEST_F(RingEntryTest, Writes) {
  const std::string text = "something else";
  ASSERT_TRUE(ring().prepare_write(file(), bytes_of(text), 777, {.tag = kTag}));
  EXPECT_EQ(finish_one(ring()), static_cast<int>(text.size()));
  EXPECT_EQ(read_file(subject_.path), pattern(16384).replace(777, text.size(), text));
}

TEST_F(RingEntryTest, VectorsAreReadAndWrittenInOrder) {
  std::string first = "first";
  std::string second = "and second";
  const std::array from{
      ConstBuffer{reinterpret_cast<const std::byte*>(first.data()), first.size()},
      ConstBuffer{reinterpret_cast<const std::byte*>(second.data()), second.size()}};
  ASSERT_TRUE(ring().prepare_write_vector(file(), from, 100, {.tag = kTag}));
  EXPECT_EQ(finish_one(ring()), 15);
  const std::array into{Buffer{reinterpret_cast<std::byte*>(second.data()), second.size()},
                        Buffer{reinterpret_cast<std::byte*>(first.data()), first.size()}};
  ASSERT_TRUE(ring().prepare_read_vector(file(), into, 100, {.tag = kTag}));
  EXPECT_EQ(finish_one(ring()), 15);
  EXPECT_EQ(second + first, "firstand second");
}

TEST_F(RingEntryTest, RegisteredBuffersTransferWithinTheirBounds) {
  std::string room(8192, '?');
  const std::array buffers{Buffer{reinterpret_cast<std::byte*>(room.data()), 4096},
                           Buffer{reinterpret_cast<std::byte*>(room.data()) + 4096, 4096}};
  ASSERT_TRUE(ring().register_buffers(buffers).has_value());
  EXPECT_EQ(ring().register_buffers(buffers).error(), Errno{EBUSY});
  ASSERT_TRUE(
      ring().prepare_read_fixed(file(), writable(room).subspan(5000, 50), 9, 1, {.tag = kTag}));
  EXPECT_EQ(finish_one(ring()), 50);
  EXPECT_EQ(room.substr(5000, 50), pattern(59).substr(9));
  EXPECT_EQ(room[4999], '?');
  EXPECT_EQ(room[5050], '?');
  ASSERT_TRUE(
      ring().prepare_write_fixed(file(), writable(room).subspan(5000, 50), 200, 1, {.tag = kTag}));
  EXPECT_EQ(finish_one(ring()), 50);
  EXPECT_EQ(read_file(subject_.path).substr(200, 50), pattern(59).substr(9));
  ASSERT_TRUE(
      ring().prepare_read_fixed(file(), writable(room).subspan(5000, 50), 0, 0, {.tag = kTag}));
  EXPECT_EQ(finish_one(ring()), -EFAULT) << "not in that buffer";
  ASSERT_TRUE(ring().unregister_buffers().has_value());
  EXPECT_EQ(ring().unregister_buffers().error(), Errno{ENXIO});
  const std::vector<Buffer> many(kRingBuffersMax + 1, buffers[0]);
  EXPECT_EQ(ring().register_buffers(many).error(), Errno{EINVAL});
}

TEST_F(RingEntryTest, RegisteredFilesOutliveTheirDescriptor) {
  ASSERT_TRUE(ring().register_files(8).has_value());
  EXPECT_EQ(ring().register_files(8).error(), Errno{EBUSY});
  std::string text(10, '?');
  ASSERT_TRUE(ring().prepare_read(registered_file(3), writable(text), 0, {.tag = kTag}));
  EXPECT_EQ(finish_one(ring()), -EBADF) << "an empty slot";
  ASSERT_TRUE(ring().update_file(3, subject_.file.get()).has_value());
  ASSERT_TRUE(subject_.file.close().has_value());
  ASSERT_TRUE(ring().prepare_read(registered_file(3), writable(text), 20, {.tag = kTag}));
  EXPECT_EQ(finish_one(ring()), 10);
  EXPECT_EQ(text, pattern(30).substr(20));
  ASSERT_TRUE(ring().update_file(3, -1).has_value());
  ASSERT_TRUE(ring().prepare_read(registered_file(3), writable(text), 20, {.tag = kTag}));
  EXPECT_EQ(finish_one(ring()), -EBADF);
  EXPECT_EQ(ring().update_file(8, -1).error(), Errno{EINVAL}) << "no such slot";
}

TEST_F(RingEntryTest, SyncAndAllocateReachTheFile) {
  ASSERT_TRUE(ring().prepare_allocate(file(), {.offset_bytes = 16384, .length_bytes = 4096},
                                      Allocate::kExtendSize, {.tag = kTag}));
  EXPECT_EQ(finish_one(ring()), 0);
  EXPECT_EQ(file_status(subject_.file.get())->size_bytes, 16384U + 4096U);
  ASSERT_TRUE(ring().prepare_allocate(file(), {.offset_bytes = 1 << 20, .length_bytes = 4096},
                                      Allocate::kKeepSize, {.tag = kTag}));
  EXPECT_EQ(finish_one(ring()), 0);
  EXPECT_EQ(file_status(subject_.file.get())->size_bytes, 16384U + 4096U);
  for (const SyncScope scope : {SyncScope::kData, SyncScope::kAll}) {
    ASSERT_TRUE(ring().prepare_sync(file(), scope, {.tag = kTag}));
    EXPECT_EQ(finish_one(ring()), 0);
    EXPECT_EQ(cache_status(subject_.file.get(), kWholeFile)->dirty, PageCount{0});
  }
}

TEST_F(RingEntryTest, TransferFlagsReachTheKernel) {
  std::string text(100, '?');
  ASSERT_TRUE(ring().prepare_write(file(), bytes_of(text), 0, {.tag = kTag}, {.append = true}));
  EXPECT_EQ(finish_one(ring()), 100);
  EXPECT_EQ(file_status(subject_.file.get())->size_bytes, 16384U + 100U);
  ASSERT_TRUE(ring().prepare_write(file(), bytes_of(text), 0, {.tag = kTag}, {.sync_data = true}));
  EXPECT_EQ(finish_one(ring()), 100);
  ASSERT_TRUE(ring().prepare_sync(file(), SyncScope::kData, {.tag = kTag}));
  EXPECT_EQ(finish_one(ring()), 0);
  const Descriptor memory(memfd_create("quire-test", MFD_CLOEXEC));
  for (const TransferFlags flags : {TransferFlags{.no_wait = true}, {.drop_behind = true}}) {
    ASSERT_TRUE(
        ring().prepare_read(ring_file(memory.get()), writable(text), 0, {.tag = kTag}, flags));
    EXPECT_EQ(finish_one(ring()), -EOPNOTSUPP) << "files in memory know neither";
  }
}

TEST_F(RingEntryTest, SendsArriveWhole) {
  const Connection connection;
  const std::string text = pattern(100'000);
  ASSERT_TRUE(
      ring().prepare_send(ring_file(connection.sender.get()), bytes_of(text), {.tag = kTag}));
  ASSERT_TRUE(ring().submit().has_value());
  EXPECT_EQ(connection.receive(text.size()), text);
  EXPECT_EQ(finish_one(ring()), 100'000);
}

TEST_F(RingEntryTest, ASendToAPeerThatIsGoneIsAnErrorAndNoSignal) {
  Connection connection;
  ASSERT_TRUE(connection.receiver.close().has_value());
  std::int32_t result = 0;
  for (int tries = 0; tries < 100 && result >= 0; ++tries) {
    ASSERT_TRUE(
        ring().prepare_send(ring_file(connection.sender.get()), bytes_of("x"), {.tag = kTag}));
    result = finish_one(ring());
  }
  EXPECT_TRUE(result == -EPIPE || result == -ECONNRESET) << result;
}

// Goal:   the memory of a zero-copy send is known to be free again, and not before.
TEST_F(RingEntryTest, AZeroCopySendCompletesTwice) {
  if (!ring().supports(RingOperation::kSendZeroCopy)) {
    GTEST_SKIP() << "send_zc: this kernel's ring has none";
  }
  const Connection connection;
  std::string text = pattern(50'000);
  const std::array buffers{Buffer{reinterpret_cast<std::byte*>(text.data()), text.size()}};
  ASSERT_TRUE(ring().register_buffers(buffers).has_value());
  for (const std::optional<std::uint16_t> buffer_index :
       {std::optional<std::uint16_t>(), std::optional<std::uint16_t>(0)}) {
    ASSERT_TRUE(ring().prepare_send_zero_copy(ring_file(connection.sender.get()), bytes_of(text),
                                              buffer_index, CopyReport::kAsked, {.tag = kTag}));
    ASSERT_TRUE(ring().submit().has_value());
    EXPECT_EQ(connection.receive(text.size()), text);
    const std::vector<Completion> completions = finish_all(ring());
    ASSERT_EQ(completions.size(), 2U);
    EXPECT_EQ(completions[0].outcome(), 50'000U);
    EXPECT_TRUE(completions[0].more && !completions[0].is_notification);
    EXPECT_TRUE(completions[1].is_notification && !completions[1].more);
    EXPECT_TRUE(completions[1].was_copied) << "loopback copies always";
    EXPECT_EQ(completions[0].tag, kTag);
    EXPECT_EQ(completions[1].tag, kTag);
  }
}

TEST_F(RingEntryTest, APollCompletesWhenThereIsSomethingToRead) {
  const Pipe pipe;
  ASSERT_TRUE(ring().prepare_poll(ring_file(pipe.reader.get()), PollFor::kReadable, {.tag = kTag}));
  ASSERT_TRUE(ring().submit().has_value());
  EXPECT_EQ(ring().submit_and_wait(1, std::chrono::nanoseconds(0)), 0U);
  ASSERT_TRUE(write_all(pipe.writer.get(), bytes_of("x")).has_value());
  EXPECT_EQ(finish_one(ring()) & POLLIN, POLLIN);
  ASSERT_TRUE(ring().prepare_poll(ring_file(pipe.writer.get()), PollFor::kWritable, {.tag = kTag}));
  EXPECT_EQ(finish_one(ring()) & POLLOUT, POLLOUT);
}

TEST_F(RingEntryTest, SignalsOfAnEventAreOneWakeUp) {
  const Descriptor event = create_event().value();
  std::string counter(kEventBytes, '?');
  ASSERT_TRUE(
      ring().prepare_read(ring_file(event.get()), writable(counter), kAtPosition, {.tag = kTag}));
  EXPECT_EQ(ring().submit_and_wait(1, std::chrono::nanoseconds(0)), 0U);
  signal_event(event);
  EXPECT_EQ(finish_one(ring()), static_cast<int>(kEventBytes));
  signal_event(event);
  signal_event(event);
  EXPECT_EQ(wait_readable(event.get(), 0), PollResult::kReadable);
  ASSERT_TRUE(
      ring().prepare_read(ring_file(event.get()), writable(counter), kAtPosition, {.tag = kTag}));
  EXPECT_EQ(finish_one(ring()), static_cast<int>(kEventBytes));
  EXPECT_EQ(wait_readable(event.get(), 0), PollResult::kTimedOut);
  const FaultPlan plan({.call = Call::kEvent, .error = EMFILE});
  EXPECT_EQ(create_event().map([](auto&&) {}).error(), Errno{EMFILE});
}

TEST_F(RingEntryTest, CancelledEntriesComplete) {
  const Pipe pipe;
  std::string text(1, '?');
  ASSERT_TRUE(
      ring().prepare_read(ring_file(pipe.reader.get()), writable(text), kAtPosition, {.tag = 1}));
  ASSERT_TRUE(ring().submit().has_value());
  ASSERT_TRUE(ring().prepare_cancel(1, {.tag = 2}));
  ASSERT_TRUE(ring().prepare_cancel(99, {.tag = 3}));
  const auto results = finish_by_tag(ring());
  EXPECT_EQ(results.size(), 3U);
  EXPECT_EQ(results.at(1), -ECANCELED);
  EXPECT_EQ(results.at(2), 1) << "how many were cancelled";
  EXPECT_EQ(results.at(3), 0) << "nobody has that tag: none were";
}

TEST_F(RingEntryTest, TimeoutsEndByTimeOrByCount) {
  ASSERT_TRUE(ring().prepare_timeout(std::chrono::microseconds(1), 0, {.tag = kTag}));
  EXPECT_EQ(finish_one(ring()), -ETIME);
  ASSERT_TRUE(ring().prepare_timeout(std::chrono::hours(1), 1, {.tag = 1}));
  ASSERT_TRUE(ring().prepare_nothing({.tag = 2}));
  const auto results = finish_by_tag(ring());
  EXPECT_EQ(results.at(1), 0);
  EXPECT_EQ(results.at(2), 0);
}

TEST_F(RingEntryTest, ALinkedEntryWaitsForTheOneBeforeAndFallsWithIt) {
  const std::string text = "linked";
  std::string back(6, '?');
  ASSERT_TRUE(ring().prepare_write(file(), bytes_of(text), 40, {.tag = 1, .link_next = true}));
  ASSERT_TRUE(ring().prepare_read(file(), writable(back), 40, {.tag = 2}));
  auto results = finish_by_tag(ring());
  EXPECT_EQ(results.at(1), 6);
  EXPECT_EQ(results.at(2), 6);
  EXPECT_EQ(back, text);
  ASSERT_TRUE(
      ring().prepare_read(file(), writable(back), 16384 - 2, {.tag = 1, .link_next = true}));
  ASSERT_TRUE(ring().prepare_read(file(), writable(back), 0, {.tag = 2}));
  results = finish_by_tag(ring());
  EXPECT_EQ(results.at(1), 2);
  EXPECT_EQ(results.at(2), -ECANCELED) << "the one before was short";
}

TEST_F(RingEntryTest, WorkersOfTheKernelGiveTheSameBytes) {
  std::array<std::string, 8> texts;
  for (std::uint64_t i = 0; i < texts.size(); ++i) {
    texts.at(i).resize(500);
    ASSERT_TRUE(ring().prepare_read(file(), writable(texts.at(i)), i * 1000,
                                    {.tag = i, .force_async = true}));
  }
  for (const auto& [tag, result] : finish_by_tag(ring())) {
    EXPECT_EQ(result, 500);
    EXPECT_EQ(texts.at(tag), pattern(16384).substr(tag * 1000, 500));
  }
}

TEST_F(RingEntryTest, ABadDescriptorIsTheResultOfItsEntryOnly) {
  std::string text(10, '?');
  ASSERT_TRUE(ring().prepare_read(ring_file(-1), writable(text), 0, {.tag = 1}));
  ASSERT_TRUE(ring().prepare_nothing({.tag = 2}));
  const auto results = finish_by_tag(ring());
  EXPECT_EQ(results.at(1), -EBADF);
  EXPECT_EQ(results.at(2), 0);
}

}  // namespace
}  // namespace quire::sys
