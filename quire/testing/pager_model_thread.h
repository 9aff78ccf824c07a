// SPDX-License-Identifier: Apache-2.0
//
// PagerModelThread: one of the threads of a PagerModel, and what it does to the area.
//
// Thread-safety: the thread's own.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "quire/testing/pager_model.h"

namespace quire::testing {

class PagerModelThread {
 public:
  // `bytes`: of the model's area, as they are now: somebody may resize it while this runs.
  PagerModelThread(PagerModel& model, std::span<std::byte> bytes, unsigned index,
                   std::uint64_t seed);
  ~PagerModelThread();
  PagerModelThread(const PagerModelThread&) = delete;
  PagerModelThread& operator=(const PagerModelThread&) = delete;

  // Everything there is, by the mix.
  void run(std::uint64_t operations);
  // Loads and stores of words below this one only: the area belongs to somebody else meanwhile.
  void touch(std::uint64_t operations, std::uint64_t word_count);

 private:
  struct Choice {
    std::uint32_t weight;
    void (PagerModelThread::*operation)();
  };
  [[nodiscard]] static std::span<const Choice> choices(PagerMix mix);

  [[nodiscard]] std::uint64_t pick_word() { return random_.below(word_count_); }
  // A word of this thread's own, and in `count` how many of its own follow.
  [[nodiscard]] std::uint64_t pick_own(std::uint64_t& count);
  [[nodiscard]] ByteRange pick_range(std::uint64_t length_bytes_max);
  [[nodiscard]] std::uint64_t* at(std::uint64_t word) const;

  void check_word(const std::uint64_t* place, std::uint64_t word, const char* how);
  [[nodiscard]] bool is_overwritten(std::uint64_t word, std::uint32_t& seen) const;
  void store_words(std::uint64_t first, std::uint64_t count);

  void load();
  void load_forward();
  void load_backward();
  void load_strided();
  void store();
  void overwrite_block();
  void end_advice(ByteRange range);
  void flush();
  void prefetch();
  void pin();
  void pin_for_writing();
  void evict();
  void advise();
  void look();

  [[nodiscard]] bool write_to_pipe(std::span<const std::byte> bytes);
  [[nodiscard]] bool read_from_pipe(std::span<std::byte> bytes);
  void check_flushed(ByteRange range, const std::vector<std::uint64_t>& versions);

  PagerModel& model_;
  const unsigned index_;
  Prng random_;
  std::byte* const base_;
  std::uint64_t word_count_;  // Those that may be touched.
  Pin held_;
  int pipe_[2] = {-1, -1};
};

}  // namespace quire::testing
