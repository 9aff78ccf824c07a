// SPDX-License-Identifier: Apache-2.0
#include "quire/journal/journal_report.h"

#include <algorithm>
#include <utility>

#include "quire/io/file.h"
#include "quire/journal/internal/recovery.h"
#include "quire/journal/internal/work_meter.h"

namespace quire {
namespace {

JournalRecordReport report_of(const internal::ScannedRecord& record, std::uint64_t page_bytes) {
  const auto resizes = std::ranges::count(record.header.marks, internal::MarkKind::kResize,
                                          &internal::LogMark::kind);
  return {.lsn = record.header.lsn,
          .commit = record.header.is_commit() ? record.header.commit : 0,
          .position_bytes = record.header.position_bytes,
          .length_bytes = record.length_bytes(page_bytes),
          .images = record.header.images.size(),
          .resizes = static_cast<std::uint64_t>(resizes),
          .files_committed = record.header.marks.size() - static_cast<std::uint64_t>(resizes)};
}

std::uint64_t image_bytes_of(const std::vector<internal::ScannedRecord>& records,
                             std::uint64_t page_bytes) {
  std::uint64_t images = 0;
  for (const internal::ScannedRecord& record : records) {
    images += record.header.images.size();
  }
  return images * page_bytes;
}

}  // namespace

Result<JournalReport> inspect_journal(const std::string& journal_path, JournalCheck check,
                                      const JournalWatch& watch) {
  internal::WorkMeter meter(watch, "inspect journal", journal_path);
  const auto log = QUIRE_TRY(open_file(journal_path));
  const internal::Superblock superblock = QUIRE_TRY(internal::read_superblock(*log, meter));
  const auto verification = check == JournalCheck::kImages ? internal::Verification::kImages
                                                           : internal::Verification::kHeaders;
  const auto replay = QUIRE_TRY(internal::Replay::read(*log, superblock, verification, meter));
  JournalReport report{.uuid = superblock.uuid,
                       .page_bytes = superblock.page_bytes,
                       .log_bytes = superblock.log_bytes,
                       .generation = superblock.generation,
                       .epoch = superblock.epoch,
                       .tail_position_bytes = superblock.tail_position_bytes,
                       .is_clean = superblock.is_clean,
                       .checkpointed_commit = superblock.tail_commit,
                       .last_commit = replay.last_commit(),
                       .used_bytes = 0,
                       .files = {},
                       .records = {}};
  for (std::size_t i = 0; i < superblock.files.size(); ++i) {
    report.files.push_back({.path = superblock.files[i].name, .size_bytes = replay.size_bytes(i)});
  }
  if (check == JournalCheck::kImages) {
    meter.set_left(image_bytes_of(replay.records(), superblock.page_bytes));
  }
  for (const internal::ScannedRecord& record : replay.records()) {
    // Recovery reads the images of the rest when it uses them; here it is asked now.
    if (check == JournalCheck::kImages &&
        !QUIRE_TRY(internal::has_good_images(*log, superblock, record, meter))) {
      return fail(
          make_error(Errc::kCorrupt, "verify journal", journal_path,
                     "an image of record " + std::to_string(record.header.lsn) + " is damaged",
                     "restore the journal and its files from a copy"));
    }
    report.records.push_back(report_of(record, superblock.page_bytes));
    report.used_bytes += report.records.back().length_bytes;
  }
  return report;
}

}  // namespace quire
