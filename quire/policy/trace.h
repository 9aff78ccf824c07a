// SPDX-License-Identifier: Apache-2.0
//
// trace: which pages a program touched, in order, as bytes that can be kept and replayed.
//
//   recorder --record()--> TraceWriter --blocks--> sink      file      source --> TraceReader
//
//   binary   89 'Q' 'T' 'R' 'A' 'C' 'E' 0a | version | page size | area count | content
//            | one record after the other, each 1 to 15 bytes | end mark with their number
//   text     lines "[r|w] PAGE", for traces made by hand, with awk, or from blktrace
//
// docs/formats.md describes both byte by byte. A record is the difference to the page before it,
// as a variable-length number: a scan takes one byte a page, random access over a terabyte five.
//
// Pure: bytes come from a callback and go to a callback: the command reads files and pipes, a pager
// can write from its service thread. Input is believed in nothing: counts, numbers and sizes are
// checked against the limits below, and nothing is allocated by what they say.
//
// Source:        the encoding is that of Protocol Buffers' varints and zigzag, over differences.
// Thread-safety: one thread at a time per object.
// Errors:        kCorrupt (no trace, damaged, cut off), kNewerVersion, kOutOfRange (a number beyond
//                the limits), with the name of the input, the offset and the record; whatever the
//                source returns.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include "quire/base/result.h"

namespace quire {

inline constexpr std::uint32_t kTraceVersion = 1;
inline constexpr std::array<std::uint8_t, 8> kTraceMagic{0x89, 'Q', 'T', 'R', 'A', 'C', 'E', '\n'};
// 2^48 pages of 4 KiB are an exbibyte, more than any disk has; area and page fit 63 bits together.
inline constexpr std::uint64_t kTracePageMax = (std::uint64_t{1} << 48) - 1;
inline constexpr std::uint32_t kTraceAreasMax = 32'768;
inline constexpr std::uint32_t kTraceThreadsMax = 65'536;
inline constexpr std::uint32_t kTracePageBytesMin = 512;       // A sector.
inline constexpr std::uint32_t kTracePageBytesMax = 1U << 30;  // The largest page of x86-64.
inline constexpr std::size_t kTraceLineBytesMax = 256;         // Of the text form.

// What the records are. A pager sees faults only: a page that is mapped is used unseen.
enum class TraceContent : std::uint32_t {
  kAccesses = 0,  // Every access.
  kFaults = 1,    // Those that trapped: hits are missing, so hit ratios are of the rest.
};

struct TraceHeader {
  std::uint32_t page_bytes = 4096;  // A power of two.
  std::uint32_t area_count = 1;     // Records name areas below it.
  TraceContent content = TraceContent::kAccesses;

  friend bool operator==(const TraceHeader&, const TraceHeader&) = default;
};

struct TraceRecord {
  std::uint64_t page = 0;  // In its area. At most kTracePageMax.
  std::uint16_t area = 0;
  std::uint16_t thread = 0;  // A number that the recorder gave it, from 0.
  bool is_store = false;

  friend bool operator==(const TraceRecord&, const TraceRecord&) = default;
};

// Encodes records into a buffer of its own and hands it to the sink when it is full.
//
// Invariants:    after a sink's error nothing more reaches it; what comes later is counted as lost.
// Cost:          record(): a few nanoseconds and no allocation; once per kBufferBytes the sink.
// Blocks:        as long as the sink does, inside record() and finish().
class TraceWriter {
 public:
  static constexpr std::size_t kBufferBytes = 16 << 10;
  // Takes all of the bytes, or says why not. What it captures is allocated once, when it is made.
  using Sink = std::function<std::error_code(std::span<const std::byte>)>;

  // REQUIRES: `header` is within the limits above.
  TraceWriter(const TraceHeader& header, Sink sink);
  TraceWriter(const TraceWriter&) = delete;
  TraceWriter& operator=(const TraceWriter&) = delete;

  // REQUIRES: the page is at most kTracePageMax, the area below the header's count; not finished.
  void record(const TraceRecord& record) noexcept;
  // Hands over what is buffered, so that a reader of the file is not far behind.
  std::error_code flush() noexcept;
  // The end mark, and everything to the sink. Without it the trace is one that was cut off.
  std::error_code finish() noexcept;

  [[nodiscard]] std::uint64_t record_count() const noexcept { return record_count_; }
  [[nodiscard]] std::uint64_t lost_count() const noexcept { return lost_count_; }
  // The sink's first error, which stays.
  [[nodiscard]] std::error_code failure() const noexcept { return failure_; }

 private:
  void put_byte(std::uint64_t byte) noexcept;
  void put_varint(std::uint64_t value) noexcept;
  void put_u32(std::uint32_t value) noexcept;

  Sink sink_;
  std::uint32_t area_count_;
  std::array<std::byte, kBufferBytes> buffer_{};
  std::size_t used_bytes_ = 0;
  TraceRecord last_;
  std::uint64_t record_count_ = 0;
  std::uint64_t lost_count_ = 0;
  std::error_code failure_;
  bool is_finished_ = false;
};

enum class TraceForm : std::uint8_t { kBinary, kText };

// Decodes either form, block by block.
//
// Invariants:    memory is one buffer, whatever the input says; an error stays.
class TraceReader {
 public:
  static constexpr std::size_t kBufferBytes = 64 << 10;
  // Fills a part of the span and returns how much; 0 is the end.
  using Source = std::function<Result<std::size_t>(std::span<std::byte>)>;

  // `name` is what errors call the input. Reads the header: of the text form there is none, its
  // page size is the default.
  [[nodiscard]] static Result<TraceReader> open(Source source, std::string name);

  [[nodiscard]] const TraceHeader& header() const noexcept { return header_; }
  [[nodiscard]] TraceForm form() const noexcept { return form_; }

  // The next records; fewer than `into` holds only at the end, 0 behind it.
  [[nodiscard]] Result<std::size_t> read(std::span<TraceRecord> into);

 private:
  TraceReader(Source source, std::string name);

  [[nodiscard]] Result<void> read_header();
  [[nodiscard]] Result<bool> read_binary(TraceRecord& record);
  [[nodiscard]] Result<bool> read_text(TraceRecord& record);
  // What the byte behind a head announces: other numbers, or the end.
  [[nodiscard]] Result<bool> take_extra(TraceRecord& record);
  [[nodiscard]] Result<void> take_end();
  [[nodiscard]] Result<std::uint64_t> take_varint();
  [[nodiscard]] Result<std::uint16_t> take_small(const char* what, std::uint32_t limit);
  // True for a record, false for a comment or nothing.
  [[nodiscard]] Result<bool> take_line(std::string_view line, TraceRecord& record) const;
  // Makes at least `wanted_bytes` available, if the input has them; returns how many are.
  [[nodiscard]] Result<std::size_t> fill(std::size_t wanted_bytes);
  void consume(std::size_t count) noexcept;
  [[nodiscard]] std::uint32_t u32_at(std::size_t offset_bytes) const noexcept;
  [[nodiscard]] Error wrong(Errc code, std::string cause, std::string remedy = {}) const;
  [[nodiscard]] Error cut_off() const;

  Source source_;
  std::string name_;
  TraceHeader header_;
  TraceForm form_ = TraceForm::kBinary;
  std::unique_ptr<std::array<std::byte, kBufferBytes>> buffer_;
  std::size_t begin_ = 0;           // Of what is not decoded yet.
  std::size_t end_ = 0;             // Of what was read.
  std::uint64_t offset_bytes_ = 0;  // In the input, of begin_.
  std::uint64_t record_count_ = 0;
  std::uint64_t line_count_ = 0;
  bool is_source_dry_ = false;
  bool is_over_ = false;
  TraceRecord last_;
  std::optional<Error> failure_;
};

}  // namespace quire
