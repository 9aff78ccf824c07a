// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/probe.h"

#include <fmt/format.h>
#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "quire/base/check.h"
#include "quire/sys/internal/probe_parts.h"
#include "quire/sys/internal/text_scan.h"
#include "quire/sys/proc_files.h"

namespace quire::sys {
namespace internal {
namespace {

// What an errno means when a capability is probed.
const char* meaning(int value) noexcept {
  switch (value) {
    case ENOSYS: return "this kernel does not have the call, or a filter hides it";
    case EPERM: return "not permitted: a missing privilege, a setting or a seccomp filter";
    case EACCES: return "not permitted by the file's permissions";
    case EINVAL: return "this kernel does not know the request";
    case EOPNOTSUPP: return "not supported here";
    case ENOTTY: return "this kernel or file system does not know the request";
    case ENOENT:
    case ENODEV: return "not present here";
    case ENOMEM: return "no memory was to be had for the trial";
    case EMFILE:
    case ENFILE: return "no descriptor was left for the trial";
    case EROFS: return "the file system is mounted read-only";
    case ENOSPC:
    case EDQUOT: return "no space was left for the trial";
    case EIO: return "the device reported an error";
    default: return "the trial failed";
  }
}

// Errors of the circumstances, not of the capability.
bool says_nothing(int value) noexcept {
  constexpr std::array kCircumstances{ENOMEM, EMFILE, ENFILE, EAGAIN, EROFS,  ENOSPC,
                                      EDQUOT, EIO,    EINTR,  EBUSY,  ETXTBSY};
  return std::find(kCircumstances.begin(), kCircumstances.end(), value) != kCircumstances.end();
}

std::string consequence_of(const Trial& trial, Availability available) {
  switch (available) {
    case Availability::kYes: return trial.if_available;
    case Availability::kNo: return trial.if_not;
    case Availability::kUnknown: break;
  }
  return std::string("until it is known: ") + trial.if_not;
}

Capability make(const Trial& trial, Availability available, std::string detail,
                std::string reason) {
  return {.name = trial.name,
          .available = available,
          .detail = std::move(detail),
          .reason = std::move(reason),
          .consequence = consequence_of(trial, available)};
}

}  // namespace

std::string explain(Errno cause, const std::string& hint) {
  std::string text = fmt::format("{}: {}", errno_name(cause.value), meaning(cause.value));
  return hint.empty() ? text : fmt::format("{} ({})", text, hint);
}

Capability conclude(const Trial& trial, const Finding& finding, const std::string& hint) {
  if (finding) {
    return make(trial, Availability::kYes, *finding, {});
  }
  const bool is_unknown = says_nothing(finding.error().value);
  return make(trial, is_unknown ? Availability::kUnknown : Availability::kNo, {},
              explain(finding.error(), hint));
}

Capability conclude_unavailable(const Trial& trial, std::string reason) {
  return make(trial, Availability::kNo, {}, std::move(reason));
}

Capability conclude_unknown(const Trial& trial, std::string reason) {
  return make(trial, Availability::kUnknown, {}, std::move(reason));
}

Outcome<ProbePages> ProbePages::map(const MapRequest& request) noexcept {
  Address address = QUIRE_TRY(map_pages(request));
  return ProbePages(address, request.length_bytes);
}

ProbePages::~ProbePages() {
  if (address_ != nullptr) {
    static_cast<void>(unmap_pages(address_, length_bytes_));
  }
}

Outcome<ProbePages> one_page() noexcept {
  return ProbePages::map({.length_bytes = os_page_size().bytes(),
                          .protection = Protection::kReadWrite,
                          .visibility = Visibility::kPrivate});
}

std::string join(std::span<const std::string> words) {
  return fmt::format("{}", fmt::join(words, ", "));
}

std::string setting(const char* name, const char* path) {
  const Outcome<std::string> text = read_proc_file(path);
  return text ? fmt::format("{}={}", name, trim(*text)) : std::string();
}

}  // namespace internal

namespace {

std::uint32_t usable_processors() noexcept {
  cpu_set_t processors;
  CPU_ZERO(&processors);
  if (::sched_getaffinity(0, sizeof processors, &processors) != 0) {
    return static_cast<std::uint32_t>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
  }
  return static_cast<std::uint32_t>(CPU_COUNT(&processors));
}

}  // namespace

const char* name_of(Availability availability) noexcept {
  switch (availability) {
    case Availability::kYes: return "yes";
    case Availability::kNo: return "no";
    case Availability::kUnknown: break;
  }
  return "unknown";
}

const Capability* find(const std::vector<Capability>& capabilities,
                       std::string_view name) noexcept {
  for (const Capability& capability : capabilities) {
    if (capability.name == name) {
      return &capability;
    }
  }
  return nullptr;
}

bool MachineProbe::has(std::string_view name) const noexcept {
  const Capability* capability = find(capabilities, name);
  QUIRE_CHECK(capability != nullptr);
  return capability->available == Availability::kYes;
}

MachineProbe probe_machine_now() {
  MachineProbe probe;
  utsname system{};
  if (::uname(&system) == 0) {
    probe.kernel_release = system.release;
    probe.architecture = system.machine;
  }
  probe.page_size_bytes = os_page_size().bytes();
  probe.processor_count = usable_processors();
  probe.is_root = ::geteuid() == 0;
  internal::probe_memory(probe.capabilities);
  internal::probe_huge_pages(probe.capabilities);
  internal::probe_userfaultfd(probe.capabilities);
  internal::probe_io_uring(probe.capabilities);
  return probe;
}

const MachineProbe& probe_machine() {
  static const MachineProbe probe = probe_machine_now();
  return probe;
}

}  // namespace quire::sys
