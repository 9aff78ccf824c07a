// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/journal_mark.h"

#include <system_error>

#include "quire/sys/metadata.h"

namespace quire::sys {

bool has_journal_mark(int fd) {
  return attribute(fd, kJournalAttribute).has_value();
}

Result<void> require_no_journal_mark(int fd, const char* operation, const std::string& path) {
  if (!has_journal_mark(fd)) {
    return {};
  }
  return fail(
      Error({.code = std::make_error_code(std::errc::device_or_resource_busy),
             .operation = operation,
             .subject = path,
             .cause = "its last commits may be in its journal, and not in the file",
             .remedy = "map it with .commit = Commit::kAtomic; or, when nobody has it open, "
                       "bring them to it: quire recover FILE"}));
}

}  // namespace quire::sys
