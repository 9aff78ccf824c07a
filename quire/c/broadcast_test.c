// SPDX-License-Identifier: Apache-2.0
//
// Broadcasts and blackboards of quire/c/broadcast.h, in C: what they do, and what they refuse. The
// other process is a child.
#include "quire/c/broadcast.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "quire/testing/c_segment.h"
#include "quire/testing/c_test.h"

static struct c_note note_of(uint64_t number) {
  struct c_note note = {.number = number, .twice = 2 * number};
  memset(note.text, (int)(number % 251), sizeof note.text);
  return note;
}

static int is_whole(const struct c_note* note) {
  const struct c_note expected = note_of(note->number);
  return memcmp(note, &expected, sizeof expected) == 0;
}

static quire_broadcast_writer* open_news_writer(const quire_segment* segment) {
  quire_broadcast_writer* writer = NULL;
  C_EXPECT_OK(quire_broadcast_writer_open(segment, "news", &writer, c_error()));
  return writer;
}

static quire_broadcast_reader* open_news_reader(const quire_segment* segment, uint32_t from) {
  quire_broadcast_reader* reader = NULL;
  C_EXPECT_OK(quire_broadcast_reader_open(segment, "news", from, &reader, c_error()));
  return reader;
}

static void publish(quire_broadcast_writer* writer, uint64_t number) {
  const struct c_note note = note_of(number);
  C_EXPECT_OK(quire_broadcast_writer_publish(writer, &note, sizeof note, c_error()));
}

// --- Broadcasts ----------------------------------------------------------------------------------

static void each_reader_has_what_it_is_fast_enough_for_and_the_number_of_the_rest(void) {
  quire_segment* segment = open_segment();
  quire_broadcast_writer* writer = open_news_writer(segment);
  quire_broadcast_reader* fast = open_news_reader(segment, QUIRE_FROM_NEWEST);
  quire_broadcast_reader* slow = open_news_reader(segment, QUIRE_FROM_NEWEST);
  quire_broadcast_news news = {.struct_size = sizeof news};
  struct c_note note;
  C_EXPECT_CODE(-ETIMEDOUT,
                quire_broadcast_reader_read(fast, &note, sizeof note, 0, &news, c_error()));
  for (uint64_t number = 0; number < 10; ++number) {
    publish(writer, number);
    C_EXPECT_OK(quire_broadcast_reader_read(fast, &note, sizeof note, 0, &news, c_error()));
    C_EXPECT(is_whole(&note) && note.number == number);
    C_EXPECT_EQ(number, news.number);
    C_EXPECT_EQ(0, news.missed);
  }
  // One of the four places may be the one that is written next.
  uint64_t missed = 0;
  uint64_t seen = 0;
  while (quire_broadcast_reader_read(slow, &note, sizeof note, 0, &news, c_error()) == QUIRE_OK) {
    missed += news.missed;
    ++seen;
    C_EXPECT(is_whole(&note) && note.number == news.number);
  }
  C_EXPECT_EQ(3, seen);
  C_EXPECT_EQ(10, missed + seen);
  quire_broadcast_reader* late = open_news_reader(segment, QUIRE_FROM_OLDEST);
  C_EXPECT_OK(quire_broadcast_reader_read(late, &note, sizeof note, 0, NULL, c_error()));
  C_EXPECT_EQ(7, note.number);
  quire_segment_free(segment);  // The others keep what they need.
  quire_broadcast_reader_free(fast);
  quire_broadcast_reader_free(slow);
  quire_broadcast_reader_free(late);
  quire_broadcast_writer_free(writer);
}

static void records_are_made_and_seen_in_place(void) {
  quire_segment* segment = open_segment();
  quire_broadcast_writer* writer = open_news_writer(segment);
  quire_broadcast_reader* reader = open_news_reader(segment, QUIRE_FROM_NEWEST);
  quire_broadcast_news news = {.struct_size = sizeof news};
  const struct c_note first = note_of(1);
  const void* record = NULL;
  void* room = NULL;
  int32_t was_whole = -1;
  C_EXPECT_MISUSE(quire_broadcast_writer_commit(writer, c_error()));
  C_EXPECT_OK(quire_broadcast_writer_begin(writer, &room, c_error()));
  memcpy(room, &first, sizeof first);
  C_EXPECT_CODE(-ETIMEDOUT, quire_broadcast_reader_peek(reader, 0, &record, c_error()));
  C_EXPECT_MISUSE(quire_broadcast_reader_finish(reader, &was_whole, &news, c_error()));
  C_EXPECT_OK(quire_broadcast_writer_commit(writer, c_error()));
  C_EXPECT_MISUSE(quire_broadcast_writer_commit(writer, c_error()));
  C_EXPECT_OK(quire_broadcast_reader_peek(reader, QUIRE_MS_FOREVER, &record, c_error()));
  C_EXPECT(is_whole(record));
  C_EXPECT_OK(quire_broadcast_reader_finish(reader, &was_whole, &news, c_error()));
  C_EXPECT_EQ(1, was_whole);
  C_EXPECT_EQ(0, news.number);
  publish(writer, 2);
  C_EXPECT_OK(quire_broadcast_reader_peek(reader, 0, &record, c_error()));
  for (uint64_t number = 3; number < 9; ++number) {
    publish(writer, number);
  }
  C_EXPECT_OK(quire_broadcast_reader_finish(reader, &was_whole, &news, c_error()));
  C_EXPECT_EQ(0, was_whole);
  C_EXPECT_OK(quire_broadcast_reader_peek(reader, 0, &record, c_error()));
  C_EXPECT(is_whole(record));
  C_EXPECT_OK(quire_broadcast_reader_finish(reader, &was_whole, &news, c_error()));
  C_EXPECT_EQ(1, was_whole);
  C_EXPECT_EQ(5, news.number);
  C_EXPECT_EQ(4, news.missed);
  quire_broadcast_reader_free(reader);
  quire_broadcast_writer_free(writer);
  quire_segment_free(segment);
}

enum { kPublished = 20000 };

static int publish_many(quire_segment* segment) {
  quire_broadcast_writer* writer = open_news_writer(segment);
  for (uint64_t number = 0; number < kPublished; ++number) {
    publish(writer, number);
  }
  quire_broadcast_writer_free(writer);
  return 0;
}

static void what_another_process_publishes_is_read_whole_or_counted_as_missed(void) {
  quire_segment* segment = open_segment();
  quire_broadcast_reader* reader = open_news_reader(segment, QUIRE_FROM_OLDEST);
  const pid_t child = start_child(publish_many);
  quire_broadcast_news news = {.struct_size = sizeof news};
  uint64_t together = 0;
  uint64_t wrong = 0;
  while (together < kPublished) {
    struct c_note note;
    const quire_code code =
        quire_broadcast_reader_read(reader, &note, sizeof note, QUIRE_MS_FOREVER, &news, c_error());
    if (code == QUIRE_OK) {
      wrong += is_whole(&note) && note.number == news.number ? 0 : 1;
      together += 1 + news.missed;
    } else {
      C_EXPECT_EQ((uint64_t)-EAGAIN, code);
    }
  }
  C_EXPECT_EQ(0, wrong);
  C_EXPECT_EQ(kPublished, together);
  expect_exit_of(child, 0);
  quire_broadcast_reader_free(reader);
  quire_segment_free(segment);
}

static int begin_and_die(quire_segment* segment) {
  quire_broadcast_writer* writer = open_news_writer(segment);
  void* room = NULL;
  publish(writer, 5);
  if (quire_broadcast_writer_begin(writer, &room, c_error()) == QUIRE_OK) {
    memset(room, 0xee, 10);
    raise(SIGKILL);
  }
  return 1;
}

static void a_writer_that_dies_has_said_nothing_by_halves(void) {
  quire_segment* segment = open_segment();
  quire_broadcast_reader* reader = open_news_reader(segment, QUIRE_FROM_OLDEST);
  quire_broadcast_news news = {.struct_size = sizeof news};
  struct c_note note;
  expect_exit_of(start_child(begin_and_die), SIGKILL);
  quire_broadcast_writer* writer = open_news_writer(segment);
  publish(writer, 6);
  C_EXPECT_OK(quire_broadcast_reader_read(reader, &note, sizeof note, 0, &news, c_error()));
  C_EXPECT(is_whole(&note) && note.number == 5);
  C_EXPECT_OK(quire_broadcast_reader_read(reader, &note, sizeof note, 0, &news, c_error()));
  C_EXPECT(is_whole(&note) && note.number == 6);
  C_EXPECT_EQ(0, news.missed);
  quire_broadcast_writer_free(writer);
  quire_broadcast_reader_free(reader);
  quire_segment_free(segment);
}

// --- Blackboards ---------------------------------------------------------------------------------

static quire_blackboard_reader* open_board_reader(const quire_segment* segment) {
  quire_blackboard_reader* reader = NULL;
  C_EXPECT_OK(quire_blackboard_reader_open(segment, "board", &reader, c_error()));
  return reader;
}

static int write_many(quire_segment* segment) {
  quire_blackboard_writer* writer = NULL;
  int wrong = quire_blackboard_writer_open(segment, "board", &writer, c_error());
  for (uint64_t number = 1; number <= kPublished; ++number) {
    const struct c_note note = note_of(number);
    wrong |= quire_blackboard_writer_write(writer, &note, sizeof note, c_error());
  }
  return wrong != 0;
}

static void the_latest_value_is_there_whole_and_never_an_older_one(void) {
  quire_segment* segment = open_segment();
  quire_blackboard_reader* reader = open_board_reader(segment);
  struct c_note note = {0};
  uint64_t version = 7;
  C_EXPECT_OK(quire_blackboard_reader_read(reader, &note, sizeof note, &version, c_error()));
  C_EXPECT_EQ(0, version);
  C_EXPECT_EQ(0, note.number);
  C_EXPECT_CODE(-ETIMEDOUT, quire_blackboard_reader_wait(reader, 0, c_error()));
  const pid_t child = start_child(write_many);
  uint64_t wrong = 0;
  uint64_t last = 0;
  while (last < kPublished) {
    C_EXPECT_OK(quire_blackboard_reader_wait(reader, QUIRE_MS_FOREVER, c_error()));
    const quire_code code =
        quire_blackboard_reader_read(reader, &note, sizeof note, &version, c_error());
    if (code == QUIRE_OK) {
      wrong += is_whole(&note) && note.number == version && version > last ? 0 : 1;
      last = version;
    } else {
      C_EXPECT_EQ((uint64_t)-EAGAIN, code);
    }
  }
  C_EXPECT_EQ(0, wrong);
  expect_exit_of(child, 0);
  quire_blackboard_reader_free(reader);
  reader = open_board_reader(segment);
  C_EXPECT_OK(quire_blackboard_reader_read(reader, &note, sizeof note, &version, c_error()));
  C_EXPECT_EQ(kPublished, version);
  quire_blackboard_reader_free(reader);
  quire_segment_free(segment);
}

// --- Damage --------------------------------------------------------------------------------------

// The sequence in front of a record becomes one that no writer makes.
static void damage_slot_of(const quire_segment* segment, uint64_t number) {
  const struct c_note note = note_of(number);
  const uint64_t nonsense = UINT64_C(0x1234567812345679);
  const size_t size_bytes = quire_segment_size(segment);
  char* const bytes = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
                           quire_segment_descriptor(segment), 0);
  C_EXPECT(bytes != MAP_FAILED);
  size_t damaged = 0;
  for (size_t at = sizeof nonsense; at + sizeof note <= size_bytes; at += sizeof nonsense) {
    if (memcmp(bytes + at, &note, sizeof note) == 0) {
      memcpy(bytes + at - sizeof nonsense, &nonsense, sizeof nonsense);
      ++damaged;
    }
  }
  C_EXPECT_EQ(1, damaged);
  munmap(bytes, size_bytes);
}

// Of the last four records, the first stands where the next one will: who waits for that is told.
static void whoever_waits_for_a_damaged_place_is_told(void) {
  quire_segment* segment = open_segment();
  quire_broadcast_writer* writer = open_news_writer(segment);
  quire_blackboard_writer* board = NULL;
  quire_blackboard_reader* view = open_board_reader(segment);
  struct c_note note;
  const void* record = NULL;
  uint64_t version = 0;
  C_EXPECT_OK(quire_blackboard_writer_open(segment, "board", &board, c_error()));
  for (uint64_t number = 1; number <= 6; ++number) {
    publish(writer, number);
    note = note_of(100 + number);
    C_EXPECT_OK(quire_blackboard_writer_write(board, &note, sizeof note, c_error()));
  }
  quire_broadcast_reader* reader = open_news_reader(segment, QUIRE_FROM_NEWEST);
  damage_slot_of(segment, 3);
  C_EXPECT_CODE(QUIRE_ERROR_CORRUPT,
                quire_broadcast_reader_peek(reader, QUIRE_MS_FOREVER, &record, c_error()));
  C_EXPECT_CODE(
      QUIRE_ERROR_CORRUPT,
      quire_broadcast_reader_read(reader, &note, sizeof note, QUIRE_MS_FOREVER, NULL, c_error()));
  damage_slot_of(segment, 103);
  C_EXPECT_OK(quire_blackboard_reader_read(view, &note, sizeof note, &version, c_error()));
  C_EXPECT(is_whole(&note) && note.number == 106 && version == 6);
  C_EXPECT_CODE(QUIRE_ERROR_CORRUPT,
                quire_blackboard_reader_wait(view, QUIRE_MS_FOREVER, c_error()));
  quire_broadcast_reader_free(reader);
  quire_broadcast_writer_free(writer);
  quire_blackboard_reader_free(view);
  quire_blackboard_writer_free(board);
  quire_segment_free(segment);
}

// --- Refusals ------------------------------------------------------------------------------------

static void places_kinds_and_lengths_are_checked(void) {
  quire_segment* segment = open_segment();
  quire_broadcast_writer* writer = open_news_writer(segment);
  quire_broadcast_writer* second = NULL;
  quire_broadcast_reader* reader = open_news_reader(segment, QUIRE_FROM_NEWEST);
  quire_broadcast_reader* other = NULL;
  quire_blackboard_writer* board = NULL;
  quire_blackboard_writer* second_board = NULL;
  quire_blackboard_reader* view = open_board_reader(segment);
  quire_blackboard_reader* other_view = NULL;
  struct c_note note = note_of(1);
  uint64_t version = 0;
  C_EXPECT_OK(quire_blackboard_writer_open(segment, "board", &board, c_error()));
  C_EXPECT_CODE(-EBUSY, quire_broadcast_writer_open(segment, "news", &second, c_error()));
  C_EXPECT_CODE(-EBUSY, quire_blackboard_writer_open(segment, "board", &second_board, c_error()));
  C_EXPECT_CODE(-ENOENT, quire_broadcast_writer_open(segment, "none", &second, c_error()));
  C_EXPECT_CODE(-ENOENT, quire_broadcast_reader_open(segment, "none", 0, &other, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_WRONG_KIND,
                quire_broadcast_writer_open(segment, "board", &second, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_WRONG_KIND,
                quire_broadcast_reader_open(segment, "lock", 0, &other, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_WRONG_KIND,
                quire_blackboard_writer_open(segment, "news", &second_board, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_WRONG_KIND,
                quire_blackboard_reader_open(segment, "one", &other_view, c_error()));
  C_EXPECT_MISUSE(quire_broadcast_reader_open(segment, "news", 2, &other, c_error()));
  C_EXPECT(second == NULL && other == NULL && second_board == NULL && other_view == NULL);
  const size_t wrong[] = {0, sizeof note - 1, sizeof note + 1};
  for (size_t i = 0; i < 3; ++i) {
    C_EXPECT_MISUSE(quire_broadcast_writer_publish(writer, &note, wrong[i], c_error()));
    C_EXPECT_MISUSE(quire_broadcast_reader_read(reader, &note, wrong[i], 0, NULL, c_error()));
    C_EXPECT_MISUSE(quire_blackboard_writer_write(board, &note, wrong[i], c_error()));
    C_EXPECT_MISUSE(quire_blackboard_reader_read(view, &note, wrong[i], &version, c_error()));
  }
  quire_broadcast_news small = {.struct_size = 3};
  C_EXPECT_MISUSE(quire_broadcast_reader_read(reader, &note, sizeof note, 0, &small, c_error()));
  quire_broadcast_writer_free(writer);
  quire_broadcast_reader_free(reader);
  quire_blackboard_writer_free(board);
  quire_blackboard_reader_free(view);
  quire_segment_free(segment);
}

static void null_is_refused_everywhere(void) {
  quire_segment* segment = open_segment();
  quire_broadcast_writer* writer = NULL;
  quire_broadcast_reader* reader = NULL;
  quire_blackboard_writer* board = NULL;
  quire_blackboard_reader* view = NULL;
  struct c_note note = note_of(1);
  const size_t bytes = sizeof note;
  const void* record = NULL;
  void* room = NULL;
  int32_t flag = 0;
  uint64_t version = 0;
  C_EXPECT_MISUSE(quire_broadcast_writer_open(NULL, "news", &writer, c_error()));
  C_EXPECT_MISUSE(quire_broadcast_writer_open(segment, NULL, &writer, c_error()));
  C_EXPECT_MISUSE(quire_broadcast_writer_open(segment, "news", NULL, c_error()));
  C_EXPECT_MISUSE(quire_broadcast_writer_publish(NULL, &note, bytes, c_error()));
  C_EXPECT_MISUSE(quire_broadcast_writer_begin(NULL, &room, c_error()));
  C_EXPECT_MISUSE(quire_broadcast_writer_commit(NULL, c_error()));
  C_EXPECT_MISUSE(quire_broadcast_reader_open(NULL, "news", 0, &reader, c_error()));
  C_EXPECT_MISUSE(quire_broadcast_reader_open(segment, NULL, 0, &reader, c_error()));
  C_EXPECT_MISUSE(quire_broadcast_reader_open(segment, "news", 0, NULL, c_error()));
  C_EXPECT_MISUSE(quire_broadcast_reader_read(NULL, &note, bytes, 0, NULL, c_error()));
  C_EXPECT_MISUSE(quire_broadcast_reader_peek(NULL, 0, &record, c_error()));
  C_EXPECT_MISUSE(quire_broadcast_reader_finish(NULL, &flag, NULL, c_error()));
  C_EXPECT_MISUSE(quire_blackboard_writer_open(NULL, "board", &board, c_error()));
  C_EXPECT_MISUSE(quire_blackboard_writer_write(NULL, &note, bytes, c_error()));
  C_EXPECT_MISUSE(quire_blackboard_reader_open(NULL, "board", &view, c_error()));
  C_EXPECT_MISUSE(quire_blackboard_reader_read(NULL, &note, bytes, &version, c_error()));
  C_EXPECT_MISUSE(quire_blackboard_reader_wait(NULL, 0, c_error()));
  writer = open_news_writer(segment);
  reader = open_news_reader(segment, QUIRE_FROM_NEWEST);
  view = open_board_reader(segment);
  C_EXPECT_OK(quire_blackboard_writer_open(segment, "board", &board, c_error()));
  C_EXPECT_MISUSE(quire_broadcast_writer_publish(writer, NULL, bytes, c_error()));
  C_EXPECT_MISUSE(quire_broadcast_writer_begin(writer, NULL, c_error()));
  C_EXPECT_MISUSE(quire_broadcast_reader_read(reader, NULL, bytes, 0, NULL, c_error()));
  C_EXPECT_MISUSE(quire_broadcast_reader_peek(reader, 0, NULL, c_error()));
  C_EXPECT_MISUSE(quire_broadcast_reader_finish(reader, NULL, NULL, c_error()));
  C_EXPECT_MISUSE(quire_blackboard_writer_write(board, NULL, bytes, c_error()));
  C_EXPECT_MISUSE(quire_blackboard_reader_read(view, NULL, bytes, &version, c_error()));
  C_EXPECT_MISUSE(quire_blackboard_reader_read(view, &note, bytes, NULL, c_error()));
  quire_broadcast_writer_free(writer);
  quire_broadcast_reader_free(reader);
  quire_blackboard_writer_free(board);
  quire_blackboard_reader_free(view);
  quire_broadcast_writer_free(NULL);
  quire_broadcast_reader_free(NULL);
  quire_blackboard_writer_free(NULL);
  quire_blackboard_reader_free(NULL);
  quire_segment_free(segment);
}

static const struct c_test kTests[] = {
    C_TEST(each_reader_has_what_it_is_fast_enough_for_and_the_number_of_the_rest),
    C_TEST(records_are_made_and_seen_in_place),
    C_TEST(what_another_process_publishes_is_read_whole_or_counted_as_missed),
    C_TEST(a_writer_that_dies_has_said_nothing_by_halves),
    C_TEST(the_latest_value_is_there_whole_and_never_an_older_one),
    C_TEST(whoever_waits_for_a_damaged_place_is_told),
    C_TEST(places_kinds_and_lengths_are_checked),
    C_TEST(null_is_refused_everywhere),
};

int main(void) {
  return c_test_main(kTests, sizeof kTests / sizeof kTests[0]);
}
