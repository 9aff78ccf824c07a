// SPDX-License-Identifier: Apache-2.0
#include "quire/cli/json_writer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

#include "quire/base/prng.h"
#include "quire/testing/seed.h"
#include "quire/testing/temp_dir.h"

namespace quire::cli {
namespace {

// What `write` makes of an empty document, as text.
std::string written(const std::function<void(JsonWriter&)>& write) {
  const testing::TempDir dir;
  const std::string path = dir.file("json");
  const int fd = ::open(path.c_str(), O_CREAT | O_RDWR, 0600);
  Output output(fd);
  JsonWriter json(output);
  write(json);
  EXPECT_TRUE(output.flush());
  ::close(fd);
  return testing::read_file(path);
}

TEST(JsonWriterTest, NestedContainersAreWellFormedAndOneFileIsOneLine) {
  const std::string text = written([](JsonWriter& json) {
    json.begin_object();
    json.key("files").begin_array();
    for (const char* path : {"a", "b"}) {
      json.begin_object();
      json.member_path("path", path);
      json.member("size_bytes", std::uint64_t{18'446'744'073'709'551'615U});
      json.key("extents").begin_array();
      json.end_array();
      json.end_object();
    }
    json.end_array();
    json.key("none").value_null();
    json.member("yes", true);
    json.member("less", -3);
    json.member("half", 0.5);
    json.end_object();
  });
  EXPECT_EQ(text,
            "{\n"
            "  \"files\": [\n"
            "    {\"path\": \"a\", \"size_bytes\": 18446744073709551615, \"extents\": []},\n"
            "    {\"path\": \"b\", \"size_bytes\": 18446744073709551615, \"extents\": []}\n"
            "  ],\n"
            "  \"none\": null,\n"
            "  \"yes\": true,\n"
            "  \"less\": -3,\n"
            "  \"half\": 0.5\n"
            "}\n");
}

TEST(JsonWriterTest, EmptyContainersAreWellFormed) {
  EXPECT_EQ(written([](JsonWriter& json) {
              json.begin_object();
              json.key("empty").begin_object();
              json.end_object();
              json.end_object();
            }),
            "{\n  \"empty\": {}\n}\n");
}

TEST(JsonWriterTest, ClosingFromTheMiddleLeavesAWellFormedDocument) {
  const std::string text = written([](JsonWriter& json) {
    json.begin_object();
    json.key("files").begin_array();
    json.begin_object();
    json.key("path");  // The value never comes.
    json.close_to(0);
  });
  EXPECT_EQ(nlohmann::json::parse(text), nlohmann::json::parse(R"({"files": [{"path": null}]})"));
}

TEST(JsonWriterTest, WhatIsNotFiniteIsNull) {
  EXPECT_EQ(written([](JsonWriter& json) {
              json.begin_array();
              json.value(std::nan(""));
              json.value(HUGE_VAL);
              json.end_array();
            }),
            "[\n  null,\n  null\n]\n");
}

std::string from_base64(const std::string& text) {
  const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  unsigned bits = 0;
  int held = 0;
  for (const char digit : text) {
    const std::size_t value = digits.find(digit);
    if (value == std::string::npos) {
      break;
    }
    bits = (bits << 6U) | static_cast<unsigned>(value);
    held += 6;
    if (held >= 8) {
      held -= 8;
      bytes += static_cast<char>((bits >> static_cast<unsigned>(held)) & 0xffU);
    }
  }
  return bytes;
}

// Goal:   any name makes a document that a strict parser accepts, and comes back exactly.
// Method: random bytes; nlohmann's parser, which refuses invalid UTF-8, is the judge.
TEST(JsonWriterTest, EveryNameComesBackExactly) {
  Prng random(testing::test_seed());
  for (int round = 0; round < 3000; ++round) {
    std::string name;
    for (std::uint64_t count = random.below(20); count > 0; --count) {
      name += static_cast<char>(random.below(random.below(3) == 0 ? 0x100 : 0x80));
    }
    const auto parsed = nlohmann::json::parse(json_quote(name), nullptr, false);
    ASSERT_FALSE(parsed.is_discarded());
    ASSERT_EQ(from_base64(base64(name)), name);
    if (parsed.get<std::string>().find("\xef\xbf\xbd") == std::string::npos) {
      ASSERT_EQ(parsed.get<std::string>(), name);
    }
  }
}

TEST(JsonWriterTest, OnlyANameThatIsNotUtf8HasASecondKey) {
  const auto document = [](const char* name) {
    return nlohmann::json::parse(written([name](JsonWriter& json) {
      json.begin_object();
      json.member_path("path", name);
      json.end_object();
    }));
  };
  EXPECT_EQ(document("caf\u00e9"), (nlohmann::json{{"path", "caf\u00e9"}}));
  EXPECT_EQ(document("a\xff"), (nlohmann::json{{"path", "a\ufffd"}, {"path_base64", "Yf8="}}));
}

TEST(JsonWriterTest, ControlCharactersNeverStandRaw) {
  EXPECT_EQ(json_quote("\x1b[2J\n\x7f\u0085\""), "\"\\u001b[2J\\n\\u007f\\u0085\\\"\"");
}

}  // namespace
}  // namespace quire::cli
