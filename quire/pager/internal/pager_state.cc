// SPDX-License-Identifier: Apache-2.0
#include "quire/pager/internal/pager_state.h"

#include <fmt/format.h>

#include "quire/pager/internal/area_commit.h"
#include "quire/pager/internal/await_guardian.h"
#include "quire/pager/internal/inline_delivery.h"
#include "quire/pager/internal/service.h"
#include "quire/pager/survive_kill.h"

namespace quire::internal {
namespace {

// Whether a fault can be served in a signal handler: pread(2), nothing else.
bool is_readable_inline(const Store& store, std::uint64_t granule_bytes) {
  const KernelTarget* target = store.kernel_target();
  return target != nullptr && granule_bytes % target->read_alignment_bytes == 0;
}

// Before anything is read: what an earlier owner of the file had stored may still be on its way.
Result<void> prepare_survival(const Store& store, AreaOptions& area_options) {
  const KernelTarget* target = store.kernel_target();
  if (target != nullptr) {
    QUIRE_TRY(await_guardian_of(target->fd, store.name(), kGuardianWait));
  }
  area_options.survives_kill = area_options.is_writable;
  return {};
}

Error impossible_commit(const Store& store, std::string cause, std::string remedy) {
  return make_error(Errc::kUnsupported, "map for commits", store.name(), std::move(cause),
                    std::move(remedy));
}

Result<void> check_commit(const Store& store, const PagerOptions& options,
                          const AreaCommit& commit) {
  if (options.survive_kill == SurviveKill::kYes) {
    return fail(impossible_commit(
        store, "with survive_kill stores reach the file when the process ends, committed or not",
        "commits survive a kill by themselves: leave survive_kill off"));
  }
  if (options.granule_bytes % commit.journal->page_bytes() != 0) {
    return fail(impossible_commit(
        store,
        fmt::format("granules of {} are no whole pages of its journal, which has {}",
                    human_bytes(options.granule_bytes), human_bytes(commit.journal->page_bytes())),
        "make the pager with larger granule_bytes"));
  }
  return {};
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
  if (area_options.commit != nullptr) {
    QUIRE_TRY(check_commit(*store, options, *area_options.commit));
  } else if (options.survive_kill == SurviveKill::kYes) {
    QUIRE_TRY(prepare_survival(*store, area_options));
  }
  area_options.fault_path = options.fault_path;
  if (options.fault_path == FaultPath::kAutomatic) {
    // Threads of an atomic area hand over what would need a read.
    area_options.fault_path =
        (area_options.commit != nullptr || is_readable_inline(*store, options.granule_bytes)) &&
                install_inline_delivery().has_value()
            ? FaultPath::kInline
            : FaultPath::kHandler;
  } else if (options.fault_path == FaultPath::kInline) {
    QUIRE_TRY(install_inline_delivery());
  } else {
    // For the end of poison alone; without it poison ends by time.
    static_cast<void>(install_inline_delivery());
  }
  return OpenedArea{.paged = QUIRE_TRY(AreaState::open(made, std::move(store), area_options))};
}

}  // namespace quire::internal
