// SPDX-License-Identifier: Apache-2.0
//
// survive_kill: what becomes of stores that were not written back when their process is killed.
//
//   Pager pager({.memory_bytes = 256_MiB, .survive_kill = SurviveKill::kYes});
//   auto area = pager.map("table", {.access = Access::kReadWrite}).value();
//   area.bytes()[0] = std::byte{1};          // from here on it survives kill -9 of this process
//
// A guardian process, one for each pager with a writable area, holds the areas' memory and the
// states of their granules. It sleeps until the owner is gone; then it writes what was dirty, makes
// it durable (fdatasync), and ends. It ends, too, when the last area is closed.
//
//   owner    threads --store--> [ memory: memfd ]  [ states: memfd ]      killed, crashed, exited
//                                       |                 |                         |
//   guardian  "quire-guardian"          '------ both ------'---> dirty granules --> the file
//
// What it promises: every store that was done (its instruction had retired) before the owner ended
//   is in the file, durable, when the guardian has ended: SIGKILL, SIGSEGV, abort(), the OOM
//   killer, exit() without close(), exec. Nothing else than what was stored is written, and nothing
//   past the size that the area had. The destructor of an area still drops what it holds: the
//   program said so.
// What it does not survive:
//   * Power loss, a crash of the kernel: only flush() helps.
//   * Whoever kills both: SIGKILL for a whole cgroup or container (cgroup.kill, memory.oom.group,
//     the end of a container's first process, systemd's KillMode=mixed and SendSIGKILL after
//     TimeoutStopSec). SIGTERM, SIGINT and SIGHUP do not end it; it has a session of its own.
//   * Its own end by SIGKILL: the owner then says so on standard error, in check() and explain();
//     the pager works on, without the promise.
//   * A disk that is full or fails at that moment: one line on standard error of the owner.
//   * Areas with zeros that stand for bytes which could not be read (OnFillError::kZeros): they are
//     never written back, here neither.
//
// After the owner's end, whoever opens the file must know when the guardian is done. It marks each
// file with a lock of a byte far past every end (fcntl), and the owner marks it with another one:
// guardian's mark without an owner's means that bytes are still to come. This was chosen over
// flock(), which would stand in the way of programs that use it for their own ends, over a lock
// file, which outlives power cuts and needs a writable directory, and over locks that do not tell
// whose they are. Pager::map() with survive_kill waits for it by itself, kGuardianWait at most;
// everybody else calls await_guardian() first. Two processes that page the same file for writing at
// the same time are on their own, as without survive_kill; the second one's mark would hide that
// the first one is dead.
//
// Costs:  nothing when it is off. When it is on: a process with about half a MiB of its own, beside
//         memory_bytes; three descriptors and a mapping for each area; the first map() copies the
//         page tables once (a fork); a fill for a store takes one more system call, and giving back
//         a leaf of states punches a hole. A bare clone() of the owner, or a fork() by another
//         thread in the instant in which an area is mapped, may keep the owner's marks alive: the
//         guardian then waits for that process, too.
// Kernel: 5.19, as the pager; regular files on a file system with fcntl locks; /proc.
#pragma once

#include <chrono>

#include "quire/base/path_argument.h"
#include "quire/base/result.h"

namespace quire {

// As long as a full budget of dirty pages may take on a slow disk; chosen arbitrarily.
inline constexpr std::chrono::milliseconds kGuardianWait{60'000};

// Returns when no guardian has anything to write to the file any more: at once, when there is none,
// or when its owner lives. Blocks. Errors: kFailed, with the guardian's number, when the time is
// over; those of opening the file; ENOLCK.
Result<void> await_guardian(PathArgument path, std::chrono::milliseconds limit = kGuardianWait);

}  // namespace quire
