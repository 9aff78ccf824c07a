// SPDX-License-Identifier: Apache-2.0
//
// SimStore: a Store in memory that fails when it is told to, and loses power.
//
//   write, resize, punch --> [ the cache: every sector's versions since the last sync ]
//                                    |  sync(kData)                |  crash()
//                                    v  the newest of each         v  any one of each, by seed
//                            [ the disk: survives ]        [ the disk, and the size: any of both ]
//
// A power cut keeps, of each sector by itself, the version on disk or any that was written since:
// writes are lost, reordered and torn between sectors, as a page cache and a drive's cache may do.
// A sector is written whole or not at all, unless `tears_sectors`.
//
// A write that fails on purpose leaves a mixture in its range. A sync that fails leaves the disk as
// it was, and sticks, as File's does.
//
// Thread-safety: as Store's; crash() with no other call under way.
// Cost:          everything is copied, sector by sector.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "quire/base/mutex.h"
#include "quire/base/prng.h"
#include "quire/io/store.h"

namespace quire::testing {

struct SimStoreOptions {
  std::uint64_t seed = 0;
  // Which operation fails, counted from 1 over read, write, resize, allocate, punch and sync; every
  // later one succeeds, as far as no error sticks. 0: none fails.
  std::uint64_t fail_nth_operation = 0;
  int fail_errno = 5;                     // EIO
  std::uint64_t capacity_bytes = kToEnd;  // Writing or allocating past it is ENOSPC.
  std::uint64_t sector_bytes = 512;
  bool tears_sectors = false;
};

class SimStore final : public Store {
 public:
  explicit SimStore(const SimStoreOptions& options = {});

  [[nodiscard]] const std::string& name() const noexcept override { return name_; }
  [[nodiscard]] Result<std::uint64_t> size_bytes() const override;
  Result<std::uint64_t> read_pieces(std::uint64_t offset_bytes, MutablePieces into) override;
  Result<void> write_pieces(std::uint64_t offset_bytes, ConstPieces from) override;
  Result<void> resize(std::uint64_t size_bytes) override;
  Result<void> allocate(ByteRange range) override;
  Result<void> punch(ByteRange range) override;
  Result<void> sync(Durability durability, ByteRange range = kWholeFile) override;

  // The power goes and comes back: what was not synced is lost, in part. No operation fails after
  // it, and nothing sticks.
  void crash();

  // All of it, as read() would give it now.
  [[nodiscard]] std::vector<std::byte> image() const;
  // Operations so far that could have failed, and those that were made to.
  [[nodiscard]] std::uint64_t operation_count() const;
  [[nodiscard]] std::uint64_t fault_count() const;
  // Sectors written since the last sync.
  [[nodiscard]] std::size_t unsynced_sectors() const;

 private:
  using Sector = std::vector<std::byte>;  // Shorter than a sector where the store ends.

  // Counts an operation. Errors: the one that is due, kFailed when one sticks to `changes`.
  enum class Kind : std::uint8_t { kRead, kChange, kSync };
  Result<void> begin(Kind kind, const char* operation, ByteRange range) QUIRE_REQUIRES(mutex_);
  [[nodiscard]] bool is_due() QUIRE_REQUIRES(mutex_);
  void put(std::uint64_t offset_bytes, std::span<const std::byte> bytes) QUIRE_REQUIRES(mutex_);
  void set_size(std::uint64_t size_bytes) QUIRE_REQUIRES(mutex_);
  void remember(std::uint64_t first_sector, std::uint64_t last_sector) QUIRE_REQUIRES(mutex_);
  [[nodiscard]] Sector sector_now(std::uint64_t sector) const QUIRE_REQUIRES(mutex_);
  // The bytes of a failed write that reached the store all the same.
  void put_some(std::uint64_t offset_bytes, std::span<const std::byte> bytes)
      QUIRE_REQUIRES(mutex_);
  [[nodiscard]] Sector choose(const std::vector<Sector>& versions) QUIRE_REQUIRES(mutex_);
  [[nodiscard]] Error error(int value, const char* operation, ByteRange range) const;

  const SimStoreOptions options_;
  const std::string name_ = "simulated store";
  mutable Mutex mutex_;
  Prng random_ QUIRE_GUARDED_BY(mutex_);
  std::vector<std::byte> now_ QUIRE_GUARDED_BY(mutex_);
  // Of sectors written since the last sync: what is on disk, then each version since. The same of
  // the size.
  std::map<std::uint64_t, std::vector<Sector>> versions_ QUIRE_GUARDED_BY(mutex_);
  std::vector<std::uint64_t> sizes_ QUIRE_GUARDED_BY(mutex_);
  std::uint64_t operations_ QUIRE_GUARDED_BY(mutex_) = 0;
  std::uint64_t faults_ QUIRE_GUARDED_BY(mutex_) = 0;
  std::uint64_t fail_nth_ QUIRE_GUARDED_BY(mutex_);
  std::optional<Error> sticky_ QUIRE_GUARDED_BY(mutex_);
};

}  // namespace quire::testing
