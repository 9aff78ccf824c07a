// SPDX-License-Identifier: Apache-2.0
//
// Broadcast<T>: one writer who never waits, and any number of readers, each of whom sees what it is
// fast enough for and is told exactly how much it has missed.
//
//   layout.add(ipc::Broadcast<Frame>::object("camera", {.capacity = 8, .type = "Frame"}));
//
//   auto camera = ipc::Broadcast<Frame>::writer(segment, "camera").value();
//   camera.publish(frame);                                       // a copy; or in place:
//   fill(camera.begin()); camera.commit();
//
//   auto viewer = ipc::Broadcast<Frame>::reader(segment, "camera").value();
//   const auto news = viewer.read(frame, {.timeout = 1s}).value();   // a copy, whole
//   if (news.missed != 0) ...
//   if (const Frame* seen = viewer.peek()) {                     // in place
//     const auto result = look_at(*seen);
//     if (viewer.finish()) use(result);      // false: it was written over meanwhile; forget result
//   }
//
// A reader has a cursor of its own, in its own memory:
//
//   at(n) --object n read--> at(n + 1)
//     '--object n was written over--> at(the oldest that is left), missed += as many as it skipped
//
// so that for every reader, objects read + missed = objects published since it began.
//
// A writer may be killed anywhere: the object it was writing is not seen, or is, if it had become
// whole; the next writer goes on after it. Readers can be stopped or killed as they like: nobody
// waits for them, and they leave nothing behind.
//
// What is shared:
//   control, 192 bytes, and the sequence of each slot: core/broadcast_core.h has the tables
//   slots from byte 192 on: 8 bytes sequence, the object; a multiple of 64 bytes
//
// Invariants:    those of core/broadcast_core.h; check_invariants() asserts them.
// Thread-safety: a handle is for one thread at a time; one writer, any number of readers. Not
//                usable in a child of fork().
// Errors:        opening: EBUSY for a second writer, ENOENT, kWrongKind. read(), wait(): ETIMEDOUT,
//                kCorrupt.
// Cost:          publish: a copy, three stores. read: a copy, three loads. What readers do costs
//                the writer no more than the lines they have looked at.
// Safety:        peek() shows bytes that the writer may be changing: use nothing of them before
//                finish() said true, and follow no index in them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "quire/ipc/core/broadcast_handles.h"

namespace quire::ipc {

template <typename T>
class Broadcast {
  static_assert(internal::kFitsSharedMemory<T>, "T must be trivially copyable and not a pointer");
  static constexpr ObjectKind kKind = ObjectKind::kBroadcast;

 public:
  struct Options {
    std::uint64_t capacity = 64;  // Objects; rounded up to a power of two.
    std::string type = {};        // T's name, for who is told that it does not fit.
  };
  [[nodiscard]] static ObjectSpec object(std::string name, const Options& options) {
    const internal::ElementType element = internal::element_of<T>(options.type);
    return internal::ring_spec(std::move(name), element, internal::broadcast_shape(kKind, element),
                               internal::round_capacity(options.capacity));
  }

  class Writer : public internal::BroadcastWriterHandle {
   public:
    void publish(const T& object) noexcept {
      publish_copy(reinterpret_cast<const std::byte*>(&object), sizeof(T));
    }
    // Where the next object goes; what is there is one that readers can no longer see.
    [[nodiscard]] T& begin() noexcept { return *reinterpret_cast<T*>(core_.begin()); }
    // REQUIRES: begin().
    void commit() noexcept { publish_now(); }
    // Objects published since the beginning, by this writer and those before it.
    [[nodiscard]] std::uint64_t published() const noexcept { return core_.number(); }

   private:
    friend class Broadcast;
    Writer() noexcept = default;
  };

  using From = internal::BroadcastFrom;

  class Reader : public internal::NewsReaderHandle {
   public:
    // The next object, or nullptr when there is none yet. REQUIRES: finish() before its use.
    [[nodiscard]] const T* peek() noexcept { return reinterpret_cast<const T*>(peek_now()); }
    // Goes on to the next. True: what peek() showed was whole until now. False: it was not; peek()
    // again. REQUIRES: peek() returned an object.
    [[nodiscard]] bool finish() noexcept { return finish_now(); }
    // About what finish() said true of.
    [[nodiscard]] const News& news() const noexcept { return news_; }

    // A copy. False: there is nothing new. A writer that went round the ring at each of many turns
    // makes us look idle, not hang.
    bool try_read(T& object) noexcept {
      return try_copy(reinterpret_cast<std::byte*>(&object), sizeof(T));
    }
    // Waits for the next object. Errors: ETIMEDOUT; EAGAIN when every one was written over before
    // it could be copied, again and again; kCorrupt.
    Result<News> read(T& object, const WaitOptions& options = {}) {
      return copy(reinterpret_cast<std::byte*>(&object), sizeof(T), options);
    }
    // Waits until it is worth while to peek(): there is an object, or one was written over. Errors:
    // ETIMEDOUT; kCorrupt, for good, which ends a loop of peek() and wait().
    Result<void> wait(const WaitOptions& options = {}) { return wait_for_next(options); }
    // True: `bell` will ring when there is a next object. False: there is already, or never will
    // be: who sees nothing then asks is_corrupt().
    [[nodiscard]] bool arm(const Doorbell& bell) { return arm_for(cursor_, bell); }

    // Whether a sequence made no sense; then there is never anything to read.
    [[nodiscard]] bool is_corrupt() const noexcept { return is_corrupt_; }
    // REQUIRES: nobody writes meanwhile.
    [[nodiscard]] bool check_invariants() const noexcept { return core_.is_sound(); }

   private:
    friend class Broadcast;
    Reader() noexcept = default;
  };

  [[nodiscard]] static Result<Writer> writer(const Segment& segment, std::string_view name) {
    Writer writer;
    QUIRE_TRY(Writer::open(writer, segment, name, kKind, internal::element_of<T>({})));
    return writer;
  }
  // kNewest: the first object read is the first that is published from now on.
  [[nodiscard]] static Result<Reader> reader(const Segment& segment, std::string_view name,
                                             From from = From::kNewest) {
    Reader reader;
    QUIRE_TRY(Reader::open(reader, segment, name, kKind, internal::element_of<T>({})));
    reader.start(from);
    return reader;
  }
};

}  // namespace quire::ipc
