// SPDX-License-Identifier: Apache-2.0
//
// journal_mark: what a file says about commits that may be in its journal, and not in it.
//
// A file carries the extended attribute from before its first change goes to a journal until that
// journal is closed and clean (docs/formats.md). Who reads its bytes meanwhile may see old ones;
// who writes them may find them undone, or mixed with those of a commit. So who maps or opens a
// file without its journal is refused to write to it, and told by explain() that it may be behind.
//
// Thread-safety: any thread.
// Cost:          a system call, some 0.3 us.
#pragma once

#include <string>

#include "quire/base/result.h"

namespace quire::sys {

inline constexpr const char* kJournalAttribute = "user.quire.journal";

// False also where the file system has no attributes.
[[nodiscard]] bool has_journal_mark(int fd);

// For who is about to write to the file without its journal. Errors: EBUSY, with the remedy.
[[nodiscard]] Result<void> require_no_journal_mark(int fd, const char* operation,
                                                   const std::string& path);

// For explain(), of a file that has the mark.
inline constexpr const char* kBehindItsJournal =
    "its last commits may be in its journal, and not here: quire recover FILE";

}  // namespace quire::sys
