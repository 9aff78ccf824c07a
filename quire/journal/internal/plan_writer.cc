// SPDX-License-Identifier: Apache-2.0
#include "quire/journal/internal/plan_writer.h"

#include <algorithm>
#include <cerrno>
#include <vector>

#include "quire/io/records.h"

namespace quire::internal {
namespace {

constexpr std::uint64_t kChunkBytes = 4 * 1024 * 1024;
// Longer ones keep a device busy by themselves.
constexpr std::uint64_t kShortBytes = 64 * 1024;
// Deep enough for the fastest devices, and few enough threads where the kernel forbids rings.
constexpr IoQueueOptions kQueue{.depth = 64, .thread_count = 4};

bool is_full(const Error& error) {
  return error.code() == std::errc::no_space_on_device ||
         error.code() == std::error_code(EDQUOT, std::system_category());
}

}  // namespace

tl::expected<void, PlanError> PlanWriter::write(Store& file, CheckpointPlan& plan) {
  const std::size_t at_once = kChunkBytes / page_bytes_;
  const RecordBuffer memory(std::min(at_once, plan.pages.size()) * page_bytes_);
  const auto write_all = [&]() -> Result<void> {
    QUIRE_TRY(set_size(file, plan));
    std::ranges::sort(plan.pages, {}, &CheckpointPlan::Page::offset_bytes);
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
    static_cast<void>(end());  // They use the memory.
    return tl::make_unexpected(
        PlanError{.error = written.error(), .is_full = is_full(written.error())});
  }
  if (const Result<void> synced = file.sync(Durability::kData); !synced) {
    return tl::make_unexpected(PlanError{.error = synced.error()});
  }
  return {};
}

Result<void> PlanWriter::begin(const IoRequest& request) {
  if (queue_ == nullptr && request.store->kernel_target() != nullptr) {
    queue_ = QUIRE_TRY(IoQueue::make(kQueue));
  }
  if (queue_ != nullptr) {
    requests_.push_back(request);
    requests_.back().on_done = [](IoRequest&) {};
    queue_->submit(requests_.back());
    return {};
  }
  if (request.operation == IoOperation::kWrite) {
    return request.store->write(request.offset_bytes, request.memory);
  }
  const std::uint64_t read_bytes =
      QUIRE_TRY(request.store->read(request.offset_bytes, request.memory));
  return read_bytes < request.memory.size() ? fail_short() : Result<void>();
}

Result<void> PlanWriter::end() {
  if (queue_ != nullptr) {
    queue_->drain();
  }
  Result<void> outcome;
  for (const IoRequest& request : requests_) {
    const Result<std::uint64_t> result = request.result();
    if (outcome && !result) {
      outcome = fail(result.error());
    } else if (outcome && *result < request.memory.size()) {
      outcome = fail_short();
    }
  }
  requests_.clear();
  return outcome;
}

Result<void> PlanWriter::fail_short() const {
  return fail(make_error(Errc::kTruncated, "read journal", log_.name(), "it became shorter"));
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
    QUIRE_TRY(read_run(position, into));
    first = last;
  }
  QUIRE_TRY(end());
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

Result<void> PlanWriter::read_run(std::uint64_t position, MutablePieces into) {
  const std::uint64_t offset_bytes = kCircleOffsetBytes + position % log_bytes_;
  const std::uint64_t wanted = into.size() * page_bytes_;
  if (wanted > kShortBytes) {
    return QUIRE_TRY(log_.read_pieces(offset_bytes, into)) < wanted ? fail_short() : Result<void>();
  }
  for (std::size_t i = 0; i < into.size(); ++i) {
    QUIRE_TRY(begin({.store = &log_,
                     .operation = IoOperation::kRead,
                     .offset_bytes = offset_bytes + i * page_bytes_,
                     .memory = into[i]}));
  }
  return {};
}

Result<void> PlanWriter::write_chunk(Store& file, Pages chunk, std::span<std::byte> memory) {
  for (std::size_t first = 0; first < chunk.size();) {
    std::size_t last = first + 1;
    while (last < chunk.size() &&
           chunk[last].offset_bytes == chunk[last - 1].offset_bytes + page_bytes_ &&
           chunk[last - 1].valid_bytes == page_bytes_) {
      ++last;
    }
    const std::uint64_t length_bytes =
        (last - first - 1) * page_bytes_ + chunk[last - 1].valid_bytes;
    const std::span<std::byte> run = memory.subspan(first * page_bytes_, length_bytes);
    if (length_bytes > kShortBytes) {
      QUIRE_TRY(file.write(chunk[first].offset_bytes, run));
    } else {
      QUIRE_TRY(begin({.store = &file,
                       .operation = IoOperation::kWrite,
                       .offset_bytes = chunk[first].offset_bytes,
                       .memory = run}));
    }
    counts_.pages += last - first;
    counts_.bytes += length_bytes;
    ++counts_.writes;
    first = last;
  }
  return end();
}

}  // namespace quire::internal
