// SPDX-License-Identifier: Apache-2.0
//
// send_file and Receiver when the world fails them: wires that change bytes, files that change,
// stops, full disks, and every system call failing in its turn.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "quire/sys/call.h"
#include "quire/testing/disk.h"
#include "quire/testing/nth_fault.h"
#include "quire/transfer/internal/exchange_harness_test.h"

namespace quire::internal {
namespace {

ReceiverOptions into(const std::string& directory) {
  std::filesystem::create_directory(directory);
  ReceiverOptions options;
  options.target = directory;
  return options;
}

// Goal:   a byte that changes on the way is noticed, and its chunk is sent again.
// Method: a wire that changes one byte, in the first chunk, in the last, in one in the middle while
//         others are behind it.
TEST(DamagedWireTest, AChunkThatWasChangedOnTheWayIsSentAgain) {
  const std::uint64_t chunk_frames = wire::encode(wire::Chunk{}).size() * 2;  // And ChunkEnd.
  const std::uint64_t before =
      wire::encode(offer_of("file", 1)).size() + wire::encode(wire::Start{}).size();
  const std::string content = pattern(9 * kChunk + 10);
  for (const std::uint64_t chunk : {0U, 4U, 9U}) {
    SCOPED_TRACE(chunk);
    const TempDir dir;
    const std::string path = dir.write("file", content);
    ReceiverThread receiver(into(dir.file("inbox")));
    const Wire wire(receiver.endpoint(),
                    before + chunk * (kChunk + chunk_frames) + chunk_frames / 2 + 3);
    const auto sent = send_file(path, wire.endpoint(), send_options());
    ASSERT_TRUE(sent.has_value()) << sent.error().message();
    const auto got = receiver.join();
    ASSERT_TRUE(got.has_value()) << got.error().message();
    EXPECT_EQ(sent->chunks_resent, 1U);
    EXPECT_EQ(got->report.chunks_resent, 1U);
    EXPECT_EQ(sent->bytes, content.size()) << "what is sent twice counts once";
    ASSERT_EQ(receiver.remarks().size(), 1U);
    EXPECT_NE(receiver.remarks()[0].find("offset " + std::to_string(chunk * kChunk)),
              std::string::npos);
    EXPECT_TRUE(read_file(dir.file("inbox/file")) == content);
  }
}

TEST(DamagedWireTest, AFrameThatWasChangedOnTheWayEndsTheConversation) {
  const TempDir dir;
  const std::string path = dir.write("file", pattern(100));
  ReceiverThread receiver(into(dir.file("inbox")));
  const Wire wire(receiver.endpoint(), 20);
  const auto sent = send_file(path, wire.endpoint(), send_options());
  ASSERT_FALSE(sent.has_value());
  EXPECT_EQ(receiver.wait_for_refusals(1)[0].code(), Errc::kCorrupt);
}

// Changes the source when so much of it has arrived.
SendOptions change_at(std::uint64_t done_bytes, const std::function<void()>& change) {
  SendOptions options = send_options();
  options.exchange.on_progress = [=](const ExchangeProgress& progress) {
    if (progress.done_bytes == done_bytes) {
      change();
    }
  };
  return options;
}

// Goal:   a file that changes while it is sent never arrives as a mixture.
TEST(ChangingSourceTest, AFileThatIsWrittenToIsAnError) {
  const TempDir dir;
  const std::string path = dir.write("file", pattern(40 * kChunk));
  ReceiverThread receiver(into(dir.file("inbox")));
  const auto sent = send_file(path, receiver.endpoint(), change_at(2 * kChunk, [&] {
                                std::ofstream(path, std::ios::in | std::ios::out).put('!');
                              }));
  ASSERT_FALSE(sent.has_value());
  EXPECT_EQ(sent.error().code(), Errc::kChanged) << sent.error().message();
  EXPECT_EQ(receiver.wait_for_refusals(1)[0].code(), Errc::kChanged);
  EXPECT_FALSE(std::filesystem::exists(dir.file("inbox/file")));
}

TEST(ChangingSourceTest, AFileThatIsCutIsAnErrorOnBothSides) {
  const TempDir dir;
  const std::string path = dir.write("file", pattern(40 * kChunk));
  ReceiverThread receiver(into(dir.file("inbox")));
  const auto sent =
      send_file(path, receiver.endpoint(),
                change_at(2 * kChunk, [&] { std::filesystem::resize_file(path, kChunk); }));
  ASSERT_FALSE(sent.has_value());
  EXPECT_TRUE(sent.error().code() == Errc::kChanged || sent.error().code() == Errc::kTruncated)
      << sent.error().message();
  EXPECT_EQ(receiver.wait_for_refusals(1).size(), 1U);
  EXPECT_FALSE(std::filesystem::exists(dir.file("inbox/file")));
}

// Goal:   a stop on either side ends both, and what has arrived is gone on with.
TEST(StopTest, AStopOfTheSenderLeavesWhatCanBeGoneOnWith) {
  const TempDir dir;
  const std::string path = dir.write("file", pattern(100 * kChunk));
  ReceiverThread receiver(into(dir.file("inbox")));
  StopPipe stop;
  ExchangeReport so_far;
  SendOptions options = change_at(3 * kChunk, [&] { stop.raise(); });
  options.exchange.stop_fd = stop.fd();
  options.so_far = &so_far;
  const auto stopped = send_file(path, receiver.endpoint(), options);
  ASSERT_FALSE(stopped.has_value());
  EXPECT_EQ(stopped.error().code(), Errc::kCancelled) << stopped.error().message();
  EXPECT_GE(so_far.bytes, 3 * kChunk);
  EXPECT_LE(so_far.bytes, (3 + wire::kChunksAheadMax) * kChunk) << "what was under way";
  static_cast<void>(receiver.wait_for_refusals(1));
  const auto sent = send_file(path, receiver.endpoint(), send_options());
  ASSERT_TRUE(sent.has_value()) << sent.error().message();
  EXPECT_GE(sent->resumed_from_bytes, so_far.bytes);
  ASSERT_TRUE(receiver.join().has_value());
  EXPECT_TRUE(read_file(dir.file("inbox/file")) == read_file(path));
}

TEST(StopTest, AStopOfTheReceiverIsToldToTheSender) {
  const TempDir dir;
  ReceiverThread receiver(into(dir.file("inbox")));
  std::optional<Peer> peer(receiver.endpoint());
  peer->begin(offer_of("file", 3 * kChunk));
  std::thread stopping([&] {
    const auto stopped = receiver.stop();
    ASSERT_FALSE(stopped.has_value());
    EXPECT_EQ(stopped.error().code(), Errc::kCancelled);
  });
  const auto answer = peer->hear();
  ASSERT_FALSE(answer.has_value());
  EXPECT_NE(answer.error().message().find("stopped"), std::string::npos);
  EXPECT_NE(answer.error().code(), Errc::kCancelled) << "this side was not asked to stop";
  peer.reset();
  stopping.join();
}

// How one exchange ended on both sides, with every call of it under a plan.
struct Ends {
  bool was_sent = false;
  bool was_received = false;
};

// A receiver that gave up closes its socket: the sender must not have to wait for its idle limit.
Ends exchange_once(const std::string& path, const std::string& inbox, const StopPipe& stop) {
  Ends ends;
  ReceiverOptions options;
  options.target = inbox;
  options.exchange.stop_fd = stop.fd();
  options.exchange.idle_limit = kPatience;
  auto receiver = Receiver::open({.host = "127.0.0.1"}, options);
  if (!receiver) {
    return ends;
  }
  const Endpoint endpoint = receiver->endpoint();
  std::thread receiving([&ends, at_work = std::move(*receiver)]() mutable {
    Receiver closed_at_the_end = std::move(at_work);
    ends.was_received = closed_at_the_end.receive_file().has_value();
  });
  ends.was_sent = send_file(path, endpoint, send_options()).has_value();
  if (!ends.was_sent) {
    stop.raise();
  }
  receiving.join();
  return ends;
}

class NthCallTest : public ::testing::TestWithParam<sys::Call> {};

// Goal:   whichever system call fails on whichever side: both ends come to an end, the name stands
//         for the whole file or for nothing, and the sender believes in it only if it is there.
// Method: fail call 1, 2, 3 ... of the kind with an I/O error until a run meets no fault.
TEST_P(NthCallTest, TheNameStandsForAllOrNothing) {
  const TempDir dir;
  const std::string content = pattern(3 * kChunk + 9);
  const std::string path = dir.write("file", content);
  testing::fail_each_nth(sys::name_of(GetParam()), [&](testing::NthFault& fault) {
    const std::string inbox = dir.file("inbox" + std::to_string(fault.nth));
    std::filesystem::create_directory(inbox);
    const StopPipe stop;
    Ends ends;
    {
      const sys::FaultPlan plan({.call = GetParam(), .nth = fault.nth, .error = EIO});
      ends = exchange_once(path, inbox, stop);
      fault.was_hit = plan.hits() > 0;
    }
    const std::string target = inbox + "/file";
    const bool is_there = std::filesystem::exists(target);
    ASSERT_TRUE(!is_there || read_file(target) == content);
    ASSERT_TRUE(is_there || (!ends.was_sent && !ends.was_received));
    std::filesystem::remove_all(inbox);
    EXPECT_TRUE(fault.was_hit || (ends.was_sent && ends.was_received));
  });
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, NthCallTest,
    ::testing::Values(sys::Call::kOpen, sys::Call::kClose, sys::Call::kStatus, sys::Call::kRead,
                      sys::Call::kWrite, sys::Call::kTruncate, sys::Call::kSyncAll,
                      sys::Call::kSyncRange, sys::Call::kMap, sys::Call::kUnmap, sys::Call::kSocket,
                      sys::Call::kSend, sys::Call::kReceive, sys::Call::kFileSystem,
                      sys::Call::kControl, sys::Call::kPoll, sys::Call::kRename, sys::Call::kUnlink,
                      sys::Call::kSendFile, sys::Call::kSplice, sys::Call::kMetadata),
    [](const auto& tested) {
      std::string name = sys::name_of(tested.param);
      std::erase_if(name, [](char letter) { return std::isalnum(letter) == 0; });
      return name;
    });

// Goal:   short transfers change nothing but the number of calls.
TEST(ShortTransferTest, OneByteAtATimeIsTheSameFile) {
  const TempDir dir;
  const std::string path = dir.write("file", pattern(kChunk + 100));
  for (const sys::Call call : {sys::Call::kSend, sys::Call::kReceive, sys::Call::kRead,
                               sys::Call::kWrite, sys::Call::kSendFile}) {
    SCOPED_TRACE(sys::name_of(call));
    const std::string inbox = dir.file("inbox");
    std::filesystem::create_directory(inbox);
    const StopPipe stop;
    {
      const sys::FaultPlan plan({.call = call, .times = 1'000'000, .transfer_bytes_max = 1});
      const Ends ends = exchange_once(path, inbox, stop);
      EXPECT_TRUE(ends.was_sent && ends.was_received);
    }
    EXPECT_TRUE(read_file(inbox + "/file") == read_file(path));
    std::filesystem::remove_all(inbox);
  }
}

// Goal:   a sparse file that is longer than the file system's files can be does not end the
//         receiver: the next one may fit.
// Method: the third ftruncate, which makes the hole, fails as it does on a file system with a
//         limit.
TEST(LongFileTest, AFileThatIsTooLongForTheFileSystemIsRefusedAndTheNextOneServed) {
  const TempDir dir;
  const std::string path = dir.write("sparse", "");
  std::filesystem::resize_file(path, kChunk);
  const sys::FaultPlan plan({.call = sys::Call::kTruncate, .nth = 3, .error = EFBIG});
  ReceiverThread receiver(into(dir.file("inbox")));
  const auto refused = send_file(path, receiver.endpoint(), send_options());
  ASSERT_EQ(plan.hits(), 1U);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), (std::error_code{EFBIG, std::system_category()}));
  EXPECT_TRUE(send_file(path, receiver.endpoint(), send_options()).has_value());
  EXPECT_TRUE(receiver.join().has_value());
}

// A small tmpfs of its own. Root only.
class FullDiskTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directory(disk_);
    const std::string problem = mount_.mount("tmpfs", "quire-test", disk_, "size=1m");
    if (!problem.empty()) {
      GTEST_SKIP() << "a small tmpfs: " << problem;
    }
  }

  const TempDir dir_;
  const std::string disk_ = dir_.file("disk");
  testing::Mount mount_;
};

// Goal:   a disk that gets full in the middle is an error on both sides that says so, and what has
//         arrived is gone on with once there is room.
// Method: half of the disk is taken when the third chunk has arrived.
TEST_F(FullDiskTest, ADiskThatGetsFullEndsBothSidesAndIsGoneOnWithLater) {
  const std::string path = dir_.write("file", pattern(200 * kChunk));
  const std::error_code no_space{ENOSPC, std::system_category()};
  {
    ReceiverThread receiver(into(disk_));
    const auto sent = send_file(path, receiver.endpoint(), change_at(3 * kChunk, [&] {
                                  std::ofstream(disk_ + "/filler") << pattern(600'000);
                                }));
    ASSERT_FALSE(sent.has_value());
    EXPECT_NE(sent.error().message().find("No space"), std::string::npos) << sent.error().message();
    const auto got = receiver.join();
    ASSERT_FALSE(got.has_value());
    EXPECT_EQ(got.error().code(), no_space) << got.error().message();
    EXPECT_EQ(names_in(disk_), (Names{"file.quire-offer", "file.quire-part", "filler"}));
  }
  std::filesystem::remove(disk_ + "/filler");
  ReceiverThread receiver(into(disk_));
  const auto sent = send_file(path, receiver.endpoint(), send_options());
  ASSERT_TRUE(sent.has_value()) << sent.error().message();
  EXPECT_GE(sent->resumed_from_bytes, 3 * kChunk);
  ASSERT_TRUE(receiver.join().has_value());
  EXPECT_TRUE(read_file(disk_ + "/file") == read_file(path));
}

TEST_F(FullDiskTest, AFileThatCannotFitIsRefusedBeforeItsBytesCome) {
  const std::string path = dir_.write("file", pattern(2 << 20));
  ReceiverThread receiver(into(disk_));
  const auto sent = send_file(path, receiver.endpoint(), send_options());
  ASSERT_FALSE(sent.has_value());
  EXPECT_EQ(sent.error().code(), (std::error_code{ENOSPC, std::system_category()}));
  static_cast<void>(receiver.wait_for_refusals(1));
  EXPECT_EQ(names_in(disk_), Names{});
}

}  // namespace
}  // namespace quire::internal
