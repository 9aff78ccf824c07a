// SPDX-License-Identifier: Apache-2.0
//
// inherited_memory: what a lone process gives back of what it inherited; see lone_process.h.
//
// Thread-safety: for a process with one thread. Allocates nothing, needs /proc.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace quire::sys::internal {

struct AddressRange {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

// One line of /proc/self/maps.
struct MappedRange {
  AddressRange range;
  bool is_shared = false;
  bool is_of_file = false;
  bool is_named_by_kernel = false;  // "[vdso]", "[stack]": not the heap, not named by the program.
};
// False for a line that has not the form.
[[nodiscard]] bool parse_map_line(std::string_view line, MappedRange& mapped) noexcept;

// Sorted, without overlaps; empty ones come first.
using KeptRanges = std::array<AddressRange, 3>;

// Unmaps everything but: `kept`; what maps a file privately (code and data), and the anonymous
// memory right behind it (bss); what the kernel has names for.
void drop_inherited_memory(const KeptRanges& kept) noexcept;

}  // namespace quire::sys::internal
