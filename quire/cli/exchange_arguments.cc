// SPDX-License-Identifier: Apache-2.0
#include "quire/cli/exchange_arguments.h"

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Option.hpp>
#include <CLI/Validators.hpp>
#include <cmath>
#include <vector>

#include "quire/base/units.h"
#include "quire/cli/session.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"
#include "quire/transfer/wire.h"

namespace quire::cli {
namespace {

constexpr double kNanosecondsPerSecond = 1e9;

std::vector<std::string> method_names() {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < kTransferMethodCount; ++i) {
    names.emplace_back(name_of(static_cast<TransferMethod>(i)));
  }
  return names;
}

double seconds_of(std::chrono::milliseconds time) {
  return std::chrono::duration<double>(time).count();
}

double per_gib(std::uint64_t cpu_ns, std::uint64_t bytes) {
  return bytes == 0 ? 0
                    : static_cast<double>(cpu_ns) / kNanosecondsPerSecond *
                          static_cast<double>(1_GiB) / static_cast<double>(bytes);
}

Result<std::string> read_token(const std::string& path) {
  const auto file = sys::open_file(path.c_str(), {});
  if (!file) {
    return fail(sys::to_error(file.error(), "read", path));
  }
  // One byte more than is allowed, and the end of the line that editors put there.
  std::string token(wire::kTokenBytesMax + 2, '\0');
  const auto got = sys::read_at(file->get(), std::as_writable_bytes(std::span(token)), 0);
  if (!got) {
    return fail(sys::to_error(got.error(), "read", path));
  }
  token.resize(*got);
  if (token.ends_with('\n')) {
    token.pop_back();
  }
  if (token.empty() || token.size() > wire::kTokenBytesMax) {
    return fail(make_error(Errc::kLimit, "read", path,
                           fmt::format("a token has 1 to {} bytes", wire::kTokenBytesMax),
                           "write another one into the file"));
  }
  return token;
}

}  // namespace

void add_exchange_arguments(CLI::App& verb, ExchangeArguments& given) {
  verb.add_option("--method", given.method, "How this side moves bytes, see quire(1)")
      ->option_text("METHOD")
      ->check(CLI::IsMember(method_names()));
  verb.add_option("--token-file", given.token_file, "A secret that both sides must have")
      ->option_text("FILE");
  verb.add_option("--allow-user", given.allowed_user, "Also with this user, over a UNIX socket")
      ->option_text("UID");
  verb.add_option("--idle-limit", given.idle_limit_s, "Give up when nothing moves (30)")
      ->option_text("SECONDS")
      ->check(CLI::Range(seconds_of(kIdleLimitMin), seconds_of(kIdleLimitMax)));
}

Result<ExchangeOptions> exchange_options(const ExchangeArguments& given) {
  ExchangeOptions options{
      .method = transfer_method_of(given.method).value_or(TransferMethod::kAutomatic),
      .allowed_user = given.allowed_user,
      .idle_limit = std::chrono::milliseconds(std::llround(given.idle_limit_s * 1000))};
  if (!given.token_file.empty()) {
    options.token = QUIRE_TRY(read_token(given.token_file));
  }
  return options;
}

std::string checksum_text(std::uint64_t checksum) {
  return fmt::format("xxh3:{:016x}", checksum);
}

void write_report(JsonWriter& json, const ExchangeReport& report, double seconds) {
  json.member_path("name", report.name);
  json.member("size_bytes", report.size_bytes);
  json.member("bytes", report.bytes);
  json.member("resumed_from_bytes", report.resumed_from_bytes);
  json.member("hole_bytes", report.hole_bytes);
  json.member("chunks_resent", report.chunks_resent);
  json.key("checksum");
  if (report.checksum) {
    json.value(checksum_text(*report.checksum));
  } else {
    json.value_null();
  }
  json.member("method", name_of(report.method));
  json.member("reason", report.reason);
  json.member("system_calls", report.system_calls);
  json.key("bytes_copied_by_cpu");
  if (report.bytes_copied_by_cpu) {
    json.value(*report.bytes_copied_by_cpu);
  } else {
    json.value_null();
  }
  json.member("transfer_cpu_s",
              static_cast<double>(report.transfer_cpu_ns) / kNanosecondsPerSecond);
  json.member("checksum_cpu_s",
              static_cast<double>(report.checksum_cpu_ns) / kNanosecondsPerSecond);
  json.member("seconds", seconds);
}

std::string describe_report(const ExchangeReport& report, double seconds) {
  std::string text;
  if (report.resumed_from_bytes > 0) {
    text += fmt::format("  went on from {}\n", human_bytes(report.resumed_from_bytes));
  }
  if (report.bytes > 0) {
    const double rate = seconds > 0 ? static_cast<double>(report.bytes) / seconds : 0;
    text += fmt::format("  {} in {:.2f} s, {}/s", human_bytes(report.bytes), seconds,
                        human_bytes(static_cast<std::uint64_t>(rate)));
    text += report.hole_bytes > 0
                ? fmt::format(", {} of them holes", human_bytes(report.hole_bytes))
                : "";
    text += fmt::format("\n  {}: {}\n", name_of(report.method), report.reason);
    text += fmt::format("  CPU s per GiB on this side: {:.3f} moving, {:.3f} checksum\n",
                        per_gib(report.transfer_cpu_ns, report.bytes),
                        per_gib(report.checksum_cpu_ns, report.bytes + report.resumed_from_bytes));
  }
  text += report.checksum ? "  " + checksum_text(*report.checksum) + "\n"
                          : std::string("  no checksum: nothing proves that the bytes are right\n");
  return text;
}

void ExchangeProgressLine::update(const ExchangeProgress& progress) {
  if (line_ == nullptr) {
    before_bytes_ = progress.done_bytes;
    line_ = std::make_unique<ProgressLine>(session_, label_, progress.total_bytes - before_bytes_);
  }
  line_->update(progress.done_bytes - before_bytes_, 0);
}

}  // namespace quire::cli
