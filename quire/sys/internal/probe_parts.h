// SPDX-License-Identifier: Apache-2.0
//
// probe_parts: what the probes of probe.h are made of. A trial is a name, two consequences, and a
// function that tries it; the parts below are tables of trials, one file each.
//
// Every system call whose answer decides a capability goes through try_call(), that is through
// Call::kProbe, so that tests can make each of them fail in turn.
//
// Thread-safety: as probe.h.
#pragma once

#include <cerrno>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "quire/sys/call.h"
#include "quire/sys/memory.h"
#include "quire/sys/probe.h"

namespace quire::sys::internal {

// Runs one call that returns -1 with errno set when it fails.
template <typename Function>
Outcome<long> try_call(Function&& function) noexcept {
  for (;;) {
    const CallSite site = CallSite::enter(Call::kProbe);
    if (site.error != 0) {
      return refuse(site.error);
    }
    const long result = static_cast<long>(function());
    if (result >= 0) {
      return result;
    }
    if (errno != EINTR) {
      return refuse_with_errno();
    }
  }
}

struct Trial {
  const char* name;
  const char* if_available;  // What follows when it works,
  const char* if_not;        // and when it does not.
};

// What a trial gave: a detail (may be empty), or the errno of the call that refused.
using Finding = Outcome<std::string>;

// "EPERM: not allowed by permissions or a seccomp filter". `hint` adds what is known beyond that.
[[nodiscard]] std::string explain(Errno cause, const std::string& hint = {});

// Errors that say nothing about the capability (no descriptors, no memory, an I/O error) make it
// unknown, others unavailable. The hint goes into the reason.
[[nodiscard]] Capability conclude(const Trial& trial, const Finding& finding,
                                  const std::string& hint = {});
[[nodiscard]] Capability conclude_unavailable(const Trial& trial, std::string reason);
[[nodiscard]] Capability conclude_unknown(const Trial& trial, std::string reason);

// Anonymous memory for a trial, unmapped at its end.
class ProbePages {
 public:
  // Errors: of mmap.
  [[nodiscard]] static Outcome<ProbePages> map(const MapRequest& request) noexcept;
  ProbePages(ProbePages&& other) noexcept
      : address_(std::exchange(other.address_, nullptr)), length_bytes_(other.length_bytes_) {}
  ProbePages& operator=(ProbePages&&) = delete;
  ~ProbePages();

  [[nodiscard]] Address address() const noexcept { return address_; }
  [[nodiscard]] std::uint64_t length_bytes() const noexcept { return length_bytes_; }

 private:
  ProbePages(Address address, std::uint64_t length_bytes) noexcept
      : address_(address), length_bytes_(length_bytes) {}

  Address address_;
  std::uint64_t length_bytes_;
};

// One readable and writable private page.
[[nodiscard]] Outcome<ProbePages> one_page() noexcept;

// "a, b, c"
[[nodiscard]] std::string join(std::span<const std::string> words);

// "name=value" of a one-line file below /proc/sys or /sys; "" when it cannot be read.
[[nodiscard]] std::string setting(const char* name, const char* path);

// The parts. Each appends its capabilities, whatever happens.
void probe_userfaultfd(std::vector<Capability>& found);
void probe_io_uring(std::vector<Capability>& found);
void probe_memory(std::vector<Capability>& found);
void probe_huge_pages(std::vector<Capability>& found);

// What path probes work on.
struct PathSubject {
  int fd = -1;
  FileKind kind = FileKind::kRegular;
  std::uint64_t size_bytes = 0;
  int twin_fd = -1;  // With a temporary file of ours: a second, empty one. -1: somebody's file.

  [[nodiscard]] bool is_ours() const noexcept { return twin_fd >= 0; }
};

// Each part appends the capabilities of a file; the skip_ form appends the same names, all unknown
// for one reason, when there is no file to try them on.

// Returns the alignment of direct reads where they worked. `is_residency_told`: what
// probe_page_cache() found; without it nothing can be verified.
std::optional<DirectAlignment> probe_direct_io(const PathSubject& subject, bool is_residency_told,
                                               std::vector<Capability>& found);
void skip_direct_io(const std::string& reason, std::vector<Capability>& found);

void probe_file_io(const PathSubject& subject, std::vector<Capability>& found);
void skip_file_io(const std::string& reason, std::vector<Capability>& found);

// Returns whether the kernel tells the truth about what is cached of this file.
bool probe_page_cache(const PathSubject& subject, std::vector<Capability>& found);
void skip_page_cache(const std::string& reason, std::vector<Capability>& found);

}  // namespace quire::sys::internal
