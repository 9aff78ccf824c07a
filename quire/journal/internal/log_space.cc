// SPDX-License-Identifier: Apache-2.0
#include "quire/journal/internal/log_space.h"

#include <algorithm>

#include "quire/base/check.h"

namespace quire::internal {

LogSpace::LogSpace(std::uint64_t log_bytes, std::uint64_t page_bytes, std::uint64_t next_lsn,
                   std::uint64_t place_bytes)
    : log_bytes_(log_bytes),
      page_bytes_(page_bytes),
      first_lsn_(next_lsn),
      head_(place_bytes),
      tail_(place_bytes),
      reusable_(place_bytes) {}

std::uint64_t LogSpace::next_position(std::uint64_t end) const noexcept {
  const Superblock geometry{.page_bytes = page_bytes_, .log_bytes = log_bytes_, .files = {}};
  const std::uint64_t place = place_of(end);
  // A record that ends with the circle has its end at place 0 already.
  return next_record_position(place, geometry) == place ? end : end + (log_bytes_ - place);
}

std::vector<LogSpace::Piece> LogSpace::plan(std::size_t images, std::size_t resizes,
                                            std::size_t commits) const {
  std::vector<Piece> pieces;
  std::uint64_t position = head_;
  std::size_t left = images;
  do {
    const std::uint64_t room_bytes = log_bytes_ - place_of(position);
    const std::size_t resizes_here = pieces.empty() ? resizes : 0;
    // All that is left, with the commits; else as much as there is room for.
    std::size_t share = std::min(left, kRecordImagesMax);
    const auto bytes_of = [&](std::size_t count) {
      const std::size_t marks = resizes_here + (count == left ? commits : 0);
      return record_header_bytes(marks, count) + count * page_bytes_;
    };
    share = std::min<std::size_t>(share, room_bytes / page_bytes_);
    while (share > 0 && bytes_of(share) > room_bytes) {
      --share;
    }
    const std::size_t marks = resizes_here + (share == left ? commits : 0);
    pieces.push_back(
        {.position = position, .header_bytes = record_header_bytes(marks, share), .images = share});
    left -= share;
    position = next_position(pieces.back().end(page_bytes_));
  } while (left > 0);
  return pieces;
}

std::uint64_t LogSpace::append(const Piece& piece) {
  QUIRE_CHECK_EQ(piece.position, head_);
  head_ = next_position(piece.end(page_bytes_));
  QUIRE_CHECK_LE(head_ - reusable_, log_bytes_);
  records_.push_back({.end = head_});
  ++live_;
  records_.back().live = 1;  // The caller's hold.
  return next_lsn() - 1;
}

LogSpace::Record& LogSpace::record(std::uint64_t lsn) {
  QUIRE_CHECK(lsn >= first_lsn_ && lsn - first_lsn_ < records_.size());
  return records_[lsn - first_lsn_];
}

void LogSpace::set_commit(std::uint64_t lsn, std::uint64_t commit) {
  record(lsn).commit = commit;
}

void LogSpace::retain(std::uint64_t lsn) {
  ++record(lsn).live;
  ++live_;
}

void LogSpace::release(std::uint64_t lsn) {
  QUIRE_CHECK_GT(record(lsn).live, 0U);
  --record(lsn).live;
  --live_;
}

void LogSpace::trim(std::uint64_t checkpointed_commit) {
  while (!records_.empty() && records_.front().live == 0 &&
         records_.front().commit <= checkpointed_commit) {
    tail_ = records_.front().end;
    ++first_lsn_;
    records_.pop_front();
  }
}

void LogSpace::set_reusable(std::uint64_t position) {
  QUIRE_CHECK(position >= reusable_ && position <= tail_);
  reusable_ = position;
}

void LogSpace::check_invariants() const {
  QUIRE_CHECK(reusable_ <= tail_ && tail_ <= head_ && head_ - reusable_ <= log_bytes_);
  std::uint64_t before = tail_;
  std::uint64_t live = 0;
  for (const Record& record : records_) {
    QUIRE_CHECK_LT(before, record.end);
    before = record.end;
    live += record.live;
  }
  QUIRE_CHECK_EQ(before, head_);
  QUIRE_CHECK_EQ(live, live_);
}

}  // namespace quire::internal
