// SPDX-License-Identifier: Apache-2.0
//
// Mover: one method at work. The driver (transfer.cc) decides how much and from where, the mover
// moves at most that much and says what came of it.
//
//   move(n) -> kMoved ... kMoved -> finish()        what was moved is in Job
//       |  -> kSourceEnded                          the driver looks whether that is true
//       |  -> kRefused -> finish() -> the next method goes on at the same byte
//       '  -> kFailed  -> finish(), its own failure coming second
//
// Invariants:    move() that answers kMoved moved at least one byte; no byte is taken from a stream
//                and not delivered, except where delivering failed.
// Thread-safety: one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "quire/transfer/internal/job.h"

namespace quire::internal {

class Mover {
 public:
  Mover() = default;
  virtual ~Mover() = default;
  Mover(const Mover&) = delete;
  Mover& operator=(const Mover&) = delete;

  // REQUIRES: length_bytes > 0.
  virtual Step move(std::uint64_t length_bytes) = 0;
  // Waits until nobody looks at memory of ours any more.
  virtual Step finish() { return Step::moved(); }
  // How much one move() is best asked for.
  [[nodiscard]] virtual std::uint64_t step_bytes() const { return kTransferStepBytes; }
};

[[nodiscard]] std::unique_ptr<Mover> make_mover(TransferMethod method, Job& job);

// Each method; `job` outlives the mover.
[[nodiscard]] std::unique_ptr<Mover> make_read_write(Job& job);
[[nodiscard]] std::unique_ptr<Mover> make_direct(Job& job);
[[nodiscard]] std::unique_ptr<Mover> make_map_write(Job& job);
[[nodiscard]] std::unique_ptr<Mover> make_send_file(Job& job);
[[nodiscard]] std::unique_ptr<Mover> make_splice(Job& job);
[[nodiscard]] std::unique_ptr<Mover> make_copy_file_range(Job& job);
[[nodiscard]] std::unique_ptr<Mover> make_reflink(Job& job);
[[nodiscard]] std::unique_ptr<Mover> make_zero_copy_send(Job& job);
[[nodiscard]] std::unique_ptr<Mover> make_ring_send(Job& job);

// A buffer of whole pages; of huge ones where the kernel grants them.
class PageBuffer {
 public:
  PageBuffer() = default;
  PageBuffer(PageBuffer&& other) noexcept;
  PageBuffer& operator=(PageBuffer&&) = delete;
  ~PageBuffer();

  // Aligned to 2 MiB when it is at least that long. Errors: ENOMEM.
  [[nodiscard]] static sys::Outcome<PageBuffer> allocate(std::size_t length_bytes);
  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return bytes_; }

 private:
  std::span<std::byte> mapped_;
  std::span<std::byte> bytes_;
};

// The move of a method that sends from the source's own pages: maps at most `length_bytes` from
// job.source_offset() on, lets `send` send them, and unmaps them. They are mapped for the kernel to
// read on our behalf and never touched here, so that a truncated file is EFAULT and no signal.
[[nodiscard]] Step move_window(Job& job, std::uint64_t length_bytes,
                               const std::function<Step(std::span<const std::byte>)>& send);

}  // namespace quire::internal
