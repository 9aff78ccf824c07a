// SPDX-License-Identifier: Apache-2.0
//
// rings_under_test: the cores of the rings behind one small face, on memory of a test's own, so
// that one suite of promises holds for all of them.
//
//   Ring ring;                       shared with children that are forked later
//   ring.push(member, number)        a whole message of that member
//   Reader(ring, peers).pop()        the next whole message, passing over what the dead left
//
// Thread-safety: as the cores.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>

#include "quire/ipc/core/mpsc_cells.h"
#include "quire/ipc/core/mpsc_records.h"
#include "quire/ipc/core/spsc_core.h"
#include "quire/testing/ipc_memory.h"

namespace quire::ipc::internal {

// Knows whether it is whole.
struct TestMessage {
  std::uint64_t writer = 0;
  std::uint64_t number = 0;
  std::uint64_t check = 0;

  static TestMessage make(std::uint64_t writer, std::uint64_t number) {
    return {writer, number, check_of(writer, number)};
  }
  [[nodiscard]] bool is_whole() const { return check == check_of(writer, number); }

 private:
  static std::uint64_t check_of(std::uint64_t writer, std::uint64_t number) {
    return (writer * 0x9e3779b97f4a7c15 + number) ^ 0x5bd1e9955bd1e995;
  }
};

// Stores in two parts, so that a death between them leaves half a message.
inline void store_message(std::byte* to, const TestMessage& message) {
  std::memcpy(to, &message, 8);
  QUIRE_IPC_STEP("test.half_written");
  std::memcpy(to + 8, reinterpret_cast<const std::byte*>(&message) + 8, sizeof(message) - 8);
}
inline TestMessage load_message(const std::byte* from) {
  TestMessage message;
  std::memcpy(&message, from, sizeof(message));
  return message;
}

// kDone with a message, or why there is none.
struct Popped {
  TryResult result = TryResult::kNothing;
  TestMessage message;
};

// The next whole message of a ring with many writers, as `load` takes it from what the core shows.
template <typename Core, typename Load>
Popped pop_past_the_dead(Core& core, const Peers& peers, Load load) {
  TryResult result = core.look();
  while (result == TryResult::kBlocked && core.abandon_dead(peers)) {
    result = core.look();
  }
  if (result != TryResult::kDone) {
    return {result, {}};
  }
  const Popped popped{result, load()};
  core.release();
  return popped;
}

// --- Many writers, cells ---------------------------------------------------------------------

class CellsRing {
 public:
  static constexpr bool kManyWriters = true;
  static constexpr std::uint64_t kCapacity = 4;

  CellsRing() : memory_(sizeof(MpscControl) + kCapacity * 64) {}

  [[nodiscard]] MpscCellsPlace place() const {
    return {.control = &memory_.as<MpscControl>(),
            .cells = memory_.data() + sizeof(MpscControl),
            .cell_count = kCapacity,
            .stride_bytes = 64};
  }
  [[nodiscard]] std::span<std::byte> bookkeeping() const { return memory_.bytes(); }
  [[nodiscard]] RoleWord& reader_role() const { return memory_.as<MpscControl>().reader; }
  [[nodiscard]] std::uint64_t abandoned() const { return memory_.as<MpscControl>().abandoned; }

  TryResult push(MemberWord member, std::uint64_t number) const {
    const MpscCellsWriter writer(place(), member);
    std::uint64_t position = 0;
    const TryResult claimed = writer.claim(position);
    if (claimed == TryResult::kDone) {
      store_message(place().payload(position), TestMessage::make(member, number));
      writer.publish(position);
    }
    return claimed;
  }
  TryResult claim_and_give_up(MemberWord member) const {
    const MpscCellsWriter writer(place(), member);
    std::uint64_t position = 0;
    const TryResult claimed = writer.claim(position);
    if (claimed == TryResult::kDone) {
      writer.give_up(position);
    }
    return claimed;
  }
  TryResult claim_and_leave(MemberWord member) const {
    std::uint64_t position = 0;
    return MpscCellsWriter(place(), member).claim(position);
  }

  class Reader {
   public:
    explicit Reader(const CellsRing& ring) : core_(ring.place()) {}
    Popped pop(const Peers& peers) {
      return pop_past_the_dead(core_, peers, [this] { return load_message(core_.payload()); });
    }
    [[nodiscard]] bool is_sound() const { return core_.is_sound(); }

   private:
    MpscCellsReader core_;
  };

 private:
  testing::SharedMemory memory_;
};

// --- Many writers, records -------------------------------------------------------------------

class RecordsRing {
 public:
  static constexpr bool kManyWriters = true;
  static constexpr std::uint64_t kSlots = 8;
  static constexpr std::uint64_t kCapacityBytes = 8192;

  RecordsRing()
      : memory_(sizeof(MpscControl) + kSlots * sizeof(RecordSlot)), bytes_(kCapacityBytes) {}

  [[nodiscard]] MpscRecordsPlace place() const {
    return {.control = &memory_.as<MpscControl>(),
            .slots = &memory_.as<RecordSlot>(sizeof(MpscControl)),
            .slot_count = kSlots,
            .bytes = bytes_.data(),
            .capacity_bytes = kCapacityBytes};
  }
  [[nodiscard]] std::span<std::byte> bookkeeping() const { return memory_.bytes(); }
  [[nodiscard]] RoleWord& reader_role() const { return memory_.as<MpscControl>().reader; }
  [[nodiscard]] std::uint64_t abandoned() const { return memory_.as<MpscControl>().abandoned; }

  // Lengths that do not divide the capacity, so that records cross its end; some are longer than
  // half of it, and yet slots run out before bytes do.
  static std::uint64_t length_of(std::uint64_t number) {
    return number % 7 == 6 ? 4500 : sizeof(TestMessage) + number % 5 * 163;
  }

  TryResult push(MemberWord member, std::uint64_t number) const {
    const MpscRecordsWriter writer(place(), member);
    RecordClaim claim;
    const TryResult claimed = writer.claim(length_of(number), claim);
    if (claimed == TryResult::kDone) {
      std::memset(claim.bytes.data(), 0, claim.bytes.size());
      store_message(claim.bytes.data(), TestMessage::make(member, number));
      writer.publish(claim, claim.bytes.size());
    }
    return claimed;
  }
  TryResult claim_and_give_up(MemberWord member) const {
    const MpscRecordsWriter writer(place(), member);
    RecordClaim claim;
    const TryResult claimed = writer.claim(100, claim);
    if (claimed == TryResult::kDone) {
      writer.give_up(claim);
    }
    return claimed;
  }
  TryResult claim_and_leave(MemberWord member) const {
    RecordClaim claim;
    return MpscRecordsWriter(place(), member).claim(100, claim);
  }

  class Reader {
   public:
    explicit Reader(const RecordsRing& ring) : core_(ring.place()) {}
    // A record of the wrong length is no whole message.
    Popped pop(const Peers& peers) {
      return pop_past_the_dead(core_, peers, [this] {
        TestMessage message;
        if (core_.record().size() >= sizeof(TestMessage)) {
          message = load_message(core_.record().data());
        }
        if (core_.record().size() != length_of(message.number)) {
          message.check = ~message.check;
        }
        return message;
      });
    }
    [[nodiscard]] bool is_sound() const { return core_.is_sound(); }

   private:
    MpscRecordsReader core_;
  };

 private:
  testing::SharedMemory memory_;
  testing::MirroredMemory bytes_;
};

// --- One writer ------------------------------------------------------------------------------

class PositionsRing {
 public:
  static constexpr bool kManyWriters = false;
  static constexpr std::uint64_t kCapacity = 4;

  PositionsRing() : memory_(sizeof(SpscControl) + kCapacity * sizeof(TestMessage)) {}

  [[nodiscard]] SpscControl& control() const { return memory_.as<SpscControl>(); }
  [[nodiscard]] std::span<std::byte> bookkeeping() const { return memory_.bytes(); }
  [[nodiscard]] RoleWord& reader_role() const { return control().reader; }
  [[nodiscard]] std::byte* at(std::uint64_t position) const {
    return memory_.data() + sizeof(SpscControl) + position % kCapacity * sizeof(TestMessage);
  }

  // A writer's core of its own for each message: each takes over from the one before.
  TryResult push(MemberWord member, std::uint64_t number) const {
    SpscWriterCore core(control(), kCapacity);
    if (core.room(1) == 0) {
      return core.corrupt() ? TryResult::kCorrupt : TryResult::kNothing;
    }
    store_message(at(core.position()), TestMessage::make(member, number));
    core.publish(1);
    return TryResult::kDone;
  }

  class Reader {
   public:
    explicit Reader(const PositionsRing& ring) : ring_(&ring), core_(ring.control(), kCapacity) {}
    Popped pop(const Peers&) {
      if (core_.ready() == 0) {
        return {core_.corrupt() ? TryResult::kCorrupt : TryResult::kNothing, {}};
      }
      const Popped popped{TryResult::kDone, load_message(ring_->at(core_.position()))};
      core_.release(1);
      return popped;
    }
    [[nodiscard]] bool is_sound() const { return !core_.corrupt(); }

   private:
    const PositionsRing* ring_;
    SpscReaderCore core_;
  };

 private:
  testing::SharedMemory memory_;
};

}  // namespace quire::ipc::internal
