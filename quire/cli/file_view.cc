// SPDX-License-Identifier: Apache-2.0
#include "quire/cli/file_view.h"

#include <algorithm>
#include <array>

#include "quire/base/units.h"
#include "quire/cli/bar.h"

namespace quire::cli {
namespace {

constexpr std::size_t kBytesColumns = 10;  // "1023.9 MiB"
constexpr std::size_t kShareColumns = 7;   // "99.9 %", and "unknown"
constexpr std::size_t kExtentColumns = 7;
constexpr std::size_t kGap = 2;             // Between columns.
constexpr std::size_t kWideColumns = 100;   // From here there is room for more than the essentials.
constexpr std::size_t kCardExtentsMax = 8;  // A card is no dump; --json has them all.
constexpr std::size_t kBarOutline = 2;      // The two ends of a bar.
constexpr std::size_t kPathColumnsMin = 12;

std::string bar_of(const Session& session, const FileView& view, std::size_t cells) {
  if (!view.residency.resident_known) {
    return render_unknown_bar(cells, session.charset());
  }
  if (view.residency.size_bytes == 0) {
    return render_empty_bar(cells, session.charset());
  }
  return render_bar(resample(view.shares, cells), session.charset());
}

std::string bytes_or_unknown(std::uint64_t bytes, bool is_known) {
  return is_known ? human_bytes(bytes) : "unknown";
}

std::string extent_count(const FileView& view) {
  if (!view.extents.known) {
    return "unknown";
  }
  return with_thousands(view.extents.extents.size()) + (view.extents.complete ? "" : "+");
}

void write_count(JsonWriter& json, std::string_view key, std::uint64_t bytes, bool is_known) {
  if (is_known) {
    json.member(key, bytes);
  } else {
    json.key(key).value_null();
  }
}

std::string card_extents(const FileView& view) {
  std::string lines;
  const auto& extents = view.extents.extents;
  if (view.residency.resident_bytes == view.residency.size_bytes) {
    return lines;  // One extent, which is the file.
  }
  for (std::size_t index = 0; index < std::min(extents.size(), kCardExtentsMax); ++index) {
    const ByteRange& extent = extents[index];
    lines += fmt::format("  {:>10} at offset {} ({})\n", human_bytes(extent.length_bytes),
                         extent.offset_bytes, human_bytes(extent.offset_bytes));
  }
  if (extents.size() > kCardExtentsMax) {
    lines += fmt::format("  ... and {}; --json lists them\n",
                         count_of(extents.size() - kCardExtentsMax, "more extent", "more extents"));
  }
  return lines;
}

std::size_t columns_before_path(const TableShape& shape) {
  std::size_t columns = kBytesColumns + kGap + kShareColumns + kGap;
  columns += shape.has_bar ? shape.bar_cells + kBarOutline + kGap : 0;
  columns += shape.has_size ? kBytesColumns + kGap : 0;
  columns += shape.has_dirty ? kBytesColumns + kGap : 0;
  columns += shape.has_extents ? kExtentColumns + kGap : 0;
  return columns;
}

std::string path_cell(const Session& session, const TableShape& shape, std::string_view text) {
  std::string cell = fit_path(text, shape.path_columns, session.charset());
  cell.erase(cell.find_last_not_of(' ') + 1);
  return cell;
}

// Dirty and in write-back together: what the disk does not have yet.
std::string dirty_cell(const Paint& paint, const Residency& found) {
  const std::uint64_t unwritten_bytes = found.dirty_bytes + found.writeback_bytes;
  const std::string text = !found.dirty_known     ? "unknown"
                           : unwritten_bytes == 0 ? "-"
                                                  : human_bytes(unwritten_bytes);
  return paint(unwritten_bytes > 0 ? Tone::kWarning : Tone::kPlain, pad_left(text, kBytesColumns));
}

}  // namespace

Result<void> look_closer(FileView& view, int fd, const LookRequest& request) {
  if (request.extents) {
    view.extents = QUIRE_TRY(resident_extents(fd));
  }
  if (request.bar_cells > 0 && view.residency.resident_known) {
    view.shares = QUIRE_TRY(residency_map(fd, kWholeFile, request.bar_cells)).shares;
  }
  return {};
}

void FileTotals::add(const Residency& residency) noexcept {
  ++files;
  size_bytes += residency.size_bytes;
  unknown_files += residency.resident_known ? 0 : 1;
  resident_bytes += residency.resident_known ? residency.resident_bytes : 0;
  dirty_bytes += residency.dirty_known ? residency.dirty_bytes : 0;
  writeback_bytes += residency.dirty_known ? residency.writeback_bytes : 0;
}

TableShape table_shape(std::size_t columns, bool has_dirty) {
  TableShape shape{.bar_cells = columns >= kWideColumns ? columns / 5 : 12,
                   .has_dirty = has_dirty,
                   .has_extents = columns >= kWideColumns};
  constexpr std::array<bool TableShape::*, 4> kDroppable{
      &TableShape::has_extents, &TableShape::has_dirty, &TableShape::has_size,
      &TableShape::has_bar};
  for (bool TableShape::* part : kDroppable) {
    if (columns < columns_before_path(shape) + kPathColumnsMin) {
      shape.*part = false;
    }
  }
  const std::size_t used = columns_before_path(shape);
  shape.path_columns = std::max(columns - std::min(columns, used), kPathColumnsMin);
  return shape;
}

std::string table_header(const Session& session, const TableShape& shape) {
  std::string line = shape.has_bar ? pad_right("where", shape.bar_cells + kBarOutline + kGap) : "";
  line += fmt::format("{:>10}  ", "resident");
  line += shape.has_size ? fmt::format("{:>10}  ", "size") : "";
  line += fmt::format("{:>7}  ", "share");
  line += shape.has_dirty ? fmt::format("{:>10}  ", "dirty") : "";
  line += shape.has_extents ? fmt::format("{:>7}  ", "extents") : "";
  line += shape.root.empty() ? "file" : path_cell(session, shape, "in " + session.name(shape.root));
  return session.paint()(Tone::kDim, line) + "\n";
}

std::string table_row(const Session& session, const TableShape& shape, const FileView& view) {
  const Paint paint = session.paint();
  const Residency& found = view.residency;
  const Tone tone = found.resident_known ? Tone::kAccent : Tone::kDim;
  std::string line =
      shape.has_bar ? paint(tone, bar_of(session, view, shape.bar_cells)) + "  " : "";
  line += fmt::format("{:>10}  ", found.resident_known ? human_bytes(found.resident_bytes) : "-");
  line += shape.has_size ? fmt::format("{:>10}  ", human_bytes(found.size_bytes)) : "";
  line +=
      fmt::format("{:>7}  ", found.resident_known ? percent(found.resident_bytes, found.size_bytes)
                                                  : "unknown");
  line += shape.has_dirty ? dirty_cell(paint, found) + "  " : "";
  line += shape.has_extents ? pad_left(extent_count(view), kExtentColumns) + "  " : "";
  std::string_view path = view.path;
  if (!shape.root.empty() && path.starts_with(shape.root)) {
    path.remove_prefix(shape.root.size());
  }
  return line + path_cell(session, shape, session.name(path)) + "\n";
}

std::string file_card(const Session& session, const FileView& view) {
  const Paint paint = session.paint();
  const Residency& found = view.residency;
  std::string card = paint(Tone::kStrong, session.name(view.path)) + "\n";
  card += paint(found.resident_known ? Tone::kAccent : Tone::kDim,
                bar_of(session, view, session.columns() - kBarOutline - 1)) +
          "\n";
  if (!found.resident_known) {
    card += fmt::format("  size {}; what is resident is unknown: {}\n",
                        human_bytes(found.size_bytes), found.why_unknown);
  } else {
    card +=
        fmt::format("  {} of {} resident ({}), {}\n", human_bytes(found.resident_bytes),
                    human_bytes(found.size_bytes), percent(found.resident_bytes, found.size_bytes),
                    count_of(view.extents.extents.size(), "extent", "extents"));
  }
  card += fmt::format("  {} dirty, {} in write-back\n",
                      bytes_or_unknown(found.dirty_bytes, found.dirty_known),
                      bytes_or_unknown(found.writeback_bytes, found.dirty_known));
  return card + card_extents(view);
}

std::string totals_line(const Session& session, const FileTotals& totals) {
  std::string line =
      fmt::format("{} of {} resident ({}) in {}", human_bytes(totals.resident_bytes),
                  human_bytes(totals.size_bytes), percent(totals.resident_bytes, totals.size_bytes),
                  count_of(totals.files, "file", "files"));
  if (totals.dirty_bytes > 0) {
    line += fmt::format(", {} dirty", human_bytes(totals.dirty_bytes));
  }
  if (totals.writeback_bytes > 0) {
    line += fmt::format(", {} in write-back", human_bytes(totals.writeback_bytes));
  }
  line = session.paint()(Tone::kStrong, line);
  if (totals.unknown_files > 0) {
    line += fmt::format("; unknown for {}: the kernel tells only who owns or may write a file",
                        count_of(totals.unknown_files, "file", "files"));
  }
  return line + "\n";
}

void write_file_members(JsonWriter& json, const FileView& view, bool has_extents) {
  const Residency& found = view.residency;
  json.member_path("path", view.path);
  json.member("size_bytes", found.size_bytes);
  json.member("resident_known", found.resident_known);
  write_count(json, "resident_bytes", found.resident_bytes, found.resident_known);
  write_count(json, "dirty_bytes", found.dirty_bytes, found.dirty_known);
  write_count(json, "writeback_bytes", found.writeback_bytes, found.dirty_known);
  write_count(json, "evicted_bytes", found.evicted_bytes, found.dirty_known);
  write_count(json, "recently_evicted_bytes", found.recently_evicted_bytes, found.dirty_known);
  if (!found.why_unknown.empty()) {
    json.member("why_unknown", found.why_unknown);
  }
  if (!has_extents) {
    return;
  }
  json.key("extents").begin_array();
  for (const ByteRange& extent : view.extents.extents) {
    json.begin_object();
    json.member("offset_bytes", extent.offset_bytes);
    json.member("length_bytes", extent.length_bytes);
    json.end_object();
  }
  json.end_array();
  json.member("extents_complete", view.extents.known && view.extents.complete);
}

void write_totals(JsonWriter& json, const FileTotals& totals) {
  json.key("totals").begin_object();
  json.member("files", totals.files);
  json.member("size_bytes", totals.size_bytes);
  json.member("resident_bytes", totals.resident_bytes);
  json.member("dirty_bytes", totals.dirty_bytes);
  json.member("writeback_bytes", totals.writeback_bytes);
  json.member("unknown_files", totals.unknown_files);
  json.end_object();
}

}  // namespace quire::cli
