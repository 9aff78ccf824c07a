// SPDX-License-Identifier: Apache-2.0
//
// MpscBytes: records of any length from many writers to one reader: each writer's in its order,
// each exactly once, each in one piece. For objects of one type see mpsc_ring.h, whose promises,
// states and remarks about death these are, too.
//
//   layout.add(ipc::MpscBytes::object("log", {.capacity_bytes = 1 << 20}));
//
//   auto writer = ipc::MpscBytes::writer(segment, "log").value();
//   if (auto claim = writer.reserve(200)) { claim.commit(format_into(claim.bytes())); }
//
//   auto reader = ipc::MpscBytes::reader(segment, "log").value();
//   while (auto record = reader.peek()) { write(*record); reader.release(); }
//
// A record takes a slot and as many bytes as it has, rounded up to eight. Slots are claimed like
// the cells of an MpscRing; a record begins where the one of the slot before it ends.
//
// What is shared:
//   control, 320 bytes: core/mpsc_control.h has the table
//   slots from byte 320 on, 32 bytes each: core/mpsc_records.h has the table
//   bytes, a power of two and whole pages, mapped twice in a row
//
// Invariants:    those of core/mpsc_records.h; check_invariants() asserts them.
// Thread-safety: a Writer may be used by any number of threads at once; a Reader by one at a time.
//                Not usable in a child of fork().
// Errors:        those of mpsc_ring.h; kLimit for a record longer than record_bytes_max().
// Cost:          push: three compare-and-swaps, a copy, two stores. pop: four stores. No system
//                call unless the other side sleeps.
// Safety:        a record is the writer's bytes, which may change under a reader who does not
//                trust it; its place and length may not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "quire/ipc/core/mpsc_handles.h"
#include "quire/ipc/core/mpsc_records.h"
#include "quire/ipc/core/ring_spec.h"

namespace quire::ipc {

class MpscBytes {
 public:
  struct Options {
    std::uint64_t capacity_bytes = std::uint64_t{1} << 20;  // Rounded up; at least a page.
    // Records at once, one fewer in fact; rounded up. 0: one for each 64 bytes.
    std::uint64_t capacity_records = 0;
  };
  [[nodiscard]] static ObjectSpec object(std::string name, const Options& options);

  class Writer;

  // A record that is ours to fill. Given up when it is destroyed without commit().
  // REQUIRES: its Writer stays where it is meanwhile.
  class Claim {
   public:
    Claim() noexcept = default;
    Claim(Claim&& other) noexcept
        : writer_(std::exchange(other.writer_, nullptr)), record_(other.record_) {}
    Claim& operator=(Claim&& other) noexcept;
    ~Claim() { give_up(); }

    [[nodiscard]] explicit operator bool() const noexcept { return writer_ != nullptr; }
    [[nodiscard]] std::span<std::byte> bytes() const noexcept { return record_.bytes; }
    // Publishes the first `length_bytes` of it; the claim is empty afterwards.
    // REQUIRES: not empty; length_bytes <= bytes().size().
    void commit(std::uint64_t length_bytes) noexcept;

   private:
    friend class MpscBytes;
    Claim(const Writer& writer, const internal::RecordClaim& record) noexcept
        : writer_(&writer), record_(record) {}
    void give_up() noexcept;

    const Writer* writer_ = nullptr;
    internal::RecordClaim record_;
  };

  class Writer : public internal::MpscWriterHandle {
   public:
    // Empty when there is no room, now or ever.
    [[nodiscard]] Claim reserve(std::uint64_t length_bytes) const noexcept;
    // Waits for room. Errors: ETIMEDOUT; kCorrupt; kLimit.
    [[nodiscard]] Result<Claim> reserve(std::uint64_t length_bytes,
                                        const WaitOptions& options) const;
    // A copy. False: there is no room.
    bool try_push(std::span<const std::byte> record) const noexcept;
    // A copy; waits for room. Errors: ETIMEDOUT; kCorrupt; kLimit.
    Result<void> push(std::span<const std::byte> record, const WaitOptions& options = {}) const;

    [[nodiscard]] std::uint64_t record_bytes_max() const noexcept {
      return core_.place().capacity_bytes;
    }

   private:
    friend class MpscBytes;
    Writer() noexcept = default;

    internal::MpscRecordsWriter core_;
  };

  class Reader : public internal::MpscReaderHandle<internal::MpscRecordsReader> {
   public:
    // The next record; it stays until release().
    [[nodiscard]] std::optional<std::span<const std::byte>> peek() noexcept;
    // Gives what peek() returned back. REQUIRES: it returned a record.
    void release() noexcept { give_back(); }
    // Waits for a record. Errors: ETIMEDOUT; kCorrupt.
    [[nodiscard]] Result<std::span<const std::byte>> peek(const WaitOptions& options);

   private:
    friend class MpscBytes;
    Reader() noexcept = default;
  };

  [[nodiscard]] static Result<Writer> writer(const Segment& segment, std::string_view name);
  [[nodiscard]] static Result<Reader> reader(const Segment& segment, std::string_view name);
};

}  // namespace quire::ipc
