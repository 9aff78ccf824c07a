// SPDX-License-Identifier: Apache-2.0
//
// loops: the loop of each pattern, once, around whatever a path does for one operation.
//
//   scan    offset, offset + block, ...        read(offset, length) -> the bytes
//   visit   the drawn pages                    read(offset, length) -> the bytes
//   fill    a new file from its start          write(offset, block) -> done?
//   append  records at the end                 append(record)       -> done?
//   update  the drawn pages                    update(offset)       -> done?
//
// run_loop() is the one of the work's pattern, for a path whose operations are the same in all.
//
// An operation that fails says so by giving less (an empty span, false) and keeps its error with
// whoever passed it in; the loop then ends at once. So the way of success has no error to carry.
//
// Reading the clock costs as much as a short memory access: short operations are timed, and the
// end of the round looked for, only now and then: Workload::latency_mask, kClockEvery.
//
// Thread-safety: one thread.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "quire/base/check.h"
#include "quire/compare/workload.h"

namespace quire::compare::internal {

// Small blocks between two looks at the clock.
inline constexpr std::uint64_t kClockEvery = 16;
// From this size on an operation is long enough to look at the clock, and at its bytes, every time.
inline constexpr std::uint64_t kLongBlockBytes = std::uint64_t{64} << 10;

[[nodiscard]] inline std::int64_t now_ns() noexcept {
  return std::chrono::steady_clock::now().time_since_epoch().count();
}

class RoundClock {
 public:
  explicit RoundClock(double seconds) noexcept
      : end_ns_(now_ns() + static_cast<std::int64_t>(seconds * 1e9)) {}
  [[nodiscard]] bool is_over(std::int64_t now) const noexcept { return now >= end_ns_; }
  [[nodiscard]] bool is_over() const noexcept { return is_over(now_ns()); }

 private:
  std::int64_t end_ns_;
};

// Notes when `bytes`, the page at that offset first, is not what it must be.
inline void check_sample(const Workload& work, Tally& tally, std::uint64_t offset_bytes,
                         std::span<const std::byte> bytes) noexcept {
  if (work.has_stamps && stamp_of(bytes.data()) != offset_bytes / kPatternPageBytes &&
      !tally.wrong_at_bytes) [[unlikely]] {
    tally.wrong_at_bytes = offset_bytes;
  }
}

template <typename Read>
void scan(const Workload& work, Tally& tally, Read&& read) {
  const bool is_long = work.block_bytes >= kLongBlockBytes;
  const std::uint64_t clock_mask = is_long ? 0 : kClockEvery - 1;
  const std::uint64_t sample_mask = is_long ? 0 : kSampleEvery - 1;
  const RoundClock clock(work.seconds_max);
  std::uint64_t offset = work.start_bytes;
  while (tally.bytes < work.bytes_max) {
    const std::uint64_t length =
        std::min({work.block_bytes, work.working_set_bytes - offset, work.bytes_max - tally.bytes});
    const std::span<const std::byte> bytes = read(offset, static_cast<std::size_t>(length));
    if (bytes.size() < length) [[unlikely]] {
      return;
    }
    tally.sum += sum_of(bytes);
    if ((tally.operations & sample_mask) == 0) {
      check_sample(work, tally, offset, bytes);
    }
    tally.bytes += length;
    ++tally.operations;
    offset = offset + length == work.working_set_bytes ? 0 : offset + length;
    if ((tally.operations & clock_mask) == 0 && clock.is_over()) {
      return;
    }
  }
}

// One timed operation out of latency_mask + 1; what is timed is operate(). False ends the loop.
template <typename Operate>
void repeat_timed(const Workload& work, Tally& tally, Operate&& operate) {
  const RoundClock clock(work.seconds_max);
  while (tally.bytes < work.bytes_max) {
    if ((tally.operations & work.latency_mask) != 0) {
      if (!operate()) [[unlikely]] {
        return;
      }
      continue;
    }
    const std::int64_t begin = now_ns();
    if (!operate()) [[unlikely]] {
      return;
    }
    const std::int64_t end = now_ns();
    tally.latency.add(static_cast<std::uint64_t>(end - begin));
    if (clock.is_over(end)) {
      return;
    }
  }
}

[[nodiscard]] inline std::uint64_t drawn_offset(const Workload& work, std::uint64_t operation) {
  return work.pages[(work.first_draw + operation) & (kPagesDrawn - 1)] * kPatternPageBytes;
}

template <typename Read>
void visit(const Workload& work, Tally& tally, Read&& read) {
  QUIRE_CHECK_EQ(work.pages.size(), kPagesDrawn);
  repeat_timed(work, tally, [&] {
    const std::uint64_t offset = drawn_offset(work, tally.operations);
    const std::span<const std::byte> bytes = read(offset, kPatternPageBytes);
    if (bytes.size() < kPatternPageBytes) [[unlikely]] {
      return false;
    }
    tally.sum += sum_of(bytes);
    if ((tally.operations & (kSampleEvery - 1)) == 0) {
      check_sample(work, tally, offset, bytes);
    }
    tally.bytes += kPatternPageBytes;
    ++tally.operations;
    return true;
  });
}

// Gives the block the numbers of the pages that it will be. Its other bytes may be anything.
inline void stamp_block(std::span<std::byte> block, std::uint64_t offset_bytes) noexcept {
  for (std::uint64_t at = 0; at < block.size(); at += kPatternPageBytes) {
    stamp_page(block.data() + at, (offset_bytes + at) / kPatternPageBytes);
  }
}

template <typename Write>
void fill(const Workload& work, Tally& tally, std::span<std::byte> block, Write&& write) {
  QUIRE_CHECK_EQ(block.size(), work.block_bytes);
  const bool is_long = work.block_bytes >= kLongBlockBytes;
  const std::uint64_t clock_mask = is_long ? 0 : kClockEvery - 1;
  const RoundClock clock(work.seconds_max);
  while (tally.bytes < work.bytes_max) {
    const std::uint64_t length = std::min(work.block_bytes, work.bytes_max - tally.bytes);
    const std::span<std::byte> part = block.first(static_cast<std::size_t>(length));
    stamp_block(part, tally.bytes);
    if (!write(tally.bytes, part)) [[unlikely]] {
      return;
    }
    tally.bytes += length;
    ++tally.operations;
    if ((tally.operations & clock_mask) == 0 && clock.is_over()) {
      return;
    }
  }
}

template <typename Append>
void append(const Workload& work, Tally& tally, std::span<std::byte> record, Append&& append_one) {
  QUIRE_CHECK_EQ(record.size(), work.block_bytes);
  const bool is_stamped = record.size() >= kStampBytes;
  repeat_timed(work, tally, [&] {
    if (is_stamped) {
      stamp_page(record.data(), tally.operations);
    }
    if (!append_one(std::span<const std::byte>(record))) [[unlikely]] {
      return false;
    }
    tally.bytes += record.size();
    ++tally.operations;
    return true;
  });
}

// The whole page is read, as the word update has it, and one counter of it changed.
template <typename Update>
void update(const Workload& work, Tally& tally, Update&& update_one) {
  QUIRE_CHECK_EQ(work.pages.size(), kPagesDrawn);
  repeat_timed(work, tally, [&] {
    if (!update_one(drawn_offset(work, tally.operations))) [[unlikely]] {
      return false;
    }
    tally.bytes += kPatternPageBytes;
    ++tally.operations;
    return true;
  });
}

inline void sum_and_count_update(Tally& tally, std::byte* page) noexcept {
  tally.sum += sum_of({page, kPatternPageBytes});
  count_update(page);
}

// `block` is the memory that is read into and written from, of Workload::block_bytes.
template <typename Read, typename Write, typename Update>
void run_loop(const Workload& work, Tally& tally, std::span<std::byte> block, const Read& read,
              const Write& write, const Update& update_one) {
  switch (work.pattern) {
    case Pattern::kSequentialRead: scan(work, tally, read); break;
    case Pattern::kRandomRead:
    case Pattern::kSkewedRead: visit(work, tally, read); break;
    case Pattern::kSequentialWrite: fill(work, tally, block, write); break;
    case Pattern::kAppend:
      append(work, tally, block,
             [&](std::span<const std::byte> record) { return write(tally.bytes, record); });
      break;
    case Pattern::kRandomUpdate: update(work, tally, update_one); break;
  }
}

// The same where read(offset, into) fills the block and an update is a read and a write of it.
template <typename Read, typename Write>
void run_block_loop(const Workload& work, Tally& tally, std::span<std::byte> block,
                    const Read& read_into, const Write& write) {
  const auto read = [&](std::uint64_t offset, std::size_t length) {
    return read_into(offset, block.first(length));
  };
  run_loop(work, tally, block, read, write, [&](std::uint64_t offset) {
    if (read(offset, block.size()).empty()) {
      return false;
    }
    sum_and_count_update(tally, block.data());
    return write(offset, block);
  });
}

}  // namespace quire::compare::internal
