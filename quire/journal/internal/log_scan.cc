// SPDX-License-Identifier: Apache-2.0
#include "quire/journal/internal/log_scan.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "quire/io/records.h"

namespace quire::internal {
namespace {

// A header of a few hundred images, and little of what follows it.
constexpr std::uint64_t kWindowBytesMin = 16 * 1024;
constexpr std::uint64_t kWindowBytesMax = 1024 * 1024;
static_assert(kWindowBytesMax >= kRecordHeaderBytesMax);

Error too_short(const Store& log) {
  return make_error(Errc::kTruncated, "open journal", log.name(),
                    "it is shorter than a journal of its kind",
                    "restore it from a copy together with its files");
}

// A window on the circle that grows while it is read in sequence.
class CircleReader {
 public:
  CircleReader(Store& log, const Superblock& superblock, WorkMeter& meter)
      : log_(log), superblock_(superblock), meter_(meter), memory_(kWindowBytesMax) {}

  // The bytes from a position on: as many as were asked for, fewer only at the end of the circle.
  Result<std::span<const std::byte>> bytes_at(std::uint64_t position, std::uint64_t length_bytes) {
    length_bytes = std::min(length_bytes, superblock_.log_bytes - position);
    if (position < start_ || position + length_bytes > start_ + filled_) {
      QUIRE_TRY(fill(position, length_bytes));
    }
    return std::span<const std::byte>(memory_.begin() + (position - start_), length_bytes);
  }

  Result<std::optional<RecordHeader>> header_at(std::uint64_t position) {
    return header_at(position, superblock_);
  }
  // What a journal with this superblock, of the same size, would see there.
  Result<std::optional<RecordHeader>> header_at(std::uint64_t position, const Superblock& by) {
    const auto block = QUIRE_TRY(bytes_at(position, kBlockBytes));
    const std::optional<std::uint64_t> header_bytes = peek_header_bytes(block, by);
    if (!header_bytes || *header_bytes > superblock_.log_bytes - position) {
      return std::optional<RecordHeader>();
    }
    return decode_record_header(QUIRE_TRY(bytes_at(position, *header_bytes)), by, position);
  }

 private:
  Result<void> fill(std::uint64_t position, std::uint64_t length_bytes) {
    const bool is_sequential = position >= start_ && position <= start_ + filled_;
    window_bytes_ = is_sequential ? std::min(2 * window_bytes_, kWindowBytesMax) : kWindowBytesMin;
    const std::uint64_t wanted =
        std::min(std::max(window_bytes_, length_bytes), superblock_.log_bytes - position);
    filled_ = 0;
    const std::uint64_t got =
        QUIRE_TRY(log_.read(kCircleOffsetBytes + position, std::span(memory_.begin(), wanted)));
    if (got < length_bytes) {
      return fail(too_short(log_));
    }
    start_ = position;
    filled_ = got;
    return meter_.add(got);
  }

  Store& log_;
  const Superblock& superblock_;
  WorkMeter& meter_;
  RecordBuffer memory_;
  std::uint64_t start_ = 0;
  std::uint64_t filled_ = 0;
  std::uint64_t window_bytes_ = kWindowBytesMin;
};

std::uint64_t position_after(const ScannedRecord& record, const Superblock& superblock) {
  return next_record_position(
      record.header.position_bytes + record.length_bytes(superblock.page_bytes), superblock);
}

Result<std::vector<ScannedRecord>> scan_headers(CircleReader& reader,
                                                const Superblock& superblock) {
  std::vector<ScannedRecord> records;
  std::uint64_t position = superblock.tail_position_bytes;
  std::uint64_t lsn = superblock.tail_lsn;
  std::uint64_t left_bytes = superblock.log_bytes;
  while (true) {
    std::optional<RecordHeader> header = QUIRE_TRY(reader.header_at(position));
    if (!header || header->lsn != lsn) {
      return records;
    }
    ScannedRecord record{.header = std::move(*header)};
    record.header_bytes =
        record_header_bytes(record.header.marks.size(), record.header.images.size());
    // A whole circle of records that follow each other is the most that a writer leaves.
    const std::uint64_t next = position_after(record, superblock);
    const std::uint64_t taken_bytes =
        next > position ? next - position : superblock.log_bytes - position + next;
    if (taken_bytes > left_bytes) {
      return records;
    }
    left_bytes -= taken_bytes;
    position = next;
    ++lsn;
    records.push_back(std::move(record));
  }
}

// What is written only after a later superblock has become durable: a record of a later epoch; one
// of a file that this superblock does not know; one on a place that it holds to be in use, which
// shows in LSNs that do not grow from the tail on, or in a record that goes over the tail. Where a
// crash has torn the later superblock there is no such record.
class LaterRecords {
 public:
  LaterRecords(Store& log, const Superblock& superblock, WorkMeter& meter)
      : superblock_(superblock), later_(superblock), reader_(log, superblock, meter) {
    later_.files.resize(kJournalFilesMax);
  }

  Result<bool> exist() {
    for (std::uint64_t at = 0; at < superblock_.log_bytes; at += kBlockBytes) {
      if (QUIRE_TRY(is_at(at))) {
        return true;
      }
    }
    return false;
  }

 private:
  // REQUIRES: called for one distance from the tail after the other.
  Result<bool> is_at(std::uint64_t distance) {
    const std::uint64_t position =
        (superblock_.tail_position_bytes + distance) % superblock_.log_bytes;
    later_.epoch = record_epoch(QUIRE_TRY(reader_.bytes_at(position, kBlockBytes)));
    if (later_.epoch < superblock_.epoch) {
      return false;
    }
    const std::optional<RecordHeader> header = QUIRE_TRY(reader_.header_at(position, later_));
    if (!header || (later_.epoch == superblock_.epoch && header->lsn < superblock_.tail_lsn)) {
      return false;
    }
    const std::uint64_t length_bytes =
        record_header_bytes(header->marks.size(), header->images.size()) +
        header->images.size() * superblock_.page_bytes;
    const bool is_known = QUIRE_TRY(reader_.header_at(position)).has_value();
    const bool is_in_order = header->lsn > last_lsn_;
    last_lsn_ = header->lsn;
    return !is_known || !is_in_order || distance + length_bytes > superblock_.log_bytes;
  }

  const Superblock& superblock_;
  Superblock later_;  // Any files, and the epoch that a record claims.
  CircleReader reader_;
  std::uint64_t last_lsn_ = 0;
};

// Whether, where the record after `position` may begin, there is one that says that this LSN was
// durable.
Result<bool> is_known_durable(CircleReader& reader, const Superblock& superblock,
                              std::uint64_t position, std::uint64_t lsn) {
  const std::uint64_t reach = kRecordHeaderBytesMax + kRecordImagesMax * superblock.page_bytes;
  const auto look = [&](std::uint64_t from, std::uint64_t to) -> Result<bool> {
    for (std::uint64_t at = from; at + kBlockBytes <= std::min(to, superblock.log_bytes);
         at += kBlockBytes) {
      const std::optional<RecordHeader> header = QUIRE_TRY(reader.header_at(at));
      if (header && header->lsn > lsn && header->durable_lsn >= lsn) {
        return true;
      }
    }
    return false;
  };
  if (QUIRE_TRY(look(position + kBlockBytes, position + reach))) {
    return true;
  }
  // It may have been the last one before the end, too.
  return position + reach > superblock.log_bytes ? look(0, reach) : Result<bool>(false);
}

Error damaged(const Store& log, std::uint64_t lsn) {
  return make_error(Errc::kCorrupt, "open journal", log.name(),
                    "record " + std::to_string(lsn) +
                        " was durable and is damaged: what was committed from there on is lost",
                    "restore the journal and its files from a copy");
}

Error outlived(const Store& log) {
  return make_error(Errc::kCorrupt, "open journal", log.name(),
                    "its newest superblock was durable and is damaged: the other one is older than "
                    "records of the log",
                    "restore the journal and its files from a copy");
}

struct Choice {
  Superblock superblock;
  bool is_sure = false;  // Both are whole.
};

// The newer one of those that are whole.
Result<Choice> choose_superblock(Store& log) {
  const RecordBuffer memory(kCircleOffsetBytes);
  const std::span<std::byte> slots(memory.begin(), kCircleOffsetBytes);
  const std::uint64_t got = QUIRE_TRY(log.read(0, slots));
  if (got < slots.size()) {
    std::ranges::fill(slots.subspan(got), std::byte{0});
    const bool may_be_one = got == 0 || begins_as_superblock(slots);
    return fail(may_be_one ? too_short(log)
                           : decode_superblock(slots.first(kSlotBytes), log.name()).error());
  }
  const auto first = decode_superblock(slots.first(kSlotBytes), log.name());
  const auto second = decode_superblock(slots.last(kSlotBytes), log.name());
  for (const auto& slot : {first, second}) {
    // Whatever the other one says: it is older.
    if (!slot && slot.error().code() == Errc::kNewerVersion) {
      return fail(slot.error());
    }
  }
  if (!first && !second) {
    return fail(first.error());
  }
  const bool is_first = first && (!second || first->generation > second->generation);
  Superblock chosen = is_first ? *first : *second;
  if (QUIRE_TRY(log.size_bytes()) < kCircleOffsetBytes + chosen.log_bytes) {
    return fail(too_short(log));
  }
  return Choice{.superblock = std::move(chosen), .is_sure = first && second};
}

}  // namespace

Result<Superblock> read_superblock(Store& log, WorkMeter& meter) {
  Choice choice = QUIRE_TRY(choose_superblock(log));
  // The other one was torn by a crash while it was written, or is damaged.
  if (!choice.is_sure && QUIRE_TRY(LaterRecords(log, choice.superblock, meter).exist())) {
    return fail(outlived(log));
  }
  return std::move(choice.superblock);
}

Result<Superblock> peek_superblock(Store& log) {
  return std::move(QUIRE_TRY(choose_superblock(log)).superblock);
}

Result<bool> has_good_images(Store& log, const Superblock& superblock, const ScannedRecord& record,
                             WorkMeter& meter) {
  const std::uint64_t at_once = std::max<std::uint64_t>(kWindowBytesMax / superblock.page_bytes, 1);
  const RecordBuffer memory(at_once * superblock.page_bytes);
  const std::vector<LogImage>& images = record.header.images;
  for (std::size_t first = 0; first < images.size(); first += at_once) {
    const std::size_t count = std::min<std::size_t>(at_once, images.size() - first);
    const std::span<std::byte> bytes(memory.begin(), count * superblock.page_bytes);
    const std::uint64_t offset = kCircleOffsetBytes + record.header.position_bytes +
                                 record.header_bytes + first * superblock.page_bytes;
    if (QUIRE_TRY(log.read(offset, bytes)) < bytes.size()) {
      return fail(too_short(log));
    }
    QUIRE_TRY(meter.add(bytes.size()));
    for (std::size_t i = 0; i < count; ++i) {
      const auto page = bytes.subspan(i * superblock.page_bytes, superblock.page_bytes);
      if (checksum_of(page) != images[first + i].checksum) {
        return false;
      }
    }
  }
  return true;
}

Result<std::vector<ScannedRecord>> scan_log(Store& log, const Superblock& superblock,
                                            Verification verification, WorkMeter& meter,
                                            LogUse use) {
  if (superblock.is_clean) {
    return std::vector<ScannedRecord>();
  }
  CircleReader reader(log, superblock, meter);
  std::vector<ScannedRecord> records = QUIRE_TRY(scan_headers(reader, superblock));
  const std::uint64_t end_position =
      records.empty() ? superblock.tail_position_bytes : position_after(records.back(), superblock);
  std::uint64_t durable_lsn = 0;
  for (const ScannedRecord& record : records) {
    durable_lsn = std::max(durable_lsn, record.header.durable_lsn);
  }
  for (std::size_t i = 0; verification == Verification::kImages && i < records.size(); ++i) {
    if (records[i].header.lsn > durable_lsn &&
        !QUIRE_TRY(has_good_images(log, superblock, records[i], meter))) {
      records.resize(i);
    }
  }
  const std::uint64_t missing_lsn = superblock.tail_lsn + records.size();
  if (!QUIRE_TRY(is_known_durable(reader, superblock, end_position, missing_lsn))) {
    return records;
  }
  if (use == LogUse::kChanging) {
    CircleReader again(log, superblock, meter);
    const std::optional<RecordHeader> header = QUIRE_TRY(again.header_at(end_position));
    if (header && header->lsn == missing_lsn) {
      return records;
    }
  }
  return fail(damaged(log, missing_lsn));
}

}  // namespace quire::internal
