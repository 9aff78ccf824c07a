// SPDX-License-Identifier: Apache-2.0
#include "bench/bench.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <thread>
#include <utility>

#include "quire/base/check.h"
#include "quire/base/prng.h"
#include "quire/base/units.h"
#include "quire/map/eviction.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"

namespace quire::bench {
namespace {

// Of this process, until now.
double cpu_seconds_now() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double cpu_seconds_of(const rusage& use) {
  const auto seconds = [](timeval t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(use.ru_utime) + seconds(use.ru_stime);
}

// The rest of the first line of a file that starts with `key`, without what separates them.
std::string value_in(const char* path, const std::string& key) {
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with(key)) {
      const std::size_t at = line.find_first_not_of(" \t:", key.size());
      return at == std::string::npos ? "" : line.substr(at);
    }
  }
  return "unknown";
}

// Of a report and of everything inside it.
bool is_within_goals(const nlohmann::json& part) {
  if (part.is_object() && part.contains("within_goal") && !part["within_goal"].get<bool>()) {
    return false;
  }
  for (const nlohmann::json& inner : part) {
    if (inner.is_structured() && !is_within_goals(inner)) {
      return false;
    }
  }
  return true;
}

// Nothing: something else, or more than 64 bits.
std::optional<std::uint64_t> whole_number(const std::string& text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool is_number = error == std::errc() && end == text.data() + text.size();
  return is_number ? std::optional(number) : std::nullopt;
}

}  // namespace

double Samples::quantile(double share) const {
  if (values_.empty()) {
    return 0;
  }
  std::vector<double> sorted = values_;
  std::ranges::sort(sorted);
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

nlohmann::json Samples::to_json() const {
  return {{"median", median()}, {"spread", spread()}, {"rounds", values_}};
}

Cost cost_of(const std::function<void()>& body) {
  const double cpu_start = cpu_seconds_now();
  const auto start = std::chrono::steady_clock::now();
  body();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  return {.seconds = seconds.count(), .cpu_seconds = cpu_seconds_now() - cpu_start};
}

double seconds_of(const std::function<void()>& body) {
  return cost_of(body).seconds;
}

double wait_for_child(int process_id) {
  rusage use{};
  int status = 0;
  QUIRE_CHECK_EQ(wait4(process_id, &status, 0, &use), process_id);
  QUIRE_CHECK(WIFEXITED(status));
  QUIRE_CHECK_EQ(WEXITSTATUS(status), 0);
  return cpu_seconds_of(use);
}

void run_interleaved(std::vector<Contender>& contenders, std::size_t rounds) {
  take_turns(contenders, rounds, [](Contender& contender, bool counts) {
    const Cost cost = cost_of(contender.run);
    if (counts) {
      contender.seconds.add(cost.seconds);
      contender.cpu_seconds.add(cost.cpu_seconds);
    }
  });
}

void run_races(std::vector<Racer>& racers, std::size_t rounds,
               const std::function<void()>& before_each) {
  take_turns(racers, rounds, [&](Racer& racer, bool counts) {
    before_each();
    const double rate = racer.rate();
    if (counts) {
      racer.rates.add(rate);
    }
  });
}

Samples ratio(const Samples& numerator, const Samples& denominator) {
  Samples ratios;
  for (std::size_t round = 0; round < numerator.values().size(); ++round) {
    ratios.add(numerator.values()[round] / denominator.values()[round]);
  }
  return ratios;
}

nlohmann::json figure_of(const std::string& name, const Samples& value, double goal, Goal side) {
  const bool is_at_least = side == Goal::kAtLeast;
  return {{"name", name},
          {"value", value.to_json()},
          {"goal", goal},
          {"is_at_least", is_at_least},
          {"within_goal", is_at_least ? value.median() >= goal : value.median() <= goal}};
}

void print_figure(const std::string& label, const nlohmann::json& figure) {
  fmt::print("{:<20}  {} {:.3f} (spread {:.1f} %), goal {} {}: {}\n", label,
             figure["name"].get<std::string>(), figure["value"]["median"].get<double>(),
             100 * figure["value"]["spread"].get<double>(),
             figure["is_at_least"].get<bool>() ? ">=" : "<=", figure["goal"].get<double>(),
             kept_or_missed(figure["within_goal"]));
}

void print_cases(const nlohmann::json& report, std::string (*heading)(const nlohmann::json& one),
                 void (*print_side)(const std::string& name, const nlohmann::json& side)) {
  for (const nlohmann::json& one : report["cases"]) {
    fmt::print("{}\n", heading(one));
    for (const auto& [name, side] : one["sides"].items()) {
      print_side(name, side);
    }
    for (const nlohmann::json& figure : one["figures"]) {
      print_figure("  " + figure.value("against", ""), figure);
    }
  }
}

const char* kept_or_missed(const nlohmann::json& within_goal) {
  return within_goal.get<bool>() ? "kept" : "MISSED";
}

nlohmann::json rates_of(const std::vector<Racer>& racers) {
  nlohmann::json rates;
  for (const Racer& racer : racers) {
    rates[racer.name] = racer.rates.to_json();
  }
  return rates;
}

void write_random(int fd, std::uint64_t size_bytes) {
  std::vector<std::uint64_t> block(1_MiB / sizeof(std::uint64_t));
  Prng random(1);
  for (std::uint64_t at = 0; at < size_bytes; at += 1_MiB) {
    std::ranges::generate(block, std::ref(random));
    QUIRE_CHECK(sys::write_at(fd, std::as_bytes(std::span(block)), at).has_value());
  }
  QUIRE_CHECK(sys::sync_all(fd).has_value());
}

void write_random_file(const std::string& path, std::uint64_t size_bytes) {
  const sys::Descriptor file =
      sys::open_file(path.c_str(), {.write = true, .create = true, .truncate = true}).value();
  write_random(file.get(), size_bytes);
}

void make_cold(int fd) {
  QUIRE_CHECK(evict(fd).has_value());
  check_cold(residency(fd).value());
}

void make_cold(const std::string& path) {
  make_cold(sys::open_file(path.c_str(), {}).value().get());
}

void check_cold(const Residency& found) {
  QUIRE_CHECK(found.resident_known);
  QUIRE_CHECK_EQ(found.resident_bytes, 0U);
}

nlohmann::json machine_facts(const std::string& path) {
  utsname system{};
  uname(&system);
  nlohmann::json facts{{"processor", value_in("/proc/cpuinfo", "model name")},
                       {"processors", std::thread::hardware_concurrency()},
                       {"memory", value_in("/proc/meminfo", "MemTotal")},
                       {"kernel", system.release}};
  struct statfs file_system{};
  if (!path.empty() && statfs(path.c_str(), &file_system) == 0) {
    facts["file_system_type"] = file_system.f_type;
  }
  return facts;
}

Arguments::Arguments(int argc, char** argv, std::vector<Option> options)
    : program_(argv[0]), options_(std::move(options)), texts_(argv + 1, argv + argc) {
  options_.push_back({"json", "one document instead of text"});
  options_.push_back({"help", "this text"});
  for (const std::string& text : texts_) {
    const Option* const option = option_of(text);
    if (option == nullptr) {
      fmt::print(stderr, "{}: there is no {}; see --help\n", program_, text);
      std::exit(2);
    }
    if (option->has_value()) {
      check_value(*option, text.substr(text.find('=') + 1));
    }
  }
  if (has("help")) {
    fmt::print("{} [OPTION]...\n", program_);
    for (const Option& option : options_) {
      fmt::print("  --{:<22} {}\n", option.form, option.text);
    }
    std::exit(0);
  }
}

const Option* Arguments::option_of(const std::string& text) const {
  const auto found = std::ranges::find_if(options_, [&](const Option& option) {
    const std::string given = "--" + std::string(option.name());
    return option.has_value() ? text.starts_with(given + "=") : text == given;
  });
  return found == options_.end() ? nullptr : &*found;
}

void Arguments::check_value(const Option& option, const std::string& value) const {
  const std::string name(option.name());
  if (option.kind() == "N") {
    const std::optional<std::uint64_t> number = whole_number(value);
    if (!number || *number < option.minimum || *number > kNumberMax) {
      refuse(name, value,
             fmt::format("it takes whole numbers, {} to {}", option.minimum, kNumberMax));
    }
  } else if (option.kind() == "D") {
    std::error_code ignored;  // Then it is none that can be used.
    if (!std::filesystem::is_directory(value, ignored)) {
      refuse(name, value, "it takes a directory that is there");
    }
  } else if (option.names != nullptr) {
    const std::vector<std::string> names = option.names();
    if (std::ranges::find(names, value) == names.end()) {
      refuse(name, value, fmt::format("it takes {}", fmt::join(names, ", ")));
    }
  }
}

void Arguments::refuse(const std::string& name, const std::string& value,
                       const std::string& why) const {
  fmt::print(stderr, "{}: --{}={}: {}; see --help\n", program_, name, value, why);
  std::exit(2);
}

// So that --help tells all of them.
void Arguments::check_option(std::string_view name, bool has_value) const {
  QUIRE_CHECK(std::ranges::any_of(options_, [&](const Option& option) {
    return option.name() == name && option.has_value() == has_value;
  }));
}

bool Arguments::has(const std::string& flag) const {
  check_option(flag, false);
  return std::ranges::find(texts_, "--" + flag) != texts_.end();
}

std::string Arguments::text(const std::string& name, const std::string& otherwise) const {
  check_option(name, true);
  const std::string prefix = "--" + name + "=";
  for (const std::string& text : texts_) {
    if (text.starts_with(prefix)) {
      return text.substr(prefix.size());
    }
  }
  return otherwise;
}

std::uint64_t Arguments::number(const std::string& name, std::uint64_t otherwise) const {
  const std::string given = text(name, "");
  return given.empty() ? otherwise : whole_number(given).value();
}

void check_side(const Arguments& arguments, nlohmann::json& cases) {
  std::set<std::string> names;
  for (nlohmann::json& one : cases) {
    for (const nlohmann::json& name : one.value("side_names", nlohmann::json::array())) {
      names.insert(name.get<std::string>());
    }
    one.erase("side_names");
  }
  const std::string wanted = arguments.text("side", "");
  if (!wanted.empty() && !names.contains(wanted)) {
    arguments.refuse("side", wanted, fmt::format("there are {}", fmt::join(names, ", ")));
  }
}

int finish(const Arguments& arguments, const nlohmann::json& report,
           void (*print_text)(const nlohmann::json&)) {
  if (arguments.has("json")) {
    fmt::print("{}\n", report.dump(2));
  } else {
    print_text(report);
    fmt::print("machine: {}\n", report["machine"].dump());
  }
  return is_within_goals(report) ? 0 : 1;
}

}  // namespace quire::bench
