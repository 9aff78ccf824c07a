// SPDX-License-Identifier: Apache-2.0
//
// file_table: `quire map PATH...`: the walk, and what is printed of it.
//
//   one file        a card: bar over the whole width, counts, extents
//   several         a table of those with most resident bytes, as many as fit, and the totals
//   --all           every file as it is found; nothing is kept
//   --json          every file as it is found, with extents; nothing is kept
//   --watch         the card or table again and again, on a terminal
//
// Memory is bounded by the rows of the table, not by the files of the tree.
//
// Thread-safety: one thread. Blocks: for the walk; watching, until a stop is requested.
#pragma once

#include <chrono>

#include "quire/cli/session.h"
#include "quire/cli/tree_walk.h"

namespace quire::cli {

struct FileTableOptions {
  bool all = false;
};

[[nodiscard]] ExitCode show_file_table(Session& session, const TreeArguments& tree,
                                       const FileTableOptions& options);

// REQUIRES: standard output is a terminal.
[[nodiscard]] ExitCode watch_file_table(Session& session, const TreeArguments& tree,
                                        std::chrono::milliseconds interval);

}  // namespace quire::cli
