// SPDX-License-Identifier: Apache-2.0
//
// object_gauges: how far an object is, read from its control words by somebody who is no part of
// it. The numbers are of one moment each, not of the same one, and a hostile peer may have written
// any.
//
// Thread-safety: plain functions.
#pragma once

#include "quire/ipc/internal/segment_view.h"
#include "quire/ipc/inventory.h"
#include "quire/ipc/object.h"

namespace quire::ipc::internal {

// Of an object at `offset_bytes`, of a kind that this build knows; else nothing.
[[nodiscard]] ObjectGauges read_gauges(const ReadBytes& read, ObjectKind kind,
                                       std::uint64_t offset_bytes);

}  // namespace quire::ipc::internal
