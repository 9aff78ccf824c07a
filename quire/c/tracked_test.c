// SPDX-License-Identifier: Apache-2.0
//
// Every function of quire/c/tracked.h, in C: what it does, and what it refuses.
#include "quire/c/tracked.h"

#include <errno.h>
#include <string.h>

#include "quire/testing/c_test.h"

enum { kMiB = 1 << 20 };

// Small, so that making one takes no time.
static const quire_journal_options kSmallLog = {.struct_size = sizeof kSmallLog,
                                                .log_bytes = 4 * kMiB};

static quire_tracked* open_tracked(const char* path) {
  const quire_tracked_options options = {.struct_size = sizeof options,
                                         .create = QUIRE_CREATE_IF_MISSING,
                                         .minimum_bytes = 16384,
                                         .journal = &kSmallLog};
  quire_tracked* tracked = NULL;
  C_EXPECT_OK(quire_tracked_open(path, &options, &tracked, c_error()));
  return tracked;
}

static void store(quire_tracked* tracked, const char* text) {
  memcpy(quire_tracked_bytes(tracked), text, strlen(text) + 1);
}

static int shows(const void* bytes, const char* text) {
  return bytes != NULL && strcmp(bytes, text) == 0;
}

// --- Tracked mappings ----------------------------------------------------------------------------

static void what_is_committed_is_found_again_and_nothing_else(void) {
  quire_tracked* tracked = open_tracked("state");
  quire_commit_receipt receipt = {.struct_size = sizeof receipt};
  C_EXPECT_EQ(16384, quire_tracked_size(tracked));
  store(tracked, "committed");
  C_EXPECT_OK(quire_tracked_commit(tracked, &receipt, c_error()));
  C_EXPECT_EQ(1, receipt.pages);
  const uint64_t number = receipt.number;
  C_EXPECT_OK(quire_tracked_commit(tracked, NULL, c_error()));
  C_EXPECT_OK(quire_tracked_commit(tracked, &receipt, c_error()));
  C_EXPECT_EQ(number, receipt.number);
  C_EXPECT_EQ(0, receipt.pages);
  store(tracked, "lost");
  quire_tracked_free(tracked);  // As a crash: nothing is brought to the file.

  tracked = open_tracked("state");
  C_EXPECT(shows(quire_tracked_bytes(tracked), "committed"));
  C_EXPECT_OK(quire_tracked_close(tracked, c_error()));
  quire_tracked_free(tracked);
  quire_mapping* mapping = NULL;
  C_EXPECT_OK(quire_map_committed("state", NULL, &mapping, c_error()));
  C_EXPECT(shows(quire_mapping_bytes(mapping), "committed"));
  C_EXPECT(quire_mapping_writable_bytes(mapping) == NULL);
  quire_mapping_free(mapping);
}

static void a_rollback_gives_the_last_commit_back(void) {
  quire_tracked* tracked = open_tracked("state");
  store(tracked, "one");
  C_EXPECT_OK(quire_tracked_commit(tracked, NULL, c_error()));
  store(tracked, "two");
  C_EXPECT_OK(quire_tracked_resize(tracked, 100000, c_error()));
  C_EXPECT_EQ(100000, quire_tracked_size(tracked));
  C_EXPECT_OK(quire_tracked_rollback(tracked, c_error()));
  C_EXPECT(shows(quire_tracked_bytes(tracked), "one"));
  C_EXPECT_EQ(16384, quire_tracked_size(tracked));
  C_EXPECT_CODE(QUIRE_ERROR_LIMIT, quire_tracked_resize(tracked, UINT64_C(1) << 46, c_error()));
  C_EXPECT_EQ(16384, quire_tracked_size(tracked));
  quire_tracked_free(tracked);
}

static void a_snapshot_stays_as_it_was(void) {
  quire_tracked* tracked = open_tracked("state");
  quire_snapshot* snapshot = NULL;
  char text[16];
  size_t read_bytes = 0;
  uint64_t size_bytes = 0;
  store(tracked, "then");
  C_EXPECT_OK(quire_tracked_commit(tracked, NULL, c_error()));
  C_EXPECT_OK(quire_tracked_snapshot(tracked, &snapshot, c_error()));
  store(tracked, "now");
  C_EXPECT_OK(quire_tracked_commit(tracked, NULL, c_error()));
  C_EXPECT_OK(quire_snapshot_read(snapshot, 0, 0, text, sizeof text, &read_bytes, c_error()));
  C_EXPECT_EQ(sizeof text, read_bytes);
  C_EXPECT(shows(text, "then"));
  C_EXPECT_OK(quire_snapshot_read(snapshot, 0, 16380, text, sizeof text, &read_bytes, c_error()));
  C_EXPECT_EQ(4, read_bytes);
  C_EXPECT_OK(quire_snapshot_get_size(snapshot, 0, &size_bytes, c_error()));
  C_EXPECT_EQ(16384, size_bytes);
  C_EXPECT(quire_snapshot_commit_number(snapshot) > 0);
  C_EXPECT_CODE(QUIRE_ERROR_OUT_OF_RANGE,
                quire_snapshot_read(snapshot, 1, 0, text, 1, &read_bytes, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_OUT_OF_RANGE,
                quire_snapshot_get_size(snapshot, 1, &size_bytes, c_error()));
  C_EXPECT_MISUSE(quire_snapshot_read(snapshot, 0, 0, text, SIZE_MAX, &read_bytes, c_error()));
  C_EXPECT_MISUSE(quire_snapshot_read(snapshot, 0, 0, NULL, 1, &read_bytes, c_error()));
  C_EXPECT_MISUSE(quire_snapshot_read(snapshot, 0, 0, text, 1, NULL, c_error()));
  C_EXPECT_MISUSE(quire_snapshot_get_size(snapshot, 0, NULL, c_error()));
  quire_tracked_free(tracked);
  quire_snapshot_free(snapshot);
}

static void commits_go_on_in_the_background(void) {
  quire_tracked* tracked = open_tracked("state");
  quire_ticket* ticket = NULL;
  quire_tracked_stats stats = {.struct_size = sizeof stats};
  quire_journal_stats journal = {.struct_size = sizeof journal};
  quire_tracked_residency residency = {.struct_size = sizeof residency};
  store(tracked, "one");
  C_EXPECT_OK(quire_tracked_commit_async(tracked, &ticket, c_error()));
  C_EXPECT_OK(quire_ticket_wait(ticket, QUIRE_MS_FOREVER, c_error()));
  C_EXPECT_EQ(1, quire_ticket_is_done(ticket));
  quire_ticket_free(ticket);
  C_EXPECT_OK(quire_tracked_get_stats(tracked, &stats, &journal, c_error()));
  C_EXPECT_EQ(2, stats.commits);  // The first one made the file as long as asked for.
  C_EXPECT(journal.log_bytes == 4 * kMiB && journal.last_commit > 0);
  C_EXPECT_OK(quire_tracked_get_stats(tracked, &stats, NULL, c_error()));
  C_EXPECT_OK(quire_tracked_get_residency(tracked, 0, QUIRE_TO_END, &residency, c_error()));
  C_EXPECT_EQ(16384, residency.size_bytes);
  C_EXPECT(residency.private_bytes >= 4096);
  C_EXPECT_OK(quire_tracked_check(tracked, c_error()));
  char text[1024];
  C_EXPECT(quire_tracked_explain(tracked, text, sizeof text) > 0 && text[0] != '\0');
  quire_tracked_free(tracked);
}

static void a_commit_that_cannot_fit_is_refused_and_nothing_is_lost(void) {
  const quire_journal_options log = {.struct_size = sizeof log,
                                     .checkpointing = QUIRE_CHECKPOINTING_ON_DEMAND,
                                     .page_bytes = 4096,
                                     .log_bytes = 65536,
                                     .full_wait_ms = QUIRE_MS_NONE};
  const quire_tracked_options options = {.struct_size = sizeof options,
                                         .create = QUIRE_CREATE_IF_MISSING,
                                         .minimum_bytes = kMiB,
                                         .reserve_bytes = 2 * kMiB,
                                         .drop_past_bytes = kMiB,
                                         .journal = &log};
  quire_tracked* tracked = NULL;
  C_EXPECT_OK(quire_tracked_open("state", &options, &tracked, c_error()));
  memset(quire_tracked_bytes(tracked), 1, kMiB);
  C_EXPECT_CODE(QUIRE_ERROR_LIMIT, quire_tracked_commit(tracked, NULL, c_error()));
  C_EXPECT_EQ(1, ((unsigned char*)quire_tracked_bytes(tracked))[kMiB - 1]);
  C_EXPECT_OK(quire_tracked_check(tracked, c_error()));
  quire_tracked_free(tracked);
}

static void a_file_that_is_open_for_commits_is_refused_to_others(void) {
  quire_tracked* tracked = open_tracked("state");
  quire_tracked* second = NULL;
  quire_mapping* mapping = NULL;
  C_EXPECT_CODE(-EBUSY, quire_tracked_open("state", NULL, &second, c_error()));
  C_EXPECT(second == NULL);
  C_EXPECT_CODE(-EBUSY, quire_map_committed("state", NULL, &mapping, c_error()));
  C_EXPECT_OK(quire_tracked_close(tracked, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_CLOSED, quire_tracked_close(tracked, c_error()));
  quire_tracked_free(tracked);
  C_EXPECT_CODE(-ENOENT, quire_tracked_open("missing", NULL, &second, c_error()));
}

static void no_commit_cuts_an_update_in_two(void) {
  quire_tracked* tracked = open_tracked("state");
  quire_update* update = NULL;
  quire_update* inner = NULL;
  quire_ticket* ticket = NULL;
  quire_commit_receipt receipt = {.struct_size = sizeof receipt};
  store(tracked, "before");
  C_EXPECT_OK(quire_tracked_begin_update(tracked, &update, c_error()));
  C_EXPECT_OK(quire_tracked_begin_update(tracked, &inner, c_error()));
  store(tracked, "inside");
  C_EXPECT_CODE(QUIRE_ERROR_FAILED, quire_tracked_commit(tracked, &receipt, c_error()));
  quire_update_end(inner);
  C_EXPECT_CODE(QUIRE_ERROR_FAILED, quire_tracked_commit(tracked, &receipt, c_error()));
  C_EXPECT_MESSAGE("Update");
  C_EXPECT_CODE(QUIRE_ERROR_FAILED, quire_tracked_commit_async(tracked, &ticket, c_error()));
  C_EXPECT(ticket == NULL);
  C_EXPECT_CODE(QUIRE_ERROR_FAILED, quire_tracked_rollback(tracked, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_FAILED, quire_tracked_resize(tracked, 1, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_FAILED, quire_tracked_close(tracked, c_error()));
  C_EXPECT(shows(quire_tracked_bytes(tracked), "inside"));
  quire_update_end(update);
  C_EXPECT_OK(quire_tracked_commit(tracked, &receipt, c_error()));
  C_EXPECT_EQ(1, receipt.pages);
  quire_tracked_free(tracked);

  tracked = open_tracked("state");
  C_EXPECT(shows(quire_tracked_bytes(tracked), "inside"));
  quire_tracked_free(tracked);
}

static void an_update_keeps_what_it_was_begun_on(void) {
  quire_tracked* tracked = open_tracked("state");
  quire_tracked* second = NULL;
  quire_update* update = NULL;
  C_EXPECT_OK(quire_tracked_begin_update(tracked, &update, c_error()));
  quire_tracked_free(tracked);
  C_EXPECT_CODE(-EBUSY, quire_tracked_open("state", NULL, &second, c_error()));
  quire_update_end(update);
  C_EXPECT_OK(quire_tracked_open("state", NULL, &second, c_error()));
  quire_tracked_free(second);
}

static void a_closed_tracked_mapping_shows_nothing_and_says_so(void) {
  quire_tracked* tracked = open_tracked("state");
  quire_snapshot* snapshot = NULL;
  quire_ticket* ticket = NULL;
  quire_tracked_stats stats = {.struct_size = sizeof stats};
  quire_tracked_residency residency = {.struct_size = sizeof residency};
  C_EXPECT_OK(quire_tracked_close(tracked, c_error()));
  C_EXPECT(quire_tracked_bytes(tracked) == NULL);
  C_EXPECT_EQ(0, quire_tracked_size(tracked));
  quire_update* update = NULL;
  C_EXPECT_CODE(QUIRE_ERROR_CLOSED, quire_tracked_begin_update(tracked, &update, c_error()));
  C_EXPECT(update == NULL);
  C_EXPECT_CODE(QUIRE_ERROR_CLOSED, quire_tracked_commit(tracked, NULL, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_CLOSED, quire_tracked_commit_async(tracked, &ticket, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_CLOSED, quire_tracked_rollback(tracked, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_CLOSED, quire_tracked_snapshot(tracked, &snapshot, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_CLOSED, quire_tracked_resize(tracked, 1, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_CLOSED, quire_tracked_check(tracked, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_CLOSED, quire_tracked_get_stats(tracked, &stats, NULL, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_CLOSED,
                quire_tracked_get_residency(tracked, 0, 1, &residency, c_error()));
  quire_tracked_free(tracked);
}

static void tracked_mappings_refuse_null_and_wrong_options(void) {
  quire_tracked* tracked = NULL;
  quire_mapping* mapping = NULL;
  quire_snapshot* snapshot = NULL;
  quire_ticket* ticket = NULL;
  quire_tracked_stats stats = {.struct_size = sizeof stats};
  quire_journal_stats journal = {.struct_size = 1};
  quire_commit_receipt receipt = {.struct_size = 1};
  quire_tracked_residency residency = {.struct_size = 1};
  const quire_journal_options creating = {.struct_size = sizeof creating,
                                          .create = QUIRE_CREATE_IF_MISSING};
  const quire_journal_options unknown = {.struct_size = sizeof unknown, .checkpointing = 2};
  const quire_journal_options nothing = {.struct_size = 0};
  const quire_tracked_options wrong[] = {
      {.struct_size = sizeof wrong[0], .create = QUIRE_CREATE_EXCLUSIVE},
      {.struct_size = sizeof wrong[0], .journal = &creating},
      {.struct_size = sizeof wrong[0], .journal = &unknown},
      {.struct_size = sizeof wrong[0], .journal = &nothing},
      {.struct_size = 7}};
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; ++i) {
    C_EXPECT_MISUSE(quire_tracked_open("state", &wrong[i], &tracked, c_error()));
    C_EXPECT(tracked == NULL);
  }
  C_EXPECT_MISUSE(quire_tracked_open(NULL, NULL, &tracked, c_error()));
  C_EXPECT_MISUSE(quire_tracked_open("state", NULL, NULL, c_error()));
  C_EXPECT_MISUSE(quire_map_committed(NULL, NULL, &mapping, c_error()));
  C_EXPECT_MISUSE(quire_map_committed("state", NULL, NULL, c_error()));
  quire_update* update = NULL;
  C_EXPECT_MISUSE(quire_tracked_begin_update(NULL, &update, c_error()));
  C_EXPECT(update == NULL);
  quire_update_end(NULL);
  C_EXPECT_MISUSE(quire_tracked_commit(NULL, NULL, c_error()));
  C_EXPECT_MISUSE(quire_tracked_commit_async(NULL, &ticket, c_error()));
  C_EXPECT_MISUSE(quire_tracked_rollback(NULL, c_error()));
  C_EXPECT_MISUSE(quire_tracked_snapshot(NULL, &snapshot, c_error()));
  C_EXPECT_MISUSE(quire_tracked_resize(NULL, 1, c_error()));
  C_EXPECT_MISUSE(quire_tracked_check(NULL, c_error()));
  C_EXPECT_MISUSE(quire_tracked_get_stats(NULL, &stats, NULL, c_error()));
  C_EXPECT_MISUSE(quire_tracked_close(NULL, c_error()));
  C_EXPECT(quire_tracked_bytes(NULL) == NULL);
  C_EXPECT_EQ(0, quire_tracked_size(NULL));
  C_EXPECT_EQ(0, quire_tracked_explain(NULL, NULL, 0));
  quire_tracked_free(NULL);
  tracked = open_tracked("state");
  C_EXPECT_MISUSE(quire_tracked_begin_update(tracked, NULL, c_error()));
  C_EXPECT_OK(quire_tracked_commit(tracked, NULL, c_error()));  // None was left open.
  C_EXPECT_MISUSE(quire_tracked_commit(tracked, &receipt, c_error()));
  C_EXPECT_MISUSE(quire_tracked_get_stats(tracked, &stats, &journal, c_error()));
  C_EXPECT_MISUSE(quire_tracked_get_stats(tracked, NULL, NULL, c_error()));
  C_EXPECT_MISUSE(quire_tracked_get_residency(tracked, 0, 1, &residency, c_error()));
  C_EXPECT_MISUSE(quire_tracked_get_residency(tracked, 0, 1, NULL, c_error()));
  C_EXPECT_MISUSE(quire_tracked_commit_async(tracked, NULL, c_error()));
  C_EXPECT_MISUSE(quire_tracked_snapshot(tracked, NULL, c_error()));
  quire_tracked_free(tracked);
}

static const struct c_test kTests[] = {
    C_TEST(what_is_committed_is_found_again_and_nothing_else),
    C_TEST(a_rollback_gives_the_last_commit_back),
    C_TEST(a_snapshot_stays_as_it_was),
    C_TEST(commits_go_on_in_the_background),
    C_TEST(a_commit_that_cannot_fit_is_refused_and_nothing_is_lost),
    C_TEST(a_file_that_is_open_for_commits_is_refused_to_others),
    C_TEST(no_commit_cuts_an_update_in_two),
    C_TEST(an_update_keeps_what_it_was_begun_on),
    C_TEST(a_closed_tracked_mapping_shows_nothing_and_says_so),
    C_TEST(tracked_mappings_refuse_null_and_wrong_options),
};

int main(void) {
  return c_test_main(kTests, sizeof kTests / sizeof kTests[0]);
}
