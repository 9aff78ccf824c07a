// SPDX-License-Identifier: Apache-2.0
//
// What the tests of areas share: where paging can be had at all, single loads and stores that the
// compiler keeps, and loads that may meet SIGBUS or SIGSEGV.
#pragma once

#include <gtest/gtest.h>
#include <setjmp.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>

#include "quire/pager/pager.h"
#include "quire/sys/bus_guard.h"
#include "quire/sys/user_fault.h"
#include "quire/testing/temp_dir.h"

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

// Of commits' tests: every one of them with both.
inline const auto kFaultPaths = ::testing::Values(FaultPath::kInline, FaultPath::kHandler);

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

// Where each access faults once. A thread that made a ring is interrupted by the kernel some time
// after the ring's end, also in its sleep for a page: then it faults twice.
template <typename Run>
void in_fresh_thread(Run&& run) {
  std::thread(std::forward<Run>(run)).join();
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

inline const PagedOptions kReadOnly{.engine = PagingEngine::kPaged};
inline const WritablePagedOptions kWritable{
    .access = Access::kReadWrite, .engine = PagingEngine::kPaged, .reserve_bytes = 16_MiB};

// Whether the bytes are those of pattern() from `from` on.
inline bool is_pattern(std::span<const std::byte> bytes, std::uint64_t from = 0) {
  return std::ranges::equal(bytes, pattern_bytes(from, bytes.size()));
}

// A pager of 1 MiB and a directory, once for each fault path.
class AreaTest : public ::testing::TestWithParam<FaultPath> {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_paging(GetParam()); !why.empty()) {
      GTEST_SKIP() << why;
    }
  }

  [[nodiscard]] std::string file(std::uint64_t size_bytes) const {
    return directory_.write("data", pattern(size_bytes));
  }
  [[nodiscard]] WritablePagedArea map_random(std::uint64_t size_bytes) {
    WritablePagedArea area = pager_.map(file(size_bytes), kWritable).value();
    EXPECT_TRUE(area.advise(kWholeFile, Pattern::kRandom).has_value() || size_bytes == 0);
    return area;
  }

  const TempDir directory_;
  Pager pager_{{.memory_bytes = 1_MiB, .fault_path = GetParam()}};
};

}  // namespace quire::testing
