// SPDX-License-Identifier: Apache-2.0
//
// The pager beside the signals of its application: foreign SIGBUS, handlers that touch areas, small
// alternate stacks; and threads that race on protection.
#include <gtest/gtest.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "quire/base/prng.h"
#include "quire/pager/pager.h"
#include "quire/testing/pager_fixture.h"
#include "quire/testing/seed.h"
#include "quire/testing/slow_store.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using testing::kGranule;
using testing::load_byte;
using testing::pattern;
using testing::pattern_at;
using testing::store_byte;
using testing::test_seed;

const WritablePagedOptions kWritable{
    .access = Access::kReadWrite, .engine = PagingEngine::kPaged, .reserve_bytes = 16_MiB};
constexpr std::uint64_t kFileBytes = 4_MiB;

class PagerSignalTest : public ::testing::TestWithParam<FaultPath> {
 protected:
  void SetUp() override {
    if (const std::string why = testing::why_no_paging(GetParam()); !why.empty()) {
      GTEST_SKIP() << why;
    }
  }
  [[nodiscard]] WritablePagedArea map_random(const std::string& content) {
    WritablePagedArea area = pager_.map(directory_.write("data", content), kWritable).value();
    EXPECT_TRUE(area.advise(kWholeFile, Pattern::kRandom).has_value());
    return area;
  }

  const testing::TempDir directory_;
  Pager pager_{{.memory_bytes = 1_MiB, .fault_path = GetParam()}};
};

// --- Foreign SIGBUS ------------------------------------------------------------------------------

struct Seen {
  std::atomic<int> count = 0;
  std::atomic<void*> address = nullptr;
  std::atomic<int> code = 0;
};
Seen g_seen;
sigjmp_buf g_after_bus;

// Ends the access by leaving it; a signal that was sent by returning.
void on_bus(int, siginfo_t* info, void*) {
  ++g_seen.count;
  g_seen.address = info->si_addr;
  g_seen.code = info->si_code;
  if (info->si_code > 0) {
    siglongjmp(g_after_bus, 1);
  }
}

// Takes the guard's handler away, so that one of our own can be there before it.
class HandlerBefore {
 public:
  HandlerBefore() {
    EXPECT_TRUE(sys::set_bus_resolver(nullptr).has_value());
    EXPECT_TRUE(sys::remove_guard_handler().has_value());
    struct sigaction action{};
    action.sa_sigaction = on_bus;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGBUS, &action, &before_);
  }
  ~HandlerBefore() {
    EXPECT_TRUE(sys::set_bus_resolver(nullptr).has_value());
    EXPECT_TRUE(sys::remove_guard_handler().has_value());
    sigaction(SIGBUS, &before_, nullptr);
  }
  HandlerBefore(const HandlerBefore&) = delete;
  HandlerBefore& operator=(const HandlerBefore&) = delete;

 private:
  struct sigaction before_{};
};

// The address that the handler was told, or null when the load succeeds.
const void* bus_address_of_load(const std::byte* address) {
  g_seen.address = nullptr;
  if (sigsetjmp(g_after_bus, 1) == 0) {
    static_cast<void>(load_byte(address));
  }
  return g_seen.address;
}

// Goal:   the program's own SIGBUS handler gets what is not the pager's, with the exact address:
//         faults of other mappings, of the area past its end, and signals that are sent.
TEST_P(PagerSignalTest, ForeignSigbusGoesToTheHandlerThatWasThereBefore) {
  const HandlerBefore handler;
  WritablePagedArea area = map_random(pattern(3 * kGranule));
  const int count_before = g_seen.count;
  EXPECT_EQ(bus_address_of_load(area.bytes().data()), nullptr);
  EXPECT_EQ(g_seen.count, count_before);
  std::FILE* file = std::tmpfile();
  ASSERT_NE(file, nullptr);
  void* const foreign =
      ::mmap(nullptr, kGranule, PROT_READ, MAP_SHARED, ::fileno(file), 0);  // Of an empty file.
  ASSERT_NE(foreign, MAP_FAILED);
  const auto* const byte = static_cast<const std::byte*>(foreign) + 77;
  EXPECT_EQ(bus_address_of_load(byte), byte);
  const std::byte* const past = area.bytes().data() + 5 * kGranule + 3;
  EXPECT_EQ(bus_address_of_load(past), past);
  EXPECT_EQ(bus_address_of_load(area.bytes().data() + kGranule), nullptr);
  const int sent_before = g_seen.count;
  ::raise(SIGBUS);
  EXPECT_EQ(g_seen.count, sent_before + 1);
  EXPECT_EQ(g_seen.code, SI_TKILL);
  ::munmap(foreign, kGranule);
  std::fclose(file);
  EXPECT_TRUE(area.close().has_value());
}

// Goal:   map() says so when the calling thread could not survive an inline fault; automatic choice
//         takes the other path; such a thread works with it.
TEST_P(PagerSignalTest, ThreadThatBlocksSigbusIsToldOrServed) {
  const std::string path = directory_.write("data", pattern(8 * kGranule));
  std::thread([&] {
    sigset_t bus;
    sigemptyset(&bus);
    sigaddset(&bus, SIGBUS);
    ASSERT_EQ(pthread_sigmask(SIG_BLOCK, &bus, nullptr), 0);
    const auto area = pager_.map(path, kWritable);
    if (GetParam() == FaultPath::kInline) {
      ASSERT_FALSE(area.has_value());
      EXPECT_EQ(area.error().code(), Errc::kFailed);
      EXPECT_NE(area.error().message().find("SIGBUS"), std::string::npos) << area.error().message();
    } else {
      EXPECT_EQ(load_byte(area->bytes().data() + kGranule), pattern_at(kGranule));
    }
    Pager automatic({.memory_bytes = 1_MiB});
    const PagedArea other = automatic.map(path, {.engine = PagingEngine::kPaged}).value();
    EXPECT_NE(other.explain().find("handler"), std::string::npos) << other.explain();
    EXPECT_EQ(load_byte(other.bytes().data() + 2 * kGranule), pattern_at(2 * kGranule));
  }).join();
}

// --- Small stacks --------------------------------------------------------------------------------

// An alternate stack that remembers how deep it was used.
class MeasuredStack {
 public:
  explicit MeasuredStack(std::size_t size_bytes) : memory_(size_bytes, kPaint) {
    const stack_t stack{.ss_sp = memory_.data(), .ss_flags = 0, .ss_size = memory_.size()};
    EXPECT_EQ(::sigaltstack(&stack, &before_), 0);
  }
  ~MeasuredStack() { ::sigaltstack(&before_, nullptr); }
  MeasuredStack(const MeasuredStack&) = delete;
  MeasuredStack& operator=(const MeasuredStack&) = delete;

  [[nodiscard]] std::size_t used_bytes() const {
    const auto first_used =
        std::ranges::find_if(memory_, [](unsigned char byte) { return byte != kPaint; });
    return static_cast<std::size_t>(memory_.end() - first_used);
  }

 private:
  static constexpr unsigned char kPaint = 0xa5;
  std::vector<unsigned char> memory_;
  stack_t before_{};
};

// Goal:   an inline fault of any kind, the first one with its lazily bound symbols too, takes less
//         than 8 KiB of an alternate stack beside what the kernel itself puts there.
// Method: loads, stores, upgrades, streams and reclaim on a large painted stack; what was used.
TEST_P(PagerSignalTest, FaultsOfEveryKindFitOnASmallAlternateStack) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "stack use: sanitizers have frames of their own size";
#endif
  WritablePagedArea area =
      pager_.map(directory_.write("data", pattern(kFileBytes)), kWritable).value();
  std::size_t used_bytes = 0;
  std::thread([&] {
    const MeasuredStack stack(256 * 1024);
    std::byte* const bytes = area.bytes().data();
    Prng random(test_seed());
    for (std::uint64_t i = 0; i < kFileBytes; i += 512) {
      ASSERT_EQ(load_byte(bytes + i + 1), pattern_at(i + 1));
    }
    for (int i = 0; i < 2000; ++i) {
      const std::uint64_t offset = random.below(kFileBytes / 512) * 512;
      store_byte(bytes + offset, std::byte{1});
      static_cast<void>(load_byte(bytes + random.below(kFileBytes)));
    }
    used_bytes = stack.used_bytes();
  }).join();
  const auto kernel_bytes = static_cast<std::size_t>(::sysconf(_SC_MINSIGSTKSZ));
  std::printf("alternate stack: %zu bytes used, of which the kernel's frame up to %zu\n",
              used_bytes, kernel_bytes);
  EXPECT_EQ(used_bytes > 0, GetParam() == FaultPath::kInline);
  EXPECT_LE(used_bytes, kernel_bytes + 8_KiB);
}

// --- Handlers that touch the area ----------------------------------------------------------------

// What the handler of a test works on.
struct Storm {
  const std::byte* bytes = nullptr;
  std::atomic<std::uint64_t> runs = 0;
  std::atomic<std::uint64_t> wrong = 0;
};
Storm g_storm;

void on_user_signal(int) {
  const std::uint64_t run = ++g_storm.runs;
  const std::uint64_t offset = run * 0x9e3779b97f4a7c15 % kFileBytes;
  if (load_byte(g_storm.bytes + offset) != pattern_at(offset)) {
    ++g_storm.wrong;
  }
}

// Goal:   a signal handler that touches absent pages is served, also when it interrupts a fault, a
//         pin or a load, while the pager evicts, writes and reads for others.
// Method: signals without end to threads that load and pin; one thread that gets none does the
//         rest.
TEST_P(PagerSignalTest, HandlersThatTouchTheAreaAreServedInTheMiddleOfFaultsAndPins) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "signals: ThreadSanitizer delivers them late, outside of what they interrupt";
#endif
  constexpr int kWorkers = 3;
  WritablePagedArea area = map_random(pattern(kFileBytes));
  g_storm.bytes = area.bytes().data();
  g_storm.runs = 0;
  struct sigaction action{};
  action.sa_handler = on_user_signal;
  action.sa_flags = SA_RESTART;
  struct sigaction before{};
  ASSERT_EQ(sigaction(SIGUSR1, &action, &before), 0);
  const auto work = [&](std::uint64_t seed) {
    Prng random(seed);
    std::uint64_t wrong = 0;
    for (int i = 0; i < 600; ++i) {
      const std::uint64_t pinned = random.below(kFileBytes);
      wrong += area.pin({pinned, 1}).value().bytes()[0] != pattern_at(pinned) ? 1 : 0;
      for (int n = 0; n < 10; ++n) {
        const std::uint64_t offset = random.below(kFileBytes);
        wrong += load_byte(area.bytes().data() + offset) != pattern_at(offset) ? 1 : 0;
      }
    }
    EXPECT_EQ(wrong, 0U);
  };
  std::atomic<int> left = kWorkers;
  std::vector<std::thread> workers;
  for (std::uint64_t i = 0; i < kWorkers; ++i) {
    workers.emplace_back([&, i] {
      work(test_seed() + i);
      --left;
    });
  }
  std::jthread disturber([&] {
    Prng random(test_seed() + kWorkers);
    while (left > 0) {
      const ByteRange range{random.below(kFileBytes - 64_KiB), 64_KiB};
      static_cast<void>(area.prefetch(range));
      store_byte(area.bytes().data() + range.offset_bytes, pattern_at(range.offset_bytes));
      EXPECT_TRUE(area.flush(range, Durability::kStarted).has_value());
      EXPECT_TRUE(area.evict(range).has_value());
      static_cast<void>(pager_.stats());
    }
  });
  while (left > 0) {
    for (std::thread& worker : workers) {
      ::pthread_kill(worker.native_handle(), SIGUSR1);
    }
    std::this_thread::yield();
  }
  for (std::thread& worker : workers) {
    worker.join();
  }
  disturber.join();
  sigaction(SIGUSR1, &before, nullptr);
  EXPECT_GT(g_storm.runs, 100U);
  EXPECT_EQ(g_storm.wrong, 0U);
  testing::settle(area);
  area.check_invariants();
  pager_.check_invariants();
}

// --- Races ---------------------------------------------------------------------------------------

// Goal:   no store is lost between protection, write-back, eviction and refill.
// Method: every granule has one counter for each thread; all of them count at random, while others
//         evict and flush; in the end each counter is what its thread counted, in the file, too.
TEST_P(PagerSignalTest, NoCountIsLostAcrossEvictionAndWriteBack) {
  constexpr std::uint64_t kThreads = 6;
  constexpr std::uint64_t kGranules = kFileBytes / kGranule;
  WritablePagedArea area = map_random(std::string(kFileBytes, '\0'));
  auto* const words = reinterpret_cast<std::uint64_t*>(area.bytes().data());
  const auto word_of = [](std::uint64_t granule, std::uint64_t thread) {
    return granule * (kGranule / 8) + thread * 8;
  };
  std::vector<std::vector<std::uint64_t>> counted(kThreads, std::vector<std::uint64_t>(kGranules));
  std::atomic<bool> is_over = false;
  std::jthread disturber([&] {
    Prng random(test_seed());
    while (!is_over) {
      const ByteRange range{random.below(kGranules - 16) * kGranule, 16 * kGranule};
      if (random.below(2) == 0) {
        EXPECT_TRUE(area.evict(range).has_value());
      } else {
        EXPECT_TRUE(area.flush(range, Durability::kStarted).has_value());
      }
    }
  });
  {
    std::vector<std::jthread> threads;
    for (std::uint64_t thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&, thread] {
        Prng random(test_seed() + 1 + thread);
        for (int i = 0; i < 2500; ++i) {
          const std::uint64_t granule = random.below(kGranules);
          volatile std::uint64_t& word = words[word_of(granule, thread)];
          word = word + 1;
          ++counted[thread][granule];
        }
      });
    }
  }
  is_over = true;
  disturber.join();
  ASSERT_TRUE(area.flush().has_value());
  std::vector<std::uint64_t> file(kFileBytes / 8);
  std::ifstream(directory_.file("data"), std::ios::binary)
      .read(reinterpret_cast<char*>(file.data()), static_cast<std::streamsize>(kFileBytes));
  for (std::uint64_t granule = 0; granule < kGranules; ++granule) {
    for (std::uint64_t thread = 0; thread < kThreads; ++thread) {
      const std::uint64_t word = word_of(granule, thread);
      ASSERT_EQ(words[word], counted[thread][granule]) << "in memory, granule " << granule;
      ASSERT_EQ(file[word], counted[thread][granule]) << "in the file, granule " << granule;
    }
  }
  EXPECT_LE(pager_.stats().taken_bytes_max, 1_MiB);
  testing::settle(area);
  area.check_invariants();
}

// Goal:   whoever waits for a granule that somebody else brings is woken: no fault stays asleep.
// Method: all threads meet at each granule, which was just evicted, while it is prefetched, too.
TEST_P(PagerSignalTest, ThreadsThatMeetAtOneGranuleAllGoOn) {
  constexpr std::uint64_t kThreads = 8;
  constexpr int kRounds = 150;
  WritablePagedArea area = map_random(pattern(kFileBytes));
  std::atomic<std::uint64_t> wrong = 0;
  std::atomic<int> round_begun = -1;
  std::atomic<std::uint64_t> arrived = 0;
  std::vector<std::jthread> threads;
  for (std::uint64_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int round = 0; round < kRounds; ++round) {
        while (round_begun.load() < round) {
          std::this_thread::yield();
        }
        const std::uint64_t offset = static_cast<std::uint64_t>(round % 4) * kGranule + thread * 64;
        if (thread % 2 == 0) {
          wrong += load_byte(area.bytes().data() + offset) != pattern_at(offset) ? 1 : 0;
        } else {
          store_byte(area.bytes().data() + offset, pattern_at(offset));
        }
        ++arrived;
      }
    });
  }
  for (int round = 0; round < kRounds; ++round) {
    EXPECT_TRUE(area.evict().has_value());
    round_begun = round;
    static_cast<void>(area.prefetch({0, 4 * kGranule}));
    while (arrived < static_cast<std::uint64_t>(round + 1) * kThreads) {
      std::this_thread::yield();
    }
  }
  threads.clear();
  EXPECT_EQ(wrong, 0U);
  testing::settle(area);
  area.check_invariants();
}

// Goal:   flush() covers a store that needed no fault of its own, because another thread's fault
//         had just made the page writable.
// Method: both threads store to one absent granule, then flush, then look into the store.
TEST_P(PagerSignalTest, FlushCoversStoresThatRodeOnAnothersFault) {
  constexpr int kRounds = 400;
  const auto store = std::make_shared<testing::MemoryStore>(64 * kGranule);
  WritablePagedArea area = pager_.map(store, kWritable).value();
  ASSERT_TRUE(area.advise(kWholeFile, Pattern::kRandom).has_value());
  std::atomic<int> lost = 0;
  std::atomic<int> arrived = 0;
  const auto await = [&](int count) {
    ++arrived;
    while (arrived.load() < count) {
    }
  };
  const auto run = [&](std::uint64_t thread) {
    for (int round = 0; round < kRounds; ++round) {
      const std::uint64_t offset = static_cast<std::uint64_t>(round % 64) * kGranule + thread;
      const auto value = static_cast<std::byte>(1 + round % 200);
      await(4 * round + 2);
      store_byte(area.bytes().data() + offset, value);
      EXPECT_TRUE(area.flush().has_value());
      std::byte stored{};
      EXPECT_TRUE(store->read(offset, std::span(&stored, 1)).has_value());
      lost += stored != value ? 1 : 0;
      await(4 * round + 4);
      if (thread == 0 && round % 64 == 63) {
        EXPECT_TRUE(area.evict().has_value());
      }
    }
  };
  std::jthread first([&] { run(0); });
  std::jthread second([&] { run(1); });
  first.join();
  second.join();
  EXPECT_EQ(lost, 0);
}

INSTANTIATE_TEST_SUITE_P(Paths, PagerSignalTest,
                         ::testing::Values(FaultPath::kInline, FaultPath::kHandler),
                         testing::path_name);

}  // namespace
}  // namespace quire
