// SPDX-License-Identifier: Apache-2.0
#include "quire/cli/file_table.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "quire/cli/file_view.h"

namespace quire::cli {
namespace {

constexpr std::size_t kRowsDefault = 40;  // Where the output has no height.
constexpr std::size_t kRowsReserved = 6;  // Header, totals, what was left out, the next prompt.
constexpr std::size_t kRowsMin = 5;
constexpr std::size_t kErrorsShownMax = 3;  // Under a watched table.

// The rows with most resident bytes, of all that were offered.
class LargestRows {
 public:
  explicit LargestRows(std::size_t rows_max) : rows_max_(rows_max) {}

  [[nodiscard]] bool would_keep(const Residency& found) const {
    return rows_.size() < rows_max_ || weight(found) > weight(rows_.front().residency);
  }
  void add(FileView view) {
    if (rows_.size() == rows_max_) {
      std::pop_heap(rows_.begin(), rows_.end(), is_larger);
      rows_.pop_back();
    }
    rows_.push_back(std::move(view));
    std::push_heap(rows_.begin(), rows_.end(), is_larger);
  }
  // Largest first; equal ones by name, so that two runs look the same.
  [[nodiscard]] std::vector<FileView> take_sorted() {
    std::sort(rows_.begin(), rows_.end(), is_larger);
    return std::move(rows_);
  }

 private:
  static std::uint64_t weight(const Residency& found) {
    return found.resident_known ? found.resident_bytes : 0;
  }
  static bool is_larger(const FileView& left, const FileView& right) {
    const std::uint64_t left_bytes = weight(left.residency);
    const std::uint64_t right_bytes = weight(right.residency);
    return left_bytes != right_bytes ? left_bytes > right_bytes : left.path < right.path;
  }

  std::size_t rows_max_;
  std::vector<FileView> rows_;
};

std::size_t rows_that_fit(const Session& session) {
  if (!session.rows()) {
    return kRowsDefault;
  }
  return std::max(kRowsMin, *session.rows() - std::min(*session.rows(), kRowsReserved));
}

// What one pass over the tree gives.
struct Pass {
  FileTotals totals;
  std::vector<FileView> rows;
};

// The residency of a visited file; reports what cannot be asked.
std::optional<FileView> look(Session& session, const WalkedFile& file) {
  auto found = residency(file.file.get());
  if (!found) {
    session.report(found.error().about("map", file.path));
    return std::nullopt;
  }
  return FileView{.path = file.path, .residency = std::move(*found)};
}

bool look_closer_or_report(Session& session, FileView& view, int fd, const LookRequest& request) {
  if (const auto looked = look_closer(view, fd, request); !looked) {
    session.report(looked.error().about("map", view.path));
    return false;
  }
  return true;
}

Pass gather_largest(Session& session, const TreeArguments& tree, std::size_t rows_max) {
  Pass pass;
  LargestRows largest(rows_max);
  ProgressLine progress(session, "map");
  TreeWalk walk(session, "map", {.one_file_system = tree.one_file_system});
  // A bar is computed for the widest use: one file's card. Tables squeeze it.
  const LookRequest request{.extents = true, .bar_cells = session.columns()};
  walk.walk(tree.paths, [&](const WalkedFile& file) {
    std::optional<FileView> view = look(session, file);
    if (!view) {
      return;
    }
    pass.totals.add(view->residency);
    progress.update(pass.totals.resident_bytes, pass.totals.files);
    if (largest.would_keep(view->residency) &&
        look_closer_or_report(session, *view, file.file.get(), request)) {
      largest.add(std::move(*view));
    }
  });
  pass.rows = largest.take_sorted();
  if (pass.totals.files > pass.rows.size()) {
    // Where rows are scarce, those of files with nothing in memory say nothing.
    std::erase_if(pass.rows, [](const FileView& view) {
      return view.residency.resident_known && view.residency.resident_bytes == 0;
    });
  }
  return pass;
}

// The one directory that was named: its name need not stand in every row.
std::string common_root(const TreeArguments& tree) {
  if (tree.paths.size() != 1) {
    return {};
  }
  std::string root = tree.paths.front();
  root.erase(root.find_last_not_of('/') + 1);
  return root.empty() ? root : root + '/';
}

std::string rendered(const Session& session, const TreeArguments& tree, const Pass& pass) {
  if (pass.totals.files == 0) {
    return "no files\n";
  }
  if (pass.totals.files == 1 && pass.rows.size() == 1) {
    return file_card(session, pass.rows.front());
  }
  const bool has_dirty = pass.totals.dirty_bytes + pass.totals.writeback_bytes > 0;
  TableShape shape = table_shape(session.columns(), has_dirty);
  shape.root = common_root(tree);
  std::string text = pass.rows.empty() ? "" : table_header(session, shape);
  for (const FileView& view : pass.rows) {
    text += table_row(session, shape, view);
  }
  if (pass.totals.files > pass.rows.size()) {
    const std::string hidden =
        count_of(pass.totals.files - pass.rows.size(), "more file", "more files");
    text += session.paint()(Tone::kDim, fmt::format("... and {}; --all lists them", hidden)) + "\n";
  }
  return text + totals_line(session, pass.totals);
}

ExitCode code_of(const Session& session) {
  return Session::was_interrupted() || session.stop_requested() ? ExitCode::kFailed
                                                                : ExitCode::kDone;
}

void note_if_interrupted(Session& session, std::uint64_t files) {
  if (Session::was_interrupted()) {
    session.note(fmt::format("interrupted after {}; the totals are of these",
                             count_of(files, "file", "files")));
  }
}

ExitCode show_every_file(Session& session, const TreeArguments& tree) {
  FileTotals totals;
  TableShape shape = table_shape(session.columns(), true);
  shape.root = common_root(tree);
  const LookRequest request{.extents = shape.has_extents, .bar_cells = shape.bar_cells};
  session.output().write(table_header(session, shape));
  TreeWalk walk(session, "map", {.one_file_system = tree.one_file_system});
  walk.walk(tree.paths, [&](const WalkedFile& file) {
    std::optional<FileView> view = look(session, file);
    if (view && look_closer_or_report(session, *view, file.file.get(), request)) {
      totals.add(view->residency);
      session.output().write(table_row(session, shape, *view));
    }
  });
  session.output().write(totals_line(session, totals));
  note_if_interrupted(session, totals.files);
  return code_of(session);
}

ExitCode write_document(Session& session, const TreeArguments& tree) {
  JsonWriter& json = session.json();
  FileTotals totals;
  ProgressLine progress(session, "map");
  TreeWalk walk(session, "map", {.one_file_system = tree.one_file_system});
  json.key("files").begin_array();
  walk.walk(tree.paths, [&](const WalkedFile& file) {
    std::optional<FileView> view = look(session, file);
    if (!view || !look_closer_or_report(session, *view, file.file.get(), {.extents = true})) {
      return;
    }
    totals.add(view->residency);
    progress.update(totals.resident_bytes, totals.files);
    json.begin_object();
    write_file_members(json, *view, true);
    json.end_object();
  });
  json.end_array();
  write_totals(json, totals);
  note_if_interrupted(session, totals.files);
  return code_of(session);
}

// The lines of `text`, each erased to its end, drawn over what was there.
std::string over_drawn(std::string_view text) {
  std::string frame = "\x1b[H";
  for (const char character : text) {
    frame += character == '\n' ? "\x1b[K\n" : std::string(1, character);
  }
  return frame + "\x1b[J";
}

std::string error_lines(const Session& session, const std::vector<Error>& errors) {
  std::string lines;
  for (std::size_t index = 0; index < std::min(errors.size(), kErrorsShownMax); ++index) {
    const std::string line = session.name(errors[index].message());
    lines += fit_path(line, session.columns() - 1, session.charset()) + "\n";
  }
  if (errors.size() > kErrorsShownMax) {
    lines += fmt::format("... and {}\n",
                         count_of(errors.size() - kErrorsShownMax, "more error", "more errors"));
  }
  return lines;
}

}  // namespace

ExitCode show_file_table(Session& session, const TreeArguments& tree,
                         const FileTableOptions& options) {
  if (session.is_json()) {
    return write_document(session, tree);
  }
  if (options.all) {
    return show_every_file(session, tree);
  }
  const Pass pass = gather_largest(session, tree, rows_that_fit(session));
  if (pass.totals.files > 0 || session.error_count() == 0) {
    session.output().write(rendered(session, tree, pass));
  }
  note_if_interrupted(session, pass.totals.files);
  return code_of(session);
}

ExitCode watch_file_table(Session& session, const TreeArguments& tree,
                          std::chrono::milliseconds interval) {
  bool is_first = true;
  do {
    std::vector<Error> errors;
    session.measure_terminal();
    session.redirect_errors(&errors);
    const Pass pass = gather_largest(session, tree, rows_that_fit(session));
    session.redirect_errors(nullptr);
    if (is_first && pass.totals.files == 0 && !errors.empty()) {
      std::for_each(errors.begin(), errors.end(),
                    [&](const Error& error) { session.report(error); });
      return ExitCode::kFailed;
    }
    if (!Session::was_interrupted()) {
      const std::string frame = rendered(session, tree, pass) + error_lines(session, errors);
      session.output().write((is_first ? "\x1b[2J" : "") + over_drawn(frame));
      static_cast<void>(session.output().flush());
    }
    is_first = false;
  } while (session.sleep_unless_stopped(interval));
  return ExitCode::kDone;  // Ctrl-C is how watching ends.
}

}  // namespace quire::cli
