// SPDX-License-Identifier: Apache-2.0
//
// c_segment: the segment that the tests of ipc in C share with their children: one or two of each
// kind of object, by name, in the test's own folder.
//
//   rings "one" (SPSC, 4 KiB) and "many" (MPSC, 8 KiB); mutex "lock"; 1000 bytes "data";
//   broadcast "news" of 4 notes, blackboard "board" of a note; event "start"; 2 units of "places"
//
// Thread-safety: one thread.
#pragma once

#include <sys/types.h>

#include "quire/c/ipc.h"

// What is published: whole if one number is the other's double.
struct c_note {
  uint64_t number;
  char text[48];
  uint64_t twice;
};

enum { kObjectCount = 8 };
extern const quire_object kObjects[kObjectCount];

quire_segment* open_segment(void);

// Runs in a child, which opens the segment itself and exits with what `work` returns.
pid_t start_child(int (*work)(quire_segment*));
// Waits for it. `expected` is a status as waitpid() gives it: 0, or the signal that killed it.
void expect_exit_of(pid_t child, int expected);
