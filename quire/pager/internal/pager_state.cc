// SPDX-License-Identifier: Apache-2.0
#include "quire/pager/internal/pager_state.h"

#include "quire/pager/internal/inline_delivery.h"
#include "quire/pager/internal/service.h"

namespace quire::internal {
namespace {

// Whether a fault can be served in a signal handler: pread(2), nothing else.
bool is_readable_inline(const Store& store, std::uint64_t granule_bytes) {
  const KernelTarget* target = store.kernel_target();
  return target != nullptr && granule_bytes % target->read_alignment_bytes == 0;
}

}  // namespace

Result<std::shared_ptr<PagerCore>> PagerState::core() {
  if (Service::is_in_forked_child()) {
    return fail(make_error(Errc::kClosed, "map", "pager",
                           "this process was forked by one that has a pager",
                           "make pagers after the fork, or exec"));
  }
  const MutexLock lock(mutex_);
  if (core_ == nullptr) {
    core_ = QUIRE_TRY(PagerCore::make(options));
  }
  return core_;
}

std::shared_ptr<PagerCore> PagerState::core_if_any() const {
  const MutexLock lock(mutex_);
  return core_;
}

Result<OpenedArea> PagerState::open(std::shared_ptr<Store> store, AreaOptions area_options) {
  const std::shared_ptr<PagerCore> made = QUIRE_TRY(core());
  area_options.fault_path = options.fault_path;
  if (options.fault_path == FaultPath::kAutomatic) {
    area_options.fault_path =
        is_readable_inline(*store, options.granule_bytes) && install_inline_delivery().has_value()
            ? FaultPath::kInline
            : FaultPath::kHandler;
  } else if (options.fault_path == FaultPath::kInline) {
    QUIRE_TRY(install_inline_delivery());
  }
  return OpenedArea{.paged = QUIRE_TRY(AreaState::open(made, std::move(store), area_options))};
}

}  // namespace quire::internal
