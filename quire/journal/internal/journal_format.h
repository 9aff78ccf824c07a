// SPDX-License-Identifier: Apache-2.0
//
// journal_format: the bytes of a journal file; docs/formats.md describes them for other programs.
//
//   0         16 KiB     32 KiB                                            32 KiB + log_bytes
//   [ slot 0 ][ slot 1 ][ the circle: record | record | ... | stale bytes of earlier rounds ]
//
//   superblock   who the journal is, its files, where the tail of the circle is. The two slots are
//                written in turn; the valid one with the higher generation counts.
//   record       header of whole 4 KiB blocks (marks, then one descriptor per image), then the
//                images, one page each. A record never wraps: see next_record_position().
//
// What must be true of a record that is accepted: journal, epoch, position and LSN are the expected
// ones and the header's checksum is right; whether each image has its descriptor's checksum is
// asked separately. So neither stale bytes of an earlier round or epoch nor a torn or missing
// sector are ever taken for a commit.
//
// Thread-safety: pure functions, plain values.
// Errors:        superblocks say why they are refused; a record is there or it is not.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "quire/base/result.h"
#include "quire/journal/journal_options.h"

namespace quire::internal {

inline constexpr std::uint32_t kJournalVersion = 1;
inline constexpr std::uint64_t kBlockBytes = 4096;  // What every position is a multiple of.
inline constexpr std::uint64_t kSlotBytes = 16 * 1024;
inline constexpr std::uint64_t kCircleOffsetBytes = 2 * kSlotBytes;
inline constexpr std::size_t kMarkBytes = 32;
inline constexpr std::size_t kImageEntryBytes = 32;
inline constexpr std::size_t kRecordFixedBytes = 128;
// Of one record. Bounds what a reader must hold at a time, and costs a commit of any size next to
// nothing: one block of header for 127 images, a record for 1024.
inline constexpr std::size_t kRecordImagesMax = 1024;
inline constexpr std::size_t kRecordMarksMax = 1024;
inline constexpr std::uint64_t kRecordHeaderBytesMax =
    kRecordFixedBytes + (kRecordMarksMax + kRecordImagesMax) * 32 + kBlockBytes;

inline constexpr std::size_t kFileNameBytesMax = 472;

struct SuperblockFile {
  FileIdentity identity{};
  std::uint64_t size_bytes = 0;  // When everything before the tail was in the file.
  std::string name;              // Where it was opened from: a hint for people and recovery.

  friend bool operator==(const SuperblockFile&, const SuperblockFile&) = default;
};

struct Superblock {
  JournalUuid uuid{};
  std::uint64_t page_bytes = 0;
  std::uint64_t log_bytes = 0;   // Of the circle.
  std::uint64_t generation = 0;  // One more with each superblock written.
  std::uint64_t epoch = 0;       // One more with each opening.
  std::uint64_t tail_position_bytes = 0;
  std::uint64_t tail_lsn = 0;     // Of the record that is, or will be, at the tail.
  std::uint64_t tail_commit = 0;  // Every commit up to this one is in the files.
  bool is_clean = false;          // There is nothing in the circle.
  std::vector<SuperblockFile> files;

  friend bool operator==(const Superblock&, const Superblock&) = default;
};

// REQUIRES: slot is kSlotBytes long; at most kJournalFilesMax files.
void encode_superblock(const Superblock& superblock, std::span<std::byte> slot);
// Whether that is what it is meant to be. Else decode_superblock() says that it is no journal.
[[nodiscard]] bool begins_as_superblock(std::span<const std::byte> slot);
// Errors: kCorrupt, kNewerVersion. REQUIRES: slot is kSlotBytes long.
[[nodiscard]] Result<Superblock> decode_superblock(std::span<const std::byte> slot,
                                                   const std::string& name);

enum class MarkKind : std::uint32_t {
  kResize = 1,  // The file has this size from here on; what lay beyond is gone.
  kCommit = 2,  // All of the transaction so far is committed.
};

struct LogMark {
  MarkKind kind = MarkKind::kResize;
  std::uint32_t file = 0;
  std::uint64_t transaction = 0;
  std::uint64_t size_bytes = 0;  // Of a resize; else 0.

  friend bool operator==(const LogMark&, const LogMark&) = default;
};

struct LogImage {
  std::uint64_t offset_bytes = 0;  // In the file.
  std::uint64_t transaction = 0;
  std::uint64_t checksum = 0;
  std::uint32_t file = 0;

  friend bool operator==(const LogImage&, const LogImage&) = default;
};

struct RecordHeader {
  JournalUuid uuid{};
  std::uint64_t epoch = 0;
  std::uint64_t lsn = 0;          // One more with each record, over all epochs.
  std::uint64_t durable_lsn = 0;  // This record and all before it were durable by then.
  std::uint64_t commit = 0;       // With commit marks: this one's number; else the last one's.
  std::uint64_t position_bytes = 0;
  std::vector<LogMark> marks;  // Resizes take effect before the images, commits after them.
  std::vector<LogImage> images;

  [[nodiscard]] bool is_commit() const noexcept;
  friend bool operator==(const RecordHeader&, const RecordHeader&) = default;
};

[[nodiscard]] std::uint64_t record_header_bytes(std::size_t marks, std::size_t images) noexcept;
// REQUIRES: into is record_header_bytes() long.
void encode_record_header(const RecordHeader& header, std::span<std::byte> into);
// How long the header is that begins with this block, if it looks like one of this journal and
// epoch. REQUIRES: a whole block.
[[nodiscard]] std::optional<std::uint64_t> peek_header_bytes(std::span<const std::byte> block,
                                                             const Superblock& superblock);
// The epoch that such a header would name. REQUIRES: a whole block.
[[nodiscard]] std::uint64_t record_epoch(std::span<const std::byte> block);
// Nothing: no header of this journal and epoch was ever written there like this. The LSN is the
// caller's to compare.
[[nodiscard]] std::optional<RecordHeader> decode_record_header(std::span<const std::byte> bytes,
                                                               const Superblock& superblock,
                                                               std::uint64_t position_bytes);

// Where the record after one that ends there begins: where it ends, or, when not even a header
// with one image fits before the end of the circle, at its beginning.
[[nodiscard]] std::uint64_t next_record_position(std::uint64_t end_bytes,
                                                 const Superblock& superblock) noexcept;

[[nodiscard]] std::uint64_t checksum_of(std::span<const std::byte> bytes) noexcept;

}  // namespace quire::internal
