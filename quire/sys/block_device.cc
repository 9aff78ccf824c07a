// SPDX-License-Identifier: Apache-2.0
//
// The block device part of file_system.h: /sys/dev/block/MAJOR:MINOR.
#include <fmt/format.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <string_view>

#include "quire/sys/call.h"
#include "quire/sys/directory.h"
#include "quire/sys/file_system.h"
#include "quire/sys/internal/text_scan.h"
#include "quire/sys/proc_files.h"

namespace quire::sys {
namespace {

constexpr std::uint64_t kBytesPerKib = 1024;
constexpr std::size_t kLowerDevicesMax = 64;

// "../../devices/pci0000:00/.../vda/vda1": the last part is the kernel's name of the device.
std::optional<std::string> link_target(const std::string& path) {
  std::array<char, 4096> target{};
  if (CallSite::enter(Call::kStatus).error != 0) {
    return std::nullopt;
  }
  const ssize_t length = ::readlink(path.c_str(), target.data(), target.size());
  if (length <= 0) {
    return std::nullopt;
  }
  return std::string(target.data(), static_cast<std::size_t>(length));
}

std::string_view last_part(std::string_view path) {
  return path.substr(path.rfind('/') + 1);  // npos + 1 is 0: all of it.
}

std::string_view without_last_part(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

std::string read_text(const std::string& path) {
  const Outcome<std::string> text = read_proc_file(path);
  return text ? std::string(internal::trim(*text)) : std::string();
}

std::optional<std::uint64_t> read_number(const std::string& path) {
  return parse_number(read_text(path));
}

std::optional<std::uint64_t> read_kib(const std::string& path) {
  const std::optional<std::uint64_t> kib = read_number(path);
  return kib && *kib <= UINT64_MAX / kBytesPerKib ? std::optional(*kib * kBytesPerKib)
                                                  : std::nullopt;
}

std::vector<std::string> list_names(const std::string& path) {
  std::vector<std::string> names;
  Outcome<Descriptor> directory = open_file(path.c_str(), {.directory = true});
  if (!directory) {
    return names;
  }
  DirectoryReader reader(*std::move(directory));
  while (names.size() < kLowerDevicesMax) {
    const auto entry = reader.next();
    if (!entry || !*entry) {
      break;
    }
    names.emplace_back((*entry)->name);
  }
  return names;
}

void read_queue(const std::string& queue, BlockDevice& device) {
  device.read_ahead_bytes = read_kib(queue + "/read_ahead_kb");
  device.request_bytes_max = read_kib(queue + "/max_sectors_kb");
  device.requests_max = read_number(queue + "/nr_requests");
  device.logical_block_bytes = read_number(queue + "/logical_block_size");
  device.physical_block_bytes = read_number(queue + "/physical_block_size");
  device.write_cache = read_text(queue + "/write_cache");
  const std::string scheduler = read_text(queue + "/scheduler");
  device.scheduler = parse_choice(scheduler);
  if (device.scheduler.empty()) {
    device.scheduler = scheduler;  // A queue with one choice lists it without brackets.
  }
  if (const std::optional<std::uint64_t> rotational = read_number(queue + "/rotational")) {
    device.is_rotational = *rotational != 0;
  }
}

}  // namespace

std::optional<BlockDevice> block_device(std::uint64_t device, const std::string& sys_prefix) {
  const std::string directory =
      fmt::format("{}/sys/dev/block/{}:{}", sys_prefix, major(device), minor(device));
  const std::optional<std::string> target = link_target(directory);
  if (!target) {
    return std::nullopt;
  }
  BlockDevice found;
  found.name = std::string(last_part(*target));
  std::string disk = directory;
  if (read_number(directory + "/partition")) {
    found.partition = found.name;
    found.name = std::string(last_part(without_last_part(*target)));
    disk = directory + "/..";
  }
  read_queue(disk + "/queue", found);
  found.backing_file = read_text(disk + "/loop/backing_file");
  found.lower_devices = list_names(disk + "/slaves");
  return found;
}

}  // namespace quire::sys
