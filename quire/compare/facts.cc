// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/facts.h"

#include <fmt/format.h>

#include <string_view>

#include "quire/base/units.h"
#include "quire/sys/file_system.h"
#include "quire/sys/huge_pages.h"
#include "quire/sys/limits.h"
#include "quire/sys/probe.h"
#include "quire/sys/proc_files.h"

namespace quire::compare {
namespace {

// From here on a random load of a mapping reads more around it than it asked for by far.
constexpr std::uint64_t kReadAheadLargeBytes = 512_KiB;

Fact machine_fact(const sys::MachineProbe& machine) {
  return {.name = "machine",
          .value = fmt::format("Linux {}, {} CPU{}", machine.kernel_release,
                               machine.processor_count, machine.processor_count == 1 ? "" : "s"),
          .consequence = machine.processor_count < 4
                             ? "what a path leaves to the kernel's own threads competes with it"
                             : ""};
}

Fact file_system_fact(const sys::FileSystem& system) {
  std::string consequence;
  switch (system.type.kind) {
    case sys::StorageKind::kMemory:
      consequence = "the page cache is the storage: nothing is ever cold, no device is measured";
      break;
    case sys::StorageKind::kNetwork:
    case sys::StorageKind::kUserSpace:
      consequence = "a page that is missing is fetched by another program or machine";
      break;
    case sys::StorageKind::kStacked: consequence = "another file system below answers"; break;
    default: break;
  }
  if (!system.has_barriers) {
    consequence += consequence.empty() ? "" : "; ";
    consequence += "mounted without barriers: a flush is a promise";
  }
  return {.name = "file system",
          .value = fmt::format("{} on {}", system.type.name,
                               system.source.empty() ? "an unknown device" : system.source),
          .consequence = std::move(consequence)};
}

void add_device_facts(const sys::BlockDevice& device, std::vector<Fact>& facts) {
  if (device.read_ahead_bytes) {
    const std::uint64_t pages = *device.read_ahead_bytes / 4_KiB;
    facts.push_back(
        {.name = "read-ahead",
         .value = human_bytes(*device.read_ahead_bytes),
         .consequence = *device.read_ahead_bytes >= kReadAheadLargeBytes
                            ? fmt::format("a random load of a mapping reads up to {} pages for "
                                          "one, unless it is advised (MADV_RANDOM)",
                                          pages)
                            : ""});
  }
  if (!device.scheduler.empty()) {
    facts.push_back({.name = "scheduler", .value = device.scheduler, .consequence = ""});
  }
  if (device.is_rotational) {
    facts.push_back({.name = "rotational",
                     .value = *device.is_rotational ? "yes" : "no",
                     .consequence = *device.is_rotational
                                        ? "or a virtual disk that does not say what it lies on"
                                        : ""});
  }
  if (!device.write_cache.empty()) {
    facts.push_back({.name = "write cache",
                     .value = device.write_cache,
                     .consequence = device.write_cache == "write back"
                                        ? "durable means a flush of the device's cache"
                                        : ""});
  }
}

// By the names that virtual block devices have, and what the firmware says of the machine.
bool is_virtual(const sys::BlockDevice& device) {
  const std::string_view name = device.name;
  if (name.starts_with("vd") || name.starts_with("xvd") || !device.backing_file.empty()) {
    return true;
  }
  const auto cpu = sys::read_proc_file("/proc/cpuinfo");
  return cpu && cpu->find(" hypervisor") != std::string::npos;
}

void add_memory_facts(std::vector<Fact>& facts) {
  const sys::MemoryLimits limits = sys::memory_limits();
  if (limits.binding_bytes) {
    facts.push_back({.name = "memory", .value = limits.binding, .consequence = ""});
  }
  if (limits.machine) {
    facts.push_back({.name = "swap",
                     .value = limits.machine->swap_total_bytes == 0
                                  ? "none"
                                  : human_bytes(limits.machine->swap_total_bytes),
                     .consequence = ""});
  }
  const std::string setting = sys::transparent_huge_page_setting(sys::HugePageUse::kAnonymous);
  facts.push_back({.name = "huge pages",
                   .value = setting,
                   .consequence = setting == "never"
                                      ? "direct reads go into ordinary pages, in more and shorter "
                                        "segments"
                                      : ""});
}

Fact ring_fact(const sys::MachineProbe& machine) {
  const bool has_ring = machine.has("io_uring.setup");
  const sys::Capability* capability = find(machine.capabilities, "io_uring.setup");
  return {.name = "io_uring",
          .value = has_ring ? "yes" : "no",
          .consequence = has_ring || capability == nullptr
                             ? ""
                             : "queued paths use threads: " + capability->reason};
}

}  // namespace

std::vector<Fact> gather_facts(const Target& target) {
  const sys::MachineProbe& machine = sys::probe_machine();
  std::vector<Fact> facts{machine_fact(machine), file_system_fact(target.file_system())};
  if (const auto& device = target.file_system().device) {
    add_device_facts(*device, facts);
    facts.push_back({.name = "virtual disk",
                     .value = is_virtual(*device) ? "yes" : "no",
                     .consequence = is_virtual(*device)
                                        ? "its host may answer from memory what is cold here, and "
                                          "other guests share it"
                                        : ""});
  }
  add_memory_facts(facts);
  facts.push_back(ring_fact(machine));
  return facts;
}

}  // namespace quire::compare
