// SPDX-License-Identifier: Apache-2.0
#include "quire/cli/compare_output.h"

#include <nlohmann/json.hpp>

#include "quire/compare/json_report.h"
#include "quire/compare/text_report.h"

namespace quire::cli {
namespace {

using Json = nlohmann::ordered_json;

Tone tone_of(compare::Emphasis emphasis) noexcept {
  switch (emphasis) {
    case compare::Emphasis::kPlain: break;
    case compare::Emphasis::kStrong: return Tone::kStrong;
    case compare::Emphasis::kDim: return Tone::kDim;
    case compare::Emphasis::kGood: return Tone::kGood;
    case compare::Emphasis::kWarning: return Tone::kWarning;
    case compare::Emphasis::kBad: return Tone::kBad;
    case compare::Emphasis::kAccent: return Tone::kAccent;
  }
  return Tone::kPlain;
}

void write_value(JsonWriter& writer, const Json& value);

void write_members(JsonWriter& writer, const Json& object) {
  for (const auto& [name, value] : object.items()) {
    if (value.is_string()) {
      writer.member_path(name, value.get_ref<const std::string&>());
      continue;
    }
    writer.key(name);
    write_value(writer, value);
  }
}

void write_value(JsonWriter& writer, const Json& value) {
  switch (value.type()) {
    case Json::value_t::object:
      writer.begin_object();
      write_members(writer, value);
      writer.end_object();
      break;
    case Json::value_t::array:
      writer.begin_array();
      for (const Json& element : value) {
        write_value(writer, element);
      }
      writer.end_array();
      break;
    case Json::value_t::string: writer.value(value.get_ref<const std::string&>()); break;
    case Json::value_t::boolean: writer.value(value.get<bool>()); break;
    case Json::value_t::number_integer: writer.value(value.get<std::int64_t>()); break;
    case Json::value_t::number_unsigned: writer.value(value.get<std::uint64_t>()); break;
    case Json::value_t::number_float: writer.value(value.get<double>()); break;
    default: writer.value_null(); break;
  }
}

}  // namespace

void write_report(Session& session, const compare::Report& report, bool with_code) {
  if (session.is_json()) {
    write_members(session.json(), compare::json_report(report));
    return;
  }
  const auto lines =
      compare::text_report(report, {.columns = session.columns(), .with_code = with_code});
  for (const compare::TextLine& line : lines) {
    std::string text;
    for (const compare::TextSpan& span : line) {
      text += session.paint()(tone_of(span.emphasis), session.name(span.text));
    }
    session.print("{}\n", text);
  }
}

}  // namespace quire::cli
