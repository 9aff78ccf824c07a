// SPDX-License-Identifier: Apache-2.0
//
// What all of the C API shares, in C: versions, codes, errors, structures of other sizes.
#include "quire/c/common.h"

#include <errno.h>
#include <string.h>

#include "quire/c/quire.h"
#include "quire/testing/c_test.h"

static void versions_are_those_of_the_header(void) {
  C_EXPECT_EQ(QUIRE_ABI_VERSION, quire_abi_version());
  C_EXPECT(strcmp(quire_version(), QUIRE_VERSION) == 0);
}

static void every_code_has_a_name(void) {
  C_EXPECT(strcmp(quire_code_name(QUIRE_OK), "QUIRE_OK") == 0);
  C_EXPECT(strcmp(quire_code_name(QUIRE_ERROR_OUT_OF_RANGE), "QUIRE_ERROR_OUT_OF_RANGE") == 0);
  C_EXPECT(strcmp(quire_code_name(QUIRE_ERROR_SEALED), "QUIRE_ERROR_SEALED") == 0);
  C_EXPECT(strcmp(quire_code_name(-ENOENT), "ENOENT") == 0);
  C_EXPECT(strcmp(quire_code_name(INT32_MAX), "unknown") == 0);
  C_EXPECT(strcmp(quire_code_name(INT32_MIN), "unknown") == 0);
  C_EXPECT(strcmp(quire_code_name(-100000), "unknown") == 0);
  for (quire_code code = QUIRE_OK; code <= QUIRE_ERROR_SEALED; ++code) {
    C_EXPECT(strcmp(quire_code_name(code), "unknown") != 0);
  }
}

static void errors_say_what_where_why_and_what_to_do(void) {
  quire_mapping* mapping = (quire_mapping*)&mapping;
  C_EXPECT_CODE(-ENOENT, quire_map_file("missing", NULL, &mapping, c_error()));
  C_EXPECT_MESSAGE("missing");
  C_EXPECT_MESSAGE("ENOENT");
  C_EXPECT(mapping == NULL);
}

static void without_an_error_there_is_still_the_code(void) {
  quire_mapping* mapping = NULL;
  C_EXPECT_CODE(-ENOENT, quire_map_file("missing", NULL, &mapping, NULL));
}

static void errors_are_for_any_number_of_calls(void) {
  quire_error error = QUIRE_ERROR_INIT;
  quire_mapping* mapping = NULL;
  c_make_file("data", 10);
  C_EXPECT_CODE(-ENOENT, quire_map_file("missing", NULL, &mapping, &error));
  C_EXPECT(error.message[0] != '\0' && error.system_errno == ENOENT && error.code == -ENOENT);
  C_EXPECT_OK(quire_map_file("data", NULL, &mapping, &error));
  C_EXPECT(error.message[0] == '\0' && error.remedy[0] == '\0');
  C_EXPECT(error.system_errno == 0 && error.code == QUIRE_OK);
  C_EXPECT_EQ(sizeof error, error.struct_size);
  quire_mapping_free(mapping);
}

static void errors_of_a_wrong_size_are_not_written_to(void) {
  const uint32_t sizes[] = {0, 1, sizeof(quire_error) - 1, 4097, UINT32_MAX};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; ++i) {
    quire_error before;
    memset(&before, 0x77, sizeof before);
    before.struct_size = sizes[i];
    quire_error error = before;
    quire_mapping* mapping = (quire_mapping*)&mapping;
    C_EXPECT_MISUSE(quire_map_file("missing", NULL, &mapping, &error));
    C_EXPECT(memcmp(&before, &error, sizeof error) == 0);
    C_EXPECT(mapping == NULL);
  }
}

static void long_texts_are_cut_between_characters(void) {
  char path[4000];
  for (size_t i = 0; i + 2 < sizeof path; i += 2) {
    memcpy(path + i, "\xC3\xA4", 2);  // One character of two bytes.
  }
  path[sizeof path - 2] = '\0';
  quire_mapping* mapping = NULL;
  quire_error error = QUIRE_ERROR_INIT;
  C_EXPECT_CODE(-ENAMETOOLONG, quire_map_file(path, NULL, &mapping, &error));
  const size_t length = strlen(error.message);
  C_EXPECT(length >= sizeof error.message - 2 && length < sizeof error.message);
  const unsigned char last = (unsigned char)error.message[length - 1];
  C_EXPECT_EQ(0xA4, last);
}

// Options that every chapter has, with map's.
static void options_of_a_wrong_size_are_refused(void) {
  const uint32_t sizes[] = {0, 3, sizeof(quire_map_options) - 1, 4097, UINT32_MAX};
  c_make_file("data", 10);
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; ++i) {
    quire_map_options options = {.struct_size = sizes[i]};
    quire_mapping* mapping = NULL;
    C_EXPECT_MISUSE(quire_map_file("data", &options, &mapping, c_error()));
    C_EXPECT_MESSAGE("struct_size");
    C_EXPECT(mapping == NULL);
  }
}

// Goal:   a program of a later version runs, as long as it asks for nothing new.
static void options_of_a_later_version_are_taken_when_what_is_new_is_zero(void) {
  struct {
    quire_map_options known;
    uint64_t later;
  } options = {.known = {.struct_size = sizeof options, .length_bytes = 4}};
  c_make_file("data", 10);
  quire_mapping* mapping = NULL;
  C_EXPECT_OK(quire_map_file("data", &options.known, &mapping, c_error()));
  C_EXPECT_EQ(4, quire_mapping_size(mapping));
  quire_mapping_free(mapping);
  options.later = UINT64_C(1) << 63;
  C_EXPECT_CODE(QUIRE_ERROR_UNSUPPORTED,
                quire_map_file("data", &options.known, &mapping, c_error()));
  C_EXPECT(mapping == NULL);
}

static void results_of_a_later_version_get_zeros_for_what_is_new(void) {
  struct {
    quire_residency known;
    uint64_t later;
  } results;
  memset(&results, 0x77, sizeof results);
  results.known.struct_size = sizeof results;
  c_make_file("data", 10);
  quire_mapping* mapping = NULL;
  C_EXPECT_OK(quire_map_file("data", NULL, &mapping, c_error()));
  C_EXPECT_OK(quire_mapping_get_residency(mapping, 0, QUIRE_TO_END, &results.known, c_error()));
  C_EXPECT_EQ(sizeof results, results.known.struct_size);
  C_EXPECT_EQ(10, results.known.size_bytes);
  C_EXPECT_EQ(0, results.later);
  results.known.struct_size = sizeof(quire_residency) - 8;
  C_EXPECT_MISUSE(quire_mapping_get_residency(mapping, 0, QUIRE_TO_END, &results.known, c_error()));
  C_EXPECT_MISUSE(quire_mapping_get_residency(mapping, 0, QUIRE_TO_END, NULL, c_error()));
  quire_mapping_free(mapping);
}

static void nothing_is_a_ticket_that_is_not_done(void) {
  C_EXPECT_EQ(0, quire_ticket_is_done(NULL));
  C_EXPECT_MISUSE(quire_ticket_wait(NULL, 0, c_error()));
  quire_ticket_free(NULL);
}

static const struct c_test kTests[] = {
    C_TEST(versions_are_those_of_the_header),
    C_TEST(every_code_has_a_name),
    C_TEST(errors_say_what_where_why_and_what_to_do),
    C_TEST(without_an_error_there_is_still_the_code),
    C_TEST(errors_are_for_any_number_of_calls),
    C_TEST(errors_of_a_wrong_size_are_not_written_to),
    C_TEST(long_texts_are_cut_between_characters),
    C_TEST(options_of_a_wrong_size_are_refused),
    C_TEST(options_of_a_later_version_are_taken_when_what_is_new_is_zero),
    C_TEST(results_of_a_later_version_get_zeros_for_what_is_new),
    C_TEST(nothing_is_a_ticket_that_is_not_done),
};

int main(void) {
  return c_test_main(kTests, sizeof kTests / sizeof kTests[0]);
}
