// SPDX-License-Identifier: Apache-2.0
#include "quire/journal/internal/image_reader.h"

#include <algorithm>
#include <cstring>

#include "quire/base/check.h"

namespace quire::internal {

ImageReader::ImageReader(Store& log, std::uint64_t log_bytes, std::uint64_t page_bytes,
                         Transfers& transfers, WorkMeter& meter)
    : log_(log),
      log_bytes_(log_bytes),
      page_bytes_(page_bytes),
      transfers_(transfers),
      meter_(meter),
      reads_(kReadsMax) {
  for (Read& read : reads_) {
    free_.push_back(&read);
  }
}

std::size_t ImageReader::count_together(std::span<const WantedImage> images) const {
  const std::uint64_t first = place_of(images[0]);
  std::uint64_t end = first + page_bytes_;
  std::size_t count = 1;
  for (; count < images.size(); ++count) {
    const std::uint64_t place = place_of(images[count]);
    // Behind the end of the circle places begin anew.
    if (place < end || place > end + kGapBytesMax || place + page_bytes_ > first + kReadBytes) {
      break;
    }
    end = place + page_bytes_;
  }
  return count;
}

Result<void> ImageReader::read(std::span<WantedImage> wanted, ImageArena& memory) {
  QUIRE_CHECK_LE(wanted.size() * page_bytes_, memory.size_bytes());
  std::ranges::sort(wanted, {}, [](const WantedImage& one) { return one.image.position; });
  error_.reset();
  const Result<void> begun = begin_all(wanted, memory);
  transfers_.drain();
  QUIRE_CHECK_EQ(free_.size(), reads_.size());
  return error_ ? Result<void>(fail(*error_)) : begun;
}

Result<void> ImageReader::begin_all(std::span<WantedImage> wanted, ImageArena& memory) {
  std::byte* next = memory.begin();
  for (std::span<WantedImage> left = wanted; !left.empty() && !error_;) {
    const std::span<WantedImage> some = left.first(count_together(left));
    for (WantedImage& one : some) {
      one.into = next;
      next += page_bytes_;
    }
    memory.prepare(static_cast<std::uint64_t>(next - memory.begin()));
    QUIRE_TRY(begin(some));
    left = left.subspan(some.size());
  }
  return {};
}

Result<void> ImageReader::begin(std::span<const WantedImage> images) {
  std::byte* const block = images.size() > 1 ? QUIRE_TRY(transfers_.take_block()) : nullptr;
  while (free_.empty()) {
    transfers_.wait();
  }
  Read& read = *free_.back();
  free_.pop_back();
  const std::uint64_t offset_bytes = place_of(images.front());
  const std::uint64_t length_bytes = place_of(images.back()) + page_bytes_ - offset_bytes;
  read.images = images;
  read.block = block;
  read.request = {.store = &log_,
                  .operation = IoOperation::kRead,
                  .offset_bytes = offset_bytes,
                  .memory = {block == nullptr ? images[0].into : block, length_bytes},
                  .on_done =
                      [](IoRequest& request) {
                        auto* const reader = static_cast<ImageReader*>(request.context);
                        // The request is a read's first member.
                        reader->finish(*reinterpret_cast<Read*>(&request));
                      },
                  .context = this};
  ++stats_.reads;
  stats_.bytes += length_bytes;
  transfers_.begin(read.request);
  return {};
}

void ImageReader::finish(Read& read) {
  if (const Result<void> taken = take(read); !taken && !error_) {
    error_ = taken.error();
  }
  if (read.block != nullptr) {
    transfers_.give_block(read.block);
  }
  free_.push_back(&read);
}

Result<void> ImageReader::take(const Read& read) {
  if (QUIRE_TRY(read.request.result()) < read.request.memory.size()) {
    return fail(make_error(Errc::kTruncated, "read journal", log_.name(), "it became shorter"));
  }
  for (const WantedImage& wanted : read.images) {
    const std::uint64_t place = place_of(wanted);
    const auto image = read.request.memory.subspan(place - read.request.offset_bytes, page_bytes_);
    if (checksum_of(image) != wanted.image.checksum) {
      return fail(make_error(Errc::kCorrupt, "read journal",
                             log_.name() + ", " + describe(ByteRange{place, page_bytes_}),
                             "the checksum of a committed page is wrong",
                             "restore the journal and its files from a copy"));
    }
    if (image.data() != wanted.into) {
      std::memcpy(wanted.into, image.data(), image.size());
    }
  }
  return meter_.add(read.images.size() * page_bytes_);
}

}  // namespace quire::internal
