// SPDX-License-Identifier: Apache-2.0
#include "quire/map/snapshot.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <ostream>

#include "quire/base/prng.h"
#include "quire/sys/call.h"
#include "quire/sys/descriptor.h"
#include "quire/testing/seed.h"
#include "quire/testing/temp_dir.h"

#define XXH_INLINE_ALL  // NOLINT(readability-identifier-naming): xxhash wants it so.
#include <xxhash.h>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size_bytes);

namespace quire {
namespace {

const char* const kHeader = "{\"quire_snapshot\":1}\n";

SnapshotReader::Source from(std::string text) {
  return [text = std::move(text),
          at = std::size_t{0}](std::span<char> into) mutable -> Result<std::size_t> {
    const std::size_t count = std::min(text.size() - at, into.size());
    std::copy_n(text.begin() + static_cast<std::ptrdiff_t>(at), count, into.begin());
    at += count;
    return count;
  };
}

std::string write(const std::vector<SnapshotEntry>& entries) {
  std::string text;
  SnapshotWriter writer([&](std::string_view bytes) -> Result<void> {
    text += bytes;
    return {};
  });
  for (const SnapshotEntry& entry : entries) {
    EXPECT_TRUE(writer.add(entry).has_value());
  }
  EXPECT_EQ(writer.finish().value().files, entries.size());
  return text;
}

Result<std::vector<SnapshotEntry>> read(const std::string& text) {
  SnapshotReader reader(from(text));
  std::vector<SnapshotEntry> entries;
  while (std::optional<SnapshotEntry> entry = QUIRE_TRY(reader.next())) {
    entries.push_back(std::move(*entry));
  }
  return entries;
}

// The lines with a header before and a valid last line behind them: only the lines are at fault.
std::string sealed(const std::string& lines) {
  const std::string body = kHeader + lines;
  const auto files = std::count(lines.begin(), lines.end(), '\n');
  char trailer[64];
  std::snprintf(trailer, sizeof trailer, "{\"files\":%td,\"xxh3\":\"%016llx\"}\n", files,
                static_cast<unsigned long long>(XXH3_64bits(body.data(), body.size())));
  return body + trailer;
}

std::string file_line(const std::string& path, const std::string& resident) {
  return R"({"path":")" + path +
         R"(","size_bytes":100,"modified_ns":-5,"device":1,"inode":2,"resident":)" + resident +
         "}\n";
}

SnapshotEntry entry_of(std::string path) {
  return {.path = std::move(path),
          .size_bytes = 100'000,
          .modified_ns = 1'700'000'000'123'456'789,
          .device = 66305,
          .inode = 12,
          .resident = {{0, 4096}, {8192, 4096}, {98'304, 1696}}};
}

TEST(SnapshotTest, TheTextIsTheOneThatIsDocumented) {
  EXPECT_EQ(write({entry_of("/data/a")}),
            "{\"quire_snapshot\":1}\n"
            "{\"path\":\"/data/a\",\"size_bytes\":100000,\"modified_ns\":1700000000123456789,"
            "\"device\":66305,\"inode\":12,\"resident\":[[0,4096],[8192,4096],[98304,1696]]}\n"
            "{\"files\":1,\"xxh3\":\"cfa7a696adae2812\"}\n");
}

// Goal:   whatever entries are written, the same are read: any bytes in paths, any ranges.
TEST(SnapshotTest, WhatIsWrittenIsRead) {
  Prng random(testing::test_seed());
  for (int round = 0; round < 200; ++round) {
    std::vector<SnapshotEntry> entries;
    const std::uint64_t count = random.below(8);
    for (std::uint64_t i = 0; i < count; ++i) {
      SnapshotEntry entry{.path = "/",
                          .size_bytes = random.below(std::uint64_t{1} << 62),
                          .modified_ns = static_cast<std::int64_t>(random()),
                          .device = random(),
                          .inode = random(),
                          .resident = {}};
      const std::uint64_t path_bytes = random.below(40);
      for (std::uint64_t j = 0; j < path_bytes; ++j) {
        entry.path += static_cast<char>(1 + random.below(255));
      }
      for (std::uint64_t at = random.below(5000); at + 10'000 < entry.size_bytes;
           at += 1 + random.below(entry.size_bytes / 20)) {
        const std::uint64_t length = 1 + random.below(4096);
        entry.resident.push_back({at, length});
        at += length;
      }
      entries.push_back(std::move(entry));
    }
    EXPECT_EQ(read(write(entries)).value(), entries);
  }
}

TEST(SnapshotTest, APathThatIsNotUtf8IsWrittenInHexadecimal) {
  const SnapshotEntry entry = entry_of("/caf\xe9");
  const std::string text = write({entry});
  EXPECT_NE(text.find("\"path_hex\":\"2f636166e9\""), std::string::npos);
  EXPECT_EQ(read(text).value().at(0), entry);
}

TEST(SnapshotTest, AnEmptySnapshotIsOne) {
  EXPECT_TRUE(read(write({})).value().empty());
  EXPECT_EQ(validate_snapshot(from(write({entry_of("/a"), entry_of("/b")}))).value().files, 2U);
}

struct HostileRow {
  const char* name;
  std::string text;
  Errc code;
  const char* says;  // Part of the message.
};

std::ostream& operator<<(std::ostream& out, const HostileRow& row) {
  return out << row.name;
}

class HostileSnapshotTest : public ::testing::TestWithParam<HostileRow> {};

TEST_P(HostileSnapshotTest, IsAnErrorWithItsLine) {
  const Result<std::vector<SnapshotEntry>> entries = read(GetParam().text);
  ASSERT_FALSE(entries.has_value());
  EXPECT_EQ(entries.error().code(), GetParam().code);
  EXPECT_NE(entries.error().message().find(GetParam().says), std::string::npos)
      << entries.error().message();
  EXPECT_NE(entries.error().remedy(), "");
}

std::string edited(std::string text, const std::string& from_text, const std::string& to_text) {
  text.replace(text.find(from_text), from_text.size(), to_text);
  return text;
}

// Where the whole is at fault: the first line, the last, the checksum.
std::vector<HostileRow> hostile_wholes() {
  const std::string good = write({entry_of("/a"), entry_of("/b")});
  return {
      {"Empty", "", Errc::kCorrupt, "line 1"},
      {"NotASnapshot", "hello\n", Errc::kCorrupt, "line 1"},
      {"AnotherJson", "{\"files\":[]}\n", Errc::kCorrupt, "line 1"},
      {"Zeros", std::string(100, '\0'), Errc::kCorrupt, "line 1"},
      {"VersionZero", "{\"quire_snapshot\":0}\n", Errc::kCorrupt, "version 0"},
      {"VersionText", "{\"quire_snapshot\":\"1\"}\n", Errc::kCorrupt, "line 1"},
      {"NewerVersion", "{\"quire_snapshot\":2,\"new\":{\"key\":[1]}}\n", Errc::kNewerVersion,
       "version 2"},
      {"HeaderOnly", kHeader, Errc::kCorrupt, "cut short"},
      {"WithoutTheLastLine", good.substr(0, good.rfind("{\"files\"")), Errc::kCorrupt,
       "line 4): it is cut short"},
      {"InTheMiddleOfALine", good.substr(0, good.size() / 2), Errc::kCorrupt, "middle"},
      {"WithoutTheLastNewline", good.substr(0, good.size() - 1), Errc::kCorrupt, "line 4"},
      {"MoreAfterTheEnd", good + "{}\n", Errc::kCorrupt, "more after"},
      {"TwiceTheSame", good + good, Errc::kCorrupt, "more after"},
      {"EditedSize", edited(good, "100000", "100001"), Errc::kCorrupt, "checksum"},
      {"EditedPath", edited(good, "/b", "/c"), Errc::kCorrupt, "line 4): the checksum"},
      {"ALineRemoved", kHeader + good.substr(good.find("{\"path\":\"/b")), Errc::kCorrupt,
       "2 files were written, 1 are there"},
      {"WindowsLineEnds", edited(good, "}\n{\"path\"", "}\r\n{\"path\""), Errc::kCorrupt,
       "checksum"},
  };
}

// Where the form of one line is.
std::vector<HostileRow> hostile_lines() {
  const std::string ranges = "[[0,1]]";
  return {
      {"ABlankLine", sealed("\n"), Errc::kCorrupt, "line 2): not JSON"},
      {"NotJson", sealed("path=/a\n"), Errc::kCorrupt, "line 2): not JSON"},
      {"AnArray", sealed("[]\n"), Errc::kCorrupt, "out of place"},
      {"NestedDeeply", sealed(std::string(1'000'000, '[') + "\n"), Errc::kCorrupt, "out of place"},
      {"NestedInRanges", sealed(file_line("/a", "[[[0,1]]]")), Errc::kCorrupt, "out of place"},
      {"NoRanges", sealed(file_line("/a", "7")), Errc::kCorrupt, "out of place"},
      {"AnUnknownKey", sealed(edited(file_line("/a", ranges), "inode", "inodes")), Errc::kCorrupt,
       "unknown key"},
      {"AMissingKey", sealed("{\"path\":\"/a\",\"size_bytes\":1}\n"), Errc::kCorrupt, "missing"},
      {"AKeyTwice", sealed(edited(file_line("/a", ranges), "\"inode\"", "\"device\":1,\"inode\"")),
       Errc::kCorrupt, "twice"},
      {"BothPaths",
       sealed(edited(file_line("/a", ranges), "\"inode\"", "\"path_hex\":\"2f61\",\"inode\"")),
       Errc::kCorrupt, "do not belong together"},
      {"PathIsANumber", sealed(edited(file_line("/a", ranges), "\"/a\"", "5")), Errc::kCorrupt,
       "out of place"},
      {"SizeIsAText", sealed(edited(file_line("/a", ranges), "100", "\"100\"")), Errc::kCorrupt,
       "out of place"},
  };
}

// Where a number, a path or a range is.
std::vector<HostileRow> hostile_values() {
  const std::string ranges = "[[0,1]]";
  return {
      {"SizeIsNull", sealed(edited(file_line("/a", ranges), "100", "null")), Errc::kCorrupt,
       "null"},
      {"SizeIsNegative", sealed(edited(file_line("/a", ranges), "100", "-100")), Errc::kCorrupt,
       "negative"},
      {"SizeIsAFraction", sealed(edited(file_line("/a", ranges), "100", "1e2")), Errc::kCorrupt,
       "whole number"},
      {"SizeIsTooLarge", sealed(edited(file_line("/a", ranges), "100", "18446744073709551616")),
       Errc::kCorrupt, "64 bits"},
      {"SizeBeyondAFile", sealed(edited(file_line("/a", ranges), "100", "18446744073709551615")),
       Errc::kCorrupt, "larger than a file"},
      {"TimeIsTooLarge", sealed(edited(file_line("/a", ranges), "-5", "9223372036854775808")),
       Errc::kCorrupt, "63 bits"},
      {"EmptyPath", sealed(file_line("", ranges)), Errc::kCorrupt, "path"},
      {"NulInPath", sealed(file_line("/a\\u0000b", ranges)), Errc::kCorrupt, "NUL"},
      {"LongPath", sealed(file_line("/" + std::string(4096, 'a'), ranges)), Errc::kCorrupt, "path"},
      {"Utf8IsBroken", sealed(file_line("/\xff", ranges)), Errc::kCorrupt, "not JSON"},
      {"HexIsOdd", sealed(edited(file_line("2f6", ranges), "\"path\"", "\"path_hex\"")),
       Errc::kCorrupt, "hexadecimal"},
      {"HexIsNot", sealed(edited(file_line("2fzz", ranges), "\"path\"", "\"path_hex\"")),
       Errc::kCorrupt, "hexadecimal"},
      {"RangeOfOneNumber", sealed(file_line("/a", "[[1]]")), Errc::kCorrupt, "offset and a length"},
      {"RangeOfThree", sealed(file_line("/a", "[[1,2,3]]")), Errc::kCorrupt, "offset and a length"},
      {"RangeIsEmpty", sealed(file_line("/a", "[[1,0]]")), Errc::kCorrupt, "empty"},
      {"RangePastTheEnd", sealed(file_line("/a", "[[99,2]]")), Errc::kCorrupt, "past the file"},
      {"RangeOverflows", sealed(file_line("/a", "[[1,18446744073709551615]]")), Errc::kCorrupt,
       "past the file"},
      {"RangesOverlap", sealed(file_line("/a", "[[0,10],[9,2]]")), Errc::kCorrupt, "overlaps"},
      {"RangesOutOfOrder", sealed(file_line("/a", "[[20,10],[0,2]]")), Errc::kCorrupt, "order"},
      {"ChecksumOfFifteen", std::string(kHeader) + "{\"files\":0,\"xxh3\":\"012345678901234\"}\n",
       Errc::kCorrupt, "16 hex"},
      {"ChecksumWithSign", std::string(kHeader) + "{\"files\":0,\"xxh3\":\"-123456789012345\"}\n",
       Errc::kCorrupt, "16 hex"},
  };
}

std::vector<HostileRow> hostile_rows() {
  std::vector<HostileRow> rows = hostile_wholes();
  for (const auto& more : {hostile_lines(), hostile_values()}) {
    rows.insert(rows.end(), more.begin(), more.end());
  }
  return rows;
}

std::string name_of_row(const ::testing::TestParamInfo<HostileRow>& row) {
  return row.param.name;
}
INSTANTIATE_TEST_SUITE_P(Inputs, HostileSnapshotTest, ::testing::ValuesIn(hostile_rows()),
                         name_of_row);

// Goal:   a line without an end is refused within the bound, not collected for ever.
TEST(SnapshotTest, AnEndlessLineIsRefusedWithinTheBound) {
  std::size_t given_bytes = 0;
  SnapshotReader reader([&](std::span<char> into) -> Result<std::size_t> {
    std::fill(into.begin(), into.end(), ' ');
    given_bytes += into.size();
    return into.size();
  });
  const Result<std::optional<SnapshotEntry>> entry = reader.next();
  ASSERT_FALSE(entry.has_value());
  EXPECT_EQ(entry.error().code(), Errc::kCorrupt);
  EXPECT_LE(given_bytes, kSnapshotLineBytesMax + 128_KiB);
  EXPECT_EQ(reader.next().error().message(), entry.error().message()) << "errors stick";
}

TEST(SnapshotTest, TheLargestEntryFitsIntoALineAndOneMoreRangeIsRefused) {
  SnapshotEntry entry = entry_of("/" + std::string(4094, '\xe9'));
  entry.size_bytes = std::uint64_t{1} << 62;
  entry.resident.clear();
  const std::uint64_t start = entry.size_bytes - 2 * kSnapshotExtentsMax;
  for (std::size_t i = 0; i < kSnapshotExtentsMax; ++i) {
    entry.resident.push_back({start + 2 * i, 1});
  }
  const std::string text = write({entry});
  EXPECT_EQ(read(text).value().at(0), entry);
  entry.resident.push_back({entry.size_bytes - 1, 1});
  SnapshotWriter writer([](std::string_view) -> Result<void> { return {}; });
  EXPECT_EQ(writer.add(entry).error().code(), Errc::kLimit);
}

TEST(SnapshotTest, TheWriterRefusesWhatTheReaderWould) {
  SnapshotWriter writer([](std::string_view) -> Result<void> { return {}; });
  SnapshotEntry entry = entry_of("/a");
  entry.resident = {{0, 10}, {5, 10}};
  EXPECT_EQ(writer.add(entry).error().code(), Errc::kOutOfRange);
  entry.resident = {{0, entry.size_bytes + 1}};
  EXPECT_EQ(writer.add(entry).error().code(), Errc::kOutOfRange);
  EXPECT_EQ(writer.add({}).error().code(), Errc::kOutOfRange);
  EXPECT_EQ(writer.finish().value().files, 0U);
}

TEST(SnapshotTest, DescriptorsServeAsSourceAndSink) {
  const testing::TempDir directory;
  const std::string path = directory.write("snapshot", "");
  const sys::Descriptor file = sys::open_file(path.c_str(), {.write = true}).value();
  SnapshotWriter writer(snapshot_sink(file.get()));
  ASSERT_TRUE(writer.add(entry_of("/a")).has_value());
  ASSERT_TRUE(writer.finish().has_value());
  EXPECT_EQ(validate_snapshot(snapshot_source(file.get())).value().resident_bytes, 9888U);
  {
    const sys::FaultPlan plan({.call = sys::Call::kRead, .error = EIO});
    EXPECT_EQ(validate_snapshot(snapshot_source(file.get())).error().code(), std::errc::io_error);
  }
  const sys::FaultPlan plan({.call = sys::Call::kWrite, .error = ENOSPC});
  SnapshotWriter full(snapshot_sink(file.get()));
  EXPECT_EQ(full.add(entry_of("/a")).error().code(), std::errc::no_space_on_device);
}

struct RestoreRow {
  const char* name;
  sys::FileStatus now;
  const char* why_not;  // Part of it; "" when it is to be restored.
};

TEST(ShouldRestoreTest, OnlyTheSameFileIs) {
  const SnapshotEntry entry = entry_of("/a");
  const sys::FileStatus same{.kind = sys::FileKind::kRegular,
                             .size_bytes = entry.size_bytes,
                             .device = entry.device,
                             .inode = entry.inode,
                             .modified_ns = entry.modified_ns};
  std::vector<RestoreRow> rows{{"same", same, ""},          {"device", same, ""},
                               {"size", same, "its size"},  {"time", same, "modified"},
                               {"inode", same, "replaced"}, {"kind", same, "a directory"}};
  rows[1].now.device += 1;  // Another number after a reboot.
  rows[2].now.size_bytes += 1;
  rows[3].now.modified_ns += 1;
  rows[4].now.inode += 1;
  rows[5].now.kind = sys::FileKind::kDirectory;
  for (const RestoreRow& row : rows) {
    const RestoreDecision decision = should_restore(entry, row.now);
    EXPECT_EQ(decision.restore, std::string(row.why_not).empty()) << row.name;
    EXPECT_NE(decision.why_not.find(row.why_not), std::string::npos) << row.name;
    EXPECT_EQ(decision.restore, decision.why_not.empty()) << row.name;
  }
}

// Goal:   the fuzzer's property holds over a seeded corpus, with every compiler.
// Method: good and hostile texts, cut, with bytes changed, and spliced into each other.
TEST(SnapshotFuzzTest, TheCorpusHolds) {
  Prng random(testing::test_seed());
  std::vector<std::string> corpus{write({}), write({entry_of("/a"), entry_of("/caf\xe9")})};
  for (const HostileRow& row : hostile_rows()) {
    if (row.text.size() < 10'000) {
      corpus.push_back(row.text);
    }
  }
  for (int round = 0; round < 3000; ++round) {
    std::string text = " " + corpus[random.below(corpus.size())];
    text[0] = static_cast<char>(random.below(256));
    for (std::uint64_t i = random.below(4); i > 0 && text.size() > 1; --i) {
      text[1 + random.below(text.size() - 1)] = static_cast<char>(random.below(256));
    }
    if (random.below(3) == 0) {
      text.resize(1 + random.below(text.size()));
    }
    if (random.below(5) == 0) {
      const std::string& other = corpus[random.below(corpus.size())];
      text += other.substr(random.below(other.size() + 1));
    }
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
  }
}

}  // namespace
}  // namespace quire
