// SPDX-License-Identifier: Apache-2.0
//
// explain: what was chosen and why, in a sentence.
//
// Thread-safety: any thread.
#pragma once

#include <string>

namespace quire::internal {

class AreaState;
class PagerCore;

// "big.bin: paged: 12.0 GiB through 256.0 MiB; inline faults (userfaultfd(2)); granules of 4.0 KiB;
// s3fifo; direct: ..."
[[nodiscard]] std::string explain(const AreaState& area);
[[nodiscard]] std::string explain(PagerCore& core);

}  // namespace quire::internal
