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
// Errors:        opening: EBUSY for a second writer, ENOENT, kWrongKind. read(): ETIMEDOUT,
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

// What came with an object.
struct News {
  std::uint64_t number = 0;  // Of the object, counted from 0 since the beginning.
  std::uint64_t missed = 0;  // Objects between the one read before and this one.
};

template <typename T>
class Broadcast {
  static_assert(internal::kFitsSharedMemory<T>, "T must be trivially copyable and not a pointer");
  using Shape = internal::BroadcastShape<T>;
  static constexpr ObjectKind kKind = ObjectKind::kBroadcast;

 public:
  struct Options {
    std::uint64_t capacity = 64;  // Objects; rounded up to a power of two.
    std::string type = {};        // T's name, for who is told that it does not fit.
  };
  [[nodiscard]] static ObjectSpec object(std::string name, const Options& options) {
    return internal::ring_spec(std::move(name), internal::element_of<T>(options.type),
                               Shape::shape(kKind), internal::round_capacity(options.capacity));
  }

  class Writer : public internal::BroadcastWriterHandle {
   public:
    void publish(const T& object) noexcept {
      internal::copy_words_in(core_.begin(), reinterpret_cast<const std::byte*>(&object),
                              sizeof(T));
      publish_now();
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

  enum class From : std::uint8_t { kNewest, kOldest };

  class Reader : public internal::BroadcastReaderHandle {
   public:
    // The next object, or nullptr when there is none yet. REQUIRES: finish() before its use.
    [[nodiscard]] const T* peek() noexcept {
      return seek() == internal::Sight::kWhole ? reinterpret_cast<const T*>(core_.payload(cursor_))
                                               : nullptr;
    }
    // Goes on to the next. True: what peek() showed was whole until now. False: it was not; peek()
    // again. REQUIRES: peek() returned an object.
    [[nodiscard]] bool finish() noexcept {
      const bool was_whole = core_.is_still(cursor_);
      if (was_whole) {
        news_ = {.number = cursor_, .missed = std::exchange(missed_, 0)};
        ++cursor_;
      }
      return was_whole;
    }
    // About what finish() said true of.
    [[nodiscard]] const News& news() const noexcept { return news_; }

    // A copy. False: there is nothing new.
    bool try_read(T& object) noexcept {
      // Each turn but the last means that the writer has gone round the ring; one that has written
      // so fast for so long makes us look idle, not hang.
      for (int turn = 0; turn < kTurnsMax; ++turn) {
        const internal::Sight sight = seek();
        if (sight == internal::Sight::kGone) {
          continue;
        }
        if (sight != internal::Sight::kWhole) {
          return false;
        }
        internal::copy_words_out(reinterpret_cast<std::byte*>(&object), core_.payload(cursor_),
                                 sizeof(T));
        if (finish()) {
          return true;
        }
      }
      return false;
    }
    // Waits for the next object. Errors: ETIMEDOUT; EAGAIN when every one was written over before
    // it could be copied, again and again; kCorrupt.
    Result<News> read(T& object, const WaitOptions& options = {}) {
      for (int turn = 0; turn < kTurnsMax; ++turn) {
        if (try_read(object)) {
          return news_;
        }
        if (is_corrupt_) {
          return fail(internal::corrupt(seat_.object(), "read"));
        }
        QUIRE_TRY(wait_for(cursor_, options));
      }
      return fail(internal::overtaken(seat_.object(), "read"));
    }
    // Waits until peek() has something to show. Errors: ETIMEDOUT.
    Result<void> wait(const WaitOptions& options = {}) { return wait_for(cursor_, options); }
    // True: `bell` will ring when there is a next object. False: there is already.
    [[nodiscard]] bool arm(const Doorbell& bell) { return arm_for(cursor_, bell); }

    // Whether a sequence made no sense; then there is never anything to read.
    [[nodiscard]] bool is_corrupt() const noexcept { return is_corrupt_; }
    // REQUIRES: nobody writes meanwhile.
    [[nodiscard]] bool check_invariants() const noexcept { return core_.is_sound(); }

   private:
    friend class Broadcast;
    Reader() noexcept = default;
    static constexpr int kTurnsMax = 1000;

    // Moves the cursor to where something can be seen.
    internal::Sight seek() noexcept {
      internal::Sight sight = core_.look(cursor_);
      if (sight == internal::Sight::kGone) {
        const std::uint64_t next = core_.after_gone(cursor_);
        missed_ += next - cursor_;
        cursor_ = next;
        sight = core_.look(cursor_);
      }
      is_corrupt_ = is_corrupt_ || sight == internal::Sight::kCorrupt;
      return is_corrupt_ ? internal::Sight::kCorrupt : sight;
    }

    std::uint64_t cursor_ = 0;
    std::uint64_t missed_ = 0;  // Since the last object that was read.
    News news_;
    bool is_corrupt_ = false;
  };

  [[nodiscard]] static Result<Writer> writer(const Segment& segment, std::string_view name) {
    ObjectRef object = QUIRE_TRY(find(segment, name));
    Writer writer;
    const internal::BroadcastPlace place = Shape::place(object, kKind);
    QUIRE_TRY(Writer::open(writer, std::move(object), place));
    return writer;
  }
  // kNewest: the first object read is the first that is published from now on.
  [[nodiscard]] static Result<Reader> reader(const Segment& segment, std::string_view name,
                                             From from = From::kNewest) {
    ObjectRef object = QUIRE_TRY(find(segment, name));
    Reader reader;
    const internal::BroadcastPlace place = Shape::place(object, kKind);
    QUIRE_TRY(Reader::open(reader, std::move(object), place));
    const std::uint64_t tail = reader.core_.tail();
    reader.cursor_ = from == From::kNewest ? tail : reader.core_.oldest(tail);
    return reader;
  }

 private:
  static Result<ObjectRef> find(const Segment& segment, std::string_view name) {
    return internal::find_ring(segment, name, kKind, internal::element_of<T>({}));
  }
};

}  // namespace quire::ipc
