// SPDX-License-Identifier: Apache-2.0
//
// MSG_ZEROCOPY: the source is mapped, and TCP sends from its pages. The kernel says later, call by
// call, whether it really did.
//
//   map 8 MiB -> send, send, ... -> unmap (the kernel's references keep the pages)
//                   notices: one call, or a run of calls, done; copied or not
//
// The file's bytes may change until the notice; SourceStability::kMayChange keeps away from here.
#include <algorithm>
#include <cerrno>
#include <deque>

#include "quire/transfer/internal/mover.h"

namespace quire::internal {
namespace {

// The most that one call pins, below the 8 MiB that an unprivileged user may lock by default; and
// the least that is worth a notice.
constexpr std::size_t kCallBytesMost = 1 << 20;
constexpr std::size_t kCallBytesLeast = 64 << 10;
// Calls without a notice so far; each holds a little of the socket's option memory.
constexpr std::size_t kCallsInFlightMax = 64;

class ZeroCopySend final : public Mover {
 public:
  explicit ZeroCopySend(Job& job) : job_(job) {}

  Step move(std::uint64_t length_bytes) override {
    if (!is_enabled_) {
      if (const Step enabled = enable(); !enabled.is_moved()) {
        return enabled;
      }
    }
    return move_window(job_, length_bytes,
                       [this](std::span<const std::byte> bytes) { return send_window(bytes); });
  }

  Step finish() override {
    while (!sizes_.empty()) {
      if (const Step done = await_notice(); !done.is_moved()) {
        return done;
      }
    }
    return Step::moved();
  }

 private:
  Step enable() {
    job_.count_call();
    if (const auto enabled = sys::enable_zero_copy(job_.target().fd); !enabled) {
      return refused_or_failed("setsockopt(SO_ZEROCOPY)", enabled.error());
    }
    is_enabled_ = true;
    // Notices of earlier calls by the caller would be taken for ours.
    bool found_one = true;
    while (found_one) {
      if (const Step taken = take_notice(found_one); !taken.is_moved()) {
        return taken;
      }
    }
    return Step::moved();
  }

  Step send_window(std::span<const std::byte> from) {
    while (!from.empty()) {
      if (sizes_.size() >= kCallsInFlightMax) {
        if (const Step room = await_notice(); !room.is_moved()) {
          return room;
        }
      }
      job_.count_call();
      const auto sent =
          sys::send_some(job_.target().fd, from.first(std::min(from.size(), call_bytes_)),
                         {.zero_copy = true, .more = from.size() > call_bytes_});
      if (sent && *sent > 0) {
        sizes_.push_back(*sent);
        job_.moved(*sent, 0);
        from = from.subspan(*sent);
        continue;
      }
      if (const Step next = after_refusal(sent ? EIO : sent.error().value); !next.is_moved()) {
        return next;
      }
    }
    return Step::moved();
  }

  // kMoved: try again.
  Step after_refusal(int error) {
    if (error == EAGAIN) {
      bool found_one = true;
      while (found_one) {  // A notice that waits would end the poll at once, again and again.
        if (const Step taken = take_notice(found_one); !taken.is_moved()) {
          return taken;
        }
      }
      return job_.wait_for_target();
    }
    if (error == ENOBUFS && !sizes_.empty()) {
      return await_notice();
    }
    if (error == ENOBUFS && call_bytes_ > kCallBytesLeast) {
      call_bytes_ /= 2;
      return Step::moved();
    }
    return refused_or_failed("send(MSG_ZEROCOPY)", sys::Errno{error});
  }

  // One notice, waiting for it.
  Step await_notice() {
    for (;;) {
      bool found_one = false;
      if (const Step taken = take_notice(found_one); !taken.is_moved() || found_one) {
        return taken;
      }
      if (const Step gone = check_socket(); !gone.is_moved()) {
        return gone;
      }
      if (const Step waited = job_.wait_for_notice(); !waited.is_moved()) {
        return waited;
      }
    }
  }

  Step take_notice(bool& found_one) {
    job_.count_call();
    const auto notice = sys::next_notice(job_.target().fd);
    if (!notice) {
      return Step::failed({.operation = "recvmsg(MSG_ERRQUEUE)", .error = notice.error().value});
    }
    found_one = notice->has_value();
    if (!found_one) {
      return Step::moved();
    }
    // Calls complete in order on a stream, so their sizes leave from the front.
    const std::uint32_t call_count = (*notice)->last - (*notice)->first + 1;
    for (std::uint32_t i = 0; i < call_count && !sizes_.empty(); ++i) {
      job_.add_copied((*notice)->was_copied ? sizes_.front() : 0);
      sizes_.pop_front();
    }
    return Step::moved();
  }

  // A connection that broke may leave calls without a notice for as long as its memory is in use.
  Step check_socket() {
    job_.count_call();
    const auto error = sys::take_socket_error(job_.target().fd);
    if (!error || *error != 0) {
      return Step::failed(
          {.operation = "send(MSG_ZEROCOPY)", .error = error ? *error : error.error().value});
    }
    return Step::moved();
  }

  Job& job_;
  std::deque<std::size_t> sizes_;  // Of calls without a notice yet, oldest first.
  std::size_t call_bytes_ = kCallBytesMost;
  bool is_enabled_ = false;
};

}  // namespace

std::unique_ptr<Mover> make_zero_copy_send(Job& job) {
  return std::make_unique<ZeroCopySend>(job);
}

}  // namespace quire::internal
