// SPDX-License-Identifier: Apache-2.0
//
// job: one transfer under way: its two ends, how far it came, and the few things that every method
// does alike: read a piece, write a piece, wait.
//
// Invariants:    report.bytes is exactly what has reached the target, or was left out as a hole.
// Thread-safety: one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>

#include "quire/base/error.h"
#include "quire/sys/outcome.h"
#include "quire/transfer/internal/ends.h"
#include "quire/transfer/transfer.h"

namespace quire::internal {

// Why a method cannot go on: an errno of `operation`, or a code of ours where that is 0.
struct Fault {
  const char* operation = "";
  int error = 0;
  Errc code = Errc::kFailed;
};

// What one step of a method came to. Whatever it moved was told to Job::moved().
struct Step {
  enum class End : std::uint8_t {
    kMoved,        // At least one byte.
    kSourceEnded,  // The method says so; for a sized source that wants a second look.
    kRefused,      // Not this method, not for these two, or no longer; nothing is lost.
    kFailed,
  };
  End end = End::kMoved;
  Fault fault = {};

  static Step moved() noexcept { return {}; }
  static Step source_ended() noexcept { return {.end = End::kSourceEnded}; }
  static Step refused(Fault fault) noexcept { return {.end = End::kRefused, .fault = fault}; }
  static Step failed(Fault fault) noexcept { return {.end = End::kFailed, .fault = fault}; }
  [[nodiscard]] bool is_moved() const noexcept { return end == End::kMoved; }
};

// Whether an errno says "not this way" rather than "the device, the disk, the peer".
[[nodiscard]] bool is_refusal(int error) noexcept;
// kRefused or kFailed, by the errno.
[[nodiscard]] Step refused_or_failed(const char* operation, sys::Errno cause) noexcept;

// A method's progress meets here. `known` ends for good when a method cannot tell.
class Job {
 public:
  Job(SourceEnd source, TargetEnd target, const TransferOptions& options, TransferReport& report)
      : source_(std::move(source)), target_(std::move(target)), options_(options), report_(report) {
    report_.bytes_copied_by_cpu = 0;
  }

  [[nodiscard]] const SourceEnd& source() const noexcept { return source_; }
  [[nodiscard]] const TargetEnd& target() const noexcept { return target_; }
  [[nodiscard]] const TransferOptions& options() const noexcept { return options_; }
  [[nodiscard]] TransferReport& report() noexcept { return report_; }

  // Where the next byte comes from and goes to; streams: counted from the start.
  [[nodiscard]] std::uint64_t source_offset() const noexcept {
    return source_.start_bytes + report_.bytes;
  }
  [[nodiscard]] std::uint64_t target_offset() const noexcept {
    return target_.start_bytes + report_.bytes;
  }

  [[nodiscard]] std::uint64_t moved_bytes() const noexcept { return report_.bytes; }

  void count_call() noexcept { ++report_.system_calls; }
  // `copies`: how often the processor copied each of them on this side.
  void moved(std::uint64_t bytes, unsigned copies) noexcept;
  void moved_with_unknown_copies(std::uint64_t bytes) noexcept;
  void add_copied(std::uint64_t bytes) noexcept;
  void skipped_hole(std::uint64_t bytes) noexcept;

  // At most into.size() bytes of the source, from source_offset() + ahead. `got` is 0 at the end.
  Step read_piece(std::span<std::byte> into, std::uint64_t ahead_bytes, std::size_t& got);
  // All of `from`; each piece is told to moved() with `copies`.
  Step write_piece(std::span<const std::byte> from, unsigned copies);

  // What to do before a wait for the source is given up for good; true: wait once more.
  void set_last_resort(std::function<bool()> resort) { last_resort_ = std::move(resort); }

  // Until the end can be used again; kMoved when it can.
  Step wait_for_source();
  Step wait_for_target();
  // Both may be why a call would block: waits for the one that is not ready.
  Step wait_for_either();
  // Until the target's error queue has something, or the target is done for.
  Step wait_for_notice();

  // A stop was asked for.
  [[nodiscard]] bool is_stopped();

 private:
  Step wait(int fd, sys::WaitFor what, bool is_non_blocking, const char* operation);
  [[nodiscard]] sys::Outcome<std::size_t> write_once(std::span<const std::byte> from);

  SourceEnd source_;
  TargetEnd target_;
  const TransferOptions& options_;
  TransferReport& report_;
  std::function<bool()> last_resort_;
};

}  // namespace quire::internal
