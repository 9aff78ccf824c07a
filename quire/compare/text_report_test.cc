// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/text_report.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "quire/compare/report_samples.h"
#include "quire/compare/verdict.h"

namespace quire::compare {
namespace {

std::vector<std::string> lines_of(const Report& report, const TextOptions& options = {}) {
  std::vector<std::string> lines;
  for (const TextLine& line : text_report(report, options)) {
    lines.push_back(plain(line));
  }
  return lines;
}

std::string text_of(const Report& report, const TextOptions& options = {}) {
  std::string text;
  for (const std::string& line : lines_of(report, options)) {
    text += line + "\n";
  }
  return text;
}

Report judged(std::vector<Cell> cells) {
  Report report = sample_report(std::move(cells));
  report.verdicts = make_verdicts(report);
  return report;
}

std::string line_with(const Report& report, const std::string& start) {
  for (const std::string& line : lines_of(report, {.columns = 200})) {
    if (line.starts_with(start)) {
      return line;
    }
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(TextReportTest, NoLineIsWiderThanTheTerminal) {
  const Report report = full_sample();
  for (const std::size_t columns : {60U, 80U, 100U, 132U, 200U}) {
    for (const std::string& line : lines_of(report, {.columns = columns})) {
      EXPECT_LE(line.size(), columns) << line;
    }
  }
}

TEST(TextReportTest, ANarrowTerminalGetsFewerColumnsAndEveryRow) {
  const Report report = full_sample();
  const std::string wide = text_of(report, {.columns = 200});
  const std::string narrow = text_of(report, {.columns = 60});
  for (const char* title : {"spread", "p99", "CPU s/GiB", "calls/MiB", "device", "cache left"}) {
    EXPECT_TRUE(contains(wide, title)) << title;
  }
  EXPECT_TRUE(contains(narrow, "of best"));
  EXPECT_FALSE(contains(narrow, "cache left"));
  const auto rows = [](const std::string& text) {
    std::size_t count = 0;
    for (std::size_t at = text.find("\n  mmap, as it comes"); at != std::string::npos;
         at = text.find("\n  mmap, as it comes", at + 1)) {
      ++count;
    }
    return count;
  };
  EXPECT_EQ(rows(wide), 18U);
  EXPECT_EQ(rows(narrow), 18U);
}

TEST(TextReportTest, TheFastestIsFirstAndTheOthersAreSharesOfIt) {
  const Report report = judged({sample_cell({.mib_per_s = 50}),
                                sample_cell({.path = Path::kDirect, .mib_per_s = 100}),
                                sample_cell({.path = Path::kMemory, .mib_per_s = 1000})});
  const std::string text = text_of(report, {.columns = 200});
  EXPECT_LT(text.find("memory (ceiling)"), text.find("direct, one at a time"));
  EXPECT_LT(text.find("direct, one at a time"), text.find("read/write, small blocks"));
  EXPECT_TRUE(contains(line_with(report, "  direct"), " 100 %"));
  EXPECT_TRUE(contains(line_with(report, "  read/write"), " 50 %"));
  EXPECT_TRUE(contains(line_with(report, "  memory"), " 1,000 %"));
}

TEST(TextReportTest, UnverifiedColdAndDirectAreMarkedAndExplainedOnce) {
  Cell not_cold = sample_cell({.path = Path::kMapDefault});
  not_cold.rounds[0].verified_cold = false;
  Cell unseen = sample_cell({.path = Path::kMapAdvised});
  unseen.rounds[0].verified_cold.reset();
  Cell buffered = sample_cell({.path = Path::kDirect});
  buffered.rounds[0].verified_direct = false;
  Cell replaced = sample_cell({.path = Path::kDirectQueued, .depth = 8});
  replaced.fallback = "threads";
  const Report report = judged({sample_cell({}), not_cold, unseen, buffered, replaced});
  EXPECT_TRUE(contains(line_with(report, "  mmap, as it comes"), "  !  "));
  EXPECT_TRUE(contains(line_with(report, "  mmap, best advice"), "  ?  "));
  EXPECT_TRUE(contains(line_with(report, "  direct, one at a time"), "  ~  "));
  EXPECT_TRUE(contains(line_with(report, "  direct, queued (8)"), "  *  "));
  EXPECT_FALSE(contains(line_with(report, "  read/write"), "  !  "));
  for (const char* mark : {"! cold was asked for", "? cold was", "~ direct was", "* something"}) {
    EXPECT_NE(line_with(report, mark), "") << mark;
  }
  EXPECT_EQ(line_with(judged({sample_cell({})}), "! cold"), "");
}

TEST(TextReportTest, AFailedOrSkippedCellSaysWhyInItsTable) {
  Cell skipped = sample_cell({.path = Path::kDirect, .rounds = 0});
  skipped.skipped = "the file system refuses O_DIRECT";
  const Report report = judged(
      {sample_cell({}), skipped, failed_cell({.path = Path::kMapDefault}, "the file vanished")});
  EXPECT_EQ(line_with(report, "  direct"),
            "  direct, one at a time: not run: the file system refuses O_DIRECT");
  const std::string failed = line_with(report, "  mmap, as it comes: ");
  EXPECT_TRUE(contains(failed, "the file vanished; look at the disk")) << failed;
}

TEST(TextReportTest, AQuestionThatWasNotReachedIsALineAndNoTable) {
  const Report report =
      judged({sample_cell({.rounds = 0}), sample_cell({.path = Path::kDirect, .rounds = 0})});
  const std::string text = text_of(report);
  EXPECT_TRUE(contains(text, "  => no path was run: the run ended before their turn."));
  EXPECT_FALSE(contains(text, "direct, one at a time"));
}

TEST(TextReportTest, RoundsBeforeAFailureAreShownWithTheError) {
  Cell cell = sample_cell({});
  cell.error = make_error(Errc::kFailed, "pread", "scratch.bin", "the device failed");
  const std::string text = text_of(judged({cell}), {.columns = 200});
  EXPECT_TRUE(contains(text, "25,600"));
  EXPECT_TRUE(contains(text, "read/write, small blocks: pread(scratch.bin): the device failed"));
}

TEST(TextReportTest, TheVerdictStandsUnderItsTableWithoutRepeatingTheHeading) {
  const std::string text = text_of(full_sample(), {.columns = 200});
  EXPECT_TRUE(contains(text, "\n  => direct I/O at depth 32 is 6.0 times as fast as pread()"));
  EXPECT_FALSE(contains(text, "=> random"));
}

TEST(TextReportTest, CodeIsShownWhenAskedFor) {
  const Report report = judged({sample_cell({})});
  EXPECT_FALSE(contains(text_of(report), "with quire:"));
  const std::string text = text_of(report, {.with_code = true});
  EXPECT_TRUE(contains(text, "with quire:"));
  EXPECT_TRUE(contains(text, "quire::open_file(\"data.bin\")"));
  EXPECT_TRUE(contains(text, "with system calls:"));
}

TEST(TextReportTest, AColumnWithoutAValueIsNotThere) {
  Cell cell = sample_cell({.pattern = Pattern::kSequentialRead});
  for (Round& round : cell.rounds) {
    round.cache_left_bytes.reset();
  }
  const std::string text = text_of(judged({cell}), {.columns = 200});
  EXPECT_FALSE(contains(text, "p99"));
  EXPECT_FALSE(contains(text, "cache left"));
  EXPECT_TRUE(contains(text, "calls/MiB"));
}

TEST(TextReportTest, ASimulatedAnUnlimitedAndAnInterruptedRunSaySo) {
  Report report = empty_sample();
  report.is_simulated = true;
  report.device_model = "hdd";
  report.memory_limit_bytes = 1024;
  report.is_memory_limited = false;
  const std::string text = text_of(report);
  EXPECT_TRUE(contains(text, "simulated disk and clock, hdd: no device was touched"));
  EXPECT_TRUE(contains(text, "memory 1 KiB NOT enforced"));
  EXPECT_TRUE(contains(text, "interrupted"));
}

TEST(TextReportTest, TheArticlesFiguresAreTables) {
  const std::string text = text_of(articles_sample());
  EXPECT_TRUE(contains(text, "the articles' way"));
  EXPECT_TRUE(contains(text, "1,048,576"));
  EXPECT_TRUE(contains(text, "each_operation") || contains(text, "at_end"));
}

}  // namespace
}  // namespace quire::compare
