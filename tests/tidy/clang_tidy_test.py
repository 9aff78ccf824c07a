#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""clang-tidy with the plugin of tools/own_code.cc finds what it finds without it, and reports what
clang warns of, which is why no stage builds everything with clang.

    clang_tidy_test.py PLUGIN

A plugin that hid too much would make every file look clean; so a source and a header with a finding
in each kind of place are looked at both ways, under the .clang-tidy of the tree."""

import os
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PLUGIN = os.path.abspath(sys.argv.pop()) if len(sys.argv) > 1 else ""
CHECK = re.compile(r" ((?:bugprone|clang-diagnostic|performance|readability)-[a-z-]+)")
FINDING = re.compile(r"^(\S+:\d+:\d+): (?:error|warning): .*\[([\w-]+)", re.MULTILINE)

# A comment names the checks that find something in its line.
HEADER = """#pragma once
#include <functional>
#include <string>
struct Plain { int count = 0; };
template <typename T>
T twice(T value) {
  const T Sum = value + value;  // readability-identifier-naming
  return Sum;
}
template <>
struct std::hash<Plain> {
  std::size_t operator()(const Plain& Value) const noexcept {  // readability-identifier-naming
    return static_cast<std::size_t>(Value.count);
  }
};
"""
SOURCE = """#include "quire/sample.h"
#include <gtest/gtest.h>
#include <algorithm>
#include <string>
#include <utility>
#include <vector>
#define lower_case_macro 1  // readability-identifier-naming
int __reserved = 0;  // bugprone-reserved-identifier readability-identifier-naming
namespace quire {
class Base {
 public:
  virtual ~Base() = default;
  int BadMethod() { return twice(1); }  // readability-identifier-naming
};
void take(std::string text);
void take(std::string text) {  // performance-unnecessary-value-param
  std::puts(text.c_str());
}
}  // namespace quire
extern "C" {
int badlyNamed(int number) { return number; }  // readability-identifier-naming
}
TEST(Sample, MovesTwice) {
  std::string text = "text";
  const std::string other = std::move(text);
  EXPECT_EQ(other.size(), text.size());  // bugprone-use-after-move
}
class __attribute__((capability("mutex"))) Lock {};
struct Guarded {
  Lock lock;
  int value __attribute__((guarded_by(lock))) = 0;
  int read() const { return value; }  // clang-diagnostic-thread-safety-analysis
};
int count(const std::vector<std::string>& names) {
  return static_cast<int>(std::count_if(names.begin(), names.end(), [](const std::string& name) {
    const std::string copy = name;  // performance-unnecessary-copy-initialization
    return copy.empty();
  }));
}
"""


def planted(name, text):
    """Line and check of what the comments announce."""
    return {(f"{name}:{number}", check) for number, line in enumerate(text.split("\n"), 1)
            for check in re.findall(CHECK, line)}


def find(folder, *options):
    """Line and check of what clang-tidy finds."""
    command = ["clang-tidy-19", *options, "--quiet", f"--config-file={ROOT}/.clang-tidy",
               os.path.join(folder, "quire", "sample.cc"), "--", "-std=c++20", f"-I{folder}",
               "-Wthread-safety", "-Werror"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    return {(os.path.basename(place).rpartition(":")[0], check)
            for place, check in FINDING.findall(done.stdout)}


class OwnCodeTest(unittest.TestCase):
    def test_the_plugin_hides_no_finding(self):
        with tempfile.TemporaryDirectory() as folder:
            os.mkdir(os.path.join(folder, "quire"))
            for name, text in (("sample.h", HEADER), ("sample.cc", SOURCE)):
                with open(os.path.join(folder, "quire", name), "w", encoding="utf-8") as file:
                    file.write(text)
            expected = planted("sample.h", HEADER) | planted("sample.cc", SOURCE)
            self.assertEqual(find(folder), expected)
            self.assertEqual(find(folder, f"--load={PLUGIN}"), expected)


if __name__ == "__main__":
    unittest.main(verbosity=2)
