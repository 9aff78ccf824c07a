// SPDX-License-Identifier: Apache-2.0
//
// The fuzzer's entry over a seeded corpus, and the format's own tests.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <vector>

#include "quire/base/prng.h"
#include "quire/journal/internal/journal_format.h"
#include "quire/testing/seed.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size_bytes);

namespace quire::internal {
namespace {

constexpr std::size_t kInputs = 3000;

// Places where something stands: superblocks, their tables of files, headers of records.
std::uint32_t some_place(Prng& random) {
  switch (random.below(4)) {
    case 0: return static_cast<std::uint32_t>(random.below(2) * kSlotBytes + random.below(100));
    case 1:
      return static_cast<std::uint32_t>(random.below(2) * kSlotBytes + 512 + random.below(40));
    case 2:
      return static_cast<std::uint32_t>(kCircleOffsetBytes + random.below(16) * kBlockBytes +
                                        random.below(256));
    default: return static_cast<std::uint32_t>(random.below(kCircleOffsetBytes + 64 * 1024));
  }
}

TEST(JournalFuzzTest, AnyPatchesOfAJournalAreRefusedOrHarmless) {
  Prng random(testing::test_seed());
  for (std::size_t i = 0; i < kInputs; ++i) {
    std::vector<std::uint8_t> input{static_cast<std::uint8_t>(random())};
    for (std::uint64_t patches = random.below(6); patches > 0; --patches) {
      const std::uint32_t place = some_place(random);
      for (const std::uint32_t byte : {place, place >> 8, place >> 16}) {
        input.push_back(static_cast<std::uint8_t>(byte));
      }
      // Small numbers and their neighbours find more than any.
      input.push_back(random.below(2) == 0 ? static_cast<std::uint8_t>(random.below(9))
                                           : static_cast<std::uint8_t>(random()));
    }
    ASSERT_EQ(LLVMFuzzerTestOneInput(input.data(), input.size()), 0);
  }
}

const Superblock kSuperblock{.uuid = {std::byte{1}, std::byte{2}},
                             .page_bytes = 4096,
                             .log_bytes = 1 << 20,
                             .generation = 7,
                             .epoch = 3,
                             .tail_position_bytes = 8192,
                             .tail_lsn = 100,
                             .tail_commit = 40,
                             .is_clean = false,
                             .files = {{.identity = {std::byte{9}}, .size_bytes = 5, .name = "a"},
                                       {.identity = {}, .size_bytes = 0, .name = ""}}};

const RecordHeader kHeader{
    .uuid = kSuperblock.uuid,
    .epoch = 3,
    .lsn = 100,
    .durable_lsn = 99,
    .commit = 41,
    .position_bytes = 8192,
    .marks = {{.kind = MarkKind::kResize, .file = 1, .transaction = 5, .size_bytes = 8000},
              {.kind = MarkKind::kCommit, .file = 1, .transaction = 5}},
    .images = {
        {.offset_bytes = 4096, .transaction = 5, .checksum = 0x1122334455667788, .file = 1}}};

TEST(JournalFormatTest, ASuperblockComesBackAsItWas) {
  std::vector<std::byte> slot(kSlotBytes);
  encode_superblock(kSuperblock, slot);
  EXPECT_EQ(decode_superblock(slot, "x").value(), kSuperblock);
  slot[8] = std::byte{2};
  EXPECT_EQ(decode_superblock(slot, "x").error().code(), Errc::kNewerVersion);
  slot[0] = std::byte{0};
  EXPECT_EQ(decode_superblock(slot, "x").error().code(), Errc::kCorrupt);
}

TEST(JournalFormatTest, EveryFlippedBitOfASuperblockIsNoticed) {
  std::vector<std::byte> slot(kSlotBytes);
  encode_superblock(kSuperblock, slot);
  for (std::size_t bit = 0; bit < 8 * kSlotBytes; bit += bit < 8 * 1100 ? 1 : 1001) {
    slot[bit / 8] ^= std::byte{1} << (bit % 8);
    ASSERT_FALSE(decode_superblock(slot, "x").has_value()) << bit;
    slot[bit / 8] ^= std::byte{1} << (bit % 8);
  }
}

TEST(JournalFormatTest, AHeaderComesBackAsItWasAndOnlyWhereItWasWritten) {
  std::vector<std::byte> bytes(record_header_bytes(2, 1));
  encode_record_header(kHeader, bytes);
  EXPECT_EQ(decode_record_header(bytes, kSuperblock, 8192), kHeader);
  EXPECT_FALSE(decode_record_header(bytes, kSuperblock, 4096).has_value());
  Superblock later = kSuperblock;
  ++later.epoch;
  EXPECT_FALSE(decode_record_header(bytes, later, 8192).has_value());
  later = kSuperblock;
  later.uuid[5] = std::byte{1};
  EXPECT_FALSE(decode_record_header(bytes, later, 8192).has_value());
  later = kSuperblock;
  later.files.pop_back();
  EXPECT_FALSE(decode_record_header(bytes, later, 8192).has_value());
}

TEST(JournalFormatTest, EveryFlippedBitOfAHeaderIsNoticed) {
  std::vector<std::byte> bytes(record_header_bytes(2, 1));
  encode_record_header(kHeader, bytes);
  for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    ASSERT_FALSE(decode_record_header(bytes, kSuperblock, 8192).has_value()) << bit;
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
  }
}

// As who means it would.
void make_checksum_right(std::span<std::byte> bytes, std::size_t at) {
  std::vector<std::byte> others(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
  others.insert(others.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at) + 8, bytes.end());
  const std::uint64_t checksum = checksum_of(others);
  std::memcpy(&bytes[at], &checksum, sizeof(checksum));
}

// Goal:   what a later version may mean by a byte is not passed over by this one.
TEST(JournalFormatTest, BytesWithoutAMeaningAreZeros) {
  std::vector<std::byte> slot(kSlotBytes);
  encode_superblock(kSuperblock, slot);
  constexpr std::size_t kFirstFile = 512;
  for (const std::size_t at : {std::size_t{85}, std::size_t{96}, std::size_t{511}, kFirstFile + 28,
                               kFirstFile + 41, kFirstFile + 2 * 512, kSlotBytes - 1}) {
    std::vector<std::byte> forged = slot;
    forged[at] = std::byte{1};
    make_checksum_right(forged, 88);
    const auto decoded = decode_superblock(forged, "x");
    ASSERT_FALSE(decoded.has_value()) << at;
    EXPECT_EQ(decoded.error().code(), Errc::kCorrupt);
  }
  std::vector<std::byte> header(record_header_bytes(2, 1));
  encode_record_header(kHeader, header);
  make_checksum_right(header, 80);
  EXPECT_TRUE(decode_record_header(header, kSuperblock, 8192).has_value());
  for (const std::size_t at : {20U, 88U, 127U, 128U + 24, 160U + 16, 192U + 28, 224U, 4095U}) {
    std::vector<std::byte> forged = header;
    forged[at] = std::byte{1};
    make_checksum_right(forged, 80);
    EXPECT_FALSE(decode_record_header(forged, kSuperblock, 8192).has_value()) << at;
  }
}

TEST(JournalFormatTest, ALogHasSixteenPages) {
  Superblock small = kSuperblock;
  small.page_bytes = 65536;
  small.log_bytes = 15 * small.page_bytes;
  small.tail_position_bytes = 0;
  std::vector<std::byte> slot(kSlotBytes);
  encode_superblock(small, slot);
  EXPECT_FALSE(decode_superblock(slot, "x").has_value());
  small.log_bytes += small.page_bytes;
  encode_superblock(small, slot);
  EXPECT_TRUE(decode_superblock(slot, "x").has_value());
}

// The example of docs/formats.md.
TEST(JournalFormatTest, TheBytesAreThoseOfTheDescription) {
  std::vector<std::byte> bytes(record_header_bytes(2, 1));
  encode_record_header(kHeader, bytes);
  const auto byte_at = [&](std::size_t at) { return std::to_integer<int>(bytes[at]); };
  EXPECT_EQ(bytes.size(), 4096U);
  EXPECT_EQ(byte_at(0), 'q');
  EXPECT_EQ(byte_at(9), 0x10);         // 4096 bytes of header,
  EXPECT_EQ(byte_at(12), 2);           // two marks,
  EXPECT_EQ(byte_at(16), 1);           // one image,
  EXPECT_EQ(byte_at(40), 3);           // epoch,
  EXPECT_EQ(byte_at(48), 100);         // LSN,
  EXPECT_EQ(byte_at(56), 99);          // durable before,
  EXPECT_EQ(byte_at(64), 41);          // commit,
  EXPECT_EQ(byte_at(73), 0x20);        // position 8192.
  EXPECT_EQ(byte_at(128), 1);          // A resize
  EXPECT_EQ(byte_at(160), 2);          // and a commit,
  EXPECT_EQ(byte_at(192 + 1), 0x10);   // then the image: offset 4096,
  EXPECT_EQ(byte_at(192 + 16), 0x88);  // its checksum,
  EXPECT_EQ(byte_at(192 + 24), 1);     // its file.
}

TEST(JournalFormatTest, ARecordThatDoesNotFitBeforeTheEndBeginsAtTheBeginning) {
  const std::uint64_t log_bytes = kSuperblock.log_bytes;
  EXPECT_EQ(next_record_position(log_bytes - 8192, kSuperblock), log_bytes - 8192);
  EXPECT_EQ(next_record_position(log_bytes - 4096, kSuperblock), 0U);
  EXPECT_EQ(next_record_position(log_bytes, kSuperblock), 0U);
}

}  // namespace
}  // namespace quire::internal
