// SPDX-License-Identifier: Apache-2.0
//
// Store: bytes that are read and written at an offset. What a mapping, a pager or a batch reader
// gets its bytes from and does not care what it is.
//
//   Store  <---- File          buffered or direct, see file.h
//          <---- SimStore      in memory, seeded, with faults and power cuts (testing/)
//          <---- yours         compressed, remote, ...: eight functions
//
// The forms here block. Asynchronous forms are IoQueue's (one thread, completions or co_await) and
// BackgroundIo's (any thread, tickets); they take any Store, and go through io_uring when
// kernel_target() says that the kernel can do this store's requests.
//
// Ranges:        any offset, any length, any alignment of memory. A length of 0 is nothing.
// Completeness:  read() gives fewer bytes than asked for only at the end of the store; write() has
//                written all or failed, and after a failure the bytes of its range are unspecified.
// Thread-safety: every member from any thread. Writes that overlap, or a read that overlaps a
//                write, see some mixture; writes that do not overlap never disturb each other, also
//                within one device block.
// Errors:        named below; a failed write-back or sync() sticks: every later change and sync()
//                gives it (kFailed, with the first cause), because nobody can know what is on disk.
//                Reads go on: what is there can still be saved.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "quire/base/durability.h"
#include "quire/base/result.h"
#include "quire/base/units.h"
#include "quire/sys/vector_io.h"

namespace quire {

// Pieces of memory that are one range of the store, in order.
using MutablePieces = std::span<const std::span<std::byte>>;
using ConstPieces = std::span<const std::span<const std::byte>>;

struct IoRequest;

// How the kernel can do a store's requests by itself: for IoQueue.
struct KernelTarget {
  int fd = -1;
  std::uint32_t memory_alignment_bytes = 1;  // Of the memory's address ...
  std::uint32_t read_alignment_bytes = 1;    // ... of offset and length of a read ...
  std::uint32_t write_alignment_bytes = 1;   // ... and of a write; what does not fit is bounced.
  sys::TransferFlags read_flags = {};        // For every read ...
  sys::TransferFlags write_flags = {};       // ... and every write.
};

class Store {
 public:
  Store() = default;
  virtual ~Store() = default;
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // What the bytes are called in errors: "index.bin".
  [[nodiscard]] virtual const std::string& name() const noexcept = 0;
  [[nodiscard]] virtual Result<std::uint64_t> size_bytes() const = 0;

  // Reads until `into` is full or the store ends; returns the bytes read.
  // Errors: EIO and the like of the medium. Blocks.
  Result<std::uint64_t> read(std::uint64_t offset_bytes, std::span<std::byte> into);
  virtual Result<std::uint64_t> read_pieces(std::uint64_t offset_bytes, MutablePieces into) = 0;

  // Writes all of it; the store grows to hold it.
  // Errors: ENOSPC, EIO, EFBIG past 2^63 - 1, kReadOnly, kFailed. Blocks.
  Result<void> write(std::uint64_t offset_bytes, std::span<const std::byte> from);
  virtual Result<void> write_pieces(std::uint64_t offset_bytes, ConstPieces from) = 0;

  // What is added reads as zeros and has no space of its own yet: see allocate().
  virtual Result<void> resize(std::uint64_t size_bytes) = 0;
  // Makes sure that writing the range cannot meet a full disk. The store grows to hold the range;
  // kToEnd is the present end. Errors: ENOSPC; kUnsupported where space cannot be reserved.
  virtual Result<void> allocate(ByteRange range) = 0;
  // The range reads as zeros, and its space is given back where that is possible.
  virtual Result<void> punch(ByteRange range) = 0;

  // When it returns, what was written to the range before the call is as durable as asked for.
  // A range may be widened. Errors: EIO, ENOSPC, EDQUOT of a write-back, also of an earlier one;
  // they stick. Blocks.
  virtual Result<void> sync(Durability durability, ByteRange range = kWholeFile) = 0;

  // --- For IoQueue -------------------------------------------------------------------------------

  // Null: only the functions above can do it. Valid as long as the store.
  [[nodiscard]] virtual const KernelTarget* kernel_target() const noexcept { return nullptr; }
  // Asked before a request goes through kernel_target(). False: this one is for the functions
  // above, which know how to do it, or why it must fail: an error that sticks, a store that is
  // closed, a direct write that makes the file longer.
  [[nodiscard]] virtual bool may_kernel_do(const IoRequest& /*request*/) const noexcept {
    return true;
  }
  // It went through kernel_target(), and this is its end: counters, and errors that stick.
  virtual void on_kernel_completion(const IoRequest& /*request*/) noexcept {}
};

}  // namespace quire
