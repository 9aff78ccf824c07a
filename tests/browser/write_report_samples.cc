// SPDX-License-Identifier: Apache-2.0
//
// write_report_samples DIR: writes the sample reports as DIR/NAME.html for the tests in a browser
// (tests/browser), and DIR/NAME.txt as the terminal shows them.
#include <cstdio>
#include <fstream>
#include <string>

#include "quire/compare/html_report.h"
#include "quire/compare/report_samples.h"
#include "quire/compare/text_report.h"

namespace {

using quire::compare::Report;

bool write(const std::string& path, const Report& report) {
  std::ofstream html(path + ".html", std::ios::binary);
  html << quire::compare::html_report(report);
  std::ofstream text(path + ".txt", std::ios::binary);
  for (const auto& line : quire::compare::text_report(report, {.columns = 120})) {
    text << quire::compare::plain(line) << '\n';
  }
  return html.good() && text.good();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: write_report_samples DIR\n");
    return 2;
  }
  const std::string directory = argv[1];
  const bool is_written = write(directory + "/full", quire::compare::full_sample()) &&
                          write(directory + "/hostile", quire::compare::hostile_sample()) &&
                          write(directory + "/empty", quire::compare::empty_sample()) &&
                          write(directory + "/articles", quire::compare::articles_sample());
  return is_written ? 0 : 1;
}
