// SPDX-License-Identifier: Apache-2.0
//
// JsonWriter: one JSON document, written as it is found, so that a tree of 100,000 files takes no
// more memory than a single one.
//
//   json.begin_object();                       {
//   json.key("files").begin_array();             "files": [
//   ... for each file ...
//   json.begin_object();
//   json.key("path").value_path(path);             {"path": "a.bin", "size_bytes": 4096},
//   json.key("size_bytes").value(4096U);
//   json.end_object();
//   json.end_array(); json.end_object();         ] }
//
// Members of the two outermost levels stand on lines of their own, deeper ones on one line: a
// person can read it, and grep finds one file per line. In a series of documents (kOneLine) each
// stands on one line.
//
// Strings: JSON is Unicode, file names are bytes. value_string() replaces each byte that is not
// UTF-8 by U+FFFD. member_path() writes the same under `key` and, only where something had to be
// replaced, the exact bytes in base64 under `<key>_base64`: nothing is lost, and every parser
// accepts the document.
//
// Invariants:    the document is well-formed after close_to(0), whatever was open.
// Thread-safety: one thread.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "quire/cli/output.h"

namespace quire::cli {

enum class JsonShape : std::uint8_t { kLines, kOneLine };

class JsonWriter {
 public:
  explicit JsonWriter(Output& output) : output_(output) {}

  // Of what comes. REQUIRES: between two documents.
  void set_shape(JsonShape shape) { lines_to_depth_ = shape == JsonShape::kLines ? 2 : 0; }

  void begin_object() { begin('{', '}'); }
  void end_object() { end('}'); }
  void begin_array() { begin('[', ']'); }
  void end_array() { end(']'); }
  // Ends what is open until `depth` containers are left: the way out of the middle of a document.
  void close_to(std::size_t depth);
  [[nodiscard]] std::size_t depth() const noexcept { return open_.size(); }

  // The name of the next member. REQUIRES: inside an object; `name` is plain ASCII.
  JsonWriter& key(std::string_view name);

  void value(bool truth) { scalar(truth ? "true" : "false"); }
  void value(double number);  // null where it is not finite.
  void value(std::signed_integral auto number) { scalar(std::to_string(number)); }
  template <std::unsigned_integral Number>
    requires(!std::same_as<Number, bool>)
  void value(Number number) {
    scalar(std::to_string(number));
  }
  void value(const char* text) { value_string(text); }
  void value(const std::string& text) { value_string(text); }
  void value(std::string_view text) { value_string(text); }
  void value_null() { scalar("null"); }

  // key(name) and value(...) in one.
  void member(std::string_view name, const auto& content) { key(name).value(content); }
  // A file name: see above.
  void member_path(std::string_view name, std::string_view path);

 private:
  void begin(char open, char close);
  void end(char close);
  void scalar(std::string_view text);
  void value_string(std::string_view bytes);
  void separate();
  void new_line();

  struct Container {
    char close;
    bool is_empty = true;
  };

  Output& output_;
  std::size_t lines_to_depth_ = 2;  // Members so deep stand on lines of their own.
  std::vector<Container> open_;
  bool has_key_ = false;
};

// The JSON string for `bytes`, quotes included; U+FFFD for each byte that is not UTF-8.
[[nodiscard]] std::string json_quote(std::string_view bytes);
[[nodiscard]] std::string base64(std::string_view bytes);

}  // namespace quire::cli
