// SPDX-License-Identifier: Apache-2.0
#include "quire/testing/c_test.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static size_t failures;
static quire_error last_error;

static void fail_at(const char* file, int line, const char* text) {
  ++failures;
  printf("%s:%d: failed: %s\n", file, line, text);
}

quire_error* c_error(void) {
  memset(&last_error, 0x5A, sizeof last_error);
  last_error.struct_size = sizeof last_error;
  return &last_error;
}

quire_code c_misuse(void) {
  return -EINVAL;
}

int c_expect(int condition, const char* text, const char* file, int line) {
  if (!condition) {
    fail_at(file, line, text);
  }
  return condition;
}

static void expect_error(quire_code code, const char* file, int line) {
  if (last_error.code != code || last_error.system_errno != (code < 0 ? -code : 0)) {
    fail_at(file, line, "the error tells another code");
  }
  if ((code == QUIRE_OK) != (last_error.message[0] == '\0')) {
    fail_at(file, line, "a message comes with errors, and with them alone");
  }
  if (last_error.remedy[0] != '\0' && strstr(last_error.message, last_error.remedy) == NULL) {
    fail_at(file, line, "the remedy is not part of the message");
  }
}

int c_expect_code(quire_code expected, quire_code found, const char* text, const char* file,
                  int line) {
  if (expected != found) {
    fail_at(file, line, text);
    printf("  expected %s, found %s: %s\n", quire_code_name(expected), quire_code_name(found),
           last_error.message);
    return 0;
  }
  // Calls that were given another error, or none, leave the nonsense of c_error() or the last one.
  if (last_error.struct_size == sizeof last_error && last_error.code != 0x5A5A5A5A) {
    expect_error(found, file, line);
  }
  last_error.struct_size = 0;
  return 1;
}

void c_expect_message(const char* part, const char* file, int line) {
  if (strstr(last_error.message, part) == NULL) {
    fail_at(file, line, part);
    printf("  is not in: %s\n", last_error.message);
  }
}

void c_expect_equal(uint64_t expected, uint64_t found, const char* text, const char* file,
                    int line) {
  if (expected != found) {
    fail_at(file, line, text);
    printf("  expected %llu, found %llu\n", (unsigned long long)expected,
           (unsigned long long)found);
  }
}

void c_skip(const char* why) {
  printf("skipped: %s\n", why);
}

void c_make_file(const char* name, size_t size_bytes) {
  FILE* file = fopen(name, "wb");
  if (file == NULL) {
    abort();
  }
  for (size_t i = 0; i < size_bytes; ++i) {
    fputc((int)(i % 251), file);
  }
  if (fclose(file) != 0) {
    abort();
  }
}

size_t c_wrong_bytes(const void* bytes, size_t offset_bytes, size_t length_bytes) {
  const unsigned char* first = bytes;
  size_t wrong = first == NULL ? length_bytes : 0;
  for (size_t i = 0; first != NULL && i < length_bytes; ++i) {
    wrong += first[i] != (offset_bytes + i) % 251;
  }
  return wrong;
}

uint64_t c_file_size(const char* name) {
  struct stat info;
  return stat(name, &info) == 0 ? (uint64_t)info.st_size : UINT64_MAX;
}

static int remove_entry(const char* path, const struct stat* info, int kind, struct FTW* where) {
  (void)info;
  (void)kind;
  (void)where;
  return remove(path);
}

static int run_one(const struct c_test* test, const char* above) {
  char folder[4096];
  const int length = snprintf(folder, sizeof folder, "%s/quire-test-XXXXXX", above);
  if (length >= (int)sizeof folder || mkdtemp(folder) == NULL || chdir(folder) != 0) {
    abort();
  }
  failures = 0;
  printf("[ %s ]\n", test->name);
  test->run();
  if (chdir(above) != 0 || nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS) != 0) {
    abort();
  }
  return failures == 0;
}

int c_test_main(const struct c_test* tests, size_t count) {
  size_t failed = 0;
  char here[4000];
  const char* above = getenv("QUIRE_TEST_DIR");
  if (above == NULL) {
    above = getcwd(here, sizeof here);
  }
  if (above == NULL) {
    abort();
  }
  setvbuf(stdout, NULL, _IOLBF, 0);
  for (size_t i = 0; i < count; ++i) {
    if (!run_one(&tests[i], above)) {
      ++failed;
      printf("FAILED: %s\n", tests[i].name);
    }
  }
  printf("%zu tests, %zu failed\n", count, failed);
  return failed == 0 ? 0 : 1;
}
