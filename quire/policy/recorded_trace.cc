// SPDX-License-Identifier: Apache-2.0
#include "quire/policy/recorded_trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <numeric>
#include <string>
#include <utility>

#include "quire/base/check.h"

namespace quire {
namespace {

constexpr std::size_t kBlockAccesses = std::size_t{1} << 18;  // 1 MiB.
constexpr std::size_t kStepRecords = 4096;
constexpr std::size_t kSlotsAtFirst = 1024;
constexpr int kAreaShift = 48;
static_assert(kTracePageMax < std::uint64_t{1} << kAreaShift);
static_assert(kTraceAreasMax <= std::uint32_t{1} << (63 - kAreaShift));

constexpr std::uint64_t mix(std::uint64_t key) noexcept {
  key = (key ^ (key >> 32)) * 0x9e3779b97f4a7c15;
  return key ^ (key >> 29);
}

}  // namespace

std::size_t RecordedTrace::next(std::span<PageAccess> into) {
  std::size_t count = 0;
  while (count < into.size() && position_ < access_count_) {
    const std::vector<PageAccess>& block = blocks_[position_ / kBlockAccesses];
    const auto from = std::span(block).subspan(position_ % kBlockAccesses);
    const std::size_t piece = std::min(from.size(), into.size() - count);
    std::copy_n(from.begin(), piece, into.begin() + static_cast<std::ptrdiff_t>(count));
    count += piece;
    position_ += piece;
  }
  return count;
}

std::optional<std::uint32_t> RecordedTrace::page_at(std::uint64_t position) const noexcept {
  const auto found = std::lower_bound(keys_.begin(), keys_.end(), position);
  if (found == keys_.end() || *found != position) {
    return std::nullopt;
  }
  return static_cast<std::uint32_t>(found - keys_.begin());
}

std::uint64_t RecordedTrace::end_of_area(std::uint32_t page) const noexcept {
  const std::uint64_t next_area = ((keys_[page] >> kAreaShift) + 1) << kAreaShift;
  return *(std::lower_bound(keys_.begin(), keys_.end(), next_area) - 1) + 1;
}

Result<TraceLoader> TraceLoader::make(TraceReader& reader, std::uint32_t granule_bytes) {
  const std::uint32_t page_bytes = reader.header().page_bytes;
  const std::uint32_t granule = granule_bytes == 0 ? page_bytes : granule_bytes;
  if (!std::has_single_bit(granule) || granule < page_bytes) {
    return fail(make_error(Errc::kOutOfRange, "load_trace", fmt::format("granule {}", granule),
                           fmt::format("the trace has pages of {} bytes", page_bytes),
                           fmt::format("take a power of two from {} on", page_bytes)));
  }
  return TraceLoader(reader, std::countr_zero(granule) - std::countr_zero(page_bytes));
}

TraceLoader::TraceLoader(TraceReader& reader, int granule_shift)
    : reader_(&reader),
      granule_shift_(granule_shift),
      records_(kStepRecords),
      slots_(kSlotsAtFirst) {}

Result<bool> TraceLoader::step() {
  const std::size_t count = QUIRE_TRY(reader_->read(records_));
  if (trace_.keys_.size() + count > kSimulatedPagesMax) {
    return fail(make_error(Errc::kLimit, "load_trace", fmt::format("{} pages", trace_.keys_.size()),
                           "the trace touches more pages than can be simulated",
                           "take a larger granule"));
  }
  for (const TraceRecord& record : std::span(records_).first(count)) {
    const std::uint64_t key =
        std::uint64_t{record.area} << kAreaShift | record.page >> granule_shift_;
    append(PageAccess(number_of(key), record.is_store));
  }
  return count == records_.size();
}

std::uint32_t TraceLoader::number_of(std::uint64_t key) {
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = mix(key) & mask;
  while (slots_[slot] != 0) {
    if (trace_.keys_[slots_[slot] - 1] == key) {
      return slots_[slot] - 1;
    }
    slot = (slot + 1) & mask;
  }
  trace_.keys_.push_back(key);
  slots_[slot] = static_cast<std::uint32_t>(trace_.keys_.size());
  if (trace_.keys_.size() > slots_.size() / 2) {
    grow();
  }
  return static_cast<std::uint32_t>(trace_.keys_.size() - 1);
}

void TraceLoader::grow() {
  std::vector<std::uint32_t> larger(slots_.size() * 2);
  const std::size_t mask = larger.size() - 1;
  for (std::size_t number = 0; number < trace_.keys_.size(); ++number) {
    std::size_t slot = mix(trace_.keys_[number]) & mask;
    while (larger[slot] != 0) {
      slot = (slot + 1) & mask;
    }
    larger[slot] = static_cast<std::uint32_t>(number + 1);
  }
  slots_ = std::move(larger);
}

void TraceLoader::append(PageAccess access) {
  if (trace_.access_count_ % kBlockAccesses == 0) {
    trace_.blocks_.emplace_back().reserve(kBlockAccesses);
  }
  trace_.blocks_.back().push_back(access);
  ++trace_.access_count_;
}

RecordedTrace TraceLoader::finish() {
  slots_ = {};
  std::vector<std::uint64_t>& keys = trace_.keys_;
  std::vector<std::uint32_t> ascending(keys.size());
  std::iota(ascending.begin(), ascending.end(), 0U);
  std::sort(ascending.begin(), ascending.end(),
            [&](std::uint32_t a, std::uint32_t b) { return keys[a] < keys[b]; });
  std::vector<std::uint32_t> final_number(keys.size());
  for (std::uint32_t number = 0; number < ascending.size(); ++number) {
    final_number[ascending[number]] = number;
  }
  for (std::vector<PageAccess>& block : trace_.blocks_) {
    for (PageAccess& access : block) {
      access = PageAccess(final_number[access.page()], access.is_store());
    }
  }
  std::sort(keys.begin(), keys.end());
  return std::exchange(trace_, {});
}

}  // namespace quire
