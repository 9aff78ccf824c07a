// SPDX-License-Identifier: Apache-2.0
#include "quire/map/internal/snapshot_text.h"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>

#include "quire/base/page_window.h"

namespace quire::internal {
namespace {

using nlohmann::json;

// A header is short in every version; more is not one.
constexpr std::size_t kHeaderBytesMax = 4096;
// [18446744073709551615,18446744073709551615], and an escaped byte: \u00ff
constexpr std::size_t kExtentTextBytesMax = 44;
constexpr std::size_t kEscapedByteTextBytesMax = 6;
constexpr std::size_t kOtherTextBytesMax = 256;  // Keys and four more numbers.
static_assert(kSnapshotExtentsMax * kExtentTextBytesMax +
                      kSnapshotPathBytesMax * kEscapedByteTextBytesMax + kOtherTextBytesMax <=
                  kSnapshotLineBytesMax,
              "every entry that is allowed fits into a line");

enum class Key : std::uint8_t {
  kPath,
  kPathHex,
  kSize,
  kModified,
  kDevice,
  kInode,
  kResident,
  kFiles,
  kChecksum,
  kCount,
};

constexpr std::array<std::string_view, static_cast<std::size_t>(Key::kCount)> kKeyNames{
    "path",  "path_hex", "size_bytes", "modified_ns", "device",
    "inode", "resident", "files",      "xxh3"};

constexpr unsigned bit(Key key) {
  return 1U << static_cast<unsigned>(key);
}

constexpr unsigned kFileKeys = bit(Key::kSize) | bit(Key::kModified) | bit(Key::kDevice) |
                               bit(Key::kInode) | bit(Key::kResident);
constexpr unsigned kTrailerKeys = bit(Key::kFiles) | bit(Key::kChecksum);

std::optional<unsigned> hex_digit(char digit) {
  if (digit >= '0' && digit <= '9') {
    return static_cast<unsigned>(digit - '0');
  }
  if (digit >= 'a' && digit <= 'f') {
    return static_cast<unsigned>(digit - 'a' + 10);
  }
  return std::nullopt;
}

std::optional<std::string> from_hex(std::string_view text) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    const std::optional<unsigned> high = hex_digit(text[i]);
    const std::optional<unsigned> low = hex_digit(text[i + 1]);
    if (!high || !low) {
      return std::nullopt;
    }
    bytes += static_cast<char>(*high * 16 + *low);
  }
  return text.size() % 2 == 0 ? std::optional(bytes) : std::nullopt;
}

std::string to_hex(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) {
    text += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  }
  return text;
}

// The member that carries the path: JSON strings hold UTF-8 only, paths are any bytes.
std::string path_member(const std::string& path) {
  try {
    return fmt::format(R"("path":{})", json(path).dump(-1, ' ', true));
  } catch (const json::exception&) {
    return fmt::format(R"("path_hex":"{}")", to_hex(path));
  }
}

// Takes the events of one line and refuses the first that does not belong there.
//
//   kLine --{--> kObject --"resident":[--> kList --[--> kPair (first, second) --]--> kList ...
class LineHandler : public nlohmann::json_sax<json> {
 public:
  bool null() override { return refuse("null is no value here"); }
  bool boolean(bool) override { return refuse("true and false are no values here"); }
  bool number_float(double, const std::string& text) override {
    return refuse(fmt::format("{} is not a whole number of at most 64 bits", text));
  }
  bool binary(binary_t&) override { return refuse("binary data"); }
  bool number_integer(std::int64_t value) override {
    if (state_ == State::kObject && key_ == Key::kModified) {
      entry_.modified_ns = value;
      return true;
    }
    return refuse(fmt::format("{} is negative", value));
  }
  bool number_unsigned(std::uint64_t value) override {
    return state_ == State::kPair ? add_to_pair(value) : set_number(value);
  }
  bool string(std::string& value) override {
    if (state_ == State::kObject && key_ == Key::kPath) {
      entry_.path = value;
      return true;
    }
    if (state_ == State::kObject && key_ == Key::kPathHex) {
      const std::optional<std::string> bytes = from_hex(value);
      entry_.path = bytes.value_or(std::string());
      return bytes.has_value() || refuse("path_hex is not lower-case hexadecimal");
    }
    return state_ == State::kObject && key_ == Key::kChecksum ? set_checksum(value)
                                                              : refuse("a string is out of place");
  }
  bool start_object(std::size_t) override {
    if (state_ != State::kLine) {
      return refuse("an object is out of place");
    }
    state_ = State::kObject;
    return true;
  }
  bool key(std::string& name) override;
  bool end_object() override { return true; }
  bool start_array(std::size_t) override;
  bool end_array() override;
  bool parse_error(std::size_t position, const std::string&, const json::exception&) override {
    return refuse(fmt::format("not JSON from byte {} on", position));
  }

  [[nodiscard]] Parsed<std::variant<SnapshotEntry, SnapshotTrailer>> take();
  [[nodiscard]] const std::string& flaw() const { return flaw_; }

 private:
  enum class State : std::uint8_t { kLine, kObject, kList, kPair };

  bool refuse(std::string flaw) {
    flaw_ = std::move(flaw);
    return false;
  }
  bool add_to_pair(std::uint64_t value);
  bool set_number(std::uint64_t value);
  bool set_checksum(const std::string& text);

  State state_ = State::kLine;
  Key key_ = Key::kCount;
  unsigned keys_seen_ = 0;
  int pair_numbers_ = 0;
  SnapshotEntry entry_;
  SnapshotTrailer trailer_;
  std::string flaw_;
};

bool LineHandler::key(std::string& name) {
  for (std::size_t i = 0; i < kKeyNames.size(); ++i) {
    if (kKeyNames.at(i) == name) {
      key_ = static_cast<Key>(i);
      const bool is_repeated = (keys_seen_ & bit(key_)) != 0;
      keys_seen_ |= bit(key_);
      return !is_repeated || refuse(fmt::format("{} appears twice", name));
    }
  }
  return refuse("an unknown key");
}

bool LineHandler::start_array(std::size_t) {
  if (state_ == State::kObject && key_ == Key::kResident) {
    state_ = State::kList;
    return true;
  }
  if (state_ != State::kList) {
    return refuse("an array is out of place");
  }
  if (entry_.resident.size() == kSnapshotExtentsMax) {
    return refuse(fmt::format("more than {} ranges", kSnapshotExtentsMax));
  }
  state_ = State::kPair;
  pair_numbers_ = 0;
  entry_.resident.push_back({0, 0});
  return true;
}

bool LineHandler::end_array() {
  if (state_ == State::kPair && pair_numbers_ != 2) {
    return refuse("a range is not an offset and a length");
  }
  state_ = state_ == State::kPair ? State::kList : State::kObject;
  return true;
}

bool LineHandler::add_to_pair(std::uint64_t value) {
  if (pair_numbers_ == 2) {
    return refuse("a range is not an offset and a length");
  }
  ByteRange& range = entry_.resident.back();
  (pair_numbers_ == 0 ? range.offset_bytes : range.length_bytes) = value;
  ++pair_numbers_;
  return true;
}

bool LineHandler::set_number(std::uint64_t value) {
  if (state_ != State::kObject) {
    return refuse("a number is out of place");
  }
  switch (key_) {
    case Key::kSize: entry_.size_bytes = value; return true;
    case Key::kDevice: entry_.device = value; return true;
    case Key::kInode: entry_.inode = value; return true;
    case Key::kFiles: trailer_.files = value; return true;
    case Key::kModified:
      entry_.modified_ns = static_cast<std::int64_t>(value);
      return entry_.modified_ns >= 0 || refuse("modified_ns does not fit into 63 bits");
    default: return refuse("a number is out of place");
  }
}

bool LineHandler::set_checksum(const std::string& text) {
  constexpr std::size_t kDigits = 16;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, trailer_.checksum, 16);
  return (text.size() == kDigits && stop == end && error == std::errc()) ||
         refuse("xxh3 is not 16 hexadecimal digits");
}

Parsed<std::variant<SnapshotEntry, SnapshotTrailer>> LineHandler::take() {
  if (keys_seen_ == kTrailerKeys) {
    return trailer_;
  }
  if (keys_seen_ != (kFileKeys | bit(Key::kPath)) &&
      keys_seen_ != (kFileKeys | bit(Key::kPathHex))) {
    return tl::unexpected<std::string>("keys are missing or do not belong together");
  }
  std::string flaw = find_flaw(entry_);
  if (!flaw.empty()) {
    return tl::unexpected<std::string>(std::move(flaw));
  }
  return std::move(entry_);
}

}  // namespace

std::string format_header() {
  return fmt::format(R"({{"quire_snapshot":{}}})", kSnapshotVersion);
}

std::string format_entry(const SnapshotEntry& entry) {
  std::string line = fmt::format(
      R"({{{},"size_bytes":{},"modified_ns":{},"device":{},"inode":{},"resident":[)",
      path_member(entry.path), entry.size_bytes, entry.modified_ns, entry.device, entry.inode);
  const char* separator = "";
  for (const ByteRange range : entry.resident) {
    line += fmt::format("{}[{},{}]", separator, range.offset_bytes, range.length_bytes);
    separator = ",";
  }
  return line + "]}";
}

std::string format_trailer(const SnapshotTrailer& trailer) {
  return fmt::format(R"({{"files":{},"xxh3":"{:016x}"}})", trailer.files, trailer.checksum);
}

Parsed<std::uint64_t> parse_header(std::string_view line) {
  const json header = line.size() <= kHeaderBytesMax ? json::parse(line, nullptr, false) : json();
  if (!header.is_object() || !header.contains("quire_snapshot") ||
      !header["quire_snapshot"].is_number_unsigned()) {
    return tl::unexpected<std::string>("it does not begin as a residency snapshot does");
  }
  return header["quire_snapshot"].get<std::uint64_t>();
}

Parsed<std::variant<SnapshotEntry, SnapshotTrailer>> parse_line(std::string_view line) {
  LineHandler handler;
  if (!json::sax_parse(line, &handler)) {
    return tl::unexpected<std::string>(handler.flaw());
  }
  return handler.take();
}

std::string find_flaw(const SnapshotEntry& entry) {
  if (entry.path.empty() || entry.path.size() >= kSnapshotPathBytesMax ||
      entry.path.find('\0') != std::string::npos) {
    return fmt::format("the path is empty, has a NUL, or has {} bytes or more",
                       kSnapshotPathBytesMax);
  }
  if (entry.size_bytes > kFileOffsetMax) {
    return "the size is larger than a file can be";
  }
  std::uint64_t previous_end = 0;
  for (const ByteRange range : entry.resident) {
    if (range.length_bytes == 0 || range.offset_bytes < previous_end ||
        range.offset_bytes > entry.size_bytes ||
        range.length_bytes > entry.size_bytes - range.offset_bytes) {
      return fmt::format(
          "the range at {} is empty, out of order, overlaps the one before, or ends "
          "past the file's {} bytes",
          describe(range), entry.size_bytes);
    }
    previous_end = end_of(range);
  }
  return {};
}

}  // namespace quire::internal
