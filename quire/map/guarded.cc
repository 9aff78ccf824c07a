// SPDX-License-Identifier: Apache-2.0
#include "quire/map/guarded.h"

#include <fmt/format.h>

namespace quire {
namespace {

const char* name_of(sys::BusAccess access) noexcept {
  switch (access) {
    case sys::BusAccess::kLoad: return "a load";
    case sys::BusAccess::kStore: return "a store";
    case sys::BusAccess::kUnknown: break;
  }
  return "a load or store";
}

}  // namespace

std::string describe(const GuardFault& fault) {
  const char* access = name_of(fault.access);
  switch (fault.cause) {
    case sys::BusCause::kNoBacking: break;
    case sys::BusCause::kMisaligned:
      return fmt::format("{} met a misaligned address (SIGBUS)", access);
    case sys::BusCause::kHardware:
      return fmt::format("{} met broken memory (SIGBUS): its content is lost", access);
    case sys::BusCause::kOther: return fmt::format("{} failed (SIGBUS)", access);
  }
  const bool is_load = fault.access == sys::BusAccess::kLoad;
  return fmt::format(
      "{} found no page behind the mapping (SIGBUS): the file became shorter, {}or the device "
      "reported an error",
      access, is_load ? "" : "no space is left for a hole, ");
}

std::string remedy_for(const GuardFault& fault) {
  if (fault.cause != sys::BusCause::kNoBacking) {
    return "see the kernel log (dmesg)";
  }
  const bool is_load = fault.access == sys::BusAccess::kLoad;
  return fmt::format("compare the file's size with the mapping's, {}see the kernel log (dmesg)",
                     is_load ? "" : "look at the free space and the quota, ");
}

namespace internal {

Error region_error(std::uint64_t region_bytes, const GuardFault& fault) {
  return make_error(Errc::kFault, "guarded",
                    fmt::format("offset {} of {} mapped bytes", fault.offset_bytes, region_bytes),
                    describe(fault), remedy_for(fault));
}

}  // namespace internal
}  // namespace quire
