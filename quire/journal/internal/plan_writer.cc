// SPDX-License-Identifier: Apache-2.0
#include "quire/journal/internal/plan_writer.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "quire/sys/memory.h"

namespace quire::internal {
namespace {

// Longer ones make no device faster.
constexpr std::uint64_t kWriteBytesMax = 1_MiB;
static_assert(kWriteBytesMax % kJournalPageBytesMax == 0);

bool is_full(const Error& error) {
  return error.code() == std::errc::no_space_on_device ||
         error.code() == std::error_code(EDQUOT, std::system_category());
}

}  // namespace

PlanWriter::PlanWriter(Store& log, std::uint64_t log_bytes, std::uint64_t page_bytes,
                       std::uint64_t memory_bytes)
    : page_bytes_(page_bytes),
      pages_max_(std::max<std::uint64_t>(memory_bytes / page_bytes, 1)),
      reader_(log, log_bytes, page_bytes, transfers_),
      writes_(Transfers::kUnderWayMax) {
  for (IoRequest& write : writes_) {
    free_writes_.push_back(&write);
  }
}

tl::expected<void, PlanError> PlanWriter::write(Store& file, CheckpointPlan& plan) {
  if (const Result<void> written = write_all(file, plan); !written) {
    return tl::make_unexpected(
        PlanError{.error = written.error(), .is_full = is_full(written.error())});
  }
  if (const Result<void> synced = file.sync(Durability::kData); !synced) {
    return tl::make_unexpected(PlanError{.error = synced.error()});
  }
  return {};
}

Result<void> PlanWriter::write_all(Store& file, CheckpointPlan& plan) {
  QUIRE_TRY(set_size(file, plan));
  std::ranges::sort(plan.pages, {}, &CheckpointPlan::Page::offset_bytes);
  const std::size_t at_once = std::min(pages_max_, plan.pages.size());
  make_memory(at_once);
  for (Pages left = plan.pages; !left.empty();) {
    const Pages turn = left.first(std::min(at_once, left.size()));
    QUIRE_TRY(read_turn(turn));
    QUIRE_TRY(write_turn(file, turn));
    left = left.subspan(turn.size());
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

void PlanWriter::make_memory(std::size_t pages) {
  const std::uint64_t wanted_bytes = pages * page_bytes_;
  if (wanted_bytes == 0 || (memory_ && memory_->size_bytes() >= wanted_bytes)) {
    return;
  }
  memory_.reset();
  memory_.emplace(wanted_bytes);
  // Fewer faults, and fewer segments of each transfer; without them it is slower, no more.
  static_cast<void>(
      sys::advise_pages(memory_->begin(), memory_->size_bytes(), sys::MemoryAdvice::kHugePage));
}

Result<void> PlanWriter::read_turn(Pages turn) {
  wanted_.clear();
  for (const CheckpointPlan::Page& page : turn) {
    wanted_.push_back({.image = page.image, .into = place_of(wanted_.size())});
  }
  return reader_.read(wanted_);
}

Result<void> PlanWriter::write_turn(Store& file, Pages turn) {
  for (std::size_t first = 0; first < turn.size() && !error_;) {
    std::size_t last = first + 1;
    while (last < turn.size() &&
           turn[last].offset_bytes == turn[last - 1].offset_bytes + page_bytes_ &&
           turn[last - 1].valid_bytes == page_bytes_) {
      ++last;
    }
    const std::uint64_t length_bytes =
        (last - first - 1) * page_bytes_ + turn[last - 1].valid_bytes;
    write_run(file, turn[first].offset_bytes, {place_of(first), length_bytes});
    counts_.pages += last - first;
    first = last;
  }
  transfers_.drain();
  if (error_) {
    return fail(*std::exchange(error_, std::nullopt));
  }
  return {};
}

void PlanWriter::write_run(Store& file, std::uint64_t offset_bytes, std::span<std::byte> run) {
  while (!run.empty() && !error_) {
    while (free_writes_.empty()) {
      transfers_.wait();
    }
    IoRequest& write = *free_writes_.back();
    free_writes_.pop_back();
    write = {.store = &file,
             .operation = IoOperation::kWrite,
             .offset_bytes = offset_bytes,
             .memory = run.first(std::min<std::size_t>(run.size(), kWriteBytesMax)),
             .on_done = on_written,
             .context = this};
    offset_bytes += write.memory.size();
    run = run.subspan(write.memory.size());
    counts_.bytes += write.memory.size();
    ++counts_.writes;
    transfers_.begin(write);
  }
}

void PlanWriter::on_written(IoRequest& request) {
  auto* const writer = static_cast<PlanWriter*>(request.context);
  if (const Result<std::uint64_t> written = request.result(); !written && !writer->error_) {
    writer->error_ = written.error();
  }
  writer->free_writes_.push_back(&request);
}

}  // namespace quire::internal
