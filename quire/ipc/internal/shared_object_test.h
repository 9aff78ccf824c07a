// SPDX-License-Identifier: Apache-2.0
//
// SharedObject: one object and a table of participants in memory that forked children share, for
// tests of a structure without a segment around it.
//
//   SharedObject lock(Mutex::object("lock"));
//   Mutex mine(lock.join());             // each join() is another participant of this process
//   testing::Child child([&] { Mutex theirs(lock.join()); ... });
//
// Thread-safety: join() from any thread and child; bytes() are the object's.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "quire/base/check.h"
#include "quire/ipc/internal/participant_table.h"
#include "quire/ipc/object.h"
#include "quire/ipc/participants.h"
#include "quire/sys/call.h"

namespace quire::ipc::internal {

// How often this process asked the kernel for something of that kind. The plan stays for ever: the
// thread that watches for deaths may be passing through it at any time.
[[nodiscard]] inline std::uint64_t calls_of(sys::Call call) {
  static const sys::FaultPlan* const plan = new sys::FaultPlan({});
  return plan->count(call);
}

class SharedObject {
 public:
  // With room for `extra_bytes` that the test itself uses.
  explicit SharedObject(const ObjectSpec& spec, std::size_t extra_bytes = 0)
      : object_bytes_(spec.size_bytes), extra_bytes_(extra_bytes) {
    const std::size_t size = kSlotsBytes + extra_offset(object_bytes_) + extra_bytes;
    void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    QUIRE_CHECK(memory != MAP_FAILED);
    memory_ = std::shared_ptr<void>(memory, [size](void* old) { ::munmap(old, size); });
    if (spec.initialise) {
      spec.initialise(bytes());
    }
  }

  // The object, as a new participant sees it: alive until the last copy is gone, or the process.
  [[nodiscard]] ObjectRef join() const {
    const std::span slots(static_cast<ParticipantSlot*>(memory_.get()), kSlots);
    auto table = std::make_shared<ParticipantTable>(memory_, slots, kSegmentId);
    const Result<MemberId> self = table->attach("test");
    QUIRE_CHECK(self.has_value());
    auto participants = std::make_shared<Participants>(std::move(table), *self);
    Participants* raw = participants.get();
    return {std::move(participants), {.bytes = bytes(), .participants = raw}};
  }

  [[nodiscard]] std::span<std::byte> bytes() const { return {data() + kSlotsBytes, object_bytes_}; }
  // The test's own, beside the object.
  template <typename T>
  [[nodiscard]] T& extra() const {
    QUIRE_CHECK_LE(sizeof(T), extra_bytes_);
    return *reinterpret_cast<T*>(data() + kSlotsBytes + extra_offset(object_bytes_));
  }

 private:
  static constexpr std::size_t kSlots = 16;
  static constexpr std::size_t kSlotsBytes = kSlots * sizeof(ParticipantSlot);
  static constexpr std::uint64_t kSegmentId = 0x7465737473656775;

  static constexpr std::size_t extra_offset(std::size_t object_bytes) {
    return (object_bytes + 63) / 64 * 64;
  }
  [[nodiscard]] std::byte* data() const { return static_cast<std::byte*>(memory_.get()); }

  std::size_t object_bytes_;
  std::size_t extra_bytes_;
  std::shared_ptr<void> memory_;
};

}  // namespace quire::ipc::internal
