// SPDX-License-Identifier: Apache-2.0
//
// SpscBytes: records of any length from one writer to one reader, in order, each exactly once, each
// in one piece. For objects of one type see spsc_ring.h, whose promises these are, too.
//
//   layout.add(ipc::SpscBytes::object("frames", {.capacity_bytes = 8 << 20}));
//
//   auto writer = ipc::SpscBytes::writer(segment, "frames").value();
//   if (auto room = writer.reserve(1 << 20); room.data() != nullptr) {   // in place: no copy
//     writer.commit(encode(room));                                       // what was needed of it
//   }
//   auto reader = ipc::SpscBytes::reader(segment, "frames").value();
//   if (auto record = reader.peek()) { use(*record); reader.release(); }
//
// The bytes are mapped twice in a row, so that a record which crosses the end is in one piece:
//
//   |======= capacity =======|======= capacity =======|       the same memory, twice
//                     |8|---- record ----|..|                 prefix, bytes, up to a multiple of 8
//
// What is shared:
//   control, 256 bytes, as in spsc_ring.h; tail and head count bytes
//   bytes, a power of two and whole pages; the record at position p is at p % capacity:
//     0  4  length of the record     4  4  zero     8  -  its bytes, then up to 7 of any value
//
// Invariants:    those of spsc_ring.h; positions are multiples of 8; prefix and record lie between
//                head and tail. A length that would not makes the reader is_corrupt().
// Thread-safety: as spsc_ring.h says.
// Errors:        those of spsc_ring.h; kLimit for a record longer than record_bytes_max().
// Cost:          as spsc_ring.h says, and 8 bytes for each record.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "quire/ipc/core/ring_spec.h"
#include "quire/ipc/core/spsc_handles.h"

namespace quire::ipc {

class SpscBytes {
 public:
  struct Options {
    std::uint64_t capacity_bytes = std::uint64_t{1} << 20;  // Rounded up; at least a page.
  };
  [[nodiscard]] static ObjectSpec object(std::string name, const Options& options);

  class Writer : public internal::SpscWriterHandle {
   public:
    // Room for a record of `length_bytes`; its data() is nullptr when there is none, now or ever.
    [[nodiscard]] std::span<std::byte> reserve(std::uint64_t length_bytes) noexcept;
    // Publishes the first `length_bytes` of what reserve() returned.
    void commit(std::uint64_t length_bytes) noexcept;
    // Waits for room. Errors: ETIMEDOUT; kCorrupt; kLimit.
    [[nodiscard]] Result<std::span<std::byte>> reserve(std::uint64_t length_bytes,
                                                       const WaitOptions& options);

    // A copy. False: there is no room.
    bool try_push(std::span<const std::byte> record) noexcept;
    // A copy; waits for room. Errors: ETIMEDOUT; kCorrupt; kLimit.
    Result<void> push(std::span<const std::byte> record, const WaitOptions& options = {});

    // True: `bell` will ring when there is room for so much. False: there is already.
    [[nodiscard]] bool arm(const Doorbell& bell, std::uint64_t length_bytes);

    [[nodiscard]] std::uint64_t record_bytes_max() const noexcept;

   private:
    friend class SpscBytes;
    Writer() noexcept = default;

    std::byte* bytes_ = nullptr;
    std::uint64_t capacity_bytes_ = 0;
  };

  class Reader : public internal::SpscReaderHandle {
   public:
    // The next record; it stays until release().
    [[nodiscard]] std::optional<std::span<const std::byte>> peek() noexcept;
    // Gives what peek() returned back. REQUIRES: it returned a record.
    void release() noexcept;
    // Waits for a record. Errors: ETIMEDOUT; kCorrupt.
    [[nodiscard]] Result<std::span<const std::byte>> peek(const WaitOptions& options);

   private:
    friend class SpscBytes;
    Reader() noexcept = default;

    const std::byte* bytes_ = nullptr;
    std::uint64_t capacity_bytes_ = 0;
    std::uint64_t next_bytes_ = 0;  // Of the record that peek() returned, with its prefix.
  };

  [[nodiscard]] static Result<Writer> writer(const Segment& segment, std::string_view name);
  [[nodiscard]] static Result<Reader> reader(const Segment& segment, std::string_view name);
};

}  // namespace quire::ipc
