// SPDX-License-Identifier: Apache-2.0
//
// The traps of userfaultfd and of memory that is a file, each as one test: closing under readers,
// fork, exec, the end of the file, and many mappings. docs/pager.md lists them.
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "quire/base/prng.h"
#include "quire/pager/pager.h"
#include "quire/testing/page_cache.h"
#include "quire/testing/pager_fixture.h"
#include "quire/testing/process.h"
#include "quire/testing/seed.h"
#include "quire/testing/slow_store.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using testing::bus_fault_of;
using testing::kGranule;
using testing::load_byte;
using testing::pattern;
using testing::pattern_at;
using testing::pattern_bytes;
using testing::SegvTrap;
using testing::SlowStore;
using testing::store_byte;
using testing::test_seed;

const WritablePagedOptions kWritable{
    .access = Access::kReadWrite, .engine = PagingEngine::kPaged, .reserve_bytes = 16_MiB};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr const char* kWhyNoFork =
    "fork: a sanitizer's child inherits its allocator's locks as other threads had them";
#else
constexpr const char* kWhyNoFork = nullptr;
#endif

class PagerTrapTest : public ::testing::TestWithParam<FaultPath> {
 protected:
  void SetUp() override {
    if (const std::string why = testing::why_no_paging(GetParam()); !why.empty()) {
      GTEST_SKIP() << why;
    }
  }
  [[nodiscard]] WritablePagedArea map_random(std::uint64_t size_bytes) {
    WritablePagedArea area =
        pager_.map(directory_.write("data", pattern(size_bytes)), kWritable).value();
    EXPECT_TRUE(area.advise(kWholeFile, Pattern::kRandom).has_value());
    return area;
  }

  const testing::TempDir directory_;
  Pager pager_{{.memory_bytes = 1_MiB, .fault_path = GetParam()}};
};

bool is_mapped(const std::byte* page) {
  unsigned char vector = 0;
  return ::mincore(const_cast<std::byte*>(page), kGranule, &vector) == 0;
}

// --- Closing -------------------------------------------------------------------------------------

// Goal:   close() under readers that sleep in a fault ends, and none of them sees a zero.
// Method: the reads wait at a gate, more of them than are done at a time, while somebody closes.
//         close() may wait for reads that are under way; each reader then gets its byte or SIGSEGV.
TEST_P(PagerTrapTest, ClosingUnderSleepingReadersGivesThemNoZeros) {
  constexpr int kReaders = 12;
  constexpr int kYieldsMax = 20'000;  // Enough for close() to get as far as it can.
  const auto slow = std::make_shared<SlowStore>(
      std::make_shared<testing::MemoryStore>(pattern_bytes(0, 64 * kGranule)));
  WritablePagedArea area = pager_.map(slow, kWritable).value();
  ASSERT_TRUE(area.advise(kWholeFile, Pattern::kRandom).has_value());
  const std::uint64_t metadata_bytes = pager_.stats().metadata_bytes;
  const std::byte* const bytes = area.bytes().data();
  const SegvTrap trap;
  std::atomic<int> segv = 0;
  std::atomic<int> right = 0;
  SlowStore::Gate gate(*slow, testing::StoreOperation::kRead);
  {
    std::vector<std::jthread> threads;
    for (std::uint64_t i = 0; i < kReaders; ++i) {
      threads.emplace_back([&, i] {
        const std::uint64_t offset = i * 3 * kGranule + 5;
        const std::optional<std::byte> seen = SegvTrap::load(bytes + offset);
        segv += seen ? 0 : 1;
        right += seen && *seen == pattern_at(offset) ? 1 : 0;
      });
    }
    gate.await_arrivals(8);
    threads.emplace_back([&] { EXPECT_TRUE(area.close().has_value()); });
    for (int i = 0; i < kYieldsMax && is_mapped(bytes); ++i) {
      std::this_thread::yield();
    }
    gate.open();
  }
  EXPECT_EQ(segv + right, kReaders) << segv << " met SIGSEGV";
  EXPECT_EQ(pager_.stats().page_bytes, 0U);
  EXPECT_EQ(pager_.stats().metadata_bytes, metadata_bytes);
  pager_.check_invariants();
}

// Goal:   readers and writers that never stop see the close as SIGSEGV, at whatever point it comes.
TEST_P(PagerTrapTest, ClosingUnderBusyReadersEndsThemAll) {
  for (int round = 0; round < 10; ++round) {
    WritablePagedArea area = map_random(2_MiB);
    const std::byte* const bytes = area.bytes().data();
    const SegvTrap trap;
    std::atomic<std::uint64_t> loads = 0;
    std::atomic<int> wrong = 0;
    std::vector<std::jthread> threads;
    for (std::uint64_t i = 0; i < 4; ++i) {
      threads.emplace_back([&, i] {
        Prng random(test_seed() + i);
        for (;;) {
          const std::uint64_t offset = random.below(2_MiB);
          const std::optional<std::byte> seen = SegvTrap::load(bytes + offset);
          if (!seen) {
            return;
          }
          wrong += *seen != pattern_at(offset) ? 1 : 0;
          ++loads;
        }
      });
    }
    while (loads < 400) {
      std::this_thread::yield();
    }
    EXPECT_TRUE(area.close().has_value());
    threads.clear();
    EXPECT_EQ(wrong, 0);
  }
  pager_.check_invariants();
}

// --- fork, exec, threads that end ----------------------------------------------------------------

TEST_P(PagerTrapTest, ForkedChildGetsSigsegvAndPlantsNothing) {
  if (kWhyNoFork != nullptr) {
    GTEST_SKIP() << kWhyNoFork;
  }
  WritablePagedArea area = map_random(16 * kGranule);
  EXPECT_EQ(load_byte(area.bytes().data()), pattern_at(0));  // Granule 0 is there, 1 is not.
  for (const std::uint64_t offset : {std::uint64_t{0}, kGranule}) {
    testing::Child loads([&] { return static_cast<int>(load_byte(area.bytes().data() + offset)); });
    EXPECT_EQ(loads.join().signal, SIGSEGV);
    testing::Child stores([&] {
      store_byte(area.bytes().data() + offset, std::byte{1});
      return 0;
    });
    EXPECT_EQ(stores.join().signal, SIGSEGV);
  }
  EXPECT_EQ(pager_.stats().page_bytes, kGranule);
  EXPECT_TRUE(std::ranges::equal(std::as_const(area).bytes(), pattern_bytes(0, 16 * kGranule)));
}

// Goal:   in a child every function is kClosed, and objects can be destroyed; the parent goes on.
TEST_P(PagerTrapTest, ForkedChildFindsEverythingClosed) {
  if (kWhyNoFork != nullptr) {
    GTEST_SKIP() << kWhyNoFork;
  }
  WritablePagedArea area = map_random(16 * kGranule);
  Pin pin = area.pin({0, kGranule}).value();
  store_byte(area.bytes().data() + kGranule, std::byte{0x99});
  testing::Child child([&] {
    const Error errors[] = {area.pin({0, 1}).error(),
                            area.pin_for_writing({0, 1}).error(),
                            area.flush().error(),
                            area.evict().error(),
                            area.resident().error(),
                            area.advise({0, 1}, Pattern::kRandom).error(),
                            area.prefetch({0, 1}).wait().error(),
                            area.resize(1).error(),
                            area.bytes({0, 1}).error(),
                            area.close().error(),
                            pager_.map(directory_.file("data"), kWritable).error()};
    int number = 1;
    for (const Error& error : errors) {
      if (error.code() != Errc::kClosed) {
        return number;
      }
      ++number;
    }
    static_cast<void>(area.stats());
    static_cast<void>(area.explain());
    static_cast<void>(pager_.stats());
    pin.release();
    area = {};
    return 0;
  });
  EXPECT_EQ(child.join().exit_code, 0) << "the number of the function that is not closed";
  ASSERT_TRUE(area.flush().has_value());
  EXPECT_EQ(testing::read_file(directory_.file("data"))[kGranule], '\x99');
  EXPECT_EQ(area.resident().value().pinned_bytes, kGranule);
}

// Goal:   programs are started as usual, inherit no descriptor of the pager, and change nothing.
TEST_P(PagerTrapTest, ProgramsAreStartedAndInheritNothing) {
  const WritablePagedArea area = map_random(16 * kGranule);
  static_cast<void>(load_byte(area.bytes().data()));
  const testing::ProgramEnd list = testing::run_program({"ls", "-l", "/proc/self/fd"});
  EXPECT_EQ(list.end.exit_code, 0);
  for (const char* word : {"memfd", "userfaultfd", "data", "pagemap"}) {
    EXPECT_EQ(list.standard_output.find(word), std::string::npos) << list.standard_output;
  }
  pid_t pid = 0;
  char program[] = "true";
  char* const arguments[] = {program, nullptr};
  ASSERT_EQ(posix_spawnp(&pid, program, nullptr, nullptr, arguments, environ), 0);
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(std::ranges::equal(area.bytes(), pattern_bytes(0, 16 * kGranule)));
}

// Goal:   threads that end right after a fault, or touch the area while they end, leave nothing
//         behind that others wait for.
TEST_P(PagerTrapTest, ThreadsThatEndLeaveNothingBehind) {
  struct Toucher {
    const std::byte* address = nullptr;
    std::byte expected{};
    std::atomic<int>* wrong = nullptr;
    ~Toucher() { *wrong += load_byte(address) != expected ? 1 : 0; }
  };
  const WritablePagedArea area = map_random(4_MiB);
  const std::byte* const bytes = area.bytes().data();
  std::atomic<int> wrong = 0;
  Prng random(test_seed());
  for (int round = 0; round < 50; ++round) {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&, first = random.below(4_MiB), last = random.below(4_MiB)] {
        // Destroyed by the thread's end, when most of its other state has gone already.
        static thread_local Toucher toucher;
        toucher = {bytes + last, pattern_at(last), &wrong};
        wrong += load_byte(bytes + first) != pattern_at(first) ? 1 : 0;
      });
    }
  }
  EXPECT_EQ(wrong, 0);
  testing::settle(area);
  area.check_invariants();
}

TEST_P(PagerTrapTest, SixtyFourThreadsWithDefaultStacksReadWhatIsThere) {
  const WritablePagedArea area = map_random(4_MiB);
  std::atomic<int> wrong = 0;
  std::vector<std::jthread> threads;
  for (std::uint64_t i = 0; i < 64; ++i) {
    threads.emplace_back([&, i] {
      Prng random(test_seed() + i);
      for (int n = 0; n < 100; ++n) {
        const std::uint64_t offset = random.below(4_MiB);
        wrong += load_byte(area.bytes().data() + offset) != pattern_at(offset) ? 1 : 0;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(wrong, 0);
  EXPECT_LE(pager_.stats().taken_bytes_max, 1_MiB);
  testing::settle(area);
  area.check_invariants();
  pager_.check_invariants();
}

// --- The end of the file -------------------------------------------------------------------------

std::uintptr_t address_of(const std::byte* byte) {
  return reinterpret_cast<std::uintptr_t>(byte);
}

TEST_P(PagerTrapTest, PastTheEndIsSigbusAtTheVeryByte) {
  WritablePagedArea area = map_random(3 * kGranule + 100);
  std::byte* const bytes = area.bytes().data();
  for (const std::uint64_t offset : {4 * kGranule + 5, 9 * kGranule, 16_MiB - 1}) {
    const auto fault = bus_fault_of(bytes + offset);
    ASSERT_TRUE(fault.has_value()) << offset;
    EXPECT_EQ(fault->address, address_of(bytes + offset));
    EXPECT_EQ(fault->cause, sys::BusCause::kNoBacking);
  }
  EXPECT_EQ(load_byte(bytes + 3 * kGranule + 99), pattern_at(3 * kGranule + 99));
  ASSERT_TRUE(area.resize(kGranule + 1).has_value());
  EXPECT_EQ(bus_fault_of(bytes + 2 * kGranule).value().address, address_of(bytes + 2 * kGranule));
  EXPECT_EQ(load_byte(bytes + kGranule), pattern_at(kGranule));
  ASSERT_TRUE(area.resize(4 * kGranule).has_value());
  EXPECT_EQ(load_byte(bytes + 2 * kGranule), std::byte{0});
  EXPECT_TRUE(area.check().has_value());  // None of these is an error of the area.
}

// Goal:   behind the end, in the last page, are zeros; what is stored there goes nowhere.
TEST_P(PagerTrapTest, TailOfTheLastPageIsZeroAndNeverWritten) {
  WritablePagedArea area = map_random(2 * kGranule + 100);
  std::byte* const bytes = area.bytes().data();
  for (std::uint64_t i = 2 * kGranule + 100; i < 3 * kGranule; ++i) {
    ASSERT_EQ(load_byte(bytes + i), std::byte{0}) << i;
  }
  store_byte(bytes + 2 * kGranule + 100, std::byte{0xff});
  store_byte(bytes + 3 * kGranule - 1, std::byte{0xff});
  ASSERT_TRUE(area.flush(kWholeFile, Durability::kAll).has_value());
  EXPECT_EQ(testing::read_file(directory_.file("data")), pattern(2 * kGranule + 100));
  ASSERT_TRUE(area.resize(4 * kGranule).has_value());
  EXPECT_EQ(load_byte(bytes + 2 * kGranule + 100), std::byte{0});
  EXPECT_EQ(load_byte(bytes + 3 * kGranule - 1), std::byte{0});
}

// --- Memory that nobody may see ------------------------------------------------------------------

// The VmFlags line of the mapping that `address` lies in.
std::string vm_flags_of(const std::byte* address) {
  std::ifstream smaps("/proc/self/smaps");
  bool is_inside = false;
  for (std::string line; std::getline(smaps, line);) {
    std::uintptr_t begin = 0;
    std::uintptr_t end = 0;
    char dash = 0;
    std::istringstream range(line);
    if (range >> std::hex >> begin >> dash >> end && dash == '-') {
      is_inside = begin <= address_of(address) && address_of(address) < end;
    } else if (is_inside && line.starts_with("VmFlags:")) {
      return line + " ";
    }
  }
  return "";
}

TEST_P(PagerTrapTest, CoreDumpsAndChildrenLeaveTheViewOut) {
  const WritablePagedArea area = map_random(kGranule);
  const std::string flags = vm_flags_of(area.bytes().data());
  EXPECT_NE(flags.find(" dd "), std::string::npos) << flags;  // madvise(MADV_DONTDUMP)
  EXPECT_NE(flags.find(" dc "), std::string::npos) << flags;  // madvise(MADV_DONTFORK)
}

// Goal:   the kernel keeps no second copy of what the pager has: its page cache stays empty.
TEST_P(PagerTrapTest, PageCacheStaysEmptyOfTheFile) {
  const std::string path = directory_.write("cold", pattern(4_MiB));
  testing::make_cold(path);
  WritablePagedArea area = pager_.map(path, kWritable).value();
  if (area.explain().find("direct") == std::string::npos) {
    GTEST_SKIP() << "direct I/O: " << area.explain();
  }
  EXPECT_TRUE(std::ranges::equal(std::as_const(area).bytes(), pattern_bytes(0, 4_MiB)));
  Prng random(test_seed());
  for (int i = 0; i < 200; ++i) {
    store_byte(area.bytes().data() + random.below(4_MiB), std::byte{1});
  }
  ASSERT_TRUE(area.flush().has_value());
  const std::vector<bool> cached = testing::resident_pages(path);
  EXPECT_EQ(std::ranges::count(cached, true), 0);
  EXPECT_TRUE(area.close().has_value());
}

// --- Many ----------------------------------------------------------------------------------------

// Goal:   more mappings than userfaultfd would take registrations, in one pager; each works.
TEST_P(PagerTrapTest, TwelveHundredSmallMappingsInOnePager) {
  constexpr std::size_t kMappings = 1200;
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  if (limit.rlim_max < 4 * kMappings) {
    GTEST_SKIP() << "RLIMIT_NOFILE: " << limit.rlim_max << " descriptors at most";
  }
  const rlimit raised{limit.rlim_max, limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &raised), 0);
  const int before = testing::count_open_descriptors();
  {
    Pager pager({.memory_bytes = 64_MiB, .fault_path = GetParam()});
    const std::string path = directory_.write("small", pattern(3 * kGranule));
    std::vector<PagedArea> areas;
    while (areas.size() < kMappings) {
      auto area = pager.map(path, {.engine = PagingEngine::kPaged});
      ASSERT_TRUE(area.has_value()) << areas.size() << ": " << area.error().message();
      areas.push_back(std::move(*area));
    }
    for (const PagedArea& area : areas) {
      ASSERT_EQ(load_byte(area.bytes().data() + 2 * kGranule), pattern_at(2 * kGranule));
    }
    EXPECT_EQ(pager.stats().areas, kMappings);
    pager.check_invariants();
  }
  EXPECT_EQ(testing::count_open_descriptors(), before);
  EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
}

// Goal:   no descriptor left is an Error of map(), which leaks none and leaves the pager working.
TEST_P(PagerTrapTest, NoDescriptorLeftIsAnErrorAndNothingLeaks) {
  WritablePagedArea first = map_random(4 * kGranule);
  // Until the pager's thread has answered it may be taking its ring over: two rings for a moment.
  ASSERT_TRUE(first.prefetch({0, kGranule}).wait().has_value());
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const int before = testing::count_open_descriptors();
  bool was_mapped = false;
  for (rlim_t more = 0; more < 32 && !was_mapped; ++more) {
    const rlimit tight{static_cast<rlim_t>(before) + more, limit.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
    const auto area = pager_.map(directory_.file("data"), {.engine = PagingEngine::kPaged});
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
    was_mapped = area.has_value();
    if (!was_mapped) {
      EXPECT_EQ(area.error().code(), std::errc::too_many_files_open) << area.error().message();
      EXPECT_EQ(testing::count_open_descriptors(), before) << area.error().message();
    }
  }
  EXPECT_TRUE(was_mapped);
  EXPECT_EQ(load_byte(first.bytes().data() + kGranule), pattern_at(kGranule));
}

INSTANTIATE_TEST_SUITE_P(Paths, PagerTrapTest,
                         ::testing::Values(FaultPath::kInline, FaultPath::kHandler),
                         testing::path_name);

}  // namespace
}  // namespace quire
