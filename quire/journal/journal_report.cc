// SPDX-License-Identifier: Apache-2.0
#include "quire/journal/journal_report.h"

#include <algorithm>
#include <utility>

#include "quire/io/file.h"
#include "quire/io/records.h"
#include "quire/journal/internal/recovery.h"
#include "quire/journal/internal/work_meter.h"

namespace quire {
namespace {

// Each finds that something came in between, which is seldom so often in a row.
constexpr int kLooksMax = 32;

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

Result<JournalReport> look(Store& log, JournalCheck check, internal::WorkMeter& meter) {
  const internal::Superblock superblock = QUIRE_TRY(internal::read_superblock(log, meter));
  const auto verification = check == JournalCheck::kImages ? internal::Verification::kImages
                                                           : internal::Verification::kHeaders;
  const auto replay = QUIRE_TRY(
      internal::Replay::read(log, superblock, verification, meter, internal::LogUse::kChanging));
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
        !QUIRE_TRY(internal::has_good_images(log, superblock, record, meter))) {
      return fail(
          make_error(Errc::kCorrupt, "verify journal", log.name(),
                     "an image of record " + std::to_string(record.header.lsn) + " is damaged",
                     "restore the journal and its files from a copy"));
    }
    report.records.push_back(report_of(record, superblock.page_bytes));
    report.used_bytes += report.records.back().length_bytes;
  }
  return report;
}

// Changes with every superblock, and never back. A log that cannot be read has said so before.
Result<std::uint64_t> fingerprint(Store& log) {
  const internal::RecordBuffer slots(internal::kCircleOffsetBytes);
  const std::span<std::byte> bytes(slots.begin(), internal::kCircleOffsetBytes);
  const std::uint64_t got = QUIRE_TRY(log.read(0, bytes));
  return internal::checksum_of(bytes.first(got));
}

}  // namespace

// What is damaged stays as it is: the same error twice, with no superblock in between. Else what is
// missing was overwritten, since it is behind the tail by now, or a slot was just being written.
Result<JournalReport> inspect_journal(Store& log, JournalCheck check, const JournalWatch& watch) {
  internal::WorkMeter meter(watch, "inspect journal", log.name());
  std::string last_error;
  std::uint64_t last_slots = 0;
  for (int i = 0; i < kLooksMax; ++i) {
    const std::uint64_t slots = QUIRE_TRY(fingerprint(log));
    Result<JournalReport> found = look(log, check, meter);
    if (found || found.error().code() != Errc::kCorrupt) {
      return found;
    }
    const std::string error = found.error().message();
    if (i > 0 && error == last_error && last_slots == QUIRE_TRY(fingerprint(log))) {
      return found;
    }
    last_error = error;
    last_slots = slots;
  }
  return fail(Error({.code = std::make_error_code(std::errc::device_or_resource_busy),
                     .operation = "inspect journal",
                     .subject = log.name(),
                     .cause = "it is in use, and changes faster than it can be read",
                     .remedy = "try again when less is committed"}));
}

Result<JournalReport> inspect_journal(const std::string& journal_path, JournalCheck check,
                                      const JournalWatch& watch) {
  const auto log = QUIRE_TRY(open_file(journal_path, {.cache = CacheUse::kBypass}));
  return inspect_journal(*log, check, watch);
}

}  // namespace quire
