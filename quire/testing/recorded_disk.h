// SPDX-License-Identifier: Apache-2.0
//
// RecordedDisk: a block device whose writes and flushes are written down, and the images that a
// power cut leaves: for whole file systems, with all that the kernel does between a file and a
// disk.
//
//   file system --> /dev/loopN --> FUSE file (nbdfuse) --> nbdkit, recording_plugin.cc
//                                                             |--> image
//                                                             '--> record: write, write, flush, ...
//
// The page cache above it is lost with the power: what the kernel has not sent down is in no image.
// Of what it has sent, everything before the last flush is there, and of the rest whatever
// BlockLoss says. Blocks of 4 KiB are whole or not there: ext4's superblock lies in two sectors and
// does not survive that only one of them is written. What the journal makes of torn sectors is
// CrashDisk's matter (crash_disk.h).
//
// For those who may mount (root); `problem()` is the text of the skip.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "quire/base/prng.h"
#include "quire/testing/block_record.h"
#include "quire/testing/nbd_file.h"
#include "quire/testing/temp_dir.h"

namespace quire::testing {

class RecordedDisk {
 public:
  // `plugin`: the file of recording_plugin.cc; "": there is none. The image is changed.
  // REQUIRES: an image of whole sectors.
  RecordedDisk(const TempDir& directory, const std::string& plugin, const std::string& image);
  ~RecordedDisk();
  RecordedDisk(const RecordedDisk&) = delete;
  RecordedDisk& operator=(const RecordedDisk&) = delete;

  // The file for a loop device.
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] const std::string& problem() const noexcept { return problem_; }
  [[nodiscard]] const std::string& record_path() const noexcept { return record_path_; }
  // From here on a crash must leave at least this.
  void mark(std::uint64_t value) const;

 private:
  const std::string record_path_;
  const std::string path_;
  std::string problem_;
  int record_ = -1;
  std::optional<NbdFile> file_;
};

enum class BlockLoss : std::uint8_t {
  kNothing,    // All writes have reached the disk.
  kUnflushed,  // Only what was flushed has.
  kWrites,     // Some writes, each whole.
  kBlocks,     // Some 4 KiB blocks of each.
};
inline constexpr std::size_t kBlockLossCount = 4;

enum class FlushMemory : std::uint8_t {
  kHonest,
  kForgets,  // For tests of the tests: flushes keep nothing.
};

// Walks through a record, and makes images of what a power cut there leaves.
class DiskHistory {
 public:
  // `image`: what was on the disk before; it moves along, up to the last flush.
  DiskHistory(const std::string& image, const std::string& record,
              FlushMemory flushes = FlushMemory::kHonest);
  ~DiskHistory();
  DiskHistory(const DiskHistory&) = delete;
  DiskHistory& operator=(const DiskHistory&) = delete;

  // Past the next write or flush. False: that was the last.
  bool advance();
  // What was just passed.
  [[nodiscard]] BlockEvent event() const { return entries_[next_ - 1].entry.event; }
  // The last mark before here.
  [[nodiscard]] std::uint64_t mark() const noexcept { return mark_; }
  // Of all writes and flushes.
  [[nodiscard]] std::size_t count(BlockEvent event) const;
  // For messages: "entry 17 of 230, 3 writes since the flush".
  [[nodiscard]] std::string where() const;
  // The image as the power cut leaves it, in a file of its own.
  void make_image(const std::string& path, BlockLoss loss, Prng& random) const;

 private:
  struct Entry {
    BlockEntry entry;
    std::size_t bytes_at = 0;  // In the record.
  };

  void apply(int image, const Entry& entry) const;
  void apply_in_part(int image, const Entry& entry, BlockLoss loss, Prng& random) const;

  const int image_;
  const FlushMemory flushes_;
  const std::string record_;  // All of it.
  std::vector<Entry> entries_;
  std::vector<Entry> pending_;  // Since the flush.
  std::size_t next_ = 0;
  std::uint64_t mark_ = 0;
};

}  // namespace quire::testing
