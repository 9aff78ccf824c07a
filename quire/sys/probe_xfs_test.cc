// SPDX-License-Identifier: Apache-2.0
//
// What only XFS can, on one in a loop device.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "quire/sys/probe.h"
#include "quire/testing/disk.h"
#include "quire/testing/process.h"
#include "quire/testing/temp_dir.h"

namespace quire::sys {
namespace {

using Sector = std::array<unsigned char, 512>;

// CRC-32C, bit by bit.
std::uint32_t checksum_of(const Sector& sector) {
  std::uint32_t sum = ~0U;
  for (const unsigned char byte : sector) {
    sum ^= byte;
    for (int bit = 0; bit < 8; ++bit) {
      sum = (sum >> 1) ^ ((sum & 1) != 0 ? 0x82f63b78U : 0U);
    }
  }
  return ~sum;
}

// Lets an empty file system exchange ranges, which mkfs.xfs can since its version 6.10 only: a flag
// in its superblock.
void allow_exchange(const std::string& image) {
  constexpr std::size_t kFeaturesLowByteAt = 219;  // Big-endian.
  constexpr std::size_t kChecksumAt = 224;         // Little-endian.
  std::fstream file(image, std::ios::in | std::ios::out | std::ios::binary);
  Sector sector{};
  file.read(reinterpret_cast<char*>(sector.data()), sector.size());
  sector.at(kFeaturesLowByteAt) |= 0x40;
  std::memset(&sector.at(kChecksumAt), 0, 4);
  const std::uint32_t sum = checksum_of(sector);
  std::memcpy(&sector.at(kChecksumAt), &sum, 4);
  file.seekp(0);
  file.write(reinterpret_cast<const char*>(sector.data()), sector.size());
}

// The availability on a new file system; a text that begins with "skip: " when there is none.
std::string probe_new_xfs(bool allows_exchange) {
  constexpr std::uintmax_t kImageBytes = 300 << 20;  // What mkfs.xfs wants at least.
  const testing::TempDir directory;
  const std::string image = directory.write("image", "");
  const std::string mount_point = directory.file("mounted");
  std::filesystem::resize_file(image, kImageBytes);
  std::filesystem::create_directory(mount_point);
  if (testing::run_program({"mkfs.xfs", "-q", image}).end.exit_code != 0) {
    return "skip: mkfs.xfs: not installed";
  }
  if (allows_exchange) {
    allow_exchange(image);
  }
  testing::LoopDevice loop;
  testing::Mount mount;
  if (const std::string why_not = loop.attach(image); !why_not.empty()) {
    return "skip: " + why_not;
  }
  if (const std::string why_not = mount.mount("xfs", loop.path(), mount_point, "");
      !why_not.empty()) {
    return "skip: " + why_not;
  }
  const PathProbe probe = probe_path(mount_point).value();
  const Capability* const found = find(probe.capabilities, "exchange_range");
  return found->available == Availability::kYes ? "available" : found->reason;
}

TEST(ProbeXfsTest, AnExchangeOfRangesIsThereWhereTheFileSystemHasTheFeature) {
  const std::string with = probe_new_xfs(true);
  if (with.starts_with("skip: ")) {
    GTEST_SKIP() << with.substr(6);
  }
  EXPECT_TRUE(with == "available" || with.starts_with("ENOTTY")) << with;  // Before 6.10.
  EXPECT_NE(probe_new_xfs(false), "available");
}

}  // namespace
}  // namespace quire::sys
