// SPDX-License-Identifier: Apache-2.0
//
// io_requests: requests of an IoQueue that own their memory, and the queues of both engines.
//
// Thread-safety: the test's thread.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>

#include "quire/io/io_queue.h"
#include "quire/testing/ring.h"
#include "quire/testing/temp_dir.h"

namespace quire::testing {

// What the stores of the queues' tests begin with; made once.
inline constexpr std::size_t kStoreBytes = 400'000;
inline const std::string& content() {
  static const std::string text = pattern(kStoreBytes);
  return text;
}

// A request with memory of its own, that counts how often it was called back.
struct Asked {
  IoRequest request;
  std::string text;
  int calls = 0;

  Asked(Store& store, IoOperation operation, std::uint64_t offset_bytes, std::string memory)
      : text(std::move(memory)) {
    request = {.store = &store,
               .operation = operation,
               .offset_bytes = offset_bytes,
               .memory = writable(text),
               .on_done = [](IoRequest& done) { ++static_cast<Asked*>(done.context)->calls; },
               .context = this};
  }
  Asked(const Asked&) = delete;
  Asked& operator=(const Asked&) = delete;
};

inline Asked& ask_read(std::deque<Asked>& all, Store& store, std::uint64_t offset,
                       std::size_t length) {
  return all.emplace_back(store, IoOperation::kRead, offset, std::string(length, '?'));
}

// A queue of each engine, or a skip.
class IoQueueFixture : public RingFixture, public ::testing::WithParamInterface<IoEngine> {
 protected:
  void SetUp() override {
    if (GetParam() == IoEngine::kRing) {
      RingFixture::SetUp();
    }
  }
  [[nodiscard]] std::unique_ptr<IoQueue> make_queue(std::uint32_t depth = 8) const {
    return IoQueue::make({.depth = depth, .engine = GetParam()}).value();
  }
  [[nodiscard]] bool has_ring() const { return GetParam() == IoEngine::kRing; }
};

inline std::string name_of_engine(const ::testing::TestParamInfo<IoEngine>& engine) {
  return engine.param == IoEngine::kRing ? "Ring" : "Threads";
}

}  // namespace quire::testing
