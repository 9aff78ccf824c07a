// SPDX-License-Identifier: Apache-2.0
//
// Ring: one io_uring, owned. Entries are prepared, submitted together, and come back as
// completions in whatever order the devices finish.
//
//   prepare_*()          submit()                 the kernel            take(), drain()
//   [ submission queue ] -------> [ in flight ] -------> [ completion queue ] -------> Completion
//                                                        | overflow list    |
//                                                        '-- kept by the ---'
//                                                            kernel, never lost
//
// Each prepared entry gives exactly one last completion. Zero-copy sends give two: the result
// (`more` is set), then the notification that the memory is no longer looked at.
//
// What an entry points at must live: buffers until the last completion; arrays of Buffer only until
// they are submitted. Buffers over pages that are punched or unmapped meanwhile read and write the
// old page: the bytes are lost in silence. Register memory only if its pages stay.
//
// Invariants:    in_flight() = prepared - last completions taken; unsubmitted() of those have not
//                reached the kernel. A ring that is destroyed has nothing in the kernel (checked):
//                it would write into memory that may be somebody else's by then.
// Thread-safety: RingThreads::kOne: only the thread that opened it, from open() to destruction.
//                kAny: one thread at a time. A child of fork() may not touch it.
// Errors:        Outcome; EINTR never gets out of here, except as the result of an entry.
// Cost:          open() allocates once and asks the kernel what it supports; nothing else
//                allocates. One system call per submit() or submit_and_wait(); take() and drain()
//                make one only when the kernel says that it holds something back.
// Kernel:        5.11 (wait with a time limit); younger features are asked for and done without.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "quire/base/units.h"
#include "quire/sys/file.h"
#include "quire/sys/outcome.h"
#include "quire/sys/vector_io.h"

namespace quire::sys {

enum class RingThreads : std::uint8_t { kOne, kAny };

// How completions are processed: the best that the kernel and RingThreads allow.
enum class RingMode : std::uint8_t {
  kDeferred,     // In batches, when this thread asks for them (6.1, RingThreads::kOne).
  kCooperative,  // At the next system call (5.19).
  kInterrupting  // At once, interrupting the thread.
};

// The kernel's limits: submission entries, slots of registered buffers, buffers of one entry.
inline constexpr std::uint32_t kRingEntriesMax = 32768;
inline constexpr std::uint32_t kRingBuffersMax = 16384;
inline constexpr std::size_t kRingVectorMax = 1024;

struct RingOptions {
  std::uint32_t submission_entries = 64;  // Rounded up to a power of two.
  std::uint32_t completion_entries = 0;   // 0: twice the submission entries. At least as many.
  RingThreads threads = RingThreads::kOne;
};

// What this kernel's ring may be asked to do.
enum class RingOperation : std::uint8_t {
  kRead,
  kWrite,
  kReadVector,
  kWriteVector,
  kReadFixed,
  kWriteFixed,
  kSync,
  kAllocate,
  kSend,
  kSendZeroCopy,
  kPoll,
  kCancel,
  kTimeout,
  kNothing,
  kCount,  // Not an operation: how many there are.
};

// Memory as the ring takes it: laid out as the kernel's iovec, so that an array of them is handed
// over as it is.
struct Buffer {
  std::byte* data = nullptr;
  std::size_t length_bytes = 0;
};
struct ConstBuffer {
  const std::byte* data = nullptr;
  std::size_t length_bytes = 0;
};

// What an entry works on: a descriptor, or a slot of the registered files.
struct RingFile {
  int number = -1;
  bool is_registered = false;
};
[[nodiscard]] constexpr RingFile ring_file(int fd) noexcept {
  return {.number = fd, .is_registered = false};
}
[[nodiscard]] constexpr RingFile registered_file(std::uint32_t slot) noexcept {
  return {.number = static_cast<int>(slot), .is_registered = true};
}

struct EntryOptions {
  std::uint64_t tag = 0;   // Comes back in the completion.
  bool link_next = false;  // The next entry waits for this one; ECANCELED if it fails or is short.
  bool force_async = false;  // To a worker of the kernel at once, without trying it inline.
};

// An offset that means "at the file position": pipes, sockets, event descriptors.
inline constexpr std::uint64_t kAtPosition = std::numeric_limits<std::uint64_t>::max();

// What a completion says.
struct Completion {
  std::uint64_t tag = 0;
  std::int32_t result = 0;       // Bytes moved, or events; negative: an errno.
  bool more = false;             // Not the last completion of its entry.
  bool is_notification = false;  // Of a zero-copy send: the memory is free again.
  bool was_copied = false;       // With a notification: the kernel copied after all.

  [[nodiscard]] Outcome<std::uint32_t> outcome() const noexcept {
    if (result < 0) {
      return refuse(-result);
    }
    return static_cast<std::uint32_t>(result);
  }
};

enum class SyncScope : std::uint8_t { kData, kAll };
enum class PollFor : std::uint8_t { kReadable, kWritable };
enum class CopyReport : std::uint8_t { kNone, kAsked };  // Ask whether a send was copied (6.2).

class Ring {
 public:
  // Tries the modes in order. Errors: see explain_ring_refusal().
  // REQUIRES: 1 <= submission_entries <= kRingEntriesMax;
  //           completion_entries is 0 or between submission_entries and 2 * kRingEntriesMax.
  [[nodiscard]] static Outcome<Ring> open(const RingOptions& options = {}) noexcept;
  Ring(Ring&& other) noexcept;
  // REQUIRES: nothing of the ring that goes is in the kernel (checked).
  Ring& operator=(Ring&& other) noexcept;
  // REQUIRES: nothing in the kernel (checked). What was never submitted is forgotten.
  ~Ring();

  [[nodiscard]] RingMode mode() const noexcept;
  [[nodiscard]] std::uint32_t submission_entries() const noexcept;
  [[nodiscard]] std::uint32_t completion_entries() const noexcept;
  [[nodiscard]] bool supports(RingOperation operation) const noexcept;
  // Becomes readable when there are completions: for poll(2), epoll, another ring.
  [[nodiscard]] int descriptor() const noexcept;

  // --- registration -----------------------------------------------------------------------------

  // A table of empty slots. Errors: EBUSY when there is one; EMFILE above RLIMIT_NOFILE.
  Outcome<void> register_files(std::uint32_t slot_count) noexcept;
  // Puts a descriptor into a slot; -1 empties it. The kernel holds the file open by itself.
  // Errors: EBADF, EINVAL (no such slot), ENXIO (no table).
  Outcome<void> update_file(std::uint32_t slot, int fd) noexcept;
  // Pins the memory. Buffer i is index i of prepare_read_fixed(). Errors: EBUSY when there are
  // some; EFAULT over writable shared or read-only file mappings; ENOMEM above RLIMIT_MEMLOCK
  // (before 5.12); EINVAL above kRingBuffersMax; EINVAL or EFAULT for a buffer above 1 GiB.
  Outcome<void> register_buffers(std::span<const Buffer> buffers) noexcept;
  // Errors: ENXIO when there are none. Waits for nothing: entries in flight keep theirs.
  Outcome<void> unregister_buffers() noexcept;

  // --- preparing --------------------------------------------------------------------------------
  // Each returns false, and does nothing, when the submission queue is full: submit() makes room.
  // More than 2 GiB - 4 KiB at once completes short, as a system call would.

  [[nodiscard]] bool prepare_read(RingFile file, std::span<std::byte> into,
                                  std::uint64_t offset_bytes, EntryOptions entry,
                                  TransferFlags flags = {}) noexcept;
  [[nodiscard]] bool prepare_write(RingFile file, std::span<const std::byte> from,
                                   std::uint64_t offset_bytes, EntryOptions entry,
                                   TransferFlags flags = {}) noexcept;
  // REQUIRES: at most kRingVectorMax buffers (else the result is EINVAL).
  [[nodiscard]] bool prepare_read_vector(RingFile file, std::span<const Buffer> into,
                                         std::uint64_t offset_bytes, EntryOptions entry,
                                         TransferFlags flags = {}) noexcept;
  [[nodiscard]] bool prepare_write_vector(RingFile file, std::span<const ConstBuffer> from,
                                          std::uint64_t offset_bytes, EntryOptions entry,
                                          TransferFlags flags = {}) noexcept;
  // `into` lies within registered buffer `buffer_index` (else the result is EFAULT).
  [[nodiscard]] bool prepare_read_fixed(RingFile file, std::span<std::byte> into,
                                        std::uint64_t offset_bytes, std::uint16_t buffer_index,
                                        EntryOptions entry, TransferFlags flags = {}) noexcept;
  [[nodiscard]] bool prepare_write_fixed(RingFile file, std::span<const std::byte> from,
                                         std::uint64_t offset_bytes, std::uint16_t buffer_index,
                                         EntryOptions entry, TransferFlags flags = {}) noexcept;
  [[nodiscard]] bool prepare_sync(RingFile file, SyncScope scope, EntryOptions entry) noexcept;
  [[nodiscard]] bool prepare_allocate(RingFile file, ByteRange range, Allocate mode,
                                      EntryOptions entry) noexcept;
  // Sends all of it unless the peer goes away; never raises SIGPIPE.
  [[nodiscard]] bool prepare_send(RingFile socket, std::span<const std::byte> from,
                                  EntryOptions entry) noexcept;
  // The same without a copy, where the route allows: the memory stays as it is until the
  // notification. `buffer_index` names the registered buffer that `from` lies in. Kernel: 6.0.
  [[nodiscard]] bool prepare_send_zero_copy(RingFile socket, std::span<const std::byte> from,
                                            std::optional<std::uint16_t> buffer_index,
                                            CopyReport report, EntryOptions entry) noexcept;
  // Completes once, with the poll(2) events.
  [[nodiscard]] bool prepare_poll(RingFile file, PollFor events, EntryOptions entry) noexcept;
  // Cancels the entries that carry `target_tag`. Result: how many were found. Each of them still
  // completes, with ECANCELED or as if nothing had been asked. Kernel: 5.19.
  [[nodiscard]] bool prepare_cancel(std::uint64_t target_tag, EntryOptions entry) noexcept;
  // Completes with ETIME after that time, or with 0 after `completion_count` completions (0: only
  // the time counts).
  [[nodiscard]] bool prepare_timeout(std::chrono::nanoseconds after, std::uint32_t completion_count,
                                     EntryOptions entry) noexcept;
  [[nodiscard]] bool prepare_nothing(EntryOptions entry) noexcept;

  // --- submitting and waiting -------------------------------------------------------------------

  // Hands over what is prepared. Returns how many the kernel took: all, or fewer when it stopped.
  // Errors: EBUSY: take completions first; EAGAIN, ENOMEM: no memory for requests now. Either way
  //         what was not taken stays prepared, for the next submit() or drop_unsubmitted().
  //         EEXIST: not the thread that opened it.
  Outcome<std::uint32_t> submit() noexcept;
  // Submits, then waits until `count` completions are ready (at most completion_entries()), or the
  // time is over. Returns how many are ready: fewer than `count` means that time ran out.
  // Errors: of submit(), before waiting: nothing is waited for then.
  // REQUIRES: count <= in_flight(), or it would wait for ever (checked).
  // Blocks.
  Outcome<std::uint32_t> submit_and_wait(
      std::uint32_t count, std::optional<std::chrono::nanoseconds> timeout = {}) noexcept;
  // Waits without submitting. Returns how many are ready. Blocks.
  // REQUIRES: count <= in_flight() - unsubmitted() (checked).
  Outcome<std::uint32_t> wait(std::uint32_t count,
                              std::optional<std::chrono::nanoseconds> timeout = {}) noexcept;
  // Takes back what was prepared and not submitted, newest last: their tags give no completion.
  // Returns how many.
  std::uint32_t drop_unsubmitted() noexcept;
  // Closes the ring with entries in the kernel, which cancels what it can and waits for nothing:
  // for who was asked to stop and cannot wait for a peer. No other member may be called afterwards.
  // REQUIRES: no entry writes into memory; sends read from memory that stays, or from a file's.
  void abandon() noexcept;

  // --- completions ------------------------------------------------------------------------------

  // Moves completions that are ready into `into`, oldest first, and returns how many; fetches what
  // the kernel holds back (overflow, deferred work) when none is ready. Never waits.
  // Errors: of io_uring_enter(2); nothing is lost.
  [[nodiscard]] Outcome<std::size_t> take(std::span<Completion> into) noexcept;

  // Calls function(const Completion&) for each one that is ready, and returns how many. The
  // function may prepare and submit further entries.
  template <typename Function>
  Outcome<std::size_t> drain(Function&& function) noexcept {
    constexpr std::size_t kBatch = 32;  // 32 completions are 16 cache lines of stack.
    std::array<Completion, kBatch> batch;
    // Entries that the function adds may complete at once: they are left to the next drain.
    const std::size_t count_max = in_flight();
    std::size_t count = 0;
    while (count < count_max) {
      const std::size_t taken = QUIRE_TRY(take(batch));
      if (taken == 0) {
        break;
      }
      for (std::size_t i = 0; i < taken; ++i) {
        function(static_cast<const Completion&>(batch[i]));
      }
      count += taken;
    }
    return count;
  }

  // Completions that take() would give without a system call.
  [[nodiscard]] std::uint32_t ready() const noexcept;
  // Entries prepared whose last completion has not been taken.
  [[nodiscard]] std::uint32_t in_flight() const noexcept;
  // Those of them that the kernel has not been given.
  [[nodiscard]] std::uint32_t unsubmitted() const noexcept;
  // io_uring_enter(2) since open().
  [[nodiscard]] std::uint64_t system_calls() const noexcept;

 private:
  struct State;  // Of liburing, and what is counted.
  explicit Ring(std::unique_ptr<State> state) noexcept;

  std::unique_ptr<State> state_;
};

// Why there is no ring, in words: "kernel.io_uring_disabled=2 forbids io_uring to everybody".
[[nodiscard]] std::string explain_ring_refusal(Errno cause);

}  // namespace quire::sys
