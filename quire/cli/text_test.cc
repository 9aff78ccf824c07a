// SPDX-License-Identifier: Apache-2.0
#include "quire/cli/text.h"

#include <gtest/gtest.h>

#include <clocale>
#include <string>
#include <vector>

#include "quire/base/prng.h"
#include "quire/testing/seed.h"

namespace quire::cli {
namespace {

// Widths of characters come from the locale; the command sets it from the environment.
class TextTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_NE(std::setlocale(LC_CTYPE, "C.UTF-8"), nullptr); }
};

TEST_F(TextTest, WhatCouldSteerATerminalIsEscaped) {
  struct Row {
    std::string bytes;
    std::string printed;
  };
  for (const Row& row : {Row{"plain name", "plain name"}, Row{"a\nb\tc\r", "a\\nb\\tc\\r"},
                         Row{"\x1b]0;title\x07", "\\x1b]0;title\\x07"}, Row{"\x7f", "\\x7f"},
                         Row{"back\\slash", "back\\\\slash"}, Row{"\xff\xfe", "\\xff\\xfe"},
                         Row{"caf\u00e9", "caf\u00e9"}, Row{"\u65e5\u672c", "\u65e5\u672c"},
                         Row{"\u202egnp.exe", "\\u{202e}gnp.exe"}, Row{"\u0085", "\\u{85}"},
                         Row{"a\u200bb", "a\\u{200b}b"}, Row{"\xc0\x80", "\\xc0\\x80"},
                         Row{"\xed\xa0\x80", "\\xed\\xa0\\x80"}, Row{"\xe6\x97", "\\xe6\\x97"}}) {
    EXPECT_EQ(printable(row.bytes, Charset::kUtf8), row.printed);
  }
}

TEST_F(TextTest, AnAsciiTerminalGetsAsciiOnly) {
  EXPECT_EQ(printable("caf\u00e9 \xff", Charset::kAscii), "caf\\u{e9} \\xff");
}

void append_utf8(std::string& bytes, unsigned code) {
  const auto tail = [&](unsigned shift) {
    bytes += static_cast<char>(0x80U | ((code >> shift) & 0x3fU));
  };
  if (code < 0x800) {
    bytes += static_cast<char>(0xc0U | (code >> 6U));
  } else if (code < 0x10000) {
    bytes += static_cast<char>(0xe0U | (code >> 12U));
    tail(6);
  } else {
    bytes += static_cast<char>(0xf0U | (code >> 18U));
    tail(12);
    tail(6);
  }
  tail(0);
}

// The bytes that printable() with Charset::kAscii was given.
std::string unescaped(const std::string& printed) {
  std::string bytes;
  for (std::size_t at = 0; at < printed.size();) {
    const char kind = printed[at] == '\\' ? printed.at(at + 1) : '\0';
    if (kind == '\0') {
      bytes += printed[at];
      at += 1;
    } else if (kind == 'x') {
      bytes += static_cast<char>(std::stoi(printed.substr(at + 2, 2), nullptr, 16));
      at += 4;
    } else if (kind == 'u') {
      const std::size_t end = printed.find('}', at);
      append_utf8(bytes, static_cast<unsigned>(
                             std::stoul(printed.substr(at + 3, end - at - 3), nullptr, 16)));
      at = end + 1;
    } else {
      bytes += kind == 'n' ? '\n' : kind == 't' ? '\t' : kind == 'r' ? '\r' : '\\';
      at += 2;
    }
  }
  return bytes;
}

// Goal:   no two names look the same, and nothing printed is a control character.
// Method: random bytes, weighted towards those that matter; the printed form is decoded again.
TEST_F(TextTest, EveryNameCanBeReadBackFromWhatWasPrinted) {
  Prng random(testing::test_seed());
  const std::string interesting = "\\\n\x1b\x7f\xff\xc3\xa9\xe2\x80\xae x41{}u";
  for (int round = 0; round < 20'000; ++round) {
    std::string name;
    for (std::uint64_t count = random.below(12); count > 0; --count) {
      name += random.below(4) == 0 ? static_cast<char>(random.below(256))
                                   : interesting[random.below(interesting.size())];
    }
    const std::string printed = printable(name, Charset::kAscii);
    for (const char character : printed) {
      ASSERT_TRUE(character >= ' ' && character < 0x7f) << printed;
    }
    ASSERT_EQ(unescaped(printed), name) << printed;
  }
}

TEST_F(TextTest, WideCharactersTakeTwoColumns) {
  EXPECT_EQ(display_width("abc"), 3u);
  EXPECT_EQ(display_width("\u65e5\u672c"), 4u);
  EXPECT_EQ(display_width("e\u0301"), 1u);
}

TEST_F(TextTest, AFittedPathHasExactlyItsColumnsAndKeepsItsEnd) {
  const std::string path = "/srv/a/very/long/path/to/the/file.bin";
  for (const Charset charset : {Charset::kAscii, Charset::kUtf8}) {
    for (std::size_t columns = 1; columns < 60; ++columns) {
      const std::string fitted = fit_path(path, columns, charset);
      EXPECT_EQ(display_width(fitted), columns);
      if (columns >= 16 && columns < path.size()) {
        EXPECT_TRUE(fitted.ends_with("file.bin")) << fitted;
        EXPECT_TRUE(fitted.starts_with("/sr")) << fitted;
      }
    }
  }
  EXPECT_EQ(fit_path("short", 8, Charset::kAscii), "short   ");
}

TEST_F(TextTest, AFittedPathNeverCutsAWideCharacterInHalf) {
  for (std::size_t columns = 1; columns < 20; ++columns) {
    const std::string fitted =
        fit_path("\u65e5\u672c\u8a9e\u65e5\u672c\u8a9e\u65e5\u672c\u8a9e", columns, Charset::kUtf8);
    EXPECT_TRUE(is_valid_utf8(fitted));
    EXPECT_EQ(display_width(fitted), columns);
  }
}

TEST_F(TextTest, PercentSaysAllAndNothingOnlyWhenItIsTrue) {
  EXPECT_EQ(percent(0, 100), "0 %");
  EXPECT_EQ(percent(0, 0), "0 %");
  EXPECT_EQ(percent(100, 100), "100 %");
  EXPECT_EQ(percent(1, 1'000'000'000), "0.1 %");
  EXPECT_EQ(percent(999'999'999, 1'000'000'000), "99.9 %");
  EXPECT_EQ(percent(293, 1000), "29.3 %");
}

TEST_F(TextTest, CountsAreGroupedAndAgreeWithTheirNoun) {
  EXPECT_EQ(count_of(1, "file", "files"), "1 file");
  EXPECT_EQ(count_of(0, "file", "files"), "0 files");
  EXPECT_EQ(count_of(14'212, "file", "files"), "14,212 files");
  EXPECT_EQ(with_thousands(1'000'000), "1,000,000");
}

TEST_F(TextTest, IndentedTextBreaksBetweenWordsAndLosesNone) {
  EXPECT_EQ(indented("one two three", 9), "  one two\n  three");
  EXPECT_EQ(indented("averylongword x", 6), "  averylongword\n  x");
  EXPECT_EQ(indented("one", 80), "  one");
}

TEST_F(TextTest, PaintIsInvisibleWhenSwitchedOff) {
  EXPECT_EQ(Paint(false)(Tone::kBad, "text"), "text");
  EXPECT_EQ(Paint(true)(Tone::kPlain, "text"), "text");
  EXPECT_EQ(Paint(true)(Tone::kBad, "text"), "\x1b[31mtext\x1b[0m");
}

}  // namespace
}  // namespace quire::cli
