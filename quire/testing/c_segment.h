// SPDX-License-Identifier: Apache-2.0
//
// c_segment: the segment that the tests of ipc in C share with their children: two rings, a mutex
// and some bytes, by name, in the test's own folder.
//
//   rings "one" (SPSC, 4 KiB) and "many" (MPSC, 8 KiB); mutex "lock"; 1000 bytes "data"
//
// Thread-safety: one thread.
#pragma once

#include <sys/types.h>

#include "quire/c/ipc.h"

enum { kObjectCount = 4 };
extern const quire_object kObjects[kObjectCount];

quire_segment* open_segment(void);

// Runs in a child, which opens the segment itself and exits with what `work` returns.
pid_t start_child(int (*work)(quire_segment*));
// Waits for it. `expected` is a status as waitpid() gives it: 0, or the signal that killed it.
void expect_exit_of(pid_t child, int expected);
