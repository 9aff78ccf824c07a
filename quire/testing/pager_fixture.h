// SPDX-License-Identifier: Apache-2.0
//
// What the tests of areas share: where paging can be had at all, single loads and stores that the
// compiler keeps, and loads that may meet SIGBUS or SIGSEGV.
#pragma once

#include <gtest/gtest.h>
#include <setjmp.h>
#include <signal.h>

#include <atomic>
#include <optional>
#include <span>
#include <string>

#include "quire/pager/pager.h"
#include "quire/sys/bus_guard.h"
#include "quire/sys/user_fault.h"

namespace quire::testing {

inline constexpr std::uint64_t kGranule = 4_KiB;

// "" where areas with this fault path can be had, else the text of the skip.
inline std::string why_no_paging(FaultPath path) {
#if defined(__SANITIZE_THREAD__)
  if (path != FaultPath::kHandler) {
    return "inline delivery: ThreadSanitizer delivers its signals late";
  }
#endif
  static_cast<void>(path);
  const auto faults = sys::open_user_fault({});
  return faults ? "" : faults.error().message();
}

inline std::string path_name(const ::testing::TestParamInfo<FaultPath>& info) {
  return name_of(info.param);
}

inline std::byte load_byte(const std::byte* address) {
  return *static_cast<const volatile std::byte*>(address);
}
inline void store_byte(std::byte* address, std::byte value) {
  *static_cast<volatile std::byte*>(address) = value;
}

// The fault of a load, or nothing when it succeeds.
inline std::optional<sys::BusFault> bus_fault_of(const std::byte* address) {
  EXPECT_TRUE(sys::prepare_guard().has_value());
  const auto run = [](void* at) { static_cast<void>(load_byte(static_cast<std::byte*>(at))); };
  return sys::run_guarded(std::span(address, 1),
                          {.run = run, .argument = const_cast<std::byte*>(address)});
}

// Whoever served a fault has done so completely, its counters included: with FaultPath::kHandler
// that is the pager's thread, which wakes the one that faulted a little earlier.
inline void settle(const PagedArea& area) {
  EXPECT_TRUE(area.prefetch({0, 0}).wait().has_value());
}

// While it exists, load() survives SIGSEGV, in any thread.
class SegvTrap {
 public:
  SegvTrap() {
    struct sigaction action{};
    action.sa_handler = [](int) { siglongjmp(return_point(), 1); };
    action.sa_flags = SA_NODEFER;
    sigaction(SIGSEGV, &action, &before_);
  }
  ~SegvTrap() { sigaction(SIGSEGV, &before_, nullptr); }
  SegvTrap(const SegvTrap&) = delete;
  SegvTrap& operator=(const SegvTrap&) = delete;

  // Nothing: it met SIGSEGV.
  [[nodiscard]] static std::optional<std::byte> load(const std::byte* address) {
    if (sigsetjmp(return_point(), 1) != 0) {
      return std::nullopt;
    }
    return load_byte(address);
  }

 private:
  static sigjmp_buf& return_point() {
    static thread_local sigjmp_buf point;
    return point;
  }
  struct sigaction before_{};
};

}  // namespace quire::testing
