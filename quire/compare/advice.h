// SPDX-License-Identifier: Apache-2.0
//
// advice: the lines of code that take a path, with quire and with plain system calls.
//
// The lines are statements for inside a function that knows a file data.bin and
//
//   std::span<std::byte> buffer; std::span<const std::byte> record; std::uint64_t offset;
//   std::vector<quire::IoRequest> requests; std::vector<quire::ReadRange> ranges;
//   void* buffer; size_t size, record_length; off_t offset;         for the plain ones
//
// A test compiles every one of them. The plain ones look at no return value: short transfers, EINTR
// and errors are the reader's.
//
// Thread-safety: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "quire/base/units.h"
#include "quire/compare/report.h"

namespace quire::compare {

struct Advice {
  std::vector<std::string> with_quire;
  std::vector<std::string> with_system_calls;
};

struct AdviceRequest {
  Path path{};
  Pattern pattern{};
  DurabilityChoice durability{};
  std::uint32_t depth = 1;
  std::uint64_t memory_bytes = 256_MiB;  // The budget of a paged path.
};

// Nothing for kMemory, which is no path to a file. No system calls for a paged path: there they are
// a library.
[[nodiscard]] Advice advice_for(const AdviceRequest& request);

}  // namespace quire::compare
