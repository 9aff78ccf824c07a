// SPDX-License-Identifier: Apache-2.0
//
// byte_lock: a shared lock of one byte of a file, as a sign for other processes: "whoever has this
// is at work on the file". The byte need not exist: a sign stands far beyond every file's end.
//
//   LockHolder::kProcess   goes with the process, and with the first descriptor of the file that
//                          the process closes; others learn its number
//   LockHolder::kOpenFile  goes with the last descriptor of the open file; nobody learns a number
//
// Thread-safety: any thread; async-signal-safe.
// Errors:        Outcome with the kernel's errno: ENOLCK, EOPNOTSUPP where a file system has none.
#pragma once

#include <cstdint>
#include <optional>

#include "quire/sys/outcome.h"

namespace quire::sys {

enum class LockHolder : std::uint8_t { kProcess, kOpenFile };

// Never blocks. REQUIRES: `fd` may read. Errors: EAGAIN, EACCES when somebody has locked the byte
// for himself alone.
Outcome<void> lock_byte_shared(int fd, std::uint64_t offset_bytes, LockHolder holder) noexcept;

struct ByteLock {
  int pid = -1;  // Of a kProcess; below 1 where the kernel does not tell, as for kOpenFile.
};
// A lock of the byte that is not this open file's own; nothing when there is none.
[[nodiscard]] Outcome<std::optional<ByteLock>> find_byte_lock(int fd,
                                                              std::uint64_t offset_bytes) noexcept;

}  // namespace quire::sys
