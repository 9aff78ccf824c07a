// SPDX-License-Identifier: Apache-2.0
//
// PagerModel: an area, and threads that do to it whatever may be done, at random, against a
// WordModel: no store may ever be lost, no load may see what was never or no longer there.
//
//   round:  threads ---- loads, stores, pins, flushes, evictions, advice ... ----> join
//           this one --- (in touching rounds) resizes beyond what they touch ---->  |
//                                                                                   v
//           quiet:  invariants, budget, all words, then one of: resize, evict, flush, reopen
//
// While the threads work, some of them also look at what the kernel keeps for all memfds of the
// process: never more than the budget.
//
// Thread-safety: one thread; it makes its own.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "quire/base/prng.h"
#include "quire/pager/pager.h"
#include "quire/testing/word_model.h"

namespace quire::testing {

// Where the bytes of the area come from.
struct PagerGround {
  std::function<Result<WritablePagedArea>(Pager& pager)> map;
  // What is in the store or file, past the pager.
  std::function<void(std::uint64_t offset_bytes, std::span<std::byte> into)> read;
  std::function<std::uint64_t()> size_bytes;
};

// What the threads do most of.
enum class PagerMix : std::uint8_t {
  kEverything,
  kStreams,   // Forward, backward and strided readers among whole-block writers.
  kEvictors,  // Loads and stores, with as many evictions.
};
[[nodiscard]] const char* name_of(PagerMix mix) noexcept;

struct PagerModelOptions {
  PagerOptions pager;
  PagerMix mix = PagerMix::kEverything;
  std::uint64_t size_bytes_max = 24_MiB;
  unsigned threads = 4;
  std::uint64_t operations_per_round = 250;  // Of each thread.
  std::uint64_t seed = 0;
};

// What the area must hold before the first map(): for whoever makes the ground.
[[nodiscard]] std::vector<std::byte> pager_model_image(std::uint64_t size_bytes);

// Bytes that the kernel keeps for all memfds of this process.
[[nodiscard]] std::uint64_t memfd_resident_bytes();

class PagerModel {
 public:
  PagerModel(const PagerModelOptions& options, PagerGround ground);

  // Returns what was wrong first, "" when nothing was.
  [[nodiscard]] std::string run(std::uint64_t rounds);

 private:
  friend class PagerModelThread;

  // Keeps the first finding; everybody stops.
  void report(const std::string& finding);
  [[nodiscard]] bool is_stopped() const { return is_stopped_.load(); }
  [[nodiscard]] bool is_good(const Result<void>& result, const char* what);

  void open();
  void run_threads();
  void run_touching_threads();
  void audit();

  // --- At quiet moments --------------------------------------------------------------------------
  void check_all();
  void check_words(std::span<const std::byte> bytes, const char* where);
  void check_image(const char* after);
  void resize_to(std::uint64_t size_bytes);
  void do_quiet_operation();
  void evict_all();
  void reopen();

  const PagerModelOptions options_;
  const PagerGround ground_;
  Prng random_;
  WordModel words_;
  // Odd while the block's owner overwrites it: its old bytes may be gone before the new ones come.
  std::vector<std::atomic<std::uint32_t>> overwrites_;
  std::atomic<bool> is_stopped_{false};
  std::mutex mutex_;
  std::string finding_;
  Pager pager_;
  WritablePagedArea area_;
};

}  // namespace quire::testing
