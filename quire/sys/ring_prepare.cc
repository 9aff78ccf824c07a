// SPDX-License-Identifier: Apache-2.0
//
// Filling the entries of a ring. liburing's prep functions set every field of an entry but the tag
// and the flags, which finish() sets afterwards.
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cstddef>

#include "quire/base/page_window.h"
#include "quire/sys/internal/kernel_abi.h"
#include "quire/sys/internal/ring_state.h"
#include "quire/sys/internal/transfer_flags.h"

namespace quire::sys {

using internal::to_kernel_flags;

namespace {

static_assert(sizeof(Buffer) == sizeof(iovec) && sizeof(ConstBuffer) == sizeof(iovec));
static_assert(offsetof(Buffer, data) == offsetof(iovec, iov_base));
static_assert(offsetof(Buffer, length_bytes) == offsetof(iovec, iov_len));
static_assert(offsetof(ConstBuffer, data) == offsetof(iovec, iov_base));
static_assert(offsetof(ConstBuffer, length_bytes) == offsetof(iovec, iov_len));

template <typename AnyBuffer>
const iovec* to_iovec(std::span<AnyBuffer> buffers) noexcept {
  return reinterpret_cast<const iovec*>(buffers.data());
}

unsigned entry_length(std::size_t length_bytes) noexcept {
  return static_cast<unsigned>(std::min(length_bytes, internal::kTransferBytesMax));
}

void finish(io_uring_sqe& sqe, RingFile file, EntryOptions entry) noexcept {
  unsigned flags = 0;
  flags |= file.is_registered ? IOSQE_FIXED_FILE : 0;
  flags |= entry.link_next ? IOSQE_IO_LINK : 0;
  flags |= entry.force_async ? IOSQE_ASYNC : 0;
  io_uring_sqe_set_flags(&sqe, flags);
  io_uring_sqe_set_data64(&sqe, entry.tag);
}

// Entries of no file.
constexpr RingFile kNoFile{};

// Takes an entry, lets `fill` fill it, and finishes it. False when the queue is full.
template <typename State, typename Fill>
bool prepare(State& state, RingFile file, EntryOptions entry, Fill&& fill) noexcept {
  io_uring_sqe* sqe = state.next_entry();
  if (sqe == nullptr) {
    return false;
  }
  fill(sqe);
  finish(*sqe, file, entry);
  return true;
}

}  // namespace

bool Ring::prepare_read(RingFile file, std::span<std::byte> into, std::uint64_t offset_bytes,
                        EntryOptions entry, TransferFlags flags) noexcept {
  return prepare(*state_, file, entry, [&](io_uring_sqe* sqe) {
    io_uring_prep_read(sqe, file.number, into.data(), entry_length(into.size()), offset_bytes);
    sqe->rw_flags = to_kernel_flags(flags);
  });
}

bool Ring::prepare_write(RingFile file, std::span<const std::byte> from, std::uint64_t offset_bytes,
                         EntryOptions entry, TransferFlags flags) noexcept {
  return prepare(*state_, file, entry, [&](io_uring_sqe* sqe) {
    io_uring_prep_write(sqe, file.number, from.data(), entry_length(from.size()), offset_bytes);
    sqe->rw_flags = to_kernel_flags(flags);
  });
}

bool Ring::prepare_read_vector(RingFile file, std::span<const Buffer> into,
                               std::uint64_t offset_bytes, EntryOptions entry,
                               TransferFlags flags) noexcept {
  return prepare(*state_, file, entry, [&](io_uring_sqe* sqe) {
    io_uring_prep_readv2(sqe, file.number, to_iovec(into), static_cast<unsigned>(into.size()),
                         offset_bytes, to_kernel_flags(flags));
  });
}

bool Ring::prepare_write_vector(RingFile file, std::span<const ConstBuffer> from,
                                std::uint64_t offset_bytes, EntryOptions entry,
                                TransferFlags flags) noexcept {
  return prepare(*state_, file, entry, [&](io_uring_sqe* sqe) {
    io_uring_prep_writev2(sqe, file.number, to_iovec(from), static_cast<unsigned>(from.size()),
                          offset_bytes, to_kernel_flags(flags));
  });
}

bool Ring::prepare_read_fixed(RingFile file, std::span<std::byte> into, std::uint64_t offset_bytes,
                              std::uint16_t buffer_index, EntryOptions entry,
                              TransferFlags flags) noexcept {
  return prepare(*state_, file, entry, [&](io_uring_sqe* sqe) {
    io_uring_prep_read_fixed(sqe, file.number, into.data(), entry_length(into.size()), offset_bytes,
                             buffer_index);
    sqe->rw_flags = to_kernel_flags(flags);
  });
}

bool Ring::prepare_write_fixed(RingFile file, std::span<const std::byte> from,
                               std::uint64_t offset_bytes, std::uint16_t buffer_index,
                               EntryOptions entry, TransferFlags flags) noexcept {
  return prepare(*state_, file, entry, [&](io_uring_sqe* sqe) {
    io_uring_prep_write_fixed(sqe, file.number, from.data(), entry_length(from.size()),
                              offset_bytes, buffer_index);
    sqe->rw_flags = to_kernel_flags(flags);
  });
}

bool Ring::prepare_sync(RingFile file, SyncScope scope, EntryOptions entry) noexcept {
  return prepare(*state_, file, entry, [&](io_uring_sqe* sqe) {
    io_uring_prep_fsync(sqe, file.number, scope == SyncScope::kData ? IORING_FSYNC_DATASYNC : 0);
  });
}

bool Ring::prepare_allocate(RingFile file, ByteRange range, Allocate mode,
                            EntryOptions entry) noexcept {
  return prepare(*state_, file, entry, [&](io_uring_sqe* sqe) {
    // Beyond what a file can have, the lengths are negative to the kernel: EINVAL.
    io_uring_prep_fallocate(sqe, file.number, mode == Allocate::kKeepSize ? FALLOC_FL_KEEP_SIZE : 0,
                            static_cast<off_t>(range.offset_bytes),
                            static_cast<off_t>(range.length_bytes));
  });
}

bool Ring::prepare_send(RingFile socket, std::span<const std::byte> from,
                        EntryOptions entry) noexcept {
  return prepare(*state_, socket, entry, [&](io_uring_sqe* sqe) {
    io_uring_prep_send(sqe, socket.number, from.data(), entry_length(from.size()),
                       MSG_NOSIGNAL | MSG_WAITALL);
  });
}

bool Ring::prepare_send_zero_copy(RingFile socket, std::span<const std::byte> from,
                                  std::optional<std::uint16_t> buffer_index, CopyReport report,
                                  EntryOptions entry) noexcept {
  return prepare(*state_, socket, entry, [&](io_uring_sqe* sqe) {
    const unsigned how = report == CopyReport::kAsked ? abi::kIoUringSendReportUsage : 0;
    const unsigned length = entry_length(from.size());
    if (buffer_index) {
      io_uring_prep_send_zc_fixed(sqe, socket.number, from.data(), length,
                                  MSG_NOSIGNAL | MSG_WAITALL, how, *buffer_index);
    } else {
      io_uring_prep_send_zc(sqe, socket.number, from.data(), length, MSG_NOSIGNAL | MSG_WAITALL,
                            how);
    }
  });
}

bool Ring::prepare_poll(RingFile file, PollFor events, EntryOptions entry) noexcept {
  return prepare(*state_, file, entry, [&](io_uring_sqe* sqe) {
    io_uring_prep_poll_add(sqe, file.number, events == PollFor::kReadable ? POLLIN : POLLOUT);
  });
}

bool Ring::prepare_cancel(std::uint64_t target_tag, EntryOptions entry) noexcept {
  return prepare(*state_, kNoFile, entry, [&](io_uring_sqe* sqe) {
    io_uring_prep_cancel64(sqe, target_tag, IORING_ASYNC_CANCEL_ALL);
  });
}

bool Ring::prepare_timeout(std::chrono::nanoseconds after, std::uint32_t completion_count,
                           EntryOptions entry) noexcept {
  return prepare(*state_, kNoFile, entry, [&](io_uring_sqe* sqe) {
    __kernel_timespec& time = state_->times[static_cast<std::size_t>(sqe - state_->ring.sq.sqes)];
    time = to_timespec(after);
    io_uring_prep_timeout(sqe, &time, completion_count, 0);
  });
}

bool Ring::prepare_nothing(EntryOptions entry) noexcept {
  return prepare(*state_, kNoFile, entry, [&](io_uring_sqe* sqe) { io_uring_prep_nop(sqe); });
}

}  // namespace quire::sys
