// SPDX-License-Identifier: Apache-2.0
//
// direct_blocks: whole blocks between a direct file and one aligned buffer, until all are moved.
//
// Errors:        the kernel's.
// Thread-safety: any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "quire/base/units.h"
#include "quire/io/internal/file_state.h"

namespace quire::internal {

// Reads until `into` is full or the file ends. A transfer that ends inside a block has met the end;
// one that ends at the edge of a block may only have been cut short, and is gone on with.
sys::Outcome<std::uint64_t> read_blocks(FileState& file, std::span<std::byte> into,
                                        std::uint64_t offset_bytes, PageSize unit);

// Writes all of it. A transfer that ends inside a block begins again with that block.
sys::Outcome<void> write_blocks(FileState& file, std::span<const std::byte> from,
                                std::uint64_t offset_bytes, PageSize unit);

}  // namespace quire::internal
