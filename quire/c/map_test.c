// SPDX-License-Identifier: Apache-2.0
//
// Every function of quire/c/map.h, in C: what it does, and what it refuses.
#include "quire/c/map.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "quire/testing/c_test.h"

static quire_mapping* map_file(const char* path, const quire_map_options* options) {
  quire_mapping* mapping = NULL;
  C_EXPECT_OK(quire_map_file(path, options, &mapping, c_error()));
  return mapping;
}

static quire_mapping* map_writable(const char* path) {
  const quire_map_options options = {.struct_size = sizeof options,
                                     .access = QUIRE_ACCESS_READ_WRITE,
                                     .create = QUIRE_CREATE_IF_MISSING};
  return map_file(path, &options);
}

static void a_file_is_its_bytes(void) {
  c_make_file("data", 10000);
  quire_mapping* mapping = map_file("data", NULL);
  C_EXPECT_EQ(10000, quire_mapping_size(mapping));
  C_EXPECT_EQ(0, c_wrong_bytes(quire_mapping_bytes(mapping), 0, 10000));
  C_EXPECT(quire_mapping_descriptor(mapping) >= 0);
  C_EXPECT(quire_mapping_writable_bytes(mapping) == NULL);
  quire_mapping_free(mapping);
}

static void a_range_begins_and_ends_anywhere(void) {
  c_make_file("data", 10000);
  const quire_map_options options = {
      .struct_size = sizeof options, .offset_bytes = 4099, .length_bytes = 3};
  quire_mapping* mapping = map_file("data", &options);
  C_EXPECT_EQ(3, quire_mapping_size(mapping));
  C_EXPECT_EQ(0, c_wrong_bytes(quire_mapping_bytes(mapping), 4099, 3));
  quire_mapping_free(mapping);
}

static void a_range_beyond_the_file_is_refused(void) {
  c_make_file("data", 10);
  const quire_map_options options = {
      .struct_size = sizeof options, .offset_bytes = 8, .length_bytes = 3};
  quire_mapping* mapping = NULL;
  C_EXPECT_CODE(QUIRE_ERROR_OUT_OF_RANGE, quire_map_file("data", &options, &mapping, c_error()));
}

static void a_folder_is_refused(void) {
  quire_mapping* mapping = NULL;
  C_EXPECT_CODE(QUIRE_ERROR_WRONG_KIND, quire_map_file(".", NULL, &mapping, c_error()));
}

static void descriptors_stay_the_callers(void) {
  c_make_file("data", 100);
  const int file = open("data", O_RDONLY | O_CLOEXEC);
  quire_mapping* mapping = NULL;
  C_EXPECT_OK(quire_map_descriptor(file, NULL, &mapping, c_error()));
  C_EXPECT(quire_mapping_descriptor(mapping) != file);
  C_EXPECT_EQ(0, close(file));
  C_EXPECT_EQ(0, c_wrong_bytes(quire_mapping_bytes(mapping), 0, 100));
  quire_mapping_free(mapping);
  C_EXPECT_CODE(-EBADF, quire_map_descriptor(-1, NULL, &mapping, c_error()));
  C_EXPECT_MISUSE(quire_map_descriptor(0, NULL, NULL, c_error()));
}

static void missing_files_are_created_as_asked_for(void) {
  quire_map_options options = {.struct_size = sizeof options,
                               .access = QUIRE_ACCESS_READ_WRITE,
                               .create = QUIRE_CREATE_EXCLUSIVE,
                               .create_mode = 0600,
                               .space = QUIRE_SPACE_SPARSE,
                               .minimum_bytes = 5000,
                               .reserve_bytes = 1 << 20};
  quire_mapping* mapping = map_file("new", &options);
  C_EXPECT_EQ(5000, quire_mapping_size(mapping));
  quire_mapping_free(mapping);
  struct stat info;
  C_EXPECT(stat("new", &info) == 0 && (info.st_mode & 0777) == 0600 && info.st_blocks == 0);
  C_EXPECT_CODE(-EEXIST, quire_map_file("new", &options, &mapping, c_error()));
  options.create = QUIRE_CREATE_NEVER;
  C_EXPECT_CODE(-ENOENT, quire_map_file("other", &options, &mapping, c_error()));
}

static void stores_reach_the_file_or_not(void) {
  c_make_file("data", 10);
  quire_mapping* shared = map_writable("data");
  const quire_map_options copy = {.struct_size = sizeof copy,
                                  .access = QUIRE_ACCESS_READ_WRITE,
                                  .sharing = QUIRE_SHARING_PRIVATE};
  quire_mapping* private_mapping = map_file("data", &copy);
  memcpy(quire_mapping_writable_bytes(private_mapping), "private", 7);
  C_EXPECT_EQ(0, c_wrong_bytes(quire_mapping_bytes(shared), 0, 10));
  memcpy(quire_mapping_writable_bytes(shared), "shared", 6);
  quire_mapping* reader = map_file("data", NULL);
  C_EXPECT(memcmp(quire_mapping_bytes(reader), "shared", 6) == 0);
  C_EXPECT(memcmp(quire_mapping_bytes(private_mapping), "private", 7) == 0);
  quire_mapping_free(reader);
  quire_mapping_free(private_mapping);
  quire_mapping_free(shared);
}

static void files_grow_and_shrink(void) {
  quire_mapping* mapping = map_writable("log");
  const void* first = NULL;
  C_EXPECT_OK(quire_mapping_append(mapping, "one ", 4, c_error()));
  first = quire_mapping_bytes(mapping);
  C_EXPECT_OK(quire_mapping_append(mapping, "two", 3, c_error()));
  C_EXPECT_OK(quire_mapping_append(mapping, NULL, 0, c_error()));
  C_EXPECT_EQ(7, c_file_size("log"));
  C_EXPECT(memcmp(quire_mapping_bytes(mapping), "one two", 7) == 0);
  C_EXPECT_OK(quire_mapping_resize(mapping, 100000, c_error()));
  C_EXPECT(quire_mapping_bytes(mapping) == first);
  C_EXPECT_EQ(100000, c_file_size("log"));
  C_EXPECT_OK(quire_mapping_resize(mapping, 3, c_error()));
  C_EXPECT_EQ(3, quire_mapping_size(mapping));
  C_EXPECT_EQ(3, c_file_size("log"));
  C_EXPECT_MISUSE(quire_mapping_append(mapping, NULL, 1, c_error()));
  C_EXPECT_MISUSE(quire_mapping_append(mapping, "x", SIZE_MAX, c_error()));
  C_EXPECT_OK(quire_mapping_close(mapping, c_error()));
  quire_mapping_free(mapping);
}

static void growth_ends_with_the_reserved_addresses(void) {
  c_make_file("data", 3);
  quire_map_options options = {.struct_size = sizeof options,
                               .access = QUIRE_ACCESS_READ_WRITE,
                               .space = QUIRE_SPACE_SPARSE,
                               .reserve_bytes = 1 << 20};
  quire_mapping* mapping = map_file("data", &options);
  C_EXPECT_OK(quire_mapping_resize(mapping, 1 << 20, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_LIMIT, quire_mapping_resize(mapping, 2 << 20, c_error()));
  C_EXPECT_EQ(1 << 20, quire_mapping_size(mapping));
  C_EXPECT_EQ(1 << 20, c_file_size("data"));
  quire_mapping_free(mapping);
  options.reserve_bytes = QUIRE_RESERVE_NONE;
  mapping = map_file("data", &options);
  C_EXPECT_CODE(QUIRE_ERROR_LIMIT, quire_mapping_resize(mapping, 2 << 20, c_error()));
  quire_mapping_free(mapping);
}

static void flushes_are_durable_or_say_why_not(void) {
  c_make_file("data", 10000);
  quire_mapping* mapping = map_writable("data");
  const uint32_t durabilities[] = {QUIRE_DURABILITY_DATA, QUIRE_DURABILITY_ALL,
                                   QUIRE_DURABILITY_STARTED};
  for (size_t i = 0; i < 3; ++i) {
    C_EXPECT_OK(quire_mapping_flush(mapping, 1, 5000, durabilities[i], c_error()));
  }
  C_EXPECT_MISUSE(quire_mapping_flush(mapping, 0, 1, 3, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_OUT_OF_RANGE,
                quire_mapping_flush(mapping, 10001, 1, QUIRE_DURABILITY_DATA, c_error()));
  quire_ticket* ticket = NULL;
  C_EXPECT_OK(quire_mapping_flush_async(mapping, 0, QUIRE_TO_END, QUIRE_DURABILITY_DATA, &ticket,
                                        c_error()));
  C_EXPECT_OK(quire_ticket_wait(ticket, QUIRE_MS_FOREVER, c_error()));
  C_EXPECT_EQ(1, quire_ticket_is_done(ticket));
  C_EXPECT_OK(quire_ticket_wait(ticket, 0, c_error()));
  quire_ticket_free(ticket);
  C_EXPECT_MISUSE(quire_mapping_flush_async(mapping, 0, 1, 9, &ticket, c_error()));
  C_EXPECT(ticket == NULL);
  C_EXPECT_MISUSE(quire_mapping_flush_async(mapping, 0, 1, QUIRE_DURABILITY_DATA, NULL, c_error()));
  C_EXPECT_OK(quire_mapping_acknowledge_error(mapping, c_error()));
  quire_mapping_free(mapping);
}

static void what_is_read_only_cannot_be_changed(void) {
  c_make_file("data", 10);
  quire_mapping* mapping = map_file("data", NULL);
  quire_ticket* ticket = NULL;
  C_EXPECT_CODE(QUIRE_ERROR_READ_ONLY, quire_mapping_resize(mapping, 5, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_READ_ONLY, quire_mapping_append(mapping, "x", 1, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_READ_ONLY, quire_mapping_write(mapping, 0, "x", 1, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_READ_ONLY, quire_mapping_flush(mapping, 0, 1, 0, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_READ_ONLY,
                quire_mapping_flush_async(mapping, 0, 1, 0, &ticket, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_READ_ONLY, quire_mapping_acknowledge_error(mapping, c_error()));
  C_EXPECT_EQ(10, c_file_size("data"));
  quire_mapping_free(mapping);
}

static void memory_is_private_or_a_memfd(void) {
  quire_mapping* mapping = NULL;
  C_EXPECT_OK(quire_map_memory(5000, NULL, &mapping, c_error()));
  C_EXPECT_EQ(5000, quire_mapping_size(mapping));
  C_EXPECT_EQ(-1, quire_mapping_descriptor(mapping));
  memset(quire_mapping_writable_bytes(mapping), 1, 5000);
  C_EXPECT_CODE(QUIRE_ERROR_UNSUPPORTED,
                quire_mapping_flush(mapping, 0, 1, QUIRE_DURABILITY_DATA, c_error()));
  quire_mapping_free(mapping);

  const quire_memory_options shared = {.struct_size = sizeof shared,
                                       .sharing = QUIRE_SHARING_SHARED,
                                       .huge_pages = QUIRE_HUGE_PAGES_TRANSPARENT,
                                       .name = "c-test",
                                       .reserve_bytes = QUIRE_RESERVE_NONE};
  C_EXPECT_OK(quire_map_memory(4096, &shared, &mapping, c_error()));
  C_EXPECT(quire_mapping_descriptor(mapping) >= 0);
  C_EXPECT_CODE(QUIRE_ERROR_LIMIT, quire_mapping_resize(mapping, 1 << 20, c_error()));
  quire_mapping_free(mapping);
  C_EXPECT_MISUSE(quire_map_memory(4096, &shared, NULL, c_error()));
}

// Goal:   a load that would raise SIGBUS is an error of a read.
// Method: truncate the file behind the mapping.
static void a_truncated_file_is_an_error_and_no_signal(void) {
  c_make_file("data", 3 * 4096);
  quire_mapping* mapping = map_writable("data");
  char buffer[4096];
  C_EXPECT_OK(quire_mapping_read(mapping, 5000, buffer, 4096, c_error()));
  C_EXPECT_EQ(0, c_wrong_bytes(buffer, 5000, 4096));
  C_EXPECT_OK(quire_mapping_write(mapping, 100, "written", 7, c_error()));
  C_EXPECT(memcmp((const char*)quire_mapping_bytes(mapping) + 100, "written", 7) == 0);
  C_EXPECT_EQ(0, truncate("data", 4096));
  C_EXPECT_CODE(QUIRE_ERROR_TRUNCATED, quire_mapping_read(mapping, 8000, buffer, 100, c_error()));
  C_EXPECT_MESSAGE("data");
  C_EXPECT_CODE(QUIRE_ERROR_TRUNCATED, quire_mapping_write(mapping, 8000, buffer, 9, c_error()));
  C_EXPECT_OK(quire_mapping_read(mapping, 0, buffer, 100, c_error()));
  quire_mapping_free(mapping);
}

static void copies_stay_inside(void) {
  c_make_file("data", 10);
  quire_mapping* mapping = map_writable("data");
  char buffer[20];
  C_EXPECT_CODE(QUIRE_ERROR_OUT_OF_RANGE, quire_mapping_read(mapping, 5, buffer, 6, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_OUT_OF_RANGE, quire_mapping_write(mapping, 5, buffer, 6, c_error()));
  C_EXPECT_MISUSE(quire_mapping_read(mapping, 0, buffer, SIZE_MAX, c_error()));
  C_EXPECT_MISUSE(quire_mapping_write(mapping, 0, buffer, SIZE_MAX, c_error()));
  C_EXPECT_MISUSE(quire_mapping_read(mapping, 0, NULL, 1, c_error()));
  C_EXPECT_MISUSE(quire_mapping_write(mapping, 0, NULL, 1, c_error()));
  C_EXPECT_OK(quire_mapping_read(mapping, 10, NULL, 0, c_error()));
  C_EXPECT_OK(quire_mapping_write(mapping, 10, NULL, 0, c_error()));
  quire_mapping_free(mapping);
}

static void advice_is_taken_or_refused(void) {
  c_make_file("data", 10000);
  quire_mapping* mapping = map_file("data", NULL);
  const uint32_t advices[] = {
      QUIRE_ADVICE_NORMAL, QUIRE_ADVICE_RANDOM,   QUIRE_ADVICE_SEQUENTIAL, QUIRE_ADVICE_WILL_NEED,
      QUIRE_ADVICE_COLD,   QUIRE_ADVICE_PAGE_OUT, QUIRE_ADVICE_DONT_FORK,  QUIRE_ADVICE_DONT_DUMP};
  for (size_t i = 0; i < sizeof advices / sizeof advices[0]; ++i) {
    C_EXPECT_OK(quire_mapping_advise(mapping, 0, QUIRE_TO_END, advices[i], c_error()));
  }
  C_EXPECT_MISUSE(quire_mapping_advise(mapping, 0, 1, 10, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_OUT_OF_RANGE,
                quire_mapping_advise(mapping, 9999, 2, QUIRE_ADVICE_COLD, c_error()));
  quire_mapping_free(mapping);
}

static void what_is_evicted_is_read_back(void) {
  c_make_file("data", 1 << 20);
  quire_mapping* mapping = map_writable("data");
  quire_residency residency = {.struct_size = sizeof residency};
  quire_eviction_report evicted = {.struct_size = sizeof evicted};
  quire_prefetch_report read = {.struct_size = sizeof read};
  C_EXPECT_OK(quire_mapping_flush(mapping, 0, QUIRE_TO_END, QUIRE_DURABILITY_DATA, c_error()));
  C_EXPECT_OK(quire_mapping_evict(mapping, 0, QUIRE_TO_END, &evicted, c_error()));
  C_EXPECT_OK(quire_mapping_get_residency(mapping, 0, QUIRE_TO_END, &residency, c_error()));
  C_EXPECT_EQ(1 << 20, residency.size_bytes);
  if (!residency.known || !evicted.known || evicted.after_bytes != 0) {
    C_SKIP("what is in memory of this file system's files cannot be told, or stays");
  } else {
    C_EXPECT_EQ(1 << 20, evicted.before_bytes);
    C_EXPECT_EQ(0, residency.resident_bytes);
    C_EXPECT(evicted.remaining[0] == '\0');
    C_EXPECT_OK(quire_mapping_prefetch(mapping, 0, QUIRE_TO_END, &read, c_error()));
    C_EXPECT_EQ(QUIRE_STOPPED_DONE, read.stopped);
    C_EXPECT_EQ(1 << 20, read.resident_after_bytes);
    C_EXPECT_EQ(1 << 20, read.size_bytes);
  }
  C_EXPECT_OK(quire_mapping_prefetch(mapping, 0, 1, NULL, c_error()));
  C_EXPECT_OK(quire_mapping_evict(mapping, 0, 4096, NULL, c_error()));
  read.struct_size = 4;
  evicted.struct_size = 4;
  C_EXPECT_MISUSE(quire_mapping_prefetch(mapping, 0, 1, &read, c_error()));
  C_EXPECT_MISUSE(quire_mapping_evict(mapping, 0, 1, &evicted, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_OUT_OF_RANGE,
                quire_mapping_prefetch(mapping, 0, 2 << 20, NULL, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_OUT_OF_RANGE,
                quire_mapping_evict(mapping, 0, 2 << 20, NULL, c_error()));
  quire_mapping_free(mapping);
}

static void texts_are_cut_to_what_there_is_room_for(void) {
  c_make_file("data", 10);
  quire_mapping* mapping = map_file("data", NULL);
  char text[512] = "before";
  const size_t length = quire_mapping_explain(mapping, NULL, 0);
  C_EXPECT(length > 3 && length < sizeof text);
  C_EXPECT_EQ(length, quire_mapping_explain(mapping, text, 4));
  C_EXPECT_EQ(3, strlen(text));
  C_EXPECT_EQ(length, quire_mapping_explain(mapping, text, sizeof text));
  C_EXPECT_EQ(length, strlen(text));
  C_EXPECT_EQ(0, quire_mapping_explain(NULL, text, sizeof text));
  C_EXPECT_EQ(0, strlen(text));
  quire_mapping_free(mapping);
}

static void a_closed_mapping_shows_nothing_and_says_so(void) {
  c_make_file("data", 10);
  quire_mapping* mapping = map_writable("data");
  quire_residency residency = {.struct_size = sizeof residency};
  C_EXPECT_OK(quire_mapping_close(mapping, c_error()));
  C_EXPECT_EQ(0, quire_mapping_size(mapping));
  C_EXPECT(quire_mapping_bytes(mapping) == NULL && quire_mapping_writable_bytes(mapping) == NULL);
  C_EXPECT_EQ(-1, quire_mapping_descriptor(mapping));
  C_EXPECT_CODE(QUIRE_ERROR_CLOSED, quire_mapping_close(mapping, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_CLOSED, quire_mapping_resize(mapping, 1, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_CLOSED, quire_mapping_append(mapping, "x", 1, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_CLOSED, quire_mapping_flush(mapping, 0, 1, 0, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_CLOSED, quire_mapping_read(mapping, 0, &residency, 1, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_CLOSED, quire_mapping_advise(mapping, 0, 1, 0, c_error()));
  C_EXPECT_CODE(QUIRE_ERROR_CLOSED,
                quire_mapping_get_residency(mapping, 0, 1, &residency, c_error()));
  quire_mapping_free(mapping);
}

static void values_that_are_no_constants_are_refused(void) {
  c_make_file("data", 10);
  quire_mapping* mapping = NULL;
  const quire_map_options wrong[] = {{.struct_size = sizeof wrong[0], .access = 2},
                                     {.struct_size = sizeof wrong[0], .sharing = 3},
                                     {.struct_size = sizeof wrong[0], .create = 3},
                                     {.struct_size = sizeof wrong[0], .space = 2}};
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; ++i) {
    C_EXPECT_MISUSE(quire_map_file("data", &wrong[i], &mapping, c_error()));
    C_EXPECT_MISUSE(quire_map_descriptor(0, &wrong[i], &mapping, c_error()));
  }
  const quire_memory_options wrong_memory[] = {
      {.struct_size = sizeof wrong_memory[0], .sharing = 3},
      {.struct_size = sizeof wrong_memory[0], .huge_pages = 3},
      {.struct_size = sizeof wrong_memory[0], .space = 2},
      {.struct_size = sizeof wrong_memory[0], .secret = 2},
      {.struct_size = sizeof wrong_memory[0], .reserved = 1},
      {.struct_size = 1}};
  for (size_t i = 0; i < sizeof wrong_memory / sizeof wrong_memory[0]; ++i) {
    C_EXPECT_MISUSE(quire_map_memory(4096, &wrong_memory[i], &mapping, c_error()));
  }
}

static void null_is_refused_everywhere(void) {
  quire_mapping* mapping = NULL;
  quire_ticket* ticket = NULL;
  quire_residency residency = {.struct_size = sizeof residency};
  char byte = 0;
  C_EXPECT_MISUSE(quire_map_file(NULL, NULL, &mapping, c_error()));
  C_EXPECT_MISUSE(quire_map_file("data", NULL, NULL, c_error()));
  C_EXPECT_MISUSE(quire_mapping_read(NULL, 0, &byte, 1, c_error()));
  C_EXPECT_MISUSE(quire_mapping_write(NULL, 0, &byte, 1, c_error()));
  C_EXPECT_MISUSE(quire_mapping_advise(NULL, 0, 1, 0, c_error()));
  C_EXPECT_MISUSE(quire_mapping_prefetch(NULL, 0, 1, NULL, c_error()));
  C_EXPECT_MISUSE(quire_mapping_get_residency(NULL, 0, 1, &residency, c_error()));
  C_EXPECT_MISUSE(quire_mapping_evict(NULL, 0, 1, NULL, c_error()));
  C_EXPECT_MISUSE(quire_mapping_resize(NULL, 1, c_error()));
  C_EXPECT_MISUSE(quire_mapping_append(NULL, &byte, 1, c_error()));
  C_EXPECT_MISUSE(quire_mapping_flush(NULL, 0, 1, 0, c_error()));
  C_EXPECT_MISUSE(quire_mapping_flush_async(NULL, 0, 1, 0, &ticket, c_error()));
  C_EXPECT_MISUSE(quire_mapping_acknowledge_error(NULL, c_error()));
  C_EXPECT_MISUSE(quire_mapping_close(NULL, c_error()));
  C_EXPECT(quire_mapping_bytes(NULL) == NULL && quire_mapping_writable_bytes(NULL) == NULL);
  C_EXPECT_EQ(0, quire_mapping_size(NULL));
  C_EXPECT_EQ(-1, quire_mapping_descriptor(NULL));
  quire_mapping_free(NULL);
}

static const struct c_test kTests[] = {
    C_TEST(a_file_is_its_bytes),
    C_TEST(a_range_begins_and_ends_anywhere),
    C_TEST(a_range_beyond_the_file_is_refused),
    C_TEST(a_folder_is_refused),
    C_TEST(descriptors_stay_the_callers),
    C_TEST(missing_files_are_created_as_asked_for),
    C_TEST(stores_reach_the_file_or_not),
    C_TEST(files_grow_and_shrink),
    C_TEST(growth_ends_with_the_reserved_addresses),
    C_TEST(flushes_are_durable_or_say_why_not),
    C_TEST(what_is_read_only_cannot_be_changed),
    C_TEST(memory_is_private_or_a_memfd),
    C_TEST(a_truncated_file_is_an_error_and_no_signal),
    C_TEST(copies_stay_inside),
    C_TEST(advice_is_taken_or_refused),
    C_TEST(what_is_evicted_is_read_back),
    C_TEST(texts_are_cut_to_what_there_is_room_for),
    C_TEST(a_closed_mapping_shows_nothing_and_says_so),
    C_TEST(values_that_are_no_constants_are_refused),
    C_TEST(null_is_refused_everywhere),
};

int main(void) {
  return c_test_main(kTests, sizeof kTests / sizeof kTests[0]);
}
