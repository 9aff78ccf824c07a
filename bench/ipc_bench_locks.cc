// SPDX-License-Identifier: Apache-2.0
//
// A lock that is taken and given back, quire's and glibc's: by one that nobody disturbs, and by
// several processes at once, who change something under it.
#include <fmt/format.h>
#include <pthread.h>
#include <sys/mman.h>

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bench/bench.h"
#include "bench/ipc_bench.h"
#include "quire/base/check.h"
#include "quire/ipc/mutex.h"
#include "quire/ipc/segment.h"
#include "quire/testing/process.h"

namespace quire::bench {
namespace {

// Each lock is made before the fork and opened in every process that uses it.

class OurMutex {
 public:
  OurMutex() {
    layout_.add(ipc::Mutex::object("lock"));
    made_.emplace(ipc::Segment::make_anonymous(layout_).value());
  }
  void open() {
    opened_.emplace(
        ipc::Segment::adopt(sys::duplicate(made_->descriptor()).value(), layout_).value());
    mutex_.emplace(ipc::Mutex::open(*opened_, "lock").value());
  }
  void lock() { QUIRE_CHECK(mutex_->lock().has_value()); }
  void unlock() { QUIRE_CHECK(mutex_->unlock().has_value()); }

 private:
  ipc::Layout layout_;
  std::optional<ipc::Segment> made_;
  std::optional<ipc::Segment> opened_;
  std::optional<ipc::Mutex> mutex_;
};

// What glibc offers for the same: robust and process-shared, in shared memory.
class RobustPthread {
 public:
  RobustPthread() {
    void* memory = ::mmap(nullptr, sizeof(pthread_mutex_t), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    QUIRE_CHECK(memory != MAP_FAILED);
    mutex_ = static_cast<pthread_mutex_t*>(memory);
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    QUIRE_CHECK_EQ(pthread_mutex_init(mutex_, &attributes), 0);
    pthread_mutexattr_destroy(&attributes);
  }
  ~RobustPthread() { ::munmap(mutex_, sizeof(pthread_mutex_t)); }
  RobustPthread(const RobustPthread&) = delete;
  RobustPthread& operator=(const RobustPthread&) = delete;

  void open() {}
  void lock() { QUIRE_CHECK_EQ(pthread_mutex_lock(mutex_), 0); }
  void unlock() { QUIRE_CHECK_EQ(pthread_mutex_unlock(mutex_), 0); }

 private:
  pthread_mutex_t* mutex_;
};

template <typename Lock>
double rate_alone(Lock& lock, std::size_t times) {
  stay_on_processor(0);
  const double seconds = seconds_of([&] {
    for (std::size_t i = 0; i < times; ++i) {
      lock.lock();
      lock.unlock();
    }
  });
  return static_cast<double>(times) / seconds;
}

// A counter in a line of its own, which is what the lock is for.
struct Protected {
  Protected() {
    void* memory = ::mmap(nullptr, sizeof(std::size_t), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    QUIRE_CHECK(memory != MAP_FAILED);
    count = static_cast<volatile std::size_t*>(memory);
  }
  ~Protected() { ::munmap(const_cast<std::size_t*>(count), sizeof(std::size_t)); }
  Protected(const Protected&) = delete;
  Protected& operator=(const Protected&) = delete;

  volatile std::size_t* count;
};

// Locked changes per second, of all processes together; they take turns on the processors.
template <typename Lock>
double rate_among(unsigned processes, std::size_t times) {
  Lock lock;
  const Protected shared;
  const testing::Signal is_ready;
  const testing::Signal may_begin;
  std::vector<std::unique_ptr<testing::Child>> children;
  for (unsigned index = 0; index < processes; ++index) {
    children.push_back(std::make_unique<testing::Child>([&, index] {
      stay_on_processor(index);
      lock.open();
      is_ready.raise();
      may_begin.wait();
      for (std::size_t i = 0; i < times / processes; ++i) {
        lock.lock();
        *shared.count = *shared.count + 1;
        lock.unlock();
      }
      return 0;
    }));
  }
  for (unsigned index = 0; index < processes; ++index) {
    is_ready.wait();
  }
  const double seconds = seconds_of([&] {
    for (unsigned index = 0; index < processes; ++index) {
      may_begin.raise();
    }
    for (const auto& child : children) {
      QUIRE_CHECK_EQ(child->join().exit_code, 0);
    }
  });
  const std::size_t done = times / processes * processes;
  QUIRE_CHECK_EQ(std::size_t{*shared.count}, done);
  return static_cast<double>(done) / seconds;
}

constexpr std::array kCrowds{2U, 4U, 8U};
constexpr const char* kOurs = "quire";
constexpr const char* kTheirs = "robust process-shared pthread_mutex";

nlohmann::json raced(std::vector<Racer>& racers, std::size_t rounds) {
  run_races(racers, rounds, [] {});
  return {{"per_second", rates_of(racers)},
          {"figure", figure_of("quire / pthread", ratio(racers[0].rates, racers[1].rates), 1.0)}};
}

nlohmann::json measure_alone(const IpcBenchOptions& options) {
  const std::size_t times = options.times(2'000'000);
  OurMutex ours;
  ours.open();
  RobustPthread theirs;
  std::vector<Racer> racers{{.name = kOurs, .rate = [&] { return rate_alone(ours, times); }},
                            {.name = kTheirs, .rate = [&] { return rate_alone(theirs, times); }}};
  return raced(racers, options.rounds);
}

nlohmann::json measure_crowd(const IpcBenchOptions& options, unsigned processes) {
  const std::size_t times = options.times(200'000);
  std::vector<Racer> racers{
      {.name = kOurs, .rate = [=] { return rate_among<OurMutex>(processes, times); }},
      {.name = kTheirs, .rate = [=] { return rate_among<RobustPthread>(processes, times); }}};
  nlohmann::json found = raced(racers, options.rounds);
  found["processes"] = processes;
  return found;
}

void print_one(const std::string& title, const nlohmann::json& found) {
  fmt::print("{}\n", title);
  for (const auto& [name, rate] : found["per_second"].items()) {
    fmt::print("{:<40}{:>8.2f} ns\n", name, 1e9 / rate["median"].get<double>());
  }
  print_figure("lock and unlock", found["figure"]);
}

}  // namespace

nlohmann::json measure_locks(const IpcBenchOptions& options) {
  // First those that fork: what is opened for the one alone brings a thread with it.
  nlohmann::json contended = nlohmann::json::array();
  for (const unsigned processes : kCrowds) {
    contended.push_back(measure_crowd(options, processes));
  }
  return {{"contended", contended}, {"alone", measure_alone(options)}};
}

void print_locks(const nlohmann::json& found) {
  print_one("lock and unlock, uncontended", found["alone"]);
  for (const nlohmann::json& crowd : found["contended"]) {
    print_one(fmt::format("lock, change and unlock, {} processes", crowd["processes"].get<int>()),
              crowd);
  }
}

}  // namespace quire::bench
