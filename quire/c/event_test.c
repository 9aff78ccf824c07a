// SPDX-License-Identifier: Apache-2.0
//
// Events and semaphores of quire/c/event.h, and doorbells of quire/c/ipc.h, in C: what they do, and
// what they refuse. The other process is a child.
#include "quire/c/event.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#include "quire/c/broadcast.h"
#include "quire/testing/c_segment.h"
#include "quire/testing/c_test.h"

static quire_event* open_event(const quire_segment* segment) {
  quire_event* event = NULL;
  C_EXPECT_OK(quire_event_open(segment, "start", &event, c_error()));
  return event;
}

static quire_semaphore* open_places(const quire_segment* segment) {
  quire_semaphore* semaphore = NULL;
  C_EXPECT_OK(quire_semaphore_open(segment, "places", &semaphore, c_error()));
  return semaphore;
}

static quire_doorbell* open_bell(const quire_segment* segment) {
  quire_doorbell* bell = NULL;
  C_EXPECT_OK(quire_doorbell_open(segment, &bell, c_error()));
  return bell;
}

// --- Events --------------------------------------------------------------------------------------

static int wait_for_start(quire_segment* segment) {
  quire_event* event = open_event(segment);
  return quire_event_wait(event, QUIRE_MS_FOREVER, c_error()) == QUIRE_OK ? 0 : 1;
}

static void an_event_lets_all_go_until_it_is_reset(void) {
  quire_segment* segment = open_segment();
  quire_event* event = open_event(segment);
  C_EXPECT_EQ(0, quire_event_is_set(event));
  C_EXPECT_CODE(-ETIMEDOUT, quire_event_wait(event, 0, c_error()));
  C_EXPECT_MESSAGE("start");
  const pid_t first = start_child(wait_for_start);
  const pid_t second = start_child(wait_for_start);
  C_EXPECT_OK(quire_event_set(event, c_error()));
  expect_exit_of(first, 0);
  expect_exit_of(second, 0);
  C_EXPECT_EQ(1, quire_event_is_set(event));
  C_EXPECT_OK(quire_event_wait(event, 0, c_error()));
  C_EXPECT_OK(quire_event_reset(event, c_error()));
  C_EXPECT_EQ(0, quire_event_is_set(event));
  C_EXPECT_CODE(-ETIMEDOUT, quire_event_wait(event, 1, c_error()));
  quire_segment_free(segment);  // The event keeps what it needs.
  C_EXPECT_OK(quire_event_set(event, c_error()));
  quire_event_free(event);
}

// --- Semaphores ----------------------------------------------------------------------------------

static void each_unit_has_one_holder(void) {
  quire_segment* segment = open_segment();
  quire_semaphore* semaphore = open_places(segment);
  uint32_t first = 9;
  uint32_t second = 9;
  uint32_t third = 9;
  int32_t owner_died = 9;
  C_EXPECT_EQ(2, quire_semaphore_available(semaphore));
  C_EXPECT_OK(quire_semaphore_acquire(semaphore, 0, &first, &owner_died, c_error()));
  C_EXPECT_EQ(0, owner_died);
  C_EXPECT_OK(quire_semaphore_acquire(semaphore, 0, &second, NULL, c_error()));
  C_EXPECT_EQ(1, first + second);
  C_EXPECT_CODE(-ETIMEDOUT, quire_semaphore_acquire(semaphore, 1, &third, NULL, c_error()));
  C_EXPECT_EQ(0, quire_semaphore_available(semaphore));
  C_EXPECT_OK(quire_semaphore_release(semaphore, first, c_error()));
  C_EXPECT_CODE(-EPERM, quire_semaphore_release(semaphore, first, c_error()));
  C_EXPECT_CODE(-EPERM, quire_semaphore_release(semaphore, 2, c_error()));
  C_EXPECT_OK(quire_semaphore_acquire(semaphore, 0, &third, NULL, c_error()));
  C_EXPECT_EQ(first, third);
  quire_semaphore* other = open_places(segment);
  C_EXPECT_CODE(-EPERM, quire_semaphore_release(other, first, c_error()));
  quire_semaphore_free(semaphore);
  C_EXPECT_EQ(2, quire_semaphore_available(other));
  quire_semaphore_free(other);
  quire_segment_free(segment);
}

static int acquire_and_die(quire_segment* segment) {
  quire_semaphore* semaphore = open_places(segment);
  uint32_t unit = 0;
  if (quire_semaphore_acquire(semaphore, 0, &unit, NULL, c_error()) == QUIRE_OK) {
    raise(SIGKILL);
  }
  return 1;
}

static void the_units_of_the_dead_come_back_and_tell(void) {
  quire_segment* segment = open_segment();
  quire_semaphore* semaphore = open_places(segment);
  expect_exit_of(start_child(acquire_and_die), SIGKILL);
  int32_t deaths = 0;
  for (int i = 0; i < 2; ++i) {
    uint32_t unit = 0;
    int32_t owner_died = 0;
    C_EXPECT_OK(
        quire_semaphore_acquire(semaphore, QUIRE_MS_FOREVER, &unit, &owner_died, c_error()));
    deaths += owner_died;
  }
  C_EXPECT_EQ(1, deaths);
  quire_semaphore_free(semaphore);
  quire_segment_free(segment);
}

// --- Doorbells -----------------------------------------------------------------------------------

static int is_rung(const quire_doorbell* bell, int timeout_ms) {
  struct pollfd one = {.fd = quire_doorbell_descriptor(bell), .events = POLLIN};
  return poll(&one, 1, timeout_ms) == 1;
}

enum { kForever = -1 };  // Of poll().

static int make_noise(quire_segment* segment) {
  quire_ring_writer* ring = NULL;
  quire_broadcast_writer* news = NULL;
  quire_blackboard_writer* board = NULL;
  quire_event* acknowledged = open_event(segment);
  const struct c_note note = {.number = 1, .text = "", .twice = 2};
  int wrong = quire_ring_writer_open(segment, "many", &ring, c_error()) |
              quire_broadcast_writer_open(segment, "news", &news, c_error()) |
              quire_blackboard_writer_open(segment, "board", &board, c_error());
  wrong |= quire_ring_writer_push(ring, "x", 1, 0, c_error());
  wrong |= quire_event_wait(acknowledged, QUIRE_MS_FOREVER, c_error());
  wrong |= quire_event_reset(acknowledged, c_error());
  wrong |= quire_broadcast_writer_publish(news, &note, sizeof note, c_error());
  wrong |= quire_event_wait(acknowledged, QUIRE_MS_FOREVER, c_error());
  wrong |= quire_event_reset(acknowledged, c_error());
  wrong |= quire_blackboard_writer_write(board, &note, sizeof note, c_error());
  quire_segment_free(segment);
  quire_ring_writer_free(ring);
  quire_broadcast_writer_free(news);
  quire_blackboard_writer_free(board);
  return wrong != 0;
}

// What a loop does of which the test knows what comes next.
#define EXPECT_RINGS_FOR(arm)            \
  do {                                   \
    int32_t is_armed = -1;               \
    C_EXPECT_OK(arm);                    \
    if (is_armed == 1) {                 \
      C_EXPECT(is_rung(bell, kForever)); \
    }                                    \
    quire_doorbell_drain(bell);          \
  } while (0)

static void one_descriptor_waits_for_all_that_is_in_a_segment(void) {
  quire_segment* segment = open_segment();
  quire_doorbell* bell = open_bell(segment);
  quire_event* acknowledged = open_event(segment);
  quire_ring_reader* ring = NULL;
  quire_broadcast_reader* news = NULL;
  quire_blackboard_reader* board = NULL;
  C_EXPECT_OK(quire_ring_reader_open(segment, "many", &ring, c_error()));
  C_EXPECT_OK(quire_broadcast_reader_open(segment, "news", QUIRE_FROM_OLDEST, &news, c_error()));
  C_EXPECT_OK(quire_blackboard_reader_open(segment, "board", &board, c_error()));
  const pid_t child = start_child(make_noise);
  const void* record = NULL;
  size_t length = 0;
  struct c_note note;
  uint64_t version = 0;
  // A bell may come for nothing: what counts is that it comes.
  while (quire_ring_reader_peek(ring, 0, &record, &length, c_error()) == -ETIMEDOUT) {
    EXPECT_RINGS_FOR(quire_ring_reader_arm(ring, bell, &is_armed, c_error()));
  }
  C_EXPECT_OK(quire_event_set(acknowledged, c_error()));
  while (quire_broadcast_reader_read(news, &note, sizeof note, 0, NULL, c_error()) == -ETIMEDOUT) {
    EXPECT_RINGS_FOR(quire_broadcast_reader_arm(news, bell, &is_armed, c_error()));
  }
  // It has waited for the first one by now, and so has reset it.
  C_EXPECT_OK(quire_event_set(acknowledged, c_error()));
  while (quire_blackboard_reader_wait(board, 0, c_error()) == -ETIMEDOUT) {
    EXPECT_RINGS_FOR(quire_blackboard_reader_arm(board, bell, &is_armed, c_error()));
  }
  C_EXPECT_OK(quire_blackboard_reader_read(board, &note, sizeof note, &version, c_error()));
  C_EXPECT_EQ(1, version);
  expect_exit_of(child, 0);
  quire_ring_reader_free(ring);
  quire_broadcast_reader_free(news);
  quire_blackboard_reader_free(board);
  quire_event_free(acknowledged);
  quire_doorbell_free(bell);
  quire_segment_free(segment);
}

static void arming_says_when_there_is_something_already(void) {
  quire_segment* segment = open_segment();
  quire_doorbell* bell = open_bell(segment);
  quire_event* event = open_event(segment);
  quire_semaphore* semaphore = open_places(segment);
  uint32_t units[2];
  int32_t is_armed = -1;
  C_EXPECT_OK(quire_event_arm(event, bell, &is_armed, c_error()));
  C_EXPECT_EQ(1, is_armed);
  C_EXPECT(!is_rung(bell, 0));
  C_EXPECT_OK(quire_event_set(event, c_error()));
  C_EXPECT(is_rung(bell, kForever));
  quire_doorbell_drain(bell);
  C_EXPECT(!is_rung(bell, 0));
  C_EXPECT_OK(quire_event_arm(event, bell, &is_armed, c_error()));
  C_EXPECT_EQ(0, is_armed);
  C_EXPECT_OK(quire_semaphore_arm(semaphore, bell, &is_armed, c_error()));
  C_EXPECT_EQ(0, is_armed);
  C_EXPECT_OK(quire_semaphore_acquire(semaphore, 0, &units[0], NULL, c_error()));
  C_EXPECT_OK(quire_semaphore_acquire(semaphore, 0, &units[1], NULL, c_error()));
  C_EXPECT_OK(quire_semaphore_arm(semaphore, bell, &is_armed, c_error()));
  C_EXPECT_EQ(1, is_armed);
  C_EXPECT_OK(quire_semaphore_release(semaphore, units[0], c_error()));
  C_EXPECT(is_rung(bell, kForever));
  quire_semaphore_free(semaphore);
  quire_event_free(event);
  quire_doorbell_free(bell);
  quire_segment_free(segment);
}

static void a_bell_is_for_one_handle_of_a_segment(void) {
  quire_segment* segment = open_segment();
  quire_segment* again = open_segment();
  quire_doorbell* bell = open_bell(segment);
  quire_doorbell* second = NULL;
  quire_event* event = open_event(again);
  int32_t is_armed = -1;
  C_EXPECT_CODE(-EADDRINUSE, quire_doorbell_open(segment, &second, c_error()));
  C_EXPECT(second == NULL);
  C_EXPECT_MISUSE(quire_event_arm(event, bell, &is_armed, c_error()));
  second = open_bell(again);
  C_EXPECT_OK(quire_event_arm(event, second, &is_armed, c_error()));
  quire_doorbell_free(bell);
  bell = open_bell(segment);
  quire_doorbell_free(bell);
  quire_doorbell_free(second);
  quire_event_free(event);
  quire_segment_free(segment);
  quire_segment_free(again);
}

// --- Refusals ------------------------------------------------------------------------------------

static void null_and_other_kinds_are_refused_everywhere(void) {
  quire_segment* segment = open_segment();
  quire_event* event = NULL;
  quire_semaphore* semaphore = NULL;
  quire_doorbell* bell = NULL;
  quire_ring_reader* ring = NULL;
  uint32_t unit = 0;
  int32_t is_armed = 0;
  C_EXPECT_MISUSE(quire_event_open(NULL, "start", &event, c_error()));
  C_EXPECT_MISUSE(quire_event_open(segment, NULL, &event, c_error()));
  C_EXPECT_MISUSE(quire_event_open(segment, "start", NULL, c_error()));
  C_EXPECT_CODE(-ENOENT, quire_event_open(segment, "none", &event, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_WRONG_KIND, quire_event_open(segment, "places", &event, c_error()));
  C_EXPECT_MISUSE(quire_event_set(NULL, c_error()));
  C_EXPECT_MISUSE(quire_event_reset(NULL, c_error()));
  C_EXPECT_MISUSE(quire_event_wait(NULL, 0, c_error()));
  C_EXPECT_EQ(0, quire_event_is_set(NULL));
  C_EXPECT_MISUSE(quire_semaphore_open(NULL, "places", &semaphore, c_error()));
  C_EXPECT_MISUSE(quire_semaphore_open(segment, NULL, &semaphore, c_error()));
  C_EXPECT_MISUSE(quire_semaphore_open(segment, "places", NULL, c_error()));
  C_EXPECT_CODE(-ENOENT, quire_semaphore_open(segment, "none", &semaphore, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_WRONG_KIND,
                quire_semaphore_open(segment, "start", &semaphore, c_error()));
  C_EXPECT_MISUSE(quire_semaphore_acquire(NULL, 0, &unit, NULL, c_error()));
  C_EXPECT_MISUSE(quire_semaphore_release(NULL, 0, c_error()));
  C_EXPECT_EQ(0, quire_semaphore_available(NULL));
  C_EXPECT_MISUSE(quire_doorbell_open(NULL, &bell, c_error()));
  C_EXPECT_MISUSE(quire_doorbell_open(segment, NULL, c_error()));
  C_EXPECT_EQ((uint64_t)-1, quire_doorbell_descriptor(NULL));
  quire_doorbell_drain(NULL);
  event = open_event(segment);
  semaphore = open_places(segment);
  bell = open_bell(segment);
  C_EXPECT_OK(quire_ring_reader_open(segment, "one", &ring, c_error()));
  C_EXPECT_MISUSE(quire_semaphore_acquire(semaphore, 0, NULL, NULL, c_error()));
  C_EXPECT_MISUSE(quire_event_arm(NULL, bell, &is_armed, c_error()));
  C_EXPECT_MISUSE(quire_event_arm(event, NULL, &is_armed, c_error()));
  C_EXPECT_MISUSE(quire_event_arm(event, bell, NULL, c_error()));
  C_EXPECT_MISUSE(quire_semaphore_arm(NULL, bell, &is_armed, c_error()));
  C_EXPECT_MISUSE(quire_semaphore_arm(semaphore, NULL, &is_armed, c_error()));
  C_EXPECT_MISUSE(quire_ring_reader_arm(NULL, bell, &is_armed, c_error()));
  C_EXPECT_MISUSE(quire_ring_reader_arm(ring, NULL, &is_armed, c_error()));
  C_EXPECT_MISUSE(quire_broadcast_reader_arm(NULL, bell, &is_armed, c_error()));
  C_EXPECT_MISUSE(quire_blackboard_reader_arm(NULL, bell, &is_armed, c_error()));
  quire_ring_reader_free(ring);
  quire_event_free(event);
  quire_semaphore_free(semaphore);
  quire_doorbell_free(bell);
  quire_event_free(NULL);
  quire_semaphore_free(NULL);
  quire_doorbell_free(NULL);
  quire_segment_free(segment);
}

static const struct c_test kTests[] = {
    C_TEST(an_event_lets_all_go_until_it_is_reset),
    C_TEST(each_unit_has_one_holder),
    C_TEST(the_units_of_the_dead_come_back_and_tell),
    C_TEST(one_descriptor_waits_for_all_that_is_in_a_segment),
    C_TEST(arming_says_when_there_is_something_already),
    C_TEST(a_bell_is_for_one_handle_of_a_segment),
    C_TEST(null_and_other_kinds_are_refused_everywhere),
};

int main(void) {
  return c_test_main(kTests, sizeof kTests / sizeof kTests[0]);
}
