// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/internal/counters.h"

#include <fmt/format.h>

#include "quire/map/residency.h"
#include "quire/sys/proc_files.h"

namespace quire::compare::internal {
namespace {

constexpr std::uint64_t kSectorBytes = 512;  // Of /sys, whatever the device's are.

std::optional<std::uint64_t> difference(const std::optional<std::uint64_t>& before,
                                        const std::optional<std::uint64_t>& after) {
  return before && after && *after >= *before ? std::optional(*after - *before) : std::nullopt;
}

}  // namespace

// The usage is read last here and first in stop(): reading the files is not counted.
Counting::Counting(const Target& target)
    : target_(target), device_before_(device_bytes()), usage_before_(sys::own_usage()) {}

void Counting::stop(Round& round) const {
  const sys::ProcessUsage usage = sys::own_usage();
  const DeviceBytes device = device_bytes();
  round.cpu_s = usage.cpu_s() - usage_before_.cpu_s();
  round.major_faults = usage.major_faults - usage_before_.major_faults;
  round.minor_faults = usage.minor_faults - usage_before_.minor_faults;
  round.device_read_bytes = difference(device_before_.read, device.read);
  round.device_written_bytes = difference(device_before_.written, device.written);
}

Counting::DeviceBytes Counting::device_bytes() const {
  const auto& device = target_.file_system().device;
  if (!device) {
    return {};
  }
  const auto own = sys::read_proc_file("/proc/self/io");
  // The partition where the file is on one: the disk's other partitions are not ours.
  const std::string& name = device->partition.empty() ? device->name : device->partition;
  const auto stat = sys::read_proc_file(fmt::format("/sys/class/block/{}/stat", name));
  return {.read = own ? sys::parse_field(*own, "read_bytes") : std::nullopt,
          .written = stat ? written_bytes_of(*stat) : std::nullopt};
}

std::optional<std::uint64_t> cached_bytes(int fd, ByteRange range) {
  const auto found = residency(fd, range);
  return found && found->resident_known ? std::optional(found->resident_bytes) : std::nullopt;
}

std::optional<std::uint64_t> written_bytes_of(std::string_view stat_line) {
  constexpr int kSectorsWritten = 7;
  for (int field = 1;; ++field) {
    const std::size_t begin = stat_line.find_first_not_of(" \t\n");
    if (begin == std::string_view::npos) {
      return std::nullopt;
    }
    stat_line.remove_prefix(begin);
    const std::string_view word = stat_line.substr(0, stat_line.find_first_of(" \t\n"));
    if (field == kSectorsWritten) {
      const auto sectors = sys::parse_number(word);
      return sectors ? std::optional(*sectors * kSectorBytes) : std::nullopt;
    }
    stat_line.remove_prefix(word.size());
  }
}

}  // namespace quire::compare::internal
