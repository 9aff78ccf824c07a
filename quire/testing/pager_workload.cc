// SPDX-License-Identifier: Apache-2.0
#include "quire/testing/pager_workload.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "quire/map/guarded.h"

namespace quire::testing {
namespace {

constexpr std::uint64_t kGranule = PagerWorkload::kGranuleBytes;
constexpr std::uint64_t kLastWord = kGranule - sizeof(std::uint64_t);

}  // namespace

const std::vector<std::byte>& PagerWorkload::image() {
  static const std::vector<std::byte> kImage = [] {
    std::vector<std::byte> bytes(kFileBytes);
    for (std::uint64_t i = 0; i < bytes.size(); ++i) {
      bytes[i] = static_cast<std::byte>(1 + (i / kGranule * 31 + i) % 255);
    }
    return bytes;
  }();
  return kImage;
}

PagerWorkload::PagerWorkload(FaultPath path, PagerGround ground)
    : ground_(std::move(ground)),
      pager_({.memory_bytes = 1_MiB, .fault_path = path, .granule_bytes = kGranule}),
      expected_(image()) {}

void PagerWorkload::report(const std::string& finding) {
  if (finding_.empty()) {
    finding_ = finding;
  }
}

bool PagerWorkload::note(const Result<void>& result) {
  errors_ += result ? 0 : 1;
  return result.has_value();
}

std::uint64_t PagerWorkload::word_at(std::uint64_t offset_bytes) const {
  std::uint64_t word = 0;
  std::memcpy(&word, expected_.data() + offset_bytes, sizeof(word));
  return word;
}

void PagerWorkload::load(std::uint64_t offset_bytes) {
  const auto* place = reinterpret_cast<const volatile std::uint64_t*>(
      std::as_const(area_).bytes().data() + offset_bytes);
  const Result<std::uint64_t> seen =
      guarded(std::as_const(area_).bytes(), [place] { return std::uint64_t{*place}; });
  if (!seen) {
    ++errors_;
    if (must_load_) {
      const Result<void> cause = area_.check();
      report(fmt::format("the load at {} of {} fails, although nothing is the matter any more: {}",
                         offset_bytes, area_.size_bytes(),
                         cause ? "no cause" : cause.error().message()));
    }
  } else if (offset_bytes < known_bytes_ && *seen != word_at(offset_bytes)) {
    report(fmt::format("load at {} (granule {}): {:#x} instead of {:#x}", offset_bytes,
                       offset_bytes / kGranule, *seen, word_at(offset_bytes)));
  }
}

void PagerWorkload::store(std::uint64_t offset_bytes, std::uint64_t value) {
  auto* place = reinterpret_cast<volatile std::uint64_t*>(area_.bytes().data() + offset_bytes);
  // What faults has not happened: one instruction.
  if (note(guarded(std::as_const(area_).bytes(), [place, value] { *place = value; }))) {
    std::memcpy(expected_.data() + offset_bytes, &value, sizeof(value));
  }
}

void PagerWorkload::verify() {
  for (std::uint64_t offset = 0; offset + kGranule <= area_.size_bytes(); offset += kGranule) {
    load(offset);
    load(offset + kLastWord);
  }
}

void PagerWorkload::prefetch_and_pin() {
  const ByteRange ranges[] = {{100 * kGranule, 8 * kGranule}, {300 * kGranule, kGranule}};
  note(area_.prefetch(ranges).wait());
  load(103 * kGranule);
  const ByteRange range{120 * kGranule + 100, 3 * kGranule};
  const Result<Pin> pinned = area_.pin(range);
  if (!pinned) {
    ++errors_;
  } else if (std::memcmp(pinned->bytes().data(), expected_.data() + range.offset_bytes,
                         range.length_bytes) != 0) {
    report("a pin shows wrong bytes");
  }
}

// Through a pin no access faults: no guard.
void PagerWorkload::pin_for_writing() {
  const ByteRange range{200 * kGranule - 64, 2 * kGranule};
  Result<WritablePin> pinned = area_.pin_for_writing(range);
  if (!pinned) {
    ++errors_;
    return;
  }
  std::ranges::fill(pinned->bytes(), std::byte{0x5a});
  std::ranges::fill_n(expected_.begin() + static_cast<std::ptrdiff_t>(range.offset_bytes),
                      static_cast<std::ptrdiff_t>(range.length_bytes), std::byte{0x5a});
}

void PagerWorkload::resize(std::uint64_t size_bytes) {
  const std::uint64_t before = area_.size_bytes();
  const std::uint64_t smaller = std::min(before, size_bytes);
  if (!note(area_.resize(size_bytes))) {
    known_bytes_ = std::min(known_bytes_, smaller);
    if (area_.size_bytes() != before && area_.size_bytes() != size_bytes) {
      report("resize() failed, and the size is neither the old nor the new one");
    }
  } else if (area_.size_bytes() != size_bytes) {
    report("resize() succeeded, and the size is another");
  } else if (known_bytes_ >= smaller) {
    known_bytes_ = size_bytes;
  }
  expected_.resize(area_.size_bytes());
}

bool PagerWorkload::run() {
  Result<WritablePagedArea> area = ground_.map(pager_);
  if (!area) {
    ++errors_;
    return false;
  }
  area_ = std::move(*area);
  for (std::uint64_t granule = 0; granule < kGranules; granule += 91) {
    load(granule * kGranule);
  }
  for (std::uint64_t granule = 3; granule < kGranules; granule += 29) {
    store(granule * kGranule + 8, granule);           // Of an absent granule ...
    store(granule * kGranule + kLastWord, ~granule);  // ... and of one that is there.
  }
  verify();  // Longer than the memory: evictions, write-back, read-ahead.
  prefetch_and_pin();
  pin_for_writing();
  note(area_.flush({0, kFileBytes / 2}));
  const Result<PagedEviction> evicted = area_.evict({kFileBytes / 4, kFileBytes / 4});
  errors_ += evicted ? 0 : 1;
  resize(kGrownBytes);
  store(area_.size_bytes() - 8, 4711);
  resize(kFileBytes - kGranule);
  store(area_.size_bytes() - 8, 4712);
  return true;
}

void PagerWorkload::check_image(const char* after) {
  std::vector<std::byte> found(std::min<std::uint64_t>(area_.size_bytes(), known_bytes_));
  ground_.read(0, found);
  if (std::memcmp(found.data(), expected_.data(), found.size()) != 0) {
    const auto difference = std::ranges::mismatch(found, expected_);
    report(fmt::format("after {}: the store differs at {}", after, difference.in1 - found.begin()));
  }
}

void PagerWorkload::finish(Health health) {
  must_load_ = health != Health::kUnknown;
  verify();
  note(area_.flush());  // Gives what had stuck, and tries again.
  const Result<void> flushed = area_.flush();
  if (flushed) {
    check_image("flush()");
  } else if (health == Health::kHealthy) {
    report("flush() goes on failing: " + flushed.error().message());
  }
  verify();
  const bool is_known = known_bytes_ == expected_.size();  // No resize has failed.
  if (area_.close() && flushed && is_known && ground_.size_bytes() != expected_.size()) {
    report("after close(): the store has another size");
  }
  if (area_.is_open()) {
    report("close() left the area open");
  }
  const PagerStats stats = pager_.stats();
  if (stats.taken_bytes_max > stats.memory_bytes) {
    report("more than the budget was taken");
  }
}

}  // namespace quire::testing
