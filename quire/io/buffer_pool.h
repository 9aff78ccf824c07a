// SPDX-License-Identifier: Apache-2.0
//
// BufferPool: aligned memory for direct I/O, in huge pages where the machine grants them.
//
//   |<------------------- one mapping, 2 MiB aligned, MADV_HUGEPAGE, touched -------------------->|
//   | buffer 0 | buffer 1 | buffer 2 | ...                                                        |
//
// A device reads into a huge page in a few long segments where ordinary pages need one each: on
// some machines that alone doubles the throughput. All memory is taken when the pool is made, and
// kept: a buffer costs nothing to take and give back, and can be registered with an IoQueue.
//
// Invariants:    a buffer is out or in, never both; all are in when the pool goes (checked).
// Thread-safety: any thread.
// Cost:          make(): the pages are filled with zeros, some 0.2 s per GiB, and the limits are
//                asked for. take() and giving back: a lock and a few instructions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "quire/base/result.h"
#include "quire/base/units.h"

namespace quire {

struct BufferPoolOptions {
  // A power of two, at least an OS page: the largest single transfer.
  std::uint64_t buffer_bytes = 1_MiB;
  std::uint32_t buffer_count = 32;
};

class BufferPool {
 public:
  // One buffer; given back when it goes.
  class Buffer {
   public:
    Buffer() = default;
    Buffer(Buffer&& other) noexcept;
    Buffer& operator=(Buffer&& other) noexcept;
    ~Buffer();
    [[nodiscard]] std::span<std::byte> bytes() const noexcept { return bytes_; }
    // Which of the pool's buffers it is: the index under which an IoQueue registered it.
    [[nodiscard]] std::uint32_t index() const noexcept { return index_; }

   private:
    friend class BufferPool;
    Buffer(BufferPool& pool, std::uint32_t index);
    void release() noexcept;

    BufferPool* pool_ = nullptr;
    std::span<std::byte> bytes_;
    std::uint32_t index_ = 0;
  };

  // Errors: ENOMEM; kOutOfRange for sizes that are no sizes; kLimit when the memory cgroup or the
  //         machine has less in all (asked before touching).
  static Result<std::unique_ptr<BufferPool>> make(const BufferPoolOptions& options = {});
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  // Nothing when all are out.
  [[nodiscard]] std::optional<Buffer> try_take();
  // Blocks until one is given back.
  [[nodiscard]] Buffer take();

  // All of the memory, for registration.
  [[nodiscard]] std::span<std::byte> memory() const noexcept;
  [[nodiscard]] std::uint64_t buffer_bytes() const noexcept;
  [[nodiscard]] std::uint32_t buffer_count() const noexcept;
  [[nodiscard]] std::uint32_t free_count() const;
  // Of the memory, in huge pages, as the page tables had it after touching; 0 when unknown.
  [[nodiscard]] std::uint64_t huge_bytes() const noexcept;
  // "32 buffers of 1.0 MiB in huge pages"; or why not.
  [[nodiscard]] std::string explain() const;
  void check_invariants() const;

 private:
  class State;
  explicit BufferPool(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace quire
