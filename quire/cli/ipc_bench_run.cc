// SPDX-License-Identifier: Apache-2.0
#include "quire/cli/ipc_bench_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <exception>
#include <memory>
#include <utility>

#include "quire/cli/ipc_bench_ways.h"
#include "quire/compare/latency_histogram.h"
#include "quire/ipc/segment.h"
#include "quire/sys/child.h"
#include "quire/sys/futex.h"
#include "quire/sys/process.h"

namespace quire::cli {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr std::size_t kRounds = 5;
constexpr unsigned kManyWriters = 16;
// Between two looks at the clock, which takes as long as a message.
constexpr unsigned kBatch = 64;
constexpr unsigned kWarmTrips = 100;
// Trips are due half as often as they can be made.
constexpr double kPacedLoad = 0.5;
// For a side that never comes back.
constexpr std::chrono::seconds kPatience{10};
constexpr std::chrono::milliseconds kLook{2};

// What a measuring process says; in shared memory.
struct Answer {
  double rate;
  compare::Latency latency;
  std::array<char, 256> problem;
};

double seconds_since(Clock::time_point start) {
  return std::chrono::duration_cast<Seconds>(Clock::now() - start).count();
}

// A process that works; an error becomes the answer's problem.
struct Job {
  std::function<Result<void>()> work;
  Answer* answer;
};

int run_job(void* argument) {
  const Job& job = *static_cast<const Job*>(argument);
  std::string problem;
  try {
    const Result<void> done = job.work();
    if (done) {
      return 0;
    }
    problem = done.error().message();
  } catch (const std::exception& error) {
    problem = error.what();
  }
  const std::size_t count = std::min(problem.size(), job.answer->problem.size() - 1);
  std::memcpy(job.answer->problem.data(), problem.data(), count);
  return 1;
}

class Bench {
 public:
  Bench(double slice_s, bool pins) : slice_s_(slice_s), pins_(pins) {}

  Result<void> prepare() {
    ipc::Layout layout;
    layout.add({.name = "answer", .signature = "bench", .size_bytes = sizeof(Answer)});
    memory_ = QUIRE_TRY(ipc::Segment::make_anonymous(layout, "quire-bench-answer"));
    const auto object = QUIRE_TRY(memory_->find("answer", ipc::ObjectKind::kUser, "bench"));
    answer_ = reinterpret_cast<Answer*>(object.bytes().data());
    return {};
  }

  // Messages of `message_bytes` from writers to a reader.
  Result<Answer> one_way(const MakeWay& make, std::size_t message_bytes, unsigned writers) {
    const std::shared_ptr<IpcWay> way = QUIRE_TRY(make());
    const bool is_pair = writers == 1;  // Many writers share the processors with the reader.
    const auto write = [this, way, message_bytes, is_pair]() -> Result<void> {
      stay_apart(1, is_pair);
      QUIRE_TRY(way->open_writer());
      const std::vector<std::byte> message(message_bytes, std::byte{1});
      for (;;) {
        way->send(message);
      }
    };
    const auto read = [this, way, message_bytes, is_pair]() -> Result<void> {
      stay_apart(0, is_pair);
      QUIRE_TRY(way->open_reader());
      std::vector<std::byte> message(message_bytes);
      way->receive(message);  // They are at work.
      answer_->rate = rate_of([&] { way->receive(message); });
      return {};
    };
    return measure(read, std::vector<std::function<Result<void>()>>(writers, write));
  }

  Result<Answer> round_trips(const MakeWay& make) {
    const std::shared_ptr<IpcWay> there = QUIRE_TRY(make());
    const std::shared_ptr<IpcWay> back = QUIRE_TRY(make());
    const auto echo = [this, there, back]() -> Result<void> {
      stay_apart(1, true);
      QUIRE_TRY(there->open_reader());
      QUIRE_TRY(back->open_writer());
      std::array<std::byte, kBenchTripBytes> message{};
      for (;;) {
        there->receive(message);
        back->send(message);
      }
    };
    const auto ask = [this, there, back]() -> Result<void> {
      stay_apart(0, true);
      QUIRE_TRY(there->open_writer());
      QUIRE_TRY(back->open_reader());
      std::array<std::byte, kBenchTripBytes> message{std::byte{1}};  // An eventfd passes no zero.
      const auto trip = [&] {
        there->send(message);
        back->receive(message);
      };
      for (unsigned warm = 0; warm < kWarmTrips; ++warm) {
        trip();
      }
      answer_->rate = rate_of(trip);
      answer_->latency = paced(trip, kPacedLoad * answer_->rate);
      return {};
    };
    return measure(ask, {echo});
  }

  Result<Answer> loop(const MakeLoop& make) {
    const std::shared_ptr<IpcLoop> one = QUIRE_TRY(make());
    return measure(
        [this, one]() -> Result<void> {
          QUIRE_TRY(one->open());
          one->turn();
          answer_->rate = rate_of([&] { one->turn(); });
          return {};
        },
        {});
  }

 private:
  // One of two processes, each on a processor of its own. Where that is refused, they are not.
  void stay_apart(unsigned which, bool is_pair) const noexcept {
    if (pins_ && is_pair) {
      static_cast<void>(sys::stay_on_processor(which));
    }
  }
  template <typename Turn>
  double rate_of(Turn turn) const {
    std::uint64_t count = 0;
    double elapsed_s = 0;
    for (const auto start = Clock::now(); elapsed_s < slice_s_; elapsed_s = seconds_since(start)) {
      for (unsigned one = 0; one < kBatch; ++one) {
        turn();
      }
      count += kBatch;
    }
    return static_cast<double>(count) / elapsed_s;
  }

  template <typename Turn>
  compare::Latency paced(Turn turn, double rate) const {
    const auto histogram = std::make_unique<compare::LatencyHistogram>();
    const auto distance = std::chrono::duration_cast<Clock::duration>(Seconds(1 / rate));
    const auto start = Clock::now();
    for (auto due = start; seconds_since(start) < slice_s_; due += distance) {
      while (Clock::now() < due) {
        sys::pause_processor();
      }
      turn();
      histogram->add(static_cast<std::uint64_t>(
          std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - due).count()));
    }
    return histogram->summary();
  }

  // Runs `asks` beside the others, which are killed when it has ended.
  Result<Answer> measure(const std::function<Result<void>()>& asks,
                         const std::vector<std::function<Result<void>()>>& others) {
    *answer_ = Answer{};
    std::vector<sys::Child> children;
    for (const auto& work : others) {
      children.push_back(QUIRE_TRY(start(work)));
    }
    sys::Child asking = QUIRE_TRY(start(asks));
    const auto until = Clock::now() + kPatience +
                       std::chrono::duration_cast<Clock::duration>(Seconds(2 * slice_s_));
    const std::atomic<std::uint32_t> nobody_wakes{0};
    while (Clock::now() < until) {
      const auto end = asking.try_wait();
      if (!end) {
        return fail(sys::to_error(end.error(), "measure", "process"));
      }
      if (*end) {
        if ((*end)->signal != 0) {
          return fail(make_error(Errc::kFailed, "measure", "process",
                                 "it was ended by " + sys::signal_name((*end)->signal)));
        }
        return *answer_;
      }
      sys::futex_wait(nobody_wakes, 0, kLook);
    }
    return fail(make_error(Errc::kFailed, "measure", "process", "it does not end"));
  }

  Result<sys::Child> start(const std::function<Result<void>()>& work) const {
    Job job{.work = work, .answer = answer_};
    auto child = sys::Child::start(run_job, &job);
    if (!child) {
      return fail(sys::to_error(child.error(), "measure", "process"));
    }
    return std::move(*child);
  }

  double slice_s_;
  bool pins_;
  std::optional<ipc::Segment> memory_;
  Answer* answer_ = nullptr;
};

// --- The questions -------------------------------------------------------------------------------

using Measure = std::function<Result<Answer>(Bench&)>;

struct Plan {
  BenchQuestion question;
  std::vector<Measure> measures = {};  // Of each side.
  double per_turn = 1;                 // Units in a turn.
  unsigned slices = 1;                 // Of time that one measure takes.
};

void add_side(Plan& plan, const std::string& name, Measure measure) {
  plan.question.sides.push_back({.name = name});
  plan.measures.push_back(std::move(measure));
}

Plan one_way(const char* name, const std::vector<NamedWay>& ways, unsigned writers) {
  Plan plan{.question = {.name = name, .unit = "messages/s"}};
  for (const NamedWay& way : ways) {
    add_side(plan, way.name, [way, writers](Bench& bench) {
      return bench.one_way(way.make, kBenchMessageBytes, writers);
    });
  }
  return plan;
}

Plan trips(const char* name, const std::vector<NamedWay>& ways) {
  Plan plan{.question = {.name = name, .unit = "trips/s"}, .slices = 2};
  for (const NamedWay& way : ways) {
    add_side(plan, way.name, [way](Bench& bench) { return bench.round_trips(way.make); });
  }
  return plan;
}

Plan large() {
  Plan plan{.question = {.name = "one way, 1 MiB", .unit = "bytes/s"},
            .per_turn = static_cast<double>(kBenchLargeBytes)};
  for (const NamedWay& way : one_way_of_large()) {
    add_side(plan, way.name,
             [way](Bench& bench) { return bench.one_way(way.make, kBenchLargeBytes, 1); });
  }
  const NamedLoop copy = plain_copy();
  add_side(plan, copy.name, [copy](Bench& bench) { return bench.loop(copy.make); });
  return plan;
}

Plan locks() {
  Plan plan{.question = {.name = "lock and unlock, uncontended", .unit = "times/s"}};
  for (const NamedLoop& lock : uncontended_locks()) {
    add_side(plan, lock.name, [lock](Bench& bench) { return bench.loop(lock.make); });
  }
  return plan;
}

std::vector<Plan> all_plans() {
  std::vector<Plan> plans;
  plans.push_back(one_way("one way, 64 bytes", one_way_of_small(), 1));
  plans.push_back(large());
  plans.push_back(trips("round trip, spinning", trips_spinning()));
  plans.push_back(trips("round trip, sleeping", trips_sleeping()));
  plans.push_back(locks());
  plans.push_back(one_way("64 bytes from 16 writers", one_way_of_many(), kManyWriters));
  return plans;
}

void take(BenchSide& side, const Result<Answer>& answer, double per_turn) {
  if (!answer || answer->problem[0] != '\0') {
    side.problem = answer ? std::string(answer->problem.data()) : answer.error().message();
    side.rates.clear();
    return;
  }
  side.rates.push_back(answer->rate * per_turn);
  if (answer->latency.operations > 0) {
    side.latencies.push_back(answer->latency);
  }
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

std::vector<BenchQuestion> questions_of(std::vector<Plan> plans) {
  std::vector<BenchQuestion> questions;
  for (Plan& plan : plans) {
    questions.push_back(std::move(plan.question));
  }
  return questions;
}

}  // namespace

double BenchSide::median_rate() const {
  return rates.empty() ? 0 : median(rates);
}

std::optional<compare::Latency> BenchSide::latency() const {
  if (latencies.empty()) {
    return std::nullopt;
  }
  const auto median_of = [this](double compare::Latency::* quantile) {
    std::vector<double> values;
    for (const compare::Latency& one : latencies) {
      values.push_back(one.*quantile);
    }
    return median(std::move(values));
  };
  compare::Latency all{.p50_ns = median_of(&compare::Latency::p50_ns),
                       .p90_ns = median_of(&compare::Latency::p90_ns),
                       .p99_ns = median_of(&compare::Latency::p99_ns),
                       .p999_ns = median_of(&compare::Latency::p999_ns)};
  for (const compare::Latency& one : latencies) {
    all.operations += one.operations;
    all.max_ns = std::max(all.max_ns, one.max_ns);
  }
  return all;
}

std::optional<BenchRatio> BenchQuestion::ratio_to(const BenchSide& side) const {
  const std::vector<double>& ours = sides.front().rates;
  const std::size_t count = std::min(ours.size(), side.rates.size());
  if (count == 0) {
    return std::nullopt;
  }
  std::vector<double> ratios;
  for (std::size_t round = 0; round < count; ++round) {
    ratios.push_back(ours[round] / side.rates[round]);
  }
  const auto [least, most] = std::minmax_element(ratios.begin(), ratios.end());
  return BenchRatio{.median = median(ratios), .least = *least, .most = *most};
}

Result<std::vector<BenchQuestion>> run_ipc_bench(const BenchOptions& options) {
  std::vector<Plan> plans = all_plans();
  std::size_t slices = 0;
  for (const Plan& plan : plans) {
    slices += plan.measures.size() * plan.slices;
  }
  Bench bench(options.seconds / static_cast<double>(slices * kRounds), options.pins);
  QUIRE_TRY(bench.prepare());
  std::size_t done = 0;
  for (std::size_t round = 0; round < kRounds; ++round) {
    for (Plan& plan : plans) {
      for (std::size_t turn = 0; turn < plan.measures.size(); ++turn) {
        const std::size_t at = (turn + round) % plan.measures.size();
        BenchSide& side = plan.question.sides[at];
        const double share = static_cast<double>(done) / static_cast<double>(slices * kRounds);
        if (options.go_on && !options.go_on(share, plan.question.name + ": " + side.name)) {
          return questions_of(std::move(plans));
        }
        if (side.problem.empty()) {
          take(side, plan.measures[at](bench), plan.per_turn);
        }
        done += plan.slices;
      }
    }
  }
  return questions_of(std::move(plans));
}

}  // namespace quire::cli
