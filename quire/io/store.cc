// SPDX-License-Identifier: Apache-2.0
#include "quire/io/store.h"

namespace quire {

Result<std::uint64_t> Store::read(std::uint64_t offset_bytes, std::span<std::byte> into) {
  return read_pieces(offset_bytes, {&into, 1});
}

Result<void> Store::write(std::uint64_t offset_bytes, std::span<const std::byte> from) {
  return write_pieces(offset_bytes, {&from, 1});
}

}  // namespace quire
