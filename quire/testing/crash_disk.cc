// SPDX-License-Identifier: Apache-2.0
#include "quire/testing/crash_disk.h"

#include <algorithm>
#include <utility>

#include "quire/base/check.h"
#include "quire/base/page_window.h"

namespace quire::testing {
namespace {

constexpr std::uint64_t kSectorBytes = 512;

void put(std::vector<std::byte>& content, std::uint64_t offset_bytes,
         std::span<const std::byte> bytes) {
  content.resize(std::max<std::uint64_t>(content.size(), offset_bytes + bytes.size()));
  std::ranges::copy(bytes, content.begin() + static_cast<std::ptrdiff_t>(offset_bytes));
}

}  // namespace

class CrashDisk::Recorder final : public Store {
 public:
  Recorder(CrashDisk& disk, std::size_t number, bool is_durable)
      : disk_(disk),
        number_(number),
        is_durable_(is_durable),
        name_("store " + std::to_string(number)) {}

  [[nodiscard]] const std::string& name() const noexcept override { return name_; }
  [[nodiscard]] Result<std::uint64_t> size_bytes() const override {
    const MutexLock lock(disk_.mutex_);
    return disk_.contents_[number_].size();
  }

  Result<std::uint64_t> read_pieces(std::uint64_t offset_bytes, MutablePieces into) override {
    const MutexLock lock(disk_.mutex_);
    const std::vector<std::byte>& content = disk_.contents_[number_];
    std::uint64_t done = 0;
    for (const auto& piece : into) {
      const ByteRange there = intersect({offset_bytes + done, piece.size()}, {0, content.size()});
      std::copy_n(content.begin() + static_cast<std::ptrdiff_t>(there.offset_bytes),
                  there.length_bytes, piece.begin());
      done += there.length_bytes;
      if (there.length_bytes < piece.size()) {
        break;
      }
    }
    return done;
  }

  Result<void> write_pieces(std::uint64_t offset_bytes, ConstPieces from) override {
    std::vector<std::byte> bytes;
    for (const auto& piece : from) {
      bytes.insert(bytes.end(), piece.begin(), piece.end());
    }
    const MutexLock lock(disk_.mutex_);
    disk_.record({.kind = is_durable_ ? Kind::kDurableWrite : Kind::kWrite,
                  .store = number_,
                  .at = offset_bytes,
                  .bytes = std::move(bytes)});
    return {};
  }

  Result<void> resize(std::uint64_t size_bytes) override {
    const MutexLock lock(disk_.mutex_);
    disk_.record({.kind = Kind::kResize, .store = number_, .at = size_bytes});
    return {};
  }
  Result<void> allocate(ByteRange range) override {
    const std::uint64_t size = QUIRE_TRY(size_bytes());
    return end_of(range) > size && range.length_bytes != kToEnd ? resize(end_of(range))
                                                                : Result<void>();
  }
  Result<void> punch(ByteRange range) override {
    const std::uint64_t size = QUIRE_TRY(size_bytes());
    const ByteRange inside = intersect(range, {0, size});
    return write(inside.offset_bytes, std::vector<std::byte>(inside.length_bytes));
  }
  Result<void> sync(Durability durability, ByteRange /*range*/) override {
    const MutexLock lock(disk_.mutex_);
    if (durability != Durability::kStarted) {
      disk_.record({.kind = Kind::kFlush, .store = number_});
    }
    return {};
  }

 private:
  CrashDisk& disk_;
  const std::size_t number_;
  const bool is_durable_;
  const std::string name_;
};

CrashDisk::CrashDisk(Contents contents, const CrashDiskOptions& options)
    : options_(options), initial_(contents), contents_(std::move(contents)) {}

std::shared_ptr<Store> CrashDisk::store(std::size_t number) {
  return std::make_shared<Recorder>(*this, number, false);
}

std::shared_ptr<Store> CrashDisk::durable_store(std::size_t number) {
  return std::make_shared<Recorder>(*this, number, true);
}

void CrashDisk::mark(std::uint64_t value) {
  const MutexLock lock(mutex_);
  operations_.push_back({.kind = Kind::kMark, .at = value});
}

std::size_t CrashDisk::operation_count() const {
  const MutexLock lock(mutex_);
  return operations_.size();
}

CrashDisk::Contents CrashDisk::contents() const {
  const MutexLock lock(mutex_);
  return contents_;
}

void CrashDisk::record(Operation operation) {
  apply(operation, contents_[operation.store]);
  if (options_.forgets_flushes && operation.kind == Kind::kFlush) {
    return;
  }
  if (options_.forgets_flushes && operation.kind == Kind::kDurableWrite) {
    operation.kind = Kind::kWrite;
  }
  auto place = operations_.end();
  if (operation.kind == Kind::kDurableWrite && operation.store == 0 &&
      operation.at < options_.hurries_below_bytes) {
    while (place != operations_.begin() && std::prev(place)->kind != Kind::kMark &&
           std::prev(place)->store != 0) {
      --place;
    }
  }
  operations_.insert(place, std::move(operation));
}

void CrashDisk::apply(const Operation& operation, std::vector<std::byte>& content) {
  if (operation.kind == Kind::kResize) {
    content.resize(operation.at);
  } else if (operation.kind == Kind::kWrite || operation.kind == Kind::kDurableWrite) {
    put(content, operation.at, operation.bytes);
  }
}

void CrashDisk::apply_in_part(const Operation& operation, bool tears, Prng& random,
                              std::vector<std::byte>& content) {
  if (operation.kind == Kind::kResize) {
    if (random.below(2) == 0) {
      apply(operation, content);
    }
    return;
  }
  // Some writes are there but for a sector or two, some hardly at all.
  const std::uint64_t odds = 1 + random.below(16);
  const std::span<const std::byte> bytes = operation.bytes;
  for (std::uint64_t at = 0; at < bytes.size();) {
    const std::uint64_t skew = (operation.at + at) % kSectorBytes;
    const std::uint64_t sector = std::min(kSectorBytes - skew, bytes.size() - at);
    if (random.below(16) < odds) {
      const bool is_torn = tears && random.below(4) == 0;
      put(content, operation.at + at, bytes.subspan(at, is_torn ? random.below(sector) : sector));
    }
    at += sector;
  }
}

CrashDisk::Walk::Walk(const CrashDisk& disk) : disk_(disk), durable_(disk.initial_) {}

bool CrashDisk::Walk::advance() {
  const MutexLock lock(disk_.mutex_);
  if (is_under_way_) {
    complete_last();
    is_under_way_ = false;
    return true;
  }
  while (issued_ < disk_.operations_.size() && disk_.operations_[issued_].kind == Kind::kMark) {
    mark_ = disk_.operations_[issued_++].at;
  }
  if (issued_ == disk_.operations_.size()) {
    return false;
  }
  const Operation& operation = disk_.operations_[issued_];
  if (operation.kind != Kind::kFlush) {
    pending_.push_back({.operation = issued_});
  }
  ++issued_;
  is_under_way_ = true;
  return true;
}

void CrashDisk::Walk::complete_last() {
  const Operation& operation = disk_.operations_[issued_ - 1];
  if (operation.kind == Kind::kDurableWrite) {
    pending_.back().is_durable = true;
  }
  if (operation.kind != Kind::kFlush) {
    return;
  }
  std::vector<Pending> left;
  for (const Pending& pending : pending_) {
    const Operation& flushed = disk_.operations_[pending.operation];
    if (flushed.store == operation.store) {
      apply(flushed, durable_[flushed.store]);
    } else {
      left.push_back(pending);
    }
  }
  pending_ = std::move(left);
}

CrashDisk::Contents CrashDisk::Walk::crash(Loss loss, Prng& random) const {
  const MutexLock lock(disk_.mutex_);
  Contents contents = durable_;
  for (const Pending& pending : pending_) {
    const Operation& operation = disk_.operations_[pending.operation];
    std::vector<std::byte>& content = contents[operation.store];
    switch (pending.is_durable ? Loss::kNothing : loss) {
      case Loss::kNothing: apply(operation, content); break;
      case Loss::kUnflushed: break;
      case Loss::kOperations:
        if (random.below(2) == 0) {
          apply(operation, content);
        }
        break;
      case Loss::kSectors:
      case Loss::kTorn: apply_in_part(operation, loss == Loss::kTorn, random, content); break;
    }
  }
  return contents;
}

std::string CrashDisk::Walk::where() const {
  return "operation " + std::to_string(issued_) + (is_under_way_ ? ", under way" : ", just done");
}

}  // namespace quire::testing
