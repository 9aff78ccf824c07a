// SPDX-License-Identifier: Apache-2.0
#include "quire/transfer/wire.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "quire/base/prng.h"
#include "quire/testing/seed.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size_bytes);

namespace quire::wire {
namespace {

using Bytes = std::vector<std::byte>;

Bytes from_hex(std::string_view text) {
  Bytes bytes;
  std::string digits;
  for (const char digit : text) {
    if (digit != ' ') {
      digits += digit;
    }
  }
  for (std::size_t i = 0; i + 1 < digits.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(std::stoi(digits.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

// All messages of `bytes`, fed in pieces; the error of the first that is none.
Result<std::vector<Message>> parse(std::span<const std::byte> bytes, std::size_t piece_bytes) {
  FrameParser parser;
  std::vector<Message> messages;
  while (!bytes.empty()) {
    const auto wanted = parser.wanted();
    const std::size_t count = std::min({wanted.size(), bytes.size(), piece_bytes});
    std::memcpy(wanted.data(), bytes.data(), count);
    bytes = bytes.subspan(count);
    auto message = QUIRE_TRY(parser.advance(count));
    if (message) {
      messages.push_back(std::move(*message));
    }
  }
  return messages;
}

Offer offer_of(std::string name) {
  return {.size_bytes = 10'000'000'000,
          .data_bytes = 4096,
          .modified_s = -5,
          .modified_ns = 999'999'999,
          .mode = 0640,
          .chunk_bytes = 1U << 20,
          .has_checksums = true,
          .name = std::move(name),
          .token = "secret"};
}

std::vector<Message> one_of_each() {
  return {offer_of("disk.img"),
          Start{.from_bytes = 8192},
          Chunk{.offset_bytes = 8192, .length_bytes = 4096, .is_hole = false},
          Chunk{.offset_bytes = kFileBytesMax - 1, .length_bytes = 1, .is_hole = true},
          ChunkEnd{.end_bytes = 12'288, .checksum = 0x0123456789abcdef},
          Finish{.size_bytes = 12'288, .checksum = 7},
          Accept{.from_bytes = 0, .checksum = 0},
          Ack{.verified_bytes = 4096},
          Resend{.from_bytes = 4096},
          Done{.size_bytes = 12'288, .checksum = 7},
          Busy{.progress = 3},
          Refuse{.code = Refusal::kNoSpace, .text = "the disk is full \xff\x1b[2J"}};
}

// Goal:   the bytes on the wire are those of docs/formats.md, on every machine and for ever.
// Method: frames written down by hand from that page, their check computed by libxxhash.
TEST(WireTest, FramesAreTheBytesThatThePageDescribes) {
  struct Row {
    Message message;
    const char* hex;
  };
  const std::vector<Row> rows{
      {Ack{.verified_bytes = 0x0102030405060708},
       "51756972 0100 1200 08000000 969e3943 0807060504030201"},
      {Chunk{.offset_bytes = 4096, .length_bytes = 16, .is_hole = true},
       "51756972 0100 0300 10000000 3466b21b 0010000000000000 10000000 01000000"},
      {Refuse{.code = Refusal::kExists, .text = "no"},
       "51756972 0100 2200 06000000 befbd369 0600 0200 6e6f"},
      {Offer{.size_bytes = 5,
             .data_bytes = 4,
             .modified_s = -1,
             .modified_ns = 2,
             .mode = 0644,
             .chunk_bytes = 4096,
             .has_checksums = true,
             .name = "a",
             .token = "bc"},
       "51756972 0100 0100 2f000000 b60280fe 0500000000000000 0400000000000000 ffffffffffffffff "
       "02000000 a4010000 00100000 01000000 0100 0200 61 6263"},
      {Busy{.progress = 1}, "51756972 0100 2100 08000000 763e6a7c 0100000000000000"},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(encode(row.message), from_hex(row.hex)) << name_of(row.message);
  }
}

TEST(WireTest, EveryMessageComesBackInPiecesOfAnySize) {
  Bytes stream;
  for (const Message& message : one_of_each()) {
    const Bytes frame = encode(message);
    stream.insert(stream.end(), frame.begin(), frame.end());
  }
  for (const std::size_t piece_bytes : {std::size_t{1}, std::size_t{7}, stream.size()}) {
    EXPECT_EQ(parse(stream, piece_bytes).value(), one_of_each()) << piece_bytes;
  }
}

// Goal:   what follows a frame is never read with it: it may be the bytes of a chunk.
TEST(WireTest, TheParserNeverWantsAByteBehindTheFrame) {
  for (const Message& message : one_of_each()) {
    const Bytes frame = encode(message);
    FrameParser parser;
    std::size_t taken = 0;
    for (;;) {
      const auto wanted = parser.wanted();
      ASSERT_LE(taken + wanted.size(), frame.size()) << name_of(message);
      std::memcpy(wanted.data(), frame.data() + taken, wanted.size());
      taken += wanted.size();
      if (parser.advance(wanted.size()).value()) {
        break;
      }
    }
    EXPECT_EQ(taken, frame.size()) << name_of(message);
    EXPECT_TRUE(parser.is_between_frames());
  }
}

TEST(WireTest, AFrameThatIsCutShortIsNoMessage) {
  for (const Message& message : one_of_each()) {
    const Bytes frame = encode(message);
    for (std::size_t length = 0; length < frame.size(); ++length) {
      const auto parsed = parse(std::span(frame).first(length), 3);
      ASSERT_TRUE(parsed.has_value()) << name_of(message) << " cut at " << length;
      EXPECT_TRUE(parsed->empty()) << name_of(message) << " cut at " << length;
    }
  }
}

// Goal:   no byte of a frame can change without being noticed.
TEST(WireTest, AFrameWithAnyBitChangedIsRefused) {
  for (const Message& message : one_of_each()) {
    const Bytes frame = encode(message);
    for (std::size_t bit = 0; bit < frame.size() * 8; ++bit) {
      Bytes damaged = frame;
      damaged[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
      // A longer body than came is only seen to be wrong when the rest comes.
      damaged.resize(kFrameBytesMax + frame.size());
      const auto parsed = parse(damaged, damaged.size());
      ASSERT_FALSE(parsed.has_value()) << name_of(message) << ", bit " << bit;
      const bool is_version = bit / 8 == 4 || bit / 8 == 5;
      EXPECT_EQ(parsed.error().code(), is_version ? Errc::kNewerVersion : Errc::kCorrupt)
          << name_of(message) << ", bit " << bit;
    }
  }
}

// Goal:   a peer that announces more than any frame has is refused after its header: nothing is
//         allocated for it, nothing is waited for.
TEST(WireTest, AHugeBodyIsRefusedByItsHeaderAlone) {
  for (const Message& message : one_of_each()) {
    Bytes header = encode(message);
    header.resize(kHeaderBytes);
    for (const std::uint32_t body_bytes :
         {std::uint32_t{kBodyBytesMax + 1}, std::numeric_limits<std::uint32_t>::max()}) {
      std::memcpy(header.data() + 8, &body_bytes, sizeof body_bytes);
      const auto parsed = parse(header, header.size());
      ASSERT_FALSE(parsed.has_value()) << name_of(message);
      EXPECT_EQ(parsed.error().code(), Errc::kCorrupt);
      EXPECT_NE(parsed.error().message().find(std::to_string(body_bytes)), std::string::npos);
    }
  }
}

TEST(WireTest, AnErrorStays) {
  Bytes stream(kHeaderBytes);
  FrameParser parser;
  std::memcpy(parser.wanted().data(), stream.data(), kHeaderBytes);
  const auto first = parser.advance(kHeaderBytes);
  ASSERT_FALSE(first.has_value());
  const Bytes good = encode(Ack{});
  std::memcpy(parser.wanted().data(), good.data(), kHeaderBytes);
  EXPECT_EQ(parser.advance(kHeaderBytes).error().message(), first.error().message());
}

TEST(WireTest, AnotherVersionIsNamedWithOurs) {
  Bytes frame = encode(Ack{});
  frame[4] = std::byte{9};
  const auto parsed = parse(frame, frame.size());
  ASSERT_FALSE(parsed.has_value());
  EXPECT_EQ(parsed.error().code(), Errc::kNewerVersion);
  EXPECT_NE(parsed.error().message().find("version 9"), std::string::npos);
  EXPECT_NE(parsed.error().message().find("version 1"), std::string::npos);
}

TEST(WireTest, NumbersOutOfTheirRangesAreRefused) {
  const auto with = [](auto change) {
    Offer offer = offer_of("a");
    change(offer);
    return Message(offer);
  };
  const std::vector<Message> rows{
      with([](Offer& offer) { offer.size_bytes = kFileBytesMax + 1; }),
      with([](Offer& offer) { offer.data_bytes = offer.size_bytes + 1; }),
      with([](Offer& offer) { offer.modified_ns = 1'000'000'000; }),
      with([](Offer& offer) { offer.mode = 04755; }),
      with([](Offer& offer) { offer.chunk_bytes = 0; }),
      with([](Offer& offer) { offer.chunk_bytes = kChunkBytesMin / 2; }),
      with([](Offer& offer) { offer.chunk_bytes = kChunkBytesMax * 2; }),
      with([](Offer& offer) { offer.chunk_bytes = 12'288; }),
      with([](Offer& offer) { offer.name = std::string("a\0b", 3); }),
      Chunk{.offset_bytes = 0, .length_bytes = 0},
      Chunk{.offset_bytes = 0, .length_bytes = kChunkBytesMax + 1},
      Chunk{.offset_bytes = kFileBytesMax, .length_bytes = 1},
      Chunk{.offset_bytes = std::numeric_limits<std::uint64_t>::max(), .length_bytes = 1},
      Start{.from_bytes = kFileBytesMax + 1},
      ChunkEnd{.end_bytes = kFileBytesMax + 1},
      Done{.size_bytes = std::numeric_limits<std::uint64_t>::max()},
      Refuse{.code = static_cast<Refusal>(0)},
      Refuse{.code = static_cast<Refusal>(14)},
  };
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto parsed = parse(encode(rows[i]), 64);
    ASSERT_FALSE(parsed.has_value()) << "row " << i << ", " << name_of(rows[i]);
    EXPECT_EQ(parsed.error().code(), Errc::kCorrupt) << "row " << i;
  }
}

TEST(WireTest, TheLongestOfferFitsAndNoLongerOne) {
  Offer offer = offer_of(std::string(kNameBytesMax, 'n'));
  offer.token = std::string(kTokenBytesMax, 't');
  const Bytes frame = encode(offer);
  EXPECT_EQ(frame.size(), kFrameBytesMax);
  EXPECT_EQ(parse(frame, 100).value(), std::vector<Message>{offer});
}

TEST(WireTest, NamesThatLeadElsewhereHaveAFlaw) {
  for (const char* good : {"a", "disk.img", ".hidden", "...", "a b", "caf\xe9", "\n", "-rf"}) {
    EXPECT_EQ(find_flaw_in_name(good), "") << good;
  }
  for (const std::string& bad :
       {std::string(), std::string("."), std::string(".."), std::string("/"), std::string("a/b"),
        std::string("../a"), std::string("/etc/passwd"), std::string("a/"), std::string("a\0b", 3),
        std::string("a.quire-part"), std::string("a.quire-offer"), std::string(244, 'a')}) {
    EXPECT_NE(find_flaw_in_name(bad), "") << bad;
  }
  EXPECT_EQ(find_flaw_in_name(std::string(243, 'a')), "");
}

// Goal:   the fuzzer's property holds over a seeded corpus, with every compiler.
// Method: good frames, cut, with bytes changed, spliced, and with headers made true again.
TEST(WireFuzzTest, TheCorpusHolds) {
  Prng random(testing::test_seed());
  std::vector<Bytes> corpus;
  for (const Message& message : one_of_each()) {
    corpus.push_back(encode(message));
  }
  for (int round = 0; round < 20'000; ++round) {
    Bytes input{static_cast<std::byte>(random.below(256))};
    for (std::uint64_t frames = 1 + random.below(3); frames > 0; --frames) {
      const Bytes& frame = corpus[random.below(corpus.size())];
      input.insert(input.end(), frame.begin(), frame.end());
    }
    for (std::uint64_t changes = random.below(4); changes > 0; --changes) {
      input[1 + random.below(input.size() - 1)] = static_cast<std::byte>(random.below(256));
    }
    if (random.below(3) == 0) {
      input.resize(1 + random.below(input.size()));
    }
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
  }
}

}  // namespace
}  // namespace quire::wire
