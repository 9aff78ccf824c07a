// SPDX-License-Identifier: Apache-2.0
//
// Journals for the tests of the command. Both forms leave without closing, as a crash does.
//
//   journal_fixture COMMITS PAGES FILE...
//     Each commit is so many pages of all files, behind those of the one before, that hold its
//     number. Writes as many more.
//   journal_fixture --random SEED STEPS FILE...
//     Writes, grows, cuts, rolls back, commits and checkpoints at random, in a log that wraps.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "quire/base/prng.h"
#include "quire/journal/journal_file.h"
#include "quire/journal/journaled_store.h"

namespace {

constexpr std::uint64_t kPageBytes = 4096;
constexpr std::uint64_t kRandomBytesMax = 24 * kPageBytes;

int commit_pages(int commits, std::uint64_t pages_each, const std::vector<std::string>& paths) {
  const std::uint64_t bytes_each = kPageBytes * pages_each;
  const std::uint64_t log_bytes =
      256 * 1024 + 2 * static_cast<std::uint64_t>(commits + 1) * bytes_each * paths.size();
  const auto journal =
      quire::open_journal(paths, {.create = true,
                                  .journal = {.log_bytes = log_bytes,
                                              .checkpointing = quire::Checkpointing::kOnDemand}})
          .value();
  for (int i = 0; i <= commits; ++i) {
    const std::vector<std::byte> pages(bytes_each, static_cast<std::byte>('0' + i));
    for (std::size_t number = 0; number < paths.size(); ++number) {
      journal->file(number).write(static_cast<std::uint64_t>(i) * bytes_each, pages).value();
    }
    if (i < commits) {
      journal->commit().value();
    }
  }
  return 0;
}

quire::Result<void> change(quire::JournaledStore& file, quire::Prng& random) {
  if (random.below(4) == 0) {
    return file.resize(random.below(kRandomBytesMax));
  }
  const std::vector<std::byte> bytes(1 + random.below(3 * kPageBytes),
                                     static_cast<std::byte>(1 + random.below(255)));
  return file.write(random.below(kRandomBytesMax), bytes);
}

int work_at_random(std::uint64_t seed, int steps, const std::vector<std::string>& paths) {
  quire::Prng random(seed);
  const auto journal =
      quire::open_journal(paths, {.create = true,
                                  .journal = {.log_bytes = 160 * 1024,
                                              .checkpointing = quire::Checkpointing::kOnDemand,
                                              .full_wait_max = std::chrono::milliseconds(0)}})
          .value();
  for (int i = 0; i < steps; ++i) {
    const std::size_t number = random.below(paths.size());
    switch (random.below(12)) {
      case 0: journal->rollback({&number, 1}).value(); break;
      case 1: journal->checkpoint().value(); break;
      case 2:
      case 3: journal->commit().value(); break;
      case 4: {
        const quire::FileCommit one{.file = number};
        journal->commit({&one, 1}).value();
        break;
      }
      default:
        if (!change(journal->file(number), random)) {
          journal->commit().value();  // The log is full of what is uncommitted.
        }
    }
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() > 3 && words[0] == "--random") {
    return work_at_random(std::strtoull(words[1].c_str(), nullptr, 10), std::atoi(words[2].c_str()),
                          {words.begin() + 3, words.end()});
  }
  if (words.size() < 3) {
    return 2;
  }
  return commit_pages(std::atoi(words[0].c_str()), std::strtoull(words[1].c_str(), nullptr, 10),
                      {words.begin() + 2, words.end()});
}
