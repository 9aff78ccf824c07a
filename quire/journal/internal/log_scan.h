// SPDX-License-Identifier: Apache-2.0
//
// log_scan: the records that are in a journal's circle, from its tail to the first that was never
// written whole.
//
//   tail: record | record | record | torn | ...
//                                    '- the end: a crash came while it was written
//
// Only records that were not yet known to be durable when the last one was written can be torn:
// their images are read and compared with their checksums. Those of the others are compared when
// they are used. A record that was durable and is not there any more is damage, never the end: a
// later record tells, so commits are not lost in silence.
//
// Thread-safety: one thread; the log is only read.
// Blocks:        for reads of the log, of up to 1 MiB.
#pragma once

#include <cstdint>
#include <vector>

#include "quire/base/result.h"
#include "quire/io/store.h"
#include "quire/journal/internal/journal_format.h"
#include "quire/journal/internal/work_meter.h"

namespace quire::internal {

enum class Verification : std::uint8_t {
  kImages,   // What recovery needs.
  kHeaders,  // What an overview needs: torn images at the end count as whole.
};

// Whether somebody may append to the log while it is read. Then a record that was missing at first
// and is there at a second look is the end of what was there, and no damage.
enum class LogUse : std::uint8_t { kStill, kChanging };

struct ScannedRecord {
  RecordHeader header;
  std::uint64_t header_bytes = 0;

  [[nodiscard]] std::uint64_t length_bytes(std::uint64_t page_bytes) const noexcept {
    return header_bytes + header.images.size() * page_bytes;
  }
};

// All of these also fail with what the meter says.

// The superblock that counts: the newer one, or the one that a crash has left whole while the other
// was written. Then all of the log is read, to be sure that it was a crash.
// Errors: kCorrupt, kNewerVersion, kTruncated; those of reading.
[[nodiscard]] Result<Superblock> read_superblock(Store& log, WorkMeter& meter);
// The same without being sure: for what all superblocks of a journal have in common.
[[nodiscard]] Result<Superblock> peek_superblock(Store& log);

// Errors: kCorrupt when a record that was durable is damaged; those of reading.
[[nodiscard]] Result<std::vector<ScannedRecord>> scan_log(Store& log, const Superblock& superblock,
                                                          Verification verification,
                                                          WorkMeter& meter,
                                                          LogUse use = LogUse::kStill);

// Compares the images of a record with their checksums; false: one differs.
[[nodiscard]] Result<bool> has_good_images(Store& log, const Superblock& superblock,
                                           const ScannedRecord& record, WorkMeter& meter);

}  // namespace quire::internal
