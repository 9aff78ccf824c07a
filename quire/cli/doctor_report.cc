// SPDX-License-Identifier: Apache-2.0
//
// From the facts to the lines of the report.
#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "quire/base/units.h"
#include "quire/cli/doctor.h"
#include "quire/cli/doctor_lines.h"

namespace quire::cli {
namespace {

using sys::Availability;
using sys::Capability;

// Shares from which a limit is near.
constexpr std::uint64_t kMappingsPercentWarned = 80;
constexpr double kPressurePercentWarned = 10.0;
constexpr std::uint64_t kOpenFilesWarned = 4096;  // Trees of many files are opened in batches.

std::string bound(const std::optional<std::uint64_t>& bytes) {
  return bytes ? human_bytes(*bytes) : "unlimited";
}

std::string count(const std::optional<std::uint64_t>& number) {
  return number ? with_thousands(*number) : "unlimited";
}

ReportSection machine_section(const sys::MachineProbe& machine) {
  return {
      .title = "Machine",
      .lines = {{.mark = Mark::kFact,
                 .name = "kernel",
                 .value = fmt::format(
                     "Linux {}, {}, {}, pages of {}, {}", machine.kernel_release,
                     machine.architecture, count_of(machine.processor_count, "CPU", "CPUs"),
                     human_bytes(machine.page_size_bytes), machine.is_root ? "root" : "not root"),
                 .consequence = {}}}};
}

ReportLine memory_line(const std::optional<sys::MachineMemory>& machine) {
  if (!machine) {
    return {Mark::kUnknown, "memory", "/proc/meminfo cannot be read", "nothing is warmed blindly"};
  }
  const bool has_swap = machine->swap_total_bytes > 0;
  return {Mark::kFact, "memory",
          fmt::format("{}, {} available, {}swap", human_bytes(machine->total_bytes),
                      human_bytes(machine->available_bytes),
                      has_swap ? human_bytes(machine->swap_total_bytes) + " " : "no "),
          has_swap ? "shared memory may be swapped out" : ""};
}

ReportLine binding_line(const sys::MemoryLimits& memory) {
  const bool is_cgroup = memory.binding.starts_with("cgroup");
  return {memory.binding_bytes ? Mark::kFact : Mark::kUnknown, "what binds", memory.binding,
          is_cgroup ? "cached files count in it" : ""};
}

ReportLine pressure_line(const std::optional<sys::MemoryPressure>& pressure) {
  if (!pressure) {
    return {Mark::kUnknown, "pressure", "/proc/pressure/memory cannot be read",
            "thrashing shows only in the fault counts"};
  }
  const bool is_high = pressure->some_percent_10s >= kPressurePercentWarned;
  return {
      is_high ? Mark::kWarning : Mark::kGood, "pressure",
      fmt::format("{:.1f} % of the last 10 s", pressure->some_percent_10s),
      is_high ? "tasks wait for memory: warming now makes it worse" : "nobody waits for memory"};
}

ReportSection memory_section(const DoctorFacts& facts) {
  const bool is_known = facts.headroom.is_known;
  return {.title = "Memory",
          .lines = {memory_line(facts.memory.machine),
                    binding_line(facts.memory),
                    {.mark = is_known ? Mark::kFact : Mark::kUnknown,
                     .name = "headroom",
                     .value = is_known ? human_bytes(facts.headroom.bytes) : facts.headroom.binding,
                     .consequence = is_known ? "can be warmed before reclaim starts" : ""},
                    pressure_line(facts.memory.pressure)}};
}

ReportLine mappings_line(const sys::ProcessLimits& limits) {
  if (!limits.mappings_max || !limits.mappings_now) {
    return {Mark::kUnknown, "mappings", "vm.max_map_count cannot be read",
            "65530 is the usual limit"};
  }
  const bool is_near = *limits.mappings_now * 100 >= *limits.mappings_max * kMappingsPercentWarned;
  return {
      is_near ? Mark::kWarning : Mark::kFact, "mappings",
      fmt::format("{} of {}", with_thousands(*limits.mappings_now),
                  with_thousands(*limits.mappings_max)),
      is_near ? "raise vm.max_map_count (sysctl)" : "each mapping takes one (vm.max_map_count)"};
}

ReportSection mapping_section(const DoctorFacts& facts) {
  const std::vector<Capability>& all = facts.machine.capabilities;
  return {.title = "Mapping",
          .lines = {mappings_line(facts.limits),
                    line_for(all, "populate", {"madvise.populate_read", "madvise.populate_write"}),
                    line_for(all, "guard pages", {"madvise.guard", "madvise.guard_file"}),
                    line_for(all, "memory files", {"memfd", "memfd.noexec_seal"}),
                    line_for(all, "secret memory", {"memfd_secret"}),
                    line_for(all, "sealing", {"mseal"}),
                    line_for(all, "huge private", {"huge_pages.anonymous"}),
                    line_for(all, "huge shared", {"huge_pages.shared_memory"}),
                    line_for(all, "huge reserved", {"huge_pages.pool"})}};
}

// Names of the capabilities below a prefix, those that are there or those that are not.
std::vector<std::string> names_below(const std::vector<Capability>& capabilities,
                                     std::string_view prefix, bool available) {
  std::vector<std::string> names;
  for (const Capability& capability : capabilities) {
    if (capability.name.starts_with(prefix) &&
        (capability.available == Availability::kYes) == available) {
      names.push_back(capability.name.substr(prefix.size()));
    }
  }
  return names;
}

// The first way that works decides what can be had.
ReportLine userfaultfd_line(const std::vector<Capability>& all) {
  const Capability* last = nullptr;
  for (const std::string_view way :
       {"userfaultfd.device", "userfaultfd.syscall", "userfaultfd.user_mode_only"}) {
    const Capability* capability = sys::find(all, way);
    last = capability != nullptr ? capability : last;
    if (capability != nullptr && capability->available == Availability::kYes) {
      return {Mark::kGood, "userfaultfd", "by " + std::string(way.substr(way.find('.') + 1)),
              capability->consequence};
    }
  }
  return last == nullptr ? ReportLine{Mark::kUnknown, "userfaultfd", "not probed", ""}
                         : line_of("userfaultfd", *last);
}

ReportLine features_line(const std::vector<Capability>& all) {
  constexpr std::string_view kPrefix = "userfaultfd.";
  const auto is_way = [](const std::string& name) {
    return name == "device" || name == "syscall" || name == "user_mode_only";
  };
  std::vector<std::string> missing = names_below(all, kPrefix, false);
  std::vector<std::string> present = names_below(all, kPrefix, true);
  std::erase_if(missing, is_way);
  std::erase_if(present, is_way);
  if (missing.empty()) {
    return {Mark::kGood, "its features", fmt::format("all {}", present.size()),
            "paged mappings, commit() on kernel mappings"};
  }
  return {Mark::kMissing, "its features", fmt::format("without {}", fmt::join(missing, ", ")),
          "see --json for what each is for"};
}

ReportSection engine_section(const DoctorFacts& facts) {
  const std::vector<Capability>& all = facts.machine.capabilities;
  return {.title = "Paging engine",
          .lines = {userfaultfd_line(all), features_line(all),
                    line_for(all, "page scan", {"pagemap_scan"}),
                    line_for(all, "batched drop",
                             {"process_madvise.pidfd", "process_madvise.self", "pidfd_open"})}};
}

ReportLine ring_operations_line(const std::vector<Capability>& all) {
  constexpr std::string_view kPrefix = "io_uring.operations.";
  const std::vector<std::string> missing = names_below(all, kPrefix, false);
  if (missing.empty()) {
    return {Mark::kGood, "its operations",
            fmt::format("{}", fmt::join(names_below(all, kPrefix, true), ", ")), ""};
  }
  return {Mark::kMissing, "its operations", fmt::format("without {}", fmt::join(missing, ", ")),
          "these run as plain system calls"};
}

ReportSection io_section(const DoctorFacts& facts) {
  const std::vector<Capability>& all = facts.machine.capabilities;
  ReportLine ring = line_for(all, "io_uring", {"io_uring.setup"});
  if (ring.mark == Mark::kGood) {
    ring.value.clear();  // The list of its features is for --json.
  }
  return {.title = "I/O",
          .lines = {std::move(ring),
                    line_for(all, "its modes",
                             {"io_uring.defer_taskrun", "io_uring.single_issuer",
                              "io_uring.coop_taskrun", "io_uring.registered_buffers"}),
                    ring_operations_line(all), line_for(all, "cachestat", {"cachestat"})}};
}

ReportLine lock_line(const sys::ProcessLimits& limits) {
  if (limits.may_lock_without_limit) {
    return {Mark::kGood, "locked memory", "CAP_IPC_LOCK", "lock() has no limit"};
  }
  if (!limits.locked_bytes.is_known) {
    return {Mark::kUnknown, "locked memory", "RLIMIT_MEMLOCK cannot be read", ""};
  }
  return {Mark::kFact, "locked memory",
          fmt::format("{}, hard limit {}, {} in use", bound(limits.locked_bytes.soft),
                      bound(limits.locked_bytes.hard),
                      human_bytes(limits.locked_now_bytes.value_or(0))),
          limits.locked_bytes.soft ? "lock() fails beyond (ulimit -l)" : "lock() has no limit"};
}

ReportLine open_files_line(const sys::ResourceLimit& limit) {
  if (!limit.is_known) {
    return {Mark::kUnknown, "open files", "RLIMIT_NOFILE cannot be read", ""};
  }
  const bool is_low = limit.soft && *limit.soft < kOpenFilesWarned;
  return {Mark::kFact, "open files",
          fmt::format("{}, hard limit {}", count(limit.soft), count(limit.hard)),
          is_low ? "a mapping needs none after opening" : ""};
}

ReportLine address_space_line(const sys::ResourceLimit& limit) {
  if (!limit.is_known) {
    return {Mark::kUnknown, "address space", "RLIMIT_AS cannot be read", ""};
  }
  return {limit.soft ? Mark::kWarning : Mark::kGood, "address space", bound(limit.soft),
          limit.soft ? "reservations count in it: use windows() (ulimit -v)"
                     : "large reservations are free"};
}

ReportLine overcommit_line(const std::optional<std::uint64_t>& mode) {
  constexpr std::uint64_t kStrict = 2;
  if (!mode) {
    return {Mark::kUnknown, "overcommit", "vm.overcommit_memory cannot be read", ""};
  }
  if (*mode == kStrict) {
    return {Mark::kWarning, "overcommit", "vm.overcommit_memory=2 (strict)",
            "private writable memory counts when mapped, not when touched"};
  }
  return {Mark::kGood, "overcommit", fmt::format("vm.overcommit_memory={}", *mode),
          "untouched memory costs nothing"};
}

ReportSection limits_section(const sys::ProcessLimits& limits) {
  return {.title = "Limits of this process",
          .lines = {lock_line(limits), open_files_line(limits.open_files),
                    address_space_line(limits.address_space_bytes),
                    overcommit_line(limits.overcommit_mode)}};
}

}  // namespace

std::vector<ReportSection> doctor_sections(const DoctorFacts& facts) {
  return {machine_section(facts.machine), memory_section(facts), mapping_section(facts),
          engine_section(facts),          io_section(facts),     path_section(facts.path),
          limits_section(facts.limits)};
}

std::vector<std::string> warnings_of(const std::vector<ReportSection>& sections) {
  std::vector<std::string> warnings;
  for (const ReportSection& section : sections) {
    for (const ReportLine& line : section.lines) {
      if (line.mark == Mark::kWarning) {
        warnings.push_back(fmt::format("{} {}: {}", line.name, line.value, line.consequence));
      }
    }
  }
  return warnings;
}

}  // namespace quire::cli
