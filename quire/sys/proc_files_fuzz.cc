// SPDX-License-Identifier: Apache-2.0
//
// Any bytes for every parser of proc_files.h; what comes out must keep its promises.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "quire/base/check.h"
#include "quire/sys/proc_files.h"

namespace quire::sys {
namespace {

void check_maps(std::string_view text) {
  for (const ProcMapping& mapping : parse_maps(text)) {
    QUIRE_CHECK(mapping.start < mapping.end);
    QUIRE_CHECK(mapping.path.size() <= text.size());
    QUIRE_CHECK(!mapping.is_deleted || mapping.inode != 0);
  }
  // A mapping of smaps is a line of maps, and every line is looked at once.
  QUIRE_CHECK_EQ(parse_smaps(text).size(), parse_maps(text).size());
}

void check_mounts(std::string_view text) {
  for (const Mount& mount : parse_mountinfo(text)) {
    QUIRE_CHECK(!mount.type.empty());
    QUIRE_CHECK(mount.options.size() <= text.size());
  }
  for (const CgroupMembership& membership : parse_cgroup(text)) {
    QUIRE_CHECK(membership.path.front() == '/');
  }
}

void check_numbers(std::string_view text) {
  for (const char* name : {"MemTotal", "VmLck", "", "nr_free_pages"}) {
    static_cast<void>(parse_field(text, name));
  }
  static_cast<void>(parse_number(text));
  QUIRE_CHECK(parse_choice(text).size() < text.size() + 1);
  const std::optional<double> percent = parse_pressure(text, "some");
  QUIRE_CHECK(!percent || (*percent >= 0 && *percent <= 100));
  QUIRE_CHECK(parse_zoneinfo(text).size() <= text.size());
}

}  // namespace
}  // namespace quire::sys

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  quire::sys::check_maps(text);
  quire::sys::check_mounts(text);
  quire::sys::check_numbers(text);
  return 0;
}
