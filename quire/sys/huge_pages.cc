// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/huge_pages.h"

#include <array>

#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"

namespace quire::sys {

std::string transparent_huge_page_setting(HugePageUse use) {
  const char* path = use == HugePageUse::kShared
                         ? "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
                         : "/sys/kernel/mm/transparent_hugepage/enabled";
  const Outcome<Descriptor> file = open_file(path, {});
  std::array<std::byte, 256> buffer{};
  const Outcome<std::size_t> got =
      file ? read_at(file->get(), buffer, 0) : Outcome<std::size_t>(std::size_t{0});
  // "always [madvise] never": the one in brackets is in force.
  const std::string text(reinterpret_cast<const char*>(buffer.data()), got.value_or(0));
  const std::size_t open = text.find('[');
  const std::size_t close = text.find(']', open == std::string::npos ? 0 : open);
  if (open == std::string::npos || close == std::string::npos) {
    return "unknown";
  }
  return text.substr(open + 1, close - open - 1);
}

}  // namespace quire::sys
