// SPDX-License-Identifier: Apache-2.0
#include <CLI/App.hpp>
#include <CLI/Option.hpp>
#include <CLI/Validators.hpp>
#include <chrono>
#include <cmath>
#include <memory>
#include <optional>
#include <string>

#include "quire/base/units.h"
#include "quire/cli/exchange_arguments.h"
#include "quire/cli/session.h"
#include "quire/cli/verbs.h"
#include "quire/sys/signals.h"
#include "quire/transfer/receiver.h"

namespace quire::cli {
namespace {

using Clock = std::chrono::steady_clock;

struct ReceiveArguments {
  std::string address;
  std::string target;
  std::uint64_t count = 1;
  std::optional<std::uint64_t> bytes_max;
  std::optional<double> wait_s;
  bool overwrite = false;
  ExchangeArguments exchange;
};

struct ReceiveTotals {
  std::uint64_t files = 0;
  std::uint64_t size_bytes = 0;
  std::uint64_t refused = 0;
};

ReceiverOptions receive_options(const ReceiveArguments& given, ExchangeOptions exchange) {
  ReceiverOptions options{
      .exchange = std::move(exchange),
      .target = given.target,
      .existing = given.overwrite ? ExistingTarget::kReplace : ExistingTarget::kRefuse,
      .bytes_max = given.bytes_max.value_or(kToEnd)};
  if (given.wait_s) {
    options.wait_limit = std::chrono::milliseconds(std::llround(*given.wait_s * 1000));
  }
  return options;
}

// Said at once, because somebody waits for it: with port 0 nobody else knows where to send.
void tell_address(Session& session, const Receiver& receiver) {
  const std::string address = to_text(receiver.endpoint());
  if (session.is_json()) {
    session.json().member("listening", address);
    session.json().key("files").begin_array();
  } else {
    session.print("listening on {}\n", session.name(address));
  }
  static_cast<void>(session.output().flush());
}

void take_file(Session& session, ReceiveTotals& totals, const ReceivedFile& file, double seconds) {
  ++totals.files;
  totals.size_bytes += file.report.size_bytes;
  if (session.is_json()) {
    JsonWriter& json = session.json();
    json.begin_object();
    json.member_path("path", file.path);
    json.member("from", file.peer);
    write_report(json, file.report, seconds);
    json.end_object();
  } else {
    session.print("{} {} ({}) from {}\n", session.paint()(Tone::kStrong, "received"),
                  session.name(file.path), human_bytes(file.report.size_bytes),
                  session.name(file.peer));
    session.print("{}", describe_report(file.report, seconds));
  }
  static_cast<void>(session.output().flush());
}

// Takes files until enough have come. Returns what ended it before.
std::optional<Error> receive_all(Session& session, const ReceiveArguments& given,
                                 Receiver& receiver, ExchangeProgressLine& progress,
                                 ReceiveTotals& totals) {
  Clock::time_point started = Clock::now();
  const ReceiveEvents events{.on_start = [&](const ReceivedFile&) { started = Clock::now(); },
                             .on_remark = [&](const std::string& text) { session.note(text); },
                             .on_refused =
                                 [&](const Error& error) {
                                   ++totals.refused;
                                   progress.end();
                                   session.note(error.message() + "; still listening");
                                 }};
  while (totals.files < given.count && !session.stop_requested()) {
    const auto file = receiver.receive_file(events);
    progress.end();
    if (!file) {
      return file.error();
    }
    take_file(session, totals, *file,
              std::chrono::duration<double>(Clock::now() - started).count());
  }
  receiver.turn_away_the_rest();
  return std::nullopt;
}

ExitCode end_receiving(Session& session, const ReceiveArguments& given, const ReceiveTotals& totals,
                       const std::optional<Error>& error) {
  if (session.is_json()) {
    JsonWriter& json = session.json();
    json.end_array();
    json.key("totals").begin_object();
    json.member("files", totals.files);
    json.member("size_bytes", totals.size_bytes);
    json.member("refused", totals.refused);
    json.end_object();
  }
  if (!error) {
    return session.stop_requested() ? ExitCode::kFailed : ExitCode::kDone;
  }
  if (Session::was_interrupted() && error->code() == Errc::kCancelled) {
    session.note(
        fmt::format("interrupted; {} of {} came; of one that was under way the part is "
                    "kept, and sending it again goes on from there",
                    totals.files, count_of(given.count, "file", "files")));
  } else {
    session.report(*error);
  }
  return ExitCode::kFailed;
}

ExitCode run_receive(Session& session, const ReceiveArguments& given) {
  const auto endpoint = parse_endpoint(given.address);
  if (!endpoint) {
    return session.wrong_use(endpoint.error().message());
  }
  auto exchange = exchange_options(given.exchange);
  if (!exchange) {
    session.report(exchange.error());
    return ExitCode::kFailed;
  }
  ExchangeProgressLine progress(session, "receive");
  exchange->stop_fd = sys::stop_descriptor();
  exchange->on_progress = [&](const ExchangeProgress& now) { progress.update(now); };
  const bool has_token = !exchange->token.empty();
  auto receiver = Receiver::open(*endpoint, receive_options(given, std::move(*exchange)));
  if (!receiver) {
    session.report(receiver.error());
    return ExitCode::kFailed;
  }
  if (receiver->is_public() && !has_token) {
    session.note("anyone who reaches this address can send; see --token-file");
  }
  tell_address(session, *receiver);
  ReceiveTotals totals;
  const std::optional<Error> error = receive_all(session, given, *receiver, progress, totals);
  return end_receiving(session, given, totals, error);
}

}  // namespace

void add_receive(CLI::App& app, Session& session) {
  const auto given = std::make_shared<ReceiveArguments>();
  CLI::App& verb =
      session.add_verb(app,
                       {.name = "receive",
                        .summary = "Wait for a file from 'quire send', and take nothing else.",
                        .example = "quire receive --listen tcp:127.0.0.1:9000 inbox/"},
                       [given](Session& running) { return run_receive(running, *given); });
  verb.add_option("TARGET", given->target, "A directory, or the name of the file")
      ->option_text("TARGET")
      ->required();
  verb.add_option("--listen", given->address, "tcp:HOST:PORT, tcp:PORT, unix:PATH; port 0: any")
      ->option_text("ADDRESS")
      ->required();
  verb.add_option("--count", given->count, "How many files to take (1)")
      ->option_text("N")
      ->check(CLI::PositiveNumber);
  verb.add_option("--max-bytes", given->bytes_max, "Refuse more, all together: 500M, 2G")
      ->option_text("SIZE")
      ->transform(CLI::AsSizeValue(false));
  verb.add_flag("--overwrite", given->overwrite, "Replace a file of that name");
  verb.add_option("--wait", given->wait_s, "Give up when nobody comes (never)")
      ->option_text("SECONDS")
      ->check(CLI::Range(0.0, std::chrono::duration<double>(kIdleLimitMax).count()));
  add_exchange_arguments(verb, given->exchange);
}

}  // namespace quire::cli
