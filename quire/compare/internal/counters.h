// SPDX-License-Identifier: Apache-2.0
//
// counters: what the kernel counts about this process and the device, over the measured part of a
// round: from the construction of a Counting to stop().
//
// Thread-safety: one thread. Cost: two small files of /proc and /sys, outside of what is counted.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "quire/base/units.h"
#include "quire/compare/report.h"
#include "quire/compare/target.h"
#include "quire/sys/child.h"

namespace quire::compare::internal {

class Counting {
 public:
  explicit Counting(const Target& target);
  // Fills in CPU time, faults and device bytes. What cannot be read stays unknown.
  void stop(Round& round) const;

 private:
  struct DeviceBytes {
    std::optional<std::uint64_t> read;     // By this process, from devices.
    std::optional<std::uint64_t> written;  // By the device, whoever's they are.
  };
  [[nodiscard]] DeviceBytes device_bytes() const;

  const Target& target_;
  DeviceBytes device_before_;
  sys::ProcessUsage usage_before_;
};

// Of the file in the page cache; nothing where the kernel does not tell.
[[nodiscard]] std::optional<std::uint64_t> cached_bytes(int fd, ByteRange range);

// Bytes written, of a line of /sys/class/block/NAME/stat: the seventh number, in units of 512.
[[nodiscard]] std::optional<std::uint64_t> written_bytes_of(std::string_view stat_line);

}  // namespace quire::compare::internal
