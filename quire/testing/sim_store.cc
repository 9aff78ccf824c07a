// SPDX-License-Identifier: Apache-2.0
#include "quire/testing/sim_store.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "quire/base/check.h"
#include "quire/base/page_window.h"
#include "quire/sys/outcome.h"

namespace quire::testing {
namespace {

// Larger than any test's; a store of that size was a mistake in its offsets.
constexpr std::uint64_t kSizeBytesMax = 1_GiB;

template <typename Byte>
std::uint64_t total(std::span<const std::span<Byte>> pieces) {
  std::uint64_t bytes = 0;
  for (const std::span<Byte> piece : pieces) {
    bytes += piece.size();
  }
  return bytes;
}

}  // namespace

SimStore::SimStore(const SimStoreOptions& options)
    : options_(options), random_(options.seed), sizes_{0}, fail_nth_(options.fail_nth_operation) {
  QUIRE_CHECK(options.sector_bytes > 0);
}

Error SimStore::error(int value, const char* operation, ByteRange range) const {
  return sys::to_error({value}, operation, name_ + ", " + describe(range));
}

bool SimStore::is_due() {
  ++operations_;
  if (operations_ != fail_nth_) {
    return false;
  }
  ++faults_;
  return true;
}

Result<void> SimStore::begin(Kind kind, const char* operation, ByteRange range) {
  if (kind != Kind::kRead && sticky_) {
    return fail(make_error(Errc::kFailed, operation, name_ + ", " + describe(range),
                           "an earlier error is still in force: " + sticky_->message()));
  }
  if (!is_due()) {
    return {};
  }
  const Error failed = error(options_.fail_errno, operation, range);
  if (kind == Kind::kSync) {
    sticky_ = failed;
  }
  return fail(failed);
}

Result<std::uint64_t> SimStore::size_bytes() const {
  const MutexLock lock(mutex_);
  return now_.size();
}

Result<std::uint64_t> SimStore::read_pieces(std::uint64_t offset_bytes, MutablePieces into) {
  const MutexLock lock(mutex_);
  QUIRE_TRY(begin(Kind::kRead, "read", {offset_bytes, total(into)}));
  std::uint64_t done = 0;
  for (const std::span<std::byte> piece : into) {
    if (offset_bytes >= now_.size()) {
      break;
    }
    const std::span<const std::byte> rest = std::span(now_).subspan(offset_bytes);
    const std::size_t count = std::min(piece.size(), rest.size());
    std::copy_n(rest.begin(), count, piece.begin());
    offset_bytes += count;
    done += count;
  }
  return done;
}

SimStore::Sector SimStore::sector_now(std::uint64_t sector) const {
  const std::uint64_t begin = std::min<std::uint64_t>(sector * options_.sector_bytes, now_.size());
  const std::uint64_t end = std::min<std::uint64_t>(begin + options_.sector_bytes, now_.size());
  return {now_.begin() + static_cast<std::ptrdiff_t>(begin),
          now_.begin() + static_cast<std::ptrdiff_t>(end)};
}

// Called before a change, it keeps what is on disk; called after it, the new version.
void SimStore::remember(std::uint64_t first_sector, std::uint64_t last_sector) {
  for (std::uint64_t sector = first_sector; sector <= last_sector; ++sector) {
    versions_[sector].push_back(sector_now(sector));
  }
}

void SimStore::put(std::uint64_t offset_bytes, std::span<const std::byte> bytes) {
  if (bytes.empty()) {
    return;
  }
  const std::uint64_t end = offset_bytes + bytes.size();
  const std::uint64_t first = offset_bytes / options_.sector_bytes;
  const std::uint64_t last = (end - 1) / options_.sector_bytes;
  for (std::uint64_t sector = first; sector <= last; ++sector) {
    if (!versions_.contains(sector)) {
      remember(sector, sector);
    }
  }
  if (end > now_.size()) {
    set_size(end);
  }
  std::ranges::copy(bytes, now_.begin() + static_cast<std::ptrdiff_t>(offset_bytes));
  remember(first, last);
}

void SimStore::put_some(std::uint64_t offset_bytes, std::span<const std::byte> bytes) {
  for (std::uint64_t at = 0; at < bytes.size(); at += options_.sector_bytes) {
    if (random_.below(2) == 0) {
      const std::uint64_t count = std::min<std::uint64_t>(options_.sector_bytes, bytes.size() - at);
      put(offset_bytes + at, bytes.subspan(at, count));
    }
  }
}

void SimStore::set_size(std::uint64_t size_bytes) {
  QUIRE_CHECK_LE(size_bytes, kSizeBytesMax);
  // What is cut off leaves zeros behind when the store grows again: a version of its own.
  const std::uint64_t smaller = std::min<std::uint64_t>(size_bytes, now_.size());
  const std::uint64_t larger = std::max<std::uint64_t>(size_bytes, now_.size());
  if (smaller < larger) {
    const std::uint64_t first = smaller / options_.sector_bytes;
    const std::uint64_t last = (larger - 1) / options_.sector_bytes;
    for (std::uint64_t sector = first; sector <= last; ++sector) {
      if (!versions_.contains(sector)) {
        remember(sector, sector);
      }
    }
    now_.resize(size_bytes);
    remember(first, last);
  }
  sizes_.push_back(size_bytes);
}

Result<void> SimStore::write_pieces(std::uint64_t offset_bytes, ConstPieces from) {
  const MutexLock lock(mutex_);
  const ByteRange range{offset_bytes, total(from)};
  std::vector<std::byte> bytes;
  for (const std::span<const std::byte> piece : from) {
    bytes.insert(bytes.end(), piece.begin(), piece.end());
  }
  Result<void> begun = begin(Kind::kChange, "write", range);
  if (!begun) {
    if (begun.error().code() != Errc::kFailed) {
      put_some(offset_bytes, bytes);
    }
    return begun;
  }
  if (end_of(range) > kFileOffsetMax) {
    return fail(error(EFBIG, "write", range));
  }
  if (!bytes.empty() && end_of(range) > options_.capacity_bytes) {
    return fail(error(ENOSPC, "write", range));
  }
  put(offset_bytes, bytes);
  return {};
}

Result<void> SimStore::resize(std::uint64_t size_bytes) {
  const MutexLock lock(mutex_);
  QUIRE_TRY(begin(Kind::kChange, "resize", {0, size_bytes}));
  set_size(size_bytes);
  return {};
}

Result<void> SimStore::allocate(ByteRange range) {
  const MutexLock lock(mutex_);
  QUIRE_TRY(begin(Kind::kChange, "allocate", range));
  if (range.length_bytes == kToEnd || range.length_bytes == 0) {
    return {};
  }
  if (end_of(range) > options_.capacity_bytes) {
    return fail(error(ENOSPC, "allocate", range));
  }
  if (end_of(range) > now_.size()) {
    set_size(end_of(range));
  }
  return {};
}

Result<void> SimStore::punch(ByteRange range) {
  const MutexLock lock(mutex_);
  QUIRE_TRY(begin(Kind::kChange, "punch", range));
  const ByteRange inside = intersect(range, {0, now_.size()});
  put(inside.offset_bytes, std::vector<std::byte>(inside.length_bytes));
  return {};
}

Result<void> SimStore::sync(Durability durability, ByteRange range) {
  const MutexLock lock(mutex_);
  QUIRE_TRY(begin(Kind::kSync, "sync", range));
  if (durability != Durability::kStarted) {
    versions_.clear();
    sizes_ = {now_.size()};
  }
  return {};
}

SimStore::Sector SimStore::choose(const std::vector<Sector>& versions) {
  const std::size_t index = random_.below(versions.size());
  Sector chosen = versions[index];
  constexpr std::uint64_t kOneInTorn = 4;
  if (options_.tears_sectors && index > 0 && random_.below(kOneInTorn) == 0) {
    // The beginning is new, the rest is what was there before.
    const Sector& before = versions[index - 1];
    const std::size_t torn_at = random_.below(chosen.size() + 1);
    for (std::size_t i = torn_at; i < chosen.size(); ++i) {
      chosen[i] = i < before.size() ? before[i] : std::byte{0};
    }
  }
  return chosen;
}

void SimStore::crash() {
  const MutexLock lock(mutex_);
  const std::uint64_t size_bytes = sizes_[random_.below(sizes_.size())];
  now_.resize(std::max<std::uint64_t>(size_bytes, now_.size()));
  for (const auto& [sector, versions] : versions_) {
    const Sector chosen = choose(versions);
    const std::uint64_t begin = sector * options_.sector_bytes;
    for (std::uint64_t i = 0; i < options_.sector_bytes && begin + i < now_.size(); ++i) {
      now_[begin + i] = i < chosen.size() ? chosen[i] : std::byte{0};
    }
  }
  now_.resize(size_bytes);
  versions_.clear();
  sizes_ = {size_bytes};
  fail_nth_ = 0;
  sticky_.reset();
}

std::vector<std::byte> SimStore::image() const {
  const MutexLock lock(mutex_);
  return now_;
}

std::uint64_t SimStore::operation_count() const {
  const MutexLock lock(mutex_);
  return operations_;
}

std::uint64_t SimStore::fault_count() const {
  const MutexLock lock(mutex_);
  return faults_;
}

std::size_t SimStore::unsynced_sectors() const {
  const MutexLock lock(mutex_);
  return versions_.size();
}

}  // namespace quire::testing
