// SPDX-License-Identifier: Apache-2.0
//
// fio: Jens Axboe's I/O tester as the physical limit: its rates are what this disk gives.
//
// Run with io_uring, O_DIRECT, registered buffers and file, buffers in huge pages (fio takes those
// from the hugetlb pool only; HugePagePool fills it while it lives). The rate is fio's own, so its
// start does not count.
//
// Thread-safety: one thread.
#pragma once

#include <cstdint>
#include <string>

namespace quire::bench {

struct FioJob {
  std::string rw;  // "read", "randread", "write", "randwrite"
  std::uint64_t block_bytes = 0;
  std::uint32_t depth = 1;
  std::string file;
  std::uint64_t size_bytes = 0;
  double seconds = 1;
};

// Bytes per second. Aborts when fio is missing or fails: there is no comparison without it.
[[nodiscard]] double run_fio(const FioJob& job);

// Pages of the hugetlb pool, given back at the end. Needs root; without it fio uses what is there.
class HugePagePool {
 public:
  explicit HugePagePool(std::uint64_t pages);
  ~HugePagePool();
  HugePagePool(const HugePagePool&) = delete;
  HugePagePool& operator=(const HugePagePool&) = delete;

 private:
  std::uint64_t before_ = 0;
};

}  // namespace quire::bench
