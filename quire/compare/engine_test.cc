// SPDX-License-Identifier: Apache-2.0
//
// Whole runs, small and short: what is in the report, and what is left behind (nothing).
#include "quire/compare/engine.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "quire/base/units.h"
#include "quire/compare/memory_bound.h"
#include "quire/testing/disk.h"
#include "quire/testing/temp_dir.h"

namespace quire::compare {
namespace {

namespace fs = std::filesystem;
using testing::TempDir;

// One round of each cell; a small file keeps it short whatever the disk.
CompareOptions quick(const TempDir& directory, std::uint64_t bytes) {
  CompareOptions options;
  options.directory = directory.path();
  options.scratch_bytes = bytes;
  options.time_budget_s = 60;
  options.rounds_min = 1;
  options.rounds_max = 1;
  return options;
}

class EngineTest : public ::testing::Test {
 protected:
  [[nodiscard]] std::size_t names_left() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(directory_.path()), fs::directory_iterator()));
  }
  // Cgroups of this process.
  static std::size_t bounds_left() {
    std::size_t count = 0;
    const std::string prefix = "quire-compare-" + std::to_string(getpid()) + "-";
    for (const internal::BoundPlace& place : internal::bound_places({})) {
      for (const auto& entry : fs::directory_iterator(place.directory)) {
        count += entry.path().filename().string().starts_with(prefix) ? 1U : 0U;
      }
    }
    return count;
  }

  const TempDir directory_;
};

TEST_F(EngineTest, EveryCellOfAScratchFileHasAResultOrAReason) {
  const auto report = run_comparison(quick(directory_, 1_MiB), {});
  ASSERT_TRUE(report.has_value()) << report.error().message();
  std::set<Pattern> patterns;
  for (const Cell& cell : report->cells) {
    EXPECT_TRUE(cell.has_result() || cell.skipped)
        << name_of(cell.pattern) << ", " << name_of(cell.path)
        << (cell.error ? ": " + cell.error->message() : "");
    patterns.insert(cell.pattern);
  }
  EXPECT_EQ(patterns.size(), static_cast<std::size_t>(kPatternCount));
  EXPECT_FALSE(report->verdicts.empty());
  EXPECT_FALSE(report->facts.empty());
  EXPECT_FALSE(report->is_interrupted);
  EXPECT_TRUE(report->is_scratch);
  EXPECT_EQ(report->file_bytes, 1_MiB);
  EXPECT_EQ(names_left(), 0u);
}

TEST_F(EngineTest, AUsersFileIsReadAndNotTouched) {
  const std::string content = testing::pattern(1_MiB + 100);
  const std::string path = directory_.write("file", content);
  const auto before = fs::last_write_time(path);
  CompareOptions options = quick(directory_, 0);
  options.file = path;
  const auto report = run_comparison(options, {});
  ASSERT_TRUE(report.has_value()) << report.error().message();
  for (const Cell& cell : report->cells) {
    EXPECT_FALSE(is_write(cell.pattern));
    EXPECT_TRUE(cell.has_result() || cell.skipped) << name_of(cell.path);
  }
  EXPECT_EQ(testing::read_file(path), content);
  EXPECT_EQ(fs::last_write_time(path), before);
  EXPECT_EQ(names_left(), 1u);
}

TEST_F(EngineTest, AMemoryLimitIsInForceOrTheReportSaysWhyNot) {
  CompareOptions options = quick(directory_, 64_MiB);
  options.memory_bytes = 32_MiB;
  options.patterns = {Pattern::kSequentialRead};
  const auto report = run_comparison(options, {});
  ASSERT_TRUE(report.has_value()) << report.error().message();
  EXPECT_EQ(report->memory_limit_bytes, 32_MiB);
  EXPECT_FALSE(report->memory_limit_method.empty());
  EXPECT_EQ(bounds_left(), 0u);
  if (!report->is_memory_limited) {
    EXPECT_FALSE(report->remarks.empty());
    GTEST_SKIP() << "memory cgroup: " << report->memory_limit_method;
  }
  for (const Cell& cell : report->cells) {
    ASSERT_TRUE(cell.has_result())
        << name_of(cell.path) << (cell.error ? ": " + cell.error->message() : "");
    EXPECT_EQ(cell.memory_bytes, 32_MiB);
    if (cell.engine) {
      EXPECT_LT(cell.engine->memory_bytes, 32_MiB);
      EXPECT_GT(cell.engine->memory_bytes, 16_MiB);
    }
    EXPECT_EQ(cell.engine.has_value(), is_paged(cell.path));
    if (const auto left = cell.cache_left_bytes()) {
      EXPECT_LE(*left, 32_MiB) << name_of(cell.path);
    }
  }
}

TEST_F(EngineTest, AStopKeepsWhatThereIsAndLeavesNothingBehind) {
  CompareOptions options = quick(directory_, 1_MiB);
  options.memory_bytes = 64_MiB;
  std::uint64_t rounds = 0;
  const CompareHooks hooks{
      .on_progress = [&](const CompareProgress& progress) { rounds = progress.rounds; },
      .should_stop = [&] { return rounds >= 3; }};
  const auto report = run_comparison(options, hooks);
  ASSERT_TRUE(report.has_value()) << report.error().message();
  EXPECT_TRUE(report->is_interrupted);
  const auto with_result = std::count_if(report->cells.begin(), report->cells.end(),
                                         [](const Cell& cell) { return cell.has_result(); });
  EXPECT_GE(with_result, 3);
  EXPECT_LT(with_result, static_cast<std::ptrdiff_t>(report->cells.size()));
  EXPECT_EQ(names_left(), 0u);
  EXPECT_EQ(bounds_left(), 0u);
}

TEST_F(EngineTest, AFileThatVanishesEndsTheCellsThatComeAfter) {
  const std::string path = directory_.write("file", testing::pattern(1_MiB));
  CompareOptions options = quick(directory_, 0);
  options.file = path;
  const CompareHooks hooks{.on_progress =
                               [&](const CompareProgress& progress) {
                                 if (progress.rounds == 4) {
                                   fs::remove(path);
                                 }
                               },
                           .should_stop = {}};
  const auto report = run_comparison(options, hooks);
  ASSERT_TRUE(report.has_value()) << report.error().message();
  std::size_t index = 0;
  for (const Cell& cell : report->cells) {
    if (cell.skipped) {
      continue;
    }
    EXPECT_EQ(cell.has_result(), index < 4) << index;
    EXPECT_EQ(cell.error.has_value(), index >= 4) << index;
    ++index;
  }
  EXPECT_GT(index, 4u);
  EXPECT_FALSE(report->is_interrupted);
}

TEST_F(EngineTest, ASparseFileIsRemarkedOn) {
  const std::string path = directory_.write("file", testing::pattern(64 << 10));
  fs::resize_file(path, 2_MiB);
  CompareOptions options = quick(directory_, 0);
  options.file = path;
  options.patterns = {Pattern::kSequentialRead};
  const auto report = run_comparison(options, {});
  ASSERT_TRUE(report.has_value()) << report.error().message();
  EXPECT_TRUE(std::any_of(report->remarks.begin(), report->remarks.end(), [](const auto& remark) {
    return remark.find("sparse") != std::string::npos;
  }));
}

// Goal:   a full disk is the error of the cells that need room; what reads goes on.
// Method: a small file system that is filled after the first round.
TEST_F(EngineTest, ADiskThatFillsUpEndsTheCellsThatNeedRoom) {
  testing::Mount mount;
  if (const auto problem = mount.mount("tmpfs", "quire", directory_.path(), "size=100m");
      !problem.empty()) {
    GTEST_SKIP() << "tmpfs: " << problem;
  }
  CompareOptions options = quick(directory_, 4_MiB);
  options.patterns = {Pattern::kRandomRead, Pattern::kSequentialWrite};
  const CompareHooks hooks{.on_progress =
                               [&](const CompareProgress& progress) {
                                 if (progress.rounds == 1) {
                                   std::ofstream(directory_.file("filler"))
                                       << std::string(100_MiB, 'x');
                                 }
                               },
                           .should_stop = {}};
  const auto report = run_comparison(options, hooks);
  ASSERT_TRUE(report.has_value()) << report.error().message();
  std::size_t written = 0;
  for (const Cell& cell : report->cells) {
    if (cell.skipped) {
      continue;
    }
    const bool needs_room = is_write(cell.pattern) && cell.path != Path::kMemory;
    EXPECT_EQ(cell.has_result(), !needs_room) << name_of(cell.path);
    if (needs_room) {
      ASSERT_TRUE(cell.error) << name_of(cell.path);
      EXPECT_EQ(cell.error->code(), std::errc::no_space_on_device) << cell.error->message();
      ++written;
    }
  }
  EXPECT_GT(written, 5u);
}

// tmpfs has no disk below it: what could not be cold is left out, with the reason.
TEST_F(EngineTest, AFileInMemoryIsNeverCold) {
  testing::Mount mount;
  if (const auto problem = mount.mount("tmpfs", "quire", directory_.path(), "size=100m");
      !problem.empty()) {
    GTEST_SKIP() << "tmpfs: " << problem;
  }
  CompareOptions options = quick(directory_, 0);
  options.file = directory_.write("file", testing::pattern(1_MiB));
  const auto report = run_comparison(options, {});
  ASSERT_TRUE(report.has_value()) << report.error().message();
  for (const Cell& cell : report->cells) {
    if (cell.state == State::kCold) {
      ASSERT_TRUE(cell.skipped) << name_of(cell.path);
      EXPECT_FALSE(cell.has_result());
    }
  }
}

TEST_F(EngineTest, OptionsThatExcludeEverythingAreAnError) {
  CompareOptions options = quick(directory_, 1_MiB);
  options.patterns = {Pattern::kAppend};
  options.paths = {Path::kDirectQueued};
  EXPECT_EQ(run_comparison(options, {}).error().code(), Errc::kUnsupported);
}

TEST_F(EngineTest, ArticlesGiveTheThreeFiguresAndTheMatrix) {
  CompareOptions options = quick(directory_, 1_MiB);
  options.articles = true;
  const auto report = run_comparison(options, {});
  ASSERT_TRUE(report.has_value()) << report.error().message();
  EXPECT_TRUE(report->cells.empty());
  std::vector<std::string> targets;
  for (const ArticleFigure& figure : report->articles_way) {
    targets.push_back(figure.target);
    EXPECT_EQ(figure.block_bytes, 1u);
    EXPECT_EQ(figure.durability, DurabilityChoice::kNone);
    EXPECT_GT(figure.mib_per_s, 0);
  }
  EXPECT_EQ(targets, (std::vector<std::string>{"file", "mapping", "memory"}));
  EXPECT_GE(report->articles_matrix.size(), 50u);
  // One system call per byte is what the articles' first figure measures.
  EXPECT_GT(report->articles_way[0].system_calls, 1000u);
  EXPECT_LE(report->articles_way[1].system_calls, 2u);
  EXPECT_EQ(report->articles_way[2].system_calls, 0u);
  EXPECT_GE(report->remarks.size(), 3u);
}

}  // namespace
}  // namespace quire::compare
