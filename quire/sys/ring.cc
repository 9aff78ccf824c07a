// SPDX-License-Identifier: Apache-2.0
//
// Opening, registering, submitting, waiting, completing. Entries are filled in ring_prepare.cc.
#include "quire/sys/ring.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <utility>

#include "quire/base/check.h"
#include "quire/sys/call.h"
#include "quire/sys/internal/kernel_abi.h"
#include "quire/sys/internal/probe_parts.h"
#include "quire/sys/internal/ring_state.h"
#include "quire/sys/internal/transfer_flags.h"

namespace quire::sys {
namespace {

using Clock = std::chrono::steady_clock;

// Completions are never dropped, what entries point at is copied at submission, waits take a time.
constexpr unsigned kFeaturesNeeded =
    IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_RW_CUR_POS | IORING_FEAT_EXT_ARG;

struct ModeFlags {
  RingMode mode;
  unsigned flags;
};

// Best first. TASKRUN_FLAG lets take() see without a call whether the kernel holds work back.
constexpr std::array kModes = std::to_array<ModeFlags>({
    {RingMode::kDeferred, IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER |
                              IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG},
    {RingMode::kCooperative,
     IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG},
    {RingMode::kInterrupting, 0},
});

constexpr std::array<int, static_cast<std::size_t>(RingOperation::kCount)> kOpcodes{
    IORING_OP_READ,       IORING_OP_WRITE,       IORING_OP_READV,    IORING_OP_WRITEV,
    IORING_OP_READ_FIXED, IORING_OP_WRITE_FIXED, IORING_OP_FSYNC,    IORING_OP_FALLOCATE,
    IORING_OP_SEND,       IORING_OP_SEND_ZC,     IORING_OP_POLL_ADD, IORING_OP_ASYNC_CANCEL,
    IORING_OP_TIMEOUT,    IORING_OP_NOP,
};

// A call of liburing, which returns the errno negated, behind the door.
template <typename Function>
Outcome<int> run_ring(Call call, Function&& function) noexcept {
  for (;;) {
    const CallSite site = CallSite::enter(call);
    const int result = site.error != 0 ? -site.error : function();
    if (result >= 0) {
      return result;
    }
    if (result != -EINTR) {
      return refuse(-result);
    }
  }
}

Outcome<void> register_with(const io_uring& ring, unsigned operation, const void* argument,
                            unsigned count) noexcept {
  QUIRE_TRY(run_ring(Call::kRingRegister, [&] {
    return ::io_uring_register(static_cast<unsigned>(ring.ring_fd), operation, argument, count);
  }));
  return {};
}

Completion to_completion(const io_uring_cqe& raw) noexcept {
  Completion completion{.tag = raw.user_data,
                        .result = raw.res,
                        .more = (raw.flags & IORING_CQE_F_MORE) != 0,
                        .is_notification = (raw.flags & IORING_CQE_F_NOTIF) != 0};
  if (completion.is_notification) {
    completion.was_copied =
        (static_cast<std::uint32_t>(raw.res) & abi::kIoUringNotificationCopied) != 0;
    completion.result = 0;
    return completion;
  }
  const CallSite site = CallSite::enter(Call::kRingCompletion);
  if (site.error != 0) {
    completion.result = -site.error;
  } else if (completion.result > 0) {
    completion.result = static_cast<std::int32_t>(
        std::min(static_cast<std::size_t>(completion.result), site.transfer_bytes_max));
  }
  return completion;
}

}  // namespace

// --- opening and closing ------------------------------------------------------------------------

Ring::State::~State() {
  if (!is_set_up) {
    return;
  }
  QUIRE_CHECK_EQ(in_flight, unsubmitted());
  io_uring_queue_exit(&ring);
}

io_uring_sqe* Ring::State::next_entry() noexcept {
  io_uring_sqe* entry = io_uring_get_sqe(&ring);
  in_flight += entry != nullptr ? 1 : 0;
  return entry;
}

__kernel_timespec to_timespec(std::chrono::nanoseconds time) noexcept {
  const std::chrono::nanoseconds positive = std::max(time, std::chrono::nanoseconds(0));
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(positive);
  return {.tv_sec = seconds.count(), .tv_nsec = (positive - seconds).count()};
}

Ring::Ring(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
Ring::Ring(Ring&& other) noexcept = default;
Ring& Ring::operator=(Ring&& other) noexcept = default;
Ring::~Ring() = default;

namespace {

Outcome<RingMode> set_up(const RingOptions& options, io_uring& ring) noexcept {
  Outcome<RingMode> refusal = refuse(EINVAL);
  for (const ModeFlags& candidate : kModes) {
    if (candidate.mode == RingMode::kDeferred && options.threads == RingThreads::kAny) {
      continue;
    }
    io_uring_params parameters{};
    parameters.flags = candidate.flags | IORING_SETUP_CQSIZE;
    parameters.cq_entries = options.completion_entries != 0 ? options.completion_entries
                                                            : 2 * options.submission_entries;
    const Outcome<int> outcome = run_ring(Call::kRingSetup, [&] {
      return ::io_uring_queue_init_params(options.submission_entries, &ring, &parameters);
    });
    if (outcome) {
      return candidate.mode;
    }
    refusal = refuse(outcome.error().value);
    if (outcome.error().value != EINVAL) {
      break;  // Not about the flags: fewer of them would not help.
    }
  }
  return refusal;
}

// Asks which operations there are.
template <typename Bits>
Outcome<void> ask_operations(const io_uring& ring, Bits& supported) noexcept {
  abi::IoUringProbe probe{};
  QUIRE_TRY(register_with(ring, IORING_REGISTER_PROBE, &probe,
                          static_cast<unsigned>(abi::kIoUringOperationsMax)));
  for (std::size_t i = 0; i < kOpcodes.size(); ++i) {
    const auto& answer = probe.operations[static_cast<std::size_t>(kOpcodes[i])];
    supported[i] =
        kOpcodes[i] <= probe.last_operation && (answer.flags & IO_URING_OP_SUPPORTED) != 0;
  }
  return {};
}

}  // namespace

Outcome<Ring> Ring::open(const RingOptions& options) noexcept {
  QUIRE_CHECK_GE(options.submission_entries, 1U);
  QUIRE_CHECK_LE(options.submission_entries, kRingEntriesMax);
  QUIRE_CHECK_LE(options.completion_entries, 2 * kRingEntriesMax);
  QUIRE_CHECK(options.completion_entries == 0 ||
              options.completion_entries >= options.submission_entries);
  auto state = std::make_unique<State>();
  state->mode = QUIRE_TRY(set_up(options, state->ring));
  state->is_set_up = true;
  if ((state->ring.features & kFeaturesNeeded) != kFeaturesNeeded) {
    return refuse(ENOTSUP);
  }
  QUIRE_TRY(ask_operations(state->ring, state->supported));
  state->times = std::make_unique<__kernel_timespec[]>(state->ring.sq.ring_entries);
  return Ring(std::move(state));
}

RingMode Ring::mode() const noexcept {
  return state_->mode;
}

std::uint32_t Ring::submission_entries() const noexcept {
  return state_->ring.sq.ring_entries;
}

std::uint32_t Ring::completion_entries() const noexcept {
  return state_->ring.cq.ring_entries;
}

bool Ring::supports(RingOperation operation) const noexcept {
  return state_->supported.test(static_cast<std::size_t>(operation));
}

int Ring::descriptor() const noexcept {
  return state_->ring.ring_fd;
}

// --- registration -------------------------------------------------------------------------------
// Directly, without liburing's helpers: theirs raise RLIMIT_NOFILE of the process when it is low.

Outcome<void> Ring::register_files(std::uint32_t slot_count) noexcept {
  const io_uring_rsrc_register table{
      .nr = slot_count, .flags = IORING_RSRC_REGISTER_SPARSE, .resv2 = 0, .data = 0, .tags = 0};
  return register_with(state_->ring, IORING_REGISTER_FILES2, &table, sizeof table);
}

Outcome<void> Ring::update_file(std::uint32_t slot, int fd) noexcept {
  const io_uring_rsrc_update update{
      .offset = slot, .resv = 0, .data = reinterpret_cast<std::uintptr_t>(&fd)};
  return register_with(state_->ring, IORING_REGISTER_FILES_UPDATE, &update, 1);
}

Outcome<void> Ring::register_buffers(std::span<const Buffer> buffers) noexcept {
  if (buffers.size() > kRingBuffersMax) {
    return refuse(EINVAL);
  }
  return register_with(state_->ring, IORING_REGISTER_BUFFERS, buffers.data(),
                       static_cast<unsigned>(buffers.size()));
}

Outcome<void> Ring::unregister_buffers() noexcept {
  return register_with(state_->ring, IORING_UNREGISTER_BUFFERS, nullptr, 0);
}

// --- submitting and waiting ---------------------------------------------------------------------

namespace {

// Submits everything, and in the last call waits for `wait_count` completions, unless a signal ends
// that wait. Returns how many entries the kernel took.
template <typename State>
Outcome<std::uint32_t> push(State& state, std::uint32_t wait_count) noexcept {
  io_uring& ring = state.ring;
  std::uint32_t taken = 0;
  while (io_uring_sq_ready(&ring) > 0) {
    const Outcome<int> outcome = run_ring(Call::kRingSubmit, [&] {
      ++state.enters;
      return ::io_uring_submit_and_wait(&ring, wait_count);
    });
    if (outcome && *outcome > 0) {
      taken += static_cast<std::uint32_t>(*outcome);
    } else if (taken > 0) {
      break;  // The next call tells why.
    } else {
      return outcome ? refuse(EAGAIN) : refuse(outcome.error().value);
    }
  }
  return taken;
}

// One io_uring_enter that submits nothing. Errors: also EINTR and ETIME.
template <typename State>
Outcome<void> enter(State& state, std::uint32_t count,
                    const std::optional<std::chrono::nanoseconds>& timeout) noexcept {
  const CallSite site = CallSite::enter(Call::kRingWait);
  if (site.error != 0) {
    return refuse(site.error);
  }
  __kernel_timespec time = to_timespec(timeout.value_or(std::chrono::nanoseconds(0)));
  io_uring_getevents_arg argument{};
  ++state.enters;
  argument.ts = timeout ? reinterpret_cast<std::uintptr_t>(&time) : 0;
  const int result = ::io_uring_enter2(static_cast<unsigned>(state.ring.ring_fd), 0, count,
                                       IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG,
                                       reinterpret_cast<sigset_t*>(&argument), sizeof argument);
  if (result < 0) {
    return refuse(-result);
  }
  return {};
}

template <typename State>
Outcome<void> wait_for(State& state, std::uint32_t count,
                       std::optional<std::chrono::nanoseconds> timeout) noexcept {
  // An end of time further away than the clock can count is never.
  const Clock::time_point now = Clock::now();
  if (timeout && *timeout >= Clock::time_point::max() - now) {
    timeout.reset();
  }
  const Clock::time_point deadline = timeout ? now + *timeout : now;
  while (io_uring_cq_ready(&state.ring) < count) {
    const Outcome<void> outcome = enter(state, count, timeout);
    if (!outcome && outcome.error().value == ETIME) {
      break;
    }
    if (!outcome && outcome.error().value != EINTR) {
      return outcome;
    }
    if (timeout) {
      timeout = deadline - Clock::now();
    }
  }
  return {};
}

// Whether the kernel keeps completions, or work that makes some, until we enter it.
bool holds_back(const io_uring& ring) noexcept {
  return (IO_URING_READ_ONCE(*ring.sq.kflags) & (IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN)) != 0;
}

}  // namespace

Outcome<std::uint32_t> Ring::submit() noexcept {
  return push(*state_, 0);
}

Outcome<std::uint32_t> Ring::submit_and_wait(
    std::uint32_t count, std::optional<std::chrono::nanoseconds> timeout) noexcept {
  QUIRE_CHECK_LE(count, state_->in_flight);
  const std::uint32_t wanted = std::min(count, completion_entries());
  if (unsubmitted() > 0) {
    QUIRE_TRY(push(*state_, timeout ? 0 : wanted));
    if (unsubmitted() > 0) {
      return ready();  // The kernel stopped; the next call tells why.
    }
  }
  QUIRE_TRY(wait_for(*state_, wanted, timeout));
  return ready();
}

Outcome<std::uint32_t> Ring::wait(std::uint32_t count,
                                  std::optional<std::chrono::nanoseconds> timeout) noexcept {
  QUIRE_CHECK_LE(count, state_->in_flight - unsubmitted());
  QUIRE_TRY(wait_for(*state_, std::min(count, completion_entries()), timeout));
  return ready();
}

void Ring::abandon() noexcept {
  io_uring_queue_exit(&state_->ring);
  state_->is_set_up = false;
}

std::uint32_t Ring::drop_unsubmitted() noexcept {
  io_uring_sq& queue = state_->ring.sq;
  const std::uint32_t dropped = unsubmitted();
  // The kernel reads the tail only inside of a submission, so it may be turned back.
  const unsigned head = *queue.khead;
  *queue.ktail = head;
  queue.sqe_head = head;
  queue.sqe_tail = head;
  state_->in_flight -= dropped;
  return dropped;
}

// --- completions --------------------------------------------------------------------------------

Outcome<std::size_t> Ring::take(std::span<Completion> into) noexcept {
  io_uring& ring = state_->ring;
  if (ready() == 0 && holds_back(ring)) {
    const Outcome<void> outcome = enter(*state_, 0, std::nullopt);
    if (!outcome && outcome.error().value != EINTR) {
      return refuse(outcome.error().value);
    }
  }
  const std::size_t count = std::min<std::size_t>(ready(), into.size());
  const unsigned head = *ring.cq.khead;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t index = (head + i) & ring.cq.ring_mask;
    into[i] = to_completion(ring.cq.cqes[index]);
    if (!into[i].more) {
      QUIRE_CHECK_GE(state_->in_flight, 1U);
      --state_->in_flight;
    }
  }
  io_uring_cq_advance(&ring, static_cast<unsigned>(count));
  return count;
}

std::uint32_t Ring::ready() const noexcept {
  return io_uring_cq_ready(&state_->ring);
}

std::uint32_t Ring::in_flight() const noexcept {
  return state_->in_flight;
}

std::uint32_t Ring::unsubmitted() const noexcept {
  return state_->unsubmitted();
}

std::uint64_t Ring::system_calls() const noexcept {
  return state_->enters;
}

// --- reasons ------------------------------------------------------------------------------------

std::string explain_ring_refusal(Errno cause) {
  const std::string disabled =
      internal::setting("kernel.io_uring_disabled", "/proc/sys/kernel/io_uring_disabled");
  switch (cause.value) {
    case ENOSYS: return "ENOSYS: this kernel has no io_uring, or a filter hides it";
    case ENOTSUP: return "ENOTSUP: the io_uring of this kernel is older than 5.11";
    case EPERM:
      if (disabled.ends_with("=2")) {
        return "EPERM: " + disabled + " forbids io_uring to everybody";
      }
      if (disabled.ends_with("=1")) {
        return "EPERM: " + disabled + " forbids io_uring outside of kernel.io_uring_group";
      }
      return "EPERM: a seccomp filter forbids io_uring, as those of containers often do";
    case ENOMEM: return "ENOMEM: no memory for a ring, or RLIMIT_MEMLOCK is too low for it";
    default: return internal::explain(cause);
  }
}

}  // namespace quire::sys
