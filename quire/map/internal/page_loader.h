// SPDX-License-Identifier: Apache-2.0
//
// page_loader: brings pieces of a file into the page cache, for certain or with an Error, and
// nothing else with them: no read-ahead past the piece, which could fill holes or pass the guard.
//
//   whole 2 MiB piece   map, huge-page + random advice, MADV_POPULATE_READ: the kernel reads the
//                       piece as one unit, whatever read_ahead_kb says, and does not go on
//   any other piece     readahead(2) in parts that no kernel cuts short; then the same populate
//   too small, or one   pread into a scratch buffer; when that fails, page by page: an Error with
//   of these failed     the page's offset
//
// Whether the kernel does read a piece as one unit (5.18, huge pages configured, 4 KiB pages) is
// tried with the first page of a piece, once per loader, by asking what arrived with it.
//
// LoaderPool does this on several threads, step by step, in the order of submission.
//
// Thread-safety: PieceLoader from any thread; a LoaderPool is used by the thread that made it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <thread>
#include <vector>

#include "quire/base/mutex.h"
#include "quire/base/result.h"
#include "quire/map/internal/cached_file.h"

namespace quire::internal {

// What one thread loads at a time: the kernel's largest folio on x86-64 and most arm64 machines,
// and the window that the huge-page advice makes it read at once.
inline constexpr std::uint64_t kPieceBytes = std::uint64_t{2} << 20;

enum class LoadedBy : std::uint8_t { kFault, kRead };

class PieceMapping;

class PieceLoader {
 public:
  explicit PieceLoader(const CachedFile& file) : file_(file) {}

  // Blocks: for the device.
  // Errors: the errno of the read, with the offset of the first page that fails; kTruncated when
  //         the file has become shorter.
  [[nodiscard]] Result<LoadedBy> load(ByteRange piece);

 private:
  enum class Units : std::uint8_t { kNotTried, kWhole, kPages };

  sys::Outcome<void> fault_in(ByteRange piece);
  [[nodiscard]] bool reads_whole_units(const PieceMapping& mapping, ByteRange piece);
  void announce(ByteRange piece) const;

  const CachedFile& file_;
  std::atomic<Units> units_{Units::kNotTried};
};

class LoaderPool {
 public:
  // No thread can be made, or 0 are wanted: submit() loads by itself.
  LoaderPool(const CachedFile& file, int threads);
  ~LoaderPool();  // Finishes what was submitted.
  LoaderPool(const LoaderPool&) = delete;
  LoaderPool& operator=(const LoaderPool&) = delete;

  // `weight_bytes` counts in outstanding_bytes() until the step is done.
  // REQUIRES: steps are submitted in ascending order.
  void submit(ByteRange step, std::uint64_t weight_bytes);
  // Blocks until no more than `steps` are unfinished.
  void wait_until_at_most(std::size_t steps);

  // Of unfinished steps.
  [[nodiscard]] std::uint64_t outstanding_bytes();
  // Up to where everything submitted is done; kToEnd when nothing is unfinished.
  [[nodiscard]] std::uint64_t done_up_to();
  // The failure at the lowest offset so far.
  [[nodiscard]] std::optional<Error> failure();
  [[nodiscard]] std::uint64_t pieces_reread();

 private:
  struct Piece {
    ByteRange range;
    std::uint64_t step_offset_bytes = 0;
  };
  struct Step {
    std::uint64_t weight_bytes = 0;
    std::size_t pieces_left = 0;
  };

  void work();
  void load(const Piece& piece);

  PieceLoader loader_;
  Mutex mutex_;
  CondVar has_work_;
  CondVar has_finished_;
  std::deque<Piece> queue_ QUIRE_GUARDED_BY(mutex_);
  std::map<std::uint64_t, Step> unfinished_ QUIRE_GUARDED_BY(mutex_);  // By offset.
  std::uint64_t outstanding_bytes_ QUIRE_GUARDED_BY(mutex_) = 0;
  std::uint64_t pieces_reread_ QUIRE_GUARDED_BY(mutex_) = 0;
  std::uint64_t failed_at_bytes_ QUIRE_GUARDED_BY(mutex_) = kToEnd;
  std::optional<Error> failure_ QUIRE_GUARDED_BY(mutex_);
  bool is_closing_ QUIRE_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace quire::internal
