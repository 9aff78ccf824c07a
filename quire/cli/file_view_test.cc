// SPDX-License-Identifier: Apache-2.0
#include "quire/cli/file_view.h"

#include <gtest/gtest.h>

#include <string>

#include "quire/base/units.h"

namespace quire::cli {
namespace {

using literals::operator""_KiB;
using literals::operator""_MiB;

FileView view_of(const std::string& path) {
  FileView view{.path = path, .residency = {}};
  view.residency.size_bytes = 4_MiB;
  view.residency.resident_bytes = 3_MiB;
  view.residency.dirty_bytes = 8_KiB;
  view.shares = {1, 1, 1, 0};
  return view;
}

// A session without a terminal: no colour.
std::string row_of(const FileView& view, std::size_t columns) {
  const Session session;
  return table_row(session, table_shape(columns, true), view);
}

TEST(FileViewTest, ARowAndItsHeaderNeverExceedTheWidth) {
  const Session session;
  for (std::size_t columns = 40; columns <= 300; ++columns) {
    for (const bool has_dirty : {false, true}) {
      const TableShape shape = table_shape(columns, has_dirty);
      const FileView view = view_of(std::string(500, 'p'));
      EXPECT_LE(display_width(table_header(session, shape)), columns + 1);  // + the line's end.
      EXPECT_LE(display_width(table_row(session, shape, view)), columns + 1);
    }
  }
}

TEST(FileViewTest, NarrowTablesGiveUpTheLeastImportantFirst) {
  const TableShape wide = table_shape(140, true);
  EXPECT_TRUE(wide.has_bar && wide.has_size && wide.has_dirty && wide.has_extents);
  const TableShape usual = table_shape(80, true);
  EXPECT_TRUE(usual.has_bar && usual.has_size && usual.has_dirty && !usual.has_extents);
  const TableShape narrow = table_shape(60, true);
  EXPECT_TRUE(narrow.has_bar && !narrow.has_dirty);
  EXPECT_FALSE(table_shape(40, true).has_size);
}

TEST(FileViewTest, ARowNamesEachNumber) {
  const std::string row = row_of(view_of("name"), 120);
  for (const char* part : {"3.0 MiB", "4.0 MiB", "75.0 %", "8.0 KiB", "name"}) {
    EXPECT_NE(row.find(part), std::string::npos) << row;
  }
}

TEST(FileViewTest, UnknownIsAWordAndNoNumber) {
  FileView view = view_of("name");
  view.residency.resident_known = false;
  view.residency.dirty_known = false;
  view.residency.resident_bytes = 0;
  view.residency.dirty_bytes = 0;
  const std::string row = row_of(view, 120);
  EXPECT_NE(row.find("unknown"), std::string::npos) << row;
  EXPECT_EQ(row.find('%'), std::string::npos) << row;
}

TEST(FileViewTest, TotalsLeaveOutWhatIsUnknown) {
  FileTotals totals;
  FileView view = view_of("name");
  totals.add(view.residency);
  view.residency.resident_known = false;
  totals.add(view.residency);
  EXPECT_EQ(totals.files, 2u);
  EXPECT_EQ(totals.unknown_files, 1u);
  EXPECT_EQ(totals.resident_bytes, 3_MiB);
  EXPECT_EQ(totals.size_bytes, 8_MiB);
}

}  // namespace
}  // namespace quire::cli
