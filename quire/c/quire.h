// SPDX-License-Identifier: Apache-2.0
//
// quire for C, and for whatever binds to C: all of it. C11 and C++11 both read it without a
// warning. Each header below can be had alone, and is the chapter on its subject; docs/c.md is the
// guide.
//
//   quire_map_file()       a file as a range of bytes                      quire/c/map.h
//   quire_pager_map()      files larger than memory, under a budget        quire/c/pager.h, area.h
//   quire_tracked_open()   stores that become durable together, or not     quire/c/tracked.h
//   quire_journal_open()   the same by calls, for several files            quire/c/journal.h
//   quire_segment_open()   memory that processes share: rings, mutexes     quire/c/ipc.h
//                          broadcasts, blackboards                         quire/c/broadcast.h
//                          events, semaphores                              quire/c/event.h
//   quire_error            how failure is told; how structures grow        quire/c/common.h
//
// Link with -lquire (everything in one shared library, which exports these functions alone), or
// with the static libraries: pkg-config quire-c, pkg-config quire.
#pragma once

#include "quire/c/area.h"
#include "quire/c/broadcast.h"
#include "quire/c/common.h"
#include "quire/c/event.h"
#include "quire/c/ipc.h"
#include "quire/c/journal.h"
#include "quire/c/map.h"
#include "quire/c/pager.h"
#include "quire/c/tracked.h"
