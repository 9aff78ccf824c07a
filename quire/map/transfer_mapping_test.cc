// SPDX-License-Identifier: Apache-2.0
#include "quire/map/transfer_mapping.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "quire/testing/process.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using testing::TempDir;

constexpr std::uint64_t kBytes = 2 * 4096;

class TransferTest : public ::testing::Test {
 protected:
  TransferTest() { EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends_), 0); }
  ~TransferTest() override {
    close(ends_[0]);
    close(ends_[1]);
  }
  static WritableMapping make(sys::Seals seals = sys::Seals::kShrink) {
    WritableMapping memory =
        map_anonymous({.size_bytes = kBytes, .sharing = Sharing::kShared}).value();
    EXPECT_TRUE(memory.seal(seals));
    return memory;
  }

  int ends_[2];
};

TEST_F(TransferTest, ReceiverInAnotherProcessSeesTheSameBytes) {
  WritableMapping memory = make();
  memory.bytes()[0] = std::byte{'a'};
  testing::Child child([&] {
    Result<WritableMapping> received =
        receive_mapping(ends_[1], {.access = Access::kReadWrite, .minimum_bytes = kBytes});
    if (!received || received->bytes()[0] != std::byte{'a'}) {
      return 1;
    }
    received->bytes()[4096] = std::byte{'b'};
    return fcntl(received->descriptor(), F_GETFD) & FD_CLOEXEC ? 0 : 2;
  });
  ASSERT_TRUE(send_mapping(ends_[0], memory));
  EXPECT_EQ(child.join().exit_code, 0);
  EXPECT_EQ(memory.bytes()[4096], std::byte{'b'});
}

TEST_F(TransferTest, ShorterThanAgreedIsRefused) {
  ASSERT_TRUE(send_mapping(ends_[0], make()));
  const Result<Mapping> received = receive_mapping(ends_[1], {.minimum_bytes = kBytes + 1});
  ASSERT_FALSE(received);
  EXPECT_EQ(received.error().code(), Errc::kTruncated);
}

TEST_F(TransferTest, MissingSealIsRefused) {
  ASSERT_TRUE(send_mapping(ends_[0], make(sys::Seals::kGrow)));
  EXPECT_EQ(receive_mapping(ends_[1]).error().code(), Errc::kSealed);
  // An ordinary file has no seals at all.
  const TempDir dir;
  ASSERT_TRUE(send_mapping(ends_[0], map(dir.write("f", "abc")).value()));
  EXPECT_EQ(receive_mapping(ends_[1]).error().code(), Errc::kSealed);
  ASSERT_TRUE(send_mapping(ends_[0], map(dir.file("f")).value()));
  EXPECT_EQ(receive_mapping(ends_[1], {.required_seals = sys::Seals::kNone})->text(), "abc");
}

TEST_F(TransferTest, FutureWriteSealGivesTheReceiverReadOnlyMemory) {
  WritableMapping memory = make(sys::Seals::kShrink | sys::Seals::kFutureWrite);
  ASSERT_TRUE(send_mapping(ends_[0], memory));
  ASSERT_TRUE(send_mapping(ends_[0], memory));
  EXPECT_FALSE(receive_mapping(ends_[1], {.access = Access::kReadWrite}));
  const Mapping received = receive_mapping(ends_[1]).value();
  memory.bytes()[7] = std::byte{'w'};
  EXPECT_EQ(received.bytes()[7], std::byte{'w'});
}

TEST_F(TransferTest, OtherKindsOfDescriptorsAreRefused) {
  int pipe_ends[2];
  ASSERT_EQ(pipe2(pipe_ends, O_CLOEXEC), 0);
  ASSERT_TRUE(sys::send_descriptor(ends_[0], pipe_ends[0]));
  EXPECT_EQ(receive_mapping(ends_[1]).error().code(), Errc::kWrongKind);
  close(pipe_ends[0]);
  close(pipe_ends[1]);
}

TEST_F(TransferTest, BytesWithoutADescriptorAreRefused) {
  ASSERT_EQ(write(ends_[0], "x", 1), 1);
  EXPECT_EQ(receive_mapping(ends_[1]).error().code(), std::errc::bad_message);
}

TEST_F(TransferTest, MoreThanOneDescriptorIsRefusedAndNoneLeaks) {
  const int before = testing::count_open_descriptors();
  const int sent[3] = {0, 1, 2};
  char byte = 1;
  iovec data{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof sent)] = {};
  msghdr header{};
  header.msg_iov = &data;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  cmsghdr* part = CMSG_FIRSTHDR(&header);
  part->cmsg_level = SOL_SOCKET;
  part->cmsg_type = SCM_RIGHTS;
  part->cmsg_len = CMSG_LEN(sizeof sent);
  std::memcpy(CMSG_DATA(part), sent, sizeof sent);
  ASSERT_EQ(sendmsg(ends_[0], &header, 0), 1);
  EXPECT_EQ(receive_mapping(ends_[1]).error().code(), std::errc::bad_message);
  EXPECT_EQ(testing::count_open_descriptors(), before);
}

TEST_F(TransferTest, PeerThatHungUpIsAnErrorOnBothSides) {
  const WritableMapping memory = make();
  close(ends_[1]);
  EXPECT_EQ(send_mapping(ends_[0], memory).error().code(), std::errc::broken_pipe);
  EXPECT_EQ(receive_mapping(ends_[0]).error().code(), std::errc::not_connected);
  ends_[1] = dup(ends_[0]);
}

TEST_F(TransferTest, PrivateMemoryHasNothingToSend) {
  const WritableMapping memory = map_anonymous({.size_bytes = 10}).value();
  EXPECT_EQ(send_mapping(ends_[0], memory).error().code(), Errc::kUnsupported);
}

}  // namespace
}  // namespace quire
