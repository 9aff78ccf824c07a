// SPDX-License-Identifier: Apache-2.0
//
// journal_file: journals by path: `table.db` has its journal in `table.db.quire-journal`, or where
// JournalFileOptions::path says.
//
//   auto journal = QUIRE_TRY(open_journal({"accounts.db", "log.db"}, {.path = "bank.journal"}));
//
//   no journal   made under another name, whole and durable, then renamed: one that is there is
//                whole, or damaged. It has the bytes of its files, so it gets their owner and
//                group, where the process may give them, and of the mode what all of them allow
//   the file     carries the attribute user.quire.journal, "<uuid> <its number>", from before its
//                first change until close(). A file that carries it and whose journal is missing,
//                or is another one, is refused: its last commits may be in there.
//   the journal  is locked (flock) while it is open; whoever comes second is refused, and told who
//                has it
//
// A journal with changes knows its files by that attribute: one without it has been closed since,
// and what an old copy of the journal has must not be done again. Where the file system has no
// attributes it knows them by inode: explain() says so, and a journal that was lost, or is an old
// one, then goes unnoticed.
//
// Safety:        nobody else may write to the files while they carry the attribute.
// Thread-safety: any thread.
// Blocks:        for making the journal (its log is written with zeros once), and for recovery.
#pragma once

#include <string>
#include <vector>

#include "quire/base/path_argument.h"
#include "quire/base/result.h"
#include "quire/journal/journal.h"

namespace quire {

struct JournalFileOptions {
  std::string path{};   // Of the journal; "": beside the first file.
  bool create = false;  // Makes files that are missing.
  // Its log_bytes are those of a journal to be made; one that is there keeps its size.
  JournalOptions journal{};
};

// The files get numbers in their order. A journal with changes wants the files it had, in the order
// that it had them; more may follow.
// Errors: those of Journal::open() and open_file(); EINVAL when a file is named twice; ENOENT when
//         a journal is missing that a file needs; kChanged when a file belongs to another journal,
//         or the journal is an old copy; EBUSY when somebody has it open.
[[nodiscard]] Result<std::unique_ptr<Journal>> open_journal(const std::vector<std::string>& paths,
                                                            const JournalFileOptions& options = {});
// For Journal::add_file().
[[nodiscard]] Result<JournalFile> open_journal_file(const std::string& path, bool create = false);

// Where the journal of a file is when nothing else is said: beside the file, and not beside a
// symbolic link to it. A hard link is another file for this; it is refused while there is a mark.
[[nodiscard]] std::string journal_path_of(const std::string& path);

}  // namespace quire
