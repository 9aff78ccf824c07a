// SPDX-License-Identifier: Apache-2.0
//
// wire: what `quire send` and `quire receive` say to each other, byte by byte. Pure: bytes in,
// messages out. docs/formats.md describes it for other programs.
//
//   frame   | magic "Quir" 4 | version 2 | kind 2 | body bytes 4 | check 4 | body ... |
//
//   sender                                receiver
//   Offer                    ------->     is it wanted? is a part of it there?
//                            <-------     Accept: go on from byte N, my N bytes have checksum C
//   Start: from N, or from 0 ------->     (0: mine differ)
//   Chunk, its bytes, ChunkEnd ----->     checksum of all bytes up to here
//                            <-------     Ack, or Resend: from the last byte that was right
//   ...
//   Finish: size, checksum   ------->     whole? on disk? under its name?
//                            <-------     Done
//
// Either side may send Refuse instead of what comes next, and Busy while it computes, so that
// the other one's idle limit does not end it. The bytes of a chunk are the only ones that are not
// in a frame.
//
// Checksums are XXH3 (64 bits, seed 0) of the file from byte 0 to some point, never of a piece: so
// the last one is the file's own, the one `xxhsum -H3` prints, and one number proves a whole
// prefix.
//
// Invariants:    what the parser returns keeps every rule written beside its field.
// Thread-safety: a parser serves one thread; everything else are plain values.
// Errors:        kCorrupt for what breaks a rule; kNewerVersion for a version that is not ours.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "quire/base/result.h"
#include "quire/base/units.h"

namespace quire::wire {

inline constexpr std::uint16_t kVersion = 1;
inline constexpr std::array<char, 4> kMagic{'Q', 'u', 'i', 'r'};
inline constexpr std::size_t kHeaderBytes = 16;

inline constexpr std::size_t kNameBytesMax = 255;     // NAME_MAX of every file system.
inline constexpr std::size_t kTokenBytesMax = 256;    // Longer secrets are not safer.
inline constexpr std::size_t kRefusalBytesMax = 512;  // A sentence or two.
// Every chunk but the last has the size that the offer names, a power of two between these.
inline constexpr std::uint32_t kChunkBytesMin = 4U << 10;
inline constexpr std::uint32_t kChunkBytesMax = 64U << 20;
inline constexpr std::uint32_t kChunkBytesDefault = 4U << 20;
// Chunks that the sender may be ahead of the last Ack: what it can be asked to send again.
inline constexpr std::uint32_t kChunksAheadMax = 16;
inline constexpr std::uint64_t kFileBytesMax = (std::uint64_t{1} << 63) - 1;

// Frames of the sender: what it would like to send.
struct Offer {
  std::uint64_t size_bytes = 0;  // At most kFileBytesMax.
  std::uint64_t data_bytes = 0;  // Disk space it takes here; at most size_bytes.
  std::int64_t modified_s = 0;
  std::uint32_t modified_ns = 0;  // Below 1,000,000,000.
  std::uint32_t mode = 0;         // Permission bits, at most 0777.
  std::uint32_t chunk_bytes = kChunkBytesDefault;
  bool has_checksums = true;  // False: every checksum below is 0 and means nothing.
  std::string name = {};      // 1 to kNameBytesMax bytes, any but NUL.
  std::string token = {};     // At most kTokenBytesMax bytes.

  friend bool operator==(const Offer&, const Offer&) = default;
};

// `from_bytes` is that of Accept, or 0.
struct Start {
  std::uint64_t from_bytes = 0;
  friend bool operator==(const Start&, const Start&) = default;
};

// The bytes of [offset, offset + length) follow; of a hole, which reads as zeros, none do.
struct Chunk {
  std::uint64_t offset_bytes = 0;
  std::uint32_t length_bytes = 0;  // 1 to kChunkBytesMax.
  bool is_hole = false;
  friend bool operator==(const Chunk&, const Chunk&) = default;
};

struct ChunkEnd {
  std::uint64_t end_bytes = 0;
  std::uint64_t checksum = 0;  // Of the file's first end_bytes.
  friend bool operator==(const ChunkEnd&, const ChunkEnd&) = default;
};

struct Finish {
  std::uint64_t size_bytes = 0;
  std::uint64_t checksum = 0;
  friend bool operator==(const Finish&, const Finish&) = default;
};

// Frames of the receiver: what it has of the file already, a multiple of the chunk size or all.
struct Accept {
  std::uint64_t from_bytes = 0;
  std::uint64_t checksum = 0;  // Of these bytes.
  friend bool operator==(const Accept&, const Accept&) = default;
};

struct Ack {
  std::uint64_t verified_bytes = 0;
  friend bool operator==(const Ack&, const Ack&) = default;
};

// The chunk that begins here arrived damaged.
struct Resend {
  std::uint64_t from_bytes = 0;
  friend bool operator==(const Resend&, const Resend&) = default;
};

// The file is whole, on disk and under its name.
struct Done {
  std::uint64_t size_bytes = 0;
  std::uint64_t checksum = 0;
  friend bool operator==(const Done&, const Done&) = default;
};

// Frames of both. A count that grows from one Busy to the next.
struct Busy {
  std::uint64_t progress = 0;
  friend bool operator==(const Busy&, const Busy&) = default;
};

// Values are part of the format.
enum class Refusal : std::uint16_t {
  kOtherVersion = 1,  // This version of the format is not spoken here.
  kNotExpected = 2,   // No more files are wanted.
  kToken = 3,         // The shared secret is not the same.
  kUser = 4,          // The user at the other end of the socket.
  kName = 5,          // The name cannot stand for a file here.
  kExists = 6,        // A file of that name is there.
  kTooLarge = 7,      // More than the receiver was told to take.
  kNoSpace = 8,       // More than the disk takes.
  kProtocol = 9,      // What arrived breaks the rules of this page.
  kDamaged = 10,      // The same chunk arrived damaged too often.
  kChanged = 11,      // The source changed while it was sent.
  kStopped = 12,      // Somebody asked this side to stop.
  kFailed = 13,       // An error of this side: the text says which.
};

// This side ends the conversation.
struct Refuse {
  Refusal code = Refusal::kFailed;
  std::string text = {};  // At most kRefusalBytesMax bytes, any; printed with escapes only.
  friend bool operator==(const Refuse&, const Refuse&) = default;
};

using Message =
    std::variant<Offer, Start, Chunk, ChunkEnd, Finish, Accept, Ack, Resend, Done, Busy, Refuse>;

// "Offer", "ChunkEnd": for messages.
[[nodiscard]] const char* name_of(const Message& message) noexcept;

inline constexpr std::size_t kOfferFixedBytes = 44;
inline constexpr std::size_t kBodyBytesMax = kOfferFixedBytes + kNameBytesMax + kTokenBytesMax;
inline constexpr std::size_t kFrameBytesMax = kHeaderBytes + kBodyBytesMax;
static_assert(kBodyBytesMax >= kRefusalBytesMax + 4);

// The frame of a message. REQUIRES: the message keeps its rules (checked).
[[nodiscard]] std::vector<std::byte> encode(const Message& message);

// Takes one frame after the other out of a stream, and never a byte behind the frame: what follows
// may be the bytes of a chunk, which travel another way.
//
//   while (!message) { n = read into parser.wanted(); message = QUIRE_TRY(parser.advance(n)); }
class FrameParser {
 public:
  // Where the next bytes go: at least one, at most what is left of the frame as far as it is known.
  [[nodiscard]] std::span<std::byte> wanted() noexcept;
  // Says that the first `count` of wanted() have arrived. A message once a frame is whole.
  // After an error the stream has no frames any more: the parser gives the same error for ever.
  // REQUIRES: count <= wanted().size().
  [[nodiscard]] Result<std::optional<Message>> advance(std::size_t count);
  // Nothing of a frame has arrived since the last message.
  [[nodiscard]] bool is_between_frames() const noexcept { return filled_ == 0; }

 private:
  [[nodiscard]] Result<std::optional<Message>> parse();

  std::array<std::byte, kFrameBytesMax> buffer_{};
  std::size_t filled_ = 0;
  std::size_t needed_ = kHeaderBytes;
  std::optional<Error> error_;
};

// A name that may become a file in a directory: no separator, not "." or "..", not one that this
// protocol keeps its own files under. Returns what is wrong with it, or "".
[[nodiscard]] std::string find_flaw_in_name(std::string_view name);

// Behind the name of a file that is not whole yet, and behind that of the offer it belongs to.
inline constexpr std::string_view kPartSuffix = ".quire-part";
inline constexpr std::string_view kOfferSuffix = ".quire-offer";

}  // namespace quire::wire
