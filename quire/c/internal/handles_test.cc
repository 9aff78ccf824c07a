// SPDX-License-Identifier: Apache-2.0
//
// Handles when memory runs out: this program's operator new can be told to fail.
#include "quire/c/internal/handles.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>
#include <new>
#include <string>

#include "quire/c/tracked.h"
#include "quire/testing/nth_fault.h"
#include "quire/testing/temp_dir.h"

namespace {

// Of this thread: how many allocations succeed before one fails; negative: all.
thread_local long long successes_left = -1;
thread_local bool has_failed = false;

}  // namespace

// Not inlined: gcc would see a free() of what a new gave, and warn.
[[gnu::noinline]] void* operator new(std::size_t size_bytes) {
  if (successes_left == 0) {
    successes_left = -1;
    has_failed = true;
    throw std::bad_alloc();
  }
  if (successes_left > 0) {
    --successes_left;
  }
  void* const memory = std::malloc(size_bytes > 0 ? size_bytes : 1);
  if (memory == nullptr) {
    throw std::bad_alloc();
  }
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t /*size_bytes*/) noexcept {
  std::free(memory);
}

namespace quire::c {
namespace {

// Method: the 1st, 2nd ... allocation fails until an update begins; one that were left open would
//         make the commit fail.
TEST(HandlesTest, NoMemoryForAnUpdateLeavesNoneOpen) {
  const testing::TempDir directory;
  quire_journal_options journal{};
  journal.struct_size = sizeof journal;
  journal.log_bytes = 1_MiB;
  quire_tracked_options options{};
  options.struct_size = sizeof options;
  options.create = QUIRE_CREATE_IF_MISSING;
  options.minimum_bytes = 4096;
  options.journal = &journal;
  quire_tracked* tracked = nullptr;
  ASSERT_EQ(quire_tracked_open(directory.file("state").c_str(), &options, &tracked, nullptr),
            QUIRE_OK);
  const std::uint64_t failures = testing::fail_each_nth("allocation", [&](testing::NthFault& at) {
    quire_update* update = nullptr;
    has_failed = false;
    successes_left = static_cast<long long>(at.nth) - 1;
    const quire_code code = quire_tracked_begin_update(tracked, &update, nullptr);
    successes_left = -1;
    at.was_hit = has_failed;
    EXPECT_EQ(code, has_failed ? -ENOMEM : QUIRE_OK);
    EXPECT_EQ(update == nullptr, has_failed);
    quire_update_end(update);
    EXPECT_EQ(quire_tracked_commit(tracked, nullptr, nullptr), QUIRE_OK);
  });
  EXPECT_GE(failures, 1U);
  quire_tracked_free(tracked);
}

}  // namespace
}  // namespace quire::c
