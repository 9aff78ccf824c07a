// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/internal/wire.h"

#include <nlohmann/json.hpp>
#include <system_error>

namespace quire::compare::internal {
namespace {

using Json = nlohmann::json;

template <typename T>
Json to_json(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

template <typename T>
std::optional<T> optional_of(const Json& json, const char* name) {
  const Json& value = json.at(name);
  return value.is_null() ? std::nullopt : std::optional<T>(value.get<T>());
}

Json to_json(const Latency& latency) {
  return {{"operations", latency.operations},
          {"p50", latency.p50_ns},
          {"p90", latency.p90_ns},
          {"p99", latency.p99_ns},
          {"p999", latency.p999_ns},
          {"max", latency.max_ns}};
}

Latency latency_from(const Json& json) {
  return {.operations = json.at("operations").get<std::uint64_t>(),
          .p50_ns = json.at("p50").get<double>(),
          .p90_ns = json.at("p90").get<double>(),
          .p99_ns = json.at("p99").get<double>(),
          .p999_ns = json.at("p999").get<double>(),
          .max_ns = json.at("max").get<double>()};
}

Json to_json(const EngineCounts& counts) {
  return {{"faults", counts.faults},
          {"evicted", counts.evicted},
          {"reads", counts.reads},
          {"read_bytes", counts.read_bytes},
          {"read_ahead_bytes", counts.read_ahead_bytes},
          {"writes", counts.writes},
          {"write_bytes", counts.write_bytes},
          {"memory_taken_bytes_max", counts.memory_taken_bytes_max}};
}

EngineCounts counts_from(const Json& json) {
  const auto count = [&](const char* name) { return json.at(name).get<std::uint64_t>(); };
  return {.faults = count("faults"),
          .evicted = count("evicted"),
          .reads = count("reads"),
          .read_bytes = count("read_bytes"),
          .read_ahead_bytes = count("read_ahead_bytes"),
          .writes = count("writes"),
          .write_bytes = count("write_bytes"),
          .memory_taken_bytes_max = count("memory_taken_bytes_max")};
}

Json to_json(const EngineDetails& details) {
  return {{"explanation", details.explanation},
          {"fault_path", details.fault_path},
          {"granule_bytes", details.granule_bytes},
          {"memory_bytes", details.memory_bytes}};
}

EngineDetails details_from(const Json& json) {
  return {.explanation = json.at("explanation").get<std::string>(),
          .fault_path = json.at("fault_path").get<std::string>(),
          .granule_bytes = json.at("granule_bytes").get<std::uint64_t>(),
          .memory_bytes = json.at("memory_bytes").get<std::uint64_t>()};
}

Json to_json(const Round& round) {
  return {{"seconds", round.seconds},
          {"bytes", round.bytes},
          {"operations", round.operations},
          {"cpu_s", round.cpu_s},
          {"major_faults", round.major_faults},
          {"minor_faults", round.minor_faults},
          {"system_calls", to_json(round.system_calls)},
          {"device_read_bytes", to_json(round.device_read_bytes)},
          {"device_written_bytes", to_json(round.device_written_bytes)},
          {"cache_before_bytes", to_json(round.cache_before_bytes)},
          {"cache_left_bytes", to_json(round.cache_left_bytes)},
          {"verified_cold", to_json(round.verified_cold)},
          {"verified_direct", to_json(round.verified_direct)},
          {"latency", round.latency ? to_json(*round.latency) : Json(nullptr)},
          {"engine", round.engine ? to_json(*round.engine) : Json(nullptr)}};
}

Round round_from(const Json& json) {
  Round round{.seconds = json.at("seconds").get<double>(),
              .bytes = json.at("bytes").get<std::uint64_t>(),
              .operations = json.at("operations").get<std::uint64_t>(),
              .cpu_s = json.at("cpu_s").get<double>(),
              .major_faults = json.at("major_faults").get<std::uint64_t>(),
              .minor_faults = json.at("minor_faults").get<std::uint64_t>(),
              .system_calls = optional_of<std::uint64_t>(json, "system_calls"),
              .device_read_bytes = optional_of<std::uint64_t>(json, "device_read_bytes"),
              .device_written_bytes = optional_of<std::uint64_t>(json, "device_written_bytes"),
              .cache_before_bytes = optional_of<std::uint64_t>(json, "cache_before_bytes"),
              .cache_left_bytes = optional_of<std::uint64_t>(json, "cache_left_bytes"),
              .verified_cold = optional_of<bool>(json, "verified_cold"),
              .verified_direct = optional_of<bool>(json, "verified_direct"),
              .latency = std::nullopt,
              .engine = std::nullopt};
  if (const Json& latency = json.at("latency"); !latency.is_null()) {
    round.latency = latency_from(latency);
  }
  if (const Json& engine = json.at("engine"); !engine.is_null()) {
    round.engine = counts_from(engine);
  }
  return round;
}

Json to_json(const Error& error) {
  return {{"is_own", error.code().category() == quire_category()},
          {"value", error.code().value()},
          {"operation", error.operation()},
          {"subject", error.subject()},
          {"cause", error.code().category() == quire_category() ? error.cause() : ""},
          {"remedy", error.remedy()}};
}

Error error_from(const Json& json) {
  const auto value = json.at("value").get<int>();
  return Error({.code = json.at("is_own").get<bool>()
                            ? std::error_code(value, quire_category())
                            : std::error_code(value, std::system_category()),
                .operation = json.at("operation").get<std::string>(),
                .subject = json.at("subject").get<std::string>(),
                .cause = json.at("cause").get<std::string>(),
                .remedy = json.at("remedy").get<std::string>()});
}

}  // namespace

std::string to_wire(const Result<RoundReport>& result) {
  Json json;
  if (result) {
    json = {{"round", to_json(result->round)},
            {"method", result->method},
            {"fallback", to_json(result->fallback)},
            {"engine", result->engine ? to_json(*result->engine) : Json(nullptr)}};
  } else {
    json = {{"error", to_json(result.error())}};
  }
  // Names of files are bytes; what is not UTF-8 in them is replaced.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<RoundReport> from_wire(const std::string& text) {
  // nlohmann's accessors throw; the exception ends here.
  try {
    const Json json = Json::parse(text);
    if (json.contains("error")) {
      return fail(error_from(json.at("error")));
    }
    RoundReport report{.round = round_from(json.at("round")),
                       .method = json.at("method").get<std::string>(),
                       .fallback = optional_of<std::string>(json, "fallback")};
    if (const Json& engine = json.at("engine"); !engine.is_null()) {
      report.engine = details_from(engine);
    }
    return report;
  } catch (const Json::exception&) {
    return fail(make_error(Errc::kCorrupt, "read the report of a round", "its process",
                           "it ended in the middle"));
  }
}

}  // namespace quire::compare::internal
