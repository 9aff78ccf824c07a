// SPDX-License-Identifier: Apache-2.0
#include "quire/transfer/wire.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <type_traits>
#include <utility>

#include "quire/base/check.h"

#define XXH_INLINE_ALL  // NOLINT(readability-identifier-naming): xxhash wants it so.
#include <xxhash.h>

namespace quire::wire {
namespace {

enum class Kind : std::uint16_t {
  kOffer = 1,
  kStart = 2,
  kChunk = 3,
  kChunkEnd = 4,
  kFinish = 5,
  kAccept = 17,
  kAck = 18,
  kResend = 19,
  kDone = 20,
  kBusy = 33,
  kRefuse = 34,
};

constexpr std::size_t kVersionAt = 4;
constexpr std::size_t kKindAt = 6;
constexpr std::size_t kBodyBytesAt = 8;
constexpr std::size_t kCheckAt = 12;
constexpr std::size_t kRefuseFixedBytes = 4;

constexpr std::uint32_t kNanosecondsPerSecond = 1'000'000'000;
constexpr std::uint32_t kModeMax = 0777;
constexpr std::uint32_t kFlagChecksums = 1;
constexpr std::uint32_t kFlagHole = 1;

// How long the body of a kind may be.
struct BodyBytes {
  std::size_t min;
  std::size_t max;
};

std::optional<BodyBytes> body_bytes(std::uint16_t kind) noexcept {
  switch (static_cast<Kind>(kind)) {
    case Kind::kOffer: return BodyBytes{kOfferFixedBytes + 1, kBodyBytesMax};
    case Kind::kChunk:
    case Kind::kChunkEnd:
    case Kind::kFinish:
    case Kind::kAccept:
    case Kind::kDone: return BodyBytes{16, 16};
    case Kind::kStart:
    case Kind::kAck:
    case Kind::kResend:
    case Kind::kBusy: return BodyBytes{8, 8};
    case Kind::kRefuse: return BodyBytes{kRefuseFixedBytes, kRefuseFixedBytes + kRefusalBytesMax};
  }
  return std::nullopt;
}

// Little-endian, whatever this machine is.
template <typename Number>
Number load(const std::byte* from) noexcept {
  using Bits = std::make_unsigned_t<Number>;
  Bits bits = 0;
  for (std::size_t i = sizeof(Bits); i-- > 0;) {
    bits = static_cast<Bits>((std::uint64_t{bits} << 8U) | std::to_integer<std::uint64_t>(from[i]));
  }
  return static_cast<Number>(bits);
}

template <typename Number>
void store(std::byte* to, Number number) noexcept {
  auto bits = static_cast<std::make_unsigned_t<Number>>(number);
  for (std::size_t i = 0; i < sizeof(Number); ++i) {
    to[i] = static_cast<std::byte>(bits >> (8 * i));
  }
}

// Over the header without its last field, and the body.
std::uint32_t frame_check(std::span<const std::byte> frame) noexcept {
  XXH3_state_t state;
  static_cast<void>(XXH3_64bits_reset(&state));
  static_cast<void>(XXH3_64bits_update(&state, frame.data(), kCheckAt));
  static_cast<void>(
      XXH3_64bits_update(&state, frame.data() + kHeaderBytes, frame.size() - kHeaderBytes));
  return static_cast<std::uint32_t>(XXH3_64bits_digest(&state));
}

class FrameWriter {
 public:
  explicit FrameWriter(Kind kind) : frame_(kHeaderBytes) {
    std::memcpy(frame_.data(), kMagic.data(), kMagic.size());
    store(frame_.data() + kVersionAt, kVersion);
    store(frame_.data() + kKindAt, static_cast<std::uint16_t>(kind));
  }

  template <typename Number>
  FrameWriter& add(Number number) {
    const std::size_t at = frame_.size();
    frame_.resize(at + sizeof(Number));
    store(frame_.data() + at, number);
    return *this;
  }

  FrameWriter& add_text(std::string_view text) {
    const auto bytes = std::as_bytes(std::span(text));
    frame_.insert(frame_.end(), bytes.begin(), bytes.end());
    return *this;
  }

  std::vector<std::byte> finish() {
    store(frame_.data() + kBodyBytesAt, static_cast<std::uint32_t>(frame_.size() - kHeaderBytes));
    store(frame_.data() + kCheckAt, frame_check(frame_));
    return std::move(frame_);
  }

 private:
  std::vector<std::byte> frame_;
};

// Encoding, one overload for each message.

std::vector<std::byte> encode_one(const Offer& offer) {
  QUIRE_CHECK(!offer.name.empty() && offer.name.size() <= kNameBytesMax);
  QUIRE_CHECK_LE(offer.token.size(), kTokenBytesMax);
  return FrameWriter(Kind::kOffer)
      .add(offer.size_bytes)
      .add(offer.data_bytes)
      .add(offer.modified_s)
      .add(offer.modified_ns)
      .add(offer.mode)
      .add(offer.chunk_bytes)
      .add(offer.has_checksums ? kFlagChecksums : 0U)
      .add(static_cast<std::uint16_t>(offer.name.size()))
      .add(static_cast<std::uint16_t>(offer.token.size()))
      .add_text(offer.name)
      .add_text(offer.token)
      .finish();
}

std::vector<std::byte> encode_one(const Start& start) {
  return FrameWriter(Kind::kStart).add(start.from_bytes).finish();
}

std::vector<std::byte> encode_one(const Chunk& chunk) {
  return FrameWriter(Kind::kChunk)
      .add(chunk.offset_bytes)
      .add(chunk.length_bytes)
      .add(chunk.is_hole ? kFlagHole : 0U)
      .finish();
}

std::vector<std::byte> encode_one(const ChunkEnd& end) {
  return FrameWriter(Kind::kChunkEnd).add(end.end_bytes).add(end.checksum).finish();
}

std::vector<std::byte> encode_one(const Finish& finish) {
  return FrameWriter(Kind::kFinish).add(finish.size_bytes).add(finish.checksum).finish();
}

std::vector<std::byte> encode_one(const Accept& accept) {
  return FrameWriter(Kind::kAccept).add(accept.from_bytes).add(accept.checksum).finish();
}

std::vector<std::byte> encode_one(const Ack& ack) {
  return FrameWriter(Kind::kAck).add(ack.verified_bytes).finish();
}

std::vector<std::byte> encode_one(const Resend& resend) {
  return FrameWriter(Kind::kResend).add(resend.from_bytes).finish();
}

std::vector<std::byte> encode_one(const Done& done) {
  return FrameWriter(Kind::kDone).add(done.size_bytes).add(done.checksum).finish();
}

std::vector<std::byte> encode_one(const Busy& busy) {
  return FrameWriter(Kind::kBusy).add(busy.progress).finish();
}

std::vector<std::byte> encode_one(const Refuse& refuse) {
  QUIRE_CHECK_LE(refuse.text.size(), kRefusalBytesMax);
  return FrameWriter(Kind::kRefuse)
      .add(static_cast<std::uint16_t>(refuse.code))
      .add(static_cast<std::uint16_t>(refuse.text.size()))
      .add_text(refuse.text)
      .finish();
}

// Decoding. Lengths are known to be those of the kind; what is left is what the fields mean.

Error broken_rule(std::string cause) {
  return make_error(Errc::kCorrupt, "read_frame", "connection", std::move(cause));
}

// Fields one after the other; never past the end, because the length was looked at before.
class BodyReader {
 public:
  explicit BodyReader(std::span<const std::byte> body) : rest_(body) {}

  template <typename Number>
  void take(Number& number) {
    QUIRE_CHECK_GE(rest_.size(), sizeof(Number));
    number = load<Number>(rest_.data());
    rest_ = rest_.subspan(sizeof(Number));
  }
  template <typename Number>
  Number take() {
    Number number{};
    take(number);
    return number;
  }
  std::string take_text(std::size_t length_bytes) {
    QUIRE_CHECK_GE(rest_.size(), length_bytes);
    std::string text(reinterpret_cast<const char*>(rest_.data()), length_bytes);
    rest_ = rest_.subspan(length_bytes);
    return text;
  }
  [[nodiscard]] std::size_t left_bytes() const noexcept { return rest_.size(); }

 private:
  std::span<const std::byte> rest_;
};

// What is wrong with an offer's numbers, or nullptr.
const char* find_flaw(const Offer& offer) noexcept {
  if (offer.size_bytes > kFileBytesMax || offer.data_bytes > offer.size_bytes) {
    return "an offer of an impossible size";
  }
  if (offer.modified_ns >= kNanosecondsPerSecond) {
    return "an offer with an impossible time";
  }
  if (offer.mode > kModeMax) {
    return "an offer with more than permission bits";
  }
  if (!std::has_single_bit(offer.chunk_bytes) || offer.chunk_bytes < kChunkBytesMin ||
      offer.chunk_bytes > kChunkBytesMax) {
    return "an offer with an impossible chunk size";
  }
  return nullptr;
}

Result<Message> decode_offer(BodyReader body) {
  Offer offer;
  body.take(offer.size_bytes);
  body.take(offer.data_bytes);
  body.take(offer.modified_s);
  body.take(offer.modified_ns);
  body.take(offer.mode);
  body.take(offer.chunk_bytes);
  const auto flags = body.take<std::uint32_t>();
  const auto name_bytes = body.take<std::uint16_t>();
  const auto token_bytes = body.take<std::uint16_t>();
  if (const char* flaw = find_flaw(offer); flaw != nullptr) {
    return fail(broken_rule(flaw));
  }
  if ((flags & ~kFlagChecksums) != 0) {
    return fail(broken_rule("an offer with unknown flags"));
  }
  if (name_bytes == 0 || name_bytes > kNameBytesMax || token_bytes > kTokenBytesMax ||
      body.left_bytes() != std::size_t{name_bytes} + token_bytes) {
    return fail(broken_rule("an offer with an impossible length of its name or token"));
  }
  offer.has_checksums = flags == kFlagChecksums;
  offer.name = body.take_text(name_bytes);
  offer.token = body.take_text(token_bytes);
  if (offer.name.find('\0') != std::string::npos) {
    return fail(broken_rule("an offer with a NUL in its name"));
  }
  return offer;
}

Result<Message> decode_chunk(BodyReader body) {
  Chunk chunk;
  body.take(chunk.offset_bytes);
  body.take(chunk.length_bytes);
  const auto flags = body.take<std::uint32_t>();
  if (chunk.length_bytes == 0 || chunk.length_bytes > kChunkBytesMax ||
      chunk.offset_bytes > kFileBytesMax - chunk.length_bytes || (flags & ~kFlagHole) != 0) {
    return fail(broken_rule("an impossible chunk"));
  }
  chunk.is_hole = flags == kFlagHole;
  return chunk;
}

Result<Message> decode_refuse(BodyReader body) {
  const auto code = body.take<std::uint16_t>();
  const auto text_bytes = body.take<std::uint16_t>();
  if (code < static_cast<std::uint16_t>(Refusal::kOtherVersion) ||
      code > static_cast<std::uint16_t>(Refusal::kFailed) || body.left_bytes() != text_bytes) {
    return fail(broken_rule("an impossible refusal"));
  }
  return Refuse{.code = static_cast<Refusal>(code), .text = body.take_text(text_bytes)};
}

template <typename Pair>
Result<Message> decode_pair(BodyReader body, std::uint64_t Pair::* position_bytes) {
  Pair pair;
  body.take(pair.*position_bytes);
  body.take(pair.checksum);
  if (pair.*position_bytes > kFileBytesMax) {
    return fail(broken_rule("a position that no file has"));
  }
  return pair;
}

template <typename Single>
Result<Message> decode_single(BodyReader body, std::uint64_t Single::* position_bytes) {
  Single single;
  body.take(single.*position_bytes);
  if (single.*position_bytes > kFileBytesMax) {
    return fail(broken_rule("a position that no file has"));
  }
  return single;
}

Result<Message> decode(Kind kind, BodyReader body) {
  switch (kind) {
    case Kind::kOffer: return decode_offer(body);
    case Kind::kStart: return decode_single(body, &Start::from_bytes);
    case Kind::kChunk: return decode_chunk(body);
    case Kind::kChunkEnd: return decode_pair(body, &ChunkEnd::end_bytes);
    case Kind::kFinish: return decode_pair(body, &Finish::size_bytes);
    case Kind::kAccept: return decode_pair(body, &Accept::from_bytes);
    case Kind::kAck: return decode_single(body, &Ack::verified_bytes);
    case Kind::kResend: return decode_single(body, &Resend::from_bytes);
    case Kind::kDone: return decode_pair(body, &Done::size_bytes);
    case Kind::kBusy: return decode_single(body, &Busy::progress);
    case Kind::kRefuse: return decode_refuse(body);
  }
  return fail(broken_rule("a frame of an unknown kind"));
}

// The length of the body, once the header proves to be one.
Result<std::size_t> check_header(std::span<const std::byte> header) {
  if (std::memcmp(header.data(), kMagic.data(), kMagic.size()) != 0) {
    return fail(broken_rule("the other side does not speak quire's protocol"));
  }
  const auto version = load<std::uint16_t>(header.data() + kVersionAt);
  if (version != kVersion) {
    return fail(make_error(Errc::kNewerVersion, "read_frame", "connection",
                           fmt::format("the other side speaks version {} of the protocol, this "
                                       "quire version {}",
                                       version, kVersion),
                           "use the same version of quire on both sides"));
  }
  const auto kind = load<std::uint16_t>(header.data() + kKindAt);
  const std::size_t length_bytes = load<std::uint32_t>(header.data() + kBodyBytesAt);
  const std::optional<BodyBytes> allowed = body_bytes(kind);
  if (!allowed) {
    return fail(broken_rule(fmt::format("a frame of an unknown kind, {}", kind)));
  }
  if (length_bytes < allowed->min || length_bytes > allowed->max) {
    return fail(broken_rule(
        fmt::format("a frame of kind {} cannot have a body of {} bytes", kind, length_bytes)));
  }
  return length_bytes;
}

}  // namespace

const char* name_of(const Message& message) noexcept {
  constexpr std::array kNames{"Offer", "Start",  "Chunk", "ChunkEnd", "Finish", "Accept",
                              "Ack",   "Resend", "Done",  "Busy",     "Refuse"};
  static_assert(kNames.size() == std::variant_size_v<Message>);
  return kNames.at(message.index());
}

std::vector<std::byte> encode(const Message& message) {
  return std::visit([](const auto& one) { return encode_one(one); }, message);
}

std::span<std::byte> FrameParser::wanted() noexcept {
  return std::span(buffer_).subspan(filled_, needed_ - filled_);
}

Result<std::optional<Message>> FrameParser::advance(std::size_t count) {
  QUIRE_CHECK_LE(count, needed_ - filled_);
  filled_ += count;
  if (!error_ && filled_ == needed_) {
    Result<std::optional<Message>> message = parse();
    if (message) {
      return message;
    }
    error_ = message.error();
  }
  if (error_) {
    // wanted() goes on to have room, for a caller that reads on without looking.
    filled_ = 0;
    needed_ = kHeaderBytes;
    return fail(*error_);
  }
  return std::optional<Message>();
}

Result<std::optional<Message>> FrameParser::parse() {
  const std::span<const std::byte> frame = std::span(buffer_).first(filled_);
  if (needed_ == kHeaderBytes) {
    needed_ += QUIRE_TRY(check_header(frame));
    return std::optional<Message>();
  }
  if (load<std::uint32_t>(frame.data() + kCheckAt) != frame_check(frame)) {
    return fail(broken_rule("a frame arrived damaged"));
  }
  const auto kind = static_cast<Kind>(load<std::uint16_t>(frame.data() + kKindAt));
  Message message = QUIRE_TRY(decode(kind, BodyReader(frame.subspan(kHeaderBytes))));
  filled_ = 0;
  needed_ = kHeaderBytes;
  return std::optional(std::move(message));
}

std::string find_flaw_in_name(std::string_view name) {
  if (name.empty() || name == "." || name == "..") {
    return "it is no name of a file";
  }
  if (name.find('/') != std::string_view::npos) {
    return "it has a directory in it";
  }
  if (name.find('\0') != std::string_view::npos) {
    return "it has a NUL in it";
  }
  if (name.size() + std::max(kPartSuffix.size(), kOfferSuffix.size()) > kNameBytesMax) {
    return "it is too long to have a part beside it";
  }
  if (name.ends_with(kPartSuffix) || name.ends_with(kOfferSuffix)) {
    return "files with this ending belong to transfers under way";
  }
  return {};
}

}  // namespace quire::wire
