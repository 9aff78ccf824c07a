// SPDX-License-Identifier: Apache-2.0
#include "quire/cli/ipc_bench_ways.h"

#include <array>
#include <atomic>
#include <cstring>
#include <optional>
#include <utility>

#include "quire/base/check.h"
#include "quire/ipc/mpsc_ring.h"
#include "quire/ipc/mutex.h"
#include "quire/ipc/segment.h"
#include "quire/ipc/spsc_bytes.h"
#include "quire/ipc/spsc_ring.h"
#include "quire/sys/event.h"
#include "quire/sys/file.h"
#include "quire/sys/futex.h"
#include "quire/sys/posix_ipc.h"
#include "quire/sys/socket.h"
#include "quire/sys/transfer_calls.h"

namespace quire::cli {
namespace {

using ipc::WaitOptions;
using ipc::WaitPolicy;

constexpr std::uint64_t kRingMessages = 4096;  // 256 KiB: stays in the caches.
constexpr std::uint64_t kRingLargeMessages = 8;
constexpr const char* kName = "bench";
// What a user without privileges may have.
constexpr std::size_t kQueueMessages = 10;

Error cannot(const sys::Errno& cause, const char* what) {
  return sys::to_error(cause, "measure", what);
}

// A segment with one object, and this process's own view of it.
class Memory {
 public:
  static Result<Memory> make(const ipc::ObjectSpec& object) {
    Memory memory;
    memory.layout_.add(object);
    memory.made_ = QUIRE_TRY(ipc::Segment::make_anonymous(memory.layout_, "quire-bench"));
    return memory;
  }
  Result<const ipc::Segment*> open() {
    auto descriptor = sys::duplicate(made_->descriptor());
    if (!descriptor) {
      return fail(cannot(descriptor.error(), "segment"));
    }
    opened_ = QUIRE_TRY(ipc::Segment::adopt(std::move(*descriptor), layout_));
    return &*opened_;
  }

 private:
  ipc::Layout layout_;
  std::optional<ipc::Segment> made_;
  std::optional<ipc::Segment> opened_;
};

// --- Ours ----------------------------------------------------------------------------------------

template <template <typename> typename Ring, std::size_t kBytes>
class RingWay final : public IpcWay {
  using Object = std::array<std::byte, kBytes>;

 public:
  RingWay(Memory memory, WaitPolicy policy)
      : memory_(std::move(memory)), options_{.policy = policy} {}
  static MakeWay with(WaitPolicy policy) {
    return [policy]() -> Result<std::unique_ptr<IpcWay>> {
      const auto object = Ring<Object>::object(kName, {.capacity = kRingMessages});
      return std::make_unique<RingWay>(QUIRE_TRY(Memory::make(object)), policy);
    };
  }

  Result<void> open_writer() override {
    writer_.emplace(QUIRE_TRY(Ring<Object>::writer(*QUIRE_TRY(memory_.open()), kName)));
    return {};
  }
  Result<void> open_reader() override {
    reader_.emplace(QUIRE_TRY(Ring<Object>::reader(*QUIRE_TRY(memory_.open()), kName)));
    return {};
  }
  void send(std::span<const std::byte> message) override {
    Object object;
    std::memcpy(object.data(), message.data(), kBytes);
    QUIRE_CHECK(writer_->push(object, options_).has_value());
  }
  void receive(std::span<std::byte> message) override {
    const Object object = reader_->pop(options_).value();
    std::memcpy(message.data(), object.data(), kBytes);
  }

 private:
  Memory memory_;
  WaitOptions options_;
  std::optional<typename Ring<Object>::Writer> writer_;
  std::optional<typename Ring<Object>::Reader> reader_;
};

// One copy in, none out.
class InPlaceWay final : public IpcWay {
 public:
  explicit InPlaceWay(Memory memory) : memory_(std::move(memory)) {}
  static Result<std::unique_ptr<IpcWay>> make() {
    const auto object =
        ipc::SpscBytes::object(kName, {.capacity_bytes = kRingLargeMessages * kBenchLargeBytes});
    return std::make_unique<InPlaceWay>(QUIRE_TRY(Memory::make(object)));
  }

  Result<void> open_writer() override {
    writer_.emplace(QUIRE_TRY(ipc::SpscBytes::writer(*QUIRE_TRY(memory_.open()), kName)));
    return {};
  }
  Result<void> open_reader() override {
    reader_.emplace(QUIRE_TRY(ipc::SpscBytes::reader(*QUIRE_TRY(memory_.open()), kName)));
    return {};
  }
  void send(std::span<const std::byte> message) override {
    const auto room = writer_->reserve(message.size(), WaitOptions{}).value();
    std::memcpy(room.data(), message.data(), message.size());
    writer_->commit(message.size());
  }
  void receive(std::span<std::byte> message) override {
    const auto record = reader_->peek(WaitOptions{}).value();
    message.front() = record.front();
    message.back() = record.back();
    reader_->release();
  }

 private:
  Memory memory_;
  std::optional<ipc::SpscBytes::Writer> writer_;
  std::optional<ipc::SpscBytes::Reader> reader_;
};

class OurLock final : public IpcLoop {
 public:
  explicit OurLock(Memory memory) : memory_(std::move(memory)) {}
  static Result<std::unique_ptr<IpcLoop>> make() {
    return std::make_unique<OurLock>(QUIRE_TRY(Memory::make(ipc::Mutex::object(kName))));
  }
  Result<void> open() override {
    mutex_.emplace(QUIRE_TRY(ipc::Mutex::open(*QUIRE_TRY(memory_.open()), kName)));
    return {};
  }
  void turn() override {
    QUIRE_CHECK(mutex_->lock().has_value());
    QUIRE_CHECK(mutex_->unlock().has_value());
  }

 private:
  Memory memory_;
  std::optional<ipc::Mutex> mutex_;
};

// --- What the machine has ------------------------------------------------------------------------

ipc::ObjectSpec bare_bytes() {
  return {.name = kName, .signature = "bench", .size_bytes = 256};
}

template <typename Word>
Result<Word*> open_bare(Memory& memory) {
  const ipc::ObjectRef object =
      QUIRE_TRY(QUIRE_TRY(memory.open())->find(kName, ipc::ObjectKind::kUser, "bench"));
  return reinterpret_cast<Word*>(object.bytes().data());
}

// A word that counts messages: a store here, a loop of loads or a sleep there.
class BareWay final : public IpcWay {
 public:
  BareWay(Memory memory, bool sleeps) : memory_(std::move(memory)), sleeps_(sleeps) {}
  static MakeWay with(bool sleeps) {
    return [sleeps]() -> Result<std::unique_ptr<IpcWay>> {
      return std::make_unique<BareWay>(QUIRE_TRY(Memory::make(bare_bytes())), sleeps);
    };
  }

  Result<void> open_writer() override { return open(); }
  Result<void> open_reader() override { return open(); }
  void send(std::span<const std::byte> /*message*/) override {
    word_->store(++count_, std::memory_order_release);
    if (sleeps_) {
      sys::shared_futex_wake_one(word_);
    }
  }
  void receive(std::span<std::byte> /*message*/) override {
    ++count_;
    std::uint32_t seen = 0;
    while ((seen = word_->load(std::memory_order_acquire)) != count_) {
      if (sleeps_) {
        sys::shared_futex_wait(word_, seen);
      } else {
        sys::pause_processor();
      }
    }
  }

 private:
  Result<void> open() {
    word_ = QUIRE_TRY(open_bare<std::atomic<std::uint32_t>>(memory_));
    return {};
  }

  Memory memory_;
  bool sleeps_;
  std::atomic<std::uint32_t>* word_ = nullptr;
  std::uint32_t count_ = 0;
};

class DescriptorWay final : public IpcWay {
 public:
  DescriptorWay(sys::Descriptor in, sys::Descriptor out)
      : in_(std::move(in)), out_(std::move(out)) {}
  void send(std::span<const std::byte> message) override {
    QUIRE_CHECK(sys::write_all(out_.get(), message).has_value());
  }
  void receive(std::span<std::byte> message) override {
    while (!message.empty()) {
      const std::size_t count = sys::read_some(in_.get(), message).value();
      QUIRE_CHECK_GE(count, std::size_t{1});
      message = message.subspan(count);
    }
  }

 private:
  sys::Descriptor in_;
  sys::Descriptor out_;
};

Result<std::unique_ptr<IpcWay>> make_pipe() {
  constexpr std::size_t kPipeBytes = std::size_t{64} << 10;  // What pipes have by default.
  auto pipe = sys::create_pipe(kPipeBytes, false);
  if (!pipe) {
    return fail(cannot(pipe.error(), "pipe"));
  }
  return std::make_unique<DescriptorWay>(std::move(pipe->read_end), std::move(pipe->write_end));
}

Result<std::unique_ptr<IpcWay>> make_socket() {
  auto ends = sys::connected_pair();
  if (!ends) {
    return fail(cannot(ends.error(), "UNIX socket"));
  }
  return std::make_unique<DescriptorWay>(std::move(ends->first), std::move(ends->second));
}

Result<std::unique_ptr<IpcWay>> make_event() {
  auto event = sys::create_event();
  if (!event) {
    return fail(cannot(event.error(), "eventfd"));
  }
  auto same = sys::duplicate(event->get());
  if (!same) {
    return fail(cannot(same.error(), "eventfd"));
  }
  return std::make_unique<DescriptorWay>(std::move(*event), std::move(*same));
}

class QueueWay final : public IpcWay {
 public:
  explicit QueueWay(sys::Descriptor queue) : queue_(std::move(queue)) {}
  static Result<std::unique_ptr<IpcWay>> make() {
    auto queue = sys::create_message_queue(kQueueMessages, kBenchMessageBytes);
    if (!queue) {
      return fail(cannot(queue.error(), "POSIX message queue"));
    }
    return std::make_unique<QueueWay>(std::move(*queue));
  }
  void send(std::span<const std::byte> message) override {
    QUIRE_CHECK(sys::send_message(queue_.get(), message).has_value());
  }
  void receive(std::span<std::byte> message) override {
    QUIRE_CHECK(sys::receive_message(queue_.get(), message).has_value());
  }

 private:
  sys::Descriptor queue_;
};

class PosixLock final : public IpcLoop {
 public:
  explicit PosixLock(Memory memory) : memory_(std::move(memory)) {}
  static Result<std::unique_ptr<IpcLoop>> make() {
    return std::make_unique<PosixLock>(QUIRE_TRY(Memory::make(bare_bytes())));
  }
  Result<void> open() override {
    mutex_ = QUIRE_TRY(open_bare<sys::RobustMutex>(memory_));
    const auto opened = mutex_->open();
    return opened ? Result<void>() : fail(cannot(opened.error(), "pthread_mutex_init"));
  }
  void turn() override {
    QUIRE_CHECK(mutex_->lock());
    mutex_->unlock();
  }

 private:
  Memory memory_;
  sys::RobustMutex* mutex_ = nullptr;
};

// Round a target as large as the ring is.
class Copy final : public IpcLoop {
 public:
  void turn() override {
    std::memcpy(target_.data() + turn_++ % kRingLargeMessages * kBenchLargeBytes, source_.data(),
                kBenchLargeBytes);
  }

 private:
  std::vector<std::byte> source_ = std::vector<std::byte>(kBenchLargeBytes, std::byte{1});
  std::vector<std::byte> target_ =
      std::vector<std::byte>(kRingLargeMessages * kBenchLargeBytes, std::byte{1});
  std::uint64_t turn_ = 0;
};

}  // namespace

std::vector<NamedWay> one_way_of_small() {
  using Small = RingWay<ipc::SpscRing, kBenchMessageBytes>;
  return {{"SpscRing", Small::with(WaitPolicy::kSpinThenSleep)},
          {"SpscRing, spinning", Small::with(WaitPolicy::kSpin)},
          {"pipe", make_pipe},
          {"UNIX socket", make_socket},
          {"POSIX message queue", QueueWay::make}};
}

std::vector<NamedWay> one_way_of_large() {
  return {{"SpscBytes, in place", InPlaceWay::make}};
}

std::vector<NamedWay> one_way_of_many() {
  using Small = RingWay<ipc::MpscRing, kBenchMessageBytes>;
  return {{"MpscRing", Small::with(WaitPolicy::kSpinThenSleep)},
          {"pipe", make_pipe},
          {"UNIX socket", make_socket},
          {"POSIX message queue", QueueWay::make}};
}

std::vector<NamedWay> trips_spinning() {
  using Trip = RingWay<ipc::SpscRing, kBenchTripBytes>;
  return {{"SpscRing, spinning", Trip::with(WaitPolicy::kSpin)},
          {"bare atomic", BareWay::with(false)}};
}

std::vector<NamedWay> trips_sleeping() {
  using Trip = RingWay<ipc::SpscRing, kBenchTripBytes>;
  return {{"SpscRing, sleeping", Trip::with(WaitPolicy::kSleep)},
          {"bare futex", BareWay::with(true)},
          {"eventfd", make_event},
          {"pipe", make_pipe}};
}

std::vector<NamedLoop> uncontended_locks() {
  return {{"Mutex", OurLock::make}, {"robust pthread mutex", PosixLock::make}};
}

NamedLoop plain_copy() {
  return {"memcpy", []() -> Result<std::unique_ptr<IpcLoop>> { return std::make_unique<Copy>(); }};
}

}  // namespace quire::cli
