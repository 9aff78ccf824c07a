// SPDX-License-Identifier: Apache-2.0
#include "quire/journal/internal/plan_writer.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace quire::internal {
namespace {

constexpr std::uint64_t kWriteBytesMax = Transfers::kBlockBytes;
static_assert(kWriteBytesMax % kJournalPageBytesMax == 0);

bool is_full(const Error& error) {
  return error.code() == std::errc::no_space_on_device ||
         error.code() == std::errc::not_enough_memory ||
         error.code() == std::error_code(EDQUOT, std::system_category());
}

}  // namespace

PlanWriter::PlanWriter(Store& log, std::uint64_t log_bytes, std::uint64_t page_bytes,
                       std::uint64_t memory_bytes, WorkMeter& meter)
    : page_bytes_(page_bytes),
      pages_max_(std::max<std::uint64_t>(memory_bytes / page_bytes, 1)),
      meter_(meter),
      reader_(log, log_bytes, page_bytes, transfers_, meter),
      writes_(Transfers::kUnderWayMax) {
  for (Write& write : writes_) {
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
  std::ranges::sort(plan.pages, {}, &CheckpointPlan::Page::offset_bytes);
  const std::size_t at_once = std::min(pages_max_, plan.pages.size());
  QUIRE_TRY(make_memory(at_once));
  Pages left = plan.pages;
  Pages turn = left.first(at_once);
  // Before the file is touched, so that what is damaged there is found out in time.
  QUIRE_TRY(read_turn(turn));
  QUIRE_TRY(set_size(file, plan));
  while (!turn.empty()) {
    QUIRE_TRY(write_turn(file, turn));
    left = left.subspan(turn.size());
    turn = left.first(std::min(at_once, left.size()));
    QUIRE_TRY(read_turn(turn));
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

Result<void> PlanWriter::make_memory(std::size_t pages) {
  const std::uint64_t wanted_bytes = pages * page_bytes_;
  if (wanted_bytes == 0 || (memory_ && memory_->size_bytes() >= wanted_bytes)) {
    return {};
  }
  memory_.reset();
  memory_ = QUIRE_TRY(ImageArena::make(wanted_bytes));
  memory_->make_ahead();
  return {};
}

Result<void> PlanWriter::read_turn(Pages turn) {
  if (turn.empty()) {
    return {};  // There may be no memory, either.
  }
  wanted_.clear();
  for (const CheckpointPlan::Page& page : turn) {
    wanted_.push_back({.image = page.image, .number = wanted_.size()});
  }
  QUIRE_TRY(reader_.read(wanted_, *memory_));
  places_.resize(turn.size());
  for (const WantedImage& image : wanted_) {
    places_[image.number] = image.into;
  }
  return {};
}

Result<void> PlanWriter::write_turn(Store& file, Pages turn) {
  Result<void> begun = write_runs(file, turn);
  transfers_.drain();
  if (error_) {
    return fail(*std::exchange(error_, std::nullopt));
  }
  return begun;
}

Result<void> PlanWriter::write_runs(Store& file, Pages turn) {
  Places places = places_;
  while (!turn.empty() && !error_) {
    const std::size_t count = count_together(turn);
    QUIRE_TRY(write_run(file, turn.first(count), places.first(count)));
    counts_.pages += count;
    turn = turn.subspan(count);
    places = places.subspan(count);
  }
  return {};
}

std::size_t PlanWriter::count_together(Pages pages) const {
  const std::size_t count_max = std::min(kWriteBytesMax / page_bytes_, pages.size());
  std::size_t count = 1;
  while (count < count_max &&
         pages[count].offset_bytes == pages[count - 1].offset_bytes + page_bytes_ &&
         pages[count - 1].valid_bytes == page_bytes_) {
    ++count;
  }
  return count;
}

Result<void> PlanWriter::write_run(Store& file, Pages run, Places places) {
  std::byte* block = nullptr;
  std::byte* const bytes = QUIRE_TRY(gather(places, block));
  while (free_writes_.empty()) {
    transfers_.wait();
  }
  Write& write = *free_writes_.back();
  free_writes_.pop_back();
  write.block = block;
  write.request = {.store = &file,
                   .operation = IoOperation::kWrite,
                   .offset_bytes = run.front().offset_bytes,
                   .memory = {bytes, (run.size() - 1) * page_bytes_ + run.back().valid_bytes},
                   .on_done =
                       [](IoRequest& request) {
                         auto* const writer = static_cast<PlanWriter*>(request.context);
                         // The request is a write's first member.
                         writer->finish(*reinterpret_cast<Write*>(&request));
                       },
                   .context = this};
  counts_.bytes += write.request.memory.size();
  ++counts_.writes;
  transfers_.begin(write.request);
  return {};
}

Result<std::byte*> PlanWriter::gather(Places places, std::byte*& block) {
  std::size_t in_order = 1;
  while (in_order < places.size() && places[in_order] == places[in_order - 1] + page_bytes_) {
    ++in_order;
  }
  if (in_order == places.size()) {
    return places.front();
  }
  block = QUIRE_TRY(transfers_.take_block());
  for (std::size_t i = 0; i < places.size(); ++i) {
    std::memcpy(block + i * page_bytes_, places[i], page_bytes_);
  }
  return block;
}

void PlanWriter::finish(Write& write) {
  const Result<std::uint64_t> written = write.request.result();
  if (const Result<void> done = written ? meter_.add(*written) : fail(written.error());
      !done && !error_) {
    error_ = done.error();
  }
  if (write.block != nullptr) {
    transfers_.give_block(write.block);
  }
  free_writes_.push_back(&write);
}

}  // namespace quire::internal
