// SPDX-License-Identifier: Apache-2.0
//
// The budget is a bound: whole workloads in a memory cgroup that kills who takes more; and what a
// pager costs beside pages: metadata, threads, processor time while idle.
//
// Each test is a child process that makes its own pagers: what is measured is that process alone.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include "quire/base/prng.h"
#include "quire/pager/pager.h"
#include "quire/testing/memory_cgroup.h"
#include "quire/testing/pager_fixture.h"
#include "quire/testing/process.h"
#include "quire/testing/seed.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using testing::kGranule;
using testing::load_byte;
using testing::MemoryCgroup;
using testing::store_byte;
using testing::test_seed;

constexpr std::uint64_t kBudgetBytes = 4_MiB;
constexpr std::uint64_t kFileBytes = 32_MiB;
constexpr std::uint64_t kGranules = kFileBytes / kGranule;
// Beside the budget: the program itself, stacks, and what the kernel keeps for both.
constexpr std::uint64_t kProcessBytes = 48_MiB;

const WritablePagedOptions kWritable{.access = Access::kReadWrite, .engine = PagingEngine::kPaged};

// Runs `body` in a child; it answers what is wrong, "" for nothing.
void expect_in_child(const std::function<std::string()>& body) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "memory of a process: a sanitizer takes a multiple of it";
#endif
  testing::Child child([&] {
    const std::string finding = body();
    std::fprintf(stderr, "%s%s", finding.c_str(), finding.empty() ? "" : "\n");
    std::fflush(nullptr);
    return finding.empty() ? 0 : 1;
  });
  const testing::ChildEnd end = child.join();
  EXPECT_EQ(end.signal, 0);
  EXPECT_EQ(end.exit_code, 0);
}

// --- Workloads in a cgroup -----------------------------------------------------------------------

enum class Work : std::uint8_t { kRandom, kSequential, kDirty };

struct BoundRow {
  FaultPath path;
  Work work;
  int threads;
};

const char* name_of_work(Work work) {
  switch (work) {
    case Work::kRandom: return "random";
    case Work::kSequential: return "sequential";
    case Work::kDirty: break;
  }
  return "dirty";
}

std::ostream& operator<<(std::ostream& out, const BoundRow& row) {
  return out << name_of(row.path) << "_" << name_of_work(row.work) << "_" << row.threads;
}

// Every granule begins with its number, and has zeros behind it.
std::string write_numbered_file(const testing::TempDir& directory) {
  std::string path = directory.file("data");
  std::ofstream out(path, std::ios::binary);
  std::vector<std::uint64_t> granule(kGranule / 8);
  for (std::uint64_t i = 0; i < kGranules; ++i) {
    granule[0] = i + 1;
    out.write(reinterpret_cast<const char*>(granule.data()), kGranule);
  }
  return path;
}

// What one of `row.threads` threads does. Returns how many words were wrong.
std::uint64_t work(const BoundRow& row, std::uint64_t thread, std::uint64_t* words) {
  constexpr std::uint64_t kWords = kGranule / 8;
  constexpr std::uint64_t kAccesses = 2 * kBudgetBytes / kGranule;
  const auto threads = static_cast<std::uint64_t>(row.threads);
  Prng random(test_seed() + thread);
  std::uint64_t wrong = 0;
  const auto check = [&](std::uint64_t granule) {
    const volatile std::uint64_t& word = words[granule * kWords];
    wrong += word != granule + 1 ? 1 : 0;
  };
  if (row.work == Work::kSequential) {
    for (std::uint64_t i = 0; i < kGranules / threads; ++i) {
      check(thread * (kGranules / threads) + i);
    }
    return wrong;
  }
  for (std::uint64_t i = 0; i < kAccesses / threads; ++i) {
    const std::uint64_t granule = random.below(kGranules);
    check(granule);
    if (row.work == Work::kDirty) {
      volatile std::uint64_t& word = words[granule * kWords + 1 + thread];
      word = word + 1;
    }
  }
  return wrong;
}

std::string run_workload(const BoundRow& row, const std::string& path) {
  Pager pager({.memory_bytes = kBudgetBytes, .fault_path = row.path});
  WritablePagedArea area = pager.map(path, kWritable).value();
  std::uint64_t* const words = area.as<std::uint64_t>().value().data();
  std::atomic<std::uint64_t> wrong = 0;
  std::vector<std::jthread> threads;
  for (int i = 0; i < row.threads; ++i) {
    threads.emplace_back([&, i] { wrong += work(row, static_cast<std::uint64_t>(i), words); });
  }
  threads.clear();
  if (wrong > 0) {
    return std::to_string(wrong) + " words are wrong";
  }
  testing::settle(area);
  area.check_invariants();
  if (const Result<void> closed = area.close(); !closed) {
    return closed.error().message();
  }
  pager.check_invariants();
  return pager.stats().taken_bytes_max <= kBudgetBytes ? "" : "more was taken than the budget";
}

class PagerBoundTest : public ::testing::TestWithParam<BoundRow> {};

// Goal:   the budget holds at every instant, with any number of threads.
// Method: memory that nothing can reclaim, in a cgroup that kills for one page too many.
TEST_P(PagerBoundTest, WorkloadLivesInItsBudget) {
  if (const std::string why = testing::why_no_paging(GetParam().path); !why.empty()) {
    GTEST_SKIP() << why;
  }
  MemoryCgroup cgroup;
  if (const std::string why = cgroup.make(kBudgetBytes + kProcessBytes); !why.empty()) {
    GTEST_SKIP() << why;
  }
  const testing::TempDir directory;
  const std::string path = write_numbered_file(directory);
  expect_in_child(
      [&] { return cgroup.enter() ? run_workload(GetParam(), path) : "the cgroup is closed"; });
  EXPECT_EQ(cgroup.killed_processes(), 0U);
  std::ostringstream name;
  name << GetParam();
  std::printf("%s: peak %s, budget %s\n", name.str().c_str(),
              human_bytes(cgroup.peak_bytes()).c_str(), human_bytes(kBudgetBytes).c_str());
  RecordProperty("peak_bytes", static_cast<int>(cgroup.peak_bytes()));
}

std::vector<BoundRow> bound_rows() {
  std::vector<BoundRow> rows;
  for (const FaultPath path : {FaultPath::kInline, FaultPath::kHandler}) {
    for (const Work work : {Work::kRandom, Work::kSequential, Work::kDirty}) {
      for (const int threads : {1, 8, 64}) {
        rows.push_back({path, work, threads});
      }
    }
  }
  return rows;
}

INSTANTIATE_TEST_SUITE_P(Rows, PagerBoundTest, ::testing::ValuesIn(bound_rows()),
                         ::testing::PrintToStringParamName());

// --- What it costs beside pages ------------------------------------------------------------------

class PagerCostTest : public ::testing::TestWithParam<FaultPath> {
 protected:
  void SetUp() override {
    if (const std::string why = testing::why_no_paging(GetParam()); !why.empty()) {
      GTEST_SKIP() << why;
    }
  }
  [[nodiscard]] static PagerOptions options() {
    return {.memory_bytes = kBudgetBytes, .fault_path = GetParam()};
  }
  // Empty on disk, however large.
  [[nodiscard]] std::string sparse_file(std::uint64_t size_bytes) const {
    const std::string path = directory_.write("sparse", "");
    std::filesystem::resize_file(path, size_bytes);
    return path;
  }

  const testing::TempDir directory_;
};

// What the kernel counts for this process: memory and page tables.
std::uint64_t process_bytes() {
  std::ifstream status("/proc/self/status");
  std::uint64_t total_kib = 0;
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:") || line.starts_with("VmPTE:")) {
      total_kib += std::stoull(line.substr(line.find(':') + 1));
    }
  }
  return total_kib * 1024;
}

// Goal:   a mapping costs by what is touched, not by its size.
TEST_P(PagerCostTest, SparseTebibyteCostsLessThanAMebibyteBeforeTheFirstTouch) {
  const std::string path = sparse_file(1_TiB);
  const std::string small = directory_.write("small", std::string(kGranule, 'x'));
  expect_in_child([&]() -> std::string {
    Pager pager(options());
    // The first area brings what all share.
    const PagedArea first = pager.map(small, {.engine = PagingEngine::kPaged}).value();
    static_cast<void>(load_byte(first.bytes().data()));
    const std::uint64_t process_before = process_bytes();
    const std::uint64_t taken_before = pager.stats().taken_bytes;
    const WritablePagedArea area = pager.map(path, kWritable).value();
    const std::uint64_t process_more = process_bytes() - process_before;
    const std::uint64_t taken_more = pager.stats().taken_bytes - taken_before;
    std::printf("1 TiB: %s of the process, %s of the budget\n", human_bytes(process_more).c_str(),
                human_bytes(taken_more).c_str());
    return process_more < 1_MiB && taken_more < 1_MiB ? "" : "mapping is dear";
  });
}

TEST_P(PagerCostTest, MetadataIsSixteenBytesForAGranuleTouchedDensely) {
  const std::string path = sparse_file(1_GiB);
  expect_in_child([&]() -> std::string {
    Pager pager(options());
    const WritablePagedArea area = pager.map(path, kWritable).value();
    const std::uint64_t before = pager.stats().metadata_bytes;
    constexpr std::uint64_t kTouched = 512;
    for (std::uint64_t i = 0; i < kTouched; ++i) {
      static_cast<void>(load_byte(area.bytes().data() + i * kGranule));
    }
    const std::uint64_t more = pager.stats().metadata_bytes - before;
    std::printf("%llu granules: %llu bytes of metadata\n",
                static_cast<unsigned long long>(kTouched), static_cast<unsigned long long>(more));
    // What was read ahead of the last one may have begun the next 512.
    return more <= 16 * (kTouched + 512) ? "" : "metadata is dear";
  });
}

// Goal:   pages that lie far apart, which cost most metadata, stay in the budget, too.
TEST_P(PagerCostTest, GranulesFarApartStayInTheBudget) {
  MemoryCgroup cgroup;
  if (const std::string why = cgroup.make(kBudgetBytes + kProcessBytes); !why.empty()) {
    GTEST_SKIP() << why;
  }
  const std::string path = sparse_file(1_TiB);
  expect_in_child([&]() -> std::string {
    if (!cgroup.enter()) {
      return "the cgroup is closed";
    }
    Pager pager(options());
    WritablePagedArea area = pager.map(path, kWritable).value();
    // The kernel frees page tables some time after they are given back: as many as all of these
    // have fit beside the budget.
    for (std::uint64_t i = 0; i < 4'000; ++i) {
      const std::uint64_t offset = i * 0x9e3779b97f4a7c15 % (1_TiB / kGranule) * kGranule;
      if (load_byte(area.bytes().data() + offset) != std::byte{0}) {
        return "a hole is not zero";
      }
    }
    testing::settle(area);
    area.check_invariants();
    pager.check_invariants();
    return pager.stats().taken_bytes_max <= kBudgetBytes ? "" : "more was taken than the budget";
  });
  EXPECT_EQ(cgroup.killed_processes(), 0U);
  std::printf("far apart: peak %s, budget %s\n", human_bytes(cgroup.peak_bytes()).c_str(),
              human_bytes(kBudgetBytes).c_str());
}

struct ThreadCount {
  std::uint64_t own = 0;             // Of the process,
  std::uint64_t kernel = 0;          // and workers that the kernel made for its io_uring.
  std::uint64_t others_wakeups = 0;  // Voluntary switches of all but the calling thread.
};

ThreadCount count_threads() {
  ThreadCount count;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
    const std::string name = testing::read_file(entry.path().string() + "/comm");
    ++(name.starts_with("iou-") ? count.kernel : count.own);
    if (entry.path().filename() != std::to_string(::gettid())) {
      const std::string status = testing::read_file(entry.path().string() + "/status");
      const std::string key = "\nvoluntary_ctxt_switches:";
      count.others_wakeups += std::stoull(status.substr(status.find(key) + key.size()));
    }
  }
  return count;
}

TEST_P(PagerCostTest, PagerHasAtMostTwoThreadsHoweverManyAreas) {
  const std::string path = directory_.write("data", std::string(1_MiB, 'x'));
  expect_in_child([&]() -> std::string {
    const std::uint64_t before = count_threads().own;
    Pager pager(options());
    std::vector<WritablePagedArea> areas;
    for (int i = 0; i < 8; ++i) {
      areas.push_back(pager.map(path, kWritable).value());
      store_byte(areas.back().bytes().data() + i, std::byte{'y'});
      if (!areas.back().flush()) {
        return "flush failed";
      }
    }
    const ThreadCount after = count_threads();
    std::printf("threads: %llu of ours, %llu of the kernel's for io_uring\n",
                static_cast<unsigned long long>(after.own - before),
                static_cast<unsigned long long>(after.kernel));
    return after.own - before <= 2 ? "" : "too many threads";
  });
}

std::int64_t processor_us() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1'000'000 + usage.ru_utime.tv_usec +
         usage.ru_stime.tv_usec;
}

// Goal:   when everything is clean nothing runs: no timer, no polling, no wake-up.
TEST_P(PagerCostTest, IdlePagerSleeps) {
  const std::string path = directory_.write("data", std::string(4_MiB, 'x'));
  expect_in_child([&]() -> std::string {
    PagerOptions chosen = options();
    chosen.dirty_age_max = std::chrono::milliseconds(100);
    Pager pager(chosen);
    WritablePagedArea area = pager.map(path, kWritable).value();
    for (std::uint64_t i = 0; i < 4_MiB; i += kGranule) {
      store_byte(area.bytes().data() + i, std::byte{'y'});
    }
    while (area.stats().dirty_bytes > 0) {  // Its age makes it go, without a flush.
      ::poll(nullptr, 0, 10);
    }
    ::poll(nullptr, 0, 300);  // For the last timer that was set.
    const ThreadCount before = count_threads();
    const std::int64_t processor_before_us = processor_us();
    ::poll(nullptr, 0, 1500);
    const std::int64_t spent_us = processor_us() - processor_before_us;
    const std::uint64_t wakeups = count_threads().others_wakeups - before.others_wakeups;
    std::printf("idle: %llu wake-ups, %lld us of processor time in 1.5 s\n",
                static_cast<unsigned long long>(wakeups), static_cast<long long>(spent_us));
    return wakeups == 0 ? "" : "the pager woke up";
  });
}

INSTANTIATE_TEST_SUITE_P(Paths, PagerCostTest,
                         ::testing::Values(FaultPath::kInline, FaultPath::kHandler),
                         testing::path_name);

}  // namespace
}  // namespace quire
