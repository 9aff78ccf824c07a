// SPDX-License-Identifier: Apache-2.0
//
// file_options: what can be chosen about a File: one policy object per file, as an aggregate for
// designated initialisers.
//
//   open_file("scan.bin", {.cache = CacheUse::kDropBehind})    read once, leave no trace
//   open_file("table.db", {.writable = true, .cache = CacheUse::kBypass})    a cache of one's own
//   open_file("log", {.writable = true, .create = true, .write_behind_bytes = 8_MiB})
//
// Whether what was asked for happened is another question: File::stats() counts both.
//
// Thread-safety: plain values.
#pragma once

#include <cstdint>

#include "quire/base/units.h"

namespace quire {

// What becomes of the kernel's page cache.
enum class CacheUse : std::uint8_t {
  kKeep,        // Buffered: pages stay as long as the kernel likes. What is read twice.
  kDropBehind,  // Buffered, and dropped once read or written. Reads: RWF_DONTCACHE (6.14), which
                // leaves pages that were there before, else advice behind a moving window, which
                // does not. Writes: write-back and advice behind a window. What was read ahead in
                // vain goes at a jump and at close(); what was written last, at sync() and close().
                // Scans, copies.
  kBypass,      // Direct: device to memory. For who has a cache of their own, and asks in large
                // blocks or for many at a time.
};

// Whether something else may be done when the file system refuses kBypass.
enum class Fallback : std::uint8_t {
  kAllowed,  // kDropBehind is used; File::is_direct() and explain() say so.
  kRefused,  // open_file() fails with kUnsupported.
};

// What the kernel may read before it is asked for. Buffered files only.
enum class ReadAhead : std::uint8_t {
  kKernel,      // As the kernel guesses, within the device's read_ahead_kb.
  kNone,        // FADV_RANDOM: exactly what is asked for.
  kSequential,  // FADV_SEQUENTIAL: twice the kernel's window.
  kWindow,      // quire keeps read_ahead_bytes in flight before the reader, whatever the device's
                // setting; a jump starts anew. With kDropBehind pages go by advice.
};

// When a write is durable.
enum class WriteThrough : std::uint8_t {
  kOnSync,     // After sync().
  kEachWrite,  // When it returns: RWF_DSYNC; a direct write then is one forced unit access.
};

// Whether a file may be written whose last commits may be in its journal, and not in it: what is
// written could be undone, or mixed with those of a commit (quire/sys/journal_mark.h).
enum class BehindJournal : std::uint8_t {
  kRefused,  // open_file() fails with EBUSY.
  kAllowed,  // For the journal itself.
};

struct FileOptions {
  bool writable = false;
  bool create = false;               // Makes the file when it is missing ...
  bool exclusive = false;            // ... and fails when it is not (EEXIST).
  std::uint32_t create_mode = 0644;  // Before the umask.
  BehindJournal behind_journal = BehindJournal::kRefused;

  CacheUse cache = CacheUse::kKeep;
  Fallback fallback = Fallback::kAllowed;
  ReadAhead read_ahead = ReadAhead::kKernel;
  std::uint64_t read_ahead_bytes = 8_MiB;
  WriteThrough write_through = WriteThrough::kOnSync;
  // Buffered: each time this much has been written in sequence, its write-back is started, and that
  // of the piece before is waited for: dirty memory stays below twice this. 0: as the kernel likes.
  std::uint64_t write_behind_bytes = 0;
};

}  // namespace quire
