// SPDX-License-Identifier: Apache-2.0
//
// LogWriter: large records on their way into the log: in slices, several at a time, while the
// checksums of the next ones are computed.
//
//   images --checksum--> slice --> [ under way: up to kSlices writes ] --> the log
//      '---copy, where they may change---^
//
//   record   [ header | images ....................... ]
//   slices   [ last   ][ first ][ second ][ third ]....       the header has all the checksums
//
// A device is busy throughout, as with one write of everything, and the time of checksums and
// copies hides behind it. Writes that are under way together reach the disk in any order, as writes
// without a flush in between always may: recovery takes nothing of a chain without its commit, and
// that not without all before it.
//
// Thread-safety: one thread at a time; another one only after end().
// Blocks:        while kSlices are under way. A store that the kernel cannot write to by itself is
//                written to at once.
// Cost:          up to kSlices * kSliceBytes of memory, kept, of which images that are written from
//                where they lie need none.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "quire/base/result.h"
#include "quire/io/io_queue.h"
#include "quire/io/records.h"
#include "quire/io/store.h"
#include "quire/journal/internal/journal_format.h"
#include "quire/journal/journal.h"

namespace quire::internal {

class LogWriter {
 public:
  // Large enough that a device needs no larger ones, small enough to stay in a processor's cache
  // between the copy, the checksum and the write.
  static constexpr std::uint64_t kSliceBytes = 512 * 1024;
  static constexpr std::size_t kSlices = 8;
  static_assert(kSliceBytes >= kRecordHeaderBytesMax && kSliceBytes >= kJournalPageBytesMax);

  LogWriter(Store& log, std::uint64_t page_bytes) : log_(log), page_bytes_(page_bytes) {}

  // Begins to write a record: one page for each image of the header, whose checksums are filled in.
  // Errors: of the store, also those of writes that were begun before.
  Result<void> begin(RecordHeader& header, std::span<const std::byte* const> pages,
                     ImageMemory memory);
  // Waits for all that was begun, whatever happened. Errors: the first.
  Result<void> end();

 private:
  struct Slice {
    LogWriter* owner = nullptr;
    std::optional<RecordBuffer> own;
    IoRequest request;
    bool is_under_way = false;
  };

  Result<void> make_queue();
  [[nodiscard]] Result<Slice*> take_slice();
  Result<void> submit(Slice& slice, std::uint64_t offset_bytes, std::span<const std::byte> bytes);
  // The pages side by side, with their checksums: where they are, or copied.
  [[nodiscard]] std::span<const std::byte> gather(Slice& slice,
                                                  std::span<const std::byte* const> pages,
                                                  std::span<LogImage> images, ImageMemory memory);
  static void on_done(IoRequest& request);

  Store& log_;
  const std::uint64_t page_bytes_;
  std::array<Slice, kSlices> slices_;
  std::optional<Error> error_;
  std::unique_ptr<IoQueue> queue_;  // Made for the first record. Last: it ends before the slices.
};

}  // namespace quire::internal
