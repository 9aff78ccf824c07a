// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/limits.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>

#include "quire/sys/call.h"
#include "quire/sys/internal/memory_cgroups.h"
#include "quire/sys/internal/text_scan.h"
#include "quire/sys/memory.h"
#include "quire/sys/proc_files.h"

namespace quire::sys {
namespace {

// CAP_IPC_LOCK in the CapEff mask of /proc/self/status.
constexpr int kCapabilityIpcLock = 14;

// Without zoneinfo: the watermarks together stay well below this share of memory
// (watermark_scale_factor is 0.1 % by default; min_free_kbytes shrinks as memory grows).
constexpr std::uint64_t kReserveShare = 64;

std::string read_or_empty(const SystemRoot& root, const char* path, std::size_t bytes_max) {
  return read_proc_file(root.prefix + path, bytes_max).value_or("");
}

std::string read_or_empty(const SystemRoot& root, const char* path) {
  return read_or_empty(root, path, kProcFileBytesDefault);
}

std::optional<std::uint64_t> to_bound(rlim_t value) {
  return value == RLIM_INFINITY ? std::nullopt : std::optional<std::uint64_t>(value);
}

ResourceLimit resource_limit(__rlimit_resource resource) {
  rlimit raw{};
  if (CallSite::enter(Call::kProbe).error != 0 || ::getrlimit(resource, &raw) != 0) {
    return {};
  }
  return {.is_known = true, .soft = to_bound(raw.rlim_cur), .hard = to_bound(raw.rlim_max)};
}

// mlock asks for the capability in the first user namespace; one inside a container's own does not
// count, though it shows in CapEff.
bool is_first_user_namespace(std::string_view uid_map) {
  constexpr std::uint64_t kAllIds = 4294967295;
  const auto inside = internal::to_number(internal::take_word(uid_map));
  const auto outside = internal::to_number(internal::take_word(uid_map));
  const auto count = internal::to_number(internal::trim(uid_map));
  return inside == 0U && outside == 0U && count == kAllIds;
}

bool has_ipc_lock(std::string_view status, std::string_view uid_map) {
  while (!status.empty()) {
    std::string_view line = internal::take_line(status);
    if (internal::take_word(line) == "CapEff:") {
      const auto mask = internal::to_number(internal::take_word(line), 16);
      return mask && ((*mask >> kCapabilityIpcLock) & 1) != 0 && is_first_user_namespace(uid_map);
    }
  }
  return false;
}

std::optional<std::uint64_t> count_mappings(const SystemRoot& root) {
  const auto maps = read_proc_file(root.prefix + "/proc/self/maps", kProcFileBytesMax);
  if (!maps) {
    return std::nullopt;
  }
  return static_cast<std::uint64_t>(std::count(maps->begin(), maps->end(), '\n'));
}

std::uint64_t saturating_subtract(std::uint64_t from, std::uint64_t what) {
  return from > what ? from - what : 0;
}

// What the page allocator can give before no zone is above its low watermark any more. A request
// that could use every zone must leave each zone its protection as well (lowmem_reserve_ratio).
// Taken off MemFree and not summed up over the zones: memory whose struct pages are initialised
// late counts in MemFree only, and enters its zone before anything is reclaimed.
std::optional<std::uint64_t> free_above_watermarks(const SystemRoot& root,
                                                   std::uint64_t free_bytes) {
  const std::string text = read_or_empty(root, "/proc/zoneinfo", kProcFileBytesMax);
  const std::vector<MemoryZone> zones = parse_zoneinfo(text);
  if (zones.empty()) {
    return std::nullopt;
  }
  std::uint64_t kept_pages = 0;
  for (const MemoryZone& zone : zones) {
    kept_pages += std::min(zone.free_pages, zone.low_pages + zone.protection_pages);
  }
  return saturating_subtract(free_bytes, kept_pages * os_page_size().bytes());
}

std::optional<MachineMemory> machine_memory(const SystemRoot& root) {
  const std::string text = read_or_empty(root, "/proc/meminfo");
  const std::optional<std::uint64_t> total_bytes = parse_field(text, "MemTotal");
  const std::optional<std::uint64_t> free_bytes = parse_field(text, "MemFree");
  if (!total_bytes || !free_bytes) {
    return std::nullopt;
  }
  return MachineMemory{.total_bytes = *total_bytes,
                       .free_bytes = *free_bytes,
                       .available_bytes = parse_field(text, "MemAvailable").value_or(*free_bytes),
                       .cached_bytes = parse_field(text, "Cached").value_or(0),
                       .swap_total_bytes = parse_field(text, "SwapTotal").value_or(0),
                       .swap_free_bytes = parse_field(text, "SwapFree").value_or(0),
                       .free_above_watermarks_bytes = free_above_watermarks(root, *free_bytes)};
}

std::optional<MemoryPressure> memory_pressure(const SystemRoot& root) {
  const std::string text = read_or_empty(root, "/proc/pressure/memory");
  const std::optional<double> some = parse_pressure(text, "some");
  if (!some) {
    return std::nullopt;
  }
  return MemoryPressure{.some_percent_10s = *some,
                        .full_percent_10s = parse_pressure(text, "full").value_or(0)};
}

std::string describe(const CgroupLevel& level) {
  return fmt::format("cgroup v{} {}", level.version, level.path);
}

// Where reclaim starts in a cgroup; std::nullopt when it has no limit.
std::optional<std::uint64_t> ceiling(const CgroupLevel& level) {
  if (level.limit_bytes && level.high_bytes) {
    return std::min(*level.limit_bytes, *level.high_bytes);
  }
  return level.limit_bytes ? level.limit_bytes : level.high_bytes;
}

std::string in_use(const std::optional<std::uint64_t>& bytes) {
  return bytes ? fmt::format(" ({} in use)", human_bytes(*bytes)) : std::string();
}

void find_binding(MemoryLimits& limits) {
  std::string who = "the machine";
  if (limits.machine) {
    limits.binding_bytes = limits.machine->total_bytes;
    limits.binding_usage_bytes = saturating_subtract(limits.machine->total_bytes,  //
                                                     limits.machine->available_bytes);
  }
  for (const CgroupLevel& level : limits.cgroups) {
    const std::optional<std::uint64_t> bytes = ceiling(level);
    if (bytes && (!limits.binding_bytes || *bytes < *limits.binding_bytes)) {
      who = describe(level);
      limits.binding_bytes = bytes;
      limits.binding_usage_bytes = level.usage_bytes;
    }
  }
  limits.binding = limits.binding_bytes
                       ? fmt::format("{}: {}{}", who, human_bytes(*limits.binding_bytes),
                                     in_use(limits.binding_usage_bytes))
                       : "unknown: neither /proc/meminfo nor a cgroup tells";
}

MemoryHeadroom machine_headroom(const MachineMemory& machine) {
  if (machine.free_above_watermarks_bytes) {
    const std::uint64_t bytes = *machine.free_above_watermarks_bytes;
    return {.bytes = bytes,
            .is_known = true,
            .binding = fmt::format("the machine has {} free above its low watermarks",
                                   human_bytes(bytes))};
  }
  const std::uint64_t bytes =
      saturating_subtract(machine.free_bytes, machine.total_bytes / kReserveShare);
  return {
      .bytes = bytes,
      .is_known = true,
      .binding = fmt::format("the machine has {} free, a reserve of {} left out",
                             human_bytes(bytes), human_bytes(machine.total_bytes / kReserveShare))};
}

MemoryHeadroom cgroup_headroom(const CgroupLevel& level, std::uint64_t ceiling_bytes) {
  if (!level.usage_bytes) {
    return {.bytes = 0,
            .is_known = true,
            .binding = fmt::format("{} has a limit of {} and does not tell how much is in use",
                                   describe(level), human_bytes(ceiling_bytes))};
  }
  const std::uint64_t bytes = saturating_subtract(ceiling_bytes, *level.usage_bytes);
  return {.bytes = bytes,
          .is_known = true,
          .binding = fmt::format("{} leaves {} of its {}", describe(level), human_bytes(bytes),
                                 human_bytes(ceiling_bytes))};
}

}  // namespace

ProcessLimits process_limits(const SystemRoot& root) {
  const std::string status = read_or_empty(root, "/proc/self/status");
  const std::string uid_map = read_or_empty(root, "/proc/self/uid_map");
  return {
      .locked_bytes = resource_limit(RLIMIT_MEMLOCK),
      .open_files = resource_limit(RLIMIT_NOFILE),
      .address_space_bytes = resource_limit(RLIMIT_AS),
      .file_size_bytes = resource_limit(RLIMIT_FSIZE),
      .may_lock_without_limit = has_ipc_lock(status, uid_map),
      .locked_now_bytes = parse_field(status, "VmLck"),
      .mappings_max = parse_number(read_or_empty(root, "/proc/sys/vm/max_map_count")),
      .mappings_now = count_mappings(root),
      .overcommit_mode = parse_number(read_or_empty(root, "/proc/sys/vm/overcommit_memory")),
  };
}

std::uint64_t lockable_bytes(const ProcessLimits& limits) noexcept {
  if (limits.may_lock_without_limit) {
    return kToEnd;
  }
  if (!limits.locked_bytes.is_known) {
    return 0;
  }
  if (!limits.locked_bytes.soft) {
    return kToEnd;
  }
  return saturating_subtract(*limits.locked_bytes.soft, limits.locked_now_bytes.value_or(0));
}

MemoryLimits memory_limits(const SystemRoot& root) {
  MemoryLimits limits;
  limits.machine = machine_memory(root);
  limits.cgroups = internal::memory_cgroups(root);
  limits.pressure = memory_pressure(root);
  find_binding(limits);
  return limits;
}

std::optional<std::uint64_t> obtainable_bytes(const MemoryLimits& limits) noexcept {
  if (!limits.machine) {
    return std::nullopt;
  }
  std::uint64_t bytes = limits.machine->available_bytes + limits.machine->swap_free_bytes;
  for (const CgroupLevel& level : limits.cgroups) {
    bytes = std::min(bytes, level.limit_bytes.value_or(bytes));
  }
  return bytes;
}

MemoryHeadroom headroom(const MemoryLimits& limits) {
  MemoryHeadroom least{.bytes = 0, .is_known = false, .binding = "unknown: no memory figures here"};
  const auto consider = [&least](MemoryHeadroom candidate) {
    if (!least.is_known || candidate.bytes < least.bytes) {
      least = std::move(candidate);
    }
  };
  if (limits.machine) {
    consider(machine_headroom(*limits.machine));
  }
  for (const CgroupLevel& level : limits.cgroups) {
    if (const std::optional<std::uint64_t> bytes = ceiling(level)) {
      consider(cgroup_headroom(level, *bytes));
    }
  }
  return least;
}

MemoryHeadroom headroom() {
  return headroom(memory_limits());
}

}  // namespace quire::sys
