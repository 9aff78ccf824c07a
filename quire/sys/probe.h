// SPDX-License-Identifier: Apache-2.0
//
// probe: what this kernel, this process's permissions and this file system really offer.
//
// Each capability is tried, on memory and files of the probe's own; nothing is inferred from the
// kernel's version, which says nothing about seccomp filters, lockdown, backports or configuration.
// Each answer carries its reason and what follows from it for a user of quire.
//
// The names are stable and dotted: "userfaultfd.syscall", "io_uring.defer_taskrun", "cachestat".
//
// Thread-safety: any thread. probe_machine() probes once per process; the first caller waits.
// Cost:          the first probe_machine() takes a few milliseconds, later ones nothing.
//                probe_path() takes a few milliseconds and some device reads.
// Errors:        a capability that cannot be tried is kUnknown with a reason; the probe itself
//                never fails. probe_path() fails only when there is no such path to look at.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "quire/base/result.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/direct_io.h"
#include "quire/sys/file_system.h"

namespace quire::sys {

enum class Availability : std::uint8_t { kYes, kNo, kUnknown };

// "yes", "no", "unknown"
[[nodiscard]] const char* name_of(Availability availability) noexcept;

struct Capability {
  std::string name;
  Availability available = Availability::kUnknown;
  std::string detail;       // What exactly was found: sizes, flags, settings. May be empty.
  std::string reason;       // Why not, or why unknown: "EPERM: ..."; empty when available.
  std::string consequence;  // What follows for a user of quire, in either case.
};

// The one of that name, or null.
[[nodiscard]] const Capability* find(const std::vector<Capability>& capabilities,
                                     std::string_view name) noexcept;

struct MachineProbe {
  std::string kernel_release;  // "6.18.4"
  std::string architecture;    // "x86_64"
  std::uint64_t page_size_bytes = 0;
  std::uint32_t processor_count = 0;  // That this process may run on.
  bool is_root = false;
  std::vector<Capability> capabilities;

  // Whether it was tried and worked.
  // REQUIRES: the name is one that the probe knows.
  [[nodiscard]] bool has(std::string_view name) const noexcept;
};

// The answer of the first call in this process.
[[nodiscard]] const MachineProbe& probe_machine();
// Tries everything again.
[[nodiscard]] MachineProbe probe_machine_now();

struct PathProbe {
  std::string path;
  FileKind kind = FileKind::kOther;
  FileSystem file_system;
  // Set when an O_DIRECT read of that alignment was seen to work.
  std::optional<DirectAlignment> direct_alignment;
  std::vector<Capability> capabilities;
};

// A directory is probed through a nameless temporary file of 64 KiB in it (a named one that is
// unlinked at once, ".quire-doctor-probe-*", where the file system has no nameless files); a
// regular file or block device by small reads, and nothing is ever written to it.
// Errors: ENOENT, EACCES, ELOOP ... of the path; kWrongKind for a pipe, socket or character device.
[[nodiscard]] Result<PathProbe> probe_path(const std::string& path);

}  // namespace quire::sys
