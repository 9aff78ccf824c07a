// SPDX-License-Identifier: Apache-2.0
#include "quire/map/typed_view.h"

#include <fmt/format.h>

namespace quire::internal {

Result<void> check_layout(const void* address, std::uint64_t length_bytes, std::size_t type_bytes,
                          std::size_t type_alignment, const std::string& path) {
  if (length_bytes % type_bytes != 0) {
    return fail(make_error(
        Errc::kMisaligned, "as", path,
        fmt::format("{} bytes are no multiple of the type's {} bytes", length_bytes, type_bytes),
        fmt::format("ask for {} bytes, or check the file's format",
                    length_bytes - length_bytes % type_bytes)));
  }
  if (length_bytes > 0 && reinterpret_cast<std::uintptr_t>(address) % type_alignment != 0) {
    return fail(
        make_error(Errc::kMisaligned, "as", path,
                   fmt::format("the first byte is not at a multiple of the type's alignment, {}",
                               type_alignment),
                   "choose an aligned offset, or copy the bytes out with memcpy"));
  }
  return {};
}

}  // namespace quire::internal
