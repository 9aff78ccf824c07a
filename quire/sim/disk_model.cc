// SPDX-License-Identifier: Apache-2.0
#include "quire/sim/disk_model.h"

#include "quire/base/units.h"
#include "quire/sim/sim_clock.h"

namespace quire::sim {
namespace {

constexpr std::uint64_t kMegabyte = 1'000'000;  // Makers of disks count in powers of ten.
constexpr std::uint64_t kTerabyte = 1'000'000 * kMegabyte;

// A hard disk of 2012 to 2018, the kind the source articles have in mind.
//   capacity, heads, rpm, outer and inner rate: Seagate, "Constellation ES.3 SAS Product Manual",
//       rev. C, chapter 4: 1 TB with 3 heads, 7200 rpm, sustained 83 to 175 MB/s.
//   seeks: Western Digital, "Ultrastar DC HC310 OEM Specification", section 4.5.1: 7.4 ms average
//       and 0.23 ms single track (typical, reads), both including settling.
//   interface, queue: Serial ATA 3: 6 Gbit/s in 8b/10b code are 600 MB/s; NCQ has 32 tags.
//   cache: 64 MB, Seagate Barracuda XT data sheet.
//   sector: 4096 bytes, Advanced Format.
//   zones, controller, read-ahead, flush: no maker states them. 16 zones are of the usual order;
//       50 microseconds are about what a read from the disk's own buffer takes; reading ahead by a
//       track or so is what Ruemmler and Wilkes describe; a flush costs the writing it waits for
//       and one command.
constexpr DiskModel kHdd{
    .kind = DiskKind::kHdd,
    .capacity_bytes = 1 * kTerabyte,
    .sector_bytes = 4096,
    .controller_ns = 50 * kNanosecondsPerMicrosecond,
    .interface_bytes_per_s = 600 * kMegabyte,
    .queue_depth = 32,
    .cache_bytes = 64_MiB,
    .has_write_cache = true,
    .flush_ns = 0,
    .rpm = 7200,
    .heads = 3,
    .zones = 16,
    .outer_bytes_per_s = 175 * kMegabyte,
    .inner_bytes_per_s = 83 * kMegabyte,
    .seek_track_ns = 230 * kNanosecondsPerMicrosecond,
    .seek_average_ns = 7400 * kNanosecondsPerMicrosecond,
    .read_ahead_bytes = 1_MiB,
};

// A SATA flash disk: Samsung 870 EVO 1 TB.
//   rates: Samsung data sheet: 560 MB/s sequential; random 4 KiB reads 13,000 a second at depth 1
//       and 98,000 at depth 32; random writes 36,000 at depth 1.
//   units: 512 Gbit dies, so 16 of them for 1 TB, two planes each.
//   read, program: Samsung's announcement of its sixth V-NAND, 2019: below 45 and 450 microseconds.
//   controller: 98,000 commands a second, one after the other. read_latency and write_latency are
//       what the data sheet's figures at depth 1 leave after everything else.
//   page: 16 KiB, usual for this flash. cache: no maker states how much of the memory holds writes.
//   flush: no maker states it (FreeBSD r320683 measured 2 ms on a Samsung 950 PRO).
constexpr DiskModel kSsd{
    .kind = DiskKind::kSsd,
    .capacity_bytes = 1 * kTerabyte,
    .sector_bytes = 512,
    .controller_ns = 10'200,
    .interface_bytes_per_s = 560 * kMegabyte,
    .queue_depth = 32,
    .cache_bytes = 64_MiB,
    .has_write_cache = true,
    .flush_ns = 2000 * kNanosecondsPerMicrosecond,
    .units = 32,
    .page_bytes = 16_KiB,
    .read_ns = 45 * kNanosecondsPerMicrosecond,
    .program_ns = 450 * kNanosecondsPerMicrosecond,
    .read_latency_ns = 14'400,
    .write_latency_ns = 10'300,
};

// An NVMe flash disk on PCIe 3.0 x4: Samsung 970 EVO Plus 1 TB.
//   rates: Samsung data sheet: 3500 MB/s reading, 3300 MB/s writing into its single-level part,
//       random 4 KiB reads 19,000 a second at depth 1 and 600,000 at depth 32 on four threads;
//       random writes 60,000 at depth 1.
//   units: 256 Gbit dies, so 32 of them for 1 TB, two planes each.
//   read: Samsung's announcement of its fifth V-NAND, 2018: 50 microseconds. program: what 64 units
//       need to write 3300 MB/s; the same announcement has 500 for three bits a cell.
//   controller: 600,000 commands a second. write_latency as above.
//   queue: what Linux grants such a disk (1023), of the 65,535 that NVMe permits.
//   page, cache, flush: as for the SATA disk.
constexpr DiskModel kNvme{
    .kind = DiskKind::kNvme,
    .capacity_bytes = 1 * kTerabyte,
    .sector_bytes = 512,
    .controller_ns = 1'667,
    .interface_bytes_per_s = 3500 * kMegabyte,
    .queue_depth = 1023,
    .cache_bytes = 64_MiB,
    .has_write_cache = true,
    .flush_ns = 2000 * kNanosecondsPerMicrosecond,
    .units = 64,
    .page_bytes = 16_KiB,
    .read_ns = 50 * kNanosecondsPerMicrosecond,
    .program_ns = 318 * kNanosecondsPerMicrosecond,
    .read_latency_ns = 0,
    .write_latency_ns = 13'800,
};

}  // namespace

const char* name_of(DiskKind kind) noexcept {
  switch (kind) {
    case DiskKind::kHdd: return "hdd";
    case DiskKind::kSsd: return "ssd";
    case DiskKind::kNvme: return "nvme";
  }
  return "";
}

std::uint64_t DiskModel::rotation_ns() const noexcept {
  return 60 * kNanosecondsPerSecond / rpm;
}

std::uint64_t DiskModel::seek_stroke_ns() const noexcept {
  return (seek_average_ns - seek_track_ns) * 15 / 8;
}

DiskModel preset(DiskKind kind) noexcept {
  switch (kind) {
    case DiskKind::kHdd: return kHdd;
    case DiskKind::kSsd: return kSsd;
    case DiskKind::kNvme: return kNvme;
  }
  return kHdd;
}

}  // namespace quire::sim
