// SPDX-License-Identifier: Apache-2.0
//
// ipc_output: segments of shared memory, as text and as JSON.
//
// Thread-safety: pure functions of their arguments, but for what they print.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "quire/cli/json_writer.h"
#include "quire/cli/session.h"
#include "quire/ipc/inventory.h"

namespace quire::cli {

// One segment in a list: a row, an object of JSON.
void write_segment_summary(JsonWriter& json, const ipc::SegmentInfo& info);
[[nodiscard]] std::string segment_table(const Session& session,
                                        const std::vector<ipc::SegmentInfo>& segments);

// Everything about one.
void write_segment(JsonWriter& json, const ipc::SegmentInfo& info);
[[nodiscard]] std::string segment_text(const Session& session, const ipc::SegmentInfo& info);

// What was written so far, by segment id and object, to make rates of.
using Counts = std::map<std::pair<std::uint64_t, std::string>, std::uint64_t>;
[[nodiscard]] Counts counts_of(const std::vector<ipc::SegmentInfo>& segments);
// The list, and below it each object with its rate since `before`, `seconds` ago (0: none yet).
[[nodiscard]] std::string watch_text(const Session& session,
                                     const std::vector<ipc::SegmentInfo>& segments,
                                     const Counts& before, double seconds);

}  // namespace quire::cli
