// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/call.h"

#include "quire/base/check.h"

namespace quire::sys {
namespace {

constexpr std::array<const char*, static_cast<std::size_t>(Call::kCount)> kNames{
    "open",
    "close",
    "fstat",
    "dup",
    "read",
    "write",
    "lseek",
    "ftruncate",
    "fallocate",
    "fallocate(punch)",
    "fdatasync",
    "fsync",
    "sync_file_range",
    "fadvise",
    "readahead",
    "cachestat",
    "mmap",
    "munmap",
    "mprotect",
    "mremap",
    "madvise",
    "mlock",
    "munlock",
    "mincore",
    "msync",
    "memfd_create",
    "fcntl(seal)",
    "socket",
    "sendmsg",
    "recvmsg",
    "statfs",
    "ioctl",
    "getdents",
    "sigaction",
    "poll",
    "rename",
    "unlink",
    "probe",
    "sendfile",
    "splice",
    "copy_file_range",
    "ioctl(FICLONE)",
    "pipe2",
    "linkat",
    "mkdirat",
    "fchmod",
    "fgetxattr",
    "fork",
    "eventfd",
    "io_uring_setup",
    "io_uring_register",
    "io_uring_enter",
    "io_uring_enter(wait)",
    "ioctl(userfaultfd)",
    "ioctl(UFFDIO_WAKE)",
    "read(userfaultfd)",
    "ioctl(PAGEMAP_SCAN)",
    "futex",
    "epoll",
    "timerfd",
    "membarrier",
    "io_uring completion",
};
static_assert(kNames.back() != nullptr, "every kind of call has a name");

}  // namespace

std::atomic<FaultPlan*> CallSite::installed_plan{nullptr};

const char* name_of(Call call) noexcept {
  QUIRE_CHECK_LT(call, Call::kCount);
  return kNames[static_cast<std::size_t>(call)];
}

FaultPlan::FaultPlan(FaultRule rule) noexcept : rule_(rule) {
  QUIRE_CHECK_GE(rule.nth, 1U);
  FaultPlan* expected = nullptr;
  // Release pairs with the acquire in CallSite::enter.
  const bool is_only =
      CallSite::installed_plan.compare_exchange_strong(expected, this, std::memory_order_release);
  QUIRE_CHECK(is_only);
}

FaultPlan::~FaultPlan() {
  CallSite::installed_plan.store(nullptr);
}

std::uint64_t FaultPlan::count(Call call) const noexcept {
  return counts_.at(static_cast<std::size_t>(call)).load();
}

CallSite CallSite::apply(FaultPlan& plan, Call call) noexcept {
  const std::uint64_t number = ++plan.counts_.at(static_cast<std::size_t>(call));
  const FaultRule& rule = plan.rule_;
  if (call != rule.call || number < rule.nth || number - rule.nth >= rule.times) {
    return {};
  }
  ++plan.hits_;
  if (rule.error != 0) {
    return {.error = rule.error};
  }
  return {.transfer_bytes_max = rule.transfer_bytes_max};
}

}  // namespace quire::sys
