// SPDX-License-Identifier: Apache-2.0
//
// broadcast_core: a ring that one writer goes round without waiting for anybody, and that any
// number of readers look at, each of whom can tell whether what it saw was whole and what it has
// missed.
//
//            tail - slots            tail
//   ---|-------|-----------------------|-- being written --|---
//      gone    '- can be read ---------'
//
// Each slot has a sequence that says which object is in it: 2n + 1 while object n is written,
// 2n + 2 once it is whole. A reader notes the sequence, copies, and looks again: the same means
// that what it copied is object n. Object n is at slot n % slots.
//
//   2(n - slots) + 2 --begin()--> 2n + 1 --publish()--> 2n + 2 --begin()--> 2(n + slots) + 1 ...
//
// A writer that dies in between leaves 2n + 1, which nobody takes for whole; its successor begins n
// again. One that dies after 2n + 2 and before the shared tail follows has published n, as readers
// may have seen; its successor begins with n + 1.
//
// Invariants:    sequences only grow; tail is n + 1 or n when the slot of n says 2n + 2.
// Thread-safety: one writer; any number of readers, who write nothing.
// Source:        Lamport, "Concurrent Reading and Writing" (1977); for the orders, Boehm, "Can
//                seqlocks get along with programming language memory models?" (2012): objects are
//                copied as relaxed atomic words between two fences.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "quire/ipc/core/role.h"
#include "quire/ipc/core/wake.h"
#include "quire/ipc/step.h"

namespace quire::ipc::internal {

// offset  bytes  field      written by
//      0      8  tail       the writer: objects published
//      8      4  writer     takers of the role
//     64     64  news       what readers sleep on
//    128      4  writer_wakes  a reader that may sleep: the writer notifies (see wake.h)
struct BroadcastControl {
  alignas(64) std::atomic<std::uint64_t> tail;
  RoleWord writer;
  alignas(64) WaitPoint news;
  alignas(64) WakeWord writer_wakes;
};
static_assert(sizeof(BroadcastControl) == 192);
static_assert(offsetof(BroadcastControl, writer) == 8 && offsetof(BroadcastControl, news) == 64);
static_assert(offsetof(BroadcastControl, writer_wakes) == 128);

// The sanitizer of threads does not know fences, and gcc refuses them beside it; the words that
// they order are atomic, so that it has nothing to say about them anyway.
inline void fence(std::memory_order order) noexcept {
#if defined(__SANITIZE_THREAD__)
  static_cast<void>(order);
#else
  std::atomic_thread_fence(order);
#endif
}

// Copies between memory of ours and words that somebody else may be writing, or reading.
inline void copy_words_in(std::byte* shared, const std::byte* from, std::size_t bytes) noexcept {
  for (std::size_t at = 0; at < bytes; at += sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    std::memcpy(&word, from + at, bytes - at < sizeof(word) ? bytes - at : sizeof(word));
    reinterpret_cast<std::atomic<std::uint64_t>*>(shared + at)
        ->store(word, std::memory_order_relaxed);
  }
}
inline void copy_words_out(std::byte* to, const std::byte* shared, std::size_t bytes) noexcept {
  for (std::size_t at = 0; at < bytes; at += sizeof(std::uint64_t)) {
    const std::uint64_t word = reinterpret_cast<const std::atomic<std::uint64_t>*>(shared + at)
                                   ->load(std::memory_order_relaxed);
    std::memcpy(to + at, &word, bytes - at < sizeof(word) ? bytes - at : sizeof(word));
  }
}

// Where the slots are: 8 bytes sequence, then the object. Never read from shared memory.
struct BroadcastPlace {
  BroadcastControl* control = nullptr;
  std::byte* slots = nullptr;
  std::uint64_t slot_count = 0;  // A power of two.
  std::size_t stride_bytes = 0;
  std::size_t payload_offset_bytes = 8;

  [[nodiscard]] std::byte* slot(std::uint64_t number) const noexcept {
    return slots + (number & (slot_count - 1)) * stride_bytes;
  }
  [[nodiscard]] std::atomic<std::uint64_t>& sequence(std::uint64_t number) const noexcept {
    return *reinterpret_cast<std::atomic<std::uint64_t>*>(slot(number));
  }
  [[nodiscard]] std::byte* payload(std::uint64_t number) const noexcept {
    return slot(number) + payload_offset_bytes;
  }
};

constexpr std::uint64_t writing(std::uint64_t number) noexcept {
  return 2 * number + 1;
}
constexpr std::uint64_t whole(std::uint64_t number) noexcept {
  return 2 * number + 2;
}

class BroadcastWriterCore {
 public:
  BroadcastWriterCore() noexcept = default;
  // Takes up after the last object that readers may have seen. REQUIRES: the role of the writer.
  explicit BroadcastWriterCore(const BroadcastPlace& place) noexcept
      : place_(place), number_(place.control->tail.load(std::memory_order_acquire)) {
    if (place_.sequence(number_).load(std::memory_order_acquire) == whole(number_)) {
      follow();
    }
  }

  // The bytes of the next object, which nobody takes for whole until publish().
  std::byte* begin() noexcept {
    QUIRE_IPC_STEP("broadcast.begin");
    place_.sequence(number_).store(writing(number_), std::memory_order_relaxed);
    // Pairs with the fence in is_still(): who sees any of what we store now, sees this sequence.
    fence(std::memory_order_release);
    QUIRE_IPC_STEP("broadcast.writing");
    return place_.payload(number_);
  }
  // REQUIRES: begin() was called, and the object is stored.
  void publish() noexcept {
    QUIRE_IPC_STEP("broadcast.publish");
    // Release: pairs with the acquire in look().
    place_.sequence(number_).store(whole(number_), std::memory_order_release);
    QUIRE_IPC_STEP("broadcast.whole");
    follow();
    QUIRE_IPC_STEP("broadcast.published");
  }
  // Objects published since the beginning.
  [[nodiscard]] std::uint64_t number() const noexcept { return number_; }

 private:
  void follow() noexcept {
    ++number_;
    place_.control->tail.store(number_, std::memory_order_release);
  }

  BroadcastPlace place_;
  std::uint64_t number_ = 0;
};

// What a reader found at a number.
enum class Sight : std::uint8_t {
  kNotYet,   // It has not been published.
  kWhole,    // It is there, as long as is_still() says so afterwards.
  kGone,     // It was written over.
  kCorrupt,  // No sequence that a writer of ours leaves.
};

class BroadcastReaderCore {
 public:
  BroadcastReaderCore() noexcept = default;
  explicit BroadcastReaderCore(const BroadcastPlace& place) noexcept : place_(place) {}

  [[nodiscard]] Sight look(std::uint64_t number) const noexcept {
    // Acquire: pairs with the release in publish().
    const std::uint64_t sequence = place_.sequence(number).load(std::memory_order_acquire);
    if (sequence == whole(number)) [[likely]] {
      return Sight::kWhole;
    }
    if (sequence <= writing(number)) {
      return Sight::kNotYet;
    }
    // Another lap's: its number has the same slot.
    const std::uint64_t laps_of = ((sequence - 1) / 2 - number) & (place_.slot_count - 1);
    return laps_of == 0 ? Sight::kGone : Sight::kCorrupt;
  }
  // After the bytes were read, or used: whether they were object `number` all the time.
  [[nodiscard]] bool is_still(std::uint64_t number) const noexcept {
    fence(std::memory_order_acquire);  // Pairs with the fence in begin().
    return place_.sequence(number).load(std::memory_order_relaxed) == whole(number);
  }
  [[nodiscard]] const std::byte* payload(std::uint64_t number) const noexcept {
    return place_.payload(number);
  }
  // After kGone: the first object after `number` that may still be there. The tail may be behind
  // what took the place of `number`, which tells as well: a lap before that, all is gone. (Words
  // that nobody of ours wrote are passed over in one turn for each slot, however far they are.)
  [[nodiscard]] std::uint64_t after_gone(std::uint64_t number) const noexcept {
    const std::uint64_t instead =
        (place_.sequence(number).load(std::memory_order_relaxed) - 1) / 2 - place_.slot_count;
    const bool is_later = instead >= number && instead < (std::uint64_t{1} << 63U);
    return std::max(is_later ? instead + 1 : number + 1, oldest(tail()));
  }
  // Objects published, or one fewer.
  [[nodiscard]] std::uint64_t tail() const noexcept {
    return place_.control->tail.load(std::memory_order_acquire);
  }
  // The oldest object that is not about to be written over, when `tail` are published.
  [[nodiscard]] std::uint64_t oldest(std::uint64_t tail) const noexcept {
    return tail < place_.slot_count ? 0 : tail - place_.slot_count + 1;
  }
  // Whether all words fit the invariants above, read while nobody writes.
  [[nodiscard]] bool is_sound() const noexcept {
    const std::uint64_t end = tail();
    for (std::uint64_t number = oldest(end); number != end; ++number) {
      if (look(number) != Sight::kWhole) {
        return false;
      }
    }
    const std::uint64_t next = place_.sequence(end).load(std::memory_order_acquire);
    return next == whole(end) || next == writing(end) ||
           next == (end < place_.slot_count ? 0 : whole(end - place_.slot_count));
  }

 private:
  BroadcastPlace place_;
};

}  // namespace quire::ipc::internal
