// SPDX-License-Identifier: Apache-2.0
//
// Direct I/O of one file: what alignment the kernel states, whether a read of that alignment works,
// and whether it really went past the page cache.
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>

#include "quire/sys/file.h"
#include "quire/sys/internal/direct_alignment.h"
#include "quire/sys/internal/kernel_abi.h"
#include "quire/sys/internal/probe_parts.h"

namespace quire::sys::internal {
namespace {

constexpr Trial kStated{"direct_io.alignment_stated", "the kernel tells the alignment",
                        "the alignment is found by trying"};
constexpr Trial kRead{"direct_io.read", "can bypass the page cache",
                      "use RWF_DONTCACHE, or evict afterwards"};
constexpr Trial kAtomic{"atomic_write", "one aligned block is written whole or not at all",
                        "checksums find torn blocks"};

Outcome<abi::Statx> ask(int fd) noexcept {
  constexpr unsigned kMask = abi::kStatxDioAlign | abi::kStatxDioReadAlign | abi::kStatxWriteAtomic;
  abi::Statx answer{};
  QUIRE_TRY(try_call([&] { return ::syscall(SYS_statx, fd, "", AT_EMPTY_PATH, kMask, &answer); }));
  return answer;
}

// A page, or a block device's own block: what works nearly everywhere.
DirectAlignment assumed_alignment(const PathSubject& subject) noexcept {
  const std::uint32_t page_bytes = static_cast<std::uint32_t>(os_page_size().bytes());
  int block_bytes = 0;
  const bool is_told =
      subject.kind == FileKind::kBlockDevice &&
      try_call([&] { return ::ioctl(subject.fd, BLKSSZGET, &block_bytes); }).has_value() &&
      block_bytes > 0 && is_believable(static_cast<std::uint32_t>(block_bytes));
  const std::uint32_t bytes = is_told ? static_cast<std::uint32_t>(block_bytes) : page_bytes;
  return {.memory_bytes = bytes, .offset_bytes = bytes, .read_offset_bytes = std::nullopt};
}

// O_DIRECT on the open file for as long as this lives.
class DirectMode {
 public:
  static Outcome<DirectMode> enter(int fd) noexcept {
    const long flags = QUIRE_TRY(try_call([&] { return ::fcntl(fd, F_GETFL); }));
    QUIRE_TRY(try_call([&] { return ::fcntl(fd, F_SETFL, static_cast<int>(flags) | O_DIRECT); }));
    return DirectMode(fd, static_cast<int>(flags));
  }
  DirectMode(DirectMode&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), flags_(other.flags_) {}
  DirectMode& operator=(DirectMode&&) = delete;
  ~DirectMode() {
    if (fd_ >= 0) {
      ::fcntl(fd_, F_SETFL, flags_);
    }
  }

 private:
  DirectMode(int fd, int flags) noexcept : fd_(fd), flags_(flags) {}

  int fd_;
  int flags_;
};

// Pages of the file's first `length_bytes` in the page cache; nothing when the kernel will not say.
std::optional<std::uint64_t> cached_pages(int fd, std::uint64_t length_bytes) noexcept {
  const Outcome<CacheStatus> status =
      cache_status(fd, {.offset_bytes = 0, .length_bytes = length_bytes});
  return status ? std::optional(status->cached.value) : std::nullopt;
}

constexpr const char* kUnverified = "unverified";

const char* verdict(std::optional<std::uint64_t> before, std::optional<std::uint64_t> after) {
  if (!before || !after || *before != 0) {
    return kUnverified;
  }
  return *after == 0 ? "verified" : "silently buffered";
}

// Reads one block. With a file of ours the page cache is emptied first, so that it can tell.
Outcome<const char*> read_directly(const PathSubject& subject, const DirectAlignment& alignment,
                                   bool is_residency_told) noexcept {
  const std::uint64_t length_bytes = std::max(alignment.memory_bytes, alignment.offset_bytes);
  const std::uint64_t window_bytes = std::max(length_bytes, os_page_size().bytes());
  const ProbePages room = QUIRE_TRY(ProbePages::map({.length_bytes = 2 * window_bytes,
                                                     .protection = Protection::kReadWrite,
                                                     .visibility = Visibility::kPrivate}));
  const std::uint64_t start = reinterpret_cast<std::uintptr_t>(room.address());
  Address buffer = room.address() + (length_bytes - start % length_bytes) % length_bytes;
  if (subject.is_ours()) {
    static_cast<void>(advise_file(subject.fd, kWholeFile, FileAdvice::kDontNeed));
  }
  const std::optional<std::uint64_t> before = cached_pages(subject.fd, window_bytes);
  {
    const DirectMode direct = QUIRE_TRY(DirectMode::enter(subject.fd));
    QUIRE_TRY(try_call([&] { return ::pread(subject.fd, buffer, length_bytes, 0); }));
  }
  return is_residency_told ? verdict(before, cached_pages(subject.fd, window_bytes)) : kUnverified;
}

std::string describe(const DirectAlignment& alignment) {
  std::string text =
      fmt::format("memory {}, offset {}", alignment.memory_bytes, alignment.offset_bytes);
  if (alignment.read_offset_bytes) {
    text += fmt::format(", reads {}", *alignment.read_offset_bytes);
  }
  return text;
}

Capability conclude_stated(const Outcome<abi::Statx>& answer,
                           const std::optional<DirectAlignment>& stated) {
  if (!answer) {
    return conclude(kStated, tl::unexpected<Errno>(answer.error()));
  }
  if (stated) {
    return conclude(kStated, describe(*stated));
  }
  return conclude_unavailable(kStated, is_direct_refused(*answer)
                                           ? "statx states that this file has no direct I/O"
                                           : "statx states nothing (STATX_DIOALIGN)");
}

// The statement is a statement. On a file of ours one such write proves it.
Finding try_atomic_write(const PathSubject& subject, const abi::Statx& answer) {
  const std::uint32_t unit_bytes = answer.atomic_write_unit_min;
  std::string detail = fmt::format("{} to {} bytes", unit_bytes, answer.atomic_write_unit_max);
  if (!subject.is_ours()) {
    return detail + ", as stated";
  }
  const ProbePages room = QUIRE_TRY(ProbePages::map({.length_bytes = kAlignmentBytesMax,
                                                     .protection = Protection::kReadWrite,
                                                     .visibility = Visibility::kPrivate}));
  const iovec block{.iov_base = room.address(), .iov_len = unit_bytes};
  const DirectMode direct = QUIRE_TRY(DirectMode::enter(subject.fd));
  QUIRE_TRY(try_call([&] { return ::pwritev2(subject.fd, &block, 1, 0, abi::kRwfAtomic); }));
  return detail;
}

Capability conclude_atomic(const PathSubject& subject, const Outcome<abi::Statx>& answer) {
  if (!answer) {
    return conclude(kAtomic, tl::unexpected<Errno>(answer.error()));
  }
  if ((answer->mask & abi::kStatxWriteAtomic) == 0 ||
      !is_believable(answer->atomic_write_unit_min)) {
    return conclude_unavailable(kAtomic, "STATX_WRITE_ATOMIC: none");
  }
  return conclude(kAtomic, try_atomic_write(subject, *answer));
}

}  // namespace

std::optional<DirectAlignment> probe_direct_io(const PathSubject& subject, bool is_residency_told,
                                               std::vector<Capability>& found) {
  const Outcome<abi::Statx> answer = ask(subject.fd);
  const std::optional<DirectAlignment> stated = answer ? stated_alignment(*answer) : std::nullopt;
  const DirectAlignment alignment = stated ? *stated : assumed_alignment(subject);
  const Outcome<const char*> read = read_directly(subject, alignment, is_residency_told);
  found.push_back(conclude_stated(answer, stated));
  found.push_back(conclude(kRead, read.map([&](const char* how) {
    return fmt::format("{}, {}", describe(alignment), how);
  })));
  found.push_back(conclude_atomic(subject, answer));
  return read ? std::optional(alignment) : std::nullopt;
}

void skip_direct_io(const std::string& reason, std::vector<Capability>& found) {
  for (const Trial& trial : {kStated, kRead, kAtomic}) {
    found.push_back(conclude_unknown(trial, reason));
  }
}

}  // namespace quire::sys::internal
