// SPDX-License-Identifier: Apache-2.0
//
// The methods that leave the bytes in the kernel: sendfile, splice, copy_file_range, reflink.
#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>

#include "quire/sys/file.h"
#include "quire/transfer/internal/mover.h"

namespace quire::internal {
namespace {

// What holds for every one of them: a call that moved nothing but would not block says so.
enum class Copies : std::uint8_t { kNone, kOne, kUnknown };

void count_moved(Job& job, std::uint64_t bytes, Copies copies) {
  if (copies == Copies::kUnknown) {
    job.moved_with_unknown_copies(bytes);
  } else {
    job.moved(bytes, copies == Copies::kOne ? 1 : 0);
  }
}

// References to pages reach a UNIX socket, a pipe and our own loopback as they are; whether a
// network device can take them is not told.
Copies copies_to(const Job& job, bool from_socket) {
  const TargetEnd& target = job.target();
  if (target.is_regular() || target.status.kind == sys::FileKind::kBlockDevice) {
    return Copies::kOne;
  }
  if (from_socket || (target.is_socket() && !target.socket.is_loopback)) {
    return Copies::kUnknown;
  }
  return Copies::kNone;
}

class SendFile final : public Mover {
 public:
  explicit SendFile(Job& job) : job_(job), copies_(copies_to(job, false)) {}

  Step move(std::uint64_t length_bytes) override {
    if (job_.target().is_placed() && job_.target_offset() != position_) {
      if (const Step placed = take_position(); !placed.is_moved()) {
        return placed;
      }
    }
    for (;;) {
      job_.count_call();
      const auto sent = sys::send_file(job_.target().fd, job_.source().fd, job_.source_offset(),
                                       static_cast<std::size_t>(length_bytes));
      if (sent) {
        count_moved(job_, *sent, copies_);
        position_ = job_.target_offset();
        return *sent == 0 ? Step::source_ended() : Step::moved();
      }
      if (sent.error().value != EAGAIN) {
        return refused_or_failed("sendfile", sent.error());
      }
      if (const Step waited = job_.wait_for_target(); !waited.is_moved()) {
        return waited;
      }
    }
  }

  Step finish() override {
    if (callers_position_) {
      job_.count_call();
      static_cast<void>(sys::set_file_position(job_.target().fd, *callers_position_));
      callers_position_.reset();
    }
    return Step::moved();
  }

 private:
  // sendfile(2) knows no offset for its target: it goes by the position, which is the caller's
  // where the caller named an offset.
  Step take_position() {
    if (!callers_position_ && !job_.target().moves_position) {
      job_.count_call();
      const auto position = sys::file_position(job_.target().fd);
      if (!position) {
        return Step::failed({.operation = "lseek", .error = position.error().value});
      }
      callers_position_ = *position;
    }
    job_.count_call();
    const auto moved = sys::set_file_position(job_.target().fd, job_.target_offset());
    return moved ? Step::moved()
                 : Step::failed({.operation = "lseek", .error = moved.error().value});
  }

  Job& job_;
  Copies copies_;
  std::optional<std::uint64_t> position_;          // Of the target, as far as we know it.
  std::optional<std::uint64_t> callers_position_;  // To be put back.
};

class Splice final : public Mover {
 public:
  explicit Splice(Job& job) : job_(job), copies_(copies_to(job, job.source().is_socket())) {}

  Step move(std::uint64_t length_bytes) override {
    if (job_.source().is_pipe() || job_.target().is_pipe()) {
      return move_directly(length_bytes);
    }
    if (!pipe_) {
      job_.count_call();
      auto pipe = sys::create_pipe(kPipeBytes, false);
      if (!pipe) {
        return refused_or_failed("pipe2", pipe.error());
      }
      pipe_.emplace(std::move(*pipe));
    }
    const std::uint64_t wanted = std::min<std::uint64_t>(length_bytes, pipe_->capacity_bytes);
    std::size_t held = 0;
    if (const Step in = fill(wanted, held); !in.is_moved()) {
      return in;
    }
    return drain(held, length_bytes > held);
  }

  Step finish() override {
    pipe_.reset();  // What it still holds of a file was never counted, and is read again.
    return Step::moved();
  }

 private:
  // The usual limit for who is not privileged (fs.pipe-max-size).
  static constexpr std::size_t kPipeBytes = 1 << 20;

  [[nodiscard]] sys::SpliceEnd source_end() const {
    sys::SpliceEnd end{.fd = job_.source().fd};
    if (job_.source().is_placed()) {
      end.offset_bytes = job_.source_offset();
    }
    return end;
  }

  [[nodiscard]] sys::SpliceEnd target_end() const {
    sys::SpliceEnd end{.fd = job_.target().fd};
    if (job_.target().is_placed()) {
      end.offset_bytes = job_.target_offset();
    }
    return end;
  }

  Step move_directly(std::uint64_t length_bytes) {
    for (;;) {
      job_.count_call();
      const auto moved = sys::splice(source_end(), target_end(),
                                     static_cast<std::size_t>(length_bytes), sys::SpliceMore::kNo);
      if (moved) {
        count_moved(job_, *moved, copies_);
        return *moved == 0 ? Step::source_ended() : Step::moved();
      }
      if (moved.error().value != EAGAIN) {
        return refused_or_failed("splice", moved.error());
      }
      if (const Step waited = job_.wait_for_either(); !waited.is_moved()) {
        return waited;
      }
    }
  }

  Step fill(std::uint64_t wanted_bytes, std::size_t& held) {
    for (;;) {
      job_.count_call();
      const auto taken = sys::splice(source_end(), {.fd = pipe_->write_end.get()},
                                     static_cast<std::size_t>(wanted_bytes), sys::SpliceMore::kNo);
      if (taken) {
        held = *taken;
        return held == 0 ? Step::source_ended() : Step::moved();
      }
      if (taken.error().value != EAGAIN) {
        return refused_or_failed("splice", taken.error());
      }
      if (const Step waited = job_.wait_for_source(); !waited.is_moved()) {
        return waited;
      }
    }
  }

  Step drain(std::size_t held, bool more_follows) {
    while (held > 0) {
      job_.count_call();
      const auto moved = sys::splice({.fd = pipe_->read_end.get()}, target_end(), held,
                                     more_follows ? sys::SpliceMore::kYes : sys::SpliceMore::kNo);
      if (moved && *moved > 0) {
        count_moved(job_, *moved, copies_);
        held -= *moved;
        continue;
      }
      const int error = moved ? EIO : moved.error().value;
      if (error == EAGAIN) {
        if (const Step waited = job_.wait_for_target(); !waited.is_moved()) {
          return waited;
        }
      } else if (is_refusal(error) && job_.source().is_placed()) {
        return Step::refused({.operation = "splice", .error = error});
      } else if (is_refusal(error)) {
        return rescue(held, error);
      } else {
        return Step::failed({.operation = "splice", .error = error});
      }
    }
    return Step::moved();
  }

  // What was taken from a stream is in the pipe and nowhere else: it goes out by hand.
  Step rescue(std::size_t held, int error) {
    std::array<std::byte, 16384> buffer{};
    while (held > 0) {
      job_.count_call();
      const auto read = sys::read_some(pipe_->read_end.get(), buffer);
      if (!read || *read == 0) {
        return Step::failed({.operation = "read", .error = read ? EIO : read.error().value});
      }
      held -= std::min(held, *read);
      if (const Step out = job_.write_piece(std::span(buffer).first(*read), 2); !out.is_moved()) {
        return out;
      }
    }
    return Step::refused({.operation = "splice", .error = error});
  }

  Job& job_;
  Copies copies_;
  std::optional<sys::Pipe> pipe_;
};

class CopyFileRange final : public Mover {
 public:
  explicit CopyFileRange(Job& job) : job_(job), copies_(copies_of(job)) {}

  Step move(std::uint64_t length_bytes) override {
    job_.count_call();
    const auto copied = sys::copy_range(job_.target().fd, job_.target_offset(), job_.source().fd,
                                        {job_.source_offset(), length_bytes});
    if (!copied) {
      return refused_or_failed("copy_file_range", copied.error());
    }
    count_moved(job_, *copied, copies_);
    return *copied == 0 ? Step::source_ended() : Step::moved();
  }

 private:
  static Copies copies_of(const Job& job) {
    return may_share_blocks(job.target().file_system) ? Copies::kUnknown : Copies::kOne;
  }

  Job& job_;
  Copies copies_;
};

class Reflink final : public Mover {
 public:
  explicit Reflink(Job& job) : job_(job) {}

  Step move(std::uint64_t length_bytes) override {
    job_.count_call();
    const auto cloned = sys::clone_range(job_.target().fd, job_.target_offset(), job_.source().fd,
                                         {job_.source_offset(), length_bytes});
    if (!cloned) {
      return refused_or_failed("ioctl(FICLONERANGE)", cloned.error());
    }
    job_.moved(length_bytes, 0);
    return Step::moved();
  }

  // Cut into steps, the pieces could end inside a block; and time does not depend on the length.
  [[nodiscard]] std::uint64_t step_bytes() const override { return kToEnd; }

 private:
  Job& job_;
};

}  // namespace

std::unique_ptr<Mover> make_send_file(Job& job) {
  return std::make_unique<SendFile>(job);
}

std::unique_ptr<Mover> make_splice(Job& job) {
  return std::make_unique<Splice>(job);
}

std::unique_ptr<Mover> make_copy_file_range(Job& job) {
  return std::make_unique<CopyFileRange>(job);
}

std::unique_ptr<Mover> make_reflink(Job& job) {
  return std::make_unique<Reflink>(job);
}

}  // namespace quire::internal
