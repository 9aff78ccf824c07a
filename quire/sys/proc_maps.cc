// SPDX-License-Identifier: Apache-2.0
//
// The address space parsers of proc_files.h: maps and smaps.
#include <sys/sysmacros.h>

#include <array>

#include "quire/sys/internal/text_scan.h"
#include "quire/sys/proc_files.h"

namespace quire::sys {
namespace {

using internal::kBlanks;
using internal::take_line;
using internal::take_until;
using internal::take_word;
using internal::to_number;

constexpr std::uint64_t kBytesPerKib = 1024;
constexpr std::uint64_t kDeviceNumberMax = UINT32_MAX;

// The only byte the kernel escapes here is the newline. A name that holds these four characters
// itself looks the same; inode and device tell them apart.
std::string resolve_newlines(std::string_view text) {
  constexpr std::string_view kEscape = "\\012";
  std::string path;
  for (std::size_t found = text.find(kEscape); found != std::string_view::npos;
       found = text.find(kEscape)) {
    path.append(text.substr(0, found)).push_back('\n');
    text.remove_prefix(found + kEscape.size());
  }
  return path.append(text);
}

bool read_address_range(std::string_view word, ProcMapping& mapping) {
  const std::optional<std::uint64_t> start = to_number(take_until(word, '-'), 16);
  const std::optional<std::uint64_t> end = to_number(word, 16);
  if (!start || !end || *end <= *start) {
    return false;
  }
  mapping.start = *start;
  mapping.end = *end;
  return true;
}

bool read_permissions(std::string_view word, ProcMapping& mapping) {
  if (word.size() != 4) {
    return false;
  }
  mapping.readable = word[0] == 'r';
  mapping.writable = word[1] == 'w';
  mapping.executable = word[2] == 'x';
  mapping.shared = word[3] == 's' || word[3] == 'S';
  return true;
}

bool read_device(std::string_view word, ProcMapping& mapping) {
  const std::optional<std::uint64_t> high = to_number(take_until(word, ':'), 16);
  const std::optional<std::uint64_t> low = to_number(word, 16);
  if (!high || !low || *high > kDeviceNumberMax || *low > kDeviceNumberMax) {
    return false;
  }
  mapping.device = makedev(static_cast<unsigned>(*high), static_cast<unsigned>(*low));
  return true;
}

void read_path(std::string_view rest, ProcMapping& mapping) {
  constexpr std::string_view kDeleted = " (deleted)";
  const std::size_t first = rest.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) {
    return;
  }
  rest.remove_prefix(first);
  if (mapping.inode != 0 && rest.ends_with(kDeleted)) {
    mapping.is_deleted = true;
    rest.remove_suffix(kDeleted.size());
  }
  mapping.path = resolve_newlines(rest);
}

struct UseField {
  std::string_view name;
  std::uint64_t ProcMappingUse::* member;
};

constexpr std::array<UseField, 10> kUseFields{{
    {"Rss", &ProcMappingUse::resident_bytes},
    {"Pss", &ProcMappingUse::proportional_bytes},
    {"Shared_Dirty", &ProcMappingUse::shared_dirty_bytes},
    {"Private_Dirty", &ProcMappingUse::private_dirty_bytes},
    {"Anonymous", &ProcMappingUse::anonymous_bytes},
    {"Locked", &ProcMappingUse::locked_bytes},
    {"Swap", &ProcMappingUse::swap_bytes},
    {"AnonHugePages", &ProcMappingUse::anonymous_huge_bytes},
    {"ShmemPmdMapped", &ProcMappingUse::shared_huge_bytes},
    {"FilePmdMapped", &ProcMappingUse::file_huge_bytes},
}};

void read_use_line(std::string_view line, ProcMappingUse& use) {
  const std::string_view name = take_until(line, ':');
  if (name == "VmFlags") {
    for (std::string_view flag = take_word(line); !flag.empty(); flag = take_word(line)) {
      use.flags.emplace_back(flag);
    }
    return;
  }
  for (const UseField& field : kUseFields) {
    if (field.name != name) {
      continue;
    }
    const std::optional<std::uint64_t> kib = to_number(take_word(line));
    if (kib && *kib <= UINT64_MAX / kBytesPerKib) {
      use.*field.member = *kib * kBytesPerKib;
    }
    return;
  }
}

}  // namespace

std::optional<ProcMapping> parse_maps_line(std::string_view line) {
  ProcMapping mapping;
  if (!read_address_range(take_word(line), mapping) ||
      !read_permissions(take_word(line), mapping)) {
    return std::nullopt;
  }
  const std::optional<std::uint64_t> offset_bytes = to_number(take_word(line), 16);
  const bool has_device = read_device(take_word(line), mapping);
  const std::optional<std::uint64_t> inode = to_number(take_word(line));
  if (!offset_bytes || !has_device || !inode) {
    return std::nullopt;
  }
  mapping.offset_bytes = *offset_bytes;
  mapping.inode = *inode;
  read_path(line, mapping);
  return mapping;
}

std::vector<ProcMapping> parse_maps(std::string_view text) {
  std::vector<ProcMapping> mappings;
  while (!text.empty()) {
    if (std::optional<ProcMapping> mapping = parse_maps_line(take_line(text))) {
      mappings.push_back(*std::move(mapping));
    }
  }
  return mappings;
}

std::vector<ProcMappingUse> parse_smaps(std::string_view text) {
  std::vector<ProcMappingUse> uses;
  while (!text.empty()) {
    const std::string_view line = take_line(text);
    if (std::optional<ProcMapping> mapping = parse_maps_line(line)) {
      uses.emplace_back().mapping = *std::move(mapping);
    } else if (!uses.empty()) {
      read_use_line(line, uses.back());
    }
  }
  return uses;
}

}  // namespace quire::sys
