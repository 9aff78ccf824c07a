// SPDX-License-Identifier: Apache-2.0
//
// Every function of quire/c/pager.h and area.h, in C: what it does, and what it refuses. Atomic
// areas: journal_test.c.
#include "quire/c/pager.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "quire/c/area.h"
#include "quire/testing/c_test.h"

enum { kMiB = 1 << 20 };

static quire_pager* make_pager(uint64_t memory_bytes) {
  const quire_pager_options options = {.struct_size = sizeof options, .memory_bytes = memory_bytes};
  quire_pager* pager = NULL;
  C_EXPECT_OK(quire_pager_create(&options, &pager, c_error()));
  return pager;
}

static quire_area* map_area(quire_pager* pager, const char* path, uint32_t access) {
  const quire_area_options options = {
      .struct_size = sizeof options,
      .access = access,
      .create = access == QUIRE_ACCESS_READ_WRITE ? QUIRE_CREATE_IF_MISSING : QUIRE_CREATE_NEVER};
  quire_area* area = NULL;
  C_EXPECT_OK(quire_pager_map(pager, path, &options, &area, c_error()));
  return area;
}

static void a_file_larger_than_the_budget_is_its_bytes(void) {
  c_make_file("data", 8 * kMiB);
  quire_pager* pager = make_pager(2 * kMiB);
  quire_area* area = map_area(pager, "data", QUIRE_ACCESS_READ_ONLY);
  C_EXPECT_EQ(8 * kMiB, quire_area_size(area));
  C_EXPECT(quire_area_writable_bytes(area) == NULL);
  C_EXPECT_EQ(0, c_wrong_bytes(quire_area_bytes(area), 0, 8 * kMiB));
  quire_pager_stats stats = {.struct_size = sizeof stats};
  quire_area_stats counted = {.struct_size = sizeof counted};
  C_EXPECT_OK(quire_pager_get_stats(pager, &stats, c_error()));
  C_EXPECT_OK(quire_area_get_stats(area, &counted, c_error()));
  C_EXPECT_EQ(1, stats.areas);
  C_EXPECT_EQ(2 * kMiB, stats.memory_bytes);
  if (quire_area_is_paged(area)) {
    C_EXPECT(stats.taken_bytes_max <= 2 * kMiB && stats.evicted > 0);
    C_EXPECT(counted.read_bytes >= 8 * kMiB && counted.faults > 0);
    C_EXPECT(quire_area_fault_path(area) != QUIRE_FAULT_PATH_AUTOMATIC);
  } else {
    C_SKIP("userfaultfd is forbidden here: no budget to look at");
  }
  char text[1024];
  C_EXPECT(quire_area_explain(area, text, sizeof text) > 0 && text[0] != '\0');
  C_EXPECT(quire_pager_explain(pager, text, sizeof text) > 0 && text[0] != '\0');
  C_EXPECT_OK(quire_area_check(area, c_error()));
  C_EXPECT_OK(quire_area_close(area, c_error()));
  quire_area_free(area);
  quire_pager_free(pager);
}

static void stores_are_in_the_file_after_a_flush(void) {
  quire_pager* pager = make_pager(4 * kMiB);
  quire_area* area = map_area(pager, "new", QUIRE_ACCESS_READ_WRITE);
  C_EXPECT_OK(quire_area_resize(area, 100000, c_error()));
  C_EXPECT_EQ(100000, quire_area_size(area));
  char* bytes = quire_area_writable_bytes(area);
  memcpy(bytes + 5000, "stored", 6);
  C_EXPECT_OK(quire_area_flush(area, 0, QUIRE_TO_END, QUIRE_DURABILITY_DATA, c_error()));
  memcpy(bytes + 9000, "later", 5);
  quire_ticket* ticket = NULL;
  C_EXPECT_OK(quire_area_flush_async(area, 9000, 5, QUIRE_DURABILITY_ALL, &ticket, c_error()));
  C_EXPECT_OK(quire_ticket_wait(ticket, QUIRE_MS_FOREVER, c_error()));
  quire_ticket_free(ticket);
  C_EXPECT_OK(quire_area_close(area, c_error()));
  quire_area_free(area);

  area = map_area(pager, "new", QUIRE_ACCESS_READ_ONLY);
  C_EXPECT_EQ(100000, quire_area_size(area));
  C_EXPECT(memcmp((const char*)quire_area_bytes(area) + 5000, "stored", 6) == 0);
  C_EXPECT(memcmp((const char*)quire_area_bytes(area) + 9000, "later", 5) == 0);
  quire_area_free(area);
  quire_pager_free(pager);
}

static void a_pin_is_for_system_calls(void) {
  c_make_file("data", kMiB);
  quire_pager* pager = make_pager(4 * kMiB);
  quire_area* area = map_area(pager, "data", QUIRE_ACCESS_READ_WRITE);
  quire_pin* pin = NULL;
  C_EXPECT_OK(quire_area_pin(area, 5000, 8192, QUIRE_ACCESS_READ_ONLY, &pin, c_error()));
  C_EXPECT_EQ(8192, quire_pin_size(pin));
  C_EXPECT(quire_pin_writable_bytes(pin) == NULL);
  int ends[2];
  C_EXPECT_EQ(0, pipe(ends));
  char copy[8192];
  C_EXPECT_EQ(8192, write(ends[1], quire_pin_bytes(pin), 8192));
  C_EXPECT_EQ(8192, read(ends[0], copy, sizeof copy));
  C_EXPECT_EQ(0, c_wrong_bytes(copy, 5000, 8192));
  quire_area_residency residency = {.struct_size = sizeof residency};
  C_EXPECT_OK(quire_area_get_residency(area, 0, QUIRE_TO_END, &residency, c_error()));
  if (quire_area_is_paged(area)) {
    C_EXPECT(residency.pinned_bytes >= 8192 && residency.resident_bytes >= 8192);
    C_EXPECT_CODE(QUIRE_ERROR_FAILED, quire_area_close(area, c_error()));
    C_EXPECT_EQ(kMiB, quire_area_size(area));
  }
  quire_pin_free(pin);

  C_EXPECT_OK(quire_area_pin(area, 0, 4096, QUIRE_ACCESS_READ_WRITE, &pin, c_error()));
  memcpy(copy, "from a pipe", 11);
  C_EXPECT_EQ(11, write(ends[1], copy, 11));
  C_EXPECT_EQ(11, read(ends[0], quire_pin_writable_bytes(pin), 11));
  quire_pin_free(pin);
  C_EXPECT(memcmp(quire_area_bytes(area), "from a pipe", 11) == 0);
  close(ends[0]);
  close(ends[1]);
  quire_area_free(area);
  quire_pager_free(pager);
}

// Goal:   handles may be freed in any order.
static void a_pin_keeps_its_area_and_that_its_pager(void) {
  c_make_file("data", 10000);
  quire_pager* pager = make_pager(4 * kMiB);
  quire_area* area = map_area(pager, "data", QUIRE_ACCESS_READ_ONLY);
  quire_pin* pin = NULL;
  C_EXPECT_OK(quire_area_pin(area, 0, 10000, QUIRE_ACCESS_READ_ONLY, &pin, c_error()));
  quire_pager_free(pager);
  quire_area_free(area);
  C_EXPECT_EQ(0, c_wrong_bytes(quire_pin_bytes(pin), 0, 10000));
  quire_pin_free(pin);
}

static void pins_are_refused_with_a_reason(void) {
  c_make_file("data", 4 * kMiB);
  quire_pager* pager = make_pager(2 * kMiB);
  quire_area* area = map_area(pager, "data", QUIRE_ACCESS_READ_ONLY);
  quire_pin* pin = (quire_pin*)&pin;
  if (quire_area_is_paged(area)) {
    C_EXPECT_CODE(QUIRE_ERROR_LIMIT,
                  quire_area_pin(area, 0, QUIRE_TO_END, QUIRE_ACCESS_READ_ONLY, &pin, c_error()));
  }
  C_EXPECT_CODE(QUIRE_ERROR_OUT_OF_RANGE,
                quire_area_pin(area, 4 * kMiB, 1, QUIRE_ACCESS_READ_ONLY, &pin, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_READ_ONLY,
                quire_area_pin(area, 0, 1, QUIRE_ACCESS_READ_WRITE, &pin, c_error()));
  C_EXPECT_MISUSE(quire_area_pin(area, 0, 1, 2, &pin, c_error()));
  C_EXPECT(pin == NULL);
  C_EXPECT_MISUSE(quire_area_pin(area, 0, 1, QUIRE_ACCESS_READ_ONLY, NULL, c_error()));
  C_EXPECT_MISUSE(quire_area_pin(NULL, 0, 1, QUIRE_ACCESS_READ_ONLY, &pin, c_error()));
  C_EXPECT(quire_pin_bytes(NULL) == NULL && quire_pin_writable_bytes(NULL) == NULL);
  C_EXPECT_EQ(0, quire_pin_size(NULL));
  quire_pin_free(NULL);
  quire_area_free(area);
  quire_pager_free(pager);
}

static void what_is_prefetched_is_resident_until_it_is_evicted(void) {
  c_make_file("data", kMiB);
  quire_pager* pager = make_pager(4 * kMiB);
  quire_area* area = map_area(pager, "data", QUIRE_ACCESS_READ_ONLY);
  const quire_range ranges[] = {{0, 4096}, {500000, 10000}};
  quire_area_residency residency = {.struct_size = sizeof residency};
  quire_ticket* ticket = NULL;
  C_EXPECT_OK(quire_area_prefetch(area, ranges, 2, &ticket, c_error()));
  C_EXPECT_OK(quire_ticket_wait(ticket, QUIRE_MS_FOREVER, c_error()));
  quire_ticket_free(ticket);
  C_EXPECT_OK(quire_area_get_residency(area, 500000, 10000, &residency, c_error()));
  C_EXPECT_EQ(10000, residency.resident_bytes);
  uint64_t evicted = 0;
  uint64_t kept = 1;
  C_EXPECT_OK(quire_area_evict(area, 0, QUIRE_TO_END, &evicted, &kept, c_error()));
  if (quire_area_is_paged(area)) {
    C_EXPECT(evicted >= 14096);
    C_EXPECT_EQ(0, kept);
    C_EXPECT_OK(quire_area_get_residency(area, 0, QUIRE_TO_END, &residency, c_error()));
    C_EXPECT_EQ(0, residency.resident_bytes);
  }
  C_EXPECT_OK(quire_area_evict(area, 0, 1, NULL, NULL, c_error()));
  C_EXPECT_OK(quire_area_prefetch(area, ranges, 2, NULL, c_error()));
  const quire_range beyond = {kMiB, 1};
  C_EXPECT_CODE(QUIRE_ERROR_OUT_OF_RANGE,
                quire_area_prefetch(area, &beyond, 1, &ticket, c_error()));
  C_EXPECT(ticket == NULL);
  C_EXPECT_CODE(QUIRE_ERROR_OUT_OF_RANGE, quire_area_prefetch(area, &beyond, 1, NULL, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_OUT_OF_RANGE, quire_area_evict(area, kMiB, 1, NULL, NULL, c_error()));
  quire_area_free(area);
  quire_pager_free(pager);
}

static void patterns_are_taken_or_refused(void) {
  c_make_file("data", kMiB);
  quire_pager* pager = make_pager(4 * kMiB);
  quire_area* area = map_area(pager, "data", QUIRE_ACCESS_READ_ONLY);
  for (uint32_t pattern = QUIRE_PATTERN_NORMAL; pattern < QUIRE_PATTERN_OVERWRITE; ++pattern) {
    C_EXPECT_OK(quire_area_advise(area, 0, QUIRE_TO_END, pattern, c_error()));
  }
  if (quire_area_is_paged(area)) {
    C_EXPECT_CODE(QUIRE_ERROR_READ_ONLY,
                  quire_area_advise(area, 0, 1, QUIRE_PATTERN_OVERWRITE, c_error()));
  }
  C_EXPECT_MISUSE(quire_area_advise(area, 0, 1, 5, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_OUT_OF_RANGE, quire_area_advise(area, kMiB, 1, 0, c_error()));
  quire_area_free(area);
  quire_pager_free(pager);
}

static void what_is_read_only_cannot_be_changed(void) {
  c_make_file("data", 10000);
  quire_pager* pager = make_pager(4 * kMiB);
  quire_area* area = map_area(pager, "data", QUIRE_ACCESS_READ_ONLY);
  quire_area* snapshot = NULL;
  quire_ticket* ticket = NULL;
  C_EXPECT_CODE(QUIRE_ERROR_READ_ONLY, quire_area_flush(area, 0, 1, 0, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_READ_ONLY, quire_area_flush_async(area, 0, 1, 0, &ticket, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_READ_ONLY, quire_area_resize(area, 1, c_error()));
  quire_update* update = NULL;
  C_EXPECT_CODE(QUIRE_ERROR_READ_ONLY, quire_area_begin_update(area, &update, c_error()));
  C_EXPECT(update == NULL);
  C_EXPECT_CODE(QUIRE_ERROR_READ_ONLY, quire_area_commit(area, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_READ_ONLY, quire_area_commit_async(area, &ticket, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_READ_ONLY, quire_area_rollback(area, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_READ_ONLY, quire_area_snapshot(area, &snapshot, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_READ_ONLY, quire_pager_commit(pager, &area, 1, c_error()));
  quire_area_free(area);
  quire_pager_free(pager);
}

static void what_is_not_atomic_has_no_commits(void) {
  c_make_file("data", 10000);
  quire_pager* pager = make_pager(4 * kMiB);
  quire_area* area = map_area(pager, "data", QUIRE_ACCESS_READ_WRITE);
  quire_area* snapshot = NULL;
  quire_ticket* ticket = NULL;
  C_EXPECT_CODE(QUIRE_ERROR_UNSUPPORTED, quire_area_commit(area, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_UNSUPPORTED, quire_area_commit_async(area, &ticket, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_UNSUPPORTED, quire_area_rollback(area, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_UNSUPPORTED, quire_area_snapshot(area, &snapshot, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_UNSUPPORTED, quire_pager_commit(pager, &area, 1, c_error()));
  C_EXPECT_OK(quire_pager_commit(pager, &area, 0, c_error()));
  quire_update* update = NULL;
  C_EXPECT_OK(quire_area_begin_update(area, &update, c_error()));  // Holds up nothing.
  C_EXPECT_OK(quire_area_flush(area, 0, QUIRE_TO_END, QUIRE_DURABILITY_DATA, c_error()));
  C_EXPECT_OK(quire_area_resize(area, 10000, c_error()));
  quire_update_end(update);
  C_EXPECT_MISUSE(quire_area_flush(area, 0, 1, 3, c_error()));
  C_EXPECT_MISUSE(quire_area_flush_async(area, 0, 1, 3, &ticket, c_error()));
  C_EXPECT_MISUSE(quire_area_flush_async(area, 0, 1, 0, NULL, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_OUT_OF_RANGE, quire_area_flush(area, 10001, 1, 0, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_OUT_OF_RANGE,
                quire_area_flush_async(area, 10001, 1, 0, &ticket, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_LIMIT, quire_area_resize(area, UINT64_C(1) << 46, c_error()));
  quire_area_free(area);
  quire_pager_free(pager);
}

static void a_closed_area_shows_nothing_and_says_so(void) {
  c_make_file("data", 10000);
  quire_pager* pager = make_pager(4 * kMiB);
  quire_area* area = map_area(pager, "data", QUIRE_ACCESS_READ_WRITE);
  quire_area_stats stats = {.struct_size = sizeof stats};
  quire_area_residency residency = {.struct_size = sizeof residency};
  const quire_range range = {0, 1};
  quire_pin* pin = NULL;
  C_EXPECT_OK(quire_area_close(area, c_error()));
  C_EXPECT(quire_area_bytes(area) == NULL && quire_area_writable_bytes(area) == NULL);
  C_EXPECT_EQ(0, quire_area_size(area));
  C_EXPECT_CODE(QUIRE_ERROR_CLOSED, quire_area_close(area, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_CLOSED, quire_area_check(area, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_CLOSED, quire_area_flush(area, 0, 1, 0, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_CLOSED, quire_area_resize(area, 1, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_CLOSED, quire_area_pin(area, 0, 1, 0, &pin, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_CLOSED, quire_area_prefetch(area, &range, 1, NULL, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_CLOSED, quire_area_get_stats(area, &stats, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_CLOSED, quire_area_get_residency(area, 0, 1, &residency, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_CLOSED, quire_area_evict(area, 0, 1, NULL, NULL, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_CLOSED, quire_area_advise(area, 0, 1, 0, c_error()));
  quire_area_free(area);
  quire_pager_free(pager);
}

static void options_are_checked(void) {
  c_make_file("data", 10000);
  const quire_pager_options wrong[] = {{.struct_size = sizeof wrong[0], .policy = 3},
                                       {.struct_size = sizeof wrong[0], .fault_path = 3},
                                       {.struct_size = sizeof wrong[0], .survive_kill = 2},
                                       {.struct_size = 4}};
  quire_pager* pager = NULL;
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; ++i) {
    C_EXPECT_MISUSE(quire_pager_create(&wrong[i], &pager, c_error()));
    C_EXPECT(pager == NULL);
  }
  C_EXPECT_MISUSE(quire_pager_create(NULL, NULL, c_error()));
  const quire_area_options wrong_area[] = {
      {.struct_size = sizeof wrong_area[0], .access = 2},
      {.struct_size = sizeof wrong_area[0], .engine = 2},
      {.struct_size = sizeof wrong_area[0], .on_fill_error = 2},
      {.struct_size = sizeof wrong_area[0], .create = 3},
      {.struct_size = sizeof wrong_area[0], .space = 2},
      {.struct_size = sizeof wrong_area[0], .commit = 2},
      {.struct_size = 4}};
  pager = make_pager(4 * kMiB);
  quire_area* area = NULL;
  for (size_t i = 0; i < sizeof wrong_area / sizeof wrong_area[0]; ++i) {
    C_EXPECT_MISUSE(quire_pager_map(pager, "data", &wrong_area[i], &area, c_error()));
    C_EXPECT(area == NULL);
  }
  C_EXPECT_CODE(-ENOENT, quire_pager_map(pager, "missing", NULL, &area, c_error()));
  quire_pager_free(pager);
}

static void every_option_of_a_pager_reaches_it(void) {
  c_make_file("data", 10000);
  const quire_pager_options options = {.struct_size = sizeof options,
                                       .policy = QUIRE_POLICY_CLOCK,
                                       .fault_path = QUIRE_FAULT_PATH_HANDLER,
                                       .memory_bytes = 8 * kMiB,
                                       .granule_bytes = 65536,
                                       .read_ahead_bytes_max = 131072,
                                       .read_ahead_windows = 2,
                                       .dirty_start_percent = 10,
                                       .dirty_max_percent = 20,
                                       .write_back_time_ms = 1000,
                                       .dirty_age_ms = 1000,
                                       .slow_fault_ms = QUIRE_MS_NONE};
  quire_pager* pager = NULL;
  C_EXPECT_OK(quire_pager_create(&options, &pager, c_error()));
  quire_area* area = map_area(pager, "data", QUIRE_ACCESS_READ_ONLY);
  if (quire_area_is_paged(area)) {
    C_EXPECT_EQ(QUIRE_FAULT_PATH_HANDLER, quire_area_fault_path(area));
  }
  char text[2048];
  quire_pager_explain(pager, text, sizeof text);
  C_EXPECT(strstr(text, "8.0 MiB") != NULL);
  quire_area_free(area);
  quire_pager_free(pager);

  const quire_pager_options small = {.struct_size = sizeof small, .memory_bytes = 1};
  C_EXPECT_OK(quire_pager_create(&small, &pager, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_OUT_OF_RANGE, quire_pager_map(pager, "data", NULL, &area, c_error()));
  quire_pager_free(pager);
}

static void null_is_refused_everywhere(void) {
  quire_pager* pager = make_pager(4 * kMiB);
  quire_area* area = NULL;
  quire_ticket* ticket = NULL;
  quire_journal* journal = NULL;
  quire_pager_stats stats = {.struct_size = sizeof stats};
  quire_area_stats counted = {.struct_size = sizeof counted};
  quire_area_residency residency = {.struct_size = sizeof residency};
  const quire_range range = {0, 1};
  C_EXPECT_MISUSE(quire_pager_get_stats(NULL, &stats, c_error()));
  C_EXPECT_MISUSE(quire_pager_get_stats(pager, NULL, c_error()));
  C_EXPECT_MISUSE(quire_pager_map(NULL, "data", NULL, &area, c_error()));
  C_EXPECT_MISUSE(quire_pager_map(pager, NULL, NULL, &area, c_error()));
  C_EXPECT_MISUSE(quire_pager_map(pager, "data", NULL, NULL, c_error()));
  C_EXPECT_MISUSE(quire_pager_map_journal(pager, journal, 0, NULL, &area, c_error()));
  C_EXPECT_MISUSE(quire_pager_commit(NULL, &area, 1, c_error()));
  C_EXPECT_MISUSE(quire_pager_commit(pager, NULL, 0, c_error()));
  C_EXPECT_MISUSE(quire_pager_commit(pager, &area, 1, c_error()));
  C_EXPECT_MISUSE(quire_area_prefetch(NULL, &range, 1, &ticket, c_error()));
  C_EXPECT_MISUSE(quire_area_advise(NULL, 0, 1, 0, c_error()));
  C_EXPECT_MISUSE(quire_area_get_residency(NULL, 0, 1, &residency, c_error()));
  C_EXPECT_MISUSE(quire_area_evict(NULL, 0, 1, NULL, NULL, c_error()));
  C_EXPECT_MISUSE(quire_area_get_stats(NULL, &counted, c_error()));
  C_EXPECT_MISUSE(quire_area_check(NULL, c_error()));
  C_EXPECT_MISUSE(quire_area_flush(NULL, 0, 1, 0, c_error()));
  C_EXPECT_MISUSE(quire_area_flush_async(NULL, 0, 1, 0, &ticket, c_error()));
  C_EXPECT_MISUSE(quire_area_resize(NULL, 1, c_error()));
  quire_update* update = NULL;
  C_EXPECT_MISUSE(quire_area_begin_update(NULL, &update, c_error()));
  C_EXPECT(update == NULL);
  quire_update_end(NULL);
  C_EXPECT_MISUSE(quire_area_commit(NULL, c_error()));
  C_EXPECT_MISUSE(quire_area_commit_async(NULL, &ticket, c_error()));
  C_EXPECT_MISUSE(quire_area_rollback(NULL, c_error()));
  C_EXPECT_MISUSE(quire_area_snapshot(NULL, &area, c_error()));
  C_EXPECT_MISUSE(quire_area_close(NULL, c_error()));
  C_EXPECT(quire_area_bytes(NULL) == NULL && quire_area_writable_bytes(NULL) == NULL);
  C_EXPECT_EQ(0, quire_area_size(NULL));
  C_EXPECT_EQ(0, quire_area_is_paged(NULL));
  C_EXPECT_EQ(QUIRE_FAULT_PATH_AUTOMATIC, quire_area_fault_path(NULL));
  C_EXPECT_EQ(0, quire_area_explain(NULL, NULL, 0));
  C_EXPECT_EQ(0, quire_pager_explain(NULL, NULL, 0));
  quire_area_free(NULL);
  quire_pager_free(NULL);
  quire_pager_free(pager);
}

static void results_of_a_wrong_size_are_refused(void) {
  c_make_file("data", 10000);
  quire_pager* pager = make_pager(4 * kMiB);
  quire_area* area = map_area(pager, "data", QUIRE_ACCESS_READ_ONLY);
  quire_pager_stats stats = {.struct_size = sizeof stats - 1};
  quire_area_stats counted = {.struct_size = 0};
  quire_area_residency residency = {.struct_size = 8};
  C_EXPECT_MISUSE(quire_pager_get_stats(pager, &stats, c_error()));
  C_EXPECT_MISUSE(quire_area_get_stats(area, &counted, c_error()));
  C_EXPECT_MISUSE(quire_area_get_residency(area, 0, 1, &residency, c_error()));
  C_EXPECT_MISUSE(quire_area_get_stats(area, NULL, c_error()));
  C_EXPECT_MISUSE(quire_area_get_residency(area, 0, 1, NULL, c_error()));
  C_EXPECT_MISUSE(quire_area_prefetch(area, NULL, 1, NULL, c_error()));
  quire_area_free(area);
  quire_pager_free(pager);
}

static const struct c_test kTests[] = {
    C_TEST(a_file_larger_than_the_budget_is_its_bytes),
    C_TEST(stores_are_in_the_file_after_a_flush),
    C_TEST(a_pin_is_for_system_calls),
    C_TEST(a_pin_keeps_its_area_and_that_its_pager),
    C_TEST(pins_are_refused_with_a_reason),
    C_TEST(what_is_prefetched_is_resident_until_it_is_evicted),
    C_TEST(patterns_are_taken_or_refused),
    C_TEST(what_is_read_only_cannot_be_changed),
    C_TEST(what_is_not_atomic_has_no_commits),
    C_TEST(a_closed_area_shows_nothing_and_says_so),
    C_TEST(options_are_checked),
    C_TEST(every_option_of_a_pager_reaches_it),
    C_TEST(null_is_refused_everywhere),
    C_TEST(results_of_a_wrong_size_are_refused),
};

int main(void) {
  return c_test_main(kTests, sizeof kTests / sizeof kTests[0]);
}
