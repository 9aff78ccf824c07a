// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/worker.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <new>

#include "quire/base/prng.h"
#include "quire/base/units.h"
#include "quire/compare/internal/wire.h"
#include "quire/sys/child.h"
#include "quire/testing/seed.h"

namespace quire::compare {
namespace {

RoundReport sample_report() {
  RoundReport report;
  report.round = {.seconds = 0.25,
                  .bytes = std::uint64_t{1} << 60,
                  .operations = 17,
                  .cpu_s = 0.125,
                  .major_faults = 3,
                  .minor_faults = 4,
                  .system_calls = 0,
                  .device_read_bytes = std::nullopt,
                  .device_written_bytes = 9,
                  .cache_before_bytes = 1,
                  .cache_left_bytes = std::nullopt,
                  .verified_cold = false,
                  .verified_direct = std::nullopt,
                  .latency = Latency{.operations = 5,
                                     .p50_ns = 1.5,
                                     .p90_ns = 2,
                                     .p99_ns = 3,
                                     .p999_ns = 4,
                                     .max_ns = 1e9},
                  .engine = EngineCounts{.faults = 1,
                                         .evicted = 2,
                                         .reads = 3,
                                         .read_bytes = 4,
                                         .read_ahead_bytes = 5,
                                         .writes = 6,
                                         .write_bytes = 7,
                                         .memory_taken_bytes_max = 8}};
  report.method = "io_uring, depth \"32\"\n";
  report.fallback = "why";
  report.engine = EngineDetails{.explanation = "it is \"paged\"",
                                .fault_path = "inline",
                                .granule_bytes = 4096,
                                .memory_bytes = 240 << 20};
  return report;
}

void expect_sample(const Result<RoundReport>& found) {
  ASSERT_TRUE(found.has_value()) << found.error().message();
  const RoundReport sample = sample_report();
  EXPECT_EQ(found->round.seconds, sample.round.seconds);
  EXPECT_EQ(found->round.bytes, sample.round.bytes);
  EXPECT_EQ(found->round.operations, sample.round.operations);
  EXPECT_EQ(found->round.cpu_s, sample.round.cpu_s);
  EXPECT_EQ(found->round.major_faults, sample.round.major_faults);
  EXPECT_EQ(found->round.minor_faults, sample.round.minor_faults);
  EXPECT_EQ(found->round.system_calls, sample.round.system_calls);
  EXPECT_EQ(found->round.device_read_bytes, sample.round.device_read_bytes);
  EXPECT_EQ(found->round.device_written_bytes, sample.round.device_written_bytes);
  EXPECT_EQ(found->round.cache_before_bytes, sample.round.cache_before_bytes);
  EXPECT_EQ(found->round.cache_left_bytes, sample.round.cache_left_bytes);
  EXPECT_EQ(found->round.verified_cold, sample.round.verified_cold);
  EXPECT_EQ(found->round.verified_direct, sample.round.verified_direct);
  ASSERT_TRUE(found->round.latency.has_value());
  EXPECT_EQ(found->round.latency->operations, 5u);
  EXPECT_EQ(found->round.latency->max_ns, 1e9);
  EXPECT_EQ(found->method, sample.method);
  EXPECT_EQ(found->fallback, sample.fallback);
  EXPECT_EQ(found->round.engine, sample.round.engine);
  EXPECT_EQ(found->engine, sample.engine);
}

// --- The text between the two --------------------------------------------------------------------

TEST(WireTest, AReportComesBackAsItWas) {
  expect_sample(internal::from_wire(internal::to_wire(sample_report())));
}

TEST(WireTest, AnErrorComesBackAsItWas) {
  for (const Error& sent :
       {make_error(Errc::kTruncated, "measure", "a file", "it is short", "wait"),
        sys::to_error({ENOSPC}, "pwrite", "a file, offset 4096")}) {
    const auto found = internal::from_wire(internal::to_wire(fail(sent)));
    ASSERT_FALSE(found.has_value());
    EXPECT_EQ(found.error().code(), sent.code());
    EXPECT_EQ(found.error().message(), sent.message());
  }
}

TEST(WireTest, TextThatEndsInTheMiddleIsAnError) {
  const std::string whole = internal::to_wire(sample_report());
  for (std::size_t length = 0; length < whole.size(); ++length) {
    const auto found = internal::from_wire(whole.substr(0, length));
    ASSERT_FALSE(found.has_value()) << length;
    ASSERT_EQ(found.error().code(), Errc::kCorrupt) << length;
  }
}

TEST(WireTest, AnyBytesAreAReportOrAnError) {
  Prng prng(testing::test_seed());
  const std::string whole = internal::to_wire(sample_report());
  for (int i = 0; i < 2000; ++i) {
    std::string changed = whole;
    changed[prng.below(changed.size())] = static_cast<char>(prng());
    static_cast<void>(internal::from_wire(changed));
  }
}

// --- Processes -----------------------------------------------------------------------------------

class WorkerTest : public ::testing::Test {
 protected:
  static WorkerOptions options() { return {.subject = "a cell", .timeout_s = 30}; }
};

TEST_F(WorkerTest, WhatTheWorkReturnsArrives) {
  expect_sample(run_in_worker([] { return sample_report(); }, options()));
}

TEST_F(WorkerTest, ItRunsInAProcessOfItsOwn) {
  int changed = 0;
  ASSERT_TRUE(run_in_worker(
                  [&] {
                    changed = 1;
                    return sample_report();
                  },
                  options())
                  .has_value());
  EXPECT_EQ(changed, 0);
}

TEST_F(WorkerTest, TheErrorOfTheWorkArrives) {
  const auto found = run_in_worker(
      []() -> Result<RoundReport> { return fail(sys::to_error({EIO}, "pread", "a file")); },
      options());
  ASSERT_FALSE(found.has_value());
  EXPECT_EQ(found.error().code(), std::errc::io_error);
  EXPECT_EQ(found.error().operation(), "pread");
}

TEST_F(WorkerTest, AnExceptionIsAnError) {
  const auto found =
      run_in_worker([]() -> Result<RoundReport> { throw std::bad_alloc(); }, options());
  ASSERT_FALSE(found.has_value());
  EXPECT_EQ(found.error().code(), Errc::kFailed);
}

TEST_F(WorkerTest, ABusErrorIsToldInWords) {
  const auto found = run_in_worker(
      []() -> Result<RoundReport> {
        signal(SIGBUS, SIG_DFL);
        raise(SIGBUS);
        return sample_report();
      },
      options());
  ASSERT_FALSE(found.has_value());
  EXPECT_EQ(found.error().code(), Errc::kFailed);
  EXPECT_EQ(found.error().subject(), "a cell");
  EXPECT_NE(found.error().cause().find("SIGBUS"), std::string::npos);
}

TEST_F(WorkerTest, AProcessThatEndsWithoutAReportIsAnError) {
  const auto found = run_in_worker([]() -> Result<RoundReport> { _exit(0); }, options());
  ASSERT_FALSE(found.has_value());
  EXPECT_EQ(found.error().code(), Errc::kCorrupt);
}

TEST_F(WorkerTest, WorkThatHangsIsEndedAndLeavesNoProcess) {
  WorkerOptions hasty = options();
  hasty.timeout_s = 0.2;
  const auto found = run_in_worker(
      []() -> Result<RoundReport> {
        for (;;) {
          pause();
        }
      },
      hasty);
  ASSERT_FALSE(found.has_value());
  EXPECT_EQ(found.error().code(), std::errc::timed_out);
}

TEST_F(WorkerTest, AStopEndsTheWorkAtOnce) {
  WorkerOptions stopping = options();
  int asked = 0;
  stopping.should_stop = [&] { return ++asked > 1; };
  const auto found = run_in_worker(
      []() -> Result<RoundReport> {
        for (;;) {
          pause();
        }
      },
      stopping);
  ASSERT_FALSE(found.has_value());
  EXPECT_EQ(found.error().code(), Errc::kCancelled);
}

TEST_F(WorkerTest, WorkThatIsKilledForItsMemorySaysHowMuchItHad) {
  const auto bound = MemoryBound::make(32_MiB);
  if (!bound) {
    GTEST_SKIP() << bound.error().message();
  }
  WorkerOptions bounded = options();
  bounded.bound = &*bound;
  const auto found = run_in_worker(
      [&]() -> Result<RoundReport> {
        QUIRE_TRY(bound->enter());
        void* memory =
            mmap(nullptr, 64_MiB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        std::memset(memory, 1, 64_MiB);
        return sample_report();
      },
      bounded);
  ASSERT_FALSE(found.has_value());
  EXPECT_EQ(found.error().code(), Errc::kFailed);
  EXPECT_NE(found.error().cause().find("32.0 MiB"), std::string::npos) << found.error().message();
}

}  // namespace
}  // namespace quire::compare
