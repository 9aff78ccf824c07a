// SPDX-License-Identifier: Apache-2.0
//
// MemoryStore: bytes in memory, on a disk that may fill up. SlowStore: any Store, made slow,
// fragmentary, faulty or stuck.
//
//   caller --> [ count ] --> [ gate: waits ] --> [ latency ] --> [ due to fail? ] --> inner store
//                              until opened         once for each piece of a request
//
// A request is done in pieces of at most transfer_bytes_max, as devices do it that end short:
// between two pieces others see a mixture. A write that fails on purpose leaves its first half; a
// resize, allocate or sync that fails has done nothing.
//
// Both may be called where a page fault is served in the faulting thread: they take locks and
// allocate, but none of their locks is ever held by code that touches a mapped page.
//
// Thread-safety: as Store's; a Gate belongs to one thread.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "quire/base/mutex.h"
#include "quire/base/prng.h"
#include "quire/io/store.h"

namespace quire::testing {

class MemoryStore final : public Store {
 public:
  explicit MemoryStore(std::uint64_t size_bytes = 0) : bytes_(size_bytes) {}
  explicit MemoryStore(std::vector<std::byte> bytes) : bytes_(std::move(bytes)) {}

  [[nodiscard]] const std::string& name() const noexcept override { return name_; }
  [[nodiscard]] Result<std::uint64_t> size_bytes() const override;
  Result<std::uint64_t> read_pieces(std::uint64_t offset_bytes, MutablePieces into) override;
  Result<void> write_pieces(std::uint64_t offset_bytes, ConstPieces from) override;
  Result<void> resize(std::uint64_t size_bytes) override;
  Result<void> allocate(ByteRange range) override;
  Result<void> punch(ByteRange range) override;
  Result<void> sync(Durability durability, ByteRange range = kWholeFile) override;

  // From now on writing or allocating past it is ENOSPC; what is there stays.
  void set_capacity(std::uint64_t capacity_bytes);
  // As read() would give it now.
  [[nodiscard]] std::vector<std::byte> image() const;

 private:
  Result<void> require_space(const char* operation, ByteRange range) QUIRE_REQUIRES(mutex_);

  const std::string name_ = "memory store";
  mutable Mutex mutex_;
  std::vector<std::byte> bytes_ QUIRE_GUARDED_BY(mutex_);
  std::uint64_t capacity_bytes_ QUIRE_GUARDED_BY(mutex_) = kToEnd;
};

enum class StoreOperation : std::uint8_t {
  kRead,
  kWrite,
  kResize,
  kAllocate,
  kPunch,
  kSync,
  kCount
};
[[nodiscard]] const char* name_of(StoreOperation operation) noexcept;

// What is to happen to the operations of one kind.
struct StoreFault {
  StoreOperation operation = StoreOperation::kRead;
  std::uint64_t nth = 1;    // The first to fail, counted from now and from 1.
  std::uint64_t times = 1;  // How many in a row.
  int error = 5;            // EIO
};

struct SlowStoreOptions {
  std::uint64_t seed = 0;
  // Each piece of a request waits for a time drawn from 0 to this.
  std::chrono::nanoseconds read_latency_max{0};
  std::chrono::nanoseconds write_latency_max{0};
  std::chrono::nanoseconds sync_latency_max{0};
  std::uint64_t transfer_bytes_max = kToEnd;  // Of a piece.
  // A sync or a write that fails is the end of all later changes, as for File.
  bool do_errors_stick = false;
};

class SlowStore final : public Store {
 public:
  explicit SlowStore(std::shared_ptr<Store> inner, const SlowStoreOptions& options = {});

  [[nodiscard]] const std::string& name() const noexcept override { return inner_->name(); }
  [[nodiscard]] Result<std::uint64_t> size_bytes() const override { return inner_->size_bytes(); }
  Result<std::uint64_t> read_pieces(std::uint64_t offset_bytes, MutablePieces into) override;
  Result<void> write_pieces(std::uint64_t offset_bytes, ConstPieces from) override;
  Result<void> resize(std::uint64_t size_bytes) override;
  Result<void> allocate(ByteRange range) override;
  Result<void> punch(ByteRange range) override;
  Result<void> sync(Durability durability, ByteRange range = kWholeFile) override;

  // Replaces the fault that was set before, and begins to count anew.
  void fail(const StoreFault& fault);
  // Nothing fails any more, and nothing sticks.
  void heal();

  // Requests so far, failed ones too; their bytes; those that were made to fail.
  [[nodiscard]] std::uint64_t count(StoreOperation operation) const;
  [[nodiscard]] std::uint64_t bytes(StoreOperation operation) const;
  [[nodiscard]] std::uint64_t fault_count() const;

  // Requests of one kind that touch a range wait while it exists.
  class Gate {
   public:
    Gate(SlowStore& store, StoreOperation operation, ByteRange range = kWholeFile);
    ~Gate() { open(); }
    Gate(const Gate&) = delete;
    Gate& operator=(const Gate&) = delete;

    void open();
    // Blocks until this many requests have come to it. REQUIRES: not opened.
    void await_arrivals(std::uint64_t count) const;
    [[nodiscard]] std::uint64_t arrivals() const;

   private:
    SlowStore& store_;
  };

 private:
  struct Tally {
    std::uint64_t requests = 0;
    std::uint64_t bytes = 0;
  };
  struct GateState {
    StoreOperation operation = StoreOperation::kRead;
    ByteRange range;
    std::uint64_t arrivals = 0;
  };

  // Counts, waits at the gate, and says whether the request fails.
  Result<void> begin(StoreOperation operation, ByteRange range);
  [[nodiscard]] bool is_due(StoreOperation operation) QUIRE_REQUIRES(mutex_);
  void wait_at_gate(StoreOperation operation, ByteRange range) QUIRE_REQUIRES(mutex_);
  void wait_for_device(StoreOperation operation);
  [[nodiscard]] std::chrono::nanoseconds latency_max(StoreOperation operation) const;
  [[nodiscard]] std::uint64_t piece_bytes();

  const std::shared_ptr<Store> inner_;
  const SlowStoreOptions options_;
  mutable Mutex mutex_;
  mutable CondVar changed_;
  Prng random_ QUIRE_GUARDED_BY(mutex_);
  std::array<Tally, static_cast<std::size_t>(StoreOperation::kCount)> tallies_
      QUIRE_GUARDED_BY(mutex_);
  StoreFault fault_ QUIRE_GUARDED_BY(mutex_){.times = 0};
  std::uint64_t seen_of_fault_ QUIRE_GUARDED_BY(mutex_) = 0;  // Operations of its kind since then.
  std::uint64_t faults_ QUIRE_GUARDED_BY(mutex_) = 0;
  bool is_failed_ QUIRE_GUARDED_BY(mutex_) = false;
  std::optional<GateState> gate_ QUIRE_GUARDED_BY(mutex_);
};

}  // namespace quire::testing
