// SPDX-License-Identifier: Apache-2.0
#include "quire/journal/internal/recovery.h"

#include <algorithm>
#include <utility>

#include "quire/journal/internal/plan_writer.h"

namespace quire::internal {
namespace {

// To be read, and written.
std::uint64_t transfer_bytes_of(const std::vector<CheckpointPlan>& plans,
                                std::uint64_t page_bytes) {
  std::uint64_t bytes = 0;
  for (const CheckpointPlan& plan : plans) {
    for (const CheckpointPlan::Page& page : plan.pages) {
      bytes += page_bytes + page.valid_bytes;
    }
  }
  return bytes;
}

}  // namespace

Result<Replay> Replay::read(Store& log, const Superblock& superblock, Verification verification,
                            WorkMeter& meter, LogUse use) {
  return Replay(superblock, QUIRE_TRY(scan_log(log, superblock, verification, meter, use)));
}

Replay::Replay(const Superblock& superblock, std::vector<ScannedRecord> records)
    : superblock_(superblock),
      records_(std::move(records)),
      space_(std::make_unique<LogSpace>(superblock.log_bytes, superblock.page_bytes,
                                        superblock.tail_lsn, superblock.tail_position_bytes)),
      last_commit_(superblock.tail_commit) {
  for (const SuperblockFile& file : superblock.files) {
    files_.push_back({.index = PageIndex(superblock.page_bytes, file.size_bytes, *space_)});
  }
  for (const ScannedRecord& record : records_) {
    replay(record);
  }
  for (File& file : files_) {
    file.index.rollback();
  }
}

Replay::File& Replay::enter(std::uint32_t file, std::uint64_t transaction) {
  File& entered = files_[file];
  if (entered.transaction != transaction) {
    entered.index.rollback();
    entered.transaction = transaction;
  }
  return entered;
}

void Replay::replay(const ScannedRecord& record) {
  const LogSpace::Piece piece{.position = space_->head(),
                              .header_bytes = record.header_bytes,
                              .images = record.header.images.size()};
  const std::uint64_t lsn = space_->append(piece);
  for (const LogMark& mark : record.header.marks) {
    if (mark.kind == MarkKind::kResize) {
      enter(mark.file, mark.transaction).index.add_resize(mark.size_bytes, lsn);
    }
  }
  std::uint64_t position = piece.position + piece.header_bytes;
  for (const LogImage& image : record.header.images) {
    enter(image.file, image.transaction)
        .index.add_image(image.offset_bytes, lsn,
                         {.position = position, .checksum = image.checksum});
    position += superblock_.page_bytes;
  }
  for (const LogMark& mark : record.header.marks) {
    if (mark.kind != MarkKind::kCommit) {
      continue;
    }
    PageIndex& index = enter(mark.file, mark.transaction).index;
    if (record.header.commit <= superblock_.tail_commit) {
      // In the file already, and so is what came after it up to there: the record is only here
      // because an older one is needed. Sizes that it was written for are not those of the file.
      index.rollback();
    } else {
      last_commit_ = std::max(last_commit_, record.header.commit);
      index.commit(record.header.commit, {});
    }
  }
  space_->set_commit(lsn, record.header.is_commit() ? record.header.commit : 0);
  space_->release(lsn);
}

Result<RecoveryCounts> Replay::apply(Store& log, std::span<Store* const> files,
                                     std::uint64_t memory_bytes, WorkMeter& meter) const {
  QUIRE_CHECK_EQ(files.size(), files_.size());
  std::vector<CheckpointPlan> plans;
  for (const File& file : files_) {
    plans.push_back(file.index.plan_checkpoint(last_commit_));
  }
  meter.set_left(transfer_bytes_of(plans, superblock_.page_bytes));
  PlanWriter writer(log, superblock_.log_bytes, superblock_.page_bytes, memory_bytes, meter);
  for (std::size_t i = 0; i < files.size(); ++i) {
    if (auto written = writer.write(*files[i], plans[i]); !written) {
      return fail(written.error().error.about("recover", files[i]->name()));
    }
  }
  return RecoveryCounts{.records = records_.size(),
                        .commits = last_commit_ - superblock_.tail_commit,
                        .pages = writer.counts().pages,
                        .writes = writer.counts().writes};
}

}  // namespace quire::internal
