// SPDX-License-Identifier: Apache-2.0
//
// RingPath: does requests by one io_uring, one entry of each at a time.
//
//   slot --prepare()--> kUnderWay --submit, wait--> complete() --> kDone
//              |  '--> kNoRoom                          |  '-----> go on: prepare() the rest
//              '-----> kHandOver  <---------------------'
//
//   memory and range aligned      straight into the caller's memory
//   in a registered buffer        the same, without pinning
//   otherwise, a read             whole blocks into a bounce buffer, the wanted bytes copied out
//   otherwise, a write            kHandOver: the Store knows how to keep the neighbours' bytes
//   an await                      a poll of its descriptor
//
// What the kernel refuses as such (EINVAL, EOPNOTSUPP, EAGAIN again and again) is handed over too:
// the Store knows what to do instead, or why it fails.
//
// Invariants:    a slot that is kUnderWay has one entry, prepared or in the kernel; the tag of an
//                entry is its slot's, 0 for the wake-up.
// Thread-safety: the thread that made it, or called adopt() last, with nothing under way.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "quire/io/buffer_pool.h"
#include "quire/io/internal/queue_slot.h"
#include "quire/sys/event.h"
#include "quire/sys/ring.h"

namespace quire::internal {

enum class Next : std::uint8_t { kUnderWay, kDone, kHandOver, kNoRoom };

class RingPath {
 public:
  // `wake` is read to wake the ring up; it outlives this object. Errors: of Ring::open().
  static sys::Outcome<std::unique_ptr<RingPath>> open(const IoQueueOptions& options,
                                                      const sys::Descriptor& wake);

  // Whether the calling thread may use the ring.
  [[nodiscard]] bool is_mine() const noexcept { return owner_ == std::this_thread::get_id(); }
  // Makes the calling thread the one that may. REQUIRES: nothing is under way (checked).
  sys::Outcome<void> adopt();

  // Uses a registered file for this target, if there is a slot left.
  void register_target(const KernelTarget& target);
  void forget_target(const KernelTarget& target);

  // Prepares the next entry of a slot. kNoRoom: no bounce buffer is free, nothing was done.
  // REQUIRES: a read or write of a store with a kernel_target(), and something is left to do; or
  //           an await.
  [[nodiscard]] Next prepare(QueueSlot& slot);
  // Takes the result of a slot's entry: kUnderWay when the rest has been prepared.
  [[nodiscard]] Next complete(QueueSlot& slot, const sys::Outcome<std::uint32_t>& outcome);

  // Entries that the kernel does not have yet.
  [[nodiscard]] std::size_t prepared() const noexcept { return prepared_.size(); }
  // From now on a signal of the wake-up ends a wait, once.
  void arm_wake();
  [[nodiscard]] bool is_wake_armed() const noexcept { return is_wake_armed_; }

  // Hands what is prepared to the kernel and waits for `wait_count` completions. Errors: of
  // Ring::submit_and_wait(); what the kernel did not take stays prepared.
  [[nodiscard]] sys::Outcome<void> flush(std::uint32_t wait_count);
  // Waits without submitting, until the time is over at the latest.
  [[nodiscard]] sys::Outcome<void> wait(std::uint32_t count,
                                        std::optional<std::chrono::nanoseconds> timeout);
  // What is prepared and not in the kernel comes back.
  void take_back(std::vector<QueueSlot*>& slots);

  // Calls function(tag of the slot, outcome) for each entry that is complete.
  template <typename Function>
  sys::Outcome<std::size_t> drain(Function&& function) {
    return ring_.drain([&](const sys::Completion& completion) {
      if (completion.tag == kWakeTag) {
        is_wake_armed_ = false;
      } else {
        function(completion.tag, completion.outcome());
      }
    });
  }

  // Entries of slots, prepared or in the kernel.
  [[nodiscard]] std::uint32_t requests_in_flight() const noexcept {
    return ring_.in_flight() - (is_wake_armed_ ? 1 : 0);
  }
  // Those of them that are awaits, which may never end.
  [[nodiscard]] std::uint32_t awaits_in_flight() const noexcept { return awaits_in_flight_; }
  // Those that are none, and in the kernel: they end whatever anybody does.
  [[nodiscard]] std::uint32_t transfers_in_kernel() const noexcept;
  [[nodiscard]] std::uint32_t ready() const noexcept { return ring_.ready(); }
  [[nodiscard]] std::uint64_t system_calls() const noexcept {
    return system_calls_before_ + ring_.system_calls();
  }
  [[nodiscard]] std::uint64_t resumed() const noexcept { return resumed_; }
  [[nodiscard]] std::uint64_t bounced() const noexcept { return bounced_; }
  // "registered buffers", or why not; "" when none were asked for.
  [[nodiscard]] const std::string& note() const noexcept { return note_; }

 private:
  static constexpr std::uint64_t kWakeTag = 0;

  RingPath(sys::Ring ring, const IoQueueOptions& options, const sys::Descriptor& wake);

  void register_all();
  void register_buffers();
  void register_file(std::uint32_t slot);
  [[nodiscard]] sys::RingFile file_of(const KernelTarget& target) const noexcept;
  [[nodiscard]] Next prepare_read(QueueSlot& slot, const KernelTarget& target);
  [[nodiscard]] Next prepare_bounced(QueueSlot& slot, const KernelTarget& target);
  [[nodiscard]] Next prepare_write(QueueSlot& slot, const KernelTarget& target);
  [[nodiscard]] Next prepare_await(QueueSlot& slot);
  [[nodiscard]] bool make_bounce_pool();
  [[nodiscard]] static sys::EntryOptions entry_of(const QueueSlot& slot) noexcept;
  void enter_read(QueueSlot& slot, const KernelTarget& target, std::span<std::byte> memory,
                  std::uint64_t offset_bytes);
  [[nodiscard]] std::optional<std::uint16_t> registered_index(
      std::span<const std::byte> memory) const noexcept;
  [[nodiscard]] static Next keep_read(QueueSlot& slot, std::uint64_t moved_bytes);
  [[nodiscard]] static Next keep_written(QueueSlot& slot, std::uint64_t moved_bytes);
  [[nodiscard]] Next on_error(QueueSlot& slot, sys::Errno cause);
  [[nodiscard]] Next go_on(QueueSlot& slot);

  sys::Ring ring_;
  const IoQueueOptions options_;
  const sys::Descriptor& wake_;
  std::thread::id owner_ = std::this_thread::get_id();
  std::unique_ptr<BufferPool> bounce_pool_;
  bool is_bounce_pool_refused_ = false;
  bool is_registered_ = false;
  bool has_file_table_ = false;
  // By slot of the registered files; null: empty.
  std::array<const KernelTarget*, IoQueueOptions::kRegisteredStoresMax> registered_targets_{};
  std::uint32_t awaits_in_flight_ = 0;
  bool is_wake_armed_ = false;
  std::array<std::byte, sys::kEventBytes> wake_bytes_{};
  std::vector<QueueSlot*>
      prepared_;  // Not known to be in the kernel, oldest first; null: the wake.
  std::uint64_t system_calls_before_ = 0;  // Of rings of other threads.
  std::uint64_t resumed_ = 0;
  std::uint64_t bounced_ = 0;
  std::string note_;
};

}  // namespace quire::internal
