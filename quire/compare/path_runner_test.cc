// SPDX-License-Identifier: Apache-2.0
//
// Every path with every pattern that the plan has for it: what it must do is counted, and that it
// notices wrong and missing bytes.
#include "quire/compare/path_runner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <vector>

#include "quire/base/units.h"
#include "quire/compare/internal/runner_parts.h"
#include "quire/compare/measure.h"
#include "quire/compare/offset_stream.h"
#include "quire/compare/plan.h"
#include "quire/sys/file.h"
#include "quire/testing/temp_dir.h"

namespace quire::compare {
namespace {

using testing::TempDir;

constexpr std::uint64_t kFileBytes = 4_MiB;

std::vector<Cell> all_cells() {
  return plan_cells({}, {.file_bytes = kFileBytes,
                         .is_writable = true,
                         .limit_bytes = std::nullopt,
                         .available_bytes = 1_GiB,
                         .why_never_cold = std::nullopt,
                         .why_not_direct = std::nullopt});
}

bool is_reader(const Cell& cell) {
  return !is_write(cell.pattern) && cell.path != Path::kMemory;
}

class PathRunnerTest : public ::testing::Test {
 protected:
  static Target make_target(const TempDir& directory) {
    CompareOptions options;
    options.directory = directory.path();
    options.scratch_bytes = kFileBytes;
    return Target::make_scratch(options, 0, {}).value();
  }

  // Less than all, so that nobody gets by with rounding.
  [[nodiscard]] Workload work_of(const Cell& cell) const {
    Workload work = make_workload(cell, target_, {.index = 0, .seconds = 3600, .seed = 1});
    const std::uint64_t operations =
        cell.durability == DurabilityChoice::kEachOperation ? 40 : 1000;
    work.bytes_max = counts_operations(cell.pattern) ? operations * cell.block_bytes
                                                     : kFileBytes - kPatternPageBytes;
    return work;
  }

  using Body = std::function<void(const Cell&, const Workload&, PathRunner&)>;
  // Each cell that is `wanted`, opened; a file system without direct I/O leaves those paths out.
  void for_each_cell(const std::function<bool(const Cell&)>& wanted, const Body& body) const {
    std::size_t opened_cells = 0;
    for (const Cell& cell : all_cells()) {
      if (!wanted(cell)) {
        continue;
      }
      SCOPED_TRACE(std::string(name_of(cell.pattern)) + ", " + name_of(cell.path) + ", " +
                   name_of(cell.state) + ", " + name_of(cell.durability));
      const Workload work = work_of(cell);
      const auto runner = make_runner(cell.path);
      if (const auto opened = runner->open(target_, work); !opened) {
        EXPECT_EQ(opened.error().code(), Errc::kUnsupported) << opened.error().message();
        continue;
      }
      body(cell, work, *runner);
      ++opened_cells;
    }
    EXPECT_GT(opened_cells, 0u);
  }

  const TempDir directory_;
  const Target target_ = make_target(directory_);
};

// Calls that the loop of a path makes for sure, by what it is; nothing where the kernel or quire
// decides (queues, populated windows).
std::optional<std::uint64_t> expected_calls(const Cell& cell, const Tally& tally) {
  const std::uint64_t syncs = cell.durability == DurabilityChoice::kNone    ? 0
                              : cell.durability == DurabilityChoice::kAtEnd ? 1
                                                                            : tally.operations;
  switch (cell.path) {
    case Path::kReadWriteSmall:
    case Path::kReadWriteLarge:
      return tally.operations * (cell.pattern == Pattern::kRandomUpdate ? 2 : 1) + syncs;
    case Path::kMapDefault:
    case Path::kMapAdvised:
      return syncs + (cell.pattern == Pattern::kAppend ? 1 : 0);  // ftruncate.
    case Path::kMemory: return 0;
    default: return std::nullopt;
  }
}

TEST_F(PathRunnerTest, EachDoesExactlyTheWorkAndSeesTheRightBytes) {
  for_each_cell(
      [](const Cell&) { return true; },
      [&](const Cell& cell, const Workload& work, PathRunner& runner) {
        Tally tally;
        const Result<void> ran = runner.run(tally);
        ASSERT_TRUE(ran.has_value()) << ran.error().message();
        EXPECT_EQ(tally.bytes, work.bytes_max);
        EXPECT_EQ(tally.operations, (work.bytes_max + cell.block_bytes - 1) / cell.block_bytes);
        EXPECT_EQ(tally.wrong_at_bytes, std::nullopt);
        EXPECT_EQ(tally.system_calls, expected_calls(cell, tally).value_or(tally.system_calls));
        EXPECT_EQ(tally.latency.count() > 0, counts_operations(cell.pattern));
        EXPECT_FALSE(runner.method().empty());
        if (is_write(cell.pattern) && cell.path != Path::kMemory) {
          const Result<void> checked = runner.check_written(tally);
          EXPECT_TRUE(checked.has_value()) << checked.error().message();
        }
      });
}

// What the loop of `work` must add up, read plainly.
std::uint64_t expected_sum(const Target& target, const Cell& cell, const Workload& work) {
  std::vector<std::byte> block(cell.block_bytes);
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0, done = 0; done < work.bytes_max; ++i) {
    const std::uint64_t offset = is_random(cell.pattern) ? work.pages[i] * kPatternPageBytes
                                                         : (work.start_bytes + done) % kFileBytes;
    const std::uint64_t length =
        std::min({cell.block_bytes, work.bytes_max - done, kFileBytes - offset});
    const auto part = std::span(block).first(length);
    EXPECT_EQ(sys::read_at(target.fd(), part, offset).value(), length);
    sum += sum_of(part);
    done += length;
  }
  return sum;
}

TEST_F(PathRunnerTest, AllReadersOfAPatternReadTheSameBytes) {
  for_each_cell(is_reader, [&](const Cell& cell, const Workload& work, PathRunner& runner) {
    Tally tally;
    ASSERT_TRUE(runner.run(tally).has_value());
    EXPECT_EQ(tally.sum, expected_sum(target_, cell, work));
  });
}

// The first page that is read is always among those looked at.
TEST_F(PathRunnerTest, EachReaderNoticesAPageThatIsNotWhatItMustBe) {
  for_each_cell(is_reader, [&](const Cell& cell, const Workload& work, PathRunner& runner) {
    const std::uint64_t offset =
        is_random(cell.pattern) ? work.pages[0] * kPatternPageBytes : work.start_bytes;
    const auto write_stamp = [&](std::uint64_t stamp) {
      std::array<std::byte, sizeof stamp> bytes;
      std::memcpy(bytes.data(), &stamp, sizeof stamp);
      ASSERT_TRUE(sys::write_at(target_.fd(), bytes, offset).has_value());
      ASSERT_TRUE(sys::sync_data(target_.fd()).has_value());
    };
    write_stamp(~std::uint64_t{0});
    Tally tally;
    ASSERT_TRUE(runner.run(tally).has_value());
    EXPECT_EQ(tally.wrong_at_bytes, offset);
    write_stamp(offset / kPatternPageBytes);
  });
}

// Goal:   bytes that were written to the wrong place, or not at all, are found out.
// Method: the check of a round that claims what it did not do.
TEST_F(PathRunnerTest, EachWriterNoticesWhatWasNotWritten) {
  const auto is_writer = [](const Cell& cell) {
    return is_write(cell.pattern) && cell.path != Path::kMemory;
  };
  for_each_cell(is_writer, [](const Cell& cell, const Workload& work, PathRunner& runner) {
    Tally claimed;
    claimed.operations = work.bytes_max / cell.block_bytes;
    const Result<void> checked = runner.check_written(claimed);
    ASSERT_FALSE(checked.has_value());
    EXPECT_EQ(checked.error().code(), Errc::kCorrupt);
  });
}

// Loads and stores of a mapping raise SIGBUS instead, which ends the worker: see measure_test.cc.
TEST_F(PathRunnerTest, AFileThatEndsEarlyIsAnErrorOfEachPathThatCalls) {
  const auto depends_on_length = [](const Cell& cell) {
    return !internal::needs_new_file(cell.pattern) && cell.path != Path::kMemory &&
           cell.path != Path::kMapDefault && cell.path != Path::kMapAdvised && !is_paged(cell.path);
  };
  for_each_cell(depends_on_length, [&](const Cell&, const Workload& work, PathRunner& runner) {
    ASSERT_TRUE(sys::truncate_file(target_.fd(), 0).has_value());
    Tally tally;
    EXPECT_FALSE(runner.run(tally).has_value());
    EXPECT_LT(tally.bytes, work.bytes_max);
    ASSERT_TRUE(sys::truncate_file(target_.fd(), kFileBytes).has_value());
  });
}

// Its loads cannot give an error: they go on with zeros, and the round ends with it.
TEST_F(PathRunnerTest, AFileThatEndsEarlyIsTheErrorOfAPagedRound) {
  const auto is_paged_reader = [](const Cell& cell) {
    return is_paged(cell.path) && !internal::needs_new_file(cell.pattern);
  };
  for_each_cell(is_paged_reader, [&](const Cell&, const Workload&, PathRunner& runner) {
    ASSERT_TRUE(sys::truncate_file(target_.fd(), 0).has_value());
    Tally tally;
    const Result<void> ran = runner.run(tally);
    ASSERT_FALSE(ran.has_value());
    EXPECT_EQ(ran.error().code(), Errc::kTruncated) << ran.error().message();
    ASSERT_TRUE(sys::truncate_file(target_.fd(), kFileBytes).has_value());
  });
}

// Goal:   what is in memory beforehand costs no read, and the engine tells what it did.
TEST_F(PathRunnerTest, APagedRunnerReadsOnceWhatFits) {
  const auto is_paged_reader = [](const Cell& cell) {
    return is_paged(cell.path) && !is_write(cell.pattern);
  };
  for_each_cell(is_paged_reader, [&](const Cell& cell, const Workload&, PathRunner& runner) {
    PathEngine* const engine = runner.engine();
    ASSERT_NE(engine, nullptr);
    ASSERT_TRUE(engine->read_in({0, kFileBytes}).has_value());
    const EngineCounts before = engine->counts();
    EXPECT_EQ(before.read_bytes, kFileBytes);
    Tally tally;
    ASSERT_TRUE(runner.run(tally).has_value());
    EXPECT_EQ(engine->counts().read_bytes, kFileBytes);
    const EngineDetails details = engine->details();
    EXPECT_LE(before.memory_taken_bytes_max, details.memory_bytes);
    EXPECT_EQ(details.granule_bytes, 4_KiB);
    EXPECT_EQ(details.fault_path, cell.path == Path::kPagedHandler ? "handler" : "inline");
    EXPECT_EQ(details.explanation.find("/proc"), std::string::npos) << details.explanation;
    EXPECT_NE(details.explanation.find(details.fault_path), std::string::npos)
        << details.explanation;
  });
}

}  // namespace
}  // namespace quire::compare
