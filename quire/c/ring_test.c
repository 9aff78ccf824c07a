// SPDX-License-Identifier: Apache-2.0
//
// Rings of quire/c/ipc.h, in C: what they do, and what they refuse. The other process is a child.
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "quire/c/ipc.h"
#include "quire/testing/c_segment.h"
#include "quire/testing/c_test.h"

static quire_ring_writer* open_writer(const quire_segment* segment, const char* name) {
  quire_ring_writer* writer = NULL;
  C_EXPECT_OK(quire_ring_writer_open(segment, name, &writer, c_error()));
  return writer;
}

static quire_ring_reader* open_reader(const quire_segment* segment, const char* name) {
  quire_ring_reader* reader = NULL;
  C_EXPECT_OK(quire_ring_reader_open(segment, name, &reader, c_error()));
  return reader;
}

static void expect_record(quire_ring_reader* reader, const char* text) {
  const void* record = NULL;
  size_t length = 0;
  C_EXPECT_OK(quire_ring_reader_peek(reader, QUIRE_MS_FOREVER, &record, &length, c_error()));
  C_EXPECT_EQ(strlen(text), length);
  C_EXPECT(record != NULL && memcmp(record, text, length) == 0);
  C_EXPECT_OK(quire_ring_reader_release(reader, c_error()));
}

// --- Rings ---------------------------------------------------------------------------------------

static int push_numbers(quire_segment* segment) {
  quire_ring_writer* writer = open_writer(segment, "one");
  for (unsigned number = 0; number < 10000; ++number) {
    const quire_code code =
        quire_ring_writer_push(writer, &number, sizeof number, QUIRE_MS_FOREVER, c_error());
    if (code != QUIRE_OK) {
      return 1;
    }
  }
  quire_ring_writer_free(writer);
  quire_segment_free(segment);
  return 0;
}

static void records_come_from_another_process_in_order(void) {
  quire_segment* segment = open_segment();
  quire_ring_reader* reader = open_reader(segment, "one");
  const pid_t child = start_child(push_numbers);
  unsigned wrong = 0;
  for (unsigned number = 0; number < 10000; ++number) {
    const void* record = NULL;
    size_t length = 0;
    C_EXPECT_OK(quire_ring_reader_peek(reader, QUIRE_MS_FOREVER, &record, &length, c_error()));
    wrong += length != sizeof number || memcmp(record, &number, sizeof number) != 0;
    C_EXPECT_OK(quire_ring_reader_release(reader, c_error()));
  }
  C_EXPECT_EQ(0, wrong);
  expect_exit_of(child, 0);
  quire_segment_free(segment);  // The reader keeps what it needs.
  quire_ring_reader_free(reader);
}

static void records_are_made_in_place(void) {
  const char* const rings[] = {"one", "many"};
  quire_segment* segment = open_segment();
  for (size_t i = 0; i < 2; ++i) {
    quire_ring_writer* writer = open_writer(segment, rings[i]);
    quire_ring_reader* reader = open_reader(segment, rings[i]);
    void* room = NULL;
    const void* record = NULL;
    size_t length = 0;
    C_EXPECT_MISUSE(quire_ring_writer_commit(writer, 0, c_error()));
    C_EXPECT_OK(quire_ring_writer_reserve(writer, 100, 0, &room, c_error()));
    memcpy(room, "given up", 8);
    C_EXPECT_OK(quire_ring_writer_reserve(writer, 100, 0, &room, c_error()));
    memcpy(room, "in place", 8);
    C_EXPECT_MISUSE(quire_ring_writer_commit(writer, 101, c_error()));
    C_EXPECT_CODE(-ETIMEDOUT, quire_ring_reader_peek(reader, 0, &record, &length, c_error()));
    C_EXPECT_OK(quire_ring_writer_commit(writer, 8, c_error()));
    C_EXPECT_MISUSE(quire_ring_writer_commit(writer, 0, c_error()));
    C_EXPECT_OK(quire_ring_writer_push(writer, NULL, 0, 0, c_error()));
    expect_record(reader, "in place");
    expect_record(reader, "");
    C_EXPECT_MISUSE(quire_ring_reader_release(reader, c_error()));
    quire_ring_writer_free(writer);
    quire_ring_reader_free(reader);
  }
  quire_segment_free(segment);
}

static void what_was_not_released_is_seen_by_the_next_reader(void) {
  const char* const rings[] = {"one", "many"};
  quire_segment* segment = open_segment();
  for (size_t i = 0; i < 2; ++i) {
    quire_ring_writer* writer = open_writer(segment, rings[i]);
    quire_ring_reader* reader = open_reader(segment, rings[i]);
    const void* record = NULL;
    size_t length = 0;
    C_EXPECT_OK(quire_ring_writer_push(writer, "again", 5, 0, c_error()));
    C_EXPECT_OK(quire_ring_reader_peek(reader, 0, &record, &length, c_error()));
    quire_ring_reader_free(reader);
    reader = open_reader(segment, rings[i]);
    expect_record(reader, "again");
    quire_ring_reader_free(reader);
    quire_ring_writer_free(writer);
  }
  quire_segment_free(segment);
}

static void places_and_room_have_limits(void) {
  quire_segment* segment = open_segment();
  quire_ring_writer* writer = open_writer(segment, "one");
  quire_ring_writer* second = NULL;
  quire_ring_reader* reader = open_reader(segment, "many");
  quire_ring_reader* second_reader = NULL;
  void* room = NULL;
  char record[4096] = "";
  const uint64_t longest = quire_ring_writer_record_max(writer);
  C_EXPECT(longest > 0 && longest <= sizeof record);
  C_EXPECT_CODE(-EBUSY, quire_ring_writer_open(segment, "one", &second, c_error()));
  C_EXPECT_CODE(-EBUSY, quire_ring_reader_open(segment, "many", &second_reader, c_error()));
  C_EXPECT_CODE(-ENOENT, quire_ring_writer_open(segment, "none", &second, c_error()));
  C_EXPECT_CODE(-ENOENT, quire_ring_reader_open(segment, "none", &second_reader, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_WRONG_KIND,
                quire_ring_writer_open(segment, "lock", &second, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_WRONG_KIND,
                quire_ring_reader_open(segment, "lock", &second_reader, c_error()));
  C_EXPECT(second == NULL && second_reader == NULL);
  C_EXPECT_CODE(QUIRE_ERROR_LIMIT,
                quire_ring_writer_push(writer, record, longest + 1, 0, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_LIMIT,
                quire_ring_writer_reserve(writer, SIZE_MAX, 0, &room, c_error()));
  C_EXPECT_OK(quire_ring_writer_push(writer, record, longest, 0, c_error()));
  C_EXPECT_CODE(-ETIMEDOUT, quire_ring_writer_push(writer, record, 1, 1, c_error()));
  C_EXPECT_CODE(-ETIMEDOUT, quire_ring_writer_reserve(writer, 1, 0, &room, c_error()));
  C_EXPECT(room == NULL);
  C_EXPECT_MISUSE(quire_ring_writer_commit(writer, 0, c_error()));
  quire_ring_writer_free(writer);
  quire_ring_reader_free(reader);
  quire_segment_free(segment);
}

static int reserve_and_die(quire_segment* segment) {
  quire_ring_writer* writer = open_writer(segment, "many");
  void* room = NULL;
  if (quire_ring_writer_reserve(writer, 100, 0, &room, c_error()) == QUIRE_OK) {
    raise(SIGKILL);
  }
  return 1;
}

static void the_claim_of_a_dead_writer_is_passed_over(void) {
  quire_segment* segment = open_segment();
  quire_ring_writer* writer = open_writer(segment, "many");
  quire_ring_reader* reader = open_reader(segment, "many");
  C_EXPECT_OK(quire_ring_writer_push(writer, "before", 6, 0, c_error()));
  expect_exit_of(start_child(reserve_and_die), SIGKILL);
  C_EXPECT_OK(quire_ring_writer_push(writer, "after", 5, 0, c_error()));
  expect_record(reader, "before");
  expect_record(reader, "after");
  quire_ring_writer_free(writer);
  quire_ring_reader_free(reader);
  quire_segment_free(segment);
}

static void null_is_refused_everywhere(void) {
  quire_segment* segment = open_segment();
  quire_ring_writer* writer = NULL;
  quire_ring_reader* reader = NULL;
  void* bytes = NULL;
  const void* record = NULL;
  size_t length = 0;
  C_EXPECT_MISUSE(quire_ring_writer_open(NULL, "one", &writer, c_error()));
  C_EXPECT_MISUSE(quire_ring_writer_open(segment, NULL, &writer, c_error()));
  C_EXPECT_MISUSE(quire_ring_writer_open(segment, "one", NULL, c_error()));
  C_EXPECT_MISUSE(quire_ring_writer_push(NULL, "x", 1, 0, c_error()));
  C_EXPECT_MISUSE(quire_ring_writer_reserve(NULL, 1, 0, &bytes, c_error()));
  C_EXPECT_MISUSE(quire_ring_writer_commit(NULL, 0, c_error()));
  C_EXPECT_MISUSE(quire_ring_reader_open(NULL, "one", &reader, c_error()));
  C_EXPECT_MISUSE(quire_ring_reader_open(segment, NULL, &reader, c_error()));
  C_EXPECT_MISUSE(quire_ring_reader_open(segment, "one", NULL, c_error()));
  C_EXPECT_MISUSE(quire_ring_reader_peek(NULL, 0, &record, &length, c_error()));
  C_EXPECT_MISUSE(quire_ring_reader_release(NULL, c_error()));
  writer = open_writer(segment, "one");
  reader = open_reader(segment, "one");
  C_EXPECT_MISUSE(quire_ring_writer_push(writer, NULL, 1, 0, c_error()));
  C_EXPECT_MISUSE(quire_ring_writer_reserve(writer, 1, 0, NULL, c_error()));
  C_EXPECT_MISUSE(quire_ring_reader_peek(reader, 0, NULL, &length, c_error()));
  C_EXPECT_MISUSE(quire_ring_reader_peek(reader, 0, &record, NULL, c_error()));
  quire_ring_reader_free(reader);
  quire_ring_writer_free(writer);
  C_EXPECT_EQ(0, quire_ring_writer_record_max(NULL));
  quire_ring_writer_free(NULL);
  quire_ring_reader_free(NULL);
  quire_segment_free(segment);
}

static const struct c_test kTests[] = {
    C_TEST(records_come_from_another_process_in_order),       C_TEST(records_are_made_in_place),
    C_TEST(what_was_not_released_is_seen_by_the_next_reader), C_TEST(places_and_room_have_limits),
    C_TEST(the_claim_of_a_dead_writer_is_passed_over),        C_TEST(null_is_refused_everywhere),
};

int main(void) {
  return c_test_main(kTests, sizeof kTests / sizeof kTests[0]);
}
