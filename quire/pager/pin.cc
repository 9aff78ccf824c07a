// SPDX-License-Identifier: Apache-2.0
#include "quire/pager/pin.h"

#include "quire/pager/internal/area_state.h"
#include "quire/pager/internal/pinning.h"

namespace quire {

Pin& Pin::operator=(Pin&& other) noexcept {
  if (this != &other) {
    release();
    area_ = std::move(other.area_);
    bytes_ = std::exchange(other.bytes_, {});
    offset_bytes_ = other.offset_bytes_;
    is_for_stores_ = other.is_for_stores_;
  }
  return *this;
}

void Pin::release() noexcept {
  if (area_ != nullptr) {
    internal::unpin_granules(*area_, {offset_bytes_, bytes_.size()},
                             is_for_stores_ ? internal::Need::kStore : internal::Need::kLoad);
    area_.reset();
  }
  bytes_ = {};
}

}  // namespace quire
