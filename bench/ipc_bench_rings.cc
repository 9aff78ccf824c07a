// SPDX-License-Identifier: Apache-2.0
//
// Throughput: how many messages of 64 bytes, or how many bytes in messages of 1 MiB, go one way
// from writing processes to a reading one in a second.
//
// Every message is written, and looked at. Rings that spin are compared with rings that spin; what
// sleeps in the kernel is also compared with a ring whose sides may sleep. The clock runs from the
// moment when all are ready to the last message.
#include <fcntl.h>
#include <fmt/format.h>
#include <mqueue.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <boost/interprocess/ipc/message_queue.hpp>
#include <boost/lockfree/spsc_queue.hpp>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "bench/bench.h"
#include "bench/ipc_bench.h"
#include "quire/base/check.h"
#include "quire/ipc/mpsc_ring.h"
#include "quire/ipc/segment.h"
#include "quire/ipc/spsc_bytes.h"
#include "quire/ipc/spsc_ring.h"
#include "quire/sys/futex.h"
#include "quire/testing/ipc_memory.h"
#include "quire/testing/process.h"

namespace quire::bench {
namespace {

struct Message {
  std::uint64_t number = 0;
  std::array<std::uint64_t, 7> filler{};
};
static_assert(sizeof(Message) == 64);

constexpr std::uint64_t kRingMessages = 4096;  // 256 KiB: stays in the caches.
constexpr unsigned kManyWriters = 16;

void run_on(unsigned first, unsigned count) {
  cpu_set_t set;
  CPU_ZERO(&set);
  const auto processors = static_cast<unsigned>(::sysconf(_SC_NPROCESSORS_ONLN));
  for (unsigned number = first; number < first + count; ++number) {
    CPU_SET(number % processors, &set);
  }
  QUIRE_CHECK_EQ(::sched_setaffinity(0, sizeof set, &set), 0);
}

// --- Ways to send a message ----------------------------------------------------------------------
//
// Each is made before the fork; writer() and reader() are called in the process that uses them.

template <typename Ring>
ipc::Layout layout_of() {
  ipc::Layout layout;
  layout.add(Ring::object("ring", {.capacity = kRingMessages, .type = "Message"}));
  return layout;
}

// A ring of ours, one message at a time, as users wait: for ever, spinning or going to sleep.
template <typename Ring, ipc::WaitPolicy kPolicy>
class OurRing {
 public:
  struct Writer {
    ipc::Segment segment;
    typename Ring::Writer ring;
    void send(const Message& message) {
      QUIRE_CHECK(ring.push(message, {.policy = kPolicy}).has_value());
    }
  };
  struct Reader {
    typename Ring::Reader ring;
    void receive(Message& message) { message = ring.pop({.policy = kPolicy}).value(); }
  };
  // The child of a fork is a participant of its own.
  Writer writer() {
    auto segment =
        ipc::Segment::adopt(sys::Descriptor(::dup(segment_.descriptor())), layout_of<Ring>())
            .value();
    auto ring = Ring::writer(segment, "ring").value();
    return {std::move(segment), std::move(ring)};
  }
  Reader reader() { return {Ring::reader(segment_, "ring").value()}; }

 private:
  ipc::Segment segment_ = ipc::Segment::make_anonymous(layout_of<Ring>()).value();
};

class BoostSpsc {
  using Queue = boost::lockfree::spsc_queue<Message, boost::lockfree::capacity<kRingMessages>>;

 public:
  BoostSpsc() : queue_(new(memory_.data()) Queue) {}
  struct Side {
    Queue* queue;
    void send(const Message& message) const {
      while (!queue->push(message)) {
        sys::pause_processor();
      }
    }
    void receive(Message& message) const {
      while (!queue->pop(message)) {
        sys::pause_processor();
      }
    }
  };
  Side writer() { return {queue_}; }
  Side reader() { return {queue_}; }

 private:
  testing::SharedMemory memory_{sizeof(Queue)};
  Queue* queue_;
};

// A pipe, or a socket that keeps messages apart: one system call for each message on each side.
enum class KernelWay : std::uint8_t { kPipe, kSocket };
template <KernelWay kWay>
class Descriptors {
 public:
  Descriptors() {
    if (kWay == KernelWay::kPipe) {
      QUIRE_CHECK_EQ(::pipe2(ends_.data(), O_CLOEXEC), 0);
    } else {
      QUIRE_CHECK_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends_.data()), 0);
    }
  }
  ~Descriptors() {
    ::close(ends_[0]);
    ::close(ends_[1]);
  }
  Descriptors(const Descriptors&) = delete;
  Descriptors& operator=(const Descriptors&) = delete;

  struct Side {
    int descriptor;
    void send(const Message& message) const {
      QUIRE_CHECK_EQ(::write(descriptor, &message, sizeof message), ssize_t{sizeof message});
    }
    void receive(Message& message) const {
      QUIRE_CHECK_EQ(::read(descriptor, &message, sizeof message), ssize_t{sizeof message});
    }
  };
  Side writer() { return {ends_[1]}; }
  Side reader() { return {ends_[0]}; }

 private:
  std::array<int, 2> ends_{};
};

class PosixQueue {
 public:
  PosixQueue() {
    mq_attr attributes{};
    attributes.mq_maxmsg = 10;  // The kernel's default limit, /proc/sys/fs/mqueue/msg_max.
    attributes.mq_msgsize = sizeof(Message);
    const std::string name = fmt::format("/quire-bench-{}", ::getpid());
    queue_ = ::mq_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600, &attributes);
    QUIRE_CHECK(queue_ != mqd_t{-1});
    ::mq_unlink(name.c_str());
  }
  ~PosixQueue() { ::mq_close(queue_); }
  PosixQueue(const PosixQueue&) = delete;
  PosixQueue& operator=(const PosixQueue&) = delete;

  struct Side {
    mqd_t queue;
    void send(const Message& message) const {
      QUIRE_CHECK_EQ(::mq_send(queue, reinterpret_cast<const char*>(&message), sizeof message, 0),
                     0);
    }
    void receive(Message& message) const {
      QUIRE_CHECK_EQ(
          ::mq_receive(queue, reinterpret_cast<char*>(&message), sizeof message, nullptr),
          ssize_t{sizeof message});
    }
  };
  Side writer() { return {queue_}; }
  Side reader() { return {queue_}; }

 private:
  mqd_t queue_ = -1;
};

class BoostQueue {
  using Queue = boost::interprocess::message_queue;

 public:
  BoostQueue() : name_(fmt::format("quire-bench-{}", ::getpid())) {
    Queue::remove(name_.c_str());
    queue_ = std::make_unique<Queue>(boost::interprocess::create_only, name_.c_str(), kRingMessages,
                                     sizeof(Message));
  }
  ~BoostQueue() { Queue::remove(name_.c_str()); }
  BoostQueue(const BoostQueue&) = delete;
  BoostQueue& operator=(const BoostQueue&) = delete;

  struct Side {
    Queue* queue;
    void send(const Message& message) const { queue->send(&message, sizeof message, 0); }
    void receive(Message& message) const {
      Queue::size_type size = 0;
      unsigned priority = 0;
      queue->receive(&message, sizeof message, size, priority);
    }
  };
  Side writer() { return {queue_.get()}; }
  Side reader() { return {queue_.get()}; }

 private:
  std::string name_;
  std::unique_ptr<Queue> queue_;
};

// --- One run of one way --------------------------------------------------------------------------

// Messages per second from `writers` processes to this one. One writer has a processor to itself;
// many share them all with the reader.
template <typename Way>
double rate_of(unsigned writers, std::uint64_t messages) {
  const std::uint64_t each = messages / writers;
  Way way;
  const testing::Signal is_ready;
  const testing::Signal may_begin;
  std::vector<std::unique_ptr<testing::Child>> children;
  for (unsigned index = 0; index < writers; ++index) {
    children.push_back(std::make_unique<testing::Child>([&] {
      writers == 1 ? run_on(1, 1) : run_on(0, 1024);
      auto writer = way.writer();
      is_ready.raise();
      may_begin.wait();
      Message message;
      for (std::uint64_t number = 0; number < each; ++number) {
        message.number = number;
        writer.send(message);
      }
      return 0;
    }));
  }
  writers == 1 ? run_on(0, 1) : run_on(0, 1024);
  auto reader = way.reader();
  for (unsigned index = 0; index < writers; ++index) {
    is_ready.wait();
  }
  std::uint64_t sum = 0;
  const double seconds = seconds_of([&] {
    for (unsigned index = 0; index < writers; ++index) {
      may_begin.raise();
    }
    Message message;
    for (std::uint64_t count = 0; count < each * writers; ++count) {
      reader.receive(message);
      sum += message.number;
    }
  });
  QUIRE_CHECK_EQ(sum, writers * (each * (each - 1) / 2));
  for (const auto& child : children) {
    QUIRE_CHECK_EQ(child->join().exit_code, 0);
  }
  return static_cast<double>(each * writers) / seconds;
}

template <typename Way>
Racer racer_of(const char* name, unsigned writers, std::uint64_t messages) {
  return {.name = name, .rate = [=] { return rate_of<Way>(writers, messages); }};
}

// Round by round, the best of these racers.
Samples best_of(const std::vector<Racer>& racers, std::size_t first) {
  Samples best;
  for (std::size_t round = 0; round < racers[first].rates.values().size(); ++round) {
    double rate = 0;
    for (std::size_t index = first; index < racers.size(); ++index) {
      rate = std::max(rate, racers[index].rates.values()[round]);
    }
    best.add(rate);
  }
  return best;
}

using SpinningRing = OurRing<ipc::SpscRing<Message>, ipc::WaitPolicy::kSpin>;
using SleepyRing = OurRing<ipc::SpscRing<Message>, ipc::WaitPolicy::kSpinThenSleep>;
using CrowdedRing = OurRing<ipc::MpscRing<Message>, ipc::WaitPolicy::kSpinThenSleep>;

void add_others(std::vector<Racer>& racers, unsigned writers, std::uint64_t messages) {
  racers.push_back(racer_of<Descriptors<KernelWay::kPipe>>("pipe", writers, messages));
  racers.push_back(racer_of<Descriptors<KernelWay::kSocket>>("UNIX socket", writers, messages));
  racers.push_back(racer_of<PosixQueue>("POSIX message queue", writers, messages));
  racers.push_back(racer_of<BoostQueue>("boost message_queue", writers, messages));
}

nlohmann::json measure_one_writer(const IpcBenchOptions& options) {
  // Ours and boost's take a few nanoseconds each, the others some microseconds.
  const std::uint64_t many = options.times(4'000'000);
  std::vector<Racer> racers;
  racers.push_back(racer_of<SpinningRing>("quire, spinning", 1, many));
  racers.push_back(racer_of<BoostSpsc>("boost spsc_queue", 1, many));
  racers.push_back(racer_of<SleepyRing>("quire, may sleep", 1, many));
  add_others(racers, 1, options.times(100'000));
  run_races(racers, options.rounds, [] {});
  const Samples best = best_of(racers, 3);
  return {
      {"per_second", rates_of(racers)},
      {"figures",
       {figure_of("quire / boost spsc_queue", ratio(racers[0].rates, racers[1].rates), 1.0),
        figure_of("quire / best of the others", ratio(racers[0].rates, best), 20.0),
        figure_of("quire, may sleep / best of the others", ratio(racers[2].rates, best), 20.0)}}};
}

nlohmann::json measure_many_writers(const IpcBenchOptions& options) {
  std::vector<Racer> racers;
  racers.push_back(racer_of<CrowdedRing>("quire", kManyWriters, options.times(1'000'000)));
  add_others(racers, kManyWriters, options.times(100'000));
  run_races(racers, options.rounds, [] {});
  return {
      {"per_second", rates_of(racers)},
      {"figures",
       {figure_of("quire / best of the others", ratio(racers[0].rates, best_of(racers, 1)), 2.0)}}};
}

// --- Large messages ------------------------------------------------------------------------------

constexpr std::size_t kLargeBytes = std::size_t{1} << 20;
constexpr std::size_t kLargeRingBytes = std::size_t{8} << 20;

ipc::Layout large_layout() {
  ipc::Layout layout;
  layout.add(ipc::SpscBytes::object("ring", {.capacity_bytes = kLargeRingBytes}));
  return layout;
}

// The writer copies each message to its place in the ring, once; the reader looks at both ends of
// it there.
double large_rate(std::uint64_t messages) {
  const ipc::Segment segment = ipc::Segment::make_anonymous(large_layout()).value();
  const testing::Signal is_ready;
  const testing::Signal may_begin;
  testing::Child writing([&] {
    run_on(1, 1);
    const auto mine =
        ipc::Segment::adopt(sys::Descriptor(::dup(segment.descriptor())), large_layout()).value();
    auto writer = ipc::SpscBytes::writer(mine, "ring").value();
    const std::vector<std::byte> source(kLargeBytes, std::byte{7});
    is_ready.raise();
    may_begin.wait();
    for (std::uint64_t number = 0; number < messages; ++number) {
      const auto room = writer.reserve(kLargeBytes, {}).value();
      std::memcpy(room.data(), source.data(), kLargeBytes);
      writer.commit(kLargeBytes);
    }
    return 0;
  });
  run_on(0, 1);
  auto reader = ipc::SpscBytes::reader(segment, "ring").value();
  const auto receive = [&](std::uint64_t count) {
    for (std::uint64_t number = 0; number < count; ++number) {
      const auto record = reader.peek(ipc::WaitOptions{}).value();
      QUIRE_CHECK(record.front() == std::byte{7} && record.back() == std::byte{7});
      reader.release();
    }
  };
  is_ready.wait();
  may_begin.raise();
  // The first time round the ring meets pages that were never touched.
  const std::uint64_t warm = std::min<std::uint64_t>(messages / 2, 16);
  receive(warm);
  const double seconds = seconds_of([&] { receive(messages - warm); });
  QUIRE_CHECK_EQ(writing.join().exit_code, 0);
  return static_cast<double>((messages - warm) * kLargeBytes) / seconds;
}

// The same copies by one process: from 1 MiB to places that go round 8 MiB of shared memory.
double memcpy_rate(std::uint64_t messages) {
  run_on(1, 1);
  const testing::SharedMemory memory(kLargeRingBytes);
  const std::vector<std::byte> source(kLargeBytes, std::byte{7});
  const auto copy = [&](std::uint64_t count) {
    for (std::uint64_t number = 0; number < count; ++number) {
      std::byte* place = memory.data() + number * kLargeBytes % kLargeRingBytes;
      std::memcpy(place, source.data(), kLargeBytes);
      keep(place[0]);
    }
  };
  copy(16);
  const double seconds = seconds_of([&] { copy(messages); });
  return static_cast<double>(messages * kLargeBytes) / seconds;
}

nlohmann::json measure_large(const IpcBenchOptions& options) {
  const std::uint64_t messages = options.times(4'000);
  std::vector<Racer> racers;
  racers.push_back({.name = "quire, in place", .rate = [=] { return large_rate(messages); }});
  racers.push_back({.name = "memcpy", .rate = [=] { return memcpy_rate(messages); }});
  run_races(racers, options.rounds, [] {});
  return {{"bytes_per_second", rates_of(racers)},
          {"figures", {figure_of("quire / memcpy", ratio(racers[0].rates, racers[1].rates), 0.9)}}};
}

void print_rates(const char* title, const nlohmann::json& part, const char* key, double unit) {
  fmt::print("{}\n", title);
  for (const auto& [name, rate] : part[key].items()) {
    fmt::print("  {:<22}{:>10.2f} (spread {:.1f} %)\n", name, rate["median"].get<double>() / unit,
               100 * rate["spread"].get<double>());
  }
  for (const nlohmann::json& figure : part["figures"]) {
    print_figure("throughput", figure);
  }
}

}  // namespace

nlohmann::json measure_rings(const IpcBenchOptions& options) {
  return {{"one_writer", measure_one_writer(options)},
          {"many_writers", measure_many_writers(options)},
          {"large", measure_large(options)}};
}

void print_rings(const nlohmann::json& found) {
  print_rates("64 bytes, one writer, million messages per second", found["one_writer"],
              "per_second", 1e6);
  print_rates("64 bytes, 16 writers, million messages per second", found["many_writers"],
              "per_second", 1e6);
  print_rates("1 MiB, one writer, GiB per second", found["large"], "bytes_per_second", kGibibyte);
}

}  // namespace quire::bench
