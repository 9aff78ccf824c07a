// SPDX-License-Identifier: Apache-2.0
//
// broadcast_records: Broadcast<T> and Blackboard<T> (quire/ipc/broadcast.h, blackboard.h) of which
// the size of T is known only when the segment is opened.
//
// Invariants:    object, signature and slots are those of a T of that size, with alignof(T) == 8
//                and without a name, so that both sides of a segment can be of either kind.
// Thread-safety: as there.
// Errors:        as there.
// Cost:          as there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "quire/ipc/core/broadcast_handles.h"

namespace quire::c {

// Records of more bytes are refused when they are described.
inline constexpr std::uint64_t kBroadcastRecordBytesMax = std::uint64_t{1} << 32;

// REQUIRES: 1 to kBroadcastRecordBytesMax bytes.
[[nodiscard]] ipc::ObjectSpec broadcast_spec(const std::string& name, std::uint64_t record_bytes,
                                             std::uint64_t capacity_records);
[[nodiscard]] ipc::ObjectSpec blackboard_spec(const std::string& name, std::uint64_t record_bytes);

// Of either.
class BroadcastRecordWriter : public ipc::internal::BroadcastWriterHandle {
 public:
  [[nodiscard]] static Result<BroadcastRecordWriter> open(const ipc::Segment& segment,
                                                          const std::string& name,
                                                          ipc::ObjectKind kind,
                                                          std::uint64_t record_bytes);
  [[nodiscard]] std::byte* begin() noexcept { return core_.begin(); }
  // REQUIRES: begin().
  void commit() noexcept { publish_now(); }
  // A copy of a whole record.
  void publish(const void* record) noexcept {
    publish_copy(static_cast<const std::byte*>(record), record_bytes_);
  }
  [[nodiscard]] std::uint64_t record_bytes() const noexcept { return record_bytes_; }

 private:
  std::uint64_t record_bytes_ = 0;
};

class BroadcastRecordReader : public ipc::internal::NewsReaderHandle {
 public:
  using From = ipc::internal::BroadcastFrom;

  [[nodiscard]] static Result<BroadcastRecordReader> open(const ipc::Segment& segment,
                                                          const std::string& name,
                                                          std::uint64_t record_bytes, From from);
  // Waits for a record, and gives where it is. Errors: ETIMEDOUT; kCorrupt; EAGAIN when the writer
  // has gone round again each time that we looked.
  [[nodiscard]] Result<const std::byte*> peek(const ipc::WaitOptions& options);
  // Goes on to the next. Nothing: what was peeked at has been written over.
  // REQUIRES: peek() gave a record.
  [[nodiscard]] std::optional<ipc::News> finish() noexcept {
    return finish_now() ? std::optional(news_) : std::nullopt;
  }
  // Waits for a record and copies it. Errors: as peek().
  [[nodiscard]] Result<ipc::News> read(std::byte* record, const ipc::WaitOptions& options) {
    return copy(record, record_bytes_, options);
  }
  [[nodiscard]] bool arm(const ipc::Doorbell& bell) { return arm_for(cursor_, bell); }
  [[nodiscard]] std::uint64_t record_bytes() const noexcept { return record_bytes_; }

 private:
  std::uint64_t record_bytes_ = 0;
};

class BlackboardRecordReader : public ipc::internal::LatestReaderHandle {
 public:
  [[nodiscard]] static Result<BlackboardRecordReader> open(const ipc::Segment& segment,
                                                           const std::string& name,
                                                           std::uint64_t record_bytes);
  // The version; 0 and no copy before the first. Errors: EAGAIN; kCorrupt.
  [[nodiscard]] Result<std::uint64_t> read(std::byte* value) { return copy(value, record_bytes_); }
  // Errors: ETIMEDOUT; kCorrupt.
  [[nodiscard]] Result<void> wait(const ipc::WaitOptions& options) {
    return wait_for(version_, options);
  }
  [[nodiscard]] bool arm(const ipc::Doorbell& bell) { return arm_for(version_, bell); }
  [[nodiscard]] std::uint64_t record_bytes() const noexcept { return record_bytes_; }

 private:
  std::uint64_t record_bytes_ = 0;
};

}  // namespace quire::c
