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

#include <cstddef>
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace quire::bench {

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

struct Contender {
  std::string name;
  std::function<void()> run;
  Samples seconds = {};      // By the clock on the wall.
  Samples cpu_seconds = {};  // Of the process, kernel included: other programs disturb it less.
};

// Runs every contender once per round, rotating who is first; the first round is not counted.
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

// Processor, number of them, memory, kernel; the file system of `path`, if one is given.
[[nodiscard]] nlohmann::json machine_facts(const std::string& path = {});

// --json, and --NAME=NUMBER for what the benchmark lets one choose.
class Arguments {
 public:
  Arguments(int argc, char** argv) : texts_(argv + 1, argv + argc) {}
  [[nodiscard]] bool has(const std::string& flag) const;
  [[nodiscard]] std::uint64_t number(const std::string& name, std::uint64_t otherwise) const;
  [[nodiscard]] std::string text(const std::string& name, const std::string& otherwise) const;

 private:
  std::vector<std::string> texts_;
};

// What the compiler must believe is used.
template <typename T>
void keep(const T& value) {
  asm volatile("" : : "r,m"(value) : "memory");
}

}  // namespace quire::bench
