// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/proc_files.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include "quire/sys/descriptor.h"
#include "quire/sys/directory.h"
#include "quire/sys/file.h"
#include "quire/sys/internal/text_scan.h"

namespace quire::sys {
namespace {

using internal::take_line;
using internal::take_until;
using internal::take_word;
using internal::to_number;
using internal::trim;

// One read of a /proc file gives at most a page or so, whatever is asked for.
constexpr std::size_t kReadBytes = std::size_t{16} << 10;

// What the kernel can list: PID_MAX_LIMIT. More directory entries than that is not /proc.
constexpr std::size_t kProcessesMax = std::size_t{4} << 20;

constexpr std::uint64_t kBytesPerKib = 1024;

// Only names that are all digits are processes.
std::optional<int> to_pid(std::string_view name) noexcept {
  const std::optional<std::uint64_t> number = to_number(name);
  if (!number || *number == 0 || *number > static_cast<std::uint64_t>(INT32_MAX)) {
    return std::nullopt;
  }
  return static_cast<int>(*number);
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    parts.emplace_back(take_until(text, separator));
  }
  return parts;
}

std::optional<CgroupMembership> parse_cgroup_line(std::string_view line) {
  const std::optional<std::uint64_t> hierarchy = to_number(take_until(line, ':'));
  if (!hierarchy || line.find(':') == std::string_view::npos) {
    return std::nullopt;
  }
  CgroupMembership membership;
  membership.controllers = split(take_until(line, ':'), ',');
  membership.path = std::string(line);
  if (membership.path.empty() || membership.path.front() != '/') {
    return std::nullopt;
  }
  return membership;
}

}  // namespace

Outcome<std::string> read_proc_file(const std::string& path, std::size_t size_bytes_max) {
  const Descriptor file = QUIRE_TRY(open_file(path.c_str(), {}));
  std::string text;
  std::array<std::byte, kReadBytes> buffer;
  for (;;) {
    const std::size_t got = QUIRE_TRY(read_some(file.get(), buffer));
    if (got == 0) {
      return text;
    }
    if (got > size_bytes_max - text.size()) {
      return refuse(EFBIG);
    }
    text.append(reinterpret_cast<const char*>(buffer.data()), got);
  }
}

Outcome<std::vector<int>> list_processes() {
  DirectoryReader reader(QUIRE_TRY(open_file("/proc", {.directory = true})));
  std::vector<int> pids;
  while (pids.size() < kProcessesMax) {
    const std::optional<DirectoryEntry> entry = QUIRE_TRY(reader.next());
    if (!entry) {
      break;
    }
    if (const std::optional<int> pid = to_pid(entry->name)) {
      pids.push_back(*pid);
    }
  }
  std::sort(pids.begin(), pids.end());
  return pids;
}

std::string proc_path(int pid, std::string_view file) {
  return "/proc/" + std::to_string(pid) + "/" + std::string(file);
}

std::optional<std::uint64_t> parse_field(std::string_view text, std::string_view name) {
  while (!text.empty()) {
    std::string_view line = take_line(text);
    std::string_view word = take_word(line);
    if (!word.empty() && word.back() == ':') {
      word.remove_suffix(1);
    }
    if (word != name) {
      continue;
    }
    const std::optional<std::uint64_t> number = to_number(take_word(line));
    if (!number || take_word(line) != "kB") {
      return number;
    }
    return *number > UINT64_MAX / kBytesPerKib ? std::nullopt
                                               : std::optional(*number * kBytesPerKib);
  }
  return std::nullopt;
}

std::optional<std::uint64_t> parse_number(std::string_view text) {
  return to_number(trim(text));
}

std::string parse_choice(std::string_view text) {
  const std::size_t open = text.find('[');
  if (open == std::string_view::npos) {
    return {};
  }
  const std::size_t close = text.find(']', open);
  if (close == std::string_view::npos) {
    return {};
  }
  return std::string(text.substr(open + 1, close - open - 1));
}

std::vector<CgroupMembership> parse_cgroup(std::string_view text) {
  std::vector<CgroupMembership> memberships;
  while (!text.empty()) {
    if (std::optional<CgroupMembership> membership = parse_cgroup_line(take_line(text))) {
      memberships.push_back(*std::move(membership));
    }
  }
  return memberships;
}

std::optional<double> parse_pressure(std::string_view text, std::string_view who) {
  constexpr std::string_view kKey = "avg10=";
  constexpr double kPercentMax = 100.0;
  while (!text.empty()) {
    std::string_view line = take_line(text);
    if (take_word(line) != who) {
      continue;
    }
    const std::string_view value = take_word(line);
    double percent = 0;
    if (!value.starts_with(kKey)) {
      return std::nullopt;
    }
    const char* end = value.data() + value.size();
    const auto [stopped, error] = std::from_chars(value.data() + kKey.size(), end, percent);
    const bool is_percentage = percent >= 0 && percent <= kPercentMax;  // NaN is neither.
    if (error != std::errc{} || stopped != end || !is_percentage) {
      return std::nullopt;
    }
    return percent;
  }
  return std::nullopt;
}

}  // namespace quire::sys
