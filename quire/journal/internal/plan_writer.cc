// SPDX-License-Identifier: Apache-2.0
#include "quire/journal/internal/plan_writer.h"

#include <algorithm>
#include <cerrno>
#include <vector>

#include "quire/io/records.h"

namespace quire::internal {
namespace {

constexpr std::uint64_t kChunkBytes = 4 * 1024 * 1024;

bool is_full(const Error& error) {
  return error.code() == std::errc::no_space_on_device ||
         error.code() == std::error_code(EDQUOT, std::system_category());
}

}  // namespace

tl::expected<void, PlanError> PlanWriter::write(Store& file, CheckpointPlan& plan) {
  const auto write_all = [&]() -> Result<void> {
    QUIRE_TRY(set_size(file, plan));
    std::ranges::sort(plan.pages, {}, &CheckpointPlan::Page::offset_bytes);
    const std::size_t at_once = kChunkBytes / page_bytes_;
    const RecordBuffer memory(std::min(at_once, plan.pages.size()) * page_bytes_);
    for (std::size_t first = 0; first < plan.pages.size(); first += at_once) {
      const Pages chunk =
          Pages(plan.pages).subspan(first, std::min(at_once, plan.pages.size() - first));
      const std::span<std::byte> bytes(memory.begin(), chunk.size() * page_bytes_);
      QUIRE_TRY(read_chunk(chunk, bytes));
      QUIRE_TRY(write_chunk(file, chunk, bytes));
    }
    return {};
  };
  if (const Result<void> written = write_all(); !written) {
    return tl::make_unexpected(
        PlanError{.error = written.error(), .is_full = is_full(written.error())});
  }
  if (const Result<void> synced = file.sync(Durability::kData); !synced) {
    return tl::make_unexpected(PlanError{.error = synced.error()});
  }
  return {};
}

Result<void> PlanWriter::set_size(Store& file, const CheckpointPlan& plan) {
  const std::uint64_t size_bytes = QUIRE_TRY(file.size_bytes());
  if (size_bytes > plan.cut_bytes) {
    QUIRE_TRY(file.resize(plan.cut_bytes));
  }
  if (std::min(size_bytes, plan.cut_bytes) != plan.size_bytes) {
    QUIRE_TRY(file.resize(plan.size_bytes));
  }
  return {};
}

Result<void> PlanWriter::read_chunk(Pages chunk, std::span<std::byte> memory) {
  std::vector<std::size_t> order(chunk.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    order[i] = i;
  }
  std::ranges::sort(order, {}, [&](std::size_t i) { return chunk[i].image.position; });
  const auto page_of = [&](std::size_t i) { return memory.subspan(i * page_bytes_, page_bytes_); };
  for (std::size_t first = 0; first < order.size();) {
    std::vector<std::span<std::byte>> into{page_of(order[first])};
    const std::uint64_t position = chunk[order[first]].image.position;
    std::size_t last = first + 1;
    while (last < order.size() &&
           chunk[order[last]].image.position == position + into.size() * page_bytes_) {
      into.push_back(page_of(order[last++]));
    }
    const std::uint64_t wanted = into.size() * page_bytes_;
    if (QUIRE_TRY(log_.read_pieces(kCircleOffsetBytes + position % log_bytes_, into)) < wanted) {
      return fail(make_error(Errc::kTruncated, "read journal", log_.name(), "it became shorter"));
    }
    first = last;
  }
  for (std::size_t i = 0; i < chunk.size(); ++i) {
    if (checksum_of(page_of(i)) != chunk[i].image.checksum) {
      return fail(make_error(
          Errc::kCorrupt, "read journal",
          log_.name() + ", " +
              describe(ByteRange{chunk[i].image.position % log_bytes_ + kCircleOffsetBytes,
                                 page_bytes_}),
          "the checksum of a committed page is wrong",
          "restore the journal and its files from a copy"));
    }
  }
  return {};
}

Result<void> PlanWriter::write_chunk(Store& file, Pages chunk, std::span<const std::byte> memory) {
  for (std::size_t first = 0; first < chunk.size();) {
    std::size_t last = first + 1;
    while (last < chunk.size() &&
           chunk[last].offset_bytes == chunk[last - 1].offset_bytes + page_bytes_ &&
           chunk[last - 1].valid_bytes == page_bytes_) {
      ++last;
    }
    const std::uint64_t length_bytes =
        (last - first - 1) * page_bytes_ + chunk[last - 1].valid_bytes;
    QUIRE_TRY(
        file.write(chunk[first].offset_bytes, memory.subspan(first * page_bytes_, length_bytes)));
    counts_.pages += last - first;
    counts_.bytes += length_bytes;
    ++counts_.writes;
    first = last;
  }
  return {};
}

}  // namespace quire::internal
