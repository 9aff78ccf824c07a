// SPDX-License-Identifier: Apache-2.0
//
// snapshot_text: single lines of a residency snapshot, to and from text. Pure functions; lines have
// no newline here. The parsers take any bytes, keep nothing they have not checked, and their
// memory is a small multiple of the line's length: structure is refused as it appears, so a
// megabyte of brackets is not turned into a tree first.
//
// Thread-safety: plain values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <variant>

#include "quire/map/snapshot.h"

namespace quire::internal {

struct SnapshotTrailer {
  std::uint64_t files = 0;
  std::uint64_t checksum = 0;
};

// What a line says, or in words what is wrong with it.
template <typename T>
using Parsed = tl::expected<T, std::string>;

[[nodiscard]] std::string format_header();
// REQUIRES: find_flaw(entry) found none.
[[nodiscard]] std::string format_entry(const SnapshotEntry& entry);
[[nodiscard]] std::string format_trailer(const SnapshotTrailer& trailer);

// The version; keys that a later version may have added are passed over.
[[nodiscard]] Parsed<std::uint64_t> parse_header(std::string_view line);
[[nodiscard]] Parsed<std::variant<SnapshotEntry, SnapshotTrailer>> parse_line(
    std::string_view line);

// Which invariant of SnapshotEntry is broken, in words; "" for none.
[[nodiscard]] std::string find_flaw(const SnapshotEntry& entry);

}  // namespace quire::internal
