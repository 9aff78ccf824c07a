// SPDX-License-Identifier: Apache-2.0
//
// SegmentMemory: a segment in the address space of this process, mirrored areas twice in a row.
//
// Thread-safety: any thread once it is mapped.
// Errors:        of mmap(2): ENOMEM for RLIMIT_AS or vm.max_map_count.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "quire/base/result.h"
#include "quire/ipc/internal/segment_header.h"
#include "quire/ipc/layout.h"
#include "quire/map/address_space.h"

namespace quire::ipc::internal {

// The header alone, of a segment of which nothing is known yet. REQUIRES: the file is that long.
[[nodiscard]] Result<AddressSpace> map_header(int fd, const std::string& path);
[[nodiscard]] SegmentHeader& header_in(const AddressSpace& memory) noexcept;

class SegmentMemory {
 public:
  // REQUIRES: the file has layout.size_bytes() at least.
  [[nodiscard]] static Result<std::shared_ptr<SegmentMemory>> map(int fd, const Layout& layout,
                                                                  const std::string& path);

  [[nodiscard]] SegmentHeader& header() const noexcept { return header_in(whole_); }
  [[nodiscard]] std::span<ParticipantSlot> slots() const noexcept { return slots_; }
  [[nodiscard]] std::span<DirectoryEntry> directory() const noexcept { return directory_; }
  [[nodiscard]] std::span<std::byte> bytes() const noexcept {
    return {whole_.address(), static_cast<std::size_t>(whole_.backed_bytes())};
  }
  [[nodiscard]] std::span<std::byte> object(std::size_t index) const noexcept {
    return objects_[index];
  }
  // nullptr for an object without a mirrored area.
  [[nodiscard]] std::byte* mirrored(std::size_t index) const noexcept {
    return mirrors_[index].address();
  }

 private:
  AddressSpace whole_;
  std::span<ParticipantSlot> slots_;
  std::span<DirectoryEntry> directory_;
  std::vector<std::span<std::byte>> objects_;
  std::vector<AddressSpace> mirrors_;
};

}  // namespace quire::ipc::internal
