// SPDX-License-Identifier: Apache-2.0
//
// snapshot: which ranges of which files were resident, as text that can be kept, read and restored.
//
//   {"quire_snapshot":1}                                                           line 1
//   {"path":"/data/a","size_bytes":8192,"modified_ns":17,"device":2,"inode":3,
//    "resident":[[0,4096]]}                                                        one per file
//   {"files":1,"xxh3":"88d4be2b0a1c3f57"}                                          last line
//
// docs/formats.md describes it for other programs. In short: JSON Lines, each line ends with \n, no
// line is longer than kSnapshotLineBytesMax; a path that is not UTF-8 is written as "path_hex"; a
// file with very many extents has several lines; the checksum is XXH3-64 of every byte before the
// last line. Both sides work in the memory of one line, whatever the number of files.
//
// A snapshot comes from outside: the reader believes nothing. Ranges are sorted, disjoint,
// inside the file; keys are known and appear once; numbers are whole. What is wrong is an Error
// with the line and what to do. Only the end proves that all was read as written, so a caller that
// acts on entries runs validate_snapshot() over it first where the file can be read twice.
//
// Thread-safety: one thread at a time per object.
// Errors:        kCorrupt (not a snapshot, damaged, edited, cut short), kNewerVersion,
//                kLimit (too long for a line); whatever the sink or source returns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quire/base/result.h"
#include "quire/base/units.h"
#include "quire/sys/descriptor.h"

namespace quire {

inline constexpr std::uint64_t kSnapshotVersion = 1;
inline constexpr std::size_t kSnapshotLineBytesMax = std::size_t{4} << 20;
inline constexpr std::size_t kSnapshotExtentsMax = 65'536;   // In one line.
inline constexpr std::size_t kSnapshotPathBytesMax = 4'096;  // PATH_MAX, its NUL included.

// Invariants: path is absolute or not as the writer gave it, not empty, without NUL; resident is
//             sorted, disjoint, not empty ranges inside [0, size_bytes).
struct SnapshotEntry {
  std::string path = {};
  std::uint64_t size_bytes = 0;
  std::int64_t modified_ns = 0;
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::vector<ByteRange> resident = {};

  friend bool operator==(const SnapshotEntry&, const SnapshotEntry&) = default;
};

struct SnapshotSummary {
  std::uint64_t files = 0;  // Lines with a file.
  std::uint64_t resident_bytes = 0;
};

class SnapshotWriter {
 public:
  // Takes the next bytes of the text; whole lines.
  using Sink = std::function<Result<void>(std::string_view)>;

  explicit SnapshotWriter(Sink sink);
  ~SnapshotWriter();
  SnapshotWriter(SnapshotWriter&&) noexcept;
  SnapshotWriter& operator=(SnapshotWriter&&) noexcept;

  // Errors: kOutOfRange when the entry breaks its invariants; kLimit for too many extents: write
  //         the rest in another entry. Nothing of a refused entry is written.
  Result<void> add(const SnapshotEntry& entry);
  // The last line. Without it the snapshot is cut short, and readers say so.
  // REQUIRES: called once, last.
  Result<SnapshotSummary> finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

class SnapshotReader {
 public:
  // Fills the span from its start with the next bytes; returns how many, 0 at the end.
  using Source = std::function<Result<std::size_t>(std::span<char>)>;

  explicit SnapshotReader(Source source);
  ~SnapshotReader();
  SnapshotReader(SnapshotReader&&) noexcept;
  SnapshotReader& operator=(SnapshotReader&&) noexcept;

  // The next file; nothing after the last one, and then the checksum has been verified.
  // After an error every call returns that error.
  [[nodiscard]] Result<std::optional<SnapshotEntry>> next();
  // Of what was read so far.
  [[nodiscard]] SnapshotSummary summary() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// A source that reads an open descriptor from its start with pread; `fd` outlives it.
[[nodiscard]] SnapshotReader::Source snapshot_source(int fd);
// A sink that appends to an open descriptor; `fd` outlives it.
[[nodiscard]] SnapshotWriter::Sink snapshot_sink(int fd);

// Reads all of it and keeps nothing.
[[nodiscard]] Result<SnapshotSummary> validate_snapshot(SnapshotReader::Source source);

// Whether the file is still the one that was saved: kind, size, time of modification and inode. The
// device number is not compared: it may differ after a reboot.
struct RestoreDecision {
  bool restore = false;
  std::string why_not = {};  // "its size was 10 and is 20"; empty with restore.
};
[[nodiscard]] RestoreDecision should_restore(const SnapshotEntry& entry,
                                             const sys::FileStatus& now);

}  // namespace quire
