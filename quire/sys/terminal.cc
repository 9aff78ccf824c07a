// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/terminal.h"

#include <fcntl.h>
#include <langinfo.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <clocale>
#include <string_view>

#include "quire/sys/call.h"

namespace quire::sys {

Outcome<void> occupy_standard_descriptors() noexcept {
  for (const int fd : {kStandardInput, kStandardOutput, kStandardError}) {
    if (::fcntl(fd, F_GETFD) >= 0) {
      continue;
    }
    const CallSite site = CallSite::enter(Call::kOpen);
    if (site.error != 0) {
      return refuse(site.error);
    }
    // The lowest free number is this one: those below are taken.
    if (::open("/dev/null", O_RDONLY) != fd) {
      return refuse_with_errno();
    }
  }
  return {};
}

bool is_terminal(int fd) noexcept {
  return CallSite::enter(Call::kControl).error == 0 && ::isatty(fd) == 1;
}

std::optional<WindowSize> window_size(int fd) noexcept {
  if (CallSite::enter(Call::kControl).error != 0) {
    return std::nullopt;
  }
  winsize raw{};
  if (::ioctl(fd, TIOCGWINSZ, &raw) != 0 || raw.ws_col == 0) {
    return std::nullopt;
  }
  return WindowSize{.columns = raw.ws_col, .rows = raw.ws_row};
}

bool use_environment_locale() noexcept {
  if (std::setlocale(LC_CTYPE, "") == nullptr) {
    return false;  // A locale that is named but not installed: the C locale stays.
  }
  return std::string_view(::nl_langinfo(CODESET)) == "UTF-8";
}

}  // namespace quire::sys
