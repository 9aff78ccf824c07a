// SPDX-License-Identifier: Apache-2.0
//
// Accounts in a file, in C: money moves between them, and whatever happens no coin is lost.
//
//   example_ledger FILE TRANSFERS
//
// Each transfer stores to two accounts that lie pages apart, and is committed; one in three is
// called off between the two stores and rolled back. In the end the file is opened again: the sum
// must be what it was, and every transfer that was committed must be there.
#include <quire/c/quire.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { kAccounts = 64, kStartCents = 1000 };

struct account {
  int64_t cents;
  char rest[1016];  // Four of them in a page.
};

struct ledger {
  struct account accounts[kAccounts];
  int64_t transfers;
};

static quire_tracked* open_ledger(const char* path, quire_error* error) {
  const quire_journal_options journal = {.struct_size = sizeof journal, .log_bytes = 4 << 20};
  const quire_tracked_options options = {.struct_size = sizeof options,
                                         .create = QUIRE_CREATE_IF_MISSING,
                                         .minimum_bytes = sizeof(struct ledger),
                                         .journal = &journal};
  quire_tracked* tracked;
  quire_tracked_open(path, &options, &tracked, error);
  return tracked;
}

static quire_code transfer(quire_tracked* tracked, unsigned number, quire_error* error) {
  struct ledger* ledger = quire_tracked_bytes(tracked);
  const int64_t cents = (int64_t)(number % 7) + 1;
  ledger->accounts[number % kAccounts].cents -= cents;
  if (number % 3 == 2) {
    return quire_tracked_rollback(tracked, error);  // Called off: half of it must not stay.
  }
  ledger->accounts[(number * 5 + 1) % kAccounts].cents += cents;
  ++ledger->transfers;
  return quire_tracked_commit(tracked, NULL, error);
}

static int64_t sum_of(const struct ledger* ledger) {
  int64_t sum = 0;
  for (size_t i = 0; i < kAccounts; ++i) {
    sum += ledger->accounts[i].cents;
  }
  return sum;
}

static quire_code run(quire_tracked* tracked, unsigned transfers, quire_error* error) {
  struct ledger* ledger = quire_tracked_bytes(tracked);
  ledger->transfers = 0;
  for (size_t i = 0; i < kAccounts; ++i) {
    ledger->accounts[i].cents = kStartCents;
  }
  quire_code code = quire_tracked_commit(tracked, NULL, error);
  for (unsigned number = 0; code == QUIRE_OK && number < transfers; ++number) {
    code = transfer(tracked, number, error);
  }
  return code == QUIRE_OK ? quire_tracked_close(tracked, error) : code;
}

int main(int argc, char** argv) {
  if (argc != 3) {
    fputs("usage: example_ledger FILE TRANSFERS\n", stderr);
    return 2;
  }
  const unsigned transfers = (unsigned)strtoul(argv[2], NULL, 10);
  quire_error error = QUIRE_ERROR_INIT;
  quire_tracked* tracked = open_ledger(argv[1], &error);
  if (tracked == NULL || run(tracked, transfers, &error) != QUIRE_OK) {
    fprintf(stderr, "%s\n", error.message);
    quire_tracked_free(tracked);
    return 1;
  }
  quire_tracked_free(tracked);

  quire_mapping* mapping;
  if (quire_map_committed(argv[1], NULL, &mapping, &error) != QUIRE_OK) {
    fprintf(stderr, "%s\n", error.message);
    return 1;
  }
  const struct ledger* ledger = quire_mapping_bytes(mapping);
  const int64_t committed = (int64_t)(transfers - transfers / 3);
  const int is_right =
      ledger->transfers == committed && sum_of(ledger) == (int64_t)kAccounts * kStartCents;
  printf("%lld transfers, %lld cents\n", (long long)ledger->transfers, (long long)sum_of(ledger));
  quire_mapping_free(mapping);
  return is_right ? 0 : 1;
}
