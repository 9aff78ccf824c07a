// SPDX-License-Identifier: Apache-2.0
#include <CLI/App.hpp>
#include <CLI/Error.hpp>
#include <CLI/Option.hpp>
#include <CLI/Validators.hpp>
#include <algorithm>
#include <bit>
#include <charconv>
#include <memory>
#include <optional>
#include <utility>

#include "quire/base/units.h"
#include "quire/cli/session.h"
#include "quire/cli/simulate_output.h"
#include "quire/cli/simulate_run.h"
#include "quire/cli/verbs.h"
#include "quire/policy/trace.h"

namespace quire::cli {
namespace {

constexpr std::uint64_t kAccessesMax = std::uint64_t{1} << 40;  // A day or two.
constexpr std::size_t kMemorySizesMax = 100;
constexpr std::uint64_t kReadAheadMaxBytes = 1_GiB;

struct SimulateArguments {
  SimulateRequest request;
  std::vector<std::string> policies = {"all"};
  std::vector<std::string> memory = {"10%"};
  std::uint64_t granule_bytes = 0;
  std::vector<const CLI::Option*> formula_options;  // That mean nothing to a trace.
};

Error wrong_argument(std::string why) {
  return make_error(Errc::kOutOfRange, "simulate", "arguments", std::move(why));
}

template <typename Number>
bool parse_whole(std::string_view text, Number& number) {
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && stop == text.data() + text.size();
}

std::optional<MemorySize> parse_memory_size(std::string text) {
  if (text.ends_with('%')) {
    double percent = 0;
    text.pop_back();
    const bool is_share = parse_whole(text, percent) && percent > 0 && percent <= 100;
    return is_share ? std::optional<MemorySize>(MemoryShare{percent}) : std::nullopt;
  }
  std::uint64_t bytes = 0;
  try {
    // The validator turns 64M into 67108864, and throws where there is no such unit.
    const bool is_size = CLI::AsSizeValue(false)(text).empty() && parse_whole(text, bytes);
    return is_size && bytes > 0 ? std::optional<MemorySize>(bytes) : std::nullopt;
  } catch (const CLI::ValidationError&) {
    return std::nullopt;
  }
}

Result<std::vector<MemorySize>> parse_memory(const std::vector<std::string>& texts) {
  std::vector<MemorySize> sizes;
  for (const std::string& text : texts) {
    const auto size = parse_memory_size(text);
    if (!size) {
      return fail(wrong_argument(
          fmt::format("--memory: '{}' is neither a size like 64M nor a share like 10%", text)));
    }
    sizes.push_back(*size);
  }
  if (sizes.size() > kMemorySizesMax) {
    return fail(wrong_argument(fmt::format("--memory takes {} sizes at most", kMemorySizesMax)));
  }
  return sizes;
}

std::vector<SimulatedPolicy> all_policies() {
  std::vector<SimulatedPolicy> all;
  for (const PolicyKind kind :
       {PolicyKind::kFifo, PolicyKind::kClock, PolicyKind::kS3Fifo, PolicyKind::kLru}) {
    all.push_back({.name = name_of(kind), .kind = kind});
  }
  all.push_back({.name = "belady", .kind = std::nullopt});
  return all;
}

// Those that were named, in the order of all of them, each once.
Result<std::vector<SimulatedPolicy>> parse_policies(const std::vector<std::string>& names) {
  std::vector<SimulatedPolicy> all = all_policies();
  std::string known;
  for (const SimulatedPolicy& policy : all) {
    known += policy.name + ", ";
  }
  const auto is_named = [&](const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  for (const std::string& name : names) {
    const auto is_it = [&](const SimulatedPolicy& policy) { return policy.name == name; };
    if (name != "all" && std::none_of(all.begin(), all.end(), is_it)) {
      return fail(wrong_argument(fmt::format("--policy knows no '{}', but {}all", name, known)));
    }
  }
  if (!is_named("all")) {
    std::erase_if(all, [&](const SimulatedPolicy& policy) { return !is_named(policy.name); });
  }
  return all;
}

Result<Workload> parse_formula(const std::string& text) {
  auto workload = parse_workload(text);
  if (!workload) {
    const Error& error = workload.error();
    return fail(wrong_argument(
        fmt::format("--workload, '{}': {}; {}", error.subject(), error.cause(), error.remedy())));
  }
  return workload;
}

// What the command line says; or why it says nothing sensible.
Result<SimulateRequest> settle(const SimulateArguments& given) {
  SimulateRequest request = given.request;
  if (request.trace.empty() == request.workload_text.empty()) {
    return fail(wrong_argument("give either --trace or --workload"));
  }
  for (const CLI::Option* option : given.formula_options) {
    if (!request.trace.empty() && option->count() > 0) {
      return fail(wrong_argument(fmt::format("--{} belongs to --workload; a trace has its own",
                                             option->get_lnames().front())));
    }
  }
  const std::uint64_t granule = given.granule_bytes;
  if (granule != 0 && (!std::has_single_bit(granule) || granule < kTracePageBytesMin ||
                       granule > kTracePageBytesMax)) {
    return fail(wrong_argument("--granule is a power of two from 512 to 1G"));
  }
  request.granule_bytes = static_cast<std::uint32_t>(granule);
  request.policies = QUIRE_TRY(parse_policies(given.policies));
  request.memory = QUIRE_TRY(parse_memory(given.memory));
  if (request.trace.empty()) {
    request.formula.workload = QUIRE_TRY(parse_formula(request.workload_text));
  }
  return request;
}

void write_outcome(Session& session, const SimulateOutcome& outcome) {
  if (!session.is_json()) {
    print_simulation(session, outcome.load, outcome.rows);
    return;
  }
  JsonWriter& json = session.json();
  write_load(json, outcome.load);
  json.key("runs").begin_array();
  for (const SimulationRow& row : outcome.rows) {
    write_row(json, outcome.load, row);
  }
  json.end_array();
}

ExitCode run_simulate(Session& session, const SimulateArguments& given) {
  const auto request = settle(given);
  if (!request) {
    return session.wrong_use(request.error().cause());
  }
  const auto outcome = run_simulations(session, *request);
  if (!outcome) {
    session.report(outcome.error());
    return ExitCode::kFailed;
  }
  write_outcome(session, *outcome);
  if (outcome->load.has_faults_only) {
    session.note("the trace has faults only: accesses that hit are missing from it");
  }
  if (session.stop_requested()) {
    session.note(fmt::format("interrupted: {} of {} were finished", outcome->rows.size(),
                             count_of(outcome->rows_wanted, "simulation", "simulations")));
    return ExitCode::kFailed;
  }
  return ExitCode::kDone;
}

void add_size(CLI::App& verb, const char* name, std::uint64_t& bytes, const char* text) {
  verb.add_option(name, bytes, text)->option_text("SIZE")->transform(CLI::AsSizeValue(false));
}

void add_formula_options(CLI::App& verb, SimulateArguments& given) {
  SyntheticOptions& formula = given.request.formula;
  formula.pages = 1'000'000;
  formula.accesses = 10'000'000;
  given.formula_options = {
      verb.add_option("--pages", formula.pages, "Pages of the file (1000000)")
          ->option_text("N")
          ->check(CLI::Range(std::uint32_t{1}, static_cast<std::uint32_t>(kSimulatedPagesMax))),
      verb.add_option("--accesses", formula.accesses, "How many (10000000)")
          ->option_text("N")
          ->check(CLI::Range(std::uint64_t{1}, kAccessesMax)),
      verb.add_option("--stores", formula.store_percent, "How many of them store (0)")
          ->option_text("PERCENT")
          ->check(CLI::Range(0U, 100U)),
      verb.add_option("--seed", formula.seed, "Draw other accesses (1)")->option_text("N")};
}

}  // namespace

void add_simulate(CLI::App& app, Session& session) {
  const auto given = std::make_shared<SimulateArguments>();
  SimulateRequest& request = given->request;
  CLI::App& verb = session.add_verb(
      app,
      {.name = "simulate",
       .summary = "Replay accesses through replacement policies, and count the cost.",
       .example = "quire simulate --trace run.trace --memory 64M,256M,1G\n"
                  "  quire simulate --workload zipf:0.99+scan/1000000 --memory 1%,5%,20%"},
      [given](Session& running) { return run_simulate(running, *given); });
  verb.add_option("--trace", request.trace, "Accesses that were recorded, or lines '[r|w] PAGE'")
      ->option_text("FILE");
  verb.add_option("--workload", request.workload_text,
                  "Accesses by formula: uniform, zipf:THETA, scan, loop:PAGES, stride:STEP, joined "
                  "by +, with *WEIGHT or /EVERY")
      ->option_text("FORMULA");
  add_formula_options(verb, *given);
  verb.add_option("--policy", given->policies, "fifo, clock, s3fifo, lru, belady or all (all)")
      ->option_text("POLICY,...")
      ->delimiter(',');
  verb.add_option("--memory", given->memory, "Sizes, or shares of the pages accessed (10%)")
      ->option_text("SIZE|N%,...")
      ->delimiter(',');
  add_size(verb, "--granule", given->granule_bytes, "What is read and evicted at once (4K)");
  verb.add_option("--read-ahead", request.read_ahead_bytes, "Largest window of a stream (0: none)")
      ->option_text("SIZE")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::Range(std::uint64_t{0}, kReadAheadMaxBytes));
}

}  // namespace quire::cli
