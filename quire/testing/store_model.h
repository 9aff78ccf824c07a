// SPDX-License-Identifier: Apache-2.0
//
// A Store against a vector of bytes: any bytes are taken for a sequence of requests, which both do,
// and which must give the same. What the model test draws by chance, the fuzzer searches for.
//
// Thread-safety: one thread at a time.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "quire/io/store.h"

namespace quire::testing {

// Stores stay below this: offsets and lengths of the requests are cut to it.
inline constexpr std::uint64_t kModelBytesMax = 3_MiB;

// Does the requests that `program` stands for, to a store that is empty now. Returns what differed,
// with the request's number and form; "" when nothing did.
// REQUIRES: no operation of the store fails.
[[nodiscard]] std::string differ_from_model(Store& store, std::span<const std::uint8_t> program);

}  // namespace quire::testing
