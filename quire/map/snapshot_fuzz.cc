// SPDX-License-Identifier: Apache-2.0
//
// Fuzzes the snapshot reader: any bytes, in chunks of any size, give entries or an Error; and what
// is accepted is written again to a text that gives the same entries.
#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quire/base/check.h"
#include "quire/map/snapshot.h"

namespace quire {
namespace {

SnapshotReader::Source chunked(std::string_view text, std::size_t chunk_bytes) {
  return [text, chunk_bytes](std::span<char> into) mutable -> Result<std::size_t> {
    const std::size_t count = std::min({text.size(), chunk_bytes, into.size()});
    std::copy_n(text.begin(), count, into.begin());
    text.remove_prefix(count);
    return count;
  };
}

Result<std::vector<SnapshotEntry>> read_all(std::string_view text, std::size_t chunk_bytes) {
  SnapshotReader reader(chunked(text, chunk_bytes));
  std::vector<SnapshotEntry> entries;
  while (std::optional<SnapshotEntry> entry = QUIRE_TRY(reader.next())) {
    entries.push_back(std::move(*entry));
  }
  return entries;
}

std::string write_all(const std::vector<SnapshotEntry>& entries) {
  std::string text;
  SnapshotWriter writer([&text](std::string_view bytes) -> Result<void> {
    text += bytes;
    return {};
  });
  for (const SnapshotEntry& entry : entries) {
    QUIRE_CHECK(writer.add(entry).has_value());
  }
  QUIRE_CHECK(writer.finish().has_value());
  return text;
}

}  // namespace
}  // namespace quire

// The first byte is the size of the chunks.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size_bytes) {
  if (size_bytes == 0) {
    return 0;
  }
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size_bytes - 1);
  const auto entries = quire::read_all(text, std::size_t{data[0]} + 1);
  if (entries) {
    const auto again = quire::read_all(quire::write_all(*entries), size_bytes);
    QUIRE_CHECK(again.has_value() && *again == *entries);
  } else {
    QUIRE_CHECK(!entries.error().message().empty());
  }
  return 0;
}
