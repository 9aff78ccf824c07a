// SPDX-License-Identifier: Apache-2.0
//
// pinning: one count for each granule of a range, taken one after the other.
//
// Thread-safety: any thread. Blocks: for what is absent.
#pragma once

#include "quire/base/result.h"
#include "quire/pager/internal/area_state.h"

namespace quire::internal {

// All of the range, or none of it. With Need::kStore the granules are dirty, and may be stored to
// by system calls. Errors: see PagedArea::pin().
[[nodiscard]] Result<void> pin_granules(AreaState& area, ByteRange range, Need need);
// `need` as it was pinned for.
void unpin_granules(AreaState& area, ByteRange range, Need need) noexcept;

}  // namespace quire::internal
