// SPDX-License-Identifier: Apache-2.0
#include "quire/cli/ipc_bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include "quire/base/units.h"
#include "quire/cli/ipc_bench_run.h"
#include "quire/cli/progress.h"

namespace quire::cli {
namespace {

constexpr double kSecondsDefault = 20;
constexpr std::size_t kNameColumns = 24;

std::string rate_text(const BenchQuestion& question, double rate) {
  const auto whole = static_cast<std::uint64_t>(rate);
  return question.unit == "bytes/s" ? human_bytes(whole) + "/s" : with_thousands(whole);
}

std::string ratio_text(const BenchQuestion& question, const BenchSide& side) {
  const auto ratio = question.ratio_to(side);
  if (!ratio || &side == &question.sides.front()) {
    return "";
  }
  return fmt::format("{:.2f} ({:.2f} .. {:.2f})", ratio->median, ratio->least, ratio->most);
}

std::string time_text(double nanoseconds) {
  constexpr double kMicro = 1e3;
  constexpr double kMilli = 1e6;
  return nanoseconds < kMicro   ? fmt::format("{:.0f} ns", nanoseconds)
         : nanoseconds < kMilli ? fmt::format("{:.1f} us", nanoseconds / kMicro)
                                : fmt::format("{:.1f} ms", nanoseconds / kMilli);
}

void print_question(Session& session, const BenchQuestion& question) {
  const bool has_latency = question.sides.front().latency().has_value();
  std::string titles = pad_left(question.unit, 16) + pad_left("ours to it", 24);
  for (const char* title : {"p50", "p99", "p99.9", "max"}) {
    titles += has_latency ? pad_left(title, 10) : "";
  }
  session.print("{}{}\n", session.paint()(Tone::kStrong, pad_right(question.name, kNameColumns)),
                session.paint()(Tone::kDim, titles));
  for (const BenchSide& side : question.sides) {
    std::string line = "  " + pad_right(side.name, kNameColumns - 2);
    if (!side.problem.empty()) {
      session.print("{}  {}\n", line, session.name(side.problem));
      continue;
    }
    line += pad_left(rate_text(question, side.median_rate()), 16) +
            pad_left(ratio_text(question, side), 24);
    if (const auto latency = side.latency()) {
      for (const double time :
           {latency->p50_ns, latency->p99_ns, latency->p999_ns, latency->max_ns}) {
        line += pad_left(time_text(time), 10);
      }
    }
    session.print("{}\n", line);
  }
  session.print("\n");
}

void write_latency(JsonWriter& json, const BenchSide& side) {
  const auto latency = side.latency();
  if (!latency) {
    json.key("latency_ns").value_null();
    return;
  }
  json.key("latency_ns").begin_object();
  json.member("trips", latency->operations);
  json.member("p50", latency->p50_ns);
  json.member("p99", latency->p99_ns);
  json.member("p999", latency->p999_ns);
  json.member("max", latency->max_ns);
  json.end_object();
}

void write_side(JsonWriter& json, const BenchQuestion& question, const BenchSide& side) {
  json.begin_object();
  json.member("name", side.name);
  if (side.rates.empty()) {
    json.key("rate").value_null();
  } else {
    json.member("rate", side.median_rate());
  }
  json.key("rounds").begin_array();
  for (const double rate : side.rates) {
    json.value(rate);
  }
  json.end_array();
  if (const auto ratio = question.ratio_to(side)) {
    json.key("ratio").begin_object();
    json.member("median", ratio->median);
    json.member("least", ratio->least);
    json.member("most", ratio->most);
    json.end_object();
  } else {
    json.key("ratio").value_null();
  }
  write_latency(json, side);
  json.member("problem", side.problem);
  json.end_object();
}

void write_questions(JsonWriter& json, const std::vector<BenchQuestion>& questions) {
  json.key("questions").begin_array();
  for (const BenchQuestion& question : questions) {
    json.begin_object();
    json.member("name", question.name);
    json.member("unit", question.unit);
    json.key("sides").begin_array();
    for (const BenchSide& side : question.sides) {
      write_side(json, question, side);
    }
    json.end_array();
    json.end_object();
  }
  json.end_array();
}

Result<std::vector<BenchQuestion>> run(Session& session, double seconds, bool pins) {
  ProgressLine progress(session, "bench");
  return run_ipc_bench(
      {.seconds = seconds, .pins = pins, .go_on = [&](double share, const std::string& doing) {
         progress.update({.done = share, .left_s = (1 - share) * seconds, .doing = doing});
         return !session.stop_requested();
       }});
}

}  // namespace

ExitCode measure_ipc(Session& session, std::optional<double> seconds, bool pins) {
  const auto questions = run(session, seconds.value_or(kSecondsDefault), pins);
  if (!questions) {
    session.report(questions.error());
    return ExitCode::kFailed;
  }
  if (session.is_json()) {
    session.json().member("pinned", pins);
    write_questions(session.json(), *questions);
  } else {
    for (const BenchQuestion& question : *questions) {
      print_question(session, question);
    }
    session.print("{}\n",
                  pins ? "Of two processes that talk, each stayed on a processor of its own; "
                         "--no-pin lets them move."
                       : "The kernel moved processes between processors as it liked.");
  }
  return session.stop_requested() ? ExitCode::kFailed : ExitCode::kDone;
}

}  // namespace quire::cli
