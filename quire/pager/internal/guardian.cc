// SPDX-License-Identifier: Apache-2.0
#include "quire/pager/internal/guardian.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <new>

#include <fmt/format.h>

#include "quire/base/check.h"
#include "quire/base/page_window.h"
#include "quire/sys/byte_lock.h"
#include "quire/sys/file.h"
#include "quire/sys/lone_process.h"
#include "quire/sys/memfd.h"
#include "quire/sys/memory.h"
#include "quire/sys/process_identity.h"
#include "quire/sys/signals.h"
#include "quire/sys/socket.h"
#include "quire/sys/socket_io.h"

namespace quire::internal {
namespace {

constexpr std::uint64_t kStackBytes = 128_KiB;
constexpr int kStandardError = 2;

Error guard_error(sys::Errno cause, const std::string& subject) {
  return sys::to_error(cause, "survive_kill", subject);
}

// Memory of the new process alone: ours goes when it was made.
class Cradle {
 public:
  Cradle() {
    const sys::Outcome<sys::Address> memory =
        sys::map_pages({.length_bytes = kBytes,
                        .protection = sys::Protection::kReadWrite,
                        .visibility = sys::Visibility::kPrivate});
    error_ = memory ? 0 : memory.error().value;
    memory_ = memory.value_or(nullptr);
  }
  ~Cradle() {
    if (memory_ != nullptr) {
      static_cast<void>(sys::unmap_pages(memory_, kBytes));
    }
  }
  Cradle(const Cradle&) = delete;
  Cradle& operator=(const Cradle&) = delete;

  [[nodiscard]] int error() const { return error_; }
  [[nodiscard]] std::span<std::byte> bytes() const { return {memory_, kBytes}; }
  [[nodiscard]] std::span<std::byte> stack() const { return bytes().last(kStackBytes); }

 private:
  static constexpr std::uint64_t kBytes = 512_KiB;
  static_assert(sizeof(GuardianProcess) + kStackBytes <= kBytes);

  int error_ = 0;
  sys::Address memory_ = nullptr;
};

std::uint64_t board_bytes() {
  return round_up(sizeof(GuardBoard), sys::os_page_size());
}

// The same file, opened by itself: its offset, locks and flags are nobody else's.
Result<sys::Descriptor> reopen(int fd, const std::string& name) {
  const std::string path = fmt::format("/proc/self/fd/{}", fd);
  sys::Outcome<sys::Descriptor> opened = sys::open_file(path.c_str(), {.write = true});
  return opened ? Result<sys::Descriptor>(std::move(*opened))
                : fail(guard_error(opened.error(), name + ", opened once more"));
}

}  // namespace

Guardian::~Guardian() {
  if (board_ != nullptr) {
    static_cast<void>(sys::unmap_pages(reinterpret_cast<sys::Address>(board_), board_bytes()));
  }
}

// --- The process ---------------------------------------------------------------------------------

Result<void> Guardian::start() {
  static const std::string subject = "the guardian process";
  if (board_ == nullptr) {
    const sys::Outcome<sys::Address> memory =
        sys::map_pages({.length_bytes = board_bytes(), .protection = sys::Protection::kReadWrite});
    if (!memory) {
      return fail(guard_error(memory.error(), subject));
    }
    board_ = new (*memory) GuardBoard;
  }
  auto ends = sys::connected_pair();
  if (!ends) {
    return fail(guard_error(ends.error(), subject));
  }
  sys::Outcome<sys::UnsharedDescriptor> socket =
      sys::UnsharedDescriptor::adopt(std::move(ends->first));
  if (!socket) {
    return fail(guard_error(socket.error(), subject));
  }
  const Cradle cradle;
  if (cradle.error() != 0) {
    return fail(guard_error({cradle.error()}, subject));
  }
  const sys::Outcome<int> pid = sys::start_lone_process(
      {.name = "quire-guardian",
       .work = GuardianProcess::run,
       .argument = new (cradle.bytes().data()) GuardianProcess(ends->second.get(), *board_),
       .descriptor = ends->second.get(),
       .stack = cradle.stack(),
       .kept = {cradle.bytes(), std::span(reinterpret_cast<std::byte*>(board_), board_bytes())}});
  if (!pid) {
    return fail(guard_error(pid.error(), subject));
  }
  pid_ = *pid;
  is_lost_ = false;
  socket_ = std::move(*socket);
  if (sys::Outcome<sys::Descriptor> process = sys::open_process(pid_)) {
    process_ = std::move(*process);
    return {};
  } else {
    stop();
    return fail(guard_error(process.error(), subject));
  }
}

// Without the socket it has nothing to wait for.
void Guardian::stop() noexcept {
  socket_.close();
  static_cast<void>(process_.close());
  static_cast<void>(sys::reap_lone_process(pid_));
  pid_ = -1;
  is_lost_ = false;
}

sys::Outcome<int> Guardian::exchange(const GuardRequest& request,
                                     const std::array<int, 3>& descriptors) {
  const int socket = socket_.get();
  GuardReply reply;
  QUIRE_TRY(sys::send_some(socket, std::as_bytes(std::span(&request, 1)), {}));
  if (request.kind == GuardRequest::Kind::kWatch) {
    for (const int fd : descriptors) {
      QUIRE_TRY(sys::send_descriptor(socket, fd));
    }
  }
  const auto answer = QUIRE_TRY(sys::wait_readable(socket, static_cast<int>(kAnswerWait.count())));
  if (answer == sys::PollResult::kTimedOut) {
    return sys::refuse(ETIMEDOUT);
  }
  const std::size_t got =
      QUIRE_TRY(sys::receive_some(socket, std::as_writable_bytes(std::span(&reply, 1))));
  return got == sizeof reply ? sys::Outcome<int>(reply.error) : sys::refuse(EPIPE);
}

// --- Areas ---------------------------------------------------------------------------------------

Result<std::uint32_t> Guardian::watch(const GuardedArea& area) {
  const sys::Outcome<sys::FileStatus> status = sys::file_status(area.file);
  if (!status || status->kind != sys::FileKind::kRegular) {
    return fail(make_error(Errc::kUnsupported, "survive_kill", area.name,
                           "the guardian process can write to regular files only"));
  }
  const MutexLock lock(mutex_);
  const auto* const free = std::ranges::find(marks_, -1, &sys::UnsharedDescriptor::get);
  if (free == marks_.end()) {
    return fail(make_error(Errc::kLimit, "survive_kill", area.name,
                           fmt::format("{} areas of this pager are watched", kGuardedAreasMax),
                           "use another Pager"));
  }
  const auto slot = static_cast<std::uint32_t>(free - marks_.begin());
  sys::Descriptor mark = QUIRE_TRY(reopen(area.file, area.name));
  const sys::Descriptor file = QUIRE_TRY(reopen(area.file, area.name));
  const sys::Outcome<void> marked =
      sys::lock_byte_shared(mark.get(), kOwnerByte, sys::LockHolder::kOpenFile);
  if (!marked) {
    return fail(guard_error(marked.error(), area.name + ", its mark"));
  }
  sys::Outcome<sys::UnsharedDescriptor> adopted = sys::UnsharedDescriptor::adopt(std::move(mark));
  if (!adopted) {
    return fail(guard_error(adopted.error(), area.name));
  }
  if (pid_ < 0) {
    QUIRE_TRY(start());
  }
  board_->areas[slot].size_bytes.store(area.size_bytes);
  board_->areas[slot].has_zeros.store(false);
  GuardRequest request{
      .slot = slot, .granule_bytes = area.granule_bytes, .granule_count = area.granule_count};
  area.name.copy(request.name.data(), request.name.size() - 1);
  const Result<void> asked = ask(request, area, file.get());
  if (!asked) {
    if (watched_ == 0) {
      stop();
    }
    return fail(asked.error());
  }
  marks_[slot] = std::move(*adopted);
  ++watched_;
  return slot;
}

Result<void> Guardian::ask(const GuardRequest& request, const GuardedArea& area, int file) {
  const sys::Outcome<int> answer = is_lost_ ? sys::Outcome<int>(sys::refuse(EPIPE))
                                            : exchange(request, {area.memory, area.states, file});
  if (!answer) {
    note_lost();
    return fail(make_error(Errc::kFailed, "survive_kill", area.name,
                           fmt::format("the guardian process {} has died or does not answer ({})",
                                       pid_, errno_name(answer.error().value)),
                           "close every writable area of the pager: the next one gets a new one"));
  }
  return *answer == 0 ? Result<void>() : fail(guard_error({*answer}, area.name));
}

void Guardian::forget(std::uint32_t slot) noexcept {
  const MutexLock lock(mutex_);
  if (!is_lost_ && !exchange({.kind = GuardRequest::Kind::kForget, .slot = slot}, {})) {
    note_lost();
  }
  marks_[slot].close();
  if (--watched_ == 0) {
    stop();
  }
}

void Guardian::set_size(std::uint32_t slot, std::uint64_t size_bytes) noexcept {
  board_->areas[slot].size_bytes.store(size_bytes);
}

void Guardian::set_has_zeros(std::uint32_t slot) noexcept {
  board_->areas[slot].has_zeros.store(true);
}

// --- Its end -------------------------------------------------------------------------------------

void Guardian::note_lost() noexcept {
  if (is_lost_) {
    return;
  }
  is_lost_ = true;
  if (watched_ == 0) {
    return;  // Nobody relied on it: the Error of watch() is enough.
  }
  std::array<char, 200> line;
  const auto end = fmt::format_to_n(line.data(), line.size(),
                                    "quire: the guardian process {} has died: what is stored does "
                                    "not survive a kill any more until it is flushed\n",
                                    pid_);
  static_cast<void>(sys::write_all(
      kStandardError, std::as_bytes(std::span(line.data(), std::min(end.size, line.size())))));
}

int Guardian::end_descriptor() const {
  const MutexLock lock(mutex_);
  return process_.get();
}

void Guardian::note_end() noexcept {
  const MutexLock lock(mutex_);
  if (pid_ < 0 || is_lost_) {
    return;
  }
  const sys::Outcome<sys::PollResult> ended = sys::wait_readable(process_.get(), 0);
  if (ended && *ended != sys::PollResult::kTimedOut) {
    note_lost();
  }
}

Result<void> Guardian::check() const {
  const MutexLock lock(mutex_);
  if (!is_lost_) {
    return {};
  }
  return fail(
      make_error(Errc::kFailed, "survive_kill", fmt::format("guardian process {}", pid_),
                 "it has died: what is stored does not survive a kill any more until it is flushed",
                 "close every writable area of the pager: the next one gets a new one"));
}

std::string Guardian::explain() const {
  const MutexLock lock(mutex_);
  if (pid_ < 0) {
    return "stores survive a kill (no guardian process yet)";
  }
  return is_lost_
             ? fmt::format("the guardian process {} has died: stores do not survive a kill", pid_)
             : fmt::format("stores survive a kill (guardian process {})", pid_);
}

}  // namespace quire::internal
