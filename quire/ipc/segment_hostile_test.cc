// SPDX-License-Identifier: Apache-2.0
//
// Segments whose bytes are not what they should be: the fuzzer's entry over a seeded corpus, and a
// process that writes nonsense while others use the segment.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <vector>

#include "quire/base/prng.h"
#include "quire/ipc/inventory.h"
#include "quire/ipc/segment.h"
#include "quire/testing/process.h"
#include "quire/testing/seed.h"
#include "quire/testing/temp_dir.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size_bytes);

namespace quire::ipc {
namespace {

constexpr std::size_t kInputs = 2000;

// Where something stands: facts of the header, slots, directory.
std::uint32_t some_place(Prng& random) {
  switch (random.below(4)) {
    case 0: return static_cast<std::uint32_t>(random.below(128));
    case 1: return static_cast<std::uint32_t>(4096 + random.below(4) * 64 + random.below(24));
    case 2: return static_cast<std::uint32_t>(4096 + 4 * 64 + random.below(512));
    default: return static_cast<std::uint32_t>(random.below(12'000));
  }
}

TEST(SegmentFuzzTest, AnyPatchesOfASegmentAreRefusedOrHarmless) {
  Prng random(testing::test_seed());
  for (std::size_t i = 0; i < kInputs; ++i) {
    std::vector<std::uint8_t> input;
    for (std::uint64_t patches = random.below(8); patches > 0; --patches) {
      const std::uint32_t place = some_place(random);
      for (const std::uint32_t byte : {place, place >> 8, place >> 16}) {
        input.push_back(static_cast<std::uint8_t>(byte));
      }
      // Small numbers and their neighbours find more than any.
      input.push_back(random.below(2) == 0 ? static_cast<std::uint8_t>(random.below(9))
                                           : static_cast<std::uint8_t>(random()));
    }
    ASSERT_EQ(LLVMFuzzerTestOneInput(input.data(), input.size()), 0);
  }
}

// Goal:   whatever somebody writes over the whole segment, at whatever moment, others get errors or
//         a segment, and neither crash nor hang.
// Method: a process that writes random bytes and random words until it is killed.
TEST(SegmentHostileTest, NonsenseWrittenWhileOthersOpenAndLookHurtsNobody) {
  const testing::TempDir dir;
  const Layout layout = Layout()
                            .add({.name = "word", .signature = "word v1", .size_bytes = 8})
                            .set_participants_max(4);
  const SegmentOptions options{.directory = dir.path(), .timeout = std::chrono::milliseconds(5)};
  const Segment attached = Segment::open("a", layout, options).value();
  const std::uint64_t seed = testing::test_seed();
  const testing::Child writer([&] {
    Prng random(seed);
    const auto size = static_cast<std::size_t>(attached.size_bytes());
    auto* const bytes = static_cast<std::uint8_t*>(
        ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, attached.descriptor(), 0));
    const std::vector<std::uint8_t> before(bytes, bytes + size);
    for (;;) {
      bytes[random.below(size)] = static_cast<std::uint8_t>(random());
      bytes[random.below(256)] = static_cast<std::uint8_t>(random.below(4));
      if (random.below(16) == 0) {  // So that others come further than to the magic.
        std::copy(before.begin(), before.end(), bytes);
      }
    }
    return 0;
  });
  std::size_t opened = 0;
  std::size_t refused = 0;
  for (int i = 0; i < 3000; ++i) {
    const auto segment = Segment::open("a", layout, options);
    segment ? ++opened : ++refused;
    const auto info = inspect_segment("a", dir.path());
    ASSERT_TRUE(info.has_value());
    EXPECT_LE(info->participants.size(), std::size_t{kParticipantsMax});
    EXPECT_LE(attached.participants().list().size(), 4U);
    static_cast<void>(attached.participants().is_alive(MemberId(1, 1)));
  }
  EXPECT_GT(opened, 0U);
  EXPECT_GT(refused, 0U);
}

}  // namespace
}  // namespace quire::ipc
