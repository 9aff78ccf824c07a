// SPDX-License-Identifier: Apache-2.0
//
// recorded_trace: a trace in memory, its pages numbered without gaps, for the simulator.
//
//   trace      area 0: pages 7, 8, 1000000      area 3: page 2
//   simulator          0, 1, 2                          3        ascending, so that neighbours stay
//
// A trace of a sparse terabyte costs what was touched of it, and the simulator's arrays stay flat.
//
// Source:        none; the numbering is a hash table with linear probing and a sort.
// Invariants:    page_span() is the number of different pages; numbers ascend as (area, page) do.
// Thread-safety: one thread at a time.
// Errors:        of the reader; kLimit for more than kSimulatedPagesMax pages; kOutOfRange for a
//                granule that is no multiple of the trace's pages.
// Cost:          4 bytes an access; 8 bytes a page, and up to 16 more while it is read. page_at()
//                and end_of_area() are binary searches.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "quire/policy/trace.h"
#include "quire/policy/trace_source.h"

namespace quire {

class RecordedTrace final : public AccessSource {
 public:
  [[nodiscard]] std::size_t next(std::span<PageAccess> into) override;
  void rewind() override { position_ = 0; }
  [[nodiscard]] std::uint64_t access_count() const noexcept override { return access_count_; }
  [[nodiscard]] std::uint32_t page_span() const noexcept override {
    return static_cast<std::uint32_t>(keys_.size());
  }
  // A position is the area, then the page in it.
  [[nodiscard]] std::uint64_t position_of(std::uint32_t page) const noexcept override {
    return keys_[page];
  }
  [[nodiscard]] std::optional<std::uint32_t> page_at(
      std::uint64_t position) const noexcept override;
  // Areas are taken to end behind the last page that was accessed.
  [[nodiscard]] std::uint64_t end_of_area(std::uint32_t page) const noexcept override;

 private:
  friend class TraceLoader;

  // Blocks of one size instead of one vector, which would double, and copy, as it grows.
  std::vector<std::vector<PageAccess>> blocks_;
  std::vector<std::uint64_t> keys_;  // Area and page, by number: ascending.
  std::uint64_t access_count_ = 0;
  std::uint64_t position_ = 0;
};

// Reads a trace step by step, so that the caller can show how far it is and stop.
class TraceLoader {
 public:
  // `reader` outlives it. `granule_bytes` is the page of the simulation; 0: the trace's own.
  [[nodiscard]] static Result<TraceLoader> make(TraceReader& reader, std::uint32_t granule_bytes);

  // Reads some more. False: that was all of it.
  [[nodiscard]] Result<bool> step();
  // REQUIRES: step() has returned false. The loader is empty afterwards.
  [[nodiscard]] RecordedTrace finish();

 private:
  TraceLoader(TraceReader& reader, int granule_shift);

  [[nodiscard]] std::uint32_t number_of(std::uint64_t key);
  void grow();
  void append(PageAccess access);

  TraceReader* reader_;
  int granule_shift_;  // From the trace's pages to granules.
  std::vector<TraceRecord> records_;
  std::vector<std::uint32_t> slots_;  // Of the hash table: a number plus one, or 0.
  RecordedTrace trace_;               // Numbered in the order of first use until finish().
};

}  // namespace quire
