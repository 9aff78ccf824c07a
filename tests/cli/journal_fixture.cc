// SPDX-License-Identifier: Apache-2.0
//
// journal_fixture COMMITS FILE...: for the tests of the command. Commits the page of that number to
// all files, commit after commit, writes one more page, and leaves without closing, as a crash
// does.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "quire/journal/journal_file.h"
#include "quire/journal/journaled_store.h"

int main(int argc, char** argv) {
  constexpr std::uint64_t kPageBytes = 4096;
  if (argc < 3) {
    return 2;
  }
  const int commits = std::atoi(argv[1]);
  const std::vector<std::string> paths(argv + 2, argv + argc);
  const auto journal =
      quire::open_journal(paths, {.create = true, .journal = {.log_bytes = 256 * 1024}}).value();
  for (int i = 0; i <= commits; ++i) {
    const std::vector<std::byte> page(kPageBytes, static_cast<std::byte>('0' + i));
    for (std::size_t number = 0; number < paths.size(); ++number) {
      journal->file(number).write(static_cast<std::uint64_t>(i) * kPageBytes, page).value();
    }
    if (i < commits) {
      journal->commit().value();
    }
  }
  return 0;
}
