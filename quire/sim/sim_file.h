// SPDX-License-Identifier: Apache-2.0
//
// sim_file: one file on a simulated disk, reached in the ways a program can reach it.
//
//   UnbufferedFile   every call is a request to the disk: O_DIRECT. The least that moves is a
//                    sector, so a byte costs what a sector costs.
//   BufferedFile     read() and write() through the PageCache
//   MappedFile       loads and stores; a page is asked for when it is touched
//
// Each call takes what it takes on the host's clock; nothing is stored.
//
// Not modelled: a file system. Growing a file writes no journal and no metadata, so that a durable
// append costs one request and one flush, and real ones cost more.
//
// Thread-safety: one thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "quire/base/units.h"
#include "quire/sim/page_cache.h"
#include "quire/sim/sim_host.h"

namespace quire::sim {

enum class SimDurability : std::uint8_t {
  kNone,  // In the disk's cache, if it has one.
  kSync,  // On the medium: O_DSYNC.
};

class UnbufferedFile {
 public:
  // REQUIRES: `place` on the disk begins and ends with a sector.
  UnbufferedFile(SimHost& host, ByteRange place) noexcept : host_(&host), place_(place) {}

  // One request; the sectors that hold the range.
  // REQUIRES, here and below: the range is not empty and inside the file.
  void read(ByteRange range);
  void write(ByteRange range, SimDurability durability = SimDurability::kNone);

  // What a queue of requests works off: the steps of each range one after the other, and the ranges
  // in order, `depth` of them under way.
  struct Queue {
    std::span<const ByteRange> ranges;
    std::uint64_t depth = 1;
    std::span<const DiskOperation> steps;  // {kRead}; {kRead, kWrite, kFlush} is a durable update.
  };
  // `on_done` gets each range's index and how long it took.
  using OnDone = std::function<void(std::size_t index, std::uint64_t latency_ns)>;
  // REQUIRES: steps and depth are not empty; nothing else is under way on this host.
  void run(const Queue& queue, const OnDone& on_done);

  // A flush of the disk.
  void sync();

 private:
  [[nodiscard]] DiskRequest request(DiskOperation operation, ByteRange range) const noexcept;

  SimHost* host_;
  ByteRange place_;
};

class BufferedFile {
 public:
  // `size_bytes` is where the file ends; writes beyond it grow it and read nothing.
  BufferedFile(PageCache& cache, std::uint64_t size_bytes) noexcept
      : cache_(&cache), size_bytes_(size_bytes) {}

  void advise(SimAdvice advice) noexcept {
    reader_.advice = advice;
    reader_.is_doubled = advice == SimAdvice::kSequential;
  }
  // REQUIRES, here and below: the range is not empty and inside the cache's pages.
  void read(ByteRange range);
  void write(ByteRange range);
  // RWF_DONTCACHE: what this moved leaves the cache, once it is written.
  void read_and_drop(ByteRange range);
  void write_and_drop(ByteRange range);
  // Asks for what is absent and does not wait: one request of a queue.
  void ask(ByteRange range);
  void sync();

 private:
  void touch_for_write(std::uint64_t page, ByteRange range);

  PageCache* cache_;
  std::uint64_t size_bytes_;
  SimReader reader_;
};

class MappedFile {
 public:
  // What one fault maps besides its own page: fault_around_bytes, 64 KiB as Linux comes.
  static constexpr std::uint64_t kFaultAroundPages = 16;

  // Pages from `size_bytes` on are new: the disk has nothing of them, and the first store to one
  // finds zeros without asking.
  MappedFile(PageCache& cache, std::uint64_t size_bytes) noexcept
      : cache_(&cache), size_bytes_(size_bytes) {}

  void advise(SimAdvice advice) noexcept { reader_.advice = advice; }
  // MADV_POPULATE_READ: every page of the range in the page table, by reading on.
  void populate(ByteRange range);
  // MADV_POPULATE_WRITE: the same, and stores find them writable.
  void populate_for_store(ByteRange range);
  void load(ByteRange range);
  void store(ByteRange range);
  void sync();  // msync(MS_SYNC) of everything.

  [[nodiscard]] std::uint64_t major_faults() const noexcept { return major_faults_; }
  [[nodiscard]] std::uint64_t minor_faults() const noexcept { return minor_faults_; }

 private:
  void fault(std::uint64_t page);
  void fault_for_store(std::uint64_t page);
  [[nodiscard]] bool is_new(std::uint64_t page) const noexcept {
    return page * kSimPageBytes >= size_bytes_;
  }

  PageCache* cache_;
  std::uint64_t size_bytes_;
  SimReader reader_;
  std::uint64_t major_faults_ = 0;
  std::uint64_t minor_faults_ = 0;
};

}  // namespace quire::sim
