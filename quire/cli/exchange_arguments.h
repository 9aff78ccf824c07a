// SPDX-License-Identifier: Apache-2.0
//
// exchange_arguments: what `quire send` and `quire receive` have in common: options, the account of
// a file as JSON and as text, and a progress line that knows what was there before.
//
// Thread-safety: one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "quire/base/result.h"
#include "quire/cli/json_writer.h"
#include "quire/cli/progress.h"
#include "quire/transfer/exchange.h"

namespace CLI {
class App;
}

namespace quire::cli {

class Session;

struct ExchangeArguments {
  std::string method = "automatic";
  std::string token_file;
  std::optional<std::uint32_t> allowed_user;
  double idle_limit_s = 30;
};

// --method, --token-file, --allow-user and --idle-limit.
void add_exchange_arguments(CLI::App& verb, ExchangeArguments& given);

// What the library makes of them; reads the token. Errors: those of the token's file; EINVAL.
[[nodiscard]] Result<ExchangeOptions> exchange_options(const ExchangeArguments& given);

// The members of an account. What was not computed or is not told is null.
void write_report(JsonWriter& json, const ExchangeReport& report, double seconds);
// Two or three lines, indented: how, how fast, at what cost.
[[nodiscard]] std::string describe_report(const ExchangeReport& report, double seconds);
// "xxh3:0123456789abcdef"
[[nodiscard]] std::string checksum_text(std::uint64_t checksum);

// A ProgressLine for one file: its rate is that of the bytes moved now.
class ExchangeProgressLine {
 public:
  ExchangeProgressLine(Session& session, std::string label)
      : session_(session), label_(std::move(label)) {}

  void update(const ExchangeProgress& progress);
  // The next update is about another file.
  void end() { line_.reset(); }

 private:
  Session& session_;
  std::string label_;
  std::uint64_t before_bytes_ = 0;
  std::unique_ptr<ProgressLine> line_;
};

}  // namespace quire::cli
