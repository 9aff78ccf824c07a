// SPDX-License-Identifier: Apache-2.0
#include "quire/pager/internal/store_reader.h"

#include <algorithm>

#include "quire/io/io_queue.h"
#include "quire/pager/internal/area_state.h"
#include "quire/sys/vector_io.h"

namespace quire::internal {
namespace {

std::error_code read_by_kernel(Store& store, const KernelTarget& target, IoRequest& request) {
  while (request.done_bytes < request.memory.size()) {
    const std::span<std::byte> rest = request.memory.subspan(request.done_bytes);
    const sys::Outcome<std::uint64_t> moved = sys::read_vector_some_at(
        target.fd, {&rest, 1}, request.offset_bytes + request.done_bytes, target.read_flags);
    if (!moved) {
      request.error = {moved.error().value, std::system_category()};
      break;
    }
    request.done_bytes += *moved;
    // A direct read ends inside a block only where the file does.
    if (*moved == 0 || request.done_bytes % target.read_alignment_bytes != 0) {
      break;
    }
  }
  store.on_kernel_completion(request);
  return request.error;
}

}  // namespace

std::error_code read_store(AreaState& area, std::uint64_t offset_bytes, std::span<std::byte> into,
                           std::uint64_t& got_bytes) noexcept {
  Store& store = *area.store;
  area.counters.reads.add();
  IoRequest request{.store = &store, .offset_bytes = offset_bytes, .memory = into};
  const KernelTarget* target = store.kernel_target();
  got_bytes = 0;
  if (target != nullptr && area.granule.bytes() % target->read_alignment_bytes == 0 &&
      store.may_kernel_do(request)) {
    const std::error_code cause = read_by_kernel(store, *target, request);
    got_bytes = request.done_bytes;
    area.counters.read_bytes.add(got_bytes);
    return cause;
  }
  const Result<std::uint64_t> read = store.read(offset_bytes, into);
  if (!read) {
    return read.error().code();
  }
  got_bytes = *read;
  area.counters.read_bytes.add(got_bytes);
  return {};
}

}  // namespace quire::internal
