// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/internal/segment_memory.h"

#include <algorithm>
#include <utility>

#include "quire/sys/memory.h"
#include "quire/sys/outcome.h"

namespace quire::ipc::internal {
namespace {

constexpr const char* kMap = "map segment";

Result<AddressSpace> map_range(int fd, std::uint64_t offset_bytes, std::uint64_t backed_bytes,
                               std::uint64_t reserved_bytes, const std::string& path) {
  auto mapped = AddressSpace::map({.fd = fd,
                                   .offset_bytes = offset_bytes,
                                   .protection = sys::Protection::kReadWrite,
                                   .visibility = sys::Visibility::kShared},
                                  backed_bytes, reserved_bytes);
  if (!mapped) {
    return fail(sys::to_error(mapped.error(), kMap, path));
  }
  return std::move(*mapped);
}

// The same bytes twice: the second half replaces what was reserved behind the first.
Result<AddressSpace> map_twice(int fd, const ObjectPlace& place, const std::string& path) {
  AddressSpace area = QUIRE_TRY(map_range(fd, place.mirrored_offset_bytes, place.mirrored_bytes,
                                          2 * place.mirrored_bytes, path));
  const auto second = sys::map_pages({.length_bytes = place.mirrored_bytes,
                                      .protection = sys::Protection::kReadWrite,
                                      .visibility = sys::Visibility::kShared,
                                      .fd = fd,
                                      .offset_bytes = place.mirrored_offset_bytes,
                                      .fixed_address = area.address() + place.mirrored_bytes});
  if (!second) {
    return fail(sys::to_error(second.error(), kMap, path));
  }
  return area;
}

}  // namespace

Result<AddressSpace> map_header(int fd, const std::string& path) {
  const std::uint64_t bytes = std::max<std::uint64_t>(kHeaderBytes, sys::os_page_size().bytes());
  return map_range(fd, 0, bytes, bytes, path);
}

SegmentHeader& header_in(const AddressSpace& memory) noexcept {
  return *reinterpret_cast<SegmentHeader*>(memory.address());
}

Result<std::shared_ptr<SegmentMemory>> SegmentMemory::map(int fd, const Layout& layout,
                                                          const std::string& path) {
  auto memory = std::make_shared<SegmentMemory>();
  const std::uint64_t bytes = layout.size_bytes();
  memory->whole_ = QUIRE_TRY(map_range(fd, 0, bytes, bytes, path));
  std::byte* const base = memory->whole_.address();
  memory->slots_ = {reinterpret_cast<ParticipantSlot*>(base + layout.participants_offset_bytes()),
                    layout.participants_max()};
  memory->directory_ = {reinterpret_cast<DirectoryEntry*>(base + layout.directory_offset_bytes()),
                        layout.objects().size()};
  for (const ObjectPlace& place : layout.places()) {
    memory->objects_.emplace_back(base + place.offset_bytes,
                                  static_cast<std::size_t>(place.size_bytes));
    memory->mirrors_.push_back(place.mirrored_bytes == 0 ? AddressSpace()
                                                         : QUIRE_TRY(map_twice(fd, place, path)));
  }
  return memory;
}

}  // namespace quire::ipc::internal
