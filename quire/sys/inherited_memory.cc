// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/internal/inherited_memory.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <span>

#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"
#include "quire/sys/memory.h"

namespace quire::sys::internal {
namespace {

// The longest line: a path, and what stands before it.
constexpr std::size_t kLineBytesMax = 4096 + 128;

// Takes a hexadecimal or decimal number off the front, and the one character behind it.
bool take_number(std::string_view& text, int base, std::uint64_t& number) noexcept {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (error != std::errc() || end == text.data() + text.size()) {
    return false;
  }
  text.remove_prefix(static_cast<std::size_t>(end - text.data()) + 1);
  return true;
}

void unmap_around(AddressRange range, const KeptRanges& kept) noexcept {
  const auto unmap = [](std::uint64_t begin, std::uint64_t end) {
    if (begin < end) {
      // NOLINTNEXTLINE(performance-no-int-to-ptr): the kernel's list holds it as a number.
      static_cast<void>(unmap_pages(reinterpret_cast<Address>(begin), end - begin));
    }
  };
  for (const AddressRange& keep : kept) {
    if (keep.end > range.begin && keep.begin < range.end) {
      unmap(range.begin, keep.begin);
      range.begin = keep.end;
    }
  }
  unmap(range.begin, range.end);
}

// Goes through the lines one by one, as they come.
class Dropper {
 public:
  explicit Dropper(const KeptRanges& kept) noexcept : kept_(kept) {}

  void take(std::string_view line) noexcept {
    MappedRange mapped;
    if (!parse_map_line(line, mapped)) {
      return;
    }
    const bool is_file_data = mapped.is_of_file && !mapped.is_shared;
    const bool is_bss = !mapped.is_of_file && mapped.range.begin == file_data_end_;
    file_data_end_ = is_file_data ? mapped.range.end : 0;
    if (!is_file_data && !is_bss && !mapped.is_named_by_kernel) {
      unmap_around(mapped.range, kept_);
    }
  }

 private:
  const KeptRanges& kept_;
  std::uint64_t file_data_end_ = 0;
};

}  // namespace

// start-end perms offset device inode   name
bool parse_map_line(std::string_view line, MappedRange& mapped) noexcept {
  constexpr std::size_t kPermissions = 4;
  std::uint64_t skipped = 0;
  std::uint64_t inode = 0;
  if (!take_number(line, 16, mapped.range.begin) || !take_number(line, 16, mapped.range.end) ||
      line.size() <= kPermissions) {
    return false;
  }
  mapped.is_shared = line[kPermissions - 1] == 's';
  line.remove_prefix(kPermissions + 1);
  if (!take_number(line, 16, skipped) || !take_number(line, 16, skipped) ||
      !take_number(line, 16, skipped)) {
    return false;
  }
  const char* const end = line.data() + line.size();
  const auto [rest, error] = std::from_chars(line.data(), end, inode);
  if (error != std::errc()) {
    return false;
  }
  std::string_view name(rest, static_cast<std::size_t>(end - rest));
  name.remove_prefix(std::min(name.find_first_not_of(' '), name.size()));
  mapped.is_of_file = inode != 0;
  mapped.is_named_by_kernel =
      inode == 0 && name.starts_with('[') && name != "[heap]" && !name.starts_with("[anon");
  return true;
}

void drop_inherited_memory(const KeptRanges& kept) noexcept {
  const Outcome<Descriptor> maps = open_file("/proc/self/maps", {});
  if (!maps) {
    return;
  }
  Dropper dropper(kept);
  std::array<char, 2 * kLineBytesMax> text;
  std::size_t have = 0;
  for (;;) {
    const std::span<char> room = std::span(text).subspan(have);
    const Outcome<std::size_t> got = read_some(maps->get(), std::as_writable_bytes(room));
    if (!got || *got == 0) {
      return;
    }
    have += *got;
    std::string_view lines(text.data(), have);
    for (std::size_t end = 0; (end = lines.find('\n')) != std::string_view::npos;) {
      dropper.take(lines.substr(0, end));
      lines.remove_prefix(end + 1);
    }
    std::memmove(text.data(), lines.data(), lines.size());
    have = lines.size();
    if (have == text.size()) {
      return;  // No line is this long.
    }
  }
}

}  // namespace quire::sys::internal
