// SPDX-License-Identifier: Apache-2.0
#include "quire/io/records.h"

#include <algorithm>
#include <new>
#include <utility>

#include "quire/base/page_window.h"

namespace quire {
namespace internal {
namespace {

constexpr PageSize kPage{RecordBuffer::kPageBytes};
constexpr std::align_val_t kAlignment{RecordBuffer::kPageBytes};

}  // namespace

RecordBuffer::RecordBuffer(std::size_t wanted_bytes)
    : size_bytes_(round_up(std::max(wanted_bytes, 2 * kPageBytes), kPage)),
      memory_(static_cast<std::byte*>(::operator new(size_bytes_, kAlignment))) {}

void RecordBuffer::Free::operator()(std::byte* memory) const noexcept {
  ::operator delete(memory, kAlignment);
}

}  // namespace internal

using internal::RecordBuffer;

Result<RecordWriter> RecordWriter::make(Store& store, const RecordOptions& options) {
  const std::uint64_t offset_bytes =
      options.offset_bytes == kToEnd ? QUIRE_TRY(store.size_bytes()) : options.offset_bytes;
  return RecordWriter(store, offset_bytes, options.buffer_bytes);
}

RecordWriter::RecordWriter(Store& store, std::uint64_t offset_bytes, std::size_t buffer_bytes)
    : store_(&store), written_bytes_(offset_bytes), buffer_(buffer_bytes) {
  start_buffer();
}

RecordWriter::RecordWriter(RecordWriter&& other) noexcept
    : store_(other.store_),
      written_bytes_(other.written_bytes_),
      buffer_(std::move(other.buffer_)),
      first_(other.first_),
      next_(std::exchange(other.next_, other.first_)),
      free_bytes_(std::exchange(other.free_bytes_, 0)),
      error_(std::move(other.error_)) {
  other.error_ = make_error(Errc::kClosed, "append", store_->name(), "the writer was moved from");
}

void RecordWriter::start_buffer() {
  first_ = next_ = buffer_.place_of(written_bytes_);
  free_bytes_ = static_cast<std::size_t>(buffer_.end() - next_);
}

Result<void> RecordWriter::stop(const Error& error) {
  error_ = error;
  free_bytes_ = 0;
  return fail(error);
}

Result<void> RecordWriter::write(std::span<const std::byte> bytes) {
  const Result<void> written = store_->write(written_bytes_, bytes);
  if (!written) {
    return stop(written.error());
  }
  written_bytes_ += bytes.size();
  return {};
}

Result<void> RecordWriter::write_out() {
  QUIRE_TRY(write({first_, next_}));
  start_buffer();
  return {};
}

Result<void> RecordWriter::append_slowly(std::span<const std::byte> record) {
  if (error_) {
    return fail(*error_);
  }
  while (record.size() > free_bytes_) {
    // Up to the edge of a page, which is where the buffer ends.
    const std::size_t fits = free_bytes_;
    std::memcpy(next_, record.data(), fits);
    next_ += fits;
    record = record.subspan(fits);
    QUIRE_TRY(write_out());
    if (record.size() >= buffer_.size_bytes()) {
      const std::size_t whole = round_down(record.size(), internal::kPage);
      QUIRE_TRY(write(record.first(whole)));
      record = record.subspan(whole);
    }
  }
  if (!record.empty()) {
    std::memcpy(next_, record.data(), record.size());
  }
  next_ += record.size();
  free_bytes_ -= record.size();
  return {};
}

Result<void> RecordWriter::flush(std::optional<Durability> durability) {
  if (error_) {
    return fail(*error_);
  }
  if (next_ != first_) {
    QUIRE_TRY(write_out());
  }
  if (durability) {
    const Result<void> synced = store_->sync(*durability);
    if (!synced) {
      return stop(synced.error());
    }
  }
  return {};
}

Result<void> RecordWriter::close() {
  QUIRE_TRY(flush(std::nullopt));
  free_bytes_ = 0;
  error_ = make_error(Errc::kClosed, "append", store_->name());
  return {};
}

RecordReader::RecordReader(Store& store, const RecordOptions& options)
    : store_(&store),
      read_bytes_(options.offset_bytes == kToEnd ? 0 : options.offset_bytes),
      buffer_(options.buffer_bytes),
      next_(buffer_.place_of(read_bytes_)),
      last_(next_) {}

Result<std::span<const std::byte>> RecordReader::next_slowly(std::size_t length_bytes) {
  QUIRE_TRY(make_room(length_bytes));
  const std::span<std::byte> room(last_, buffer_.end());
  const std::uint64_t got = QUIRE_TRY(store_->read(read_bytes_, room));
  last_ += got;
  read_bytes_ += got;
  return take(std::min(length_bytes, static_cast<std::size_t>(last_ - next_)));
}

// Moves what is left to the front, into a larger buffer if need be.
Result<void> RecordReader::make_room(std::size_t length_bytes) {
  const std::uint64_t position = position_bytes();
  const auto left = static_cast<std::size_t>(last_ - next_);
  if (length_bytes > buffer_.size_bytes() - RecordBuffer::kPageBytes) {
    // A length that was read from a damaged file must not take all memory.
    const std::uint64_t size_bytes = QUIRE_TRY(store_->size_bytes());
    const std::uint64_t present = size_bytes > position ? size_bytes - position : 0;
    RecordBuffer larger(std::min<std::uint64_t>(length_bytes, present) + RecordBuffer::kPageBytes);
    if (larger.size_bytes() > buffer_.size_bytes()) {
      std::memcpy(larger.place_of(position), next_, left);
      std::swap(buffer_, larger);
      next_ = buffer_.place_of(position);
      last_ = next_ + left;
      return {};
    }
  }
  std::byte* front = buffer_.place_of(position);
  std::memmove(front, next_, left);
  next_ = front;
  last_ = front + left;
  return {};
}

}  // namespace quire
