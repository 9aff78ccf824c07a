// SPDX-License-Identifier: Apache-2.0
//
// CrashDisk: a disk with a few stores that remembers every change and every flush in one order, and
// rebuilds what may be on it after a crash at any of them.
//
//   write A | write A | write B | flush A | write B | durable write A | ...
//                                              ^ crash: under way, or just done
//
//   Of each store survives what it was at its last flush that was done, and of every change since:
//   any part, sector by sector, in any combination; now and then half a sector. A durable write is
//   a flush of itself and of nothing else.
//
// mark() notes in the same order what the workload was told: what a crash must not take back.
//
// Mutants are disks that lie, for tests of the tests: what a journal without its flushes, or with
// its superblock before its data, would have left.
//
// Thread-safety: stores from any thread; the rest with no store in use.
// Cost:          everything is kept in memory, several times.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "quire/base/mutex.h"
#include "quire/base/prng.h"
#include "quire/io/store.h"

namespace quire::testing {

struct CrashDiskOptions {
  bool forgets_flushes = false;  // They are done, and not remembered.
  // Durable writes of store 0 below this offset are remembered before the changes of other stores
  // that came right before them.
  std::uint64_t hurries_below_bytes = 0;
};

class CrashDisk {
 public:
  using Contents = std::vector<std::vector<std::byte>>;  // Of each store.

  explicit CrashDisk(Contents contents, const CrashDiskOptions& options = {});

  // REQUIRES: this disk lives longer.
  [[nodiscard]] std::shared_ptr<Store> store(std::size_t number);
  // The same bytes; each write is durable when it returns.
  [[nodiscard]] std::shared_ptr<Store> durable_store(std::size_t number);

  // From here on a crash must leave at least this; marks only grow.
  void mark(std::uint64_t value);
  [[nodiscard]] std::size_t operation_count() const;
  [[nodiscard]] Contents contents() const;

  enum class Loss : std::uint8_t {
    kNothing,     // All changes have reached the disk.
    kUnflushed,   // Only what was flushed has.
    kOperations,  // Some changes, each whole.
    kSectors,     // Some sectors of each.
    kTorn,        // The same, and some of them in half.
  };
  static constexpr std::size_t kLossCount = 5;

  // Walks over the points at which a crash may come.
  class Walk {
   public:
    explicit Walk(const CrashDisk& disk);
    // To the next one. False: that was the last.
    bool advance();
    [[nodiscard]] Contents crash(Loss loss, Prng& random) const;
    // The last mark before it.
    [[nodiscard]] std::uint64_t mark() const noexcept { return mark_; }
    // For messages: "operation 17, under way".
    [[nodiscard]] std::string where() const;

   private:
    void complete_last() QUIRE_REQUIRES(disk_.mutex_);

    struct Pending {
      std::size_t operation = 0;
      bool is_durable = false;  // In any case there, on top of what came before it.
    };

    const CrashDisk& disk_;
    Contents durable_;
    std::vector<Pending> pending_;  // Since the flush of their store, in order.
    std::size_t issued_ = 0;
    bool is_under_way_ = false;
    std::uint64_t mark_ = 0;
  };

 private:
  class Recorder;
  enum class Kind : std::uint8_t { kWrite, kDurableWrite, kResize, kFlush, kMark };
  struct Operation {
    Kind kind = Kind::kWrite;
    std::size_t store = 0;
    std::uint64_t at = 0;  // Offset, size, or the mark.
    std::vector<std::byte> bytes{};
  };

  static void apply(const Operation& operation, std::vector<std::byte>& content);
  static void apply_in_part(const Operation& operation, bool tears, Prng& random,
                            std::vector<std::byte>& content);
  void record(Operation operation) QUIRE_REQUIRES(mutex_);

  const CrashDiskOptions options_;
  const Contents initial_;
  mutable Mutex mutex_;
  Contents contents_ QUIRE_GUARDED_BY(mutex_);
  std::vector<Operation> operations_ QUIRE_GUARDED_BY(mutex_);
};

}  // namespace quire::testing
