// SPDX-License-Identifier: Apache-2.0
//
// process_view: `quire map --pid N`: what a process maps, and whether it looks like a leak.
//
//   resident = clean file pages    the kernel drops them when it needs the memory
//            + dirty file pages    it writes them first, then drops them
//            + shared memory       tmpfs, memfd, System V: stays until its owner goes
//            + anonymous memory    heap, stacks, private copies: only the process gives it back
//
// Only the last can leak without anybody's doing, so the verdict is one sentence about which part
// is the largest. One look cannot tell growth; the sentence says what to watch.
//
// Thread-safety: one thread.
// Errors:        reported: no such process; EACCES for the process of somebody else.
// Kernel:        /proc/PID/smaps; the sums are those of /proc/PID/status (RssAnon and so on, 4.5).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "quire/cli/session.h"

namespace quire::cli {

// What the resident memory of a process consists of.
struct ProcessMemory {
  std::uint64_t clean_file_bytes = 0;
  std::uint64_t dirty_file_bytes = 0;
  std::uint64_t shared_bytes = 0;
  std::uint64_t anonymous_bytes = 0;
  std::uint64_t swapped_bytes = 0;  // Not resident: anonymous memory on disk.
  std::uint64_t locked_bytes = 0;   // Part of the above.

  [[nodiscard]] std::uint64_t resident_bytes() const noexcept {
    return clean_file_bytes + dirty_file_bytes + shared_bytes + anonymous_bytes;
  }
};

// Whether it looks like a leak, in one sentence.
[[nodiscard]] std::string leak_verdict(const ProcessMemory& memory);

// All mappings of one file, or all of one kind of memory without a file.
struct MappedObject {
  std::string name;  // The path, "[heap]", "[stack]", "[anonymous]".
  bool is_file = false;
  bool is_deleted = false;
  std::uint64_t size_bytes = 0;
  std::uint64_t resident_bytes = 0;
  std::uint64_t proportional_bytes = 0;
  std::uint64_t dirty_bytes = 0;
  std::uint64_t swapped_bytes = 0;
  std::uint64_t locked_bytes = 0;
};

// From the text of smaps and status; largest resident first.
struct ProcessPicture {
  ProcessMemory memory;
  std::vector<MappedObject> objects;
};
[[nodiscard]] ProcessPicture picture_of(std::string_view smaps, std::string_view status);

[[nodiscard]] ExitCode show_process(Session& session, int pid, bool is_all);

}  // namespace quire::cli
