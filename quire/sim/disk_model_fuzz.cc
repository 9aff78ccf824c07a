// SPDX-License-Identifier: Apache-2.0
//
// Any text for the model parser: a model that a disk can be made of and that survives being written
// and read again, or an Error that says something.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "quire/base/check.h"
#include "quire/sim/disk_model.h"
#include "quire/sim/sim_disk.h"

namespace quire::sim {
namespace {

// A write, a flush and a read of the last sector: the farthest that a disk goes.
void use_disk(const DiskModel& model) {
  SimDisk disk(model);
  const std::uint64_t last = (model.capacity_bytes / model.sector_bytes - 1) * model.sector_bytes;
  const ByteRange range{.offset_bytes = last, .length_bytes = model.sector_bytes};
  disk.submit({.operation = DiskOperation::kWrite, .range = range}, SimTime{0});
  disk.submit({.operation = DiskOperation::kFlush, .range = {0, 0}}, SimTime{0});
  disk.submit({.operation = DiskOperation::kRead, .range = range}, SimTime{0});
  int completed = 0;
  while (disk.next_completion()) {
    ++completed;
    disk.check_invariants();
  }
  QUIRE_CHECK_EQ(completed, 3);
}

}  // namespace
}  // namespace quire::sim

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto model =
      quire::sim::parse_disk_model(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!model) {
    QUIRE_CHECK(!model.error().message().empty());
    return 0;
  }
  const auto again = quire::sim::parse_disk_model(quire::sim::to_text(*model));
  QUIRE_CHECK(again.has_value() && *again == *model);
  quire::sim::use_disk(*model);
  return 0;
}
