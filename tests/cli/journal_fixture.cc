// SPDX-License-Identifier: Apache-2.0
//
// journal_fixture COMMITS PAGES FILE...: for the tests of the command. Each commit is so many pages
// of all files, behind those of the one before, that hold its number. Writes as many more, and
// leaves without closing, as a crash does.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "quire/journal/journal_file.h"
#include "quire/journal/journaled_store.h"

int main(int argc, char** argv) {
  constexpr std::uint64_t kPageBytes = 4096;
  if (argc < 4) {
    return 2;
  }
  const int commits = std::atoi(argv[1]);
  const std::uint64_t bytes_each = kPageBytes * std::strtoull(argv[2], nullptr, 10);
  const std::vector<std::string> paths(argv + 3, argv + argc);
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
