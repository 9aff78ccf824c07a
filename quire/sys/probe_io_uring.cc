// SPDX-License-Identifier: Apache-2.0
//
// io_uring: whether a ring can be set up, with which flags, and what it can do. Raw system calls:
// nothing is submitted, so no ring is mapped.
#include <fmt/format.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <string_view>

#include "quire/sys/internal/kernel_abi.h"
#include "quire/sys/internal/probe_parts.h"

namespace quire::sys::internal {
namespace {

constexpr unsigned kEntries = 8;  // The least that is of use to anybody; nothing is submitted.

constexpr Trial kSetup{"io_uring.setup", "reads and writes can be queued deep from one thread",
                       "depth needs threads: pread and pwrite instead of a ring"};

struct Flag {
  Trial trial;
  std::uint32_t flags;
};

constexpr std::array kFlags = std::to_array<Flag>({
    {{"io_uring.coop_taskrun", "completions do not interrupt the running thread",
      "completions interrupt the running thread"},
     abi::kIoUringSetupCoopTaskrun},
    {{"io_uring.single_issuer", "a ring of one thread is cheaper",
      "rings pay for locking that one thread would not need"},
     abi::kIoUringSetupSingleIssuer},
    {{"io_uring.defer_taskrun", "completions are processed in batches, when asked for",
      "completions are processed one by one, whenever they come"},
     abi::kIoUringSetupSingleIssuer | abi::kIoUringSetupDeferTaskrun},
});

constexpr Trial kRegisteredBuffers{"io_uring.registered_buffers",
                                   "direct I/O need not pin its buffers each time",
                                   "direct I/O pins its buffers at every request"};

// IORING_FEAT_*, by bit.
constexpr std::array<std::string_view, 18> kFeatureNames{
    "single_mmap", "nodrop",      "submit_stable",  "rw_cur_pos",   "cur_personality",
    "fast_poll",   "poll_32bits", "sqpoll_nofixed", "ext_arg",      "native_workers",
    "rsrc_tags",   "cqe_skip",    "linked_file",    "reg_reg_ring", "recvsend_bundle",
    "min_timeout", "rw_attr",     "no_iowait"};

struct Operation {
  const char* name;
  std::uint8_t number;  // IORING_OP_*
};

struct OperationGroup {
  Trial trial;
  std::span<const Operation> operations;
};

constexpr std::array kFileOperations = std::to_array<Operation>({{"readv", 1},
                                                                 {"writev", 2},
                                                                 {"fsync", 3},
                                                                 {"read_fixed", 4},
                                                                 {"write_fixed", 5},
                                                                 {"sync_file_range", 8},
                                                                 {"fallocate", 17},
                                                                 {"openat", 18},
                                                                 {"close", 19},
                                                                 {"statx", 21},
                                                                 {"read", 22},
                                                                 {"write", 23},
                                                                 {"fadvise", 24},
                                                                 {"madvise", 25}});
constexpr std::array kPollOperations =
    std::to_array<Operation>({{"poll_add", 6}, {"timeout", 11}, {"async_cancel", 14}});
constexpr std::array kSpliceOperations = std::to_array<Operation>({{"splice", 30}, {"tee", 33}});
constexpr std::array kZeroCopyOperations =
    std::to_array<Operation>({{"send_zc", 47}, {"sendmsg_zc", 48}});
constexpr std::array kFutexOperations =
    std::to_array<Operation>({{"futex_wait", 51}, {"futex_wake", 52}});

constexpr std::array kGroups = std::to_array<OperationGroup>({
    {{"io_uring.operations.file", "everything the file engines queue is there",
      "the operations that are missing run as plain system calls"},
     kFileOperations},
    {{"io_uring.operations.poll", "one loop can wait for faults, timers and I/O",
      "faults and I/O need a thread each"},
     kPollOperations},
    {{"io_uring.operations.splice", "file to socket without copies, queued",
      "file to socket by sendfile"},
     kSpliceOperations},
    {{"io_uring.operations.zero_copy_send", "large sends need no copy (but on loopback)",
      "sends copy, or use MSG_ZEROCOPY"},
     kZeroCopyOperations},
    {{"io_uring.operations.futex", "one loop can wait for locks and I/O",
      "waiting for locks needs a thread or an eventfd"},
     kFutexOperations},
});

struct Ring {
  Descriptor fd;
  std::uint32_t features = 0;
};

Outcome<Ring> set_up(std::uint32_t flags) noexcept {
  abi::IoUringParameters parameters{};
  parameters.flags = flags;
  const long fd =
      QUIRE_TRY(try_call([&] { return ::syscall(SYS_io_uring_setup, kEntries, &parameters); }));
  return Ring{.fd = Descriptor(static_cast<int>(fd)), .features = parameters.features};
}

std::string name_features(std::uint32_t features) {
  std::vector<std::string> names;
  for (std::size_t bit = 0; bit < kFeatureNames.size(); ++bit) {
    if (((features >> bit) & 1) != 0) {
      names.emplace_back(kFeatureNames[bit]);
    }
  }
  return join(names);
}

Finding register_one_buffer(int ring) noexcept {
  const ProbePages page = QUIRE_TRY(one_page());
  iovec buffer{.iov_base = page.address(), .iov_len = page.length_bytes()};
  QUIRE_TRY(try_call([&] {
    return ::syscall(SYS_io_uring_register, ring, abi::kIoUringRegisterBuffers, &buffer, 1U);
  }));
  return std::string();  // The page outlives its mapping until the ring is closed.
}

Outcome<std::unique_ptr<abi::IoUringProbe>> ask_operations(int ring) {
  auto probe = std::make_unique<abi::IoUringProbe>();
  QUIRE_TRY(try_call([&] {
    return ::syscall(SYS_io_uring_register, ring, abi::kIoUringRegisterProbe, probe.get(),
                     static_cast<unsigned>(abi::kIoUringOperationsMax));
  }));
  return probe;
}

bool is_supported(const abi::IoUringProbe& probe, std::uint8_t operation) noexcept {
  return operation <= probe.last_operation && (probe.operations[operation].flags & 1U) != 0;
}

Capability conclude_group(const OperationGroup& group, const abi::IoUringProbe& probe) {
  std::vector<std::string> present;
  std::vector<std::string> missing;
  for (const Operation& operation : group.operations) {
    (is_supported(probe, operation.number) ? present : missing).emplace_back(operation.name);
  }
  if (!missing.empty()) {
    return conclude_unavailable(group.trial, "this kernel's ring lacks " + join(missing));
  }
  return conclude(group.trial, join(present));
}

void probe_operations(int ring, std::vector<Capability>& found) {
  const auto probe = ask_operations(ring);
  for (const OperationGroup& group : kGroups) {
    found.push_back(probe ? conclude_group(group, **probe)
                          : conclude(group.trial, tl::unexpected<Errno>(probe.error())));
  }
}

}  // namespace

void probe_io_uring(std::vector<Capability>& found) {
  const Outcome<Ring> ring = set_up(0);
  const std::string hint =
      setting("kernel.io_uring_disabled", "/proc/sys/kernel/io_uring_disabled");
  if (!ring) {
    found.push_back(conclude(kSetup, tl::unexpected<Errno>(ring.error()), hint));
    const std::string reason = "no ring can be set up: " + explain(ring.error(), hint);
    for (const Flag& flag : kFlags) {
      found.push_back(conclude_unavailable(flag.trial, reason));
    }
    found.push_back(conclude_unavailable(kRegisteredBuffers, reason));
    for (const OperationGroup& group : kGroups) {
      found.push_back(conclude_unavailable(group.trial, reason));
    }
    return;
  }
  found.push_back(conclude(kSetup, name_features(ring->features)));
  for (const Flag& flag : kFlags) {
    const Finding finding = set_up(flag.flags).map([](const Ring&) { return std::string(); });
    found.push_back(conclude(flag.trial, finding));
  }
  found.push_back(conclude(kRegisteredBuffers, register_one_buffer(ring->fd.get())));
  probe_operations(ring->fd.get(), found);
}

}  // namespace quire::sys::internal
