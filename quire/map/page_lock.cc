// SPDX-License-Identifier: Apache-2.0
#include "quire/map/page_lock.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "quire/base/page_window.h"
#include "quire/map/warming.h"

namespace quire {
namespace {

std::string text_of(const std::optional<std::uint64_t>& limit_bytes) {
  return limit_bytes ? human_bytes(*limit_bytes) : "unlimited";
}

std::string remedy_for(const sys::ProcessLimits& process, std::uint64_t needed_bytes) {
  const std::optional<std::uint64_t>& hard = process.locked_bytes.hard;
  const std::uint64_t needed_kib = (needed_bytes + 1023) / 1024;
  std::string text;
  if (!hard || *hard >= needed_bytes) {
    text = fmt::format("raise it in this shell: ulimit -l {}; or ", needed_kib);
  }
  return text +
         fmt::format(
             "LimitMEMLOCK={0}K in the systemd unit, memlock in /etc/security/limits.conf, "
             "--ulimit memlock={1} for a container, or setcap cap_ipc_lock=ep on the program",
             needed_kib, needed_bytes);
}

Error over_memlock(std::uint64_t bytes, const sys::ProcessLimits& process) {
  const std::uint64_t locked = process.locked_now_bytes.value_or(0);
  const std::uint64_t needed = end_of({locked, bytes});
  return make_error(
      Errc::kLimit, "lock", human_bytes(bytes),
      fmt::format("RLIMIT_MEMLOCK is {} (hard limit {}), {} are locked already, and the process "
                  "does not have CAP_IPC_LOCK",
                  text_of(process.locked_bytes.soft), text_of(process.locked_bytes.hard),
                  human_bytes(locked)),
      remedy_for(process, needed));
}

// The pages that a span touches.
std::span<const std::byte> pages_of(std::span<const std::byte> bytes) {
  const PageSize page = sys::os_page_size();
  const std::uint64_t skew = reinterpret_cast<std::uintptr_t>(bytes.data()) & page.mask();
  return {bytes.data() - skew, round_up(bytes.size() + skew, page)};
}

// The kernel takes addresses without const, and changes nothing behind them here.
std::byte* address_of(std::span<const std::byte> pages) {
  return const_cast<std::byte*>(pages.data());
}

// mlock says ENOMEM for a page that cannot be read in, too: find out.
Error explain_refusal(std::span<const std::byte> pages, sys::Errno cause) {
  if (cause.value == ENOMEM || cause.value == EAGAIN) {
    const Result<PopulateReport> touched =
        populate({address_of(pages), pages.size()}, PopulateAccess::kRead, {.allow_reclaim = true});
    if (!touched && touched.error().code() == Errc::kFault) {
      return make_error(Errc::kFault, "lock", touched.error().subject(), touched.error().cause());
    }
  }
  return sys::to_error(cause, "lock", human_bytes(pages.size()));
}

}  // namespace

Result<void> preflight_lock(std::uint64_t bytes, const sys::ProcessLimits& process,
                            const sys::MemoryLimits& memory) {
  const std::uint64_t needed = round_up(bytes, sys::os_page_size());
  if (process.locked_bytes.is_known && needed > sys::lockable_bytes(process)) {
    return fail(over_memlock(needed, process));
  }
  const std::uint64_t total = end_of({process.locked_now_bytes.value_or(0), needed});
  if (memory.binding_bytes && total > *memory.binding_bytes) {
    return fail(make_error(
        Errc::kLimit, "lock", human_bytes(needed),
        fmt::format("locked memory cannot be reclaimed, and would exceed {}", memory.binding),
        "lock less, or raise the memory limit of the machine, container or unit (MemoryMax=)"));
  }
  return {};
}

Result<void> preflight_lock(std::uint64_t bytes) {
  return preflight_lock(bytes, sys::process_limits(), sys::memory_limits());
}

Result<PageLock> PageLock::lock(std::span<const std::byte> mapped, LockMode mode) {
  if (mapped.empty()) {
    return PageLock();
  }
  const std::span<const std::byte> pages = pages_of(mapped);
  QUIRE_TRY(preflight_lock(pages.size()));
  const sys::Outcome<void> locked = sys::lock_pages(address_of(pages), pages.size(), mode);
  if (!locked) {
    // A failed mlock may leave part of the range locked.
    static_cast<void>(sys::unlock_pages(address_of(pages), pages.size()));
    return fail(explain_refusal(pages, locked.error()));
  }
  return PageLock(pages);
}

PageLock& PageLock::operator=(PageLock&& other) noexcept {
  if (this != &other) {
    static_cast<void>(unlock());
    pages_ = std::exchange(other.pages_, {});
  }
  return *this;
}

PageLock::~PageLock() {
  static_cast<void>(unlock());
}

Result<void> PageLock::unlock() {
  const std::span<const std::byte> pages = std::exchange(pages_, {});
  if (pages.empty()) {
    return {};
  }
  const sys::Outcome<void> unlocked = sys::unlock_pages(address_of(pages), pages.size());
  return unlocked ? Result<void>{}
                  : fail(sys::to_error(unlocked.error(), "unlock", human_bytes(pages.size())));
}

}  // namespace quire
