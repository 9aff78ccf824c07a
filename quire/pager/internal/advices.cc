// SPDX-License-Identifier: Apache-2.0
#include "quire/pager/internal/advices.h"

#include <algorithm>

#include "quire/base/check.h"
#include "quire/base/page_window.h"
#include "quire/pager/pager.h"

namespace quire::internal {

static_assert(Advices::kMax == PagedArea::kAdvicesMax);

// Appends to scratch_, joined with what is there where it goes on.
bool Advices::append(Item item) noexcept {
  if (item.begin >= item.end || item.pattern == Pattern::kNormal) {
    return true;
  }
  if (scratch_count_ > 0) {
    Item& last = scratch_[scratch_count_ - 1];
    if (last.end == item.begin && last.pattern == item.pattern) {
      last.end = item.end;
      return true;
    }
  }
  if (scratch_count_ == kMax) {
    return false;
  }
  scratch_[scratch_count_++] = item;
  return true;
}

bool Advices::set(ByteRange range, Pattern pattern) noexcept {
  const Item added{range.offset_bytes, end_of(range), pattern};
  const sys::FutexLockGuard guard(lock_);
  scratch_count_ = 0;
  bool fits = true;
  bool is_placed = false;
  for (std::size_t i = 0; i < count_; ++i) {
    const Item& item = items_[i];
    fits = fits && append({item.begin, std::min(item.end, added.begin), item.pattern});
    if (!is_placed && item.end > added.begin) {
      fits = fits && append(added);
      is_placed = true;
    }
    fits = fits && append({std::max(item.begin, added.end), item.end, item.pattern});
  }
  if (!is_placed) {
    fits = fits && append(added);
  }
  if (fits) {
    adopt_scratch();
  }
  return fits;
}

void Advices::adopt_scratch() noexcept {
  items_ = scratch_;
  count_ = scratch_count_;
  is_any_.store(count_ > 0);
}

void Advices::end_overwriting(ByteRange range) noexcept {
  if (!is_any_.load()) {
    return;
  }
  const sys::FutexLockGuard guard(lock_);
  if (!is_overwritten(range)) {
    return;
  }
  bool fits = false;
  for (const bool keeps_rest : {true, false}) {
    scratch_count_ = 0;
    fits = true;
    for (std::size_t i = 0; i < count_; ++i) {
      const Item& item = items_[i];
      const bool is_meant = item.pattern == Pattern::kOverwrite && item.begin < end_of(range) &&
                            item.end > range.offset_bytes;
      if (!is_meant) {
        fits = append(item) && fits;
      } else if (keeps_rest) {
        fits = append({item.begin, std::min(item.end, range.offset_bytes), item.pattern}) && fits;
        fits = append({std::max(item.begin, end_of(range)), item.end, item.pattern}) && fits;
      }
    }
    if (fits) {
      break;
    }
  }
  QUIRE_CHECK(fits);
  adopt_scratch();
}

bool Advices::is_overwritten(ByteRange range) const noexcept {
  for (std::size_t i = find(range.offset_bytes); i < count_ && items_[i].begin < end_of(range);
       ++i) {
    if (items_[i].pattern == Pattern::kOverwrite) {
      return true;
    }
  }
  return false;
}

// The first item that ends after the offset.
std::size_t Advices::find(std::uint64_t offset_bytes) const noexcept {
  const auto* const begin = items_.begin();
  return static_cast<std::size_t>(
      std::partition_point(begin, begin + count_,
                           [=](const Item& item) { return item.end <= offset_bytes; }) -
      begin);
}

Pattern Advices::at(std::uint64_t offset_bytes) const noexcept {
  if (!is_any_.load()) {
    return Pattern::kNormal;
  }
  const sys::FutexLockGuard guard(lock_);
  const std::size_t i = find(offset_bytes);
  return i < count_ && items_[i].begin <= offset_bytes ? items_[i].pattern : Pattern::kNormal;
}

bool Advices::covers(ByteRange range, Pattern pattern) const noexcept {
  if (!is_any_.load()) {
    return pattern == Pattern::kNormal;
  }
  const sys::FutexLockGuard guard(lock_);
  const std::size_t i = find(range.offset_bytes);
  return i < count_ && items_[i].begin <= range.offset_bytes && items_[i].end >= end_of(range) &&
         items_[i].pattern == pattern;
}

}  // namespace quire::internal
