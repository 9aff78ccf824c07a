// SPDX-License-Identifier: Apache-2.0
#include "quire/map/snapshot.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "quire/map/internal/snapshot_text.h"
#include "quire/sys/file.h"

#define XXH_INLINE_ALL  // NOLINT(readability-identifier-naming): xxhash wants it so.
#include <xxhash.h>

namespace quire {
namespace {

using internal::SnapshotTrailer;

constexpr std::size_t kReadBytes = std::size_t{64} << 10;

const char* const kSaveAgain = "write it again with quire save; snapshots are not edited by hand";

// XXH3-64 of a stream.
class Checksum {
 public:
  Checksum() { static_cast<void>(XXH3_64bits_reset(&state_)); }

  void add(std::string_view bytes) {
    static_cast<void>(XXH3_64bits_update(&state_, bytes.data(), bytes.size()));
  }
  [[nodiscard]] std::uint64_t value() const { return XXH3_64bits_digest(&state_); }

 private:
  XXH3_state_t state_{};
};

std::uint64_t sum_of(const std::vector<ByteRange>& ranges) {
  std::uint64_t bytes = 0;
  for (const ByteRange range : ranges) {
    bytes += range.length_bytes;
  }
  return bytes;
}

Error damaged(std::uint64_t line_number, std::string cause) {
  return make_error(Errc::kCorrupt, "read_snapshot", fmt::format("line {}", line_number),
                    std::move(cause), kSaveAgain);
}

// Lines out of a source, in the memory of one line.
class LineReader {
 public:
  explicit LineReader(SnapshotReader::Source source) : source_(std::move(source)) {}

  // The next line without its newline, valid until the next call; nothing at the end.
  Result<std::optional<std::string_view>> next() {
    std::size_t scanned = start_;
    for (;;) {
      const std::size_t newline = buffer_.find('\n', scanned);
      const std::size_t length = std::min(newline, buffer_.size()) - start_;
      if (length >= kSnapshotLineBytesMax) {
        return fail(damaged(line_number_ + 1, fmt::format("the line is longer than {}",
                                                          human_bytes(kSnapshotLineBytesMax))));
      }
      if (newline != std::string::npos) {
        ++line_number_;
        return std::string_view(buffer_).substr(std::exchange(start_, newline + 1), length);
      }
      buffer_.erase(0, std::exchange(start_, 0));
      scanned = buffer_.size();
      if (!QUIRE_TRY(refill())) {
        return end();
      }
    }
  }

  [[nodiscard]] std::uint64_t line_number() const { return line_number_; }

 private:
  // False at the end of the source.
  Result<bool> refill() {
    const std::size_t size = buffer_.size();
    buffer_.resize(size + kReadBytes);
    Result<std::size_t> got = source_(std::span<char>(buffer_).subspan(size));
    buffer_.resize(size + (got ? std::min(*got, kReadBytes) : 0));
    if (!got) {
      return fail(got.error());
    }
    return *got > 0;
  }

  Result<std::optional<std::string_view>> end() {
    if (!buffer_.empty()) {
      return fail(damaged(line_number_ + 1, "the file ends in the middle of this line"));
    }
    return std::optional<std::string_view>();
  }

  SnapshotReader::Source source_;
  std::string buffer_;
  std::size_t start_ = 0;          // Of what was not returned yet.
  std::uint64_t line_number_ = 0;  // Of the line last returned, from 1.
};

}  // namespace

struct SnapshotWriter::State {
  explicit State(Sink to) : sink(std::move(to)) {}

  Sink sink;
  Checksum checksum;
  SnapshotSummary summary;
  bool has_header = false;
  bool is_finished = false;

  Result<void> put(std::string line) {
    line += '\n';
    checksum.add(line);
    return sink(line);
  }

  Result<void> put_header_once() {
    return std::exchange(has_header, true) ? Result<void>{} : put(internal::format_header());
  }
};

SnapshotWriter::SnapshotWriter(Sink sink) : state_(std::make_unique<State>(std::move(sink))) {}
SnapshotWriter::~SnapshotWriter() = default;
SnapshotWriter::SnapshotWriter(SnapshotWriter&&) noexcept = default;
SnapshotWriter& SnapshotWriter::operator=(SnapshotWriter&&) noexcept = default;

Result<void> SnapshotWriter::add(const SnapshotEntry& entry) {
  QUIRE_CHECK(!state_->is_finished);
  if (entry.resident.size() > kSnapshotExtentsMax) {
    return fail(make_error(Errc::kLimit, "write_snapshot", entry.path,
                           fmt::format("{} ranges are more than the {} of one line",
                                       entry.resident.size(), kSnapshotExtentsMax)));
  }
  std::string flaw = internal::find_flaw(entry);
  if (!flaw.empty()) {
    return fail(make_error(Errc::kOutOfRange, "write_snapshot", entry.path, std::move(flaw)));
  }
  QUIRE_TRY(state_->put_header_once());
  QUIRE_TRY(state_->put(internal::format_entry(entry)));
  ++state_->summary.files;
  state_->summary.resident_bytes += sum_of(entry.resident);
  return {};
}

Result<SnapshotSummary> SnapshotWriter::finish() {
  QUIRE_CHECK(!std::exchange(state_->is_finished, true));
  QUIRE_TRY(state_->put_header_once());
  QUIRE_TRY(state_->put(internal::format_trailer(
      {.files = state_->summary.files, .checksum = state_->checksum.value()})));
  return state_->summary;
}

struct SnapshotReader::State {
  explicit State(Source source) : lines(std::move(source)) {}

  LineReader lines;
  Checksum checksum;
  SnapshotSummary summary;
  bool has_header = false;
  bool is_done = false;
  std::optional<Error> error;

  [[nodiscard]] Error damaged_here(std::string cause) const {
    return damaged(lines.line_number(), std::move(cause));
  }

  void count_in(std::string_view line) {
    checksum.add(line);
    checksum.add("\n");
  }

  Result<void> read_header() {
    const std::optional<std::string_view> line = QUIRE_TRY(lines.next());
    if (!line) {
      return fail(damaged(1, "it is empty"));
    }
    const internal::Parsed<std::uint64_t> version = internal::parse_header(*line);
    if (!version || *version == 0) {
      return fail(damaged_here(version ? "version 0 was never written" : version.error()));
    }
    if (*version > kSnapshotVersion) {
      return fail(make_error(Errc::kNewerVersion, "read_snapshot", "line 1",
                             fmt::format("it has format version {}; this quire reads up to {}",
                                         *version, kSnapshotVersion),
                             "use a newer quire, or write it again with this one"));
    }
    count_in(*line);
    return {};
  }

  Result<std::optional<SnapshotEntry>> read_line() {
    const std::optional<std::string_view> line = QUIRE_TRY(lines.next());
    if (!line) {
      return fail(damaged(lines.line_number() + 1, "it is cut short: the last line is missing"));
    }
    auto parsed = internal::parse_line(*line);
    if (!parsed) {
      return fail(damaged_here(std::move(parsed).error()));
    }
    if (const auto* trailer = std::get_if<SnapshotTrailer>(&*parsed)) {
      QUIRE_TRY(check_end(*trailer));
      return std::optional<SnapshotEntry>();
    }
    count_in(*line);
    SnapshotEntry entry = std::get<SnapshotEntry>(std::move(*parsed));
    ++summary.files;
    summary.resident_bytes += sum_of(entry.resident);
    return std::optional(std::move(entry));
  }

  Result<void> check_end(const SnapshotTrailer& trailer) {
    if (trailer.files != summary.files) {
      return fail(damaged_here(
          fmt::format("{} files were written, {} are there", trailer.files, summary.files)));
    }
    if (trailer.checksum != checksum.value()) {
      return fail(
          damaged_here(fmt::format("the checksum of the lines above is {:016x}, not {:016x}",
                                   checksum.value(), trailer.checksum)));
    }
    if (QUIRE_TRY(lines.next())) {
      return fail(damaged_here("there is more after the last line"));
    }
    is_done = true;
    return {};
  }

  Result<std::optional<SnapshotEntry>> next() {
    if (is_done) {
      return std::optional<SnapshotEntry>();
    }
    if (!std::exchange(has_header, true)) {
      QUIRE_TRY(read_header());
    }
    return read_line();
  }
};

SnapshotReader::SnapshotReader(Source source)
    : state_(std::make_unique<State>(std::move(source))) {}
SnapshotReader::~SnapshotReader() = default;
SnapshotReader::SnapshotReader(SnapshotReader&&) noexcept = default;
SnapshotReader& SnapshotReader::operator=(SnapshotReader&&) noexcept = default;

Result<std::optional<SnapshotEntry>> SnapshotReader::next() {
  if (state_->error) {
    return fail(*state_->error);
  }
  Result<std::optional<SnapshotEntry>> entry = state_->next();
  if (!entry) {
    state_->error = entry.error();
  }
  return entry;
}

SnapshotSummary SnapshotReader::summary() const noexcept {
  return state_->summary;
}

SnapshotReader::Source snapshot_source(int fd) {
  return [fd, position = std::uint64_t{0}](std::span<char> into) mutable -> Result<std::size_t> {
    const sys::Outcome<std::size_t> got = sys::read_at(fd, std::as_writable_bytes(into), position);
    if (!got) {
      return fail(sys::to_error(got.error(), "read_snapshot", sys::path_of(fd)));
    }
    position += *got;
    return *got;
  };
}

SnapshotWriter::Sink snapshot_sink(int fd) {
  return [fd](std::string_view text) -> Result<void> {
    const sys::Outcome<void> written = sys::write_all(fd, std::as_bytes(std::span(text)));
    return written ? Result<void>{}
                   : fail(sys::to_error(written.error(), "write_snapshot", sys::path_of(fd)));
  };
}

Result<SnapshotSummary> validate_snapshot(SnapshotReader::Source source) {
  SnapshotReader reader(std::move(source));
  while (QUIRE_TRY(reader.next())) {
  }
  return reader.summary();
}

RestoreDecision should_restore(const SnapshotEntry& entry, const sys::FileStatus& now) {
  if (now.kind != sys::FileKind::kRegular) {
    return {.why_not = fmt::format("it is {} now", sys::describe(now.kind))};
  }
  if (now.size_bytes != entry.size_bytes) {
    return {.why_not =
                fmt::format("its size was {} bytes and is {}", entry.size_bytes, now.size_bytes)};
  }
  if (now.modified_ns != entry.modified_ns) {
    return {.why_not = "it was modified"};
  }
  if (now.inode != entry.inode) {
    return {.why_not = "it was replaced by another file"};
  }
  return {.restore = true};
}

}  // namespace quire
