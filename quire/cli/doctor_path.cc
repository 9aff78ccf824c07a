// SPDX-License-Identifier: Apache-2.0
//
// The lines about the file system and the device, and how a capability becomes a line.
#include <fmt/format.h>

#include <algorithm>

#include "quire/base/units.h"
#include "quire/cli/doctor_lines.h"

namespace quire::cli {
namespace {

using sys::Availability;
using sys::Capability;

// Read-ahead from here on makes each random fault of a mapping read more than it is worth: at
// 8 MiB, random reads of a file larger than memory ran a hundred times slower than without.
constexpr std::uint64_t kReadAheadBytesWarned = 1024_KiB;

const char* consequence_of(sys::StorageKind kind) {
  switch (kind) {
    case sys::StorageKind::kLocalDisk: return "a missing page costs a device read";
    case sys::StorageKind::kMemory:
      return "the page cache is the storage: nothing to warm or evict";
    case sys::StorageKind::kNetwork: return "each missing page is a round trip: prefer large reads";
    case sys::StorageKind::kUserSpace:
      return "each missing page waits for a process: prefer large reads";
    case sys::StorageKind::kPseudo: return "files are made up when read: read, do not map";
    case sys::StorageKind::kStacked: return "the layer below decides what a page costs";
    case sys::StorageKind::kUnknown: break;
  }
  return "measure before you map";
}

ReportLine type_line(const sys::FileSystem& fs) {
  return {fs.type.kind == sys::StorageKind::kUnknown ? Mark::kUnknown : Mark::kFact, "type",
          fmt::format("{} at {} ({})", fs.type.name, fs.mount_point.empty() ? "?" : fs.mount_point,
                      describe(fs.type.kind)),
          consequence_of(fs.type.kind)};
}

void append_mount_lines(const sys::FileSystem& fs, std::vector<ReportLine>& lines) {
  if (fs.is_read_only) {
    lines.push_back({Mark::kFact, "read-only", "mounted ro", "writable mappings are refused"});
  }
  if (fs.is_dax) {
    lines.push_back(
        {Mark::kFact, "dax", "", "mapped without page cache: nothing to warm or evict"});
  }
  if (!fs.has_barriers) {
    lines.push_back({Mark::kWarning, "no barriers", "mounted without write barriers",
                     "what flush() returned may be lost with the power"});
  }
}

void append_file_system_lines(const sys::FileSystem& fs, std::vector<ReportLine>& lines) {
  lines.push_back(type_line(fs));
  if (fs.total_bytes > 0) {
    lines.push_back(
        {Mark::kFact, "space",
         fmt::format("{} of {} free", human_bytes(fs.free_bytes), human_bytes(fs.total_bytes)),
         ""});
  }
  append_mount_lines(fs, lines);
}

ReportLine device_line(const sys::BlockDevice& device) {
  std::string value = device.partition.empty() ? device.name : device.partition;
  const auto append = [&value](const std::string& part) { value += ", " + part; };
  if (device.is_rotational) {
    append(*device.is_rotational ? "rotating" : "not rotating");
  }
  if (device.logical_block_bytes) {
    append(fmt::format("{} blocks", human_bytes(*device.logical_block_bytes)));
  }
  if (device.requests_max) {
    append(fmt::format("queue of {}", *device.requests_max));
  }
  if (!device.scheduler.empty()) {
    append(device.scheduler);
  }
  if (!device.backing_file.empty()) {
    append("backed by " + device.backing_file);
  }
  const bool is_cached = device.write_cache == "write back";
  return {Mark::kFact, "device", std::move(value),
          is_cached ? "its write cache: durable means flushed" : ""};
}

ReportLine read_ahead_line(std::uint64_t bytes) {
  if (bytes > kReadAheadBytesWarned) {
    return {Mark::kWarning, "read-ahead", human_bytes(bytes),
            "each random fault of a mapping may read that much: advise kRandom (MADV_RANDOM), "
            "or lower read_ahead_kb"};
  }
  return {Mark::kGood, "read-ahead", human_bytes(bytes),
          "advise kRandom (MADV_RANDOM) for random access"};
}

void append_device_lines(const sys::FileSystem& fs, std::vector<ReportLine>& lines) {
  if (!fs.device) {
    return;
  }
  lines.push_back(device_line(*fs.device));
  if (fs.device->read_ahead_bytes) {
    lines.push_back(read_ahead_line(*fs.device->read_ahead_bytes));
  }
}

}  // namespace

Mark mark_of(Availability available) {
  switch (available) {
    case Availability::kYes: return Mark::kGood;
    case Availability::kNo: return Mark::kMissing;
    case Availability::kUnknown: break;
  }
  return Mark::kUnknown;
}

ReportLine line_of(std::string label, const Capability& capability) {
  const bool is_there = capability.available == Availability::kYes;
  return {.mark = mark_of(capability.available),
          .name = std::move(label),
          .value = is_there ? capability.detail : capability.reason,
          .consequence = capability.consequence};
}

// One line for several capabilities: the first that is not there speaks, else the first.
ReportLine line_for(const std::vector<Capability>& capabilities, std::string label,
                    std::initializer_list<std::string_view> names) {
  const Capability* shown = nullptr;
  for (const std::string_view name : names) {
    const Capability* capability = sys::find(capabilities, name);
    if (capability != nullptr &&
        (shown == nullptr ||
         (capability->available != Availability::kYes && shown->available == Availability::kYes))) {
      shown = capability;
    }
  }
  if (shown == nullptr) {
    return {
        .mark = Mark::kUnknown, .name = std::move(label), .value = "not probed", .consequence = {}};
  }
  return line_of(std::move(label), *shown);
}

ReportSection path_section(const sys::PathProbe& path) {
  const sys::FileSystem& fs = path.file_system;
  const std::vector<Capability>& all = path.capabilities;
  ReportSection section{.title = "File system of " + path.path, .lines = {}};
  if (path.kind == sys::FileKind::kBlockDevice) {
    // The file system of the node says nothing about the device.
    section = {.title = "Block device " + path.path, .lines = {}};
  } else {
    append_file_system_lines(fs, section.lines);
  }
  append_device_lines(fs, section.lines);
  const bool is_skipped = std::all_of(all.begin(), all.end(), [](const Capability& capability) {
    return capability.available == Availability::kUnknown;
  });
  if (is_skipped && !all.empty()) {
    section.lines.push_back({Mark::kUnknown, "its features", all.front().reason, ""});
    return section;
  }
  for (ReportLine& line : std::vector<ReportLine>{
           line_for(all, "mapping", {"map.shared"}), line_for(all, "residency", {"residency_told"}),
           line_for(all, "large folios", {"large_folios"}),
           line_for(all, "direct I/O", {"direct_io.read"}),
           line_for(all, "uncached I/O", {"rwf_dontcache"}),
           line_for(all, "no-wait reads", {"rwf_nowait"}),
           line_for(all, "atomic writes", {"atomic_write"}),
           line_for(all, "allocation", {"fallocate", "punch_hole"}),
           line_for(all, "reflink", {"reflink"})}) {
    section.lines.push_back(std::move(line));
  }
  return section;
}

}  // namespace quire::cli
