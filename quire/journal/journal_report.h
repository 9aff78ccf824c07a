// SPDX-License-Identifier: Apache-2.0
//
// journal_report: what is in a journal, without opening it for use: for `quire journal` and for
// whoever wants to know before recovering. Nothing is changed.
//
// A journal that is in use changes while it is read, and may look damaged then: it is read again
// until one reading finds everything in order, or two agree that it is.
//
// Thread-safety: any thread. Of a process that has the journal open and looks at it by its path,
//                others are not told any more that it is the one.
// Errors:        those of reading; kCorrupt, kNewerVersion, kTruncated as Journal::open() gives
//                them; kCancelled; EBUSY when it changes faster than it can be read.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "quire/base/result.h"
#include "quire/io/store.h"
#include "quire/journal/journal_options.h"

namespace quire {

enum class JournalCheck : std::uint8_t {
  kHeaders,  // Fast: a torn record at the end counts as whole.
  kImages,   // Every image is read and compared with its checksum.
};

struct JournalRecordReport {
  std::uint64_t lsn = 0;
  std::uint64_t commit = 0;  // 0: uncommitted changes.
  std::uint64_t position_bytes = 0;
  std::uint64_t length_bytes = 0;
  std::uint64_t images = 0;
  std::uint64_t resizes = 0;
  std::uint64_t files_committed = 0;
};

struct JournalFileReport {
  std::string path;              // As it was opened; may be empty.
  std::uint64_t size_bytes = 0;  // After recovery.
};

struct JournalReport {
  JournalUuid uuid{};
  std::uint64_t page_bytes = 0;
  std::uint64_t log_bytes = 0;
  std::uint64_t generation = 0;
  std::uint64_t epoch = 0;
  std::uint64_t tail_position_bytes = 0;
  bool is_clean = false;
  std::uint64_t checkpointed_commit = 0;
  std::uint64_t last_commit = 0;
  std::uint64_t used_bytes = 0;  // By the records below.
  std::vector<JournalFileReport> files;
  std::vector<JournalRecordReport> records;  // From the tail on.
};

[[nodiscard]] Result<JournalReport> inspect_journal(const std::string& journal_path,
                                                    JournalCheck check,
                                                    const JournalWatch& watch = {});
[[nodiscard]] Result<JournalReport> inspect_journal(Store& log, JournalCheck check,
                                                    const JournalWatch& watch = {});

}  // namespace quire
