// SPDX-License-Identifier: Apache-2.0
//
// image_reader: many images of the log, into memory, each compared with its checksum.
//
//   log     [head][p][p][p][head][p][p]....................................[p]
//           '------ near: one read ---'                                     alone: straight
//   memory  [p][p][p][p][p][p] ...       in the order of the log
//
// A device answers few large requests sooner than many small ones: what lies between two images is
// read along where that is little, and many reads are under way at a time.
//
// Thread-safety: one thread at a time.
// Blocks:        for the reads.
// Cost:          the blocks of `transfers`; what comes through one is copied from there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "quire/base/result.h"
#include "quire/base/units.h"
#include "quire/io/store.h"
#include "quire/journal/internal/image_arena.h"
#include "quire/journal/internal/page_index.h"
#include "quire/journal/internal/transfers.h"
#include "quire/journal/internal/work_meter.h"

namespace quire::internal {

struct WantedImage {
  ImagePlace image;
  std::size_t number = 0;     // The caller's, to know it by.
  std::byte* into = nullptr;  // Where it is, a page: the answer.
};

struct ImageReaderStats {
  std::uint64_t reads = 0;
  std::uint64_t bytes = 0;  // With what was read along.
};

class ImageReader {
 public:
  static constexpr std::size_t kReadsMax = Transfers::kUnderWayMax;
  static constexpr std::uint64_t kReadBytes = Transfers::kBlockBytes;
  // What a device reads in about the time that a request of its own would take.
  static constexpr std::uint64_t kGapBytesMax = 16_KiB;
  static_assert(kReadBytes >= kJournalPageBytesMax);

  ImageReader(Store& log, std::uint64_t log_bytes, std::uint64_t page_bytes, Transfers& transfers,
              WorkMeter& meter);
  ImageReader(const ImageReader&) = delete;
  ImageReader& operator=(const ImageReader&) = delete;

  // Sorts what is wanted by where it is in the log, and puts it into the memory in that order, from
  // the beginning. REQUIRES: there is room for it.
  // Errors: those of the log; kCorrupt, kTruncated; ENOMEM; what the meter says. Memory may be
  //         filled in part then; nothing is under way any more.
  Result<void> read(std::span<WantedImage> wanted, ImageArena& memory);
  [[nodiscard]] const ImageReaderStats& stats() const noexcept { return stats_; }

 private:
  struct Read {
    IoRequest request;
    std::span<const WantedImage> images;  // In the order of the log.
    std::byte* block = nullptr;           // For more than one.
  };

  Result<void> begin_all(std::span<WantedImage> wanted, ImageArena& memory);
  // How many of the images, from the first, one read takes.
  [[nodiscard]] std::size_t count_together(std::span<const WantedImage> images) const;
  [[nodiscard]] std::uint64_t place_of(const WantedImage& image) const noexcept {
    return kCircleOffsetBytes + image.image.position % log_bytes_;
  }
  Result<void> begin(std::span<const WantedImage> images);
  void finish(Read& read);
  Result<void> take(const Read& read);

  Store& log_;
  const std::uint64_t log_bytes_;
  const std::uint64_t page_bytes_;
  Transfers& transfers_;
  WorkMeter& meter_;
  std::vector<Read> reads_;
  std::vector<Read*> free_;
  std::optional<Error> error_;  // The first.
  ImageReaderStats stats_;
};

}  // namespace quire::internal
