// SPDX-License-Identifier: Apache-2.0
//
// A hash table in a file, eight times larger than the memory it may use, whose updates are atomic:
// killed with kill -9 at any instant, again and again, it never holds a part of one.
//
//   example_atomic_table FILE KILLS
//
// The program starts itself as "FILE transfer": that one moves amounts between accounts, a few or
// more than the memory holds at a time, and commits each transaction. It is killed; the table is
// opened again; nothing may be missing from the sum, and nothing that was acknowledged. All of that
// KILLS times.
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

constexpr std::uint64_t kMemoryBytes = 2 << 20;
constexpr std::uint64_t kTableBytes = 8 * kMemoryBytes;
constexpr std::uint64_t kAccounts = 50'000;
// The pages of so many moves are more than the memory: most of them wait in the journal.
constexpr int kMovesMax = 1000;

struct Account {
  std::uint64_t number;  // 0: free.
  std::int64_t balance;
  std::uint64_t moves;
  std::uint64_t rest;
};

struct Table {
  std::uint64_t transactions;
  std::uint64_t moves;
  std::uint64_t rest[510];
  Account accounts[(kTableBytes - 4096) / sizeof(Account)];
};
static_assert(sizeof(Table) == kTableBytes);

// The account of that number, or the free place where it belongs.
Account& find(Table& table, std::uint64_t number) {
  std::size_t i = number * 0x9e3779b97f4a7c15 >> 20;
  for (;; ++i) {
    Account& account = table.accounts[i % std::size(table.accounts)];
    if (account.number == 0 || account.number == number) {
      return account;
    }
  }
}

void change(Table& table, std::uint64_t number, std::int64_t amount) {
  Account& account = find(table, number);
  account.number = number;
  account.balance += amount;
  ++account.moves;
}

quire::Result<quire::WritablePagedArea> open_table(quire::Pager& pager, const char* path) {
  return pager.map(path, {.access = Access::kReadWrite,
                          .create = true,
                          .minimum_bytes = sizeof(Table),
                          .commit = Commit::kAtomic,
                          .journal = {.log_bytes = 32 << 20}});
}

// Never comes back: each transaction is told once it is durable.
quire::Result<void> transfer(const char* path) {
  quire::Pager pager({.memory_bytes = kMemoryBytes});
  auto area = QUIRE_TRY(open_table(pager, path));
  Table& table = QUIRE_TRY(area.as<Table>()).front();
  quire::Prng random(table.transactions);
  for (;;) {
    const int moves = random.below(8) == 0 ? kMovesMax : 3;
    for (int i = 0; i < moves; ++i) {
      const auto amount = static_cast<std::int64_t>(random.below(1000));
      change(table, 1 + random.below(kAccounts), -amount);
      change(table, 1 + random.below(kAccounts), amount);
    }
    table.moves += 2 * static_cast<std::uint64_t>(moves);
    ++table.transactions;
    QUIRE_TRY(area.commit());
    if (write(STDOUT_FILENO, &table.transactions, sizeof table.transactions) < 0) {
      return {};
    }
  }
}

// How many transactions there are; nothing when the accounts do not add up.
quire::Result<std::uint64_t> check(const char* path) {
  quire::Pager pager({.memory_bytes = kMemoryBytes});
  auto area = QUIRE_TRY(open_table(pager, path));
  Table& table = QUIRE_TRY(area.as<Table>()).front();
  std::int64_t sum = 0;
  std::uint64_t moves = 0;
  for (const Account& account : table.accounts) {
    sum += account.balance;
    moves += account.moves;
  }
  if (sum != 0 || moves != table.moves) {
    return quire::fail(
        quire::make_error(quire::Errc::kCorrupt, "check", path,
                          "a transaction is there in part: the sum is " + std::to_string(sum)));
  }
  // A change of mind: gone, as if it had not been.
  change(table, 1, 1'000'000);
  QUIRE_TRY(area.rollback());
  QUIRE_CHECK_LE(pager.stats().taken_bytes_max, kMemoryBytes);
  const std::uint64_t transactions = table.transactions;
  QUIRE_TRY(area.close());
  return transactions;
}

// Starts a process that works, kills it after some transactions, and returns the last one it told
// of.
std::uint64_t transfer_and_kill(const char* path, std::uint64_t transactions) {
  int pipe_ends[2];
  if (pipe(pipe_ends) != 0) {
    return 0;
  }
  const pid_t child = fork();
  if (child == 0) {
    dup2(pipe_ends[1], STDOUT_FILENO);
    execl("/proc/self/exe", "atomic_table", path, "transfer", static_cast<char*>(nullptr));
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
  if (std::string(argv[2]) == "transfer") {
    const auto transferred = transfer(path);
    return transferred ? EXIT_SUCCESS : fail_with(transferred.error());
  }
  unlink(path);
  unlink(quire::journal_path_of(path).c_str());
  const long kills = std::strtol(argv[2], nullptr, 10);
  std::uint64_t found = 0;
  for (long i = 1; i <= kills; ++i) {
    const std::uint64_t told = transfer_and_kill(path, static_cast<std::uint64_t>(1 + i * 7 % 20));
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
