// SPDX-License-Identifier: Apache-2.0
//
// ipc_fixture DIRECTORY NAME MESSAGES: attaches to a segment with a ring and a lock, writes so many
// messages, says so, and stays until it is killed. A second one only attaches.
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "quire/ipc/mutex.h"
#include "quire/ipc/segment.h"
#include "quire/ipc/spsc_ring.h"

int main(int argc, char** argv) {
  using Ring = quire::ipc::SpscRing<std::uint64_t>;
  if (argc != 4) {
    return 2;
  }
  quire::ipc::Layout layout;
  layout.add(Ring::object("ticks", {.capacity = 64}));
  layout.add(quire::ipc::Mutex::object("lock"));
  const auto segment = quire::ipc::Segment::open(argv[2], layout, {.directory = argv[1]}).value();
  auto writer = Ring::writer(segment, "ticks");
  for (long left = std::strtol(argv[3], nullptr, 10); left > 0; --left) {
    writer.value().push(static_cast<std::uint64_t>(left)).value();
  }
  std::puts("attached");
  std::fflush(stdout);
  return ::pause();
}
