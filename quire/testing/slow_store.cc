// SPDX-License-Identifier: Apache-2.0
#include "quire/testing/slow_store.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "quire/base/check.h"
#include "quire/base/page_window.h"
#include "quire/sys/outcome.h"

namespace quire::testing {
namespace {

template <typename Byte>
std::uint64_t total(std::span<const std::span<Byte>> pieces) {
  std::uint64_t bytes = 0;
  for (const std::span<Byte> piece : pieces) {
    bytes += piece.size();
  }
  return bytes;
}

bool do_overlap(ByteRange a, ByteRange b) {
  return a.offset_bytes < end_of(b) && b.offset_bytes < end_of(a);
}

Error store_error(int value, const char* operation, const std::string& name, ByteRange range) {
  return sys::to_error({value}, operation, name + ", " + describe(range));
}

bool is_change(StoreOperation operation) {
  return operation != StoreOperation::kRead;
}

}  // namespace

// --- MemoryStore ---------------------------------------------------------------------------------

Result<std::uint64_t> MemoryStore::size_bytes() const {
  const MutexLock lock(mutex_);
  return bytes_.size();
}

Result<std::uint64_t> MemoryStore::read_pieces(std::uint64_t offset_bytes, MutablePieces into) {
  const MutexLock lock(mutex_);
  std::uint64_t done = 0;
  for (const std::span<std::byte> piece : into) {
    const std::uint64_t at = std::min<std::uint64_t>(offset_bytes + done, bytes_.size());
    const std::size_t count = std::min<std::size_t>(piece.size(), bytes_.size() - at);
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(at), count, piece.begin());
    done += count;
  }
  return done;
}

Result<void> MemoryStore::require_space(const char* operation, ByteRange range) {
  if (range.length_bytes > 0 && end_of(range) > capacity_bytes_) {
    return fail(store_error(ENOSPC, operation, name_, range));
  }
  return {};
}

Result<void> MemoryStore::write_pieces(std::uint64_t offset_bytes, ConstPieces from) {
  const MutexLock lock(mutex_);
  const ByteRange range{offset_bytes, total(from)};
  QUIRE_TRY(require_space("write", range));
  if (range.length_bytes > 0 && end_of(range) > bytes_.size()) {
    bytes_.resize(end_of(range));
  }
  auto to = bytes_.begin() + static_cast<std::ptrdiff_t>(offset_bytes);
  for (const std::span<const std::byte> piece : from) {
    to = std::ranges::copy(piece, to).out;
  }
  return {};
}

Result<void> MemoryStore::resize(std::uint64_t size_bytes) {
  const MutexLock lock(mutex_);
  bytes_.resize(size_bytes);
  return {};
}

Result<void> MemoryStore::allocate(ByteRange range) {
  const MutexLock lock(mutex_);
  if (range.length_bytes == kToEnd || range.length_bytes == 0) {
    return {};
  }
  QUIRE_TRY(require_space("allocate", range));
  bytes_.resize(std::max<std::uint64_t>(bytes_.size(), end_of(range)));
  return {};
}

Result<void> MemoryStore::punch(ByteRange range) {
  const MutexLock lock(mutex_);
  const ByteRange inside = intersect(range, {0, bytes_.size()});
  std::fill_n(bytes_.begin() + static_cast<std::ptrdiff_t>(inside.offset_bytes),
              inside.length_bytes, std::byte{0});
  return {};
}

Result<void> MemoryStore::sync(Durability /*durability*/, ByteRange /*range*/) {
  return {};
}

void MemoryStore::set_capacity(std::uint64_t capacity_bytes) {
  const MutexLock lock(mutex_);
  capacity_bytes_ = capacity_bytes;
}

std::vector<std::byte> MemoryStore::image() const {
  const MutexLock lock(mutex_);
  return bytes_;
}

// --- SlowStore -----------------------------------------------------------------------------------

const char* name_of(StoreOperation operation) noexcept {
  constexpr std::array kNames = {"read", "write", "resize", "allocate", "punch", "sync"};
  static_assert(kNames.size() == static_cast<std::size_t>(StoreOperation::kCount));
  return kNames.at(static_cast<std::size_t>(operation));
}

SlowStore::SlowStore(std::shared_ptr<Store> inner, const SlowStoreOptions& options)
    : inner_(std::move(inner)), options_(options), random_(options.seed) {
  QUIRE_CHECK(options.transfer_bytes_max > 0);
}

bool SlowStore::is_due(StoreOperation operation) {
  if (fault_.times == 0 || operation != fault_.operation) {
    return false;
  }
  ++seen_of_fault_;
  return seen_of_fault_ >= fault_.nth && seen_of_fault_ - fault_.nth < fault_.times;
}

void SlowStore::wait_at_gate(StoreOperation operation, ByteRange range) {
  if (!gate_ || gate_->operation != operation || !do_overlap(gate_->range, range)) {
    return;
  }
  ++gate_->arrivals;
  changed_.notify_all();
  while (gate_) {
    changed_.wait(mutex_);
  }
}

Result<void> SlowStore::begin(StoreOperation operation, ByteRange range) {
  const MutexLock lock(mutex_);
  Tally& tally = tallies_.at(static_cast<std::size_t>(operation));
  ++tally.requests;
  tally.bytes += range.length_bytes == kToEnd ? 0 : range.length_bytes;
  wait_at_gate(operation, range);
  if (is_failed_ && is_change(operation)) {
    return quire::fail(make_error(Errc::kFailed, name_of(operation), name(),
                                  "an earlier error is still in force"));
  }
  if (!is_due(operation)) {
    return {};
  }
  ++faults_;
  is_failed_ = options_.do_errors_stick &&
               (operation == StoreOperation::kWrite || operation == StoreOperation::kSync);
  return quire::fail(store_error(fault_.error, name_of(operation), name(), range));
}

std::chrono::nanoseconds SlowStore::latency_max(StoreOperation operation) const {
  switch (operation) {
    case StoreOperation::kRead: return options_.read_latency_max;
    case StoreOperation::kSync: return options_.sync_latency_max;
    default: return options_.write_latency_max;
  }
}

void SlowStore::wait_for_device(StoreOperation operation) {
  const auto latency = static_cast<std::uint64_t>(latency_max(operation).count());
  if (latency == 0) {
    return;
  }
  Mutex mutex;  // Nobody else knows it: only the deadline ends the wait.
  CondVar never;
  std::chrono::steady_clock::time_point deadline;
  {
    const MutexLock lock(mutex_);
    deadline = std::chrono::steady_clock::now() + std::chrono::nanoseconds(random_.below(latency));
  }
  const MutexLock lock(mutex);
  while (never.wait_until(mutex, deadline)) {
  }
}

std::uint64_t SlowStore::piece_bytes() {
  if (options_.transfer_bytes_max == kToEnd) {
    return kToEnd;
  }
  const MutexLock lock(mutex_);
  return 1 + random_.below(options_.transfer_bytes_max);
}

Result<std::uint64_t> SlowStore::read_pieces(std::uint64_t offset_bytes, MutablePieces into) {
  QUIRE_TRY(begin(StoreOperation::kRead, {offset_bytes, total(into)}));
  std::uint64_t done = 0;
  for (const std::span<std::byte> whole : into) {
    for (std::span<std::byte> rest = whole; !rest.empty();) {
      wait_for_device(StoreOperation::kRead);
      const std::size_t count = std::min<std::uint64_t>(rest.size(), piece_bytes());
      const std::uint64_t got = QUIRE_TRY(inner_->read(offset_bytes + done, rest.first(count)));
      done += got;
      if (got < count) {
        return done;  // The end of the store.
      }
      rest = rest.subspan(count);
    }
  }
  return done;
}

Result<void> SlowStore::write_pieces(std::uint64_t offset_bytes, ConstPieces from) {
  const std::uint64_t length = total(from);
  Result<void> begun = begin(StoreOperation::kWrite, {offset_bytes, length});
  // What is left of a write that fails.
  std::uint64_t left = begun ? length : length / 2;
  if (!begun && begun.error().code() == Errc::kFailed) {
    return begun;
  }
  for (const std::span<const std::byte> whole : from) {
    for (std::span<const std::byte> rest = whole; !rest.empty() && left > 0;) {
      wait_for_device(StoreOperation::kWrite);
      const std::size_t count = std::min<std::uint64_t>({rest.size(), piece_bytes(), left});
      QUIRE_TRY(inner_->write(offset_bytes, rest.first(count)));
      offset_bytes += count;
      left -= count;
      rest = rest.subspan(count);
    }
  }
  return begun;
}

Result<void> SlowStore::resize(std::uint64_t size_bytes) {
  QUIRE_TRY(begin(StoreOperation::kResize, {0, size_bytes}));
  wait_for_device(StoreOperation::kResize);
  return inner_->resize(size_bytes);
}

Result<void> SlowStore::allocate(ByteRange range) {
  QUIRE_TRY(begin(StoreOperation::kAllocate, range));
  wait_for_device(StoreOperation::kAllocate);
  return inner_->allocate(range);
}

Result<void> SlowStore::punch(ByteRange range) {
  QUIRE_TRY(begin(StoreOperation::kPunch, range));
  wait_for_device(StoreOperation::kPunch);
  return inner_->punch(range);
}

Result<void> SlowStore::sync(Durability durability, ByteRange range) {
  QUIRE_TRY(begin(StoreOperation::kSync, range));
  wait_for_device(StoreOperation::kSync);
  return inner_->sync(durability, range);
}

void SlowStore::fail(const StoreFault& fault) {
  QUIRE_CHECK(fault.nth > 0);
  const MutexLock lock(mutex_);
  fault_ = fault;
  seen_of_fault_ = 0;
}

void SlowStore::heal() {
  const MutexLock lock(mutex_);
  fault_.times = 0;
  is_failed_ = false;
}

std::uint64_t SlowStore::count(StoreOperation operation) const {
  const MutexLock lock(mutex_);
  return tallies_.at(static_cast<std::size_t>(operation)).requests;
}

std::uint64_t SlowStore::bytes(StoreOperation operation) const {
  const MutexLock lock(mutex_);
  return tallies_.at(static_cast<std::size_t>(operation)).bytes;
}

std::uint64_t SlowStore::fault_count() const {
  const MutexLock lock(mutex_);
  return faults_;
}

SlowStore::Gate::Gate(SlowStore& store, StoreOperation operation, ByteRange range) : store_(store) {
  const MutexLock lock(store_.mutex_);
  QUIRE_CHECK(!store_.gate_);
  store_.gate_ = {.operation = operation, .range = range};
}

void SlowStore::Gate::open() {
  const MutexLock lock(store_.mutex_);
  store_.gate_.reset();
  store_.changed_.notify_all();
}

void SlowStore::Gate::await_arrivals(std::uint64_t count) const {
  const MutexLock lock(store_.mutex_);
  while (store_.gate_->arrivals < count) {
    store_.changed_.wait(store_.mutex_);
  }
}

std::uint64_t SlowStore::Gate::arrivals() const {
  const MutexLock lock(store_.mutex_);
  return store_.gate_ ? store_.gate_->arrivals : 0;
}

}  // namespace quire::testing
