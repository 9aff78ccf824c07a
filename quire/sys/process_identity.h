// SPDX-License-Identifier: Apache-2.0
//
// process_identity: which process it is, whatever numbers are used again, and whether it has ended.
//
// A pid alone names whoever has it now. Together with the time at which its process started it
// names one process, for as long as the machine runs; in one pid namespace, since another one
// counts its own.
//
// Thread-safety: any thread.
// Errors:        Outcome with the kernel's errno.
// Kernel:        5.3 (pidfd_open).
#pragma once

#include <cstdint>
#include <string_view>

#include "quire/sys/descriptor.h"
#include "quire/sys/outcome.h"

namespace quire::sys {

// When a process started, in clock ticks since boot: field 22 of /proc/PID/stat. It stays through
// exec, and while the process is a zombie.
// Errors: ESRCH when there is none; EACCES where /proc hides it; ENOENT without /proc; EBADMSG.
[[nodiscard]] Outcome<std::uint64_t> process_start_ticks(int pid) noexcept;
// The same from the file's text. Errors: EBADMSG for what has not its form.
[[nodiscard]] Outcome<std::uint64_t> parse_start_ticks(std::string_view stat) noexcept;

// A descriptor that becomes readable (wait_readable, a Poller) when the process ends: as a zombie
// already, before anybody reaps it. Close-on-exec.
// Errors: ESRCH when there is none; EMFILE; ENOSYS before 5.3.
[[nodiscard]] Outcome<Descriptor> open_process(int pid) noexcept;

}  // namespace quire::sys
