// SPDX-License-Identifier: Apache-2.0
//
// A lock that nobody else wants, taken and given back: quire's and glibc's.
#include <fmt/format.h>
#include <pthread.h>
#include <sys/mman.h>

#include <cstddef>
#include <vector>

#include "bench/bench.h"
#include "bench/ipc_bench.h"
#include "quire/base/check.h"
#include "quire/ipc/mutex.h"
#include "quire/ipc/segment.h"

namespace quire::bench {
namespace {

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

  void lock_and_unlock() {
    QUIRE_CHECK_EQ(pthread_mutex_lock(mutex_), 0);
    QUIRE_CHECK_EQ(pthread_mutex_unlock(mutex_), 0);
  }

 private:
  pthread_mutex_t* mutex_;
};

}  // namespace

nlohmann::json measure_locks(const IpcBenchOptions& options) {
  const std::size_t times = options.times(2'000'000);
  ipc::Layout layout;
  layout.add(ipc::Mutex::object("lock"));
  const ipc::Segment segment = ipc::Segment::make_anonymous(layout).value();
  ipc::Mutex mutex = ipc::Mutex::open(segment, "lock").value();
  RobustPthread robust;
  const auto rate_of = [times](auto&& once) {
    stay_on_processor(0);
    const double seconds = seconds_of([&] {
      for (std::size_t i = 0; i < times; ++i) {
        once();
      }
    });
    return static_cast<double>(times) / seconds;
  };
  std::vector<Racer> racers;
  racers.push_back({.name = "quire", .rate = [&] {
                      return rate_of([&] {
                        QUIRE_CHECK(mutex.lock().has_value());
                        QUIRE_CHECK(mutex.unlock().has_value());
                      });
                    }});
  racers.push_back({.name = "robust process-shared pthread_mutex",
                    .rate = [&] { return rate_of([&] { robust.lock_and_unlock(); }); }});
  run_races(racers, options.rounds, [] {});
  return {{"per_second", rates_of(racers)},
          {"figure", figure_of("quire / pthread", ratio(racers[0].rates, racers[1].rates), 1.0)}};
}

void print_locks(const nlohmann::json& found) {
  fmt::print("lock and unlock, uncontended\n");
  for (const auto& [name, rate] : found["per_second"].items()) {
    fmt::print("{:<40}{:>8.2f} ns\n", name, 1e9 / rate["median"].get<double>());
  }
  print_figure("lock and unlock", found["figure"]);
}

}  // namespace quire::bench
