// SPDX-License-Identifier: Apache-2.0
//
// MpscRing<T>: objects of one type from many writers to one reader: each writer's in its order,
// each exactly once. For records of any length see mpsc_bytes.h; for a single writer, spsc_ring.h.
//
//   layout.add(ipc::MpscRing<Job>::object("jobs", {.capacity = 4096, .type = "Job"}));
//
//   auto writer = ipc::MpscRing<Job>::writer(segment, "jobs").value();
//   writer.try_push(job);                                     // a copy; or in place:
//   if (auto claim = writer.reserve()) { fill(*claim); claim.commit(); }
//
//   auto reader = ipc::MpscRing<Job>::reader(segment, "jobs").value();
//   Job job = reader.pop({.timeout = 1s}).value();            // a copy; or in place:
//   if (const Job* job = reader.peek()) { use(*job); reader.release(); }
//
// Life of a cell:
//
//   free --reserve(): one CAS--> claimed --commit()--> published --release()--> free, next lap
//                                  |  '--claim destroyed--> void --passed over-------^
//                                  '--its process died: abandoned, passed over, counted
//
//   free       only the next lap's claimant may change it
//   claimed    names the member that writes it, from the first instant; the reader waits for it
//   published  stays, whoever dies, until a reader releases it
//   void       nobody reads it
//
// Every claim names its claimant, so a writer may be killed anywhere: what it had committed is
// read, what it had only claimed is passed over once its process is known to be dead (at once,
// where a reader sleeps; within a thousand looks, where it spins) and counted in abandoned(). A
// writer that is *stopped* between reserve() and commit() keeps the reader, who takes objects in
// order, until it goes on, but no other writer as long as there is room; awaited() names it.
//
// There is one reader at a time, as in spsc_ring.h: a living one keeps its place, a dead one's
// successor begins with the first object that was not released.
//
// What is shared:
//   control, 320 bytes: core/mpsc_control.h has the table
//   cells, from byte 320 on: 8 bytes word (core/lap_word.h), then the object; a cell is a power
//   of two up to 64 bytes, and a multiple of 64 beyond, so that no two writers of large objects
//   share a line
//
// Invariants:    those of core/mpsc_cells.h; check_invariants() asserts them.
// Thread-safety: a Writer may be used by any number of threads at once; a Reader by one at a time.
//                Not usable in a child of fork(). A thread that ends without its process between
//                reserve() and commit() must destroy its claim.
// Errors:        opening: EBUSY, ENOENT, kWrongKind, kCorrupt. Waiting forms: ETIMEDOUT, kCorrupt.
//                try_ forms: false and empty claims.
// Cost:          push: two compare-and-swaps, a copy, a store. pop: a copy, two stores. No system
//                call unless the other side sleeps (bench/ipc_bench).
// Safety:        as spsc_ring.h says.
// Source:        core/mpsc_cells.h.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "quire/ipc/core/mpsc_cells.h"
#include "quire/ipc/core/mpsc_handles.h"
#include "quire/ipc/core/ring_spec.h"

namespace quire::ipc {

template <typename T>
class MpscRing {
  static_assert(internal::kFitsSharedMemory<T>, "T must be trivially copyable and not a pointer");

 public:
  struct Options {
    std::uint64_t capacity = 1024;  // Objects; rounded up to a power of two.
    std::string type = {};          // T's name, for who is told that it does not fit.
  };
  [[nodiscard]] static ObjectSpec object(std::string name, const Options& options) {
    return internal::ring_spec(std::move(name), internal::element_of<T>(options.type), kShape,
                               internal::round_capacity(options.capacity));
  }

  class Writer;

  // A cell that is ours to fill. Given up when it is destroyed without commit().
  // REQUIRES: its Writer stays where it is meanwhile.
  class Claim {
   public:
    Claim() noexcept = default;
    Claim(Claim&& other) noexcept
        : writer_(std::exchange(other.writer_, nullptr)), position_(other.position_) {}
    Claim& operator=(Claim&& other) noexcept {
      if (this != &other) {
        give_up();
        writer_ = std::exchange(other.writer_, nullptr);
        position_ = other.position_;
      }
      return *this;
    }
    ~Claim() { give_up(); }

    [[nodiscard]] explicit operator bool() const noexcept { return writer_ != nullptr; }
    [[nodiscard]] T& operator*() const noexcept { return *writer_->at(position_); }
    [[nodiscard]] T* operator->() const noexcept { return writer_->at(position_); }
    // Publishes it; the claim is empty afterwards. REQUIRES: not empty.
    void commit() noexcept { std::exchange(writer_, nullptr)->publish(position_); }

   private:
    friend class Writer;
    Claim(const Writer& writer, std::uint64_t position) noexcept
        : writer_(&writer), position_(position) {}
    void give_up() noexcept {
      if (writer_ != nullptr) {
        std::exchange(writer_, nullptr)->give_up(position_);
      }
    }

    const Writer* writer_ = nullptr;
    std::uint64_t position_ = 0;
  };

  class Writer : public internal::MpscWriterHandle {
   public:
    // Empty when the ring is full.
    [[nodiscard]] Claim reserve() const noexcept {
      std::uint64_t position = 0;
      return core_.claim(position) == internal::TryResult::kDone ? Claim(*this, position) : Claim();
    }
    // Waits for room. Errors: ETIMEDOUT; kCorrupt.
    [[nodiscard]] Result<Claim> reserve(const WaitOptions& options) const {
      std::uint64_t position = 0;
      QUIRE_TRY(wait_for_room(options, [&] { return core_.claim(position); }));
      return Claim(*this, position);
    }
    // False: the ring is full.
    bool try_push(const T& object) const noexcept {
      std::uint64_t position = 0;
      if (core_.claim(position) != internal::TryResult::kDone) {
        return false;
      }
      std::memcpy(at(position), &object, sizeof(T));
      publish(position);
      return true;
    }
    // Waits for room. Errors: ETIMEDOUT; kCorrupt.
    Result<void> push(const T& object, const WaitOptions& options = {}) const {
      if (!try_push(object)) [[unlikely]] {
        Claim claim = QUIRE_TRY(reserve(options));
        std::memcpy(&*claim, &object, sizeof(T));
        claim.commit();
      }
      return {};
    }

   private:
    friend class MpscRing;
    friend class Claim;
    Writer() noexcept = default;

    [[nodiscard]] T* at(std::uint64_t position) const noexcept {
      return reinterpret_cast<T*>(core_.place().payload(position));
    }
    void publish(std::uint64_t position) const noexcept {
      core_.publish(position);
      tell_reader();
    }
    void give_up(std::uint64_t position) const noexcept {
      core_.give_up(position);
      tell_reader();
    }

    internal::MpscCellsWriter core_;
  };

  class Reader : public internal::MpscReaderHandle<internal::MpscCellsReader> {
   public:
    // The next object, or nullptr. It stays until release().
    [[nodiscard]] const T* peek() noexcept {
      return this->look() == internal::TryResult::kDone
                 ? reinterpret_cast<const T*>(this->core_.payload())
                 : nullptr;
    }
    // Gives what peek() returned back. REQUIRES: it returned an object.
    void release() noexcept { this->give_back(); }

    // False: there is nothing to read.
    bool try_pop(T& object) noexcept {
      const T* next = peek();
      if (next == nullptr) {
        return false;
      }
      std::memcpy(&object, next, sizeof(T));
      release();
      return true;
    }
    // Waits for an object. Errors: ETIMEDOUT; kCorrupt.
    Result<T> pop(const WaitOptions& options = {}) {
      const T* next = peek();
      if (next == nullptr) [[unlikely]] {
        QUIRE_TRY(this->wait(options));
        next = peek();
      }
      if (next == nullptr) [[unlikely]] {  // It was there, and is not: somebody took it away.
        return fail(internal::corrupt(this->seat_.object(), "pop"));
      }
      Result<T> object(*next);
      release();
      return object;
    }

   private:
    friend class MpscRing;
    Reader() noexcept = default;
  };

  [[nodiscard]] static Result<Writer> writer(const Segment& segment, std::string_view name) {
    ObjectRef object = QUIRE_TRY(find(segment, name));
    Writer writer;
    writer.core_ = internal::MpscCellsWriter(place_of(object), object.participants().self().word());
    QUIRE_TRY(Writer::open(writer, std::move(object)));
    return writer;
  }
  [[nodiscard]] static Result<Reader> reader(const Segment& segment, std::string_view name) {
    ObjectRef object = QUIRE_TRY(find(segment, name));
    Reader reader;
    const internal::MpscCellsPlace place = place_of(object);
    QUIRE_TRY(Reader::open(reader, std::move(object), place));
    return reader;
  }

 private:
  static constexpr std::size_t kAlignment = std::max<std::size_t>(64, alignof(T));
  static constexpr std::size_t kPayloadOffset = std::max<std::size_t>(8, alignof(T));
  static constexpr std::size_t kCellBytes = kPayloadOffset + sizeof(T);
  static constexpr internal::RingShape kShape{
      .kind = ObjectKind::kMpscRing,
      .control_bytes = sizeof(internal::MpscControl),
      .stride_bytes = kCellBytes <= 64 ? std::bit_ceil(kCellBytes)
                                       : (kCellBytes + kAlignment - 1) & ~(kAlignment - 1),
      .alignment_bytes = kAlignment};

  static Result<ObjectRef> find(const Segment& segment, std::string_view name) {
    return internal::find_ring(segment, name, ObjectKind::kMpscRing, internal::element_of<T>({}));
  }
  static internal::MpscCellsPlace place_of(const ObjectRef& object) noexcept {
    const internal::RingPlace place = internal::ring_place(object, kShape);
    return {.control = reinterpret_cast<internal::MpscControl*>(object.bytes().data()),
            .cells = place.elements,
            .cell_count = place.capacity,
            .stride_bytes = kShape.stride_bytes,
            .payload_offset_bytes = kPayloadOffset};
  }
};

}  // namespace quire::ipc
