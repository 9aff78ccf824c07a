// SPDX-License-Identifier: Apache-2.0
#include "quire/pager/internal/inline_delivery.h"

#include <cerrno>
#include <span>

#include "quire/cache/range_registry.h"
#include "quire/pager/internal/area_state.h"
#include "quire/pager/internal/pager_core.h"
#include "quire/pager/internal/service.h"
#include "quire/sys/bus_guard.h"
#include "quire/sys/memory.h"

namespace quire::internal {
namespace {

sys::Address place_of(const sys::BusFault& fault) noexcept {
  // NOLINTNEXTLINE(performance-no-int-to-ptr): a BusFault holds it as a number.
  return reinterpret_cast<sys::Address>(fault.address);
}

// A fault of an access whose kind the machine does not tell: a load of what is clean would not
// have faulted.
Need need_of(const sys::BusFault& fault, const AreaState& area, std::uint64_t index) noexcept {
  switch (fault.access) {
    case sys::BusAccess::kStore: return Need::kStore;
    case sys::BusAccess::kLoad: return Need::kLoad;
    case sys::BusAccess::kUnknown: break;
  }
  const GranuleState state = area.table.word(index).state();
  return state == GranuleState::kClean || state == GranuleState::kWriting ? Need::kStore
                                                                          : Need::kLoad;
}

// Whether nothing is mapped there any more: somebody's close() was faster than this signal, and
// the access, repeated, gets SIGSEGV, as after munmap().
bool is_unmapped(const sys::BusFault& fault) noexcept {
  if (fault.cause != sys::BusCause::kNoBacking) {
    return false;
  }
  const std::uint64_t page_bytes = sys::os_page_size().bytes();
  unsigned char residency = 0;
  const sys::Outcome<void> asked = sys::page_residency(place_of(fault) - fault.address % page_bytes,
                                                       page_bytes, std::span(&residency, 1));
  return !asked && asked.error().value == ENOMEM;
}

bool resolve_fault(const sys::BusFault& fault) noexcept {
  if (Service::is_in_forked_child()) {
    return false;
  }
  const RangeRegistry::Claim claim = RangeRegistry::of_process().find(place_of(fault));
  if (!claim) {
    return is_unmapped(fault);
  }
  AreaState& area = *static_cast<AreaState*>(claim.owner());
  const std::uint64_t offset_bytes =
      fault.address - reinterpret_cast<std::uintptr_t>(area.frames->view());
  if (offset_bytes >= round_up(area.size_bytes(), sys::os_page_size())) {
    return false;  // Past the end: what any mapping does.
  }
  const std::uint64_t index = offset_bytes >> area.granule.shift();
  if (!area.is_inline()) {
    // Poison, for a granule that could not be had: this access has its signal, and the next one is
    // a new attempt, as with the kernel.
    area.core->filler.unpoison(area, index);
    return false;
  }
  std::error_code cause;
  const Served served = area.core->filler.serve(area, index, need_of(fault, area, index), cause);
  // A fill that failed may have left zeros, as OnFillError asks for: then the access goes on.
  return served != Served::kFailed || area.table.word(index).is_resident();
}

}  // namespace

Result<void> install_inline_delivery() {
  QUIRE_TRY(sys::set_bus_resolver(resolve_fault));
  return sys::prepare_guard();
}

}  // namespace quire::internal
