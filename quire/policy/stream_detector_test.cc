// SPDX-License-Identifier: Apache-2.0
#include "quire/policy/stream_detector.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <vector>

#include "quire/base/prng.h"
#include "quire/policy/trace_source.h"
#include "quire/testing/seed.h"

namespace quire {
namespace {

constexpr std::uint64_t kFile = 1 << 20;
constexpr std::uint64_t kWindowMax = 512;  // 2 MiB of 4 KiB.

// A file's granules as a pager has them: absent, present, or held back behind a tripwire. Reads
// them, does what the plans say, and checks each plan.
class Reader {
 public:
  explicit Reader(std::uint64_t granule_count = kFile, const StreamOptions& options = {})
      : detector_(options), granules_(granule_count, State::kAbsent) {}

  // True when the reader had to wait for the device.
  bool read(std::uint64_t granule, StreamAdvice advice = StreamAdvice::kNone) {
    State& state = granules_[granule];
    if (state == State::kPresent) {
      return false;
    }
    const bool is_absent = state == State::kAbsent;
    plan_ = is_absent ? detector_.on_fault(granule, granules_.size(), advice)
                      : detector_.on_tripwire(granule, granules_.size(), advice);
    detector_.check_invariants();
    check_plan(granule, is_absent);
    carry_out();
    ++(is_absent ? faults_ : tripwires_);
    wide_plans_ += plan_.demand.count > 1 || plan_.ahead_count > 0 ? 1U : 0U;
    return is_absent;
  }
  void evict_all() { std::fill(granules_.begin(), granules_.end(), State::kAbsent); }
  void evict(std::uint64_t granule) { granules_[granule] = State::kAbsent; }

  [[nodiscard]] const FillPlan& plan() const { return plan_; }
  [[nodiscard]] const StreamDetector& detector() const { return detector_; }
  [[nodiscard]] std::uint64_t faults() const { return faults_; }
  [[nodiscard]] std::uint64_t tripwires() const { return tripwires_; }
  [[nodiscard]] std::uint64_t wide_plans() const { return wide_plans_; }
  [[nodiscard]] std::uint64_t granules_read() const { return granules_read_; }

 private:
  enum class State : std::uint8_t { kAbsent, kPresent, kHeld };

  void check_plan(std::uint64_t granule, bool is_absent) const {
    ASSERT_LE(plan_.demand.first, granule);
    ASSERT_LT(granule, plan_.demand.end());
    ASSERT_LE(plan_.demand.end(), granules_.size());
    ASSERT_TRUE(plan_.is_stream || (plan_.demand.count == 1 && plan_.ahead_count == 0));
    ASSERT_TRUE(is_absent || plan_.demand.count == 1);
    for (const AheadWindow& window : plan_.windows()) {
      ASSERT_GT(window.span.count, 0U);
      ASSERT_LE(window.span.count, kWindowMax);
      ASSERT_LE(window.span.end(), granules_.size());
      if (window.tripwire != kNoGranule) {
        const bool is_forward = plan_.direction == StreamDirection::kForward;
        ASSERT_EQ(window.tripwire, is_forward ? window.span.first : window.span.end() - 1);
      }
    }
  }
  void carry_out() {
    bring_in(plan_.demand, kNoGranule);
    for (const AheadWindow& window : plan_.windows()) {
      bring_in(window.span, window.tripwire);
    }
    for (std::uint64_t granule = plan_.demand.first; granule < plan_.demand.end(); ++granule) {
      granules_[granule] = State::kPresent;
    }
  }
  void bring_in(GranuleSpan span, std::uint64_t tripwire) {
    for (std::uint64_t granule = span.first; granule < span.end(); ++granule) {
      if (granules_[granule] == State::kAbsent) {
        ++granules_read_;
        granules_[granule] = granule == tripwire ? State::kHeld : State::kPresent;
      }
    }
  }

  StreamDetector detector_;
  std::vector<State> granules_;
  FillPlan plan_;
  std::uint64_t faults_ = 0;
  std::uint64_t tripwires_ = 0;
  std::uint64_t wide_plans_ = 0;
  std::uint64_t granules_read_ = 0;
};

std::vector<std::uint64_t> sequence(std::uint64_t first, std::int64_t stride, std::size_t count) {
  std::vector<std::uint64_t> granules;
  for (std::size_t i = 0; i < count; ++i) {
    granules.push_back(first + static_cast<std::uint64_t>(static_cast<std::int64_t>(i) * stride));
  }
  return granules;
}

// --- Streams -------------------------------------------------------------------------------------

TEST(StreamDetectorTest, TheThirdGranuleInARowStartsASmallWindowAndOneAhead) {
  Reader reader;
  reader.read(1000);
  reader.read(1001);
  EXPECT_EQ(reader.wide_plans(), 0U);
  reader.read(1002);
  EXPECT_TRUE(reader.plan().is_stream);
  EXPECT_EQ(reader.plan().demand, (GranuleSpan{.first = 1002, .count = 4}));
  ASSERT_EQ(reader.plan().ahead_count, 1U);
  EXPECT_EQ(reader.plan().ahead[0].span, (GranuleSpan{.first = 1006, .count = 4}));
  EXPECT_EQ(reader.plan().ahead[0].tripwire, 1006U);
}

// Goal:   forward and backward readers wait for the first four granules only, however long they
//         read, and windows grow to the largest.
TEST(StreamDetectorTest, AReaderInEitherDirectionWaitsAtTheBeginningOnly) {
  for (const std::int64_t direction : {1, -1}) {
    Reader reader;
    std::size_t waits = 0;
    for (const std::uint64_t granule : sequence(500'000, direction, 100'000)) {
      waits += reader.read(granule) ? 1U : 0U;
      ASSERT_FALSE(::testing::Test::HasFailure()) << granule;
    }
    EXPECT_EQ(waits, 3U) << direction;
    EXPECT_NEAR(static_cast<double>(reader.tripwires()), 100'000.0 / kWindowMax, 30) << direction;
    EXPECT_EQ(reader.plan().direction,
              direction > 0 ? StreamDirection::kForward : StreamDirection::kBackward);
    EXPECT_EQ(reader.plan().ahead[0].span.count, kWindowMax);
    EXPECT_LE(reader.granules_read(), 100'000 + 6 * kWindowMax) << "reads little it need not";
  }
}

// Goal:   no more than windows_ahead windows lie ahead of the one that the reader is in.
TEST(StreamDetectorTest, KeepsItsDistanceAhead) {
  for (const std::uint32_t windows : {0U, 1U, 4U, 8U}) {
    Reader reader(kFile, {.windows_ahead = windows});
    std::uint64_t end = 0;
    for (const std::uint64_t granule : sequence(0, 1, 50'000)) {
      const std::uint64_t before = reader.faults() + reader.tripwires();
      reader.read(granule);
      if (reader.faults() + reader.tripwires() > before && reader.plan().is_stream) {
        end = std::max(end, reader.plan().demand.end());
        for (const AheadWindow& window : reader.plan().windows()) {
          end = std::max(end, window.span.end());
        }
        ASSERT_LE(end, granule + (windows + 1) * kWindowMax);
      }
    }
    EXPECT_GE(end, 50'000U);
  }
}

TEST(StreamDetectorTest, StopsAtTheEndsOfTheFile) {
  for (const std::uint64_t size : {1U, 2U, 3U, 4U, 7U, 100U, 5000U}) {
    for (const std::int64_t direction : {1, -1}) {
      Reader reader(size);
      for (const std::uint64_t granule : sequence(direction > 0 ? 0 : size - 1, direction, size)) {
        reader.read(granule);
      }
      EXPECT_EQ(reader.granules_read(), size) << size << " granules, direction " << direction;
    }
  }
}

TEST(StreamDetectorTest, StridesAreReadAheadFromTheFifthOn) {
  for (const std::int64_t stride : {2, 7, 1000, -3, -1000}) {
    Reader reader;
    std::size_t waits = 0;
    for (const std::uint64_t granule : sequence(520'000, stride, 500)) {
      waits += reader.read(granule) ? 1U : 0U;
    }
    EXPECT_EQ(waits, 5U) << stride;
    EXPECT_LE(reader.tripwires(), 500U / 32 + 6) << "a batch has one tripwire";
    EXPECT_LE(reader.granules_read(), 500U + 96) << stride;
  }
}

TEST(StreamDetectorTest, StridesTooLongToBeKnownStayRandom) {
  Reader reader;
  for (const std::uint64_t granule : sequence(0, StreamDetector::kStrideMax + 1, 500)) {
    EXPECT_TRUE(reader.read(granule));
  }
  EXPECT_EQ(reader.wide_plans(), 0U);
}

// Goal:   sixteen streams, forward, backward and strided, in random turns and among as many random
//         accesses, are told apart: each waits as often as it would alone.
TEST(StreamDetectorTest, InterleavedStreamsAreToldApart) {
  Prng random(testing::test_seed());
  Reader reader;
  constexpr std::array<std::int64_t, 8> kStrides{1, -1, 1, 5, -1, 1, -9, 1};
  struct Stream {
    std::vector<std::uint64_t> granules;
    std::size_t at = 0;
    std::size_t waits = 0;
  };
  std::vector<Stream> streams;
  for (std::size_t i = 0; i < StreamDetector::kStreamsMax; ++i) {
    streams.push_back({sequence(30'000 + i * 60'000, kStrides[i % kStrides.size()], 2000)});
  }
  for (std::size_t left = streams.size() * 2000; left > 0;) {
    Stream& stream = streams[random.below(streams.size())];
    if (stream.at < stream.granules.size()) {
      stream.waits += reader.read(stream.granules[stream.at++]) ? 1U : 0U;
      --left;
    }
    if (random.below(2) == 0) {
      reader.read(random.below(kFile));
    }
  }
  for (std::size_t i = 0; i < streams.size(); ++i) {
    // A random read of a granule that comes later looks like evicted read-ahead, once or twice.
    EXPECT_LE(streams[i].waits,
              kStrides[i % kStrides.size()] * kStrides[i % kStrides.size()] == 1 ? 12U : 30U)
        << "stream " << i;
  }
}

// Goal:   two readers of the same data, one behind the other: the second waits for nothing.
TEST(StreamDetectorTest, AFollowerLivesOffTheFirstReader) {
  Reader reader;
  std::size_t waits = 0;
  for (std::uint64_t granule = 0; granule < 20'000; ++granule) {
    reader.read(granule);
    if (granule >= 100) {
      waits += reader.read(granule - 100) ? 1U : 0U;
    }
  }
  EXPECT_EQ(waits, 0U);
}

// --- No streams ----------------------------------------------------------------------------------

TEST(StreamDetectorTest, UniformAccessesAreNoStreams) {
  Prng random(testing::test_seed());
  for (const std::uint64_t size : {std::uint64_t{20'000}, kFile}) {
    Reader reader(size);
    for (int i = 0; i < 200'000; ++i) {
      const std::uint64_t granule = random.below(size);
      reader.evict(granule);
      reader.read(granule);
    }
    EXPECT_LT(reader.wide_plans(), reader.faults() / 100) << size;
    EXPECT_LT(static_cast<double>(reader.granules_read()),
              1.02 * static_cast<double>(reader.faults()))
        << size;
  }
}

// Goal:   Zipf accesses, whose hot granules lie side by side, are no streams.
// Method: granules that fit in memory make no faults; a FIFO cache of a tenth decides which.
TEST(StreamDetectorTest, ZipfAccessesAreNoStreams) {
  Prng random(testing::test_seed());
  const ZipfDraw zipf(kFile, 0.99);
  Reader reader;
  std::deque<std::uint64_t> memory;
  for (int i = 0; i < 600'000; ++i) {
    const std::uint64_t granule = zipf(random) - 1;
    if (reader.read(granule)) {
      memory.push_back(granule);
      if (memory.size() > kFile / 10) {
        reader.evict(memory.front());
        memory.pop_front();
      }
    }
  }
  EXPECT_LT(reader.wide_plans(), reader.faults() / 100);
}

TEST(StreamDetectorTest, RecordsOfTwoGranulesAtRandomPlacesAreReadAsTheyAre) {
  Prng random(testing::test_seed());
  Reader reader;
  for (int i = 0; i < 50'000; ++i) {
    const std::uint64_t granule = random.below(kFile / 2) * 2;
    reader.read(granule);
    reader.read(granule + 1);
  }
  EXPECT_LT(reader.wide_plans(), reader.faults() / 100);
}

// --- Advice, pressure ----------------------------------------------------------------------------

TEST(StreamDetectorTest, AdvisedRandomNothingIsReadAhead) {
  Reader reader;
  for (const std::uint64_t granule : sequence(0, 1, 1000)) {
    EXPECT_TRUE(reader.read(granule, StreamAdvice::kRandom));
  }
  EXPECT_EQ(reader.granules_read(), 1000U);
}

TEST(StreamDetectorTest, AdvisedSequentialTheFirstFaultReadsTheLargestWindows) {
  Reader reader;
  reader.read(1000, StreamAdvice::kSequential);
  EXPECT_EQ(reader.plan().demand, (GranuleSpan{.first = 1000, .count = kWindowMax}));
  EXPECT_EQ(reader.plan().ahead_count, 4U);
  for (const std::uint64_t granule : sequence(1001, 1, 50'000)) {
    EXPECT_FALSE(reader.read(granule, StreamAdvice::kSequential));
  }
}

// Goal:   read-ahead that is evicted before it is used shrinks, and ends.
TEST(StreamDetectorTest, WindowsShrinkWhenTheyAreEvictedUnused) {
  Reader reader;
  for (const std::uint64_t granule : sequence(0, 1, 10'000)) {
    reader.read(granule);
  }
  std::uint64_t before = reader.granules_read();
  for (const std::uint64_t granule : sequence(10'000, 1, 12)) {
    reader.evict_all();
    reader.read(granule);
  }
  EXPECT_LT(reader.granules_read() - before, 4 * kWindowMax);
  before = reader.granules_read();
  reader.evict_all();
  reader.read(10'012);
  EXPECT_LE(reader.granules_read() - before, 12U);
}

TEST(StreamDetectorTest, LargeGranulesHaveWindowsOfOne) {
  Reader reader(1000, {.granule_bytes = 2 << 20});
  for (const std::uint64_t granule : sequence(0, 1, 1000)) {
    reader.read(granule);
    EXPECT_EQ(reader.plan().demand.count, 1U);
  }
  EXPECT_EQ(reader.faults(), 3U);
}

// Goal:   whatever is asked, plans lie in the file, also when the file shrinks and grows.
TEST(StreamDetectorTest, AnySequenceOfQuestionsGetsValidPlans) {
  Prng random(testing::test_seed());
  StreamDetector detector(StreamOptions{});
  std::uint64_t granule = 0;
  for (int i = 0; i < 300'000; ++i) {
    const std::uint64_t size = 1 + random.below(random.below(8) == 0 ? 50 : 100'000);
    granule =
        random.below(3) == 0 ? random.below(size) : std::min(granule + random.below(4), size - 1);
    const auto advice = static_cast<StreamAdvice>(random.below(20) == 0 ? random.below(3) : 0);
    const bool is_fault = random.below(3) > 0;
    const FillPlan plan = is_fault ? detector.on_fault(granule, size, advice)
                                   : detector.on_tripwire(granule, size, advice);
    ASSERT_LE(plan.demand.first, granule);
    ASSERT_LT(granule, plan.demand.end());
    ASSERT_LE(plan.demand.end(), size);
    for (const AheadWindow& window : plan.windows()) {
      ASSERT_GT(window.span.count, 0U);
      ASSERT_LE(window.span.end(), size);
    }
    detector.check_invariants();
  }
}

}  // namespace
}  // namespace quire
