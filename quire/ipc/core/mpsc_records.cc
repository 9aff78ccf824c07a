// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/core/mpsc_records.h"

#include "quire/base/check.h"
#include "quire/sys/futex.h"

namespace quire::ipc::internal {
namespace {

// How often a writer looks again at a slot whose claimant is between its two steps, before it
// decides in its place. The two are a few nanoseconds apart; a preempted claimant takes longer.
constexpr int kPatience = 64;

}  // namespace

TryResult MpscRecordsWriter::claim(std::uint64_t length_bytes, RecordClaim& claim) const noexcept {
  const std::uint64_t bytes = round_to_unit(length_bytes);
  QUIRE_DCHECK_LE(bytes, place_.capacity_bytes);
  for (int round = 0; round < kClaimRoundsMax; ++round) {
    // Acquire: pairs with the release in pass(): the ends of all slots before are decided.
    const std::uint64_t tail = place_.control->tail.load(std::memory_order_acquire);
    const std::uint64_t lap = place_.lap(tail);
    // Acquire: pairs with the release of the reader's release().
    const std::uint64_t seen = place_.slot(tail).word.load(std::memory_order_acquire);
    const std::int32_t ahead = laps_ahead(seen, lap);
    if (ahead < 0) {
      return ahead == -1 ? TryResult::kNothing : TryResult::kCorrupt;
    }
    const std::uint64_t start =
        position_of(place_.slot(tail - 1).end.load(std::memory_order_acquire));
    if (seen == free_word(lap)) {
      const TryResult room = has_room(tail, start, bytes);
      if (room != TryResult::kDone) {
        return room;
      }
      if (take(tail, start, bytes)) {
        QUIRE_IPC_STEP("records.decided");
        pass(tail);
        QUIRE_IPC_STEP("records.passed");
        claim = {.index = tail, .bytes = {place_.at(start), length_bytes}};
        return TryResult::kDone;
      }
    }
    if (ahead == 0) {
      settle(tail, start);
    }
    pass(tail);
  }
  return TryResult::kNothing;
}

TryResult MpscRecordsWriter::has_room(std::uint64_t index, std::uint64_t start,
                                      std::uint64_t bytes) const noexcept {
  const std::uint64_t next = place_.slot(index + 1).word.load(std::memory_order_acquire);
  if (laps_ahead(next, place_.lap(index + 1)) < 0) {
    return TryResult::kNothing;
  }
  // Acquire: pairs with the reader's release: it has read what we will write over.
  const std::uint64_t head = place_.control->head_bytes.load(std::memory_order_acquire);
  // Signed: `start` may be an old one, when the claim below will fail anyway.
  const auto used = static_cast<std::int64_t>(start - head);
  const auto free = static_cast<std::int64_t>(place_.capacity_bytes - bytes);
  if (used <= free) {
    return TryResult::kDone;
  }
  return used > 2 * static_cast<std::int64_t>(place_.capacity_bytes) ? TryResult::kCorrupt
                                                                     : TryResult::kNothing;
}

bool MpscRecordsWriter::take(std::uint64_t index, std::uint64_t start,
                             std::uint64_t bytes) const noexcept {
  RecordSlot& slot = place_.slot(index);
  const std::uint64_t lap = place_.lap(index);
  std::uint64_t seen = free_word(lap);
  QUIRE_IPC_STEP("records.claim");
  if (!slot.word.compare_exchange_strong(seen, claimed_word(lap, self_),
                                         std::memory_order_acq_rel)) {
    return false;
  }
  QUIRE_IPC_STEP("records.claimed");
  std::uint64_t end = slot.end.load(std::memory_order_acquire);
  // A greater end: somebody decided for us that the record is void. The reader frees the slot.
  return end <= start &&
         slot.end.compare_exchange_strong(end, start + bytes, std::memory_order_acq_rel);
}

void MpscRecordsWriter::settle(std::uint64_t index, std::uint64_t start) const noexcept {
  RecordSlot& slot = place_.slot(index);
  std::uint64_t end = slot.end.load(std::memory_order_acquire);
  for (int look = 0; end <= start && look < kPatience; ++look) {
    sys::pause_processor();
    end = slot.end.load(std::memory_order_acquire);
  }
  if (end > start || place_.control->tail.load(std::memory_order_acquire) != index) {
    return;
  }
  QUIRE_IPC_STEP("records.settle");
  slot.end.compare_exchange_strong(end, (start + kRecordUnitBytes) | kVoidEndBit,
                                   std::memory_order_acq_rel);
  QUIRE_IPC_STEP("records.settled");
}

void MpscRecordsWriter::publish(const RecordClaim& claim,
                                std::uint64_t length_bytes) const noexcept {
  QUIRE_DCHECK_LE(length_bytes, claim.bytes.size());
  RecordSlot& slot = place_.slot(claim.index);
  slot.length.store(length_bytes, std::memory_order_relaxed);  // The next store publishes it.
  QUIRE_IPC_STEP("records.publish");
  // Release: pairs with the acquire in inspect().
  slot.word.store(published_word(place_.lap(claim.index), self_), std::memory_order_release);
  QUIRE_IPC_STEP("records.published");
}

void MpscRecordsWriter::give_up(const RecordClaim& claim) const noexcept {
  QUIRE_IPC_STEP("records.give_up");
  place_.slot(claim.index)
      .word.store(void_word(place_.lap(claim.index)), std::memory_order_release);
  QUIRE_IPC_STEP("records.given_up");
}

MpscRecordsReader::MpscRecordsReader(const MpscRecordsPlace& place) noexcept
    : place_(place), index_(place.control->head.load(std::memory_order_acquire)) {
  std::uint64_t passed = 0;
  while (passed <= place_.slot_count) {
    const std::uint64_t seen = place_.slot(index_).word.load(std::memory_order_acquire);
    if (laps_ahead(seen, place_.lap(index_)) != 1) {
      break;
    }
    ++index_;
    ++passed;
  }
  // Slot index_ - 1 is not claimed again before index_ was released: its end is still ours.
  start_ = position_of(place_.slot(index_ - 1).end.load(std::memory_order_acquire));
  const std::uint64_t tail = place_.control->tail.load(std::memory_order_acquire);
  corrupt_ = passed > place_.slot_count || tail + 1 - index_ > place_.slot_count + 1;
  if (!corrupt_) {
    place_.control->head.store(index_, std::memory_order_release);
    place_.control->head_bytes.store(start_, std::memory_order_release);
  }
}

TryResult MpscRecordsReader::inspect(bool& is_void) noexcept {
  RecordSlot& slot = place_.slot(index_);
  // Acquire: pairs with the release in publish().
  const std::uint64_t seen = slot.word.load(std::memory_order_acquire);
  if (corrupt_ || laps_ahead(seen, place_.lap(index_)) != 0) [[unlikely]] {
    corrupt_ = true;
    return TryResult::kCorrupt;
  }
  if (seen == free_word(place_.lap(index_))) {
    return TryResult::kNothing;
  }
  const std::uint64_t end = slot.end.load(std::memory_order_acquire);
  end_ = start_;
  if (end <= start_) {
    // Undecided, which a published one cannot be.
    corrupt_ = is_published(seen);
    return corrupt_ ? TryResult::kCorrupt : TryResult::kBlocked;
  }
  end_ = position_of(end);
  if (end_ - start_ > place_.capacity_bytes || end_ == start_) [[unlikely]] {
    corrupt_ = true;
    return TryResult::kCorrupt;
  }
  is_void = (end & kVoidEndBit) != 0 || seen == void_word(place_.lap(index_));
  if (is_void || !is_published(seen)) {
    return is_void ? TryResult::kNothing : TryResult::kBlocked;
  }
  const std::uint64_t length_bytes = slot.length.load(std::memory_order_relaxed);
  if (length_bytes > end_ - start_) [[unlikely]] {
    corrupt_ = true;
    return TryResult::kCorrupt;
  }
  record_ = {place_.at(start_), length_bytes};
  return TryResult::kDone;
}

TryResult MpscRecordsReader::look() noexcept {
  // More void records in a row than there are slots: a peer makes them for fun.
  for (std::uint64_t passed = 0; passed <= place_.slot_count; ++passed) {
    bool is_void = false;
    const TryResult result = inspect(is_void);
    if (!is_void) {
      return result;
    }
    release();
  }
  return TryResult::kNothing;
}

void MpscRecordsReader::release() noexcept {
  QUIRE_IPC_STEP("records.release");
  // Release: pairs with the acquire in claim().
  place_.slot(index_).word.store(free_word(place_.lap(index_) + 1), std::memory_order_release);
  QUIRE_IPC_STEP("records.freed");
  ++index_;
  start_ = end_;
  place_.control->head.store(index_, std::memory_order_release);
  QUIRE_IPC_STEP("records.head");
  // Release: pairs with the acquire in has_room().
  place_.control->head_bytes.store(start_, std::memory_order_release);
  QUIRE_IPC_STEP("records.released");
}

MemberWord MpscRecordsReader::blocked_by() const noexcept {
  const std::uint64_t seen = place_.slot(index_).word.load(std::memory_order_acquire);
  return is_published(seen) ? kNobody : member_of(seen);
}

bool MpscRecordsReader::abandon_dead(const Peers& peers) noexcept {
  const MemberWord member = blocked_by();
  if (member == kNobody || corrupt_ || !peers.is_dead(member) || blocked_by() != member) {
    return false;
  }
  RecordSlot& slot = place_.slot(index_);
  std::uint64_t end = slot.end.load(std::memory_order_acquire);
  if (end <= start_) {
    // It died between its two steps. A writer may decide the same at this moment.
    QUIRE_IPC_STEP("records.settle_dead");
    slot.end.compare_exchange_strong(end, (start_ + kRecordUnitBytes) | kVoidEndBit,
                                     std::memory_order_acq_rel);
    QUIRE_IPC_STEP("records.settled_dead");
  }
  bool is_void = false;
  if (!(inspect(is_void) == TryResult::kBlocked || is_void) || end_ == start_) {
    return false;
  }
  QUIRE_IPC_STEP("records.abandon");
  place_.control->abandoned.fetch_add(1, std::memory_order_relaxed);
  QUIRE_IPC_STEP("records.counted");
  release();
  return true;
}

bool MpscRecordsReader::is_sound() const noexcept {
  const std::uint64_t tail = place_.control->tail.load(std::memory_order_acquire);
  if (corrupt_ || tail + 1 - index_ > place_.slot_count + 1) {
    return false;
  }
  std::uint64_t start = start_;
  for (std::uint64_t index = index_; index != index_ + place_.slot_count; ++index) {
    const std::uint64_t seen = place_.slot(index).word.load(std::memory_order_acquire);
    const bool is_free = seen == free_word(place_.lap(index));
    const bool before_tail = static_cast<std::int64_t>(index - tail) < 0;
    if (laps_ahead(seen, place_.lap(index)) != 0 || (before_tail && is_free) ||
        (!before_tail && index != tail && !is_free)) {
      return false;
    }
    if (before_tail) {
      const std::uint64_t end = position_of(place_.slot(index).end.load(std::memory_order_acquire));
      if (end <= start || end - start > place_.capacity_bytes) {
        return false;
      }
      start = end;
    }
  }
  return start - start_ <= place_.capacity_bytes + kRecordUnitBytes * place_.slot_count;
}

}  // namespace quire::ipc::internal
