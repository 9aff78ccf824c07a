// SPDX-License-Identifier: Apache-2.0
//
// BatchReader: many small reads as one: a copy for what is in memory, deep asynchronous I/O for
// what is not. Pointer if resident, batch if not.
//
//   BatchReader reader = QUIRE_TRY(BatchReader::make("vectors.bin"));
//   std::vector<ReadRange> ranges = ...;              // 4096 times 4 KiB, any order
//   BatchReport report = QUIRE_TRY(reader.read_batch(ranges));
//   // "3071 resident, 1025 read in 997 requests"
//
//   ranges, sorted --+-- chunk of 2 MiB with several of them: mincore --resident--> copied from the
//                    |                                            '--absent--+      mapping,
//                    guarded
//                    '-- alone in its chunk: read if in memory (NOWAIT) --no-'
//                        (but for kKeep, mincore is asked there, too)        v
//                                    gaps up to coalesce_gap_bytes closed --> IoQueue
//
// Every fixed choice loses somewhere: a mapping is faster than any system call on what is in
// memory, and several times slower than a deep queue on what is not. Which one it is, is asked of
// the kernel without touching the data. The device works while resident ranges are copied.
//
// Ranges:        any order, alignment and overlap. A range past the end gets done_bytes of what
//                there is; also when the file shrinks while it is read.
// Completeness:  read_batch() gives all of every range, or the first error; nothing is under way
//                after it.
// Residency:     a page that is dropped between the question and the copy is read by a page fault:
//                slower, and right.
// Thread-safety: one thread at a time; read_batch_async() works in a thread of the reader's own.
// Blocks:        until the last range is there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "quire/base/path_argument.h"
#include "quire/base/result.h"
#include "quire/base/ticket.h"
#include "quire/io/file_options.h"

namespace quire {

struct ReadRange {
  std::uint64_t offset_bytes = 0;
  std::span<std::byte> into;
  std::uint64_t done_bytes = 0;  // Answer: fewer than asked for is the end of the file.
};

struct BatchOptions {
  std::uint32_t depth = 64;
  // What is not in memory is read through the page cache (kKeep), which has it the next time, or
  // past it (kBypass).
  CacheUse cache = CacheUse::kKeep;
  std::uint64_t coalesce_gap_bytes = 4096;    // Neighbours this close become one request.
  std::uint64_t request_bytes_max = 256_KiB;  // No request grows beyond this by coalescing.

  static constexpr std::uint64_t kRequestBytesMax = 16_MiB;  // Times depth: the staging memory.
};

struct BatchReport {
  std::uint64_t ranges = 0;
  std::uint64_t resident_ranges = 0;  // Copied; no device, no request.
  std::uint64_t requests = 0;         // To the kernel, for the others.
  std::uint64_t bytes = 0;            // Of the ranges.
  std::uint64_t requested_bytes = 0;  // Of the requests: gaps included.
};

class BatchReader {
 public:
  // Errors: those of open_file(); kUnsupported for what cannot be mapped.
  static Result<std::unique_ptr<BatchReader>> make(PathArgument path,
                                                   const BatchOptions& options = {});
  ~BatchReader();
  BatchReader(const BatchReader&) = delete;
  BatchReader& operator=(const BatchReader&) = delete;

  // Errors: EIO of a request, and what else reads fail with.
  Result<BatchReport> read_batch(std::span<ReadRange> ranges);
  // The same in the reader's thread; the ranges, their memory and `report`, which may be null, stay
  // until the ticket is done. Batches are done one after the other. Errors, in the ticket, also
  // those of the thread and its queue.
  [[nodiscard]] Ticket read_batch_async(std::span<ReadRange> ranges, BatchReport* report = nullptr);

  [[nodiscard]] std::string explain() const;

 private:
  class State;
  explicit BatchReader(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace quire
