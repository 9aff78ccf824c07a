// SPDX-License-Identifier: Apache-2.0
//
// What the tests of survive_kill share. A child process maps, stores and says what it stored in
// memory that it shares with the test; the test itself never has a pager: children that are forked
// by a process that has one cannot have their own.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>

#include <cerrno>
#include <cstdlib>
#include <functional>
#include <string>

#include "quire/pager/pager.h"
#include "quire/testing/pager_fixture.h"
#include "quire/testing/process.h"
#include "quire/testing/shared_memory.h"
#include "quire/testing/temp_dir.h"

namespace quire::testing {

inline const WritablePagedOptions kPaged{
    .access = Access::kReadWrite, .engine = PagingEngine::kPaged, .reserve_bytes = 32_MiB};

inline PagerOptions surviving(FaultPath path = FaultPath::kAutomatic) {
  return {.memory_bytes = 1_MiB, .fault_path = path, .survive_kill = SurviveKill::kYes};
}

// The number in "(guardian process 4711)"; 0: there is none.
inline int guardian_of(const PagedArea& area) {
  static const std::string before = "guardian process ";
  const std::string text = area.explain();
  const std::size_t at = text.find(before);
  return at == std::string::npos ? 0 : std::atoi(text.c_str() + at + before.size());
}

inline bool has_ended(int pid) {
  return ::kill(pid, 0) != 0 && errno == ESRCH;
}

class SurviveKillTest : public ::testing::Test {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "fork beside threads: gcc's sanitizers do not survive it";
#endif
    if (const std::string why = why_no_paging(FaultPath::kInline); !why.empty()) {
      GTEST_SKIP() << "userfaultfd: " << why;
    }
  }

  // What became of a child that was to end with 0.
  static void expect_success(const std::function<int()>& body) {
    const ChildEnd end = Child(body).join();
    EXPECT_EQ(end.signal, 0);
    EXPECT_EQ(end.exit_code, 0);
  }

  const TempDir directory_;
};

}  // namespace quire::testing
