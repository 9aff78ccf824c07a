// SPDX-License-Identifier: Apache-2.0
//
// A store of counters that survives kill -9, at any instant, again and again.
//
//   example_counter_store FILE KILLS
//
// The program starts itself as "FILE count": that one adds to counters that lie pages apart, and
// commits after each transaction. It is killed; the file is opened again; the counters must add up,
// and no transaction that was acknowledged may be missing. All of that KILLS times.
#include <quire/quire.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

using quire::Access;
using quire::Commit;

constexpr std::size_t kCounters = 1000;

struct Counter {
  std::uint64_t value;
  std::byte rest[248];  // Sixteen of them in a page: a transaction changes several pages.
};

struct Store {
  std::uint64_t transactions;
  std::byte rest[248];
  Counter counters[kCounters];
};

quire::Result<quire::TrackedMapping> open_store(const char* path) {
  return quire::map(path, {.access = Access::kReadWrite,
                           .commit = Commit::kAtomic,
                           .create = true,
                           .minimum_bytes = sizeof(Store),
                           .journal = {.log_bytes = 1 << 20}});
}

// Never comes back: each transaction adds one to three counters, and is told once it is durable.
quire::Result<void> count(const char* path) {
  auto map = QUIRE_TRY(open_store(path));
  Store& store = QUIRE_TRY(map.as<Store>(quire::ByteRange{0, sizeof(Store)})).front();
  quire::Prng random(store.transactions);
  for (;;) {
    for (int i = 0; i < 3; ++i) {
      ++store.counters[random.below(kCounters)].value;
    }
    ++store.transactions;
    QUIRE_TRY(map.commit());
    if (write(STDOUT_FILENO, &store.transactions, sizeof store.transactions) < 0) {
      return {};
    }
  }
}

// How many transactions there are; nothing when the counters do not add up to them.
quire::Result<std::uint64_t> check(const char* path) {
  auto map = QUIRE_TRY(open_store(path));
  const Store& store = QUIRE_TRY(map.as<Store>(quire::ByteRange{0, sizeof(Store)})).front();
  std::uint64_t total = 0;
  for (const Counter& counter : store.counters) {
    total += counter.value;
  }
  if (total != 3 * store.transactions) {
    return quire::fail(
        quire::make_error(quire::Errc::kCorrupt, "check", path, "the counters do not add up"));
  }
  return store.transactions;
}

// Starts a counting process, kills it after some transactions, and returns the last one it told of.
std::uint64_t count_and_kill(const char* path, std::uint64_t transactions) {
  int pipe_ends[2];
  if (pipe(pipe_ends) != 0) {
    return 0;
  }
  const pid_t child = fork();
  if (child == 0) {
    dup2(pipe_ends[1], STDOUT_FILENO);
    execl("/proc/self/exe", "counter_store", path, "count", static_cast<char*>(nullptr));
    _exit(127);
  }
  close(pipe_ends[1]);
  std::uint64_t told = 0;
  for (std::uint64_t i = 0; i < transactions; ++i) {
    if (read(pipe_ends[0], &told, sizeof told) != sizeof told) {
      break;  // It has ended by itself: check() will say what is left.
    }
  }
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  while (read(pipe_ends[0], &told, sizeof told) == sizeof told) {
  }
  close(pipe_ends[0]);
  return told;
}

int fail_with(const quire::Error& error) {
  std::fprintf(stderr, "%s\n", error.message().c_str());
  return EXIT_FAILURE;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s FILE KILLS\n", argv[0]);
    return 2;
  }
  const char* path = argv[1];
  if (std::string(argv[2]) == "count") {
    const auto counted = count(path);
    return counted ? EXIT_SUCCESS : fail_with(counted.error());
  }
  unlink(path);
  unlink(quire::journal_path_of(path).c_str());
  const long kills = std::strtol(argv[2], nullptr, 10);
  std::uint64_t told = 0;
  std::uint64_t found = 0;
  for (long i = 1; i <= kills; ++i) {
    told = count_and_kill(path, static_cast<std::uint64_t>(1 + i * 7 % 20));
    const auto checked = check(path);
    if (!checked) {
      return fail_with(checked.error());
    }
    if (*checked < told || told == 0) {
      std::fprintf(stderr, "transaction %llu was acknowledged, and %llu are there\n",
                   static_cast<unsigned long long>(told),
                   static_cast<unsigned long long>(*checked));
      return EXIT_FAILURE;
    }
    found = *checked;
  }
  std::printf("%ld kills, %llu transactions, none lost and none in part\n", kills,
              static_cast<unsigned long long>(found));
  return EXIT_SUCCESS;
}
