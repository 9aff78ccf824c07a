// SPDX-License-Identifier: Apache-2.0
//
// file_view: what `quire map` knows and shows of one file, as a line of a table, a card, or an
// object of the document.
//
// Invariants:    what the kernel does not tell is printed as "unknown" and written as null; it is
//                never 0 and never everything.
// Thread-safety: one thread.
// Errors:        as quire/map/residency.h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "quire/cli/session.h"
#include "quire/map/residency.h"

namespace quire::cli {

struct FileView {
  std::string path;
  Residency residency;
  ResidentExtents extents = {};
  std::vector<double> shares = {};  // For the bar; may be fewer than its cells.
};

// Which parts to ask the kernel for: each costs system calls.
struct LookRequest {
  bool extents = false;
  std::size_t bar_cells = 0;  // 0: no bar.
};

// Fills in the rest of a view whose `path` and `residency` are known.
Result<void> look_closer(FileView& view, int fd, const LookRequest& request);

struct FileTotals {
  std::uint64_t files = 0;
  std::uint64_t size_bytes = 0;
  std::uint64_t resident_bytes = 0;
  std::uint64_t dirty_bytes = 0;
  std::uint64_t writeback_bytes = 0;
  std::uint64_t unknown_files = 0;  // Not in resident_bytes.

  void add(const Residency& residency) noexcept;
};

// What a table of files looks like on this terminal: what does not fit beside the path is left out.
struct TableShape {
  std::size_t bar_cells = 12;
  bool has_bar = true;
  bool has_size = true;
  bool has_dirty = true;
  bool has_extents = true;
  std::size_t path_columns = 30;
  std::string root = {};  // The directory that rows leave out, ending in '/'; named in the header.
};
// `has_dirty`: there is something to show in that column.
[[nodiscard]] TableShape table_shape(std::size_t columns, bool has_dirty);

[[nodiscard]] std::string table_header(const Session& session, const TableShape& shape);
[[nodiscard]] std::string table_row(const Session& session, const TableShape& shape,
                                    const FileView& view);
// One file, with all that is known of it, over the whole width.
[[nodiscard]] std::string file_card(const Session& session, const FileView& view);
[[nodiscard]] std::string totals_line(const Session& session, const FileTotals& totals);

// The members of one object of "files"; extents only when they were looked for.
void write_file_members(JsonWriter& json, const FileView& view, bool has_extents);
void write_totals(JsonWriter& json, const FileTotals& totals);

}  // namespace quire::cli
