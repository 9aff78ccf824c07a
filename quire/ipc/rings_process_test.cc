// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>

#include <cstring>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "quire/base/prng.h"
#include "quire/ipc/doorbell.h"
#include "quire/ipc/mpsc_bytes.h"
#include "quire/ipc/mpsc_ring.h"
#include "quire/ipc/segment.h"
#include "quire/ipc/spsc_bytes.h"
#include "quire/ipc/spsc_ring.h"
#include "quire/testing/ipc_memory.h"
#include "quire/testing/process.h"
#include "quire/testing/seed.h"
#include "quire/testing/temp_dir.h"

namespace quire::ipc {
namespace {

using testing::Child;
using testing::Signal;
using testing::test_seed;

// Knows whether it is whole.
struct Message {
  std::uint64_t writer = 0;
  std::uint64_t number = 0;
  std::uint64_t filler[5] = {};
  std::uint64_t sum = 0;

  static Message make(std::uint64_t writer, std::uint64_t number) {
    Message message{.writer = writer, .number = number};
    for (std::uint64_t& word : message.filler) {
      word = message.sum * 31 + writer + number;
      message.sum += word;
    }
    return message;
  }
  [[nodiscard]] bool is_whole() const { return make(writer, number).sum == sum; }
};
static_assert(sizeof(Message) == 64);

// --- One face for the four rings ----------------------------------------------------------------

template <typename Ring>
inline constexpr bool kOfBytes = std::is_same_v<Ring, SpscBytes> || std::is_same_v<Ring, MpscBytes>;
template <typename Ring>
inline constexpr bool kManyWriters =
    std::is_same_v<Ring, MpscRing<Message>> || std::is_same_v<Ring, MpscBytes>;

constexpr const char* kName = "ring";

template <typename Ring>
Layout layout_of() {
  Layout layout;
  if constexpr (kOfBytes<Ring>) {
    layout.add(Ring::object(kName, {.capacity_bytes = 4096}));
  } else {
    layout.add(Ring::object(kName, {.capacity = 16, .type = "Message"}));
  }
  return layout;
}

template <typename Writer>
Result<void> push(Writer& writer, const Message& message, const WaitOptions& options = {}) {
  if constexpr (requires { writer.record_bytes_max(); }) {
    return writer.push(std::as_bytes(std::span(&message, 1)), options);
  } else {
    return writer.push(message, options);
  }
}

// Calls `use` with the next message before it is released.
template <typename Reader, typename Use>
Result<void> pop(Reader& reader, const WaitOptions& options, Use use) {
  Message message;
  QUIRE_TRY(reader.wait(options));
  if constexpr (requires { reader.peek(options); }) {
    std::memcpy(&message, QUIRE_TRY(reader.peek(options)).data(), sizeof(message));
  } else if constexpr (requires { reader.peek()->number; }) {
    message = *reader.peek();
  } else {
    message = reader.peek()[0];
  }
  use(message);
  reader.release();
  return {};
}

// Each process opens the segment itself, by name, in a directory of the test.
template <typename Ring>
class RingProcessTest : public ::testing::Test {
 protected:
  [[nodiscard]] Segment open() const {
    return Segment::open("rings", layout_of<Ring>(), {.directory = directory_.path()}).value();
  }
  // Shared with children: one counter for each writer or reader.
  [[nodiscard]] std::atomic<std::uint64_t>& counter(std::size_t index) const {
    return memory_.as<std::atomic<std::uint64_t>>(index * 64);
  }
  // A child that writes messages from `first` on until it is killed, or `count` of them.
  [[nodiscard]] std::unique_ptr<Child> start_writer(std::uint64_t id, std::uint64_t first,
                                                    std::uint64_t count) const {
    return std::make_unique<Child>([=, this] {
      const Segment segment = open();
      auto writer = Ring::writer(segment, kName).value();
      for (std::uint64_t number = first; number < first + count; ++number) {
        push(writer, Message::make(id, number)).value();
        counter(id) = number;
      }
      return 0;
    });
  }

  testing::TempDir directory_;
  testing::SharedMemory memory_{4096};
};
using Rings = ::testing::Types<SpscRing<Message>, MpscRing<Message>, SpscBytes, MpscBytes>;
TYPED_TEST_SUITE(RingProcessTest, Rings);

constexpr std::uint64_t kEndless = std::uint64_t{1} << 40;

TYPED_TEST(RingProcessTest, ProcessesThatKnowOnlyTheNamePassMessagesInOrder) {
  constexpr std::uint64_t kMessages = 20'000;
  const std::uint64_t writers = kManyWriters<TypeParam> ? 3 : 1;
  std::vector<std::unique_ptr<Child>> children;
  for (std::uint64_t id = 0; id < writers; ++id) {
    children.push_back(this->start_writer(id, 1, kMessages));
  }
  const Segment segment = this->open();
  auto reader = TypeParam::reader(segment, kName).value();
  std::vector<std::uint64_t> next(writers, 1);
  for (std::uint64_t count = 0; count < writers * kMessages; ++count) {
    pop(reader, {}, [&](const Message& message) {
      ASSERT_TRUE(message.is_whole());
      ASSERT_EQ(message.number, next.at(message.writer)++);
    }).value();
  }
  for (const auto& child : children) {
    EXPECT_EQ(child->join().exit_code, 0);
  }
}

// Goal:   kill -9 of a writer at any moment loses nothing that it knew to be published, leaves
//         nothing half, and its successor is let in at once.
// Method: writers are killed after a random number of messages; the numbers go on from what the
//         last one knew, so that one message per death may come twice, and none may be missing.
TYPED_TEST(RingProcessTest, WritersAreKilledAtRandomAndNothingAcknowledgedIsLost) {
  Prng random(test_seed());
  const Segment segment = this->open();
  auto reader = TypeParam::reader(segment, kName).value();
  std::uint64_t last = 0;
  for (int death = 0; death < 25; ++death) {
    const auto writer = this->start_writer(0, this->counter(0) + 1, kEndless);
    for (std::uint64_t count = random.below(300); count != 0; --count) {
      pop(reader, {}, [&](const Message& message) {
        ASSERT_TRUE(message.is_whole());
        ASSERT_TRUE(message.number == last + 1 || message.number == last) << last;
        last = message.number;
      }).value();
    }
    writer->kill(SIGKILL);
    writer->join();
    const WaitOptions rest{.timeout = std::chrono::nanoseconds(0)};
    const auto check = [&](const Message& message) {
      ASSERT_TRUE(message.is_whole());
      ASSERT_TRUE(message.number == last + 1 || message.number == last) << last;
      last = message.number;
    };
    while (pop(reader, rest, check)) {
    }
    // What the dead one claimed and did not publish may be before us, and nothing is behind it.
    EXPECT_GE(last, this->counter(0));
    EXPECT_LE(last, this->counter(0) + 1);
  }
}

// Goal:   a reader is killed and succeeded: no message is lost, and none that was released is seen
//         again.
TYPED_TEST(RingProcessTest, ReadersAreKilledAtRandomAndSucceededWhereTheyWere) {
  Prng random(test_seed());
  constexpr std::size_t kReleased = 1;
  constexpr std::size_t kWrong = 2;
  const Segment segment = this->open();
  auto writer = TypeParam::writer(segment, kName).value();
  std::uint64_t number = 0;
  for (int death = 0; death < 25; ++death) {
    Child reading([this] {
      const Segment mine = this->open();
      auto reader = TypeParam::reader(mine, kName).value();
      for (;;) {
        std::uint64_t seen = 0;
        pop(reader, {}, [&](const Message& message) {
          const std::uint64_t released = this->counter(kReleased);
          seen = message.number;
          if (!message.is_whole() || (seen != released + 1 && seen != released + 2)) {
            this->counter(kWrong) = seen;
          }
        }).value();
        this->counter(kReleased) = seen;
      }
      return 0;
    });
    for (std::uint64_t count = random.below(300); count != 0; --count) {
      push(writer, Message::make(0, ++number)).value();
    }
    reading.kill(SIGKILL);
    reading.join();
    EXPECT_EQ(this->counter(kWrong), 0U);
  }
  auto reader = TypeParam::reader(segment, kName).value();
  std::uint64_t next = 0;
  const WaitOptions rest{.timeout = std::chrono::nanoseconds(0)};
  while (pop(reader, rest, [&](const Message& message) {
    EXPECT_TRUE(next == 0 || message.number == next);
    next = message.number + 1;
  })) {
  }
  const std::uint64_t released = this->counter(kReleased);
  EXPECT_TRUE(next == number + 1 || (next == 0 && released >= number - 1)) << next;
}

TYPED_TEST(RingProcessTest, AStoppedReaderKeepsItsPlaceAndWritersTimeOut) {
  const Signal is_reading;
  Child reading([&] {
    const Segment mine = this->open();
    auto reader = TypeParam::reader(mine, kName).value();
    is_reading.raise();
    for (;;) {
      pop(reader, {}, [](const Message&) {}).value();
    }
    return 0;
  });
  is_reading.wait();
  reading.kill(SIGSTOP);
  const Segment segment = this->open();
  EXPECT_EQ(TypeParam::reader(segment, kName).error().code(), std::errc::device_or_resource_busy);
  auto writer = TypeParam::writer(segment, kName).value();
  Result<void> pushed;
  for (std::uint64_t number = 1; pushed && number < 1'000'000; ++number) {
    pushed = push(writer, Message::make(0, number), {.timeout = std::chrono::milliseconds(1)});
  }
  ASSERT_FALSE(pushed.has_value()) << "the ring has no end";
  EXPECT_EQ(pushed.error().code(), std::errc::timed_out);
}

// Reads every byte of what is there, and gives it back.
template <typename Reader>
std::uint64_t read_all_of_next(Reader& reader) {
  std::uint64_t sum = 0;
  if constexpr (requires { reader.try_pop(std::declval<Message&>()); }) {
    Message message;
    sum += reader.try_pop(message) ? message.sum : 0;
  } else if (const auto record = reader.peek()) {
    for (const std::byte byte : *record) {
      sum += std::to_integer<std::uint64_t>(byte);
    }
    reader.release();
  }
  return sum;
}

// Goal:   whatever another process writes over a ring while we use it, every operation of ours ends
//         with a result or an error, and touches nothing outside.
// Method: a child stores words of all sizes anywhere in the object, as fast as it can.
TYPED_TEST(RingProcessTest, APeerThatWritesNonsenseMakesErrorsAndNothingWorse) {
  const Segment segment = this->open();
  const Child hostile([this] {
    const Segment mine = this->open();
    const ObjectKind kind = layout_of<TypeParam>().objects()[0].kind;
    const ObjectRef object = mine.find(kName, kind).value();
    const std::span<std::byte> bytes = object.bytes();
    Prng random(test_seed());
    for (;;) {
      const std::uint64_t word = random() >> random.below(64);
      std::memcpy(bytes.data() + random.below(bytes.size() / 8) * 8, &word, sizeof(word));
      if (object.mirrored_bytes() != 0) {
        std::memcpy(object.mirrored() + random.below(object.mirrored_bytes() / 8) * 8, &word,
                    sizeof(word));
      }
    }
    return 0;
  });
  const WaitOptions shortly{.policy = WaitPolicy::kSleep,
                            .timeout = std::chrono::microseconds(100)};
  std::uint64_t errors = 0;
  std::uint64_t sum = 0;
  for (int round = 0; round < 500; ++round) {
    auto writer = TypeParam::writer(segment, kName);
    auto reader = TypeParam::reader(segment, kName);
    for (std::uint64_t number = 0; number < 20; ++number) {
      if (!writer || !push(*writer, Message::make(0, number), shortly)) {
        ++errors;
      }
      if (reader) {
        sum += read_all_of_next(*reader);
      }
      if (!reader || !reader->wait(shortly)) {
        ++errors;
      }
    }
  }
  EXPECT_NE(errors, 0U) << sum;
}

// --- Many writers -------------------------------------------------------------------------------

// A writer that has claimed a place, and waits to be killed.
class DeathOfClaimantTest : public ::testing::Test {
 protected:
  using Ring = MpscRing<Message>;

  DeathOfClaimantTest() {
    has_claimed_.wait();
    writer_.push(Message::make(1, 1)).value();  // Behind the claim.
  }
  [[nodiscard]] Segment open() const {
    return Segment::open("rings", layout_of<Ring>(), {.directory = directory_.path()}).value();
  }

  testing::TempDir directory_;
  Signal has_claimed_;
  Child claimant_{[this] {
    const Segment mine = open();
    const auto writer = Ring::writer(mine, kName).value();
    const auto claim = writer.reserve();
    has_claimed_.raise();
    for (;;) {
      ::pause();
    }
    return claim ? 0 : 1;
  }};
  Segment segment_ = open();
  Ring::Writer writer_ = Ring::writer(segment_, kName).value();
  Ring::Reader reader_ = Ring::reader(segment_, kName).value();
};

TEST_F(DeathOfClaimantTest, ASleepingReaderIsWokenAndPassesOverTheClaim) {
  EXPECT_EQ(segment_.participants().member_in(reader_.awaited().slot()), reader_.awaited());
  EXPECT_EQ(reader_.peek(), nullptr);
  const Child killing([this] {
    claimant_.kill(SIGKILL);
    return 0;
  });
  EXPECT_EQ(reader_.pop({.policy = WaitPolicy::kSleep})->number, 1U);
  EXPECT_EQ(reader_.abandoned(), 1U);
  EXPECT_TRUE(reader_.check_invariants());
}

TEST_F(DeathOfClaimantTest, TheBellOfAnArmedReaderRings) {
  const Doorbell bell = Doorbell::open(segment_.participants()).value();
  ASSERT_TRUE(reader_.arm(bell));
  claimant_.kill(SIGKILL);
  pollfd look{.fd = bell.fd(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&look, 1, 60'000), 1);
  bell.drain();
  EXPECT_FALSE(reader_.arm(bell)) << "there is something to read";
  ASSERT_NE(reader_.peek(), nullptr);
  EXPECT_EQ(reader_.peek()->number, 1U);
}

TEST_F(DeathOfClaimantTest, AReaderThatComesLaterDoesNotWait) {
  claimant_.kill(SIGKILL);
  claimant_.join();
  const WaitOptions look{.timeout = std::chrono::nanoseconds(0)};
  EXPECT_EQ(reader_.pop(look)->number, 1U);
}

}  // namespace
}  // namespace quire::ipc
