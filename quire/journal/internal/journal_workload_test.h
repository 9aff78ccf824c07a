// SPDX-License-Identifier: Apache-2.0
//
// JournalWorkload: random writes, commits, rollbacks, resizes, checkpoints and reopenings of two
// files behind a journal, and what the files held after each commit: for searches for crashes that
// leave something else.
//
// Thread-safety: one thread. A seed gives the same work again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "quire/base/prng.h"
#include "quire/journal/journal.h"

namespace quire::internal {

inline constexpr std::size_t kWorkloadFiles = 2;

// Small enough that the circle goes round several times.
inline constexpr std::uint64_t kWorkloadPageBytes = 4096;
inline const JournalOptions kWorkloadOptions{.page_bytes = kWorkloadPageBytes,
                                             .log_bytes = 128 * 1024,
                                             .checkpointing = Checkpointing::kOnDemand,
                                             .full_wait_max = std::chrono::milliseconds(0)};

class JournalWorkload {
 public:
  using Contents = std::vector<std::vector<std::byte>>;  // Of each file.
  using Opener = std::function<std::unique_ptr<Journal>()>;
  using Told = std::function<void(std::uint64_t generation)>;

  // `first`: what the files hold, generation 0. `told`: a commit came back.
  JournalWorkload(Prng& random, Contents first, Opener opener, Told told);

  void work(int steps);
  // Leaves the journal behind as a crash does that loses nothing.
  void leave() { journal_.reset(); }

  [[nodiscard]] std::uint64_t generation_count() const noexcept { return generations_.size(); }
  // "": they are what this generation or the next one left.
  [[nodiscard]] std::string judge(const Contents& files, std::uint64_t generation) const;

 private:
  void step();
  void open();
  void write_pages();
  void commit();
  void rollback(std::vector<std::size_t> files);

  Prng& random_;
  const Opener opener_;
  const Told told_;
  std::unique_ptr<Journal> journal_;
  std::vector<Contents> generations_;  // The files, after each commit.
  Contents now_;                       // With what is uncommitted.
};

}  // namespace quire::internal
