// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/process_identity.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <span>

#include "quire/sys/file.h"
#include "quire/sys/internal/run.h"

namespace quire::sys {

Outcome<std::uint64_t> parse_start_ticks(std::string_view stat) noexcept {
  // The second field is the name, in parentheses, and may hold blanks and parentheses itself.
  const std::size_t name_end = stat.rfind(')');
  if (name_end == std::string_view::npos) {
    return refuse(EBADMSG);
  }
  constexpr int kFieldsBetween = 22 - 2;
  std::string_view rest = stat.substr(name_end + 1);
  for (int field = 0; field < kFieldsBetween; ++field) {
    const std::size_t blank = rest.find(' ');
    if (blank == std::string_view::npos) {
      return refuse(EBADMSG);
    }
    rest.remove_prefix(blank + 1);
  }
  std::uint64_t ticks = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), ticks);
  const bool ends_there = end != rest.data() + rest.size() && (*end == ' ' || *end == '\n');
  return error == std::errc{} && ends_there ? Outcome<std::uint64_t>(ticks) : refuse(EBADMSG);
}

Outcome<std::uint64_t> process_start_ticks(int pid) noexcept {
  std::array<char, 32> path{};
  std::snprintf(path.data(), path.size(), "/proc/%d/stat", pid);
  const Outcome<Descriptor> file = open_file(path.data(), {});
  if (!file) {
    const bool has_proc = path_status("/proc/self", false).has_value();
    return refuse(file.error().value == ENOENT && has_proc ? ESRCH : file.error().value);
  }
  std::array<char, 1024> text{};  // 52 numbers and 16 bytes of name.
  const std::size_t bytes =
      QUIRE_TRY(read_at(file->get(), std::as_writable_bytes(std::span(text)), 0));
  return parse_start_ticks({text.data(), bytes});
}

Outcome<Descriptor> open_process(int pid) noexcept {
  const auto fd = QUIRE_TRY(internal::run(
      Call::kProcess, [&](const CallSite&) { return ::syscall(SYS_pidfd_open, pid, 0U); }));
  return Descriptor(static_cast<int>(fd));
}

}  // namespace quire::sys
