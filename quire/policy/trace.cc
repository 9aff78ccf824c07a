// SPDX-License-Identifier: Apache-2.0
#include "quire/policy/trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <utility>

#include "quire/base/check.h"

namespace quire {
namespace {

constexpr std::size_t kHeaderBytes = 24;
constexpr std::size_t kRecordBytesMax = 15;  // Head 8, extra 1, area 3, thread 3.
constexpr std::size_t kVarintBytesMax = 10;

// The lowest bits of a head.
constexpr std::uint64_t kStore = 1;
constexpr std::uint64_t kExtra = 2;  // A byte with the bits below follows.
constexpr int kHeadBits = 2;
// The byte behind a head, and what follows it.
constexpr std::uint8_t kAreaFollows = 1;
constexpr std::uint8_t kThreadFollows = 2;
constexpr std::uint8_t kEnd = 4;

// A record must fit before the buffer is handed over, and a line with its end into what is read.
static_assert(TraceWriter::kBufferBytes > kHeaderBytes + kRecordBytesMax);
static_assert(TraceReader::kBufferBytes > kTraceLineBytesMax);
// A difference with its sign and marks takes 51 bits: a head of 8 bytes.
static_assert(kTracePageMax < std::uint64_t{1} << 48);

// The difference of two pages, its sign in the lowest bit, so that small ones stay small.
constexpr std::uint64_t zigzag(std::uint64_t to, std::uint64_t from) noexcept {
  return to >= from ? (to - from) << 1 : ((from - to) << 1) - 1;
}

constexpr std::uint64_t unzigzag(std::uint64_t from, std::uint64_t coded) noexcept {
  return (coded & 1) == 0 ? from + (coded >> 1) : from - (coded >> 1) - 1;
}

std::string_view trimmed(std::string_view text) noexcept {
  constexpr std::string_view kBlanks = " \t\r";
  const std::size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) {
    return {};
  }
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

}  // namespace

// --- Writing -------------------------------------------------------------------------------------

TraceWriter::TraceWriter(const TraceHeader& header, Sink sink)
    : sink_(std::move(sink)), area_count_(header.area_count) {
  QUIRE_CHECK(std::has_single_bit(header.page_bytes));
  QUIRE_CHECK_GE(header.page_bytes, kTracePageBytesMin);
  QUIRE_CHECK_LE(header.page_bytes, kTracePageBytesMax);
  QUIRE_CHECK_GT(header.area_count, 0U);
  QUIRE_CHECK_LE(header.area_count, kTraceAreasMax);
  for (const std::uint8_t byte : kTraceMagic) {
    put_byte(byte);
  }
  put_u32(kTraceVersion);
  put_u32(header.page_bytes);
  put_u32(header.area_count);
  put_u32(static_cast<std::uint32_t>(header.content));
}

void TraceWriter::put_byte(std::uint64_t byte) noexcept {
  buffer_[used_bytes_++] = static_cast<std::byte>(byte);
}

void TraceWriter::put_varint(std::uint64_t value) noexcept {
  while (value >= 0x80) {
    put_byte(value | 0x80);
    value >>= 7;
  }
  put_byte(value);
}

void TraceWriter::put_u32(std::uint32_t value) noexcept {
  for (int shift = 0; shift < 32; shift += 8) {
    put_byte(value >> shift);
  }
}

void TraceWriter::record(const TraceRecord& record) noexcept {
  QUIRE_DCHECK_LE(record.page, kTracePageMax);
  QUIRE_DCHECK_LT(record.area, area_count_);
  QUIRE_DCHECK(!is_finished_);
  if (used_bytes_ + kRecordBytesMax > kBufferBytes && flush()) {
    ++lost_count_;
    return;
  }
  const bool has_area = record.area != last_.area;
  const bool has_thread = record.thread != last_.thread;
  put_varint(zigzag(record.page, last_.page) << kHeadBits | (has_area || has_thread ? kExtra : 0) |
             (record.is_store ? kStore : 0));
  if (has_area || has_thread) {
    put_byte((has_area ? kAreaFollows : 0U) | (has_thread ? kThreadFollows : 0U));
  }
  if (has_area) {
    put_varint(record.area);
  }
  if (has_thread) {
    put_varint(record.thread);
  }
  last_ = record;
  ++record_count_;
}

std::error_code TraceWriter::flush() noexcept {
  if (!failure_ && used_bytes_ > 0) {
    failure_ = sink_(std::span(buffer_).first(used_bytes_));
    used_bytes_ = failure_ ? used_bytes_ : 0;
  }
  return failure_;
}

std::error_code TraceWriter::finish() noexcept {
  static_assert(1 + 1 + kVarintBytesMax <= kRecordBytesMax);
  if (used_bytes_ + kRecordBytesMax > kBufferBytes && flush()) {
    return failure_;
  }
  QUIRE_DCHECK(!is_finished_);
  is_finished_ = true;
  put_varint(kExtra);
  put_byte(kEnd);
  put_varint(record_count_);
  return flush();
}

// --- Reading -------------------------------------------------------------------------------------

TraceReader::TraceReader(Source source, std::string name)
    : source_(std::move(source)),
      name_(std::move(name)),
      buffer_(std::make_unique<std::array<std::byte, kBufferBytes>>()) {}

Result<TraceReader> TraceReader::open(Source source, std::string name) {
  TraceReader reader(std::move(source), std::move(name));
  QUIRE_TRY(reader.read_header());
  return reader;
}

Error TraceReader::wrong(Errc code, std::string cause, std::string remedy) const {
  const std::string where = form_ == TraceForm::kText
                                ? fmt::format("line {}", line_count_)
                                : fmt::format("offset {}, record {}", offset_bytes_, record_count_);
  return make_error(code, "read_trace", fmt::format("{}, {}", name_, where), std::move(cause),
                    std::move(remedy));
}

Error TraceReader::cut_off() const {
  return wrong(Errc::kCorrupt, "the trace ends without its end mark: it was cut off",
               "copy it again, or record it again and let the recorder finish");
}

Result<std::size_t> TraceReader::fill(std::size_t wanted_bytes) {
  if (end_ - begin_ < wanted_bytes && !is_source_dry_) {
    std::memmove(buffer_->data(), buffer_->data() + begin_, end_ - begin_);
    end_ -= std::exchange(begin_, 0);
    while (end_ < wanted_bytes && !is_source_dry_) {
      const std::size_t count = QUIRE_TRY(source_(std::span(*buffer_).subspan(end_)));
      QUIRE_CHECK_LE(count, kBufferBytes - end_);
      is_source_dry_ = count == 0;
      end_ += count;
    }
  }
  return end_ - begin_;
}

void TraceReader::consume(std::size_t count) noexcept {
  begin_ += count;
  offset_bytes_ += count;
}

std::uint32_t TraceReader::u32_at(std::size_t offset_bytes) const noexcept {
  std::uint32_t value = 0;
  for (std::size_t i = 4; i > 0; --i) {
    value = value << 8 | std::to_integer<std::uint32_t>((*buffer_)[begin_ + offset_bytes + i - 1]);
  }
  return value;
}

Result<void> TraceReader::read_header() {
  const std::size_t available = QUIRE_TRY(fill(kHeaderBytes));
  const std::size_t compared = std::min(available, kTraceMagic.size());
  if (available == 0) {
    return fail(wrong(Errc::kCorrupt, "it is empty"));
  }
  if (std::memcmp(buffer_->data(), kTraceMagic.data(), compared) != 0) {
    form_ = TraceForm::kText;  // Its first line says whether that is true.
    return {};
  }
  if (available < kHeaderBytes) {
    return fail(cut_off());
  }
  if (const std::uint32_t version = u32_at(8); version != kTraceVersion) {
    return fail(
        wrong(version > kTraceVersion ? Errc::kNewerVersion : Errc::kCorrupt,
              fmt::format("version {} of the format; this quire reads {}", version, kTraceVersion),
              "read it with the quire that wrote it"));
  }
  header_ = {.page_bytes = u32_at(12),
             .area_count = u32_at(16),
             .content = static_cast<TraceContent>(u32_at(20))};
  if (!std::has_single_bit(header_.page_bytes) || header_.page_bytes < kTracePageBytesMin ||
      header_.page_bytes > kTracePageBytesMax) {
    return fail(wrong(Errc::kCorrupt, fmt::format("pages of {} bytes", header_.page_bytes)));
  }
  if (header_.area_count == 0 || header_.area_count > kTraceAreasMax) {
    return fail(wrong(Errc::kCorrupt, fmt::format("{} areas; 1 to {} are possible",
                                                  header_.area_count, kTraceAreasMax)));
  }
  if (header_.content > TraceContent::kFaults) {
    return fail(wrong(Errc::kCorrupt, fmt::format("content of kind {}", u32_at(20))));
  }
  consume(kHeaderBytes);
  return {};
}

Result<std::size_t> TraceReader::read(std::span<TraceRecord> into) {
  std::size_t count = 0;
  while (count < into.size() && !is_over_ && !failure_) {
    const Result<bool> got =
        form_ == TraceForm::kBinary ? read_binary(into[count]) : read_text(into[count]);
    if (!got) {
      failure_ = got.error();
    } else if (*got) {
      ++count;
      ++record_count_;
    } else {
      is_over_ = true;
    }
  }
  // What stands before the damage is not handed out: half a trace is another trace.
  if (failure_) {
    return fail(*failure_);
  }
  return count;
}

Result<std::uint64_t> TraceReader::take_varint() {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < kVarintBytesMax; ++i) {
    if (begin_ + i == end_) {
      return fail(cut_off());
    }
    const auto byte = std::to_integer<std::uint64_t>((*buffer_)[begin_ + i]);
    const auto shift = static_cast<int>(7 * i);
    if (shift == 63 && byte > 1) {
      break;
    }
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) {
      consume(i + 1);
      return value;
    }
  }
  return fail(wrong(Errc::kCorrupt, "a number of more than 64 bits"));
}

Result<std::uint16_t> TraceReader::take_small(const char* what, std::uint32_t limit) {
  const std::uint64_t value = QUIRE_TRY(take_varint());
  if (value >= limit) {
    return fail(wrong(Errc::kOutOfRange, fmt::format("{} {}; there are {}", what, value, limit)));
  }
  return static_cast<std::uint16_t>(value);
}

Result<bool> TraceReader::read_binary(TraceRecord& record) {
  static_cast<void>(QUIRE_TRY(fill(kRecordBytesMax)));
  const std::uint64_t head = QUIRE_TRY(take_varint());
  record = last_;
  // A difference beyond the limits wraps to a page beyond them, or is one: both are found here.
  record.page = unzigzag(last_.page, head >> kHeadBits);
  if (record.page > kTracePageMax) {
    return fail(wrong(Errc::kOutOfRange,
                      fmt::format("a page past {}, the last there can be", kTracePageMax)));
  }
  record.is_store = (head & kStore) != 0;
  if ((head & kExtra) != 0 && !QUIRE_TRY(take_extra(record))) {
    if (head != kExtra) {
      return fail(wrong(Errc::kCorrupt, "an end mark that is a record too"));
    }
    QUIRE_TRY(take_end());
    return false;
  }
  last_ = record;
  return true;
}

Result<bool> TraceReader::take_extra(TraceRecord& record) {
  if (begin_ == end_) {
    return fail(cut_off());
  }
  const auto extra = std::to_integer<std::uint8_t>((*buffer_)[begin_]);
  consume(1);
  if (extra == kEnd) {
    return false;
  }
  if (extra == 0 || extra > (kAreaFollows | kThreadFollows)) {
    return fail(wrong(Errc::kCorrupt, fmt::format("unknown marks {} behind a page", extra)));
  }
  if ((extra & kAreaFollows) != 0) {
    record.area = QUIRE_TRY(take_small("area", header_.area_count));
  }
  if ((extra & kThreadFollows) != 0) {
    record.thread = QUIRE_TRY(take_small("thread", kTraceThreadsMax));
  }
  return true;
}

Result<void> TraceReader::take_end() {
  const std::uint64_t count = QUIRE_TRY(take_varint());
  if (count != record_count_) {
    return fail(wrong(Errc::kCorrupt, fmt::format("the end mark counts {} records, there are {}",
                                                  count, record_count_)));
  }
  if (QUIRE_TRY(fill(1)) > 0) {
    return fail(wrong(Errc::kCorrupt, "there are bytes behind the end mark"));
  }
  return {};
}

Result<bool> TraceReader::read_text(TraceRecord& record) {
  while (true) {
    const std::size_t available = QUIRE_TRY(fill(kTraceLineBytesMax));
    if (available == 0) {
      return false;
    }
    ++line_count_;
    const std::string_view rest(reinterpret_cast<const char*>(buffer_->data()) + begin_,
                                std::min(available, kTraceLineBytesMax));
    const std::size_t length = std::min(rest.find('\n'), rest.size());
    if (length == kTraceLineBytesMax) {
      return fail(wrong(Errc::kCorrupt, "neither a trace nor a line of one: it is too long",
                        "write a page number to a line, with r or w before it"));
    }
    const std::string_view line = rest.substr(0, length);
    consume(std::min(length + 1, available));
    if (QUIRE_TRY(take_line(line, record))) {
      return true;
    }
  }
}

Result<bool> TraceReader::take_line(std::string_view line, TraceRecord& record) const {
  std::string_view rest = trimmed(line);
  if (rest.empty() || rest.front() == '#') {
    return false;
  }
  record = {};
  if (rest.front() == 'r' || rest.front() == 'w') {
    record.is_store = rest.front() == 'w';
    rest = trimmed(rest.substr(1));
  }
  const char* const end = rest.data() + rest.size();
  const auto [stop, error] = std::from_chars(rest.data(), end, record.page);
  if (error == std::errc::result_out_of_range || record.page > kTracePageMax) {
    return fail(wrong(Errc::kOutOfRange,
                      fmt::format("a page past {}, the last there can be", kTracePageMax)));
  }
  if (error != std::errc{} || stop != end) {
    return fail(wrong(Errc::kCorrupt, "neither a trace nor a line of one",
                      "write a page number to a line, with r or w before it"));
  }
  return true;
}

}  // namespace quire
