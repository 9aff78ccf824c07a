// SPDX-License-Identifier: Apache-2.0
//
// RingFixture: a test that needs an io_uring, and is skipped with the reason where there is none;
// OpenRingFixture: one that is open;
// and what rings are tried on.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "quire/sys/descriptor.h"
#include "quire/sys/ring.h"
#include "quire/testing/temp_dir.h"

namespace quire::testing {

class RingFixture : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto ring = sys::Ring::open(); !ring) {
      GTEST_SKIP() << "io_uring: " << sys::explain_ring_refusal(ring.error());
    }
  }
};

inline std::span<std::byte> writable(std::string& text) {
  return std::as_writable_bytes(std::span(text));
}
inline std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

inline sys::Ring open_ring(const sys::RingOptions& options = {}) {
  return sys::Ring::open(options).value();
}

// The same with a ring.
class OpenRingFixture : public RingFixture {
 protected:
  void SetUp() override {
    RingFixture::SetUp();
    if (!IsSkipped()) {
      ring_.emplace(open_ring());
    }
  }
  sys::Ring& ring() { return *ring_; }

 private:
  std::optional<sys::Ring> ring_;
};

// A file with a pattern in it, open for reading and writing.
struct PatternFile {
  explicit PatternFile(std::size_t length_bytes = 16384)
      : path(directory.write("data", pattern(length_bytes))),
        file(sys::open_file(path.c_str(), {.write = true}).value()) {}

  TempDir directory;
  std::string path;
  sys::Descriptor file;
};

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    EXPECT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
    reader = sys::Descriptor(ends[0]);
    writer = sys::Descriptor(ends[1]);
  }
  sys::Descriptor reader;
  sys::Descriptor writer;
};

// Submits what is prepared, waits for all of it, and returns the completions in their order.
inline std::vector<sys::Completion> finish_all(sys::Ring& ring) {
  std::vector<sys::Completion> completions;
  while (ring.in_flight() > 0) {
    if (!ring.submit_and_wait(1) ||
        !ring.drain([&](const sys::Completion& one) { completions.push_back(one); })) {
      ADD_FAILURE() << "the ring fails with " << ring.in_flight() << " entries under way";
      break;
    }
  }
  return completions;
}

// The tag of a test with one entry: all 64 bits come back.
inline constexpr std::uint64_t kTag = 0xfedcba9876543210;
// The result of the one entry that was prepared.
inline std::int32_t finish_one(sys::Ring& ring) {
  const std::vector<sys::Completion> completions = finish_all(ring);
  EXPECT_EQ(completions.size(), 1U);
  EXPECT_EQ(completions.at(0).tag, kTag);
  return completions.at(0).result;
}

// The results by tag. An entry with two last completions is a failure.
inline std::map<std::uint64_t, std::int32_t> finish_by_tag(sys::Ring& ring) {
  std::map<std::uint64_t, std::int32_t> results;
  for (const sys::Completion& completion : finish_all(ring)) {
    if (!completion.more) {
      EXPECT_TRUE(results.emplace(completion.tag, completion.result).second) << completion.tag;
    }
  }
  return results;
}

}  // namespace quire::testing
