// SPDX-License-Identifier: Apache-2.0
//
// event: what processes wait for in a segment of quire/c/ipc.h: that something has happened (an
// event), and that there is one of a few things to be had (a semaphore). quire/ipc/event.h and
// semaphore.h are the same in C++.
//
//   const quire_object objects[] = {{.name = "ready", .kind = QUIRE_OBJECT_EVENT},
//                                   {.name = "ports", .kind = QUIRE_OBJECT_SEMAPHORE, .units = 8}};
//
//   quire_event_wait(ready, 1000, &error);
//   quire_semaphore_acquire(ports, QUIRE_MS_FOREVER, &unit, &owner_died, &error);
//   use(resources[unit]);                                      // nobody else has this number
//   quire_semaphore_release(ports, unit, &error);
//
// An event has no owner: a death leaves it set or not. The units of a process that dies, or closes
// its segment, come back; who gets one next is told of a death.
//
// Timeouts:      as ipc.h.
// Thread-safety: any thread.
// Errors:        of opening: -ENOENT; WRONG_KIND.
#pragma once

#include "quire/c/ipc.h"

#if defined(__cplusplus)
extern "C" {
#endif

typedef struct quire_event quire_event;
typedef struct quire_semaphore quire_semaphore;

// --- Events --------------------------------------------------------------------------------------

QUIRE_API quire_code quire_event_open(const quire_segment* segment, const char* name,
                                      quire_event** event, quire_error* error) QUIRE_NOEXCEPT;
// Lets go all who wait, and all who come, until it is reset. Who waited before is let go even if
// the reset follows at once.
QUIRE_API quire_code quire_event_set(quire_event* event, quire_error* error) QUIRE_NOEXCEPT;
QUIRE_API quire_code quire_event_reset(quire_event* event, quire_error* error) QUIRE_NOEXCEPT;
QUIRE_API int32_t quire_event_is_set(const quire_event* event) QUIRE_NOEXCEPT;
// Errors: -ETIMEDOUT.
QUIRE_API quire_code quire_event_wait(const quire_event* event, uint32_t timeout_ms,
                                      quire_error* error) QUIRE_NOEXCEPT;
// See quire_doorbell_open().
QUIRE_API quire_code quire_event_arm(const quire_event* event, const quire_doorbell* bell,
                                     int32_t* is_armed, quire_error* error) QUIRE_NOEXCEPT;
QUIRE_API void quire_event_free(quire_event* event) QUIRE_NOEXCEPT;

// --- Semaphores ----------------------------------------------------------------------------------

QUIRE_API quire_code quire_semaphore_open(const quire_segment* segment, const char* name,
                                          quire_semaphore** semaphore,
                                          quire_error* error) QUIRE_NOEXCEPT;
// Takes a unit, whose number is less than `units` of the object. `owner_died`, which may be NULL,
// gets 1 when its last holder died: look at what it left. Errors: -ETIMEDOUT.
QUIRE_API quire_code quire_semaphore_acquire(quire_semaphore* semaphore, uint32_t timeout_ms,
                                             uint32_t* unit, int32_t* owner_died,
                                             quire_error* error) QUIRE_NOEXCEPT;
// Errors: -EPERM for a unit that was not acquired by this handle.
QUIRE_API quire_code quire_semaphore_release(quire_semaphore* semaphore, uint32_t unit,
                                             quire_error* error) QUIRE_NOEXCEPT;
// Units that nobody has, at this moment.
QUIRE_API uint32_t quire_semaphore_available(const quire_semaphore* semaphore) QUIRE_NOEXCEPT;
QUIRE_API quire_code quire_semaphore_arm(quire_semaphore* semaphore, const quire_doorbell* bell,
                                         int32_t* is_armed, quire_error* error) QUIRE_NOEXCEPT;
// Gives back what it has.
QUIRE_API void quire_semaphore_free(quire_semaphore* semaphore) QUIRE_NOEXCEPT;

#if defined(__cplusplus)
}  // extern "C"
#endif
