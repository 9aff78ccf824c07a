// SPDX-License-Identifier: Apache-2.0
#include "quire/policy/trace.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "quire/base/prng.h"
#include "quire/testing/seed.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size_bytes);

namespace quire {
namespace {

using Bytes = std::string;

TraceReader::Source source_of(Bytes bytes, std::size_t chunk_bytes = SIZE_MAX) {
  return [bytes = std::move(bytes), chunk_bytes,
          at = std::size_t{0}](std::span<std::byte> into) mutable -> Result<std::size_t> {
    const std::size_t count = std::min({bytes.size() - at, chunk_bytes, into.size()});
    std::memcpy(into.data(), bytes.data() + at, count);
    at += count;
    return count;
  };
}

Result<std::vector<TraceRecord>> read(const Bytes& bytes, std::size_t chunk_bytes = SIZE_MAX,
                                      std::size_t block = 100) {
  TraceReader reader = QUIRE_TRY(TraceReader::open(source_of(bytes, chunk_bytes), "input"));
  std::vector<TraceRecord> all;
  std::vector<TraceRecord> some(block);
  while (const std::size_t count = QUIRE_TRY(reader.read(some))) {
    all.insert(all.end(), some.begin(), some.begin() + static_cast<std::ptrdiff_t>(count));
  }
  return all;
}

Bytes write(const TraceHeader& header, const std::vector<TraceRecord>& records) {
  Bytes bytes;
  TraceWriter writer(header, [&bytes](std::span<const std::byte> more) {
    bytes.append(reinterpret_cast<const char*>(more.data()), more.size());
    return std::error_code{};
  });
  for (const TraceRecord& record : records) {
    writer.record(record);
  }
  EXPECT_FALSE(writer.finish());
  EXPECT_EQ(writer.record_count(), records.size());
  return bytes;
}

// A header as docs/formats.md has it, byte by byte.
Bytes header_bytes(std::uint32_t version = 1, std::uint32_t page_bytes = 4096,
                   std::uint32_t area_count = 1, std::uint32_t content = 0) {
  Bytes bytes("\x89QTRACE\n", 8);
  for (const std::uint32_t value : {version, page_bytes, area_count, content}) {
    for (int shift = 0; shift < 32; shift += 8) {
      bytes.push_back(static_cast<char>(value >> shift));
    }
  }
  return bytes;
}

Bytes end_mark(char count) {
  return {'\x02', '\x04', count};
}

TraceRecord random_record(Prng& random, std::uint32_t area_count) {
  const std::uint64_t page_bits = random.below(49);
  return {.page = random.below((kTracePageMax >> page_bits) + 1),
          .area = static_cast<std::uint16_t>(random.below(area_count)),
          .thread = static_cast<std::uint16_t>(random.below(random.below(2) == 0 ? 1 : 65'536)),
          .is_store = random.below(2) == 0};
}

std::string cause_of(const Bytes& bytes) {
  const auto got = read(bytes);
  return got ? "no error" : got.error().message();
}

TEST(TraceTest, TheBytesAreThoseOfTheDescription) {
  const Bytes bytes =
      write({.page_bytes = 4096, .area_count = 4, .content = TraceContent::kFaults},
            {{.page = 5}, {.page = 6, .is_store = true}, {.page = 4, .area = 3, .thread = 200}});
  // Differences +5, +1, -2 are 10, 2, 3 in zigzag; two bits below them are marks.
  const Bytes records{'\x28', '\x09', '\x0e', '\x03', '\x03', '\xc8', '\x01'};
  EXPECT_EQ(bytes, header_bytes(1, 4096, 4, 1) + records + end_mark(3));
}

// Goal:   what was written is what is read, whatever the sizes of chunks and blocks.
// Method: pages of every magnitude, so that buffers end inside numbers of every length.
TEST(TraceTest, EveryRecordComesBack) {
  Prng random(testing::test_seed());
  const TraceHeader header{.page_bytes = 65'536, .area_count = kTraceAreasMax};
  std::vector<TraceRecord> records(50'000);
  for (TraceRecord& record : records) {
    record = random_record(random, header.area_count);
  }
  records.push_back(
      {.page = kTracePageMax, .area = kTraceAreasMax - 1, .thread = 65'535, .is_store = true});
  records.push_back({.page = 0});
  const Bytes bytes = write(header, records);
  for (const std::size_t chunk_bytes : {std::size_t{1}, std::size_t{4093}, bytes.size()}) {
    EXPECT_EQ(read(bytes, chunk_bytes, 1 + random.below(5000)).value(), records);
  }
  EXPECT_EQ(TraceReader::open(source_of(bytes), "input").value().header(), header);
}

TEST(TraceTest, AScanTakesOneByteAPage) {
  std::vector<TraceRecord> records;
  for (std::uint64_t page = 0; page < 10'000; ++page) {
    records.push_back({.page = page});
  }
  EXPECT_LT(write({}, records).size(), 10'040U);
}

TEST(TraceTest, ATraceWithoutRecordsIsOne) {
  EXPECT_TRUE(read(write({}, {})).value().empty());
}

TEST(TraceTest, TextHasOptionalLettersCommentsAndBlanks) {
  const auto records = read("# by hand\nr 5\nw 281474976710655\n\n 7 \r\nw12\n3");
  ASSERT_TRUE(records.has_value()) << records.error().message();
  EXPECT_EQ(*records, (std::vector<TraceRecord>{{.page = 5},
                                                {.page = kTracePageMax, .is_store = true},
                                                {.page = 7},
                                                {.page = 12, .is_store = true},
                                                {.page = 3}}));
  EXPECT_EQ(TraceReader::open(source_of("1\n"), "x").value().form(), TraceForm::kText);
}

TEST(TraceTest, TextMayComeInPiecesOfAnySize) {
  Bytes text;
  std::vector<TraceRecord> records;
  for (std::uint64_t i = 0; i < 20'000; ++i) {
    records.push_back({.page = i * i, .is_store = i % 3 == 0});
    text += (i % 3 == 0 ? "w " : "") + std::to_string(i * i) + "\n";
  }
  EXPECT_EQ(read(text, 1).value(), records);
  EXPECT_EQ(read(text, 65'537).value(), records);
}

struct HostileRow {
  const char* what;
  Bytes bytes;
  Errc code;
  const char* told;  // A part of the message.
};

std::vector<HostileRow> hostile_rows() {
  const Bytes head = header_bytes();
  const Bytes nine_ff(9, '\xff');
  return {
      {"nothing", "", Errc::kCorrupt, "empty"},
      {"half a magic", head.substr(0, 5), Errc::kCorrupt, "cut off"},
      {"half a header", head.substr(0, 23), Errc::kCorrupt, "cut off"},
      {"another magic", "\x89PNG\r\n\x1a\n", Errc::kCorrupt, "neither a trace"},
      {"a newer version", header_bytes(2), Errc::kNewerVersion, "version 2"},
      {"version 0", header_bytes(0), Errc::kCorrupt, "version 0"},
      {"no page size", header_bytes(1, 0), Errc::kCorrupt, "0 bytes"},
      {"an odd page size", header_bytes(1, 4097), Errc::kCorrupt, "4097"},
      {"small pages", header_bytes(1, 256), Errc::kCorrupt, "256"},
      {"huge pages", header_bytes(1, 1U << 31), Errc::kCorrupt, "2147483648"},
      {"no areas", header_bytes(1, 4096, 0), Errc::kCorrupt, "0 areas"},
      {"absurdly many areas", header_bytes(1, 4096, ~0U), Errc::kCorrupt, "4294967295 areas"},
      {"unknown content", header_bytes(1, 4096, 1, 2), Errc::kCorrupt, "kind 2"},
      {"no end", head, Errc::kCorrupt, "offset 24, record 0"},
      {"no end after a record", head + "\x08", Errc::kCorrupt, "offset 25, record 1"},
      {"a number cut off", head + "\x80", Errc::kCorrupt, "cut off"},
      {"a mark cut off", head + "\x02", Errc::kCorrupt, "cut off"},
      {"an area cut off", head + "\x02\x01", Errc::kCorrupt, "cut off"},
      {"a count cut off", head + "\x02\x04", Errc::kCorrupt, "cut off"},
      {"65 bits", head + nine_ff + "\x02", Errc::kCorrupt, "64 bits"},
      {"64 bits", head + nine_ff + "\x01", Errc::kOutOfRange, "a page past"},
      {"a page before 0", head + "\x04" + end_mark(1), Errc::kOutOfRange, "a page past"},
      {"a page too far", head + Bytes("\x80\x80\x80\x80\x80\x80\x80\x04"), Errc::kOutOfRange,
       "a page past"},
      {"an area that is not there", head + "\x02\x01\x01", Errc::kOutOfRange, "area 1"},
      {"a thread too many", head + Bytes("\x02\x02\x80\x80\x04"), Errc::kOutOfRange,
       "thread 65536"},
      {"no marks", head + Bytes("\x02\x00", 2), Errc::kCorrupt, "unknown marks 0"},
      {"unknown marks", head + "\x02\x08", Errc::kCorrupt, "unknown marks 8"},
      {"an end that moves", head + "\x0a\x04" + "\x01", Errc::kCorrupt, "a record too"},
      {"an end that stores", head + "\x03\x04" + Bytes(1, '\0'), Errc::kCorrupt, "a record too"},
      {"a count that is too high", head + "\x08" + end_mark(2), Errc::kCorrupt, "counts 2"},
      {"a count that is absurd", head + "\x02\x04" + nine_ff + "\x01", Errc::kCorrupt, "counts"},
      {"bytes behind the end", head + end_mark(0) + "\x08", Errc::kCorrupt, "behind the end"},
      {"prose", "hello\n", Errc::kCorrupt, "line 1"},
      {"a letter alone", "1\nr\n", Errc::kCorrupt, "line 2"},
      {"two numbers", "1 2\n", Errc::kCorrupt, "line 1"},
      {"a negative page", "-1\n", Errc::kCorrupt, "line 1"},
      {"a page beyond", "# x\n281474976710656\n", Errc::kOutOfRange, "line 2"},
      {"a number beyond", "99999999999999999999999\n", Errc::kOutOfRange, "a page past"},
      {"a line without end", Bytes(100'000, '1'), Errc::kCorrupt, "too long"},
      {"blanks without end", "1\n" + Bytes(70'000, ' '), Errc::kCorrupt, "line 2"},
      {"zeros", Bytes(1000, '\0'), Errc::kCorrupt, "line 1"},
  };
}

TEST(TraceTest, WhateverIsWrongIsAnErrorWithItsPlace) {
  for (const HostileRow& row : hostile_rows()) {
    for (const std::size_t chunk_bytes : {std::size_t{1}, SIZE_MAX}) {
      const auto got = read(row.bytes, chunk_bytes);
      ASSERT_FALSE(got.has_value()) << row.what;
      EXPECT_EQ(got.error().code(), row.code) << row.what << ": " << got.error().message();
      EXPECT_NE(got.error().message().find(row.told), std::string::npos)
          << row.what << ": " << got.error().message();
      EXPECT_NE(got.error().message().find("input, "), std::string::npos) << row.what;
    }
  }
}

TEST(TraceTest, ATraceCutOffAnywhereIsNotATrace) {
  const Bytes whole =
      write({.page_bytes = 4096, .area_count = 3},
            {{.page = 1'000'000}, {.page = 3, .area = 2}, {.page = 4, .thread = 9}});
  ASSERT_TRUE(read(whole).has_value());
  for (std::size_t length = 1; length < whole.size(); ++length) {
    EXPECT_NE(cause_of(whole.substr(0, length)).find("cut off"), std::string::npos) << length;
  }
}

TEST(TraceTest, AnErrorStaysAndNoRecordBeforeItIsHandedOut) {
  TraceReader reader = TraceReader::open(source_of("1\n2\nx\n3\n"), "input").value();
  std::vector<TraceRecord> block(10);
  EXPECT_FALSE(reader.read(block).has_value());
  EXPECT_FALSE(reader.read(block).has_value());
}

TEST(TraceTest, TheSourcesErrorComesThrough) {
  const auto opened = TraceReader::open(
      [](std::span<std::byte>) -> Result<std::size_t> {
        return fail(make_error(Errc::kFault, "read", "disk"));
      },
      "input");
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().code(), Errc::kFault);
}

TEST(TraceWriterTest, AfterAnErrorTheSinkIsLeftAloneAndRecordsAreCountedAsLost) {
  int calls = 0;
  TraceWriter writer({}, [&calls](std::span<const std::byte>) {
    ++calls;
    return std::make_error_code(std::errc::no_space_on_device);
  });
  constexpr std::uint64_t kRecords = 100'000;
  for (std::uint64_t page = 0; page < kRecords; ++page) {
    writer.record({.page = page});
  }
  EXPECT_EQ(writer.finish(), std::errc::no_space_on_device);
  EXPECT_EQ(writer.failure(), std::errc::no_space_on_device);
  EXPECT_EQ(calls, 1);
  EXPECT_GT(writer.lost_count(), kRecords - TraceWriter::kBufferBytes);
  EXPECT_EQ(writer.record_count() + writer.lost_count(), kRecords);
}

TEST(TraceWriterTest, FlushLetsAReaderSeeWhatWasRecorded) {
  Bytes bytes;
  TraceWriter writer({}, [&bytes](std::span<const std::byte> more) {
    bytes.append(reinterpret_cast<const char*>(more.data()), more.size());
    return std::error_code{};
  });
  writer.record({.page = 1});
  EXPECT_TRUE(bytes.empty());
  EXPECT_FALSE(writer.flush());
  EXPECT_EQ(bytes, header_bytes() + "\x08");
}

// Goal:   the fuzzer's property holds over a seeded corpus, with every compiler.
// Method: good and hostile inputs, cut, with bytes changed, and spliced into each other.
TEST(TraceFuzzTest, TheCorpusHolds) {
  Prng random(testing::test_seed());
  std::vector<Bytes> corpus{"r 1\nw 2\n3\n"};
  for (const std::size_t count : {0U, 1U, 5U, 40U}) {
    std::vector<TraceRecord> records(count);
    for (TraceRecord& record : records) {
      record = random_record(random, 7);
    }
    corpus.push_back(write({.page_bytes = 4096, .area_count = 7}, records));
  }
  for (const HostileRow& row : hostile_rows()) {
    corpus.push_back(row.bytes.substr(0, 1000));
  }
  for (int round = 0; round < 5000; ++round) {
    Bytes input(1, static_cast<char>(random.below(256)));
    input += corpus[random.below(corpus.size())];
    if (random.below(3) == 0) {
      const Bytes& other = corpus[random.below(corpus.size())];
      input = input.substr(0, random.below(input.size()) + 1) +
              other.substr(std::min<std::size_t>(other.size(), random.below(40)));
    }
    for (std::uint64_t changes = random.below(3); changes > 0; --changes) {
      input[random.below(input.size())] = static_cast<char>(random.below(256));
    }
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
  }
}

}  // namespace
}  // namespace quire
