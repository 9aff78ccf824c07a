// SPDX-License-Identifier: Apache-2.0
#include "quire/testing/failing_disk.h"

#include <vector>

namespace quire::testing {
namespace {

// The script gets: pread <handle> <count> <offset>.
std::vector<std::string> plugin(std::uint64_t size_bytes, std::uint64_t bad_from_bytes) {
  return {"eval", "get_size=echo " + std::to_string(size_bytes),
          "pread=if [ $(($3 + $4)) -gt " + std::to_string(bad_from_bytes) +
              " ]; then echo EIO bad sector >&2; exit 1; fi; head -c $3 /dev/zero",
          "pwrite=cat >/dev/null"};
}

}  // namespace

FailingDisk::FailingDisk(const TempDir& directory, std::uint64_t size_bytes,
                         std::uint64_t bad_from_bytes)
    : file_(directory.file("failing_disk"), plugin(size_bytes, bad_from_bytes)) {}

}  // namespace quire::testing
