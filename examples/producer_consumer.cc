// SPDX-License-Identifier: Apache-2.0
//
// A producer and a consumer that know nothing of each other but a name: objects pass from one to
// the other through shared memory, in order, without a system call for each and without a copy on
// the consumer's side.
//
//   example_producer_consumer COUNT
//
// The program starts itself twice (exec, not only fork: unrelated processes). Neither waits for the
// other to be there: whoever comes first makes the segment.
#include <quire/quire.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

namespace ipc = quire::ipc;

// Plain bytes that mean the same in every process.
struct Tick {
  std::uint64_t number = 0;
  double price = 0;
};

using Ticks = ipc::SpscRing<Tick>;

// What both sides must agree on; a program with another layout would be refused.
quire::Result<ipc::Segment> open_segment(const std::string& name) {
  ipc::Layout layout;
  layout.add(Ticks::object("ticks", {.capacity = 1024, .type = "Tick"}));
  return ipc::Segment::open(name, layout);
}

double price_of(std::uint64_t number) {
  return 100.0 + static_cast<double>(number % 17) / 4;
}

quire::Result<void> produce(const std::string& name, std::uint64_t count) {
  const ipc::Segment segment = QUIRE_TRY(open_segment(name));
  auto ticks = QUIRE_TRY(Ticks::writer(segment, "ticks"));
  for (std::uint64_t number = 0; number < count;) {
    // As many places as there are, filled where they are, and published at once.
    const std::span<Tick> room = ticks.reserve(count - number);
    if (room.empty()) {
      QUIRE_TRY(ticks.wait());
      continue;
    }
    for (Tick& tick : room) {
      tick = {.number = number, .price = price_of(number)};
      ++number;
    }
    ticks.commit(room.size());
  }
  return {};
}

quire::Result<void> consume(const std::string& name, std::uint64_t count) {
  const ipc::Segment segment = QUIRE_TRY(open_segment(name));
  auto ticks = QUIRE_TRY(Ticks::reader(segment, "ticks"));
  for (std::uint64_t number = 0; number < count;) {
    QUIRE_TRY(ticks.wait({.timeout = std::chrono::seconds(60)}));
    const std::span<const Tick> seen = ticks.peek();
    for (const Tick& tick : seen) {
      if (tick.number != number || tick.price != price_of(number)) {
        return quire::fail(quire::make_error(quire::Errc::kCorrupt, "consume", name,
                                             "tick " + std::to_string(number) + " is not itself"));
      }
      ++number;
    }
    ticks.release(seen.size());  // From here on they will not be seen again.
  }
  return {};
}

// Starts this program anew, as "COUNT ROLE NAME".
pid_t start(const char* count, const char* role, const char* name) {
  const pid_t child = fork();
  if (child == 0) {
    execl("/proc/self/exe", "producer_consumer", count, role, name, static_cast<char*>(nullptr));
    _exit(127);
  }
  return child;
}

int play(const std::string& role, const std::string& name, std::uint64_t count) {
  const quire::Result<void> played =
      role == "produce" ? produce(name, count) : consume(name, count);
  if (!played) {
    std::fprintf(stderr, "%s\n", played.error().message().c_str());
  }
  return played ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 && argc != 4) {
    std::fprintf(stderr, "usage: %s COUNT\n", argv[0]);
    return 2;
  }
  const std::uint64_t count = std::strtoull(argv[1], nullptr, 10);
  if (argc == 4) {
    return play(argv[2], argv[3], count);
  }
  const std::string name = "producer-consumer." + std::to_string(getpid());
  start(argv[1], "consume", name.c_str());
  start(argv[1], "produce", name.c_str());
  bool all_good = true;
  int status = 0;
  while (wait(&status) > 0) {
    all_good = all_good && status == 0;
  }
  // A segment outlives its users, until somebody removes it.
  all_good = ipc::remove_segment(name).has_value() && all_good;
  std::printf("%llu ticks: %s\n", static_cast<unsigned long long>(count),
              all_good ? "each once, in order" : "something went wrong");
  return all_good ? EXIT_SUCCESS : EXIT_FAILURE;
}
