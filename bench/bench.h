// SPDX-License-Identifier: Apache-2.0
//
// bench: what every benchmark here has in common.
//
// A benchmark compares contenders on the same data in the same run: in each round every contender
// runs once, and the order turns from round to round, so that a change of the machine's mood meets
// all of them. What is reported is the median and how far the middle half of the rounds spreads,
// and the facts without which the numbers mean nothing. --json prints one document instead of text.
//
// Thread-safety: one thread.
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "quire/map/residency.h"

namespace quire::bench {

inline constexpr double kGibibyte = 1024.0 * 1024.0 * 1024.0;

// Of one contender, one number per round.
class Samples {
 public:
  void add(double value) { values_.push_back(value); }
  [[nodiscard]] double median() const { return quantile(0.5); }
  // The middle half of the rounds, as a share of the median: 0.02 is "within 2 %".
  [[nodiscard]] double spread() const {
    return (quantile(0.75) - quantile(0.25)) / (median() != 0 ? median() : 1);
  }
  [[nodiscard]] const std::vector<double>& values() const { return values_; }
  [[nodiscard]] nlohmann::json to_json() const;

 private:
  [[nodiscard]] double quantile(double share) const;

  std::vector<double> values_;
};

// What something took.
struct Cost {
  double seconds = 0;      // By the clock on the wall.
  double cpu_seconds = 0;  // Of the process, kernel included: other programs disturb it less.
};

[[nodiscard]] Cost cost_of(const std::function<void()>& body);
[[nodiscard]] double seconds_of(const std::function<void()>& body);
// Waits for a child and returns the processor time it took. Aborts when the child failed.
double wait_for_child(int process_id);

// Runs every contender once per round, rotating who is first. In the first round, which warms up,
// `counts` is false.
template <typename Contender, typename Run>
void take_turns(std::vector<Contender>& contenders, std::size_t rounds, const Run& run) {
  for (std::size_t round = 0; round <= rounds; ++round) {
    for (std::size_t i = 0; i < contenders.size(); ++i) {
      const bool counts = round > 0;
      run(contenders[(round + i) % contenders.size()], counts);
    }
  }
}

struct Contender {
  std::string name;
  std::function<void()> run;
  Samples seconds = {};
  Samples cpu_seconds = {};
};

// The contenders take turns; the first round is not counted.
void run_interleaved(std::vector<Contender>& contenders, std::size_t rounds);

// A contender that measures itself: bytes or operations per second of its own choice of part, for
// programs whose start should not count (fio, dd).
struct Racer {
  std::string name;
  std::function<double()> rate;
  Samples rates = {};
};
// As run_interleaved; `before_each` brings the data into the state that every racer finds.
void run_races(std::vector<Racer>& racers, std::size_t rounds,
               const std::function<void()>& before_each);

// Of each round, numerator / denominator.
[[nodiscard]] Samples ratio(const Samples& numerator, const Samples& denominator);

// What is promised of a value: JSON with "name", "value", "goal", "is_at_least" and "within_goal".
enum class Goal : std::uint8_t { kAtLeast, kAtMost };
[[nodiscard]] nlohmann::json figure_of(const std::string& name, const Samples& value, double goal,
                                       Goal side = Goal::kAtLeast);
void print_figure(const std::string& label, const nlohmann::json& figure);
// The "cases" of a report: of each a heading, its "sides" by name, its "figures".
void print_cases(const nlohmann::json& report, std::string (*heading)(const nlohmann::json& one),
                 void (*print_side)(const std::string& name, const nlohmann::json& side));
template <typename Cases>
[[nodiscard]] std::vector<std::string> names_of(const Cases& cases) {
  std::vector<std::string> names;
  for (const auto& one : cases) {
    names.emplace_back(one.name);
  }
  return names;
}
// For --list: "name  what it is about".
template <typename Cases>
void list_cases(const Cases& cases) {
  for (const auto& one : cases) {
    fmt::print("{:<20}  {}\n", one.name, one.text);
  }
}
[[nodiscard]] const char* kept_or_missed(const nlohmann::json& within_goal);
// By the racers' names.
[[nodiscard]] nlohmann::json rates_of(const std::vector<Racer>& racers);

// Fills a file with bytes that no disk compresses, the same in every run, and syncs it.
void write_random(int fd, std::uint64_t size_bytes);
void write_random_file(const std::string& path, std::uint64_t size_bytes);

// Puts a file out of the page cache and aborts unless all of it went.
void make_cold(int fd);
void make_cold(const std::string& path);
void check_cold(const Residency& found);

// Processor, number of them, memory, kernel; the file system of `path`, if one is given.
[[nodiscard]] nlohmann::json machine_facts(const std::string& path = {});

// What a benchmark lets one choose. The letters behind the '=' say what is taken: N, a whole
// number; D, a directory that is there; everything else, a name.
struct Option {
  std::string_view form;  // "smoke", given as --smoke; "rounds=N", given as --rounds=7.
  std::string_view text;
  std::uint64_t minimum = 1;                      // Of a number.
  std::vector<std::string> (*names)() = nullptr;  // All that are taken; null: not known before.

  [[nodiscard]] constexpr std::string_view name() const { return form.substr(0, form.find('=')); }
  [[nodiscard]] constexpr bool has_value() const { return name() != form; }
  [[nodiscard]] constexpr std::string_view kind() const { return form.substr(form.find('=') + 1); }
};
// No benchmark can do with more, and no unit makes it too much for 64 bits.
inline constexpr std::uint64_t kNumberMax = 1'000'000'000;
inline constexpr Option kDirectory{"dir=D",
                                   "where files are made, if not in the working directory"};
inline constexpr Option kRounds{"rounds=N", "how many rounds count"};
// Of those that have cases, whose names this gives.
[[nodiscard]] constexpr Option case_option(std::vector<std::string> (*names)()) {
  return {.form = "case=NAME", .text = "this case alone", .names = names};
}
inline constexpr Option kSide{"side=NAME", "this side alone, for a profiler: no figures"};
inline constexpr Option kList{"list", "the cases, and what each is about"};
inline constexpr Option kSeconds{"seconds=N", "of each run"};

// The options of the benchmark, and --json and --help, which all have. The constructor ends the
// program: after --help, which prints them, with 0; with 2 for anything that is none of them, and
// for a value that cannot be.
class Arguments {
 public:
  Arguments(int argc, char** argv, std::vector<Option> options);
  // REQUIRES, of all: it is among the options.
  [[nodiscard]] bool has(const std::string& flag) const;
  [[nodiscard]] std::uint64_t number(const std::string& name, std::uint64_t otherwise) const;
  [[nodiscard]] std::string text(const std::string& name, const std::string& otherwise) const;
  // Ends the program with 2, for a value that cannot be beside others: `why`, what can.
  [[noreturn]] void refuse(const std::string& name, const std::string& value,
                           const std::string& why) const;

 private:
  // Whose text this is; null: nobody's.
  [[nodiscard]] const Option* option_of(const std::string& text) const;
  void check_value(const Option& option, const std::string& value) const;
  void check_option(std::string_view name, bool has_value) const;

  std::string program_;
  std::vector<Option> options_;
  std::vector<std::string> texts_;
};

// Ends the program with 2 when --side is given and none of the "cases" of a report has it, and
// takes the "side_names" of each out of it, which are there for this.
void check_side(const Arguments& arguments, nlohmann::json& cases);

// The end of main(): prints the report, as one document with --json, otherwise by `print_text` with
// a line on the machine. Returns 1 when a "within_goal" anywhere in it is false, otherwise 0.
[[nodiscard]] int finish(const Arguments& arguments, const nlohmann::json& report,
                         void (*print_text)(const nlohmann::json&));

// What the compiler must believe is used.
template <typename T>
void keep(const T& value) {
  asm volatile("" : : "r,m"(value) : "memory");
}

}  // namespace quire::bench
