// SPDX-License-Identifier: Apache-2.0
//
// Durability: what is on disk when a flush returns.
#pragma once

#include <cstdint>

namespace quire {

enum class Durability : std::uint8_t {
  // Nothing is promised. The range's dirty pages have been handed to the device's queue
  // (sync_file_range), which spreads the work before a later kData. msync(MS_ASYNC), often taken
  // for this, does nothing at all since Linux 2.6.19.
  kStarted,
  // The range's bytes, and what it takes to read them back (size, extents), survive a power cut.
  // msync(MS_SYNC), which ends with a flush of the device's cache where the file system uses
  // barriers (the default everywhere that matters).
  kData,
  // kData for the whole file, and its times and permissions (fsync); for a file that this mapping
  // created, its name in the directory too.
  kAll,
};

}  // namespace quire
