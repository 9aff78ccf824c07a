// SPDX-License-Identifier: Apache-2.0
//
// Fuzzes the frame parser: any bytes, in pieces of any size, give messages or an Error that stays;
// the parser never asks for a byte behind its frame; and what it accepts is exactly what encode()
// writes for it.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "quire/base/check.h"
#include "quire/transfer/wire.h"

#define XXH_INLINE_ALL  // NOLINT(readability-identifier-naming): xxhash wants it so.
#include <xxhash.h>

namespace quire::wire {
namespace {

constexpr std::size_t kCheckAt = 12;

// Chance finds no checksum: makes the header of the first frame true, whatever its body is.
void seal(std::vector<std::byte>& frame) {
  if (frame.size() < kHeaderBytes) {
    return;
  }
  const auto body_bytes = static_cast<std::uint32_t>(frame.size() - kHeaderBytes);
  const std::uint16_t version = kVersion;
  std::memcpy(frame.data(), kMagic.data(), kMagic.size());
  std::memcpy(frame.data() + 4, &version, sizeof version);
  std::memcpy(frame.data() + 8, &body_bytes, sizeof body_bytes);
  std::vector<std::byte> checked(frame.begin(), frame.begin() + kCheckAt);
  checked.insert(checked.end(), frame.begin() + kHeaderBytes, frame.end());
  const auto check = static_cast<std::uint32_t>(XXH3_64bits(checked.data(), checked.size()));
  std::memcpy(frame.data() + kCheckAt, &check, sizeof check);
}

// Whether the parser is still willing afterwards.
bool feed(FrameParser& parser, std::span<const std::byte> bytes, std::size_t piece_bytes) {
  std::vector<std::byte> frame;
  while (!bytes.empty()) {
    const std::span<std::byte> wanted = parser.wanted();
    QUIRE_CHECK(!wanted.empty());
    const std::size_t count = std::min({wanted.size(), bytes.size(), piece_bytes});
    std::copy_n(bytes.begin(), count, wanted.begin());
    frame.insert(frame.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count));
    bytes = bytes.subspan(count);
    const auto message = parser.advance(count);
    if (!message) {
      QUIRE_CHECK(!message.error().message().empty());
      QUIRE_CHECK(!parser.advance(0).has_value());
      return false;
    }
    if (*message) {
      QUIRE_CHECK(encode(**message) == frame);
      QUIRE_CHECK(parser.is_between_frames());
      frame.clear();
    }
  }
  return true;
}

}  // namespace
}  // namespace quire::wire

// The first byte is the size of the pieces; an odd one also makes the first header true.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size_bytes) {
  if (size_bytes == 0) {
    return 0;
  }
  const auto bytes = std::as_bytes(std::span(data, size_bytes)).subspan(1);
  std::vector<std::byte> stream(bytes.begin(), bytes.end());
  if (data[0] % 2 == 1) {
    quire::wire::seal(stream);
  }
  quire::wire::FrameParser parser;
  static_cast<void>(quire::wire::feed(parser, stream, std::size_t{data[0]} + 1));
  return 0;
}
