// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "quire/base/prng.h"
#include "quire/testing/seed.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size_bytes);

namespace quire {
namespace {

// Goal:   the fuzzer's property holds over a seeded corpus, with every compiler.
// Method: random programs of many lengths, and cut and spliced ones.
TEST(StoreFuzzTest, TheCorpusHolds) {
  Prng random(testing::test_seed());
  std::vector<std::uint8_t> program;
  for (int round = 0; round < 15; ++round) {
    if (random.below(2) == 0) {
      program.resize(random.below(program.size() + 1));
    }
    for (std::uint64_t i = random.below(200); i > 0; --i) {
      // Small numbers are the forms of requests, and zeros round ones.
      const std::uint64_t value = random.below(3) == 0 ? random.below(4) : random();
      program.push_back(static_cast<std::uint8_t>(value));
    }
    LLVMFuzzerTestOneInput(program.data(), program.size());
    if (program.size() > 400) {
      program.clear();
    }
  }
}

}  // namespace
}  // namespace quire
