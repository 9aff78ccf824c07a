// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/json_report.h"

#include <nlohmann/json.hpp>

namespace quire::compare {
namespace {

using Json = nlohmann::ordered_json;

template <typename T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json strings(const std::vector<std::string>& texts) {
  return texts;
}

Json latency_json(const std::optional<Latency>& latency) {
  if (!latency) {
    return nullptr;
  }
  return {{"operations", latency->operations}, {"p50_ns", latency->p50_ns},
          {"p90_ns", latency->p90_ns},         {"p99_ns", latency->p99_ns},
          {"p999_ns", latency->p999_ns},       {"max_ns", latency->max_ns}};
}

Json error_json(const std::optional<Error>& error) {
  if (!error) {
    return nullptr;
  }
  return {{"operation", error->operation()},
          {"subject", error->subject()},
          {"cause", error->cause()},
          {"remedy", error->remedy()}};
}

// How an engine was set up, and what it counted; null for a path that is none, or never ran.
Json engine_json(const Cell& cell) {
  const std::optional<EngineCounts> counts = cell.engine_counts();
  if (!cell.engine || !counts) {
    return nullptr;
  }
  return {{"explain", cell.engine->explanation},
          {"fault_path", cell.engine->fault_path},
          {"granule_bytes", cell.engine->granule_bytes},
          {"memory_bytes", cell.engine->memory_bytes},
          {"memory_taken_bytes_max", counts->memory_taken_bytes_max},
          {"faults", counts->faults},
          {"evicted_granules", counts->evicted},
          {"reads", counts->reads},
          {"read_bytes", counts->read_bytes},
          {"read_ahead_bytes", counts->read_ahead_bytes},
          {"writes", counts->writes},
          {"write_bytes", counts->write_bytes}};
}

Json round_json(const Round& round) {
  return {{"start_s", round.start_s},
          {"seconds", round.seconds},
          {"bytes", round.bytes},
          {"operations", round.operations},
          {"mib_per_s", round.mib_per_s()},
          {"ops_per_s", round.operations_per_s()},
          {"cpu_s", round.cpu_s},
          {"major_faults", round.major_faults},
          {"minor_faults", round.minor_faults},
          {"system_calls", or_null(round.system_calls)},
          {"device_read_bytes", or_null(round.device_read_bytes)},
          {"device_written_bytes", or_null(round.device_written_bytes)},
          {"cache_before_bytes", or_null(round.cache_before_bytes)},
          {"cache_left_bytes", or_null(round.cache_left_bytes)},
          {"verified_cold", or_null(round.verified_cold)},
          {"verified_direct", or_null(round.verified_direct)},
          {"latency", latency_json(round.latency)}};
}

// What was measured; a cell without a round has no rate, and that is null.
void add_results(const Cell& cell, Json& json) {
  const bool has = cell.has_result();
  json["median_mib_per_s"] = has ? Json(cell.median_mib_per_s()) : Json(nullptr);
  json["median_ops_per_s"] = has ? Json(cell.median_operations_per_s()) : Json(nullptr);
  json["spread"] = cell.rounds.size() > 1 ? Json(cell.spread()) : Json(nullptr);
  json["latency"] = latency_json(cell.latency());
  json["cpu_s_per_gib"] = or_null(cell.cpu_s_per_gib());
  json["major_faults"] = has ? Json(cell.major_faults()) : Json(nullptr);
  json["minor_faults"] = has ? Json(cell.minor_faults()) : Json(nullptr);
  json["system_calls"] = or_null(cell.system_calls());
  json["bytes"] = cell.bytes();
  json["operations"] = cell.operations();
  json["device_read_bytes"] = or_null(cell.device_read_bytes());
  json["device_written_bytes"] = or_null(cell.device_written_bytes());
  json["cache_left_bytes"] = or_null(cell.cache_left_bytes());
  json["verified_cold"] = or_null(cell.verified_cold());
  json["verified_direct"] = or_null(cell.verified_direct());
}

Json cell_json(const Cell& cell) {
  Json json{{"path", name_of(cell.path)},
            {"pattern", name_of(cell.pattern)},
            {"state", name_of(cell.state)},
            {"durability", name_of(cell.durability)},
            {"working_set_bytes", cell.working_set_bytes},
            {"memory_bytes", or_null(cell.memory_bytes)},
            {"exceeds_memory", cell.exceeds_memory},
            {"depth", cell.depth},
            {"block_bytes", cell.block_bytes}};
  add_results(cell, json);
  json["method"] = cell.method;
  json["engine"] = engine_json(cell);
  json["fallback"] = or_null(cell.fallback);
  json["skipped"] = or_null(cell.skipped);
  json["error"] = error_json(cell.error);
  json["rounds"] = Json::array();
  for (const Round& round : cell.rounds) {
    json["rounds"].push_back(round_json(round));
  }
  return json;
}

Json verdict_json(const Verdict& verdict) {
  const Question& question = verdict.question;
  Json ties = Json::array();
  for (const Path path : verdict.ties) {
    ties.push_back(name_of(path));
  }
  return {{"pattern", name_of(question.pattern)},
          {"state", name_of(question.state)},
          {"durability", name_of(question.durability)},
          {"working_set_bytes", question.working_set_bytes},
          {"memory_bytes", or_null(question.memory_bytes)},
          {"exceeds_memory", question.exceeds_memory},
          {"winner", verdict.winner ? Json(name_of(*verdict.winner)) : Json(nullptr)},
          {"ties", ties},
          {"compared", verdict.compared ? Json(name_of(*verdict.compared)) : Json(nullptr)},
          {"factor", verdict.compared ? Json(verdict.factor) : Json(nullptr)},
          {"sentence", verdict.sentence},
          {"with_quire", strings(verdict.with_quire)},
          {"with_system_calls", strings(verdict.with_system_calls)}};
}

Json figures_json(const std::vector<ArticleFigure>& figures) {
  Json list = Json::array();
  for (const ArticleFigure& figure : figures) {
    list.push_back({{"target", figure.target},
                    {"block_bytes", figure.block_bytes},
                    {"durability", name_of(figure.durability)},
                    {"mib_per_s", figure.mib_per_s},
                    {"system_calls", figure.system_calls},
                    {"cpu_s_per_gib", figure.cpu_s_per_gib}});
  }
  return list;
}

Json facts_json(const std::vector<Fact>& facts) {
  Json list = Json::array();
  for (const Fact& fact : facts) {
    list.push_back({{"name", fact.name}, {"value", fact.value}, {"consequence", fact.consequence}});
  }
  return list;
}

template <typename T, typename Convert>
Json list_json(const std::vector<T>& values, Convert&& convert) {
  Json list = Json::array();
  for (const T& value : values) {
    list.push_back(convert(value));
  }
  return list;
}

}  // namespace

Json json_report(const Report& report) {
  return {{"title", report.title},
          {"file", report.file},
          {"is_scratch", report.is_scratch},
          {"file_bytes", report.file_bytes},
          {"is_simulated", report.is_simulated},
          {"device_model", report.is_simulated ? Json(report.device_model) : Json(nullptr)},
          {"memory_limit_bytes", or_null(report.memory_limit_bytes)},
          {"is_memory_limited", report.is_memory_limited},
          {"memory_limit_method", report.memory_limit_method},
          {"time_budget_s", report.time_budget_s},
          {"elapsed_s", report.elapsed_s},
          {"is_interrupted", report.is_interrupted},
          {"started_at", report.started_at},
          {"version", report.version},
          {"command_line", report.command_line},
          {"facts", facts_json(report.facts)},
          {"cells", list_json(report.cells, cell_json)},
          {"verdicts", list_json(report.verdicts, verdict_json)},
          {"articles_way", figures_json(report.articles_way)},
          {"articles_matrix", figures_json(report.articles_matrix)},
          {"remarks", strings(report.remarks)}};
}

std::string json_text(const Report& report) {
  return json_report(report).dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace quire::compare
