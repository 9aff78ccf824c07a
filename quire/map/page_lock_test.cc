// SPDX-License-Identifier: Apache-2.0
#include "quire/map/page_lock.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>

#include "quire/sys/call.h"
#include "quire/sys/descriptor.h"
#include "quire/testing/page_cache.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using testing::kPageBytes;

constexpr std::size_t kBytes = 16 * kPageBytes;

class Pages {
 public:
  explicit Pages(int fd = -1)
      : address_(mmap(nullptr, kBytes, PROT_READ | PROT_WRITE,
                      fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd, 0)) {
    QUIRE_CHECK(address_ != MAP_FAILED);
  }
  ~Pages() { munmap(address_, kBytes); }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  [[nodiscard]] std::span<const std::byte> bytes() const {
    return {static_cast<const std::byte*>(address_), kBytes};
  }

 private:
  void* address_;
};

std::uint64_t locked_bytes() {
  return sys::process_limits().locked_now_bytes.value();
}

sys::ProcessLimits limits_of(std::uint64_t soft_bytes, std::uint64_t hard_bytes) {
  sys::ProcessLimits limits;
  limits.locked_bytes.is_known = true;
  limits.locked_bytes.soft = soft_bytes;
  limits.locked_bytes.hard = hard_bytes;
  limits.locked_now_bytes = 1_MiB;
  return limits;
}

TEST(PreflightLockTest, WhatFitsIsFine) {
  EXPECT_TRUE(preflight_lock(7_MiB, limits_of(8_MiB, 8_MiB), {}).has_value());
  EXPECT_TRUE(preflight_lock(0, limits_of(0, 0), {}).has_value());
}

TEST(PreflightLockTest, TheErrorNamesTheLimitItsValueAndTheWaysToRaiseIt) {
  const Result<void> refused = preflight_lock(7_MiB + 1, limits_of(8_MiB, 8_MiB), {});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Errc::kLimit);
  const std::string message = refused.error().message();
  for (const char* part : {"RLIMIT_MEMLOCK is 8.0 MiB", "1.0 MiB are locked", "CAP_IPC_LOCK",
                           "LimitMEMLOCK=8196K", "setcap cap_ipc_lock=ep"}) {
    EXPECT_NE(message.find(part), std::string::npos) << part << " in: " << message;
  }
  EXPECT_EQ(message.find("ulimit -l"), std::string::npos) << "the hard limit forbids it";
  const Result<void> soft = preflight_lock(8_MiB, limits_of(8_MiB, 64_MiB), {});
  EXPECT_NE(soft.error().message().find("ulimit -l 9216"), std::string::npos)
      << soft.error().message();
}

TEST(PreflightLockTest, ACapabilityLiftsTheLimit) {
  sys::ProcessLimits limits = limits_of(0, 0);
  limits.may_lock_without_limit = true;
  EXPECT_TRUE(preflight_lock(1_GiB, limits, {}).has_value());
}

TEST(PreflightLockTest, MoreThanTheMemoryThereIsIsRefused) {
  sys::ProcessLimits limits = limits_of(0, 0);
  limits.may_lock_without_limit = true;
  sys::MemoryLimits memory;
  memory.binding_bytes = 64_MiB;
  memory.binding = "cgroup v2 /job: 64.0 MiB (1.0 MiB in use)";
  EXPECT_TRUE(preflight_lock(63_MiB, limits, memory).has_value());
  const Result<void> refused = preflight_lock(64_MiB, limits, memory);
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message().find("cgroup v2 /job"), std::string::npos);
}

TEST(PreflightLockTest, SumsThatOverflowAreRefused) {
  sys::MemoryLimits memory;
  memory.binding_bytes = 1_GiB;
  sys::ProcessLimits limits = limits_of(0, 0);
  limits.may_lock_without_limit = true;
  EXPECT_FALSE(preflight_lock(kToEnd, limits, memory).has_value());
}

TEST(PageLockTest, LocksWholePagesUntilItIsGone) {
  const Pages pages;
  const std::uint64_t before = locked_bytes();
  {
    const PageLock lock = PageLock::lock(pages.bytes().subspan(100, kPageBytes)).value();
    EXPECT_EQ(lock.pages().size(), 2 * kPageBytes);
    EXPECT_EQ(locked_bytes(), before + 2 * kPageBytes);
  }
  EXPECT_EQ(locked_bytes(), before);
}

TEST(PageLockTest, MovingHandsTheLockOn) {
  const Pages pages;
  const std::uint64_t before = locked_bytes();
  PageLock first = PageLock::lock(pages.bytes().first(kPageBytes), LockMode::kOnFault).value();
  PageLock second = std::move(first);
  EXPECT_EQ(locked_bytes(), before + kPageBytes);
  second = PageLock::lock(pages.bytes().subspan(4 * kPageBytes)).value();
  EXPECT_EQ(locked_bytes(), before + 12 * kPageBytes);
  EXPECT_TRUE(second.unlock().has_value());
  EXPECT_TRUE(second.unlock().has_value());
  EXPECT_EQ(locked_bytes(), before);
}

TEST(PageLockTest, AnEmptySpanLocksNothing) {
  EXPECT_TRUE(PageLock::lock({}).value().pages().empty());
}

TEST(PageLockTest, PagesPastTheEndOfTheFileAreAnErrorAndNothingStaysLocked) {
  const testing::TempDir directory;
  const std::string path = directory.write("file", testing::pattern(2 * kPageBytes));
  const sys::Descriptor file = sys::open_file(path.c_str(), {.write = true}).value();
  const Pages pages(file.get());
  const std::uint64_t before = locked_bytes();
  const Result<PageLock> refused = PageLock::lock(pages.bytes());
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Errc::kFault);
  EXPECT_NE(refused.error().message().find("offset 8192"), std::string::npos);
  EXPECT_EQ(locked_bytes(), before);
}

TEST(PageLockTest, ARefusalOfTheKernelIsPassedOn) {
  const Pages pages;
  const std::uint64_t before = locked_bytes();
  const sys::FaultPlan plan({.call = sys::Call::kLock, .error = ENOMEM});
  EXPECT_EQ(PageLock::lock(pages.bytes()).error().code(), std::errc::not_enough_memory);
  EXPECT_EQ(locked_bytes(), before);
}

TEST(PageLockTest, AnOrdinaryUserIsToldTheLimit) {
  if (geteuid() != 0) {
    GTEST_SKIP() << "changing the user: not root";
  }
  const Pages pages;
  const int exit_code = testing::run_as_nobody([&] {
    const rlimit limit{4 * kPageBytes, 4 * kPageBytes};
    QUIRE_CHECK_EQ(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
    const bool fits = PageLock::lock(pages.bytes().first(4 * kPageBytes)).has_value();
    const Result<PageLock> refused = PageLock::lock(pages.bytes().first(5 * kPageBytes));
    const bool names_limit =
        !refused && refused.error().message().find("RLIMIT_MEMLOCK") != std::string::npos;
    return fits && names_limit ? 0 : 1;
  });
  EXPECT_EQ(exit_code, 0);
}

}  // namespace
}  // namespace quire
