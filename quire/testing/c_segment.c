// SPDX-License-Identifier: Apache-2.0
#include "quire/testing/c_segment.h"

#include <sys/wait.h>
#include <unistd.h>

#include "quire/testing/c_test.h"

const quire_object kObjects[kObjectCount] = {
    {.name = "one", .kind = QUIRE_OBJECT_SPSC_BYTES, .capacity_bytes = 4096},
    {.name = "many", .kind = QUIRE_OBJECT_MPSC_BYTES, .capacity_bytes = 8192},
    {.name = "lock", .kind = QUIRE_OBJECT_MUTEX},
    {.name = "data", .kind = QUIRE_OBJECT_BYTES, .capacity_bytes = 1000},
    {.name = "news",
     .kind = QUIRE_OBJECT_BROADCAST,
     .capacity_records = 4,
     .record_bytes = sizeof(struct c_note)},
    {.name = "board", .kind = QUIRE_OBJECT_BLACKBOARD, .record_bytes = sizeof(struct c_note)},
    {.name = "start", .kind = QUIRE_OBJECT_EVENT},
    {.name = "places", .kind = QUIRE_OBJECT_SEMAPHORE, .units = 2}};

quire_segment* open_segment(void) {
  char here[4096];
  const quire_segment_options options = {.struct_size = sizeof options,
                                         .directory = getcwd(here, sizeof here)};
  quire_segment* segment = NULL;
  C_EXPECT_OK(quire_segment_open("test", kObjects, kObjectCount, &options, &segment, c_error()));
  return segment;
}

pid_t start_child(int (*work)(quire_segment*)) {
  const pid_t child = fork();
  if (child == 0) {
    _exit(work(open_segment()));
  }
  return child;
}

void expect_exit_of(pid_t child, int expected) {
  int status = -1;
  C_EXPECT(waitpid(child, &status, 0) == child);
  C_EXPECT_EQ(expected, status);
}
