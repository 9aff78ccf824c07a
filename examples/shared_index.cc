// SPDX-License-Identifier: Apache-2.0
//
// One index file, queried at random by several processes at once: the pages are in memory once, and
// the second process finds them loaded.
//
//   example_shared_index FILE PROCESSES
//
// The index is a sorted array of keys; a query is a binary search through the mapping, with the
// advice that fits random access. Each process answers the same queries and must find the same.
#include <quire/quire.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace {

using quire::Access;

constexpr std::size_t kKeyCount = 1 << 21;  // 16 MiB.
constexpr int kQueries = 20'000;

struct Entry {
  std::uint32_t key;
  std::uint32_t value;
};

quire::Result<void> build_index(const char* path) {
  auto map = QUIRE_TRY(quire::map(
      path,
      {.access = Access::kReadWrite, .create = true, .minimum_bytes = kKeyCount * sizeof(Entry)}));
  std::uint32_t key = 0;
  for (Entry& entry : QUIRE_TRY(map.as<Entry>())) {
    entry = {.key = key, .value = key * 2654435761U};
    key += 3;
  }
  QUIRE_TRY(map.flush());
  QUIRE_TRY(map.evict());  // So that the queries start cold.
  return map.close();
}

// The number of hits, which every process must agree on.
quire::Result<int> query(const char* path) {
  const auto map = QUIRE_TRY(quire::map(path));
  QUIRE_TRY(map.advise(quire::kWholeFile, quire::Advice::kRandom));
  const auto entries = QUIRE_TRY(map.as<Entry>());
  std::uint32_t random = 1;
  int hits = 0;
  for (int i = 0; i < kQueries; ++i) {
    random = random * 1664525U + 1013904223U;
    const auto wanted = static_cast<std::uint32_t>(random % (3 * kKeyCount));
    const auto found = std::ranges::lower_bound(entries, wanted, {}, &Entry::key);
    hits += found != entries.end() && found->key == wanted && found->value == wanted * 2654435761U;
  }
  return hits;
}

int run_processes(const char* path, long processes) {
  for (long i = 0; i < processes; ++i) {
    if (fork() == 0) {
      const auto hits = query(path);
      // A third of the keys exist: far from 0 and from all.
      _exit(hits && *hits > kQueries / 4 && *hits < kQueries / 2 ? EXIT_SUCCESS : EXIT_FAILURE);
    }
  }
  int failures = 0;
  int status = 0;
  while (wait(&status) > 0) {
    failures += status != 0;
  }
  return failures;
}

quire::Result<bool> run(const char* path, long processes) {
  QUIRE_TRY(build_index(path));
  const auto map = QUIRE_TRY(quire::map(path));
  const auto before = QUIRE_TRY(map.resident());
  const int failures = run_processes(path, processes);
  const auto after = QUIRE_TRY(map.resident());
  std::printf("%ld processes: resident %s before, %s after, once for all of them\n", processes,
              quire::human_bytes(before.resident_bytes).c_str(),
              quire::human_bytes(after.resident_bytes).c_str());
  return failures == 0 && after.resident_bytes > before.resident_bytes &&
         after.resident_bytes <= map.size_bytes();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s FILE PROCESSES\n", argv[0]);
    return 2;
  }
  const auto good = run(argv[1], std::strtol(argv[2], nullptr, 10));
  if (!good) {
    std::fprintf(stderr, "%s\n", good.error().message().c_str());
    return EXIT_FAILURE;
  }
  unlink(argv[1]);
  return *good ? EXIT_SUCCESS : EXIT_FAILURE;
}
