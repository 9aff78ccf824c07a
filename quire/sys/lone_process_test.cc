// SPDX-License-Identifier: Apache-2.0
//
// A process that is not there for its maker, the memory it gives back, and the signs by which
// others know of it: locks of a byte, descriptors that forked children do not have.
#include "quire/sys/lone_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>

#include "quire/sys/byte_lock.h"
#include "quire/sys/file.h"
#include "quire/sys/fork.h"
#include "quire/sys/internal/inherited_memory.h"
#include "quire/sys/memory.h"
#include "quire/sys/process_identity.h"
#include "quire/sys/socket.h"
#include "quire/sys/socket_io.h"
#include "quire/testing/process.h"
#include "quire/testing/temp_dir.h"

namespace quire::sys {
namespace {

constexpr std::uint64_t kFarByte = 0x7000'0000'0000'0000;

// --- Lines of /proc/self/maps --------------------------------------------------------------------

struct MapLine {
  const char* text;
  bool is_valid;
  bool is_shared;
  bool is_of_file;
  bool is_named_by_kernel;
};

TEST(InheritedMemoryTest, LinesAreTakenApart) {
  constexpr std::array kLines{
      MapLine{"55d0c0000000-55d0c0021000 rw-p 00000000 00:00 0   [heap]", true, false, false,
              false},
      MapLine{"7f0000000000-7f0000001000 rw-p 00000000 00:00 0 ", true, false, false, false},
      MapLine{"7f0000000000-7f0000001000 r-xp 00001000 fd:01 12  /lib/x y", true, false, true,
              false},
      MapLine{"7f0000000000-7f0000001000 rw-s 00000000 00:01 9 /memfd:a (deleted)", true, true,
              true, false},
      MapLine{"7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0   [stack]", true, false, false,
              true},
      MapLine{"7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0   [anon:x]", true, false, false,
              false},
      MapLine{"7ffc00000000-7ffc00021000", false, false, false, false},
      MapLine{"7ffc00000000-7ffc00021000 rw", false, false, false, false},
      MapLine{"", false, false, false, false}};
  for (const MapLine& line : kLines) {
    SCOPED_TRACE(line.text);
    internal::MappedRange mapped;
    ASSERT_EQ(internal::parse_map_line(line.text, mapped), line.is_valid);
    if (line.is_valid) {
      EXPECT_EQ(mapped.is_shared, line.is_shared);
      EXPECT_EQ(mapped.is_of_file, line.is_of_file);
      EXPECT_EQ(mapped.is_named_by_kernel, line.is_named_by_kernel);
      EXPECT_LT(mapped.range.begin, mapped.range.end);
    }
  }
}

// --- The process ---------------------------------------------------------------------------------

struct Told {
  int socket = -1;
  pid_t session = 0;
  int other_descriptor = -1;
  bool was_other_open = true;
};

// Says what it sees, then waits for the end of the stream.
int tell(void* argument) noexcept {
  Told& told = *static_cast<Told*>(argument);
  told.session = ::getsid(0);
  told.was_other_open = ::fcntl(told.other_descriptor, F_GETFD) >= 0;
  const auto bytes = std::as_bytes(std::span(&told, 1));
  static_cast<void>(send_some(told.socket, bytes, {}));
  std::byte end{};
  static_cast<void>(receive_some(told.socket, std::span(&end, 1)));
  return 7;
}

// Goal:   it has a session and descriptors of its own, its maker's wait() does not find it, and it
//         can be awaited and reaped by who knows it.
TEST(LoneProcessTest, IsNotThereForItsMaker) {
  constexpr std::uint64_t kBytes = 256 * 1024;
  const Address memory = map_pages({.length_bytes = kBytes,
                                    .protection = Protection::kReadWrite,
                                    .visibility = Visibility::kPrivate})
                             .value();
  auto [near, far] = connected_pair().value();
  Told& argument = *new (memory) Told;
  argument.socket = far.get();
  argument.other_descriptor = near.get();
  const int pid = start_lone_process({.name = "lone-test",
                                      .work = tell,
                                      .argument = &argument,
                                      .descriptor = far.get(),
                                      .stack = std::span(memory, kBytes).last(kBytes / 2),
                                      .kept = {std::span(memory, kBytes)}})
                      .value();
  static_cast<void>(far.close());
  Told told;
  ASSERT_EQ(receive_some(near.get(), std::as_writable_bytes(std::span(&told, 1))).value(),
            sizeof told);
  EXPECT_EQ(told.session, pid);
  EXPECT_FALSE(told.was_other_open);
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
  const Descriptor process = open_process(pid).value();
  EXPECT_EQ(wait_readable(process.get(), 0).value(), PollResult::kTimedOut);
  static_cast<void>(near.close());
  EXPECT_EQ(wait_readable(process.get(), 60'000).value(), PollResult::kReadable);
  EXPECT_TRUE(reap_lone_process(pid).has_value());
  EXPECT_EQ(open_process(pid).error().value, ESRCH);
  static_cast<void>(unmap_pages(memory, kBytes));
}

// --- Signs ---------------------------------------------------------------------------------------

// Goal:   a lock of the process tells its number, one of the open file does not; both go with their
//         holder, and neither stands in its own way.
TEST(ByteLockTest, TellsItsHolderUntilHeIsGone) {
  const testing::TempDir directory;
  const std::string path = directory.write("data", "x");
  const Descriptor mine = open_file(path.c_str(), {}).value();
  for (const LockHolder holder : {LockHolder::kProcess, LockHolder::kOpenFile}) {
    EXPECT_FALSE(find_byte_lock(mine.get(), kFarByte).value().has_value());
    const testing::Signal is_locked;
    testing::Child child([&] {
      const Descriptor theirs = open_file(path.c_str(), {}).value();
      const bool is_mine = lock_byte_shared(theirs.get(), kFarByte, holder).has_value();
      is_locked.raise();
      ::pause();
      return is_mine ? 0 : 1;
    });
    is_locked.wait();
    const std::optional<ByteLock> lock = find_byte_lock(mine.get(), kFarByte).value();
    ASSERT_TRUE(lock.has_value());
    EXPECT_EQ(lock->pid, holder == LockHolder::kProcess ? child.pid() : -1);
    EXPECT_FALSE(find_byte_lock(mine.get(), kFarByte + 1).value().has_value());
    EXPECT_TRUE(lock_byte_shared(mine.get(), kFarByte, LockHolder::kOpenFile).has_value());
    child.kill(SIGKILL);
    child.join();
    EXPECT_FALSE(find_byte_lock(mine.get(), kFarByte).value().has_value());
  }
}

// Goal:   a forked child does not have the descriptor, and its copy of the object harms nobody.
TEST(UnsharedDescriptorTest, IsClosedInAForkedChild) {
  auto [near, far] = connected_pair().value();
  UnsharedDescriptor end = UnsharedDescriptor::adopt(std::move(near)).value();
  const int number = end.get();
  testing::Child child([&] {
    const bool is_gone = ::fcntl(number, F_GETFD) < 0 && end.get() == -1;
    const Descriptor other(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, number));
    end.close();
    return is_gone && other.get() == number && ::fcntl(number, F_GETFD) >= 0 ? 0 : 1;
  });
  EXPECT_EQ(child.join().exit_code, 0);
  EXPECT_EQ(wait_readable(far.get(), 0).value(), PollResult::kTimedOut);
  UnsharedDescriptor moved = std::move(end);
  EXPECT_EQ(end.get(), -1);  // NOLINT(bugprone-use-after-move): that is the claim.
  moved.close();
  EXPECT_EQ(wait_readable(far.get(), 60'000).value(), PollResult::kReadable);
}

}  // namespace
}  // namespace quire::sys
