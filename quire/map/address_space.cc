// SPDX-License-Identifier: Apache-2.0
#include "quire/map/address_space.h"

#include <algorithm>

#include "quire/base/check.h"
#include "quire/base/page_window.h"

namespace quire {
namespace {

sys::MapRequest to_request(const AddressSpace::Backing& backing, std::uint64_t length_bytes,
                           std::uint64_t skip_bytes, sys::Address fixed_address) noexcept {
  return {.length_bytes = length_bytes,
          .protection = backing.protection,
          .visibility = backing.visibility,
          .fd = backing.fd,
          .offset_bytes = backing.fd < 0 ? 0 : backing.offset_bytes + skip_bytes,
          .fixed_address = fixed_address,
          .no_reserve = backing.no_reserve,
          .huge_pages = backing.huge_pages};
}

sys::MapRequest reservation(std::uint64_t length_bytes, sys::Address fixed_address) noexcept {
  return {.length_bytes = length_bytes,
          .protection = sys::Protection::kNone,
          .visibility = sys::Visibility::kPrivate,
          .fixed_address = fixed_address,
          .no_reserve = true};
}

}  // namespace

AddressSpace& AddressSpace::operator=(AddressSpace&& other) noexcept {
  if (this != &other) {
    static_cast<void>(release());
    address_ = std::exchange(other.address_, nullptr);
    reserved_bytes_ = std::exchange(other.reserved_bytes_, 0);
    backed_bytes_ = std::exchange(other.backed_bytes_, 0);
  }
  return *this;
}

sys::Outcome<AddressSpace> AddressSpace::map(const Backing& backing, std::uint64_t backed_bytes,
                                             std::uint64_t reserved_bytes) noexcept {
  QUIRE_DCHECK_LE(backed_bytes, reserved_bytes);
  AddressSpace space;
  if (backed_bytes == reserved_bytes) {  // The usual case costs one mmap.
    space.address_ = QUIRE_TRY(sys::map_pages(to_request(backing, backed_bytes, 0, nullptr)));
    space.reserved_bytes_ = reserved_bytes;
    space.backed_bytes_ = backed_bytes;
    return space;
  }
  space.address_ = QUIRE_TRY(sys::map_pages(reservation(reserved_bytes, nullptr)));
  space.reserved_bytes_ = reserved_bytes;
  if (backed_bytes > 0) {
    QUIRE_TRY(sys::map_pages(to_request(backing, backed_bytes, 0, space.address_)));
  }
  space.backed_bytes_ = backed_bytes;
  return space;
}

sys::Outcome<void> AddressSpace::set_backed(const Backing& backing,
                                            std::uint64_t backed_bytes) noexcept {
  QUIRE_DCHECK_EQ(round_up(backed_bytes, sys::os_page_size()), backed_bytes);
  if (backed_bytes < backed_bytes_) {
    QUIRE_TRY(sys::map_pages(reservation(backed_bytes_ - backed_bytes, address_ + backed_bytes)));
    backed_bytes_ = backed_bytes;
    return {};
  }
  if (backed_bytes > reserved_bytes_) {
    // Only a mapping without a gap behind it can be stretched as one: fill the gap first.
    QUIRE_TRY(set_backed(backing, reserved_bytes_));
    QUIRE_TRY(sys::remap_in_place(address_, reserved_bytes_, backed_bytes));
    reserved_bytes_ = backed_bytes;
  } else if (backed_bytes > backed_bytes_) {
    QUIRE_TRY(sys::map_pages(to_request(backing, backed_bytes - backed_bytes_, backed_bytes_,
                                        address_ + backed_bytes_)));
  }
  backed_bytes_ = backed_bytes;
  return {};
}

void AddressSpace::trim(std::uint64_t keep_bytes) noexcept {
  QUIRE_DCHECK(keep_bytes > 0);
  if (keep_bytes >= reserved_bytes_ ||
      !sys::unmap_pages(address_ + keep_bytes, reserved_bytes_ - keep_bytes)) {
    return;
  }
  reserved_bytes_ = keep_bytes;
  backed_bytes_ = std::min(backed_bytes_, keep_bytes);
}

sys::Outcome<void> AddressSpace::release() noexcept {
  if (address_ == nullptr) {
    return {};
  }
  backed_bytes_ = 0;
  return sys::unmap_pages(std::exchange(address_, nullptr), std::exchange(reserved_bytes_, 0));
}

void AddressSpace::check_invariants() const {
  const PageSize page = sys::os_page_size();
  QUIRE_CHECK_LE(backed_bytes_, reserved_bytes_);
  QUIRE_CHECK_EQ(round_down(backed_bytes_, page), backed_bytes_);
  QUIRE_CHECK_EQ(round_down(reserved_bytes_, page), reserved_bytes_);
  QUIRE_CHECK_EQ(address_ == nullptr, reserved_bytes_ == 0);
}

}  // namespace quire
