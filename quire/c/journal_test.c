// SPDX-License-Identifier: Apache-2.0
//
// Every function of quire/c/journal.h, in C, and the atomic areas of area.h: what they do, and what
// they refuse.
#include "quire/c/journal.h"

#include <errno.h>
#include <string.h>

#include "quire/c/quire.h"
#include "quire/testing/c_test.h"

enum { kMiB = 1 << 20 };

// Small, so that making one takes no time.
static const quire_journal_options kSmallLog = {.struct_size = sizeof kSmallLog,
                                                .log_bytes = 4 * kMiB};

static int shows(const void* bytes, const char* text) {
  return bytes != NULL && strcmp(bytes, text) == 0;
}

// --- Journals ------------------------------------------------------------------------------------

static quire_journal* open_pair(void) {
  const char* paths[] = {"one", "two"};
  const quire_journal_options options = {.struct_size = sizeof options,
                                         .log_bytes = 4 * kMiB,
                                         .create = QUIRE_CREATE_IF_MISSING,
                                         .path = "pair.journal"};
  quire_journal* journal = NULL;
  C_EXPECT_OK(quire_journal_open(paths, 2, &options, &journal, c_error()));
  return journal;
}

static void expect_journal_shows(quire_journal* journal, size_t file, const char* text) {
  char found[64] = "";
  size_t read_bytes = 0;
  C_EXPECT_OK(quire_journal_read(journal, file, 0, found, sizeof found, &read_bytes, c_error()));
  C_EXPECT_EQ(strlen(text), read_bytes);
  C_EXPECT(memcmp(found, text, strlen(text)) == 0);
}

static void a_commit_spans_the_files_of_a_journal(void) {
  quire_journal* journal = open_pair();
  uint64_t number = 0;
  uint64_t size_bytes = 0;
  C_EXPECT_EQ(2, quire_journal_file_count(journal));
  C_EXPECT_OK(quire_journal_write(journal, 0, 0, "left", 4, c_error()));
  C_EXPECT_OK(quire_journal_write(journal, 1, 0, "right", 5, c_error()));
  C_EXPECT_OK(quire_journal_commit(journal, &number, c_error()));
  C_EXPECT(number > 0);
  C_EXPECT_OK(quire_journal_commit(journal, NULL, c_error()));
  C_EXPECT_OK(quire_journal_write(journal, 0, 4, " lost", 5, c_error()));
  C_EXPECT_OK(quire_journal_resize(journal, 1, 2, c_error()));
  C_EXPECT_OK(quire_journal_get_size(journal, 1, &size_bytes, c_error()));
  C_EXPECT_EQ(2, size_bytes);
  expect_journal_shows(journal, 0, "left lost");
  C_EXPECT_OK(quire_journal_rollback(journal, c_error()));
  expect_journal_shows(journal, 0, "left");
  expect_journal_shows(journal, 1, "right");
  C_EXPECT_OK(quire_journal_write(journal, 0, 4, " lost", 5, c_error()));
  quire_journal_free(journal);  // As a crash.

  journal = open_pair();
  expect_journal_shows(journal, 0, "left");
  expect_journal_shows(journal, 1, "right");
  C_EXPECT_OK(quire_journal_checkpoint(journal, c_error()));
  quire_journal_stats stats = {.struct_size = sizeof stats};
  C_EXPECT_OK(quire_journal_get_stats(journal, &stats, c_error()));
  C_EXPECT_EQ(stats.last_commit, stats.checkpointed_commit);
  char text[1024];
  C_EXPECT(quire_journal_explain(journal, text, sizeof text) > 0 && text[0] != '\0');
  C_EXPECT_OK(quire_journal_close(journal, c_error()));
  C_EXPECT_EQ(4, c_file_size("one"));
  C_EXPECT_EQ(5, c_file_size("two"));
  quire_journal_free(journal);
}

static void a_snapshot_of_a_journal_has_all_its_files(void) {
  quire_journal* journal = open_pair();
  quire_snapshot* snapshot = NULL;
  char text[8] = "";
  size_t read_bytes = 0;
  uint64_t size_bytes = 0;
  C_EXPECT_OK(quire_journal_write(journal, 1, 0, "then", 4, c_error()));
  C_EXPECT_OK(quire_journal_commit(journal, NULL, c_error()));
  C_EXPECT_OK(quire_journal_snapshot(journal, &snapshot, c_error()));
  C_EXPECT_OK(quire_journal_write(journal, 1, 0, "now!!!", 6, c_error()));
  C_EXPECT_OK(quire_journal_commit(journal, NULL, c_error()));
  C_EXPECT_OK(quire_snapshot_read(snapshot, 1, 0, text, sizeof text, &read_bytes, c_error()));
  C_EXPECT(read_bytes == 4 && memcmp(text, "then", 4) == 0);
  C_EXPECT_OK(quire_snapshot_get_size(snapshot, 1, &size_bytes, c_error()));
  C_EXPECT_EQ(4, size_bytes);
  C_EXPECT_CODE(QUIRE_ERROR_OUT_OF_RANGE,
                quire_snapshot_read(snapshot, 2, 0, text, 1, &read_bytes, c_error()));
  quire_journal_free(journal);
  quire_snapshot_free(snapshot);
}

static void a_closed_journal_says_so(void) {
  quire_journal* journal = open_pair();
  quire_snapshot* snapshot = NULL;
  quire_pager* pager = NULL;
  quire_area* area = NULL;
  uint64_t size_bytes = 0;
  size_t read_bytes = 0;
  char byte = 0;
  quire_journal_stats stats = {.struct_size = sizeof stats};
  C_EXPECT_OK(quire_journal_close(journal, c_error()));
  C_EXPECT_EQ(0, quire_journal_file_count(journal));
  C_EXPECT_EQ(0, quire_journal_explain(journal, NULL, 0));
  C_EXPECT_CODE(QUIRE_ERROR_CLOSED, quire_journal_close(journal, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_CLOSED, quire_journal_get_size(journal, 0, &size_bytes, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_CLOSED,
                quire_journal_read(journal, 0, 0, &byte, 1, &read_bytes, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_CLOSED, quire_journal_write(journal, 0, 0, &byte, 1, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_CLOSED, quire_journal_resize(journal, 0, 1, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_CLOSED, quire_journal_commit(journal, NULL, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_CLOSED, quire_journal_rollback(journal, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_CLOSED, quire_journal_checkpoint(journal, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_CLOSED, quire_journal_snapshot(journal, &snapshot, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_CLOSED, quire_journal_get_stats(journal, &stats, c_error()));
  C_EXPECT_OK(quire_pager_create(NULL, &pager, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_CLOSED,
                quire_pager_map_journal(pager, journal, 0, NULL, &area, c_error()));
  quire_pager_free(pager);
  quire_journal_free(journal);
}

static void journals_refuse_null_and_wrong_options(void) {
  const char* paths[] = {"other", NULL};
  const char* missing = "missing";
  const char* many[40];
  quire_journal* journal = NULL;
  quire_snapshot* snapshot = NULL;
  uint64_t size_bytes = 0;
  size_t read_bytes = 0;
  char byte = 0;
  quire_journal_stats stats = {.struct_size = sizeof stats};
  const quire_journal_options wrong[] = {
      {.struct_size = sizeof wrong[0], .checkpointing = 2},
      {.struct_size = sizeof wrong[0], .create = QUIRE_CREATE_EXCLUSIVE},
      {.struct_size = sizeof wrong[0], .create = 3},
      {.struct_size = sizeof wrong[0], .page_bytes = 4097, .create = QUIRE_CREATE_IF_MISSING},
      {.struct_size = 3}};
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; ++i) {
    C_EXPECT_MISUSE(quire_journal_open(paths, 1, &wrong[i], &journal, c_error()));
  }
  for (size_t i = 0; i < sizeof many / sizeof many[0]; ++i) {
    many[i] = "one";
  }
  C_EXPECT_MISUSE(quire_journal_open(NULL, 1, NULL, &journal, c_error()));
  C_EXPECT_MISUSE(quire_journal_open(paths, 0, NULL, &journal, c_error()));
  C_EXPECT_MISUSE(quire_journal_open(paths, 2, NULL, &journal, c_error()));
  C_EXPECT_MISUSE(quire_journal_open(many, 40, NULL, &journal, c_error()));
  C_EXPECT_MISUSE(quire_journal_open(paths, 1, NULL, NULL, c_error()));
  C_EXPECT_CODE(-ENOENT, quire_journal_open(&missing, 1, NULL, &journal, c_error()));
  C_EXPECT_MISUSE(quire_journal_get_size(NULL, 0, &size_bytes, c_error()));
  C_EXPECT_MISUSE(quire_journal_read(NULL, 0, 0, &byte, 1, &read_bytes, c_error()));
  C_EXPECT_MISUSE(quire_journal_write(NULL, 0, 0, &byte, 1, c_error()));
  C_EXPECT_MISUSE(quire_journal_resize(NULL, 0, 1, c_error()));
  C_EXPECT_MISUSE(quire_journal_commit(NULL, NULL, c_error()));
  C_EXPECT_MISUSE(quire_journal_rollback(NULL, c_error()));
  C_EXPECT_MISUSE(quire_journal_checkpoint(NULL, c_error()));
  C_EXPECT_MISUSE(quire_journal_snapshot(NULL, &snapshot, c_error()));
  C_EXPECT_MISUSE(quire_journal_get_stats(NULL, &stats, c_error()));
  C_EXPECT_MISUSE(quire_journal_close(NULL, c_error()));
  C_EXPECT_MISUSE(quire_snapshot_get_size(NULL, 0, &size_bytes, c_error()));
  C_EXPECT_MISUSE(quire_snapshot_read(NULL, 0, 0, &byte, 1, &read_bytes, c_error()));
  C_EXPECT_EQ(0, quire_snapshot_commit_number(NULL));
  C_EXPECT_EQ(0, quire_journal_file_count(NULL));
  C_EXPECT_EQ(0, quire_journal_explain(NULL, NULL, 0));
  quire_journal_free(NULL);
  quire_snapshot_free(NULL);

  journal = open_pair();
  C_EXPECT_CODE(QUIRE_ERROR_OUT_OF_RANGE,
                quire_journal_get_size(journal, 2, &size_bytes, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_OUT_OF_RANGE,
                quire_journal_read(journal, 2, 0, &byte, 1, &read_bytes, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_OUT_OF_RANGE, quire_journal_write(journal, 2, 0, &byte, 1, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_OUT_OF_RANGE, quire_journal_resize(journal, 2, 1, c_error()));
  C_EXPECT_MISUSE(quire_journal_get_size(journal, 0, NULL, c_error()));
  C_EXPECT_MISUSE(quire_journal_read(journal, 0, 0, &byte, 1, NULL, c_error()));
  C_EXPECT_MISUSE(quire_journal_read(journal, 0, 0, NULL, 1, &read_bytes, c_error()));
  C_EXPECT_MISUSE(quire_journal_write(journal, 0, 0, NULL, 1, c_error()));
  C_EXPECT_MISUSE(quire_journal_snapshot(journal, NULL, c_error()));
  stats.struct_size = 9;
  C_EXPECT_MISUSE(quire_journal_get_stats(journal, &stats, c_error()));
  C_EXPECT_MISUSE(quire_journal_get_stats(journal, NULL, c_error()));
  quire_journal_free(journal);
}

// --- Atomic areas --------------------------------------------------------------------------------

static quire_pager* make_pager(void) {
  const quire_pager_options options = {.struct_size = sizeof options, .memory_bytes = 8 * kMiB};
  quire_pager* pager = NULL;
  C_EXPECT_OK(quire_pager_create(&options, &pager, c_error()));
  return pager;
}

static quire_area* map_atomic(quire_pager* pager, const char* path) {
  const quire_area_options options = {.struct_size = sizeof options,
                                      .access = QUIRE_ACCESS_READ_WRITE,
                                      .engine = QUIRE_ENGINE_PAGED,
                                      .create = QUIRE_CREATE_IF_MISSING,
                                      .commit = QUIRE_COMMIT_ATOMIC,
                                      .minimum_bytes = 16384,
                                      .journal = &kSmallLog};
  quire_area* area = NULL;
  const quire_code code = quire_pager_map(pager, path, &options, &area, c_error());
  if (code == QUIRE_ERROR_UNSUPPORTED) {
    C_SKIP("userfaultfd is forbidden here: no atomic areas");
  } else {
    C_EXPECT_OK(code);
  }
  return area;
}

static void set_text(quire_area* area, const char* text) {
  memcpy(quire_area_writable_bytes(area), text, strlen(text) + 1);
}

static void stores_to_an_atomic_area_come_by_commits_alone(void) {
  quire_pager* pager = make_pager();
  quire_area* area = map_atomic(pager, "state");
  if (area != NULL) {
    quire_ticket* ticket = NULL;
    quire_area* snapshot = NULL;
    set_text(area, "one");
    C_EXPECT_OK(quire_area_commit(area, c_error()));
    C_EXPECT_OK(quire_area_snapshot(area, &snapshot, c_error()));
    set_text(area, "two");
    C_EXPECT_OK(quire_area_commit_async(area, &ticket, c_error()));
    C_EXPECT_OK(quire_ticket_wait(ticket, QUIRE_MS_FOREVER, c_error()));
    quire_ticket_free(ticket);
    C_EXPECT(shows(quire_area_bytes(snapshot), "one"));
    C_EXPECT(quire_area_writable_bytes(snapshot) == NULL);
    quire_area_free(snapshot);
    set_text(area, "three");
    C_EXPECT_OK(quire_area_resize(area, 20000, c_error()));
    C_EXPECT_OK(quire_area_rollback(area, c_error()));
    C_EXPECT(shows(quire_area_bytes(area), "two"));
    C_EXPECT_EQ(16384, quire_area_size(area));
    quire_area_stats stats = {.struct_size = sizeof stats};
    C_EXPECT_OK(quire_area_get_stats(area, &stats, c_error()));
    C_EXPECT_EQ(2, stats.commits);
    quire_pin* pin = NULL;
    C_EXPECT_OK(quire_area_pin(area, 0, 1, QUIRE_ACCESS_READ_WRITE, &pin, c_error()));
    C_EXPECT_CODE(QUIRE_ERROR_FAILED, quire_area_commit(area, c_error()));
    C_EXPECT_CODE(QUIRE_ERROR_FAILED, quire_area_rollback(area, c_error()));
    quire_pin_free(pin);
    C_EXPECT_MISUSE(quire_area_commit_async(area, NULL, c_error()));
    C_EXPECT_MISUSE(quire_area_snapshot(area, NULL, c_error()));
    set_text(area, "lost");
    quire_area_free(area);
    area = map_atomic(pager, "state");
    C_EXPECT(shows(quire_area_bytes(area), "two"));
    C_EXPECT_OK(quire_area_close(area, c_error()));
  }
  quire_area_free(area);
  quire_pager_free(pager);
}

static void no_commit_cuts_an_update_in_two(void) {
  quire_pager* pager = make_pager();
  quire_area* area = map_atomic(pager, "state");
  if (area != NULL) {
    quire_update* update = NULL;
    C_EXPECT_MISUSE(quire_area_begin_update(area, NULL, c_error()));
    C_EXPECT_OK(quire_area_commit(area, c_error()));  // None was left open.
    C_EXPECT_OK(quire_area_begin_update(area, &update, c_error()));
    set_text(area, "inside");
    C_EXPECT_CODE(QUIRE_ERROR_FAILED, quire_area_commit(area, c_error()));
    C_EXPECT_MESSAGE("Update");
    C_EXPECT_CODE(QUIRE_ERROR_FAILED, quire_pager_commit(pager, &area, 1, c_error()));
    C_EXPECT_CODE(QUIRE_ERROR_FAILED, quire_area_rollback(area, c_error()));
    C_EXPECT_CODE(QUIRE_ERROR_FAILED, quire_area_resize(area, 1, c_error()));
    C_EXPECT_CODE(QUIRE_ERROR_FAILED, quire_area_close(area, c_error()));
    C_EXPECT(shows(quire_area_bytes(area), "inside"));
    quire_update_end(update);
    C_EXPECT_OK(quire_area_commit(area, c_error()));
    C_EXPECT_OK(quire_area_begin_update(area, &update, c_error()));
    quire_area_free(area);
    quire_update_end(update);
    area = map_atomic(pager, "state");
    C_EXPECT(shows(quire_area_bytes(area), "inside"));
    C_EXPECT_OK(quire_area_close(area, c_error()));
    C_EXPECT_CODE(QUIRE_ERROR_CLOSED, quire_area_begin_update(area, &update, c_error()));
    C_EXPECT(update == NULL);
  }
  quire_area_free(area);
  quire_pager_free(pager);
}

static void areas_of_one_journal_commit_together(void) {
  quire_pager* pager = make_pager();
  quire_area* alone = map_atomic(pager, "alone");
  if (alone != NULL) {
    quire_journal* journal = open_pair();
    quire_area* areas[2] = {NULL, NULL};
    const quire_area_options options = {.struct_size = sizeof options, .minimum_bytes = 8192};
    for (size_t i = 0; i < 2; ++i) {
      C_EXPECT_OK(quire_pager_map_journal(pager, journal, i, &options, &areas[i], c_error()));
      set_text(areas[i], i == 0 ? "left" : "right");
    }
    C_EXPECT_OK(quire_pager_commit(pager, areas, 2, c_error()));
    quire_area* strangers[2] = {areas[0], alone};
    C_EXPECT_MISUSE(quire_pager_commit(pager, strangers, 2, c_error()));
    quire_area* third = NULL;
    C_EXPECT_CODE(QUIRE_ERROR_OUT_OF_RANGE,
                  quire_pager_map_journal(pager, journal, 2, NULL, &third, c_error()));
    C_EXPECT(third == NULL);
    C_EXPECT_MISUSE(quire_pager_map_journal(pager, journal, 0, NULL, NULL, c_error()));
    C_EXPECT_MISUSE(quire_pager_map_journal(NULL, journal, 0, NULL, &third, c_error()));
    for (size_t i = 0; i < 2; ++i) {
      C_EXPECT_OK(quire_area_close(areas[i], c_error()));
      quire_area_free(areas[i]);
    }
    C_EXPECT_OK(quire_journal_close(journal, c_error()));
    quire_journal_free(journal);
    quire_mapping* mapping = NULL;
    C_EXPECT_OK(quire_map_file("two", NULL, &mapping, c_error()));
    C_EXPECT(shows(quire_mapping_bytes(mapping), "right"));
    quire_mapping_free(mapping);
  }
  quire_area_free(alone);
  quire_pager_free(pager);
}

static const struct c_test kTests[] = {
    C_TEST(a_commit_spans_the_files_of_a_journal),
    C_TEST(a_snapshot_of_a_journal_has_all_its_files),
    C_TEST(a_closed_journal_says_so),
    C_TEST(journals_refuse_null_and_wrong_options),
    C_TEST(stores_to_an_atomic_area_come_by_commits_alone),
    C_TEST(no_commit_cuts_an_update_in_two),
    C_TEST(areas_of_one_journal_commit_together),
};

int main(void) {
  return c_test_main(kTests, sizeof kTests / sizeof kTests[0]);
}
