// SPDX-License-Identifier: Apache-2.0
//
// PagerState: the options, and the core that the first map() makes of them.
//
// Thread-safety: every member from any thread.
#pragma once

#include <memory>
#include <string>

#include "quire/base/mutex.h"
#include "quire/base/result.h"
#include "quire/pager/internal/opened_area.h"
#include "quire/pager/internal/pager_core.h"
#include "quire/pager/pager_options.h"

namespace quire::internal {

class PagerState {
 public:
  explicit PagerState(const PagerOptions& chosen) : options(chosen) {}

  // Made at the first call. Errors: of PagerCore::make(); the next call tries again.
  [[nodiscard]] Result<std::shared_ptr<PagerCore>> core();
  // Null before the first area.
  [[nodiscard]] std::shared_ptr<PagerCore> core_if_any() const;

  [[nodiscard]] Result<OpenedArea> open(std::shared_ptr<Store> store, AreaOptions area_options);

  const PagerOptions options;

 private:
  mutable Mutex mutex_;
  std::shared_ptr<PagerCore> core_ QUIRE_GUARDED_BY(mutex_);
};

}  // namespace quire::internal
