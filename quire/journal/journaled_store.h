// SPDX-License-Identifier: Apache-2.0
//
// JournaledStore: one file of a Journal as a Store.
//
//   write, resize, punch   to the log, uncommitted; reads see them at once
//   sync(kData), kAll      a commit of this file; a range is widened to all of it
//   sync(kStarted)         nothing: there is nothing to start
//   allocate               makes the file longer. No space of the disk is reserved, and none is
//                          needed: writes go to the log, which has its own.
//   IoQueue                reads of ranges that have nothing in the log go to the kernel, for the
//                          file
//
// Any offset, length and memory will do; what covers a page in part reads the page first. Whole
// pages of page-aligned memory are what it is made for.
//
// Invariants:    the file itself is never changed by it, only by the journal's checkpoints.
// Thread-safety: as Store's.
// Errors:        as Store's, and kLimit when the log is full.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "quire/base/mutex.h"
#include "quire/io/store.h"

namespace quire {

namespace internal {
class JournalState;
}

class JournaledStore final : public Store {
 public:
  JournaledStore(internal::JournalState& state, std::size_t file);

  [[nodiscard]] const std::string& name() const noexcept override;
  [[nodiscard]] Result<std::uint64_t> size_bytes() const override;
  Result<std::uint64_t> read_pieces(std::uint64_t offset_bytes, MutablePieces into) override;
  Result<void> write_pieces(std::uint64_t offset_bytes, ConstPieces from) override;
  Result<void> resize(std::uint64_t size_bytes) override;
  Result<void> allocate(ByteRange range) override;
  Result<void> punch(ByteRange range) override;
  Result<void> sync(Durability durability, ByteRange range = kWholeFile) override;

  [[nodiscard]] const KernelTarget* kernel_target() const noexcept override;
  [[nodiscard]] bool may_kernel_do(const IoRequest& request) const noexcept override;
  void on_kernel_completion(const IoRequest& request) noexcept override;

  // As of the last commit, without what is uncommitted.
  Result<std::uint64_t> read_committed(std::uint64_t offset_bytes, std::span<std::byte> into);
  // For who keeps newer bytes of it in memory: one at a time. False: somebody does already.
  [[nodiscard]] bool try_claim() noexcept { return !is_claimed_.exchange(true); }
  void give_up_claim() noexcept { is_claimed_.store(false); }
  // The file's number in its journal.
  [[nodiscard]] std::size_t number() const noexcept { return file_; }

 private:
  Result<void> write_whole_pages(std::uint64_t offset_bytes, ConstPieces from);
  Result<void> write_any(std::uint64_t offset_bytes, ConstPieces from);

  internal::JournalState& state_;
  const std::size_t file_;
  std::atomic<bool> is_claimed_{false};
  Mutex edges_;  // Held by who reads a page to write it in part.
};

}  // namespace quire
