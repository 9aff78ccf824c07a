// SPDX-License-Identifier: Apache-2.0
#include <CLI/App.hpp>
#include <CLI/Option.hpp>
#include <chrono>
#include <memory>
#include <string>

#include "quire/base/units.h"
#include "quire/cli/exchange_arguments.h"
#include "quire/cli/session.h"
#include "quire/cli/verbs.h"
#include "quire/sys/signals.h"
#include "quire/transfer/sender.h"

namespace quire::cli {
namespace {

struct SendArguments {
  std::string path;
  std::string address;
  std::string name;
  bool no_checksum = false;
  ExchangeArguments exchange;
};

struct SendEnd {
  Result<ExchangeReport> sent;
  ExchangeReport report;  // How far it came, also after an error.
  double seconds = 0;
};

SendEnd send_now(Session& session, const SendArguments& given, const Endpoint& to,
                 ExchangeOptions exchange) {
  using Clock = std::chrono::steady_clock;
  ExchangeProgressLine progress(session, "send");
  ExchangeReport report;
  exchange.stop_fd = sys::stop_descriptor();
  exchange.on_progress = [&](const ExchangeProgress& now) { progress.update(now); };
  const Clock::time_point started = Clock::now();
  Result<ExchangeReport> sent =
      send_file(given.path, to,
                {.exchange = std::move(exchange),
                 .checksums = given.no_checksum ? Checksums::kNone : Checksums::kXxh3,
                 .name = given.name,
                 .so_far = &report});
  const double seconds = std::chrono::duration<double>(Clock::now() - started).count();
  return {.sent = std::move(sent), .report = std::move(report), .seconds = seconds};
}

void write_end(Session& session, const SendArguments& given, const Endpoint& to,
               const SendEnd& end) {
  JsonWriter& json = session.json();
  json.member_path("path", given.path);
  json.member("to", to_text(to));
  json.member("acknowledged", end.sent.has_value());
  write_report(json, end.report, end.seconds);
}

void print_end(Session& session, const SendArguments& given, const Endpoint& to,
               const SendEnd& end) {
  session.print("{} {} ({}) to {}: durable there as {}\n", session.paint()(Tone::kStrong, "sent"),
                session.name(given.path), human_bytes(end.report.size_bytes),
                session.name(to_text(to)), session.name(end.report.name));
  session.print("{}", describe_report(end.report, end.seconds));
}

// What an end before the end leaves, for who wonders whether to start again.
void note_what_is_left(Session& session, const ExchangeReport& report) {
  const std::uint64_t kept_bytes = report.resumed_from_bytes + report.bytes;
  if (kept_bytes == 0) {
    return;
  }
  session.note(kept_bytes == report.size_bytes
                   ? "all of it arrived, but the receiver did not say that it is durable: look "
                     "there before you send it again"
                   : fmt::format("the receiver keeps {} of {}: send it again to go on from there",
                                 human_bytes(kept_bytes), human_bytes(report.size_bytes)));
}

ExitCode run_send(Session& session, const SendArguments& given) {
  const auto to = parse_endpoint(given.address);
  if (!to) {
    return session.wrong_use(to.error().message());
  }
  auto exchange = exchange_options(given.exchange);
  if (!exchange) {
    session.report(exchange.error());
    return ExitCode::kFailed;
  }
  if (given.no_checksum) {
    session.note("without checksums nothing is verified, and nothing can be resumed");
  }
  const SendEnd end = send_now(session, given, *to, std::move(*exchange));
  if (session.is_json()) {
    write_end(session, given, *to, end);
  }
  if (end.sent) {
    if (!session.is_json()) {
      print_end(session, given, *to, end);
    }
    return ExitCode::kDone;
  }
  if (Session::was_interrupted() && end.sent.error().code() == Errc::kCancelled) {
    session.note("interrupted");
  } else {
    session.report(end.sent.error());
  }
  if (!given.no_checksum) {
    note_what_is_left(session, end.report);
  }
  return ExitCode::kFailed;
}

}  // namespace

void add_send(CLI::App& app, Session& session) {
  const auto given = std::make_shared<SendArguments>();
  CLI::App& verb =
      session.add_verb(app,
                       {.name = "send",
                        .summary = "Send a file to 'quire receive', checked and resumable.",
                        .example = "quire send disk.img tcp:127.0.0.1:9000"},
                       [given](Session& running) { return run_send(running, *given); });
  verb.add_option("FILE", given->path, "A regular file")->option_text("FILE")->required();
  verb.add_option("ADDRESS", given->address, "tcp:HOST:PORT, tcp:PORT (this machine), unix:PATH")
      ->option_text("ADDRESS")
      ->required();
  verb.add_option("--name", given->name, "The name it is offered under (its own)")
      ->option_text("NAME");
  verb.add_flag("--no-checksum", given->no_checksum,
                "Verify nothing: the processor never sees the bytes");
  add_exchange_arguments(verb, given->exchange);
}

}  // namespace quire::cli
