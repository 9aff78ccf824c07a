// SPDX-License-Identifier: Apache-2.0
#include "quire/cli/ipc_chaos.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>

#include "quire/cli/progress.h"
#include "quire/ipc/chaos.h"
#include "quire/sys/process.h"

namespace quire::cli {
namespace {

constexpr double kSecondsDefault = 10;
constexpr std::size_t kNameColumns = 12;

// One that a person can copy.
Result<std::uint64_t> draw_seed() {
  std::uint32_t seed = 0;
  if (const auto drawn = sys::draw_random(std::as_writable_bytes(std::span(&seed, 1))); !drawn) {
    return fail(sys::to_error(drawn.error(), "chaos", "seed", "choose one with --seed"));
  }
  return seed;
}

std::uint64_t total(const ipc::ChaosReport& report, std::uint64_t ipc::ChaosTally::* count) {
  std::uint64_t sum = 0;
  for (const ipc::ChaosTally& tally : report.structures) {
    sum += tally.*count;
  }
  return sum;
}

void print_report(Session& session, const ipc::ChaosReport& report) {
  struct Column {
    const char* title;
    std::size_t columns;
    std::uint64_t ipc::ChaosTally::* count;
  };
  constexpr std::array kColumns = {
      Column{.title = "operations", .columns = 14, .count = &ipc::ChaosTally::finished},
      Column{.title = "killed", .columns = 9, .count = &ipc::ChaosTally::kills},
      Column{.title = "stopped", .columns = 9, .count = &ipc::ChaosTally::stops},
      Column{.title = "came again", .columns = 12, .count = &ipc::ChaosTally::repeated},
      Column{.title = "told of death", .columns = 15, .count = &ipc::ChaosTally::told_of_death}};
  std::string titles = pad_right("structure", kNameColumns);
  for (const Column& column : kColumns) {
    titles += pad_left(column.title, column.columns);
  }
  session.print("{}\n", session.paint()(Tone::kDim, titles + pad_left("longest wait", 14)));
  for (const ipc::ChaosTally& tally : report.structures) {
    std::string line = pad_right(tally.name, kNameColumns);
    for (const Column& column : kColumns) {
      line += pad_left(with_thousands(tally.*column.count), column.columns);
    }
    line += pad_left(fmt::format("{:.0f} ms", tally.longest_wait_s * 1e3), 14);
    session.print("{}\n", line);
  }
  const bool is_good = report.violations.empty();
  session.print("{} seed {}, {:.1f} s, {} killed\n",
                session.paint()(is_good ? Tone::kGood : Tone::kBad,
                                is_good ? "every promise was kept:" : "a promise was broken:"),
                report.seed, report.elapsed_s,
                count_of(total(report, &ipc::ChaosTally::kills), "process", "processes"));
}

void write_report(JsonWriter& json, const ipc::ChaosReport& report) {
  json.member("seed", report.seed);
  json.member("seconds", report.elapsed_s);
  json.key("structures").begin_array();
  for (const ipc::ChaosTally& tally : report.structures) {
    json.begin_object();
    json.member("name", tally.name);
    json.member("operations", tally.finished);
    json.member("started", tally.starts);
    json.member("killed", tally.kills);
    json.member("stopped", tally.stops);
    json.member("came_again", tally.repeated);
    json.member("told_of_death", tally.told_of_death);
    json.member("longest_wait_s", tally.longest_wait_s);
    json.end_object();
  }
  json.end_array();
  json.key("violations").begin_array();
  for (const std::string& violation : report.violations) {
    json.value(violation);
  }
  json.end_array();
}

Result<ipc::ChaosReport> run(Session& session, const IpcChaosArguments& given) {
  const double seconds = given.seconds.value_or(kSecondsDefault);
  const std::uint64_t seed = given.seed ? *given.seed : QUIRE_TRY(draw_seed());
  ProgressLine progress(session, "chaos");
  return ipc::run_chaos(
      {.seconds = seconds,
       .seed = seed,
       .only = given.structures,
       .should_stop = [&] { return session.stop_requested(); },
       .tell =
           [&](const ipc::ChaosProgress& now) {
             progress.update(
                 {.done = std::min(now.elapsed_s / seconds, 1.0),
                  .left_s = std::max(seconds - now.elapsed_s, 0.0),
                  .doing = fmt::format("{} killed, {} operations", with_thousands(now.kills),
                                       with_thousands(now.finished))});
           }});
}

}  // namespace

ExitCode run_ipc_chaos(Session& session, const IpcChaosArguments& given) {
  const auto report = run(session, given);
  if (!report) {
    session.report(report.error());
    return ExitCode::kFailed;
  }
  if (session.is_json()) {
    write_report(session.json(), *report);
  } else {
    print_report(session, *report);
  }
  for (const std::string& violation : report->violations) {
    session.report(make_error(Errc::kFailed, "chaos", fmt::format("seed {}", report->seed),
                              violation, "tell the authors, with this line"));
  }
  return report->violations.empty() && !report->was_stopped ? ExitCode::kDone : ExitCode::kFailed;
}

}  // namespace quire::cli
