// SPDX-License-Identifier: Apache-2.0
//
// A ring whose calls fail, whose completions lie, or whose queue is too short; and many random
// entries against the obvious model.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <set>
#include <string>
#include <vector>

#include "quire/base/prng.h"
#include "quire/sys/call.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"
#include "quire/sys/ring.h"
#include "quire/testing/nth_fault.h"
#include "quire/testing/ring.h"
#include "quire/testing/seed.h"
#include "quire/testing/temp_dir.h"

namespace quire::sys {
namespace {

using testing::finish_all;
using testing::finish_by_tag;
using testing::open_ring;
using testing::pattern;
using testing::PatternFile;
using testing::read_file;
using testing::test_seed;

constexpr std::size_t kBlockBytes = 512;

// --- overflow -----------------------------------------------------------------------------------

class RingOverflowTest : public testing::RingFixture {};

// Goal:   more completions than the queue holds are kept, each once, and in order.
TEST_F(RingOverflowTest, CompletionsBeyondTheQueueAreNeverLost) {
  constexpr std::uint64_t kRounds = 100;
  for (const RingThreads threads : {RingThreads::kOne, RingThreads::kAny}) {
    Ring ring = open_ring({.submission_entries = 2, .completion_entries = 2, .threads = threads});
    std::uint64_t prepared = 0;
    for (std::uint64_t round = 0; round < kRounds; ++round) {
      while (ring.prepare_nothing({.tag = prepared})) {
        ++prepared;
      }
      ASSERT_TRUE(ring.submit().has_value());
    }
    ASSERT_EQ(prepared, 2 * kRounds);
    EXPECT_EQ(ring.in_flight(), prepared);
    EXPECT_LE(ring.ready(), 2U) << "the queue itself holds no more";
    std::uint64_t expected = 0;
    for (const Completion& completion : finish_all(ring)) {
      EXPECT_EQ(completion.tag, expected++);
    }
    EXPECT_EQ(expected, prepared);
  }
}

TEST_F(RingOverflowTest, WaitingForMoreThanTheQueueHoldsEnds) {
  Ring ring = open_ring({.submission_entries = 2, .completion_entries = 2});
  for (std::uint64_t i = 0; i < 10; ++i) {
    if (!ring.prepare_nothing({.tag = i})) {
      ASSERT_TRUE(ring.submit().has_value());
      ASSERT_TRUE(ring.prepare_nothing({.tag = i}));
    }
  }
  EXPECT_EQ(ring.submit_and_wait(10), 2U);
  EXPECT_EQ(finish_by_tag(ring).size(), 10U);
}

// --- faults -------------------------------------------------------------------------------------

class RingFaultTest : public testing::RingFixture {};

// Reads the subject block by block through a small ring, trying again whatever fails or is short,
// until it has all. What the floors above do, in the fewest lines.
class PatientReader {
 public:
  explicit PatientReader(const PatternFile& subject, std::size_t length_bytes)
      : fd_(subject.file.get()), text_(length_bytes, '?') {
    for (std::size_t i = 0; i < length_bytes / kBlockBytes; ++i) {
      waiting_.push_back(i * kBlockBytes);
    }
  }

  // Errors: of the ring, when it does not get better.
  std::string read(Ring& ring) {
    while (!waiting_.empty() || ring.in_flight() > 0) {
      while (!waiting_.empty() && prepare(ring, waiting_.back())) {
        waiting_.pop_back();
      }
      if (!ring.submit_and_wait(1)) {
        ++refusals_;
      }
      if (!ring.drain([&](const Completion& completion) { complete(completion); })) {
        ++refusals_;
      }
    }
    return text_;
  }

  [[nodiscard]] int refusals() const { return refusals_; }
  [[nodiscard]] int failures() const { return failures_; }

 private:
  // From an offset to the end of its block.
  bool prepare(Ring& ring, std::size_t offset) {
    const std::size_t length = kBlockBytes - offset % kBlockBytes;
    return ring.prepare_read(ring_file(fd_),
                             std::as_writable_bytes(std::span(text_)).subspan(offset, length),
                             offset, {.tag = offset});
  }

  void complete(const Completion& completion) {
    const std::size_t left = kBlockBytes - completion.tag % kBlockBytes;
    if (completion.result < 0) {
      ++failures_;
      waiting_.push_back(completion.tag);
    } else if (static_cast<std::size_t>(completion.result) < left) {
      waiting_.push_back(completion.tag + static_cast<std::size_t>(completion.result));
    }
  }

  int fd_;
  std::string text_;
  std::vector<std::size_t> waiting_;
  int refusals_ = 0;
  int failures_ = 0;
};

constexpr std::size_t kSubjectBytes = 40 * kBlockBytes;

// Goal:   whichever submission or wait fails, nothing is lost and nothing is done twice.
// Method: fail the first, second, ... until a run meets no fault; every time all bytes arrive.
TEST_F(RingFaultTest, AFailedCallLosesNothingWhicheverItIs) {
  const PatternFile subject(kSubjectBytes);
  for (const Call call : {Call::kRingSubmit, Call::kRingWait}) {
    for (const int error : {EAGAIN, EBUSY, ENOMEM}) {
      testing::fail_each_nth(name_of(call), [&](testing::NthFault& fault) {
        Ring ring = open_ring({.submission_entries = 4, .completion_entries = 4});
        PatientReader reader(subject, kSubjectBytes);
        const FaultPlan plan({.call = call, .nth = fault.nth, .error = error});
        EXPECT_EQ(reader.read(ring), pattern(kSubjectBytes));
        fault.was_hit = plan.hits() > 0;
        EXPECT_EQ(reader.refusals(), static_cast<int>(plan.hits()));
        EXPECT_EQ(plan.count(Call::kRingCompletion), kSubjectBytes / kBlockBytes);
      });
    }
  }
}

TEST_F(RingFaultTest, InterruptionsEndInTheRing) {
  const PatternFile subject(kSubjectBytes);
  for (const Call call : {Call::kRingSubmit, Call::kRingWait}) {
    Ring ring = open_ring({.submission_entries = 4});
    PatientReader reader(subject, kSubjectBytes);
    const FaultPlan plan({.call = call, .nth = 1, .times = 5, .error = EINTR});
    EXPECT_EQ(reader.read(ring), pattern(kSubjectBytes));
    EXPECT_EQ(reader.refusals(), 0);
  }
}

TEST_F(RingFaultTest, AnInterruptedWaitGoesOn) {
  Ring ring = open_ring({});
  ASSERT_TRUE(ring.prepare_timeout(std::chrono::milliseconds(1), 0, {.tag = 1}));
  ASSERT_TRUE(ring.submit().has_value());
  const FaultPlan plan({.call = Call::kRingWait, .times = 5, .error = EINTR});
  EXPECT_EQ(ring.submit_and_wait(1), 1U);
  EXPECT_EQ(plan.hits(), 5U);
  EXPECT_EQ(finish_all(ring).size(), 1U);
}

TEST_F(RingFaultTest, EveryCompletionCanBeMadeAnError) {
  const PatternFile subject(kSubjectBytes);
  for (std::uint64_t nth = 1; nth <= kSubjectBytes / kBlockBytes; ++nth) {
    Ring ring = open_ring({.submission_entries = 4});
    PatientReader reader(subject, kSubjectBytes);
    const FaultPlan plan({.call = Call::kRingCompletion, .nth = nth, .error = EIO});
    EXPECT_EQ(reader.read(ring), pattern(kSubjectBytes));
    EXPECT_EQ(reader.failures(), 1);
    EXPECT_EQ(plan.count(Call::kRingCompletion), kSubjectBytes / kBlockBytes + 1);
  }
}

TEST_F(RingFaultTest, EveryCompletionCanBeMadeShort) {
  const PatternFile subject(kSubjectBytes);
  for (const std::size_t most : {std::size_t{1}, std::size_t{100}, kBlockBytes - 1}) {
    Ring ring = open_ring({.submission_entries = 4});
    PatientReader reader(subject, kSubjectBytes);
    const FaultPlan plan(
        {.call = Call::kRingCompletion, .times = UINT64_MAX, .transfer_bytes_max = most});
    EXPECT_EQ(reader.read(ring), pattern(kSubjectBytes));
    const std::size_t per_block = (kBlockBytes + most - 1) / most;
    EXPECT_EQ(plan.hits(), per_block * (kSubjectBytes / kBlockBytes));
  }
}

// Goal:   who gives up on a ring knows which of its entries the kernel never saw.
TEST_F(RingFaultTest, WhatIsNotSubmittedCanBeTakenBack) {
  Ring ring = open_ring({.submission_entries = 4});
  ASSERT_TRUE(ring.prepare_nothing({.tag = 1}));
  ASSERT_TRUE(ring.submit().has_value());
  for (std::uint64_t tag = 2; tag <= 5; ++tag) {
    ASSERT_TRUE(ring.prepare_nothing({.tag = tag}));
  }
  {
    const FaultPlan plan({.call = Call::kRingSubmit, .error = EAGAIN});
    EXPECT_EQ(ring.submit().map([](auto) {}).error(), Errno{EAGAIN});
  }
  EXPECT_EQ(ring.unsubmitted(), 4U) << "still there";
  EXPECT_EQ(ring.drop_unsubmitted(), 4U);
  EXPECT_EQ(ring.unsubmitted(), 0U);
  EXPECT_EQ(ring.in_flight(), 1U);
  for (std::uint64_t tag = 6; tag <= 9; ++tag) {
    ASSERT_TRUE(ring.prepare_nothing({.tag = tag})) << "their room is free again";
  }
  std::set<std::uint64_t> tags;
  for (const auto& [tag, result] : finish_by_tag(ring)) {
    tags.insert(tag);
  }
  EXPECT_EQ(tags, (std::set<std::uint64_t>{1, 6, 7, 8, 9}));
}

TEST_F(RingFaultTest, RegistrationsFailAndNothingElseDoes) {
  Ring ring = open_ring({});
  std::array<std::byte, 10> bytes{};
  const std::array buffers{Buffer{bytes.data(), bytes.size()}};
  const FaultPlan plan({.call = Call::kRingRegister, .times = 4, .error = ENOMEM});
  EXPECT_EQ(ring.register_files(4).error(), Errno{ENOMEM});
  EXPECT_EQ(ring.update_file(0, -1).error(), Errno{ENOMEM});
  EXPECT_EQ(ring.register_buffers(buffers).error(), Errno{ENOMEM});
  EXPECT_EQ(ring.unregister_buffers().error(), Errno{ENOMEM});
  EXPECT_TRUE(ring.register_buffers(buffers).has_value());
}

// --- the model ----------------------------------------------------------------------------------

// Rounds of random entries over blocks of which each is touched at most once per round, so that
// their order does not matter; all forms of reading and writing, deep and shallow.
class Model {
 public:
  static constexpr std::size_t kBlocks = 48;

  explicit Model(std::uint64_t seed)
      : prng_(seed),
        subject_(kBlocks * kBlockBytes),
        expected_(pattern(kBlocks * kBlockBytes)),
        memory_(kBlocks * kBlockBytes, '?') {
    const std::array buffers{Buffer{at(0), memory_.size()}};
    EXPECT_TRUE(ring_.register_buffers(buffers).has_value());
    EXPECT_TRUE(ring_.register_files(2).has_value());
    EXPECT_TRUE(ring_.update_file(1, subject_.file.get()).has_value());
  }

  void run_round() {
    std::array<std::size_t, kBlocks> order{};
    for (std::size_t i = 0; i < kBlocks; ++i) {
      order.at(i) = i;
    }
    std::shuffle(order.begin(), order.end(), prng_);
    const std::size_t count = 1 + prng_.below(kBlocks);
    std::vector<bool> is_read(kBlocks);
    for (const std::size_t block : std::span(order).first(count)) {
      is_read[block] = prng_.below(2) == 0;
      prepare(block, is_read[block]);
    }
    const auto results = finish_by_tag(ring_);
    EXPECT_EQ(results.size(), count);
    for (const auto& [block, result] : results) {
      EXPECT_EQ(result, static_cast<int>(kBlockBytes));
      if (is_read[block]) {
        EXPECT_EQ(memory_.substr(block * kBlockBytes, kBlockBytes),
                  expected_.substr(block * kBlockBytes, kBlockBytes));
      }
    }
    entries_ += count;
  }

  [[nodiscard]] std::size_t entries() const { return entries_; }
  [[nodiscard]] const std::string& expected() const { return expected_; }
  [[nodiscard]] std::string found() const { return read_file(subject_.path); }

 private:
  std::byte* at(std::size_t offset) {
    return reinterpret_cast<std::byte*>(memory_.data()) + offset;
  }

  void prepare(std::size_t block, bool is_read) {
    const std::size_t offset = block * kBlockBytes;
    for (std::size_t i = 0; i < kBlockBytes; ++i) {
      memory_[offset + i] = is_read ? '?' : static_cast<char>(prng_());
    }
    if (!is_read) {
      expected_.replace(offset, kBlockBytes, memory_, offset, kBlockBytes);
    }
    const std::uint64_t form = prng_.below(3);
    while (!try_to_prepare(offset, is_read, form)) {
      ASSERT_TRUE(ring_.submit().has_value());
    }
  }

  bool try_to_prepare(std::size_t offset, bool is_read, std::uint64_t form) {
    const RingFile file = offset % 3 == 0 ? registered_file(1) : ring_file(subject_.file.get());
    const EntryOptions entry{.tag = offset / kBlockBytes, .force_async = offset % 5 == 0};
    const std::span<std::byte> memory(at(offset), kBlockBytes);
    if (form == 0) {
      return is_read ? ring_.prepare_read(file, memory, offset, entry)
                     : ring_.prepare_write(file, memory, offset, entry);
    }
    if (form == 1) {
      return is_read ? ring_.prepare_read_fixed(file, memory, offset, 0, entry)
                     : ring_.prepare_write_fixed(file, memory, offset, 0, entry);
    }
    // Arrays of buffers must live until they are submitted: one pair per block.
    auto& into = into_.at(entry.tag);
    auto& from = from_.at(entry.tag);
    into = {Buffer{memory.data(), 100}, Buffer{memory.data() + 100, kBlockBytes - 100}};
    from = {ConstBuffer{memory.data(), 100}, ConstBuffer{memory.data() + 100, kBlockBytes - 100}};
    return is_read ? ring_.prepare_read_vector(file, into, offset, entry)
                   : ring_.prepare_write_vector(file, from, offset, entry);
  }

  Prng prng_;
  PatternFile subject_;
  std::string expected_;
  std::string memory_;
  std::array<std::array<Buffer, 2>, kBlocks> into_;
  std::array<std::array<ConstBuffer, 2>, kBlocks> from_;
  Ring ring_ = open_ring({.submission_entries = 8, .completion_entries = 8});
  std::size_t entries_ = 0;
};

using RingModelTest = RingFaultTest;

TEST_F(RingModelTest, ManyEntriesInAnyOrderReadAndWriteWhatPreadSees) {
  Model model(test_seed());
  while (model.entries() < 2000 && !HasFailure()) {
    model.run_round();
    ASSERT_EQ(model.found(), model.expected());
  }
}

}  // namespace
}  // namespace quire::sys
