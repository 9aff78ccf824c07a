// SPDX-License-Identifier: Apache-2.0
//
// c_test: the smallest harness for tests that must be C: claims as functions, each run in an empty
// folder of its own.
//
//   static void free_of_null_does_nothing(void) { quire_mapping_free(NULL); }
//   static const struct c_test kTests[] = {C_TEST(free_of_null_does_nothing)};
//   int main(void) { return c_test_main(kTests, sizeof kTests / sizeof kTests[0]); }
//
// Expectations print what they found and let the test go on; a failed one fails the program. What
// a test cannot show here it skips, aloud.
//
// Thread-safety: one thread.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "quire/c/common.h"

#if defined(__cplusplus)
extern "C" {
#endif

struct c_test {
  const char* name;
  void (*run)(void);
};

#define C_TEST(function) {#function, function}

int c_test_main(const struct c_test* tests, size_t count);

#define C_EXPECT(condition) c_expect((condition) ? 1 : 0, #condition, __FILE__, __LINE__)
// That a call gives this code, and that the error tells the same.
#define C_EXPECT_CODE(expected, call) c_expect_code((expected), (call), #call, __FILE__, __LINE__)
#define C_EXPECT_OK(call) C_EXPECT_CODE(QUIRE_OK, call)
#define C_EXPECT_MISUSE(call) C_EXPECT_CODE(c_misuse(), call)
// That the last error's message has this in it.
#define C_EXPECT_MESSAGE(part) c_expect_message((part), __FILE__, __LINE__)
#define C_EXPECT_EQ(expected, found) \
  c_expect_equal((uint64_t)(expected), (uint64_t)(found), #found, __FILE__, __LINE__)
#define C_SKIP(why) c_skip((why))

// For the calls of a test; made new, and filled with nonsense, before each of them.
quire_error* c_error(void);

quire_code c_misuse(void);  // -EINVAL
int c_expect(int condition, const char* text, const char* file, int line);
int c_expect_code(quire_code expected, quire_code found, const char* text, const char* file,
                  int line);
void c_expect_message(const char* part, const char* file, int line);
void c_expect_equal(uint64_t expected, uint64_t found, const char* text, const char* file,
                    int line);
void c_skip(const char* why);

// A file in the test's folder with `size_bytes` bytes, each its offset modulo 251.
void c_make_file(const char* name, size_t size_bytes);
// How many bytes of `bytes` are not as c_make_file() makes them from `offset_bytes` on.
size_t c_wrong_bytes(const void* bytes, size_t offset_bytes, size_t length_bytes);
// The size of a file; UINT64_MAX when there is none.
uint64_t c_file_size(const char* name);

#if defined(__cplusplus)
}  // extern "C"
#endif
