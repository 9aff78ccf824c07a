// SPDX-License-Identifier: Apache-2.0
//
// ImageArena: memory for images on their way from the log to the files, filled from its beginning.
//
//   |<------------- begins at a huge page; of huge pages, where the kernel has them ------------->|
//   [ images that came | images under way | made for the next ones | made by nobody yet ...       ]
//                                         '- prepare()              '- a thread goes on here
//
// A huge page is one segment of a transfer, which ordinary pages need one each for: a device, and
// the machine below a virtual one, are done with it several times sooner.
//
// The kernel clears memory that is new to a process when it is touched first, and the host of a
// virtual machine may have to find it before. For all images of a large log that takes as long as
// reading them, or longer. So a second thread makes the memory that is needed next, and where it is
// behind, who needs it helps it.
//
// Thread-safety: one thread, beside its own.
// Cost:          address space of a huge page more than asked for; memory, of what is touched.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>

#include "quire/base/mutex.h"
#include "quire/base/result.h"
#include "quire/base/units.h"

namespace quire::internal {

class ImageArena {
 public:
  // Less is made by whoever touches it in about the time that a thread takes to start.
  static constexpr std::uint64_t kAheadBytesMin = 16_MiB;

  // Errors: ENOMEM.
  static Result<std::unique_ptr<ImageArena>> make(std::uint64_t size_bytes);
  ~ImageArena();
  ImageArena(const ImageArena&) = delete;
  ImageArena& operator=(const ImageArena&) = delete;

  // All of it will be filled, from the beginning: the thread starts. Called once at most.
  void make_ahead();
  // Makes what the thread has not made of this many bytes from the beginning; at once without
  // make_ahead(). What it does not make the kernel does when it is touched; so it is with the very
  // last of them where the thread is at it: there is nothing to do meanwhile.
  void prepare(std::uint64_t bytes);

  [[nodiscard]] std::byte* begin() const noexcept { return begin_; }
  [[nodiscard]] std::uint64_t size_bytes() const noexcept { return size_bytes_; }

 private:
  using Chunk = std::uint64_t;  // The number of a huge page.

  ImageArena(std::byte* mapping, std::uint64_t mapping_bytes, std::uint64_t size_bytes);
  void run();
  // False: it is not to be had like this. Then it is made by being touched.
  [[nodiscard]] bool make_chunk(Chunk chunk) const;

  std::byte* const mapping_;
  const std::uint64_t mapping_bytes_;
  std::byte* const begin_;
  const std::uint64_t size_bytes_;
  const Chunk chunk_count_;
  std::thread thread_;
  std::atomic<bool> is_stopping_{false};
  Mutex mutex_;
  Chunk next_ QUIRE_GUARDED_BY(mutex_);       // Nobody has claimed it, or what follows.
  Chunk in_thread_ QUIRE_GUARDED_BY(mutex_);  // What the thread is making; behind the last: none.
};

}  // namespace quire::internal
