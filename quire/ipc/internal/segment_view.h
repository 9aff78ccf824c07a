// SPDX-License-Identifier: Apache-2.0
//
// segment_view: what a segment's bytes say, to somebody who believes none of them.
//
// Thread-safety: plain values.
// Errors:        none; what has not its form is in `problem`.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "quire/ipc/internal/process_tag.h"
#include "quire/ipc/internal/segment_header.h"
#include "quire/ipc/internal/segment_state.h"
#include "quire/ipc/inventory.h"

namespace quire::ipc::internal {

// Reads bytes at an offset of the segment; returns how many there were.
using ReadBytes = std::function<std::size_t(std::span<std::byte> into, std::uint64_t offset_bytes)>;
// Whether that process lives.
using AskProcess = std::function<bool(const ProcessTag&)>;

// Fills everything of `info` that stands in the segment, for somebody in the domain `own`.
void view_segment(const ReadBytes& read, const AskProcess& is_alive, const Domain& own,
                  SegmentInfo& info);

}  // namespace quire::ipc::internal
