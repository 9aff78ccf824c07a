// SPDX-License-Identifier: Apache-2.0
//
// Segments and mutexes of quire/c/ipc.h, in C: what they do, and what they refuse. The other
// process is a child.
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "quire/c/ipc.h"
#include "quire/testing/c_segment.h"
#include "quire/testing/c_test.h"

// --- Segments ------------------------------------------------------------------------------------

static void who_comes_first_makes_it(void) {
  quire_segment* first = open_segment();
  quire_segment* second = open_segment();
  C_EXPECT_EQ(1, quire_segment_was_made_here(first));
  C_EXPECT_EQ(0, quire_segment_was_made_here(second));
  C_EXPECT(quire_segment_size(first) > 4096 && quire_segment_descriptor(first) >= 0);
  void* bytes = NULL;
  void* same = NULL;
  uint64_t size_bytes = 0;
  C_EXPECT_OK(quire_segment_get_bytes(first, "data", &bytes, &size_bytes, c_error()));
  C_EXPECT_EQ(1000, size_bytes);
  C_EXPECT_OK(quire_segment_get_bytes(second, "data", &same, &size_bytes, c_error()));
  C_EXPECT_EQ(0, *(char*)bytes);
  memcpy(bytes, "shared", 7);
  C_EXPECT(strcmp(same, "shared") == 0);
  C_EXPECT_CODE(-ENOENT, quire_segment_get_bytes(first, "other", &bytes, &size_bytes, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_WRONG_KIND,
                quire_segment_get_bytes(first, "lock", &bytes, &size_bytes, c_error()));
  quire_segment_free(first);
  quire_segment_free(second);
}

static void modes_say_who_may_be_first(void) {
  char here[4096];
  quire_segment_options options = {.struct_size = sizeof options,
                                   .mode = QUIRE_SEGMENT_JOIN,
                                   .participants_max = 3,
                                   .timeout_ms = 60000,
                                   .directory = getcwd(here, sizeof here)};
  quire_segment* segment = NULL;
  quire_segment* second = NULL;
  C_EXPECT_CODE(-ENOENT,
                quire_segment_open("test", kObjects, kObjectCount, &options, &segment, c_error()));
  options.mode = QUIRE_SEGMENT_CREATE;
  C_EXPECT_OK(quire_segment_open("test", kObjects, kObjectCount, &options, &segment, c_error()));
  C_EXPECT_CODE(-EEXIST,
                quire_segment_open("test", kObjects, kObjectCount, &options, &second, c_error()));
  C_EXPECT(second == NULL);
  quire_segment_free(segment);
}

static void other_objects_are_refused_with_both_descriptions(void) {
  quire_segment* segment = open_segment();
  quire_segment* other = NULL;
  char here[4096];
  const quire_segment_options options = {.struct_size = sizeof options,
                                         .directory = getcwd(here, sizeof here)};
  quire_object objects[kObjectCount];
  memcpy(objects, kObjects, sizeof objects);
  objects[3].capacity_bytes = 2000;
  C_EXPECT_CODE(QUIRE_ERROR_CHANGED,
                quire_segment_open("test", objects, kObjectCount, &options, &other, c_error()));
  C_EXPECT(other == NULL);
  quire_segment_free(segment);
}

static void without_a_name_it_travels_as_a_descriptor(void) {
  quire_segment* segment = NULL;
  quire_segment* second = NULL;
  void* bytes = NULL;
  uint64_t size_bytes = 0;
  C_EXPECT_OK(quire_segment_make_anonymous(kObjects, kObjectCount, NULL, &segment, c_error()));
  C_EXPECT_OK(quire_segment_get_bytes(segment, "data", &bytes, &size_bytes, c_error()));
  memcpy(bytes, "sent", 5);
  C_EXPECT_OK(quire_segment_adopt(quire_segment_descriptor(segment), kObjects, kObjectCount, NULL,
                                  &second, c_error()));
  quire_segment_free(segment);
  C_EXPECT_OK(quire_segment_get_bytes(second, "data", &bytes, &size_bytes, c_error()));
  C_EXPECT(strcmp(bytes, "sent") == 0);
  quire_segment_free(second);
  C_EXPECT_CODE(-EBADF, quire_segment_adopt(-1, kObjects, kObjectCount, NULL, &second, c_error()));
  C_EXPECT(second == NULL);
}

static void what_is_no_layout_is_refused(void) {
  const quire_object wrong[] = {{.name = "x", .kind = 3},
                                {.name = NULL, .kind = QUIRE_OBJECT_MUTEX},
                                {.name = "x", .kind = QUIRE_OBJECT_MUTEX, .units = 1},
                                {.name = "x", .kind = QUIRE_OBJECT_MUTEX, .record_bytes = 8},
                                {.name = "x", .kind = QUIRE_OBJECT_BROADCAST},
                                {.name = "x", .kind = QUIRE_OBJECT_BLACKBOARD},
                                {.name = "x", .kind = QUIRE_OBJECT_MUTEX, .reserved = 1}};
  quire_segment* segment = NULL;
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; ++i) {
    C_EXPECT_MISUSE(quire_segment_make_anonymous(&wrong[i], 1, NULL, &segment, c_error()));
  }
  const quire_object huge[] = {
      {.name = "x", .kind = QUIRE_OBJECT_SPSC_BYTES, .capacity_bytes = UINT64_MAX},
      {.name = "x", .kind = QUIRE_OBJECT_MPSC_BYTES, .capacity_records = UINT64_MAX},
      {.name = "x", .kind = QUIRE_OBJECT_BYTES, .capacity_bytes = UINT64_MAX},
      {.name = "x", .kind = QUIRE_OBJECT_BLACKBOARD, .record_bytes = UINT64_MAX},
      {.name = "x", .kind = QUIRE_OBJECT_BROADCAST, .record_bytes = UINT64_C(1) << 32},
      {.name = "x",
       .kind = QUIRE_OBJECT_BROADCAST,
       .record_bytes = 8,
       .capacity_records = UINT64_MAX},
      {.name = "x", .kind = QUIRE_OBJECT_SEMAPHORE, .units = 4097}};
  for (size_t i = 0; i < sizeof huge / sizeof huge[0]; ++i) {
    C_EXPECT_CODE(QUIRE_ERROR_LIMIT,
                  quire_segment_make_anonymous(&huge[i], 1, NULL, &segment, c_error()));
  }
  const quire_segment_options options[] = {
      {.struct_size = sizeof options[0], .mode = 3},
      {.struct_size = sizeof options[0], .allow_other_users = 2},
      {.struct_size = 5}};
  for (size_t i = 0; i < sizeof options / sizeof options[0]; ++i) {
    C_EXPECT_MISUSE(quire_segment_open("x", kObjects, 1, &options[i], &segment, c_error()));
  }
  C_EXPECT_MISUSE(quire_segment_open("x", kObjects, 1001, NULL, &segment, c_error()));
  C_EXPECT_MISUSE(quire_segment_make_anonymous(kObjects, 1, &options[2], &segment, c_error()));
  C_EXPECT_MISUSE(quire_segment_adopt(0, kObjects, 1, &options[2], &segment, c_error()));
  C_EXPECT(segment == NULL);
}

// --- Mutexes -------------------------------------------------------------------------------------

static quire_mutex* open_mutex(const quire_segment* segment) {
  quire_mutex* mutex = NULL;
  C_EXPECT_OK(quire_mutex_open(segment, "lock", &mutex, c_error()));
  return mutex;
}

static int count_under_lock(quire_segment* segment) {
  quire_mutex* mutex = open_mutex(segment);
  void* bytes = NULL;
  uint64_t size_bytes = 0;
  int32_t owner_died = 0;
  int wrong = quire_segment_get_bytes(segment, "data", &bytes, &size_bytes, c_error());
  for (int i = 0; i < 1000; ++i) {
    wrong |= quire_mutex_lock(mutex, QUIRE_MS_FOREVER, &owner_died, c_error()) | owner_died;
    ++*(volatile int*)bytes;
    wrong |= quire_mutex_unlock(mutex, c_error());
  }
  return wrong != 0;
}

static void one_is_inside_at_a_time(void) {
  quire_segment* segment = open_segment();
  void* bytes = NULL;
  uint64_t size_bytes = 0;
  C_EXPECT_OK(quire_segment_get_bytes(segment, "data", &bytes, &size_bytes, c_error()));
  const pid_t first = start_child(count_under_lock);
  const pid_t second = start_child(count_under_lock);
  expect_exit_of(first, 0);
  expect_exit_of(second, 0);
  C_EXPECT_EQ(2000, *(int*)bytes);
  quire_segment_free(segment);
}

static int lock_and_die(quire_segment* segment) {
  quire_mutex* mutex = open_mutex(segment);
  int32_t owner_died = 0;
  if (quire_mutex_lock(mutex, 0, &owner_died, c_error()) == QUIRE_OK) {
    raise(SIGKILL);
  }
  return 1;
}

static void the_death_of_an_owner_is_told_to_the_next(void) {
  quire_segment* segment = open_segment();
  quire_mutex* mutex = open_mutex(segment);
  int32_t owner_died = 0;
  expect_exit_of(start_child(lock_and_die), SIGKILL);
  C_EXPECT_OK(quire_mutex_lock(mutex, QUIRE_MS_FOREVER, &owner_died, c_error()));
  C_EXPECT_EQ(1, owner_died);
  C_EXPECT_OK(quire_mutex_mark_consistent(mutex, c_error()));
  C_EXPECT_OK(quire_mutex_unlock(mutex, c_error()));
  C_EXPECT_OK(quire_mutex_lock(mutex, 0, &owner_died, c_error()));
  C_EXPECT_EQ(0, owner_died);
  C_EXPECT_CODE(-EDEADLK, quire_mutex_lock(mutex, 0, &owner_died, c_error()));
  C_EXPECT_OK(quire_mutex_unlock(mutex, c_error()));

  expect_exit_of(start_child(lock_and_die), SIGKILL);
  C_EXPECT_OK(quire_mutex_lock(mutex, QUIRE_MS_FOREVER, &owner_died, c_error()));
  C_EXPECT_OK(quire_mutex_unlock(mutex, c_error()));
  C_EXPECT_CODE(-ENOTRECOVERABLE, quire_mutex_lock(mutex, 0, &owner_died, c_error()));
  C_EXPECT_OK(quire_mutex_reclaim(mutex, c_error()));
  C_EXPECT_OK(quire_mutex_mark_consistent(mutex, c_error()));
  C_EXPECT_OK(quire_mutex_unlock(mutex, c_error()));
  C_EXPECT_CODE(-EPERM, quire_mutex_unlock(mutex, c_error()));
  C_EXPECT_CODE(-EPERM, quire_mutex_mark_consistent(mutex, c_error()));
  C_EXPECT_CODE(-EPERM, quire_mutex_reclaim(mutex, c_error()));
  quire_segment_free(segment);
  quire_mutex_free(mutex);
}

static int wait_in_vain(quire_segment* segment) {
  quire_mutex* mutex = open_mutex(segment);
  int32_t owner_died = 0;
  return quire_mutex_lock(mutex, 1, &owner_died, c_error()) == -ETIMEDOUT ? 0 : 1;
}

static void who_waits_for_a_mutex_may_give_up(void) {
  quire_segment* segment = open_segment();
  quire_mutex* mutex = open_mutex(segment);
  int32_t owner_died = 0;
  C_EXPECT_OK(quire_mutex_lock(mutex, 0, &owner_died, c_error()));
  expect_exit_of(start_child(wait_in_vain), 0);
  C_EXPECT_OK(quire_mutex_unlock(mutex, c_error()));
  quire_mutex_free(mutex);
  quire_segment_free(segment);
}

static void null_is_refused_everywhere(void) {
  quire_segment* segment = open_segment();
  quire_segment* other = NULL;
  quire_mutex* mutex = NULL;
  void* bytes = NULL;
  uint64_t size_bytes = 0;
  int32_t owner_died = 0;
  C_EXPECT_MISUSE(quire_segment_open(NULL, kObjects, 1, NULL, &other, c_error()));
  C_EXPECT_MISUSE(quire_segment_open("x", NULL, 1, NULL, &other, c_error()));
  C_EXPECT_MISUSE(quire_segment_open("x", kObjects, 1, NULL, NULL, c_error()));
  C_EXPECT_MISUSE(quire_segment_make_anonymous(NULL, 1, NULL, &other, c_error()));
  C_EXPECT_MISUSE(quire_segment_make_anonymous(kObjects, 1, NULL, NULL, c_error()));
  C_EXPECT_MISUSE(quire_segment_adopt(0, NULL, 1, NULL, &other, c_error()));
  C_EXPECT_MISUSE(quire_segment_adopt(0, kObjects, 1, NULL, NULL, c_error()));
  C_EXPECT_MISUSE(quire_segment_get_bytes(NULL, "data", &bytes, &size_bytes, c_error()));
  C_EXPECT_MISUSE(quire_segment_get_bytes(segment, NULL, &bytes, &size_bytes, c_error()));
  C_EXPECT_MISUSE(quire_segment_get_bytes(segment, "data", NULL, &size_bytes, c_error()));
  C_EXPECT_MISUSE(quire_segment_get_bytes(segment, "data", &bytes, NULL, c_error()));
  C_EXPECT_MISUSE(quire_mutex_open(NULL, "lock", &mutex, c_error()));
  C_EXPECT_MISUSE(quire_mutex_open(segment, NULL, &mutex, c_error()));
  C_EXPECT_MISUSE(quire_mutex_open(segment, "lock", NULL, c_error()));
  C_EXPECT_CODE(-ENOENT, quire_mutex_open(segment, "none", &mutex, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_WRONG_KIND, quire_mutex_open(segment, "data", &mutex, c_error()));
  C_EXPECT_MISUSE(quire_mutex_lock(NULL, 0, &owner_died, c_error()));
  C_EXPECT_MISUSE(quire_mutex_mark_consistent(NULL, c_error()));
  C_EXPECT_MISUSE(quire_mutex_unlock(NULL, c_error()));
  C_EXPECT_MISUSE(quire_mutex_reclaim(NULL, c_error()));
  mutex = open_mutex(segment);
  C_EXPECT_MISUSE(quire_mutex_lock(mutex, 0, NULL, c_error()));
  quire_mutex_free(mutex);
  quire_segment_free(segment);
  C_EXPECT_EQ(-1, quire_segment_descriptor(NULL));
  C_EXPECT_EQ(0, quire_segment_size(NULL));
  C_EXPECT_EQ(0, quire_segment_was_made_here(NULL));
  quire_segment_free(NULL);
  quire_mutex_free(NULL);
}

static const struct c_test kTests[] = {
    C_TEST(who_comes_first_makes_it),
    C_TEST(modes_say_who_may_be_first),
    C_TEST(other_objects_are_refused_with_both_descriptions),
    C_TEST(without_a_name_it_travels_as_a_descriptor),
    C_TEST(what_is_no_layout_is_refused),
    C_TEST(one_is_inside_at_a_time),
    C_TEST(the_death_of_an_owner_is_told_to_the_next),
    C_TEST(who_waits_for_a_mutex_may_give_up),
    C_TEST(null_is_refused_everywhere),
};

int main(void) {
  return c_test_main(kTests, sizeof kTests / sizeof kTests[0]);
}
