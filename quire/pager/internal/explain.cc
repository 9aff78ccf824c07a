// SPDX-License-Identifier: Apache-2.0
#include "quire/pager/internal/explain.h"

#include <fmt/format.h>

#include "quire/io/file.h"
#include "quire/pager/internal/area_commit.h"
#include "quire/pager/internal/area_state.h"
#include "quire/pager/internal/pager_core.h"
#include "quire/pager/internal/service.h"

namespace quire::internal {
namespace {

std::string system_calls(const AreaState& area) {
  if (area.is_inline()) {
    return "system calls need a pin";
  }
  return area.frames->faults().access() == sys::FaultAccess::kFull
             ? "system calls are served, too"
             : "system calls need a pin: faults of user code only";
}

std::string fault_path(const AreaState& area) {
  std::string why;
  if (area.core->options.fault_path == FaultPath::kAutomatic && !area.is_inline()) {
    why = area.commit() == nullptr && area.store->kernel_target() == nullptr
              ? ", since the store cannot be read in a signal handler"
              : ", since its reads are not whole granules, or SIGBUS is not to be had";
  }
  return fmt::format("{} faults{} ({}); {}", name_of(area.options.fault_path), why,
                     area.frames->faults().explain(), system_calls(area));
}

}  // namespace

std::string explain(const AreaState& area) {
  const PagerCore& core = *area.core;
  std::string text = fmt::format("{}: paged: {} through {}; {}; granules of {}; {}",
                                 area.store->name(), human_bytes(area.size_bytes()),
                                 human_bytes(core.geometry.memory_bytes), fault_path(area),
                                 human_bytes(area.granule.bytes()), name_of(core.options.policy));
  if (!core.evictor.sees_uses()) {
    text += " (as fifo: this kernel does not tell which pages were used)";
  }
  text += fmt::format("; reads ahead {} x {}", core.options.read_ahead_windows,
                      human_bytes(core.geometry.window_bytes));
  if (area.options.survives_kill) {
    text += "; " + core.guardian.explain();
  }
  if (area.commit() != nullptr) {
    const std::string journal = area.commit()->journal->explain();
    text += "; commits through a journal" + (journal.empty() ? "" : ": " + journal);
  }
  if (const auto* file = dynamic_cast<const File*>(area.store.get())) {
    text += "; " + file->explain();
  }
  return text;
}

std::string explain(PagerCore& core) {
  return fmt::format(
      "{} of memory, {} taken: {} buffers, granules of {}, {}; write-back from {} dirty, stores "
      "wait at {}; {}",
      human_bytes(core.geometry.memory_bytes),
      human_bytes(core.geometry.memory_bytes - core.credits.free_bytes()),
      human_bytes(core.geometry.buffer_bytes()), human_bytes(core.geometry.granule.bytes()),
      name_of(core.options.policy), human_bytes(core.dirty_start_bytes.load()),
      human_bytes(core.dirty_max_bytes.load()), core.service->explain());
}

}  // namespace quire::internal
