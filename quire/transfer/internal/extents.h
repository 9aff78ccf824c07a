// SPDX-License-Identifier: Apache-2.0
//
// Extents: where a sparse source has bytes and where it has none, and holes for the target.
//
//   source   |data|......hole......|data|..hole..|
//   target   |data|  left out      |data|  left out, the size set at the end
//                 '- punched where the target had bytes; zeros where it cannot be punched
//
// Who skips a hole of the source over bytes of the target has made a file of two.
//
// Invariants:    the source's file position is put back by the destructor.
// Thread-safety: one thread.
#pragma once

#include <cstdint>
#include <optional>

#include "quire/transfer/internal/job.h"

namespace quire::internal {

class Extents {
 public:
  explicit Extents(Job& job);
  ~Extents();
  Extents(const Extents&) = delete;
  Extents& operator=(const Extents&) = delete;

  // How far from job.source_offset() on it is all data, or all hole: at most to `end_bytes`.
  struct Extent {
    std::uint64_t end_bytes = 0;
    bool is_hole = false;
  };
  // Nothing when the source ends before `end_bytes`: it was truncated.
  [[nodiscard]] std::optional<Extent> next(std::uint64_t end_bytes);

  // Makes the target read as zeros for as long; at least one byte of it.
  Step leave_out(std::uint64_t length_bytes);
  // Gives the target the size that it would have, had its last hole been written.
  Step settle_size();

 private:
  [[nodiscard]] std::optional<Extent> look(std::uint64_t end_bytes);
  Step write_zeros(std::uint64_t length_bytes);

  Job& job_;
  bool is_sparse_ = false;
  bool has_left_out_ = false;
  std::optional<std::uint64_t> source_position_;
  Extent current_;
};

}  // namespace quire::internal
