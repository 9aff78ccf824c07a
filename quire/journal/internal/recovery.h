// SPDX-License-Identifier: Apache-2.0
//
// recovery: brings files to the state of the last commit that is whole in the log.
//
//   scan  -->  replay, in memory: which image of which page is committed  -->  write, sorted
//
// The journal itself is not changed: whoever was interrupted here begins anew, and comes to the
// same end. What has no commit mark never happened.
//
// Thread-safety: one thread.
// Blocks:        for the reads of the log and the writes of the files.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "quire/journal/internal/log_scan.h"
#include "quire/journal/internal/page_index.h"

namespace quire::internal {

struct RecoveryCounts {
  std::uint64_t records = 0;  // Whole ones, of commits and of uncommitted changes.
  std::uint64_t commits = 0;
  std::uint64_t pages = 0;   // Written to the files ...
  std::uint64_t writes = 0;  // ... in so many requests.
};

// What the log says about the files, without touching them.
class Replay {
 public:
  // Errors: those of scan_log().
  static Result<Replay> read(Store& log, const Superblock& superblock, Verification verification,
                             WorkMeter& meter, LogUse use = LogUse::kStill);

  // Brings the files to the last commit. REQUIRES: as many as the superblock has, in its order.
  // `memory_bytes`: of images, at a time. Errors: those of the stores; kCorrupt; what the meter
  // says. Files may have been changed in part: try again, or restore them.
  Result<RecoveryCounts> apply(Store& log, std::span<Store* const> files,
                               std::uint64_t memory_bytes, WorkMeter& meter) const;

  [[nodiscard]] const std::vector<ScannedRecord>& records() const noexcept { return records_; }
  [[nodiscard]] std::uint64_t last_commit() const noexcept { return last_commit_; }
  [[nodiscard]] std::uint64_t next_lsn() const noexcept { return space_->next_lsn(); }
  // As of the last commit.
  [[nodiscard]] std::uint64_t size_bytes(std::size_t file) const {
    return files_[file].index.size_bytes(last_commit_);
  }

 private:
  struct File {
    PageIndex index;
    std::uint64_t transaction = 0;  // Whose changes are uncommitted in the index.
  };

  Replay(const Superblock& superblock, std::vector<ScannedRecord> records);
  void replay(const ScannedRecord& record);
  // A file's changes of other transactions were rolled back, or lost with a crash.
  File& enter(std::uint32_t file, std::uint64_t transaction);

  Superblock superblock_;
  std::vector<ScannedRecord> records_;
  std::unique_ptr<LogSpace> space_;
  std::vector<File> files_;
  std::uint64_t last_commit_;
};

}  // namespace quire::internal
