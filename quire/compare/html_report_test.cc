// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/html_report.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "quire/compare/internal/assets.h"
#include "quire/compare/internal/html.h"
#include "quire/compare/report_samples.h"

namespace quire::compare {
namespace {

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++count;
  }
  return count;
}

// The page up to its scripts: what the parser sees as markup.
std::string markup_of(const std::string& page) {
  return page.substr(0, page.find("<script"));
}

std::string data_of(const std::string& page, const std::string& id) {
  const std::string start = "id=\"" + id + "\">";
  const std::size_t from = page.find(start) + start.size();
  return page.substr(from, page.find("</script>", from) - from);
}

bool is_void(const std::string& name) {
  return name == "meta" || name == "br" || name == "hr" || name == "img";
}

// What is wrong with the nesting of tags, or "". Attributes are in double quotes.
std::string nesting_error(const std::string& markup) {
  std::vector<std::string> open;
  for (std::size_t at = markup.find('<'); at != std::string::npos; at = markup.find('<', at + 1)) {
    const bool is_end = markup[at + 1] == '/';
    const std::size_t from = at + (is_end ? 2 : 1);
    const std::string name = markup.substr(from, markup.find_first_of(" >", from) - from);
    if (name == "!doctype" || is_void(name)) {
      continue;
    }
    if (!is_end) {
      open.push_back(name);
    } else if (open.empty() || open.back() != name) {
      return "</" + name + "> ends " + (open.empty() ? "nothing" : open.back());
    } else {
      open.pop_back();
    }
  }
  return open == std::vector<std::string>{"html", "body"} ? "" : "not ended: " + open.back();
}

TEST(HtmlReportTest, TagsAreNestedWhateverTheReportHolds) {
  for (const Report& report :
       {full_sample(), hostile_sample(), empty_sample(), articles_sample(), Report{}}) {
    EXPECT_EQ(nesting_error(markup_of(html_report(report))), "") << report.title;
  }
}

// Goal: a file name or an error text cannot become markup or script.
TEST(HtmlReportTest, HostileTextStaysText) {
  const std::string page = html_report(hostile_sample());
  const std::string markup = markup_of(page);
  EXPECT_EQ(count_of(page, "<script"), 4U);
  EXPECT_EQ(count_of(page, "</script"), 4U);
  EXPECT_EQ(count_of(page, "<!--"), count_of(std::string(internal::chart_script()), "<!--"));
  EXPECT_EQ(count_of(markup, "<img"), 0U);
  EXPECT_EQ(count_of(markup, "window.hostile = 1</script"), 0U);
  EXPECT_GT(count_of(markup, "&lt;/script&gt;"), 10U);
  EXPECT_EQ(markup.find('\x1b'), std::string::npos);
}

TEST(HtmlReportTest, EscapingKeepsTextAndDisarmsIt) {
  using internal::escaped;
  EXPECT_EQ(escaped("a < b & \"c\" > 'd'"), "a &lt; b &amp; &quot;c&quot; &gt; &#39;d&#39;");
  EXPECT_EQ(escaped("caf\xc3\xa9"), "caf\xc3\xa9");
  EXPECT_EQ(escaped("a\xff\x1b"), "a\xef\xbf\xbd\xef\xbf\xbd");
  EXPECT_EQ(escaped("&lt;"), "&amp;lt;");
  EXPECT_EQ(internal::script_json({{"a", "</script><!--&"}}),
            R"({"a":"\u003c/script\u003e\u003c!--\u0026"})");
}

TEST(HtmlReportTest, NothingIsFetchedFromAnywhere) {
  const std::string markup = markup_of(html_report(full_sample()));
  EXPECT_EQ(count_of(markup, " src="), 0U);
  EXPECT_EQ(count_of(markup, "<link"), 0U);
  EXPECT_EQ(count_of(markup, "url("), 0U);
  EXPECT_EQ(count_of(markup, "@import"), 0U);
  EXPECT_EQ(count_of(markup, " href="), count_of(markup, " href=\"#"));
  EXPECT_EQ(count_of(markup, "default-src 'none'"), 1U);
}

TEST(HtmlReportTest, TheDataInThePageIsTheReport) {
  const std::string page = html_report(hostile_sample());
  const auto data = nlohmann::ordered_json::parse(data_of(page, "report-data"));
  EXPECT_EQ(data["cells"].size(), 3U);
  EXPECT_EQ(data["title"].get<std::string>().find("</script><script>"), 0U);
  EXPECT_EQ(nlohmann::ordered_json::parse(data_of(page, "chart-data")).size(), 6U);
}

TEST(HtmlReportTest, EveryChartHasAPictureAWordedOneAndItsNumbers) {
  const std::string page = html_report(full_sample());
  EXPECT_EQ(count_of(page, "<figure class=\"chart\""), 22U);
  EXPECT_EQ(count_of(page, "<canvas role=\"img\" aria-label=\""), 22U);
  EXPECT_EQ(count_of(page, "<section class=\"pattern\""), 6U);
  EXPECT_EQ(count_of(page, "<caption>"), 18U);
}

TEST(HtmlReportTest, EveryCellIsARowOfTheLastTableAlsoTheFailedOnes) {
  const Report report = full_sample();
  const std::string page = html_report(report);
  const std::size_t from = page.find("id=\"all-cells\"");
  const std::string table = page.substr(from, page.find("</table>", from) - from);
  EXPECT_EQ(count_of(table, "<tr"), report.cells.size() + 1);
  EXPECT_EQ(count_of(table, "the process was killed"), 1U);
  EXPECT_EQ(count_of(table, "not run: this kernel has no io_uring"), 1U);
}

TEST(HtmlReportTest, APagedCellSaysHowItsPagerWasSetUp) {
  const Cell cell = sample_cell({.path = Path::kPaged});
  const std::string page = html_report(sample_report({cell}));
  const std::string table = page.substr(page.find("id=\"all-cells\""));
  EXPECT_GT(count_of(table, cell.engine->explanation), 0U);
  EXPECT_GT(count_of(table, "pager faults"), 0U);
}

TEST(HtmlReportTest, VerdictsCarryTheirCode) {
  const std::string page = html_report(full_sample());
  EXPECT_EQ(count_of(page, "<article class=\"verdict\""), 18U);
  EXPECT_GT(count_of(page, "quire::CacheUse::kBypass"), 0U);
  EXPECT_GT(count_of(page, "MADV_POPULATE_READ"), 0U);
}

TEST(HtmlReportTest, TheLicenceOfTheChartingPackageIsInThePage) {
  const std::string page = html_report(empty_sample());
  EXPECT_GT(count_of(page, "Chart.js Contributors"), 0U);
  EXPECT_GT(count_of(page, "Permission is hereby granted, free of charge"), 0U);
}

TEST(HtmlReportTest, WhatIsSimulatedOrInterruptedSaysSoAtTheTop) {
  Report report = empty_sample();
  report.is_simulated = true;
  report.device_model = "hdd";
  const std::string page = html_report(report);
  const std::string top = page.substr(0, page.find("<nav"));
  EXPECT_NE(top.find("Simulated disk and clock (hdd)"), std::string::npos);
  EXPECT_NE(top.find("Interrupted"), std::string::npos);
}

TEST(AssetsTest, WhatIsEmbeddedCannotEndTheElementItIsIn) {
  for (const std::string_view asset : {internal::chart_script(), internal::report_script()}) {
    EXPECT_EQ(asset.find("</script"), std::string_view::npos);
    EXPECT_GT(asset.size(), 1000U);
  }
  EXPECT_EQ(internal::report_style().find("</style"), std::string_view::npos);
  EXPECT_NE(internal::chart_script().find("Chart.js v3."), std::string_view::npos);
}

}  // namespace
}  // namespace quire::compare
