// SPDX-License-Identifier: Apache-2.0
#include "quire/journal/internal/log_writer.h"

#include <algorithm>
#include <cstring>

#include "quire/base/page_window.h"

namespace quire::internal {
namespace {

// Whether they can be written in one go from where they lie.
bool are_neighbours(std::span<const std::byte* const> pages, std::uint64_t page_bytes) {
  if (reinterpret_cast<std::uintptr_t>(pages.front()) % kBlockBytes != 0) {
    return false;  // Direct I/O would copy it.
  }
  for (std::size_t i = 1; i < pages.size(); ++i) {
    if (pages[i] != pages[i - 1] + page_bytes) {
      return false;
    }
  }
  return true;
}

}  // namespace

Result<void> LogWriter::begin(RecordHeader& header, std::span<const std::byte* const> pages,
                              ImageMemory memory) {
  QUIRE_TRY(make_queue());
  const std::uint64_t header_bytes = record_header_bytes(header.marks.size(), pages.size());
  const std::uint64_t offset_bytes = kCircleOffsetBytes + header.position_bytes;
  const std::size_t pages_max = kSliceBytes / page_bytes_;
  for (std::size_t first = 0; first < pages.size(); first += pages_max) {
    const std::size_t count = std::min(pages_max, pages.size() - first);
    Slice& slice = *QUIRE_TRY(take_slice());
    const auto bytes = gather(slice, pages.subspan(first, count),
                              std::span(header.images).subspan(first, count), memory);
    QUIRE_TRY(submit(slice, offset_bytes + header_bytes + first * page_bytes_, bytes));
  }
  Slice& slice = *QUIRE_TRY(take_slice());
  if (!slice.own) {
    slice.own.emplace(kSliceBytes);
  }
  const std::span<std::byte> head(slice.own->begin(), header_bytes);
  encode_record_header(header, head);
  return submit(slice, offset_bytes, head);
}

Result<void> LogWriter::end() {
  if (queue_ != nullptr) {
    queue_->drain();
  }
  const std::optional<Error> error = std::exchange(error_, std::nullopt);
  return error ? Result<void>(fail(*error)) : Result<void>();
}

Result<void> LogWriter::make_queue() {
  if (queue_ == nullptr && log_.kernel_target() != nullptr) {
    queue_ = QUIRE_TRY(IoQueue::make({.depth = kSlices, .thread_count = 4}));
  }
  return {};
}

Result<LogWriter::Slice*> LogWriter::take_slice() {
  for (;;) {
    const auto free =
        std::ranges::find_if(slices_, [](const Slice& slice) { return !slice.is_under_way; });
    if (error_) {
      return fail(*error_);
    }
    if (free != slices_.end()) {
      return &*free;
    }
    queue_->wait(1);
  }
}

std::span<const std::byte> LogWriter::gather(Slice& slice, std::span<const std::byte* const> pages,
                                             std::span<LogImage> images, ImageMemory memory) {
  const bool is_copied = memory == ImageMemory::kChanging || !are_neighbours(pages, page_bytes_);
  if (is_copied && !slice.own) {
    slice.own.emplace(kSliceBytes);
  }
  for (std::size_t i = 0; i < pages.size(); ++i) {
    const std::byte* page = pages[i];
    if (is_copied) {
      std::byte* const copy = slice.own->begin() + i * page_bytes_;
      std::memcpy(copy, page, page_bytes_);
      page = copy;
    }
    images[i].checksum = checksum_of({page, page_bytes_});
  }
  return {is_copied ? slice.own->begin() : pages.front(), pages.size() * page_bytes_};
}

Result<void> LogWriter::submit(Slice& slice, std::uint64_t offset_bytes,
                               std::span<const std::byte> bytes) {
  if (queue_ == nullptr) {
    return log_.write(offset_bytes, bytes);
  }
  slice.owner = this;
  slice.is_under_way = true;
  slice.request = {.store = &log_,
                   .operation = IoOperation::kWrite,
                   .offset_bytes = offset_bytes,
                   .memory = {const_cast<std::byte*>(bytes.data()), bytes.size()},
                   .on_done = on_done,
                   .context = &slice};
  queue_->submit(slice.request);
  queue_->poll();  // Into the kernel, before the next checksum.
  return {};
}

void LogWriter::on_done(IoRequest& request) {
  Slice& slice = *static_cast<Slice*>(request.context);
  slice.is_under_way = false;
  if (const Result<std::uint64_t> written = request.result(); !written && !slice.owner->error_) {
    slice.owner->error_ = written.error();
  }
}

}  // namespace quire::internal
