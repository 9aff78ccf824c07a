// SPDX-License-Identifier: Apache-2.0
//
// OpenedArea: what Pager::map() found: paged, or mapped by the kernel.
//
// Thread-safety: a plain value.
#pragma once

#include <memory>

#include "quire/pager/internal/area_state.h"
#include "quire/pager/internal/kernel_area.h"

namespace quire::internal {

// One of them.
struct OpenedArea {
  std::shared_ptr<AreaState> paged = nullptr;
  std::shared_ptr<KernelArea> kernel = nullptr;
};

}  // namespace quire::internal
