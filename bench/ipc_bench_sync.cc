// SPDX-License-Identifier: Apache-2.0
//
// Round trips: one process sends a number, another one sends it back. The first is on processor 0,
// the second on processor 1; on a machine with one they share it.
//
// Two questions. How many round trips are there in a second, one after the other? That is the rate,
// and the promise is about its ratio. And how long does one take that was due at a certain time?
// For that the trips are due at even distances, whatever became of those before; each is measured
// from when it was due, not from when it could begin, so that one delay is not told once but by all
// that it delays (no coordinated omission).
#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bench/bench.h"
#include "bench/ipc_bench.h"
#include "quire/base/check.h"
#include "quire/ipc/event.h"
#include "quire/ipc/segment.h"
#include "quire/ipc/spsc_ring.h"
#include "quire/sys/futex.h"
#include "quire/testing/process.h"

namespace quire::bench {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::nanoseconds;

// Two directions: there, and back.
constexpr unsigned kThere = 0;
constexpr unsigned kBack = 1;

// --- Ways to send a number -----------------------------------------------------------------------
//
// Each is made before the fork; side() is called in each of the processes and gives what sends in
// one direction and receives from the other.

struct alignas(64) Word {
  std::atomic<std::uint32_t> value;
};

// Words that both processes see.
class SharedWords {
 public:
  SharedWords() {
    void* memory = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    QUIRE_CHECK(memory != MAP_FAILED);
    words_ = static_cast<Word*>(memory);
  }
  ~SharedWords() { ::munmap(words_, kBytes); }
  SharedWords(const SharedWords&) = delete;
  SharedWords& operator=(const SharedWords&) = delete;

  [[nodiscard]] std::atomic<std::uint32_t>& word(unsigned direction) const {
    return words_[std::size_t{2} * direction].value;  // Neighbouring lines are fetched together.
  }

 private:
  static constexpr std::size_t kBytes = 4096;
  Word* words_;
};

// The bare minimum: a store, and a loop of loads.
struct BareAtomic {
  struct Side {
    const SharedWords& words;
    unsigned out;
    void send(std::uint32_t number) { words.word(out).store(number, std::memory_order_release); }
    void await(std::uint32_t number) {
      while (words.word(1 - out).load(std::memory_order_acquire) != number) {
        sys::pause_processor();
      }
    }
  };
  Side side(unsigned out) { return {words, out}; }
  SharedWords words;
};

// A store and a wake-up; a wait where it has not come yet.
struct BareFutex {
  struct Side {
    const SharedWords& words;
    unsigned out;
    void send(std::uint32_t number) {
      words.word(out).store(number, std::memory_order_release);
      sys::shared_futex_wake_one(&words.word(out));
    }
    void await(std::uint32_t number) {
      std::uint32_t seen = 0;
      while ((seen = words.word(1 - out).load(std::memory_order_acquire)) != number) {
        sys::shared_futex_wait(&words.word(1 - out), seen);
      }
    }
  };
  Side side(unsigned out) { return {words, out}; }
  SharedWords words;
};

struct Descriptors {
  struct Side {
    int in;
    int out;
    void send(std::uint32_t number) const {
      const std::uint64_t bytes = number;
      QUIRE_CHECK_EQ(::write(out, &bytes, sizeof bytes), ssize_t{sizeof bytes});
    }
    void await(std::uint32_t number) const {
      std::uint64_t bytes = 0;
      QUIRE_CHECK_EQ(::read(in, &bytes, sizeof bytes), ssize_t{sizeof bytes});
      QUIRE_CHECK_EQ(bytes, number);
    }
  };
};

struct EventDescriptors {
  EventDescriptors() {
    for (int& descriptor : descriptors) {
      descriptor = ::eventfd(0, EFD_CLOEXEC);
      QUIRE_CHECK_GE(descriptor, 0);
    }
  }
  ~EventDescriptors() {
    ::close(descriptors[kThere]);
    ::close(descriptors[kBack]);
  }
  EventDescriptors(const EventDescriptors&) = delete;
  EventDescriptors& operator=(const EventDescriptors&) = delete;
  Descriptors::Side side(unsigned out) const {
    return {.in = descriptors[1 - out], .out = descriptors[out]};
  }
  std::array<int, 2> descriptors{};
};

struct Pipes {
  Pipes() {
    for (std::array<int, 2>& pipe : pipes) {
      QUIRE_CHECK_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
    }
  }
  ~Pipes() {
    for (const std::array<int, 2>& pipe : pipes) {
      ::close(pipe[0]);
      ::close(pipe[1]);
    }
  }
  Pipes(const Pipes&) = delete;
  Pipes& operator=(const Pipes&) = delete;
  Descriptors::Side side(unsigned out) const {
    return {.in = pipes[1 - out][0], .out = pipes[out][1]};
  }
  std::array<std::array<int, 2>, 2> pipes{};
};

// One direction: a ring.
struct RingDirection {
  using Ring = ipc::SpscRing<std::uint64_t>;
  struct Out {
    Ring::Writer writer;
    void send(std::uint32_t number, const ipc::WaitOptions& options) {
      writer.push(number, options).value();
    }
  };
  struct In {
    Ring::Reader reader;
    void await(std::uint32_t number, const ipc::WaitOptions& options) {
      QUIRE_CHECK_EQ(reader.pop(options).value(), number);
    }
  };
  static ipc::ObjectSpec object(const std::string& name) {
    return Ring::object(name, {.capacity = 64, .type = "number"});
  }
  static Out out(const ipc::Segment& segment, const std::string& name) {
    return {Ring::writer(segment, name).value()};
  }
  static In in(const ipc::Segment& segment, const std::string& name) {
    return {Ring::reader(segment, name).value()};
  }
};

// One direction: an event, reset by who waited.
struct EventDirection {
  struct Out {
    ipc::Event event;
    void send(std::uint32_t, const ipc::WaitOptions&) { event.set(); }
  };
  struct In {
    ipc::Event event;
    void await(std::uint32_t, const ipc::WaitOptions& options) {
      QUIRE_CHECK(event.wait(options));
      event.reset();
    }
  };
  static ipc::ObjectSpec object(const std::string& name) { return ipc::Event::object(name); }
  static Out out(const ipc::Segment& segment, const std::string& name) {
    return {ipc::Event::open(segment, name).value()};
  }
  static In in(const ipc::Segment& segment, const std::string& name) {
    return {ipc::Event::open(segment, name).value()};
  }
};

// Two of them in a segment, which each process opens for itself.
template <typename Direction>
struct BothDirections {
  struct Side {
    ipc::Segment segment;
    typename Direction::Out out;
    typename Direction::In in;
    ipc::WaitOptions options;
    void send(std::uint32_t number) { out.send(number, options); }
    void await(std::uint32_t number) { in.await(number, options); }
  };

  explicit BothDirections(ipc::WaitPolicy wait_policy) : policy(wait_policy) {
    for (const std::string& name : names) {
      layout.add(Direction::object(name));
    }
    memory.emplace(ipc::Segment::make_anonymous(layout).value());
  }
  Side side(unsigned out) {
    ipc::Segment segment =
        ipc::Segment::adopt(sys::duplicate(memory->descriptor()).value(), layout).value();
    typename Direction::Out sends = Direction::out(segment, names[out]);
    typename Direction::In receives = Direction::in(segment, names[1 - out]);
    return {.segment = std::move(segment),
            .out = std::move(sends),
            .in = std::move(receives),
            .options = {.policy = policy}};
  }

  ipc::WaitPolicy policy;
  std::array<std::string, 2> names{"there", "back"};
  ipc::Layout layout;
  std::optional<ipc::Segment> memory;
};
using Rings = BothDirections<RingDirection>;
using Events = BothDirections<EventDirection>;

// --- Round trips ---------------------------------------------------------------------------------

struct TripPlan {
  std::size_t trips = 0;        // One after the other, for the rate.
  std::size_t paced_trips = 0;  // For the latencies.
  nanoseconds pace{0};          // Between two of those.
};

struct Trips {
  double rate = 0;  // Per second.
  std::vector<double> latencies_us;
};

constexpr std::uint32_t kWarmUpTrips = 100;

template <typename Side>
void bounce(Side& side, std::uint32_t first, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    const auto number = first + static_cast<std::uint32_t>(i);
    side.send(number);
    side.await(number);
  }
}

template <typename Side>
std::vector<double> paced_latencies_us(Side& side, std::uint32_t first, const TripPlan& plan) {
  std::vector<double> latencies;
  latencies.reserve(plan.paced_trips);
  Clock::time_point due = Clock::now();
  for (std::size_t i = 0; i < plan.paced_trips; ++i, due += plan.pace) {
    while (Clock::now() < due) {
      sys::pause_processor();
    }
    bounce(side, first + static_cast<std::uint32_t>(i), 1);
    latencies.push_back(std::chrono::duration<double, std::micro>(Clock::now() - due).count());
  }
  return latencies;
}

template <typename Way>
Trips measure_trips(Way& way, const TripPlan& plan) {
  const auto paced_first = static_cast<std::uint32_t>(1 + kWarmUpTrips + plan.trips);
  const std::size_t all = kWarmUpTrips + plan.trips + plan.paced_trips;
  testing::Child echo([&] {
    stay_on_processor(1);
    auto side = way.side(kBack);
    for (std::uint32_t number = 1; number <= all; ++number) {
      side.await(number);
      side.send(number);
    }
    return 0;
  });
  stay_on_processor(0);
  Trips found;
  {
    auto side = way.side(kThere);
    bounce(side, 1, kWarmUpTrips);
    const double seconds = seconds_of([&] { bounce(side, 1 + kWarmUpTrips, plan.trips); });
    found.rate = static_cast<double>(plan.trips) / seconds;
    found.latencies_us = paced_latencies_us(side, paced_first, plan);
    QUIRE_CHECK_EQ(echo.join().exit_code, 0);
  }
  return found;
}

struct TripRacer {
  std::string name;
  std::function<Trips()> run;
  Samples rates = {};
  std::vector<double> latencies_us = {};
};

template <typename Way, typename... Arguments>
TripRacer trip_racer(const char* name, const TripPlan& plan, Arguments... arguments) {
  return {.name = name, .run = [plan, arguments...] {
            Way way(arguments...);
            return measure_trips(way, plan);
          }};
}

double quantile(const std::vector<double>& sorted, double share) {
  const auto index = static_cast<std::size_t>(share * static_cast<double>(sorted.size() - 1));
  return sorted[index];
}

nlohmann::json to_json(TripRacer& racer) {
  std::sort(racer.latencies_us.begin(), racer.latencies_us.end());
  return {{"name", racer.name},
          {"round_trips_per_second", racer.rates.to_json()},
          {"latency_us",
           {{"p50", quantile(racer.latencies_us, 0.5)},
            {"p99", quantile(racer.latencies_us, 0.99)},
            {"p99.9", quantile(racer.latencies_us, 0.999)},
            {"max", racer.latencies_us.back()}}}};
}

nlohmann::json race(std::vector<TripRacer>& racers, std::size_t rounds) {
  take_turns(racers, rounds, [](TripRacer& racer, bool counts) {
    const Trips found = racer.run();
    if (counts) {
      racer.rates.add(found.rate);
      racer.latencies_us.insert(racer.latencies_us.end(), found.latencies_us.begin(),
                                found.latencies_us.end());
    }
  });
  nlohmann::json all = nlohmann::json::array();
  for (TripRacer& racer : racers) {
    all.push_back(to_json(racer));
  }
  return all;
}

nlohmann::json measure_spinning(const IpcBenchOptions& options) {
  const TripPlan plan{.trips = options.times(200'000),
                      .paced_trips = options.times(20'000),
                      .pace = std::chrono::microseconds(5)};
  std::vector<TripRacer> racers;
  racers.push_back(trip_racer<Rings>("quire ring", plan, ipc::WaitPolicy::kSpin));
  racers.push_back(trip_racer<Events>("quire event", plan, ipc::WaitPolicy::kSpin));
  racers.push_back(trip_racer<BareAtomic>("bare atomic", plan));
  nlohmann::json found{{"ways", race(racers, options.rounds)}};
  found["figure"] = figure_of("ring / bare atomic", ratio(racers[0].rates, racers[2].rates), 0.8);
  return found;
}

nlohmann::json measure_sleeping(const IpcBenchOptions& options) {
  const TripPlan plan{.trips = options.times(10'000),
                      .paced_trips = options.times(2'000),
                      .pace = std::chrono::microseconds(200)};
  std::vector<TripRacer> racers;
  racers.push_back(trip_racer<Rings>("quire ring", plan, ipc::WaitPolicy::kSleep));
  racers.push_back(trip_racer<Events>("quire event", plan, ipc::WaitPolicy::kSleep));
  racers.push_back(trip_racer<BareFutex>("bare futex", plan));
  racers.push_back(trip_racer<EventDescriptors>("eventfd", plan));
  racers.push_back(trip_racer<Pipes>("pipe", plan));
  racers.push_back(
      trip_racer<Rings>("quire ring, spins first", plan, ipc::WaitPolicy::kSpinThenSleep));
  nlohmann::json found{{"ways", race(racers, options.rounds)}};
  const Samples& ring = racers[0].rates;
  found["figures"] = {
      figure_of("ring / bare futex", ratio(ring, racers[2].rates), 0.85),
      figure_of("ring / eventfd", ratio(ring, racers[3].rates), 1.0),
      figure_of("ring / pipe", ratio(ring, racers[4].rates), 1.0),
      figure_of("ring, spins first / eventfd", ratio(racers[5].rates, racers[3].rates), 1.0)};
  return found;
}

// --- What is printed -----------------------------------------------------------------------------

void print_ways(const char* title, const nlohmann::json& ways) {
  fmt::print("{}\n{:<26}{:>14}{:>9}{:>9}{:>9}{:>10}   us from when it was due\n", title, "",
             "trips/s", "p50", "p99", "p99.9", "max");
  for (const nlohmann::json& way : ways) {
    const nlohmann::json& latency = way["latency_us"];
    fmt::print(
        "{:<26}{:>14.0f} {:>8.2f} {:>8.2f} {:>8.2f} {:>9.1f}\n", way["name"].get<std::string>(),
        way["round_trips_per_second"]["median"].get<double>(), latency["p50"].get<double>(),
        latency["p99"].get<double>(), latency["p99.9"].get<double>(), latency["max"].get<double>());
  }
}

}  // namespace

void stay_on_processor(unsigned number) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(number % static_cast<unsigned>(::sysconf(_SC_NPROCESSORS_ONLN)), &set);
  QUIRE_CHECK_EQ(::sched_setaffinity(0, sizeof set, &set), 0);
}

nlohmann::json measure_sync(const IpcBenchOptions& options) {
  return {{"spinning", measure_spinning(options)}, {"sleeping", measure_sleeping(options)}};
}

void print_sync(const nlohmann::json& found) {
  print_ways("round trips, spinning", found["spinning"]["ways"]);
  print_figure("round trip, spinning", found["spinning"]["figure"]);
  print_ways("\nround trips, sleeping", found["sleeping"]["ways"]);
  for (const nlohmann::json& figure : found["sleeping"]["figures"]) {
    print_figure("round trip, sleeping", figure);
  }
}

}  // namespace quire::bench
