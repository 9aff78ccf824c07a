// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/json_report.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "quire/compare/report_samples.h"
#include "quire/compare/verdict.h"

namespace quire::compare {
namespace {

using Json = nlohmann::ordered_json;

TEST(JsonReportTest, EveryCellHasEveryKeyAlsoWhenItFailed) {
  const Json document = json_report(full_sample());
  ASSERT_GT(document["cells"].size(), 100U);
  for (const Json& cell : document["cells"]) {
    for (const char* key : {"path",
                            "pattern",
                            "state",
                            "durability",
                            "working_set_bytes",
                            "memory_bytes",
                            "exceeds_memory",
                            "depth",
                            "block_bytes",
                            "median_mib_per_s",
                            "median_ops_per_s",
                            "spread",
                            "latency",
                            "cpu_s_per_gib",
                            "major_faults",
                            "minor_faults",
                            "system_calls",
                            "bytes",
                            "operations",
                            "device_read_bytes",
                            "device_written_bytes",
                            "cache_left_bytes",
                            "verified_cold",
                            "verified_direct",
                            "method",
                            "engine",
                            "fallback",
                            "skipped",
                            "error",
                            "rounds"}) {
      EXPECT_TRUE(cell.contains(key)) << key;
    }
  }
}

TEST(JsonReportTest, APagedCellHasItsEngineAndNobodyElseHasOne) {
  const Cell paged = sample_cell({.path = Path::kPaged, .rounds = 2});
  const Json cells = json_report(sample_report({paged, sample_cell({})}))["cells"];
  const Json& engine = cells[0]["engine"];
  EXPECT_EQ(cells[0]["path"], "paged");
  EXPECT_EQ(engine["explain"], paged.engine->explanation);
  EXPECT_EQ(engine["fault_path"], "inline");
  EXPECT_EQ(engine["granule_bytes"], 4096);
  EXPECT_EQ(engine["memory_bytes"], 240 << 20);
  EXPECT_EQ(engine["faults"], paged.rounds[0].engine->faults + paged.rounds[1].engine->faults);
  EXPECT_EQ(engine["memory_taken_bytes_max"], 200 << 20);
  EXPECT_TRUE(cells[0]["system_calls"].is_null());
  EXPECT_TRUE(cells[1]["engine"].is_null());
}

TEST(JsonReportTest, EveryVerdictHasEveryKey) {
  const Json document = json_report(full_sample());
  ASSERT_EQ(document["verdicts"].size(), 18U);
  for (const Json& verdict : document["verdicts"]) {
    for (const char* key :
         {"pattern", "state", "durability", "working_set_bytes", "memory_bytes", "exceeds_memory",
          "winner", "ties", "compared", "factor", "sentence", "with_quire", "with_system_calls"}) {
      EXPECT_TRUE(verdict.contains(key)) << key;
    }
  }
}

TEST(JsonReportTest, WhatIsNotKnownIsNullAndNotZero) {
  Cell cell = sample_cell({.path = Path::kMapDefault});
  for (Round& round : cell.rounds) {
    round.device_read_bytes.reset();
    round.verified_cold.reset();
    round.latency.reset();
  }
  const Json known = json_report(sample_report({sample_cell({})}))["cells"][0];
  const Json unknown = json_report(sample_report({cell}))["cells"][0];
  for (const char* key : {"device_read_bytes", "verified_cold", "latency"}) {
    EXPECT_FALSE(known[key].is_null()) << key;
    EXPECT_TRUE(unknown[key].is_null()) << key;
  }
  EXPECT_TRUE(known["verified_direct"].is_null());  // Not asked of a buffered path.
}

TEST(JsonReportTest, AFailedCellHasAnErrorAndNoRate) {
  const Json cell = json_report(sample_report({failed_cell({}, "the disk is full")}))["cells"][0];
  for (const char* key : {"median_mib_per_s", "median_ops_per_s", "spread", "cpu_s_per_gib",
                          "major_faults", "system_calls"}) {
    EXPECT_TRUE(cell[key].is_null()) << key;
  }
  EXPECT_EQ(cell["error"]["cause"], "the disk is full");
  EXPECT_EQ(cell["error"]["remedy"], "look at the disk");
  EXPECT_TRUE(cell["rounds"].empty());
}

TEST(JsonReportTest, NumbersAreThoseOfTheReport) {
  const Cell cell = sample_cell({.path = Path::kDirectQueued, .mib_per_s = 123, .depth = 8});
  const Json json = json_report(sample_report({cell}))["cells"][0];
  EXPECT_EQ(json["path"], "direct_queued");
  EXPECT_EQ(json["pattern"], "random_read");
  EXPECT_EQ(json["state"], "cold");
  EXPECT_EQ(json["durability"], "none");
  EXPECT_EQ(json["depth"], 8);
  EXPECT_DOUBLE_EQ(json["median_mib_per_s"].get<double>(), cell.median_mib_per_s());
  EXPECT_DOUBLE_EQ(json["spread"].get<double>(), cell.spread());
  EXPECT_EQ(json["rounds"].size(), cell.rounds.size());
  EXPECT_EQ(json["verified_cold"], true);
  EXPECT_EQ(json["verified_direct"], true);
}

TEST(JsonReportTest, OneRoundHasNoSpread) {
  const Json cell = json_report(sample_report({sample_cell({.rounds = 1})}))["cells"][0];
  EXPECT_TRUE(cell["spread"].is_null());
  EXPECT_FALSE(cell["median_mib_per_s"].is_null());
}

void collect_keys(const Json& json, std::set<std::string>& keys) {
  if (json.is_object()) {
    for (const auto& [key, value] : json.items()) {
      keys.insert(key);
      collect_keys(value, keys);
    }
  } else if (json.is_array()) {
    for (const Json& element : json) {
      collect_keys(element, keys);
    }
  }
}

// Goal: what a program can rely on is written down, all of it.
TEST(JsonReportTest, EveryKeyIsDescribed) {
  std::set<std::string> keys;
  collect_keys(json_report(full_sample()), keys);
  collect_keys(json_report(articles_sample()), keys);
  std::ifstream file(QUIRE_SOURCE_DIR "/docs/json.md");
  std::string page(std::istreambuf_iterator<char>(file), {});
  page.erase(0, page.find("\n## compare\n"));
  ASSERT_GT(keys.size(), 70U);
  for (const std::string& key : keys) {
    EXPECT_NE(page.find("`" + key + "`"), std::string::npos) << key;
  }
}

// Goal: names and errors are bytes; the text is a JSON document whatever they hold.
TEST(JsonReportTest, TheTextParsesWhateverTheStringsHold) {
  const Json parsed = Json::parse(json_text(hostile_sample()));
  EXPECT_EQ(parsed["title"].get<std::string>().find("</script>"), 0U);
  EXPECT_NE(parsed["title"].get<std::string>().find("\xef\xbf\xbd"), std::string::npos);
  EXPECT_EQ(Json::parse(json_text(full_sample()))["cells"].size(), full_sample().cells.size());
}

TEST(JsonReportTest, ANumberThatIsNoneBecomesNull) {
  Report report = sample_report({sample_cell({})});
  report.elapsed_s = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(Json::parse(json_text(report))["elapsed_s"].is_null());
}

}  // namespace
}  // namespace quire::compare
