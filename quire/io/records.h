// SPDX-License-Identifier: Apache-2.0
//
// records: small pieces, gathered: the answer to one system call per byte.
//
//   RecordWriter log = QUIRE_TRY(RecordWriter::make(*file));   // appends at the file's end
//   QUIRE_TRY(log.append(bytes));                              // a memcpy, mostly
//   QUIRE_TRY(log.flush(Durability::kData));                   // now it is on disk
//   QUIRE_TRY(log.close());
//
//   RecordReader in(*file);
//   while (true) { auto record = QUIRE_TRY(in.next(64)); if (record.empty()) break; ... }
//
// Neither frames records: lengths are the caller's business.
//
//   |== handed to the store ==|== gathered in the buffer ==|   next append
//   0                    written_bytes                 size_bytes
//
// The buffer starts at a page, and a byte lies in it as far from a page as it does in the store. So
// full buffers end at the edge of a page, and a direct store takes them without copying.
//
// Invariants:    bytes reach the store in order and once; after an error that reached append() or
//                flush(), both give it for ever (the store may hold part of the buffer).
// Thread-safety: one thread at a time.
// Blocks:        append() when the buffer is full, next() when it is empty; flush(), close().
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>

#include "quire/base/result.h"
#include "quire/io/store.h"

namespace quire {

struct RecordOptions {
  std::uint64_t offset_bytes = kToEnd;    // Where to begin. kToEnd: writer, the end; reader, 0.
  std::size_t buffer_bytes = 256 * 1024;  // Large enough that a system call costs nothing per
                                          // record, small enough to stay in the L2 cache.
};

namespace internal {

// Memory that starts at a page, of at least two pages.
class RecordBuffer {
 public:
  static constexpr std::size_t kPageBytes = 4096;

  explicit RecordBuffer(std::size_t wanted_bytes);

  [[nodiscard]] std::byte* begin() const noexcept { return memory_.get(); }
  [[nodiscard]] std::byte* end() const noexcept { return memory_.get() + size_bytes_; }
  [[nodiscard]] std::size_t size_bytes() const noexcept { return size_bytes_; }
  // Where the byte at that offset of the store may lie.
  [[nodiscard]] std::byte* place_of(std::uint64_t offset_bytes) const noexcept {
    return begin() + offset_bytes % kPageBytes;
  }

 private:
  struct Free {
    void operator()(std::byte* memory) const noexcept;
  };
  std::size_t size_bytes_;
  std::unique_ptr<std::byte, Free> memory_;
};

}  // namespace internal

class RecordWriter {
 public:
  // Errors: of the store's size.
  static Result<RecordWriter> make(Store& store, const RecordOptions& options = {});
  RecordWriter(RecordWriter&& other) noexcept;
  RecordWriter& operator=(RecordWriter&&) = delete;
  // What was not flushed is lost; REQUIRES close() or flush() before, for who cares.
  ~RecordWriter() = default;

  // Errors: of the write that a full buffer caused; kClosed.
  Result<void> append(std::span<const std::byte> record) {
    // An empty record wraps around, and goes the slow way: memcpy wants an address.
    if (record.size() - 1 < free_bytes_) [[likely]] {
      std::memcpy(next_, record.data(), record.size());
      next_ += record.size();
      free_bytes_ -= record.size();
      return {};
    }
    return append_slowly(record);
  }
  // Writes what is gathered, then store.sync(durability). std::nullopt: only the write.
  Result<void> flush(std::optional<Durability> durability);
  // flush(std::nullopt), and no more appends (kClosed).
  Result<void> close();
  // Where the next record goes.
  [[nodiscard]] std::uint64_t position_bytes() const noexcept {
    return written_bytes_ + static_cast<std::uint64_t>(next_ - first_);
  }

 private:
  RecordWriter(Store& store, std::uint64_t offset_bytes, std::size_t buffer_bytes);
  Result<void> append_slowly(std::span<const std::byte> record);
  Result<void> write_out();
  Result<void> write(std::span<const std::byte> bytes);
  Result<void> stop(const Error& error);
  void start_buffer();

  Store* store_;
  std::uint64_t written_bytes_;  // In the store, up to here.
  internal::RecordBuffer buffer_;
  std::byte* first_ = nullptr;  // What is gathered: from here ...
  std::byte* next_ = nullptr;   // ... to here.
  std::size_t free_bytes_ = 0;  // After next_; 0 once failed or closed.
  std::optional<Error> error_;  // Failed or closed.
};

class RecordReader {
 public:
  explicit RecordReader(Store& store, const RecordOptions& options = {});

  // The next `length_bytes`, valid until the next call. Fewer, down to none, at the end. A length
  // beyond the buffer's makes it grow, as far as the store has bytes.
  // Errors: of the store's read; a later call tries again.
  Result<std::span<const std::byte>> next(std::size_t length_bytes) {
    if (length_bytes <= static_cast<std::size_t>(last_ - next_)) [[likely]] {
      return take(length_bytes);
    }
    return next_slowly(length_bytes);
  }
  [[nodiscard]] std::uint64_t position_bytes() const noexcept {
    return read_bytes_ - static_cast<std::uint64_t>(last_ - next_);
  }

 private:
  std::span<const std::byte> take(std::size_t length_bytes) noexcept {
    const std::span<const std::byte> record(next_, length_bytes);
    next_ += length_bytes;
    return record;
  }
  Result<std::span<const std::byte>> next_slowly(std::size_t length_bytes);
  Result<void> make_room(std::size_t length_bytes);

  Store* store_;
  std::uint64_t read_bytes_;  // Read from the store, up to here.
  internal::RecordBuffer buffer_;
  std::byte* next_;  // What is not handed out yet: from here ...
  std::byte* last_;  // ... to here, which is read_bytes_ in the store.
};

}  // namespace quire
