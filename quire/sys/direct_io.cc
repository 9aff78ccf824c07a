// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/direct_io.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>

#include "quire/base/units.h"
#include "quire/sys/call.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"
#include "quire/sys/internal/direct_alignment.h"
#include "quire/sys/internal/kernel_abi.h"
#include "quire/sys/internal/run.h"
#include "quire/sys/memory.h"

namespace quire::sys {
namespace {

using internal::run;
using internal::run_void;

Outcome<int> open_flags_of(int fd) noexcept {
  return run(Call::kStatus, [&](const CallSite&) { return ::fcntl(fd, F_GETFL); });
}

// What statx states. A kernel without those fields states nothing, which is no error.
Outcome<abi::Statx> ask(int fd, unsigned fields) noexcept {
  abi::Statx answer{};
  QUIRE_TRY(run_void(Call::kStatus, [&] {
    return static_cast<int>(::syscall(SYS_statx, fd, "", AT_EMPTY_PATH, fields, &answer));
  }));
  return answer;
}

DirectAlignment same_for_all(std::uint64_t bytes) noexcept {
  return {.memory_bytes = static_cast<std::uint32_t>(bytes),
          .offset_bytes = static_cast<std::uint32_t>(bytes),
          .read_offset_bytes = std::nullopt};
}

// A block device's own block, where there is one to ask.
std::optional<std::uint32_t> block_bytes_of(int fd) noexcept {
  int bytes = 0;
  if (!run_void(Call::kControl, [&] { return ::ioctl(fd, BLKSSZGET, &bytes); }) || bytes <= 0 ||
      !internal::is_believable(static_cast<std::uint32_t>(bytes))) {
    return std::nullopt;
  }
  return static_cast<std::uint32_t>(bytes);
}

// Reads one block at an address and offset that are aligned as asked for and no better. Returns how
// many bytes came.
Outcome<std::size_t> try_read(int fd, const DirectAlignment& alignment) noexcept {
  const std::uint64_t length_bytes = alignment.read_offset_bytes.value_or(alignment.offset_bytes);
  const std::uint64_t memory_bytes = alignment.memory_bytes;
  const std::uint64_t room_bytes =
      std::max(2 * memory_bytes + length_bytes, os_page_size().bytes());
  Address room = QUIRE_TRY(map_pages({.length_bytes = room_bytes,
                                      .protection = Protection::kReadWrite,
                                      .visibility = Visibility::kPrivate}));
  const auto start = reinterpret_cast<std::uintptr_t>(room);
  // The first multiple of the alignment that is not one of twice the alignment.
  const std::uintptr_t odd = (start / memory_bytes | 1) * memory_bytes;
  const Outcome<std::size_t> outcome =
      read_some_at(fd, std::span(room + (odd - start), length_bytes), length_bytes);
  static_cast<void>(unmap_pages(room, room_bytes));
  return outcome;
}

struct Candidate {
  DirectAlignment alignment;
  bool is_stated = false;
};

struct Candidates {
  std::array<Candidate, 3> list;
  std::size_t count = 0;

  void add(const Candidate& candidate) noexcept { list[count++] = candidate; }
};

Candidates candidates_of(int fd, const abi::Statx& answer) noexcept {
  Candidates candidates;
  if (const std::optional<DirectAlignment> stated = internal::stated_alignment(answer)) {
    candidates.add({.alignment = *stated, .is_stated = true});
  } else if (const std::optional<std::uint32_t> block_bytes = block_bytes_of(fd)) {
    candidates.add({.alignment = same_for_all(*block_bytes)});
  }
  candidates.add({.alignment = same_for_all(os_page_size().bytes())});
  return candidates;
}

}  // namespace

Outcome<DirectSupport> direct_support_of(int fd) noexcept {
  const bool direct = QUIRE_TRY(is_direct(fd));
  if (!direct) {
    return refuse(EINVAL);
  }
  const abi::Statx answer = QUIRE_TRY(ask(fd, abi::kStatxDioAlign | abi::kStatxDioReadAlign));
  if (internal::is_direct_refused(answer)) {
    return refuse(EOPNOTSUPP);
  }
  const Candidates candidates = candidates_of(fd, answer);
  for (const Candidate& candidate : std::span(candidates.list).first(candidates.count)) {
    const Outcome<std::size_t> read = try_read(fd, candidate.alignment);
    if (read || read.error().value == EBADF) {  // EBADF: open for writing only.
      return DirectSupport{.alignment = candidate.alignment,
                           .is_stated = candidate.is_stated,
                           .is_confirmed = read.value_or(0) > 0};
    }
    if (read.error().value != EINVAL) {
      return refuse(read.error().value);
    }
  }
  return refuse(EINVAL);
}

Outcome<std::uint32_t> atomic_write_bytes_max(int fd) noexcept {
  const abi::Statx answer = QUIRE_TRY(ask(fd, abi::kStatxWriteAtomic));
  return (answer.mask & abi::kStatxWriteAtomic) != 0 ? answer.atomic_write_unit_max : 0;
}

Outcome<bool> is_direct(int fd) noexcept {
  return open_flags_of(fd).map([](int flags) { return (flags & O_DIRECT) != 0; });
}

Outcome<void> set_direct(int fd, bool direct) noexcept {
  const int flags = QUIRE_TRY(open_flags_of(fd));
  return run_void(Call::kControl, [&] {
    return ::fcntl(fd, F_SETFL, direct ? flags | O_DIRECT : flags & ~O_DIRECT);
  });
}

}  // namespace quire::sys
