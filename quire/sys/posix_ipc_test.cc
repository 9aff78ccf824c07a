// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/posix_ipc.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "quire/testing/process.h"

namespace quire::sys {
namespace {

TEST(PosixIpcTest, TheMutexIsSharedAndTellsOfADeadOwner) {
  void* memory = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  auto& mutex = *static_cast<RobustMutex*>(memory);
  ASSERT_TRUE(mutex.open());
  ASSERT_TRUE(mutex.lock());
  mutex.unlock();
  testing::Child owner([&] { return mutex.lock() ? 0 : 1; });
  EXPECT_EQ(owner.join().exit_code, 0);
  EXPECT_FALSE(mutex.lock());
  munmap(memory, 4096);
}

TEST(PosixIpcTest, MessagesStayApartAndInOrder) {
  auto queue = create_message_queue(4, 8);
  if (!queue) {
    GTEST_SKIP() << "POSIX message queue: " << errno_name(queue.error().value);
  }
  const std::array<std::byte, 3> three{std::byte{3}};
  const std::array<std::byte, 5> five{std::byte{5}};
  ASSERT_TRUE(send_message(queue->get(), three));
  ASSERT_TRUE(send_message(queue->get(), five));
  std::array<std::byte, 8> into{};
  EXPECT_EQ(receive_message(queue->get(), into).value(), 3U);
  EXPECT_EQ(into[0], std::byte{3});
  EXPECT_EQ(receive_message(queue->get(), into).value(), 5U);
  EXPECT_EQ(into[0], std::byte{5});
}

}  // namespace
}  // namespace quire::sys
