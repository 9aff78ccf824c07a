// SPDX-License-Identifier: Apache-2.0
//
// The machine-wide parsers of proc_files.h: mountinfo and zoneinfo.
#include "quire/sys/internal/text_scan.h"
#include "quire/sys/proc_files.h"

namespace quire::sys {
namespace {

using internal::take_line;
using internal::take_until;
using internal::take_word;
using internal::to_number;
using internal::trim;

bool is_octal(char c) noexcept {
  return c >= '0' && c <= '7';
}

// "\040" is a space: mountinfo escapes space, tab, newline and backslash as three octal digits.
std::string resolve_escapes(std::string_view text) {
  constexpr std::size_t kEscapeLength = 4;
  std::string plain;
  while (!text.empty()) {
    const bool is_escape = text.size() >= kEscapeLength && text[0] == '\\' && is_octal(text[1]) &&
                           is_octal(text[2]) && is_octal(text[3]);
    if (is_escape) {
      const int value = (text[1] - '0') * 64 + (text[2] - '0') * 8 + (text[3] - '0');
      plain.push_back(static_cast<char>(value));
    } else {
      plain.push_back(text.front());
    }
    text.remove_prefix(is_escape ? kEscapeLength : 1);
  }
  return plain;
}

void append_options(std::string_view word, std::vector<std::string>& options) {
  while (!word.empty()) {
    options.push_back(resolve_escapes(take_until(word, ',')));
  }
}

bool read_mount_device(std::string_view word, Mount& mount) {
  const std::optional<std::uint64_t> high = to_number(take_until(word, ':'));
  const std::optional<std::uint64_t> low = to_number(word);
  if (!high || !low || *high > UINT32_MAX || *low > UINT32_MAX) {
    return false;
  }
  mount.device_major = static_cast<std::uint32_t>(*high);
  mount.device_minor = static_cast<std::uint32_t>(*low);
  return true;
}

// 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
std::optional<Mount> parse_mount_line(std::string_view line) {
  Mount mount;
  const std::optional<std::uint64_t> id = to_number(take_word(line));
  const std::optional<std::uint64_t> parent = to_number(take_word(line));
  if (!id || !parent || !read_mount_device(take_word(line), mount)) {
    return std::nullopt;
  }
  mount.id = *id;
  mount.root = resolve_escapes(take_word(line));
  mount.mount_point = resolve_escapes(take_word(line));
  append_options(take_word(line), mount.options);
  // Any number of optional fields, then a lone hyphen.
  std::string_view word = take_word(line);
  while (!word.empty() && word != "-") {
    word = take_word(line);
  }
  mount.type = resolve_escapes(take_word(line));
  mount.source = resolve_escapes(take_word(line));
  append_options(take_word(line), mount.options);
  if (word != "-" || mount.type.empty()) {
    return std::nullopt;
  }
  return mount;
}

// "Node 0, zone   Normal"
std::optional<MemoryZone> parse_zone_heading(std::string_view line) {
  if (take_word(line) != "Node") {
    return std::nullopt;
  }
  std::string_view number = take_word(line);
  if (number.empty() || number.back() != ',') {
    return std::nullopt;
  }
  number.remove_suffix(1);
  const std::optional<std::uint64_t> node = to_number(number);
  if (!node || *node > INT32_MAX || take_word(line) != "zone") {
    return std::nullopt;
  }
  MemoryZone zone;
  zone.node = static_cast<int>(*node);
  zone.name = std::string(take_word(line));
  return zone;
}

// "(0, 3019, 5195)": the last is what requests that may use every zone, as ours, must leave.
std::optional<std::uint64_t> last_protection(std::string_view list) noexcept {
  std::string_view last;
  list = trim(list);
  if (!list.starts_with('(') || !list.ends_with(')')) {
    return std::nullopt;
  }
  list = list.substr(1, list.size() - 2);
  while (!list.empty()) {
    last = take_until(list, ',');
  }
  return to_number(trim(last));
}

void read_zone_line(std::string_view line, MemoryZone& zone) {
  std::string_view name = take_word(line);
  if (name == "pages" && take_word(line) == "free") {
    zone.free_pages = to_number(take_word(line)).value_or(0);
  } else if (name == "low") {
    zone.low_pages = to_number(take_word(line)).value_or(0);
  } else if (name == "managed") {
    zone.managed_pages = to_number(take_word(line)).value_or(0);
  } else if (name == "protection:") {
    zone.protection_pages = last_protection(line).value_or(0);
  }
}

}  // namespace

std::vector<Mount> parse_mountinfo(std::string_view text) {
  std::vector<Mount> mounts;
  while (!text.empty()) {
    if (std::optional<Mount> mount = parse_mount_line(take_line(text))) {
      mounts.push_back(*std::move(mount));
    }
  }
  return mounts;
}

std::vector<MemoryZone> parse_zoneinfo(std::string_view text) {
  std::vector<MemoryZone> zones;
  while (!text.empty()) {
    const std::string_view line = take_line(text);
    if (std::optional<MemoryZone> zone = parse_zone_heading(line)) {
      zones.push_back(*std::move(zone));
    } else if (!zones.empty()) {
      read_zone_line(line, zones.back());
    }
  }
  return zones;
}

}  // namespace quire::sys
