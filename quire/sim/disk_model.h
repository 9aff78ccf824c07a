// SPDX-License-Identifier: Apache-2.0
//
// disk_model: what a simulated disk is made of, three presets with their sources, and a text form.
//
//   hdd                            a 7200 rpm disk of 1 TB as its maker describes it
//   hdd,rpm=5400,seek_avg_ms=9     the same with two parameters of one's own
//   ssd                            a SATA flash disk
//   nvme,write_cache=off           an NVMe flash disk whose writes go to the flash at once
//
// A hard disk has one mechanism: an arm that seeks, a platter that turns, bytes that pass under the
// head. A flash disk has many units that work at the same time. Both have a controller that takes
// one command after the other, a link of limited bandwidth, a queue of limited depth, and a write
// cache that forgets what was not flushed.
//
// Source: Ruemmler, Wilkes, "An introduction to disk drive modeling", IEEE Computer 27(3), 1994:
//         seek curve, zones, skew, read-ahead, write cache. We deviate: the seek curve is the
//         square root over the whole stroke (their long seeks grow linearly; a file of a few GiB
//         never needs one), reads and writes settle alike, there is one read-ahead segment, no bad
//         sectors. Where each number comes from is said beside it, in disk_model.cc.
// Thread-safety: plain values, pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "quire/base/result.h"

namespace quire::sim {

enum class DiskKind : std::uint8_t { kHdd, kSsd, kNvme };

// "hdd", "ssd", "nvme".
[[nodiscard]] const char* name_of(DiskKind kind) noexcept;

// Rates are bytes per second, durations nanoseconds. Parameters of the other technology are unused.
struct DiskModel {
  DiskKind kind = DiskKind::kHdd;

  // Both technologies.
  std::uint64_t capacity_bytes = 0;
  std::uint64_t sector_bytes = 0;           // The least that is read or written.
  std::uint64_t controller_ns = 0;          // Per command, one command after the other.
  std::uint64_t interface_bytes_per_s = 0;  // Of the link, both directions together.
  std::uint64_t queue_depth = 0;            // Commands the disk holds at a time.
  std::uint64_t cache_bytes = 0;  // Written bytes it holds that are not on the medium yet.
  bool has_write_cache = true;    // Off: a write ends when the medium has it.
  std::uint64_t flush_ns = 0;     // What a flush costs beyond the writing itself.

  // Hard disk.
  std::uint64_t rpm = 0;
  std::uint64_t heads = 0;              // Tracks of a cylinder.
  std::uint64_t zones = 0;              // From the outer edge, the fastest, inwards.
  std::uint64_t outer_bytes_per_s = 0;  // Sustained, track switches included.
  std::uint64_t inner_bytes_per_s = 0;
  std::uint64_t seek_track_ns = 0;     // To the next track or cylinder, settling included.
  std::uint64_t seek_average_ns = 0;   // Over all pairs of cylinders.
  std::uint64_t read_ahead_bytes = 0;  // Read on after a read, unless there is other work. 0: none.

  // Flash.
  std::uint64_t units = 0;             // Dies times planes: how many pages at the same time.
  std::uint64_t page_bytes = 0;        // What one unit reads or programs at a time.
  std::uint64_t read_ns = 0;           // One page.
  std::uint64_t program_ns = 0;        // One page.
  std::uint64_t read_latency_ns = 0;   // Of a read beyond all of the above; occupies nothing.
  std::uint64_t write_latency_ns = 0;  // Of a write into the cache, likewise.

  friend bool operator==(const DiskModel&, const DiskModel&) = default;

  [[nodiscard]] bool is_rotating() const noexcept { return kind == DiskKind::kHdd; }
  // One turn of the platter in whole nanoseconds, which is where the simulation rounds it.
  // REQUIRES: is_rotating().
  [[nodiscard]] std::uint64_t rotation_ns() const noexcept;
  // The share of a full stroke that the curve adds to settling: seek(d) = settle + a * sqrt(d / D).
  // Over all pairs of cylinders sqrt(d / D) has the mean 8/15, so a = 15/8 * (average - settle).
  // REQUIRES: is_rotating().
  [[nodiscard]] std::uint64_t seek_stroke_ns() const noexcept;
};

// The presets.
[[nodiscard]] DiskModel preset(DiskKind kind) noexcept;

// Longer texts are refused before they are looked at.
inline constexpr std::size_t kModelTextBytesMax = 1024;

// Reads "hdd", "nvme,read_us=70,queue_depth=64", ...: a preset, then parameters in any order.
// Errors: kUnsupported for a name that there is not, kCorrupt for what is no number, kOutOfRange
//         for a number that no disk has or that contradicts another, kLimit for a text too long.
[[nodiscard]] Result<DiskModel> parse_disk_model(std::string_view text);

// The shortest text that parse_disk_model() reads as `model`: the preset and what differs from it.
// REQUIRES: the model came from preset() or parse_disk_model().
[[nodiscard]] std::string to_text(const DiskModel& model);

// One line per parameter of this kind of disk, "rpm=7200  turns of the platter per minute": help.
[[nodiscard]] std::string describe_parameters(DiskKind kind);

}  // namespace quire::sim
