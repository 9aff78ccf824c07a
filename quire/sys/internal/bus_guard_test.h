// SPDX-License-Identifier: Apache-2.0
//
// What the tests of bus_guard share: memory that raises SIGBUS, and handlers a program may have had
// before ours, which note what they got and jump out.
#pragma once

#include <gtest/gtest.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <optional>
#include <span>

#include "quire/base/check.h"
#include "quire/sys/bus_guard.h"

namespace quire::sys::internal {

inline constexpr std::size_t kPageBytes = 4096;
inline constexpr std::size_t kPages = 4;

// A shared mapping whose file has no pages left: every access raises SIGBUS.
class BarePages {
 public:
  BarePages() : fd_(memfd_create("bare", MFD_CLOEXEC)) {
    QUIRE_CHECK_EQ(ftruncate(fd_, kPages * kPageBytes), 0);
    void* address = mmap(nullptr, kPages * kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
    QUIRE_CHECK(address != MAP_FAILED);
    first_ = static_cast<std::byte*>(address);
    QUIRE_CHECK_EQ(ftruncate(fd_, 0), 0);
  }
  ~BarePages() {
    munmap(first_, kPages * kPageBytes);
    ::close(fd_);
  }
  BarePages(const BarePages&) = delete;
  BarePages& operator=(const BarePages&) = delete;

  [[nodiscard]] std::span<const std::byte> bytes() const { return {first_, kPages * kPageBytes}; }
  [[nodiscard]] std::byte load(std::size_t offset) const {
    return *static_cast<volatile std::byte*>(first_ + offset);
  }
  void store(std::size_t offset) const {
    *static_cast<volatile std::byte*>(first_ + offset) = std::byte{1};
  }
  [[nodiscard]] bool grow() const noexcept { return ftruncate(fd_, kPages * kPageBytes) == 0; }
  [[nodiscard]] std::uintptr_t address(std::size_t offset) const {
    return reinterpret_cast<std::uintptr_t>(first_ + offset);
  }

 private:
  int fd_;
  std::byte* first_ = nullptr;
};

template <typename Fn>
std::optional<BusFault> guard(std::span<const std::byte> region, Fn fn) {
  const Result<void> ready = prepare_guard();
  EXPECT_TRUE(ready.has_value()) << ready.error().message();
  return run_guarded(region,
                     {.run = [](void* self) { (*static_cast<Fn*>(self))(); }, .argument = &fn});
}

// Each test starts without our handler and leaves SIGBUS as it found it.
class BusGuardTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(remove_guard_handler().has_value());
    sigaction(SIGBUS, nullptr, &before_);
  }
  void TearDown() override {
    static_cast<void>(remove_guard_handler());
    sigaction(SIGBUS, &before_, nullptr);
  }

  BarePages bare_;

 private:
  struct sigaction before_{};
};

inline sigjmp_buf g_escape;
inline int g_seen_signal = 0;
inline void* g_seen_address = nullptr;
inline bool g_seen_mask_usr1 = false;
inline bool g_seen_mask_usr2 = false;
inline bool g_seen_mask_bus = false;

inline void note_mask() {
  sigset_t mask;
  pthread_sigmask(SIG_BLOCK, nullptr, &mask);
  g_seen_mask_usr1 = sigismember(&mask, SIGUSR1) == 1;
  g_seen_mask_usr2 = sigismember(&mask, SIGUSR2) == 1;
  g_seen_mask_bus = sigismember(&mask, SIGBUS) == 1;
}

inline void escape_with_info(int signal, siginfo_t* info, void*) {
  g_seen_signal = signal;
  g_seen_address = info->si_addr;
  note_mask();
  siglongjmp(g_escape, 1);
}

inline void escape_plain(int signal) {
  g_seen_signal = signal;
  note_mask();
  siglongjmp(g_escape, 1);
}

inline void install(void (*plain)(int), unsigned flags = 0) {
  struct sigaction action{};
  action.sa_handler = plain;
  action.sa_flags = static_cast<int>(flags);
  sigaddset(&action.sa_mask, SIGUSR1);
  sigaction(SIGBUS, &action, nullptr);
}

// True when `fn` was left through one of the handlers above.
template <typename Fn>
bool escapes(Fn fn) {
  g_seen_signal = 0;
  g_seen_address = nullptr;
  if (sigsetjmp(g_escape, 1) != 0) {
    return true;
  }
  fn();
  return false;
}

}  // namespace quire::sys::internal
