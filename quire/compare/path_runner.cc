// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/path_runner.h"

#include "quire/base/check.h"
#include "quire/compare/internal/runner_parts.h"

namespace quire::compare {

std::unique_ptr<PathRunner> make_runner(Path path) {
  switch (path) {
    case Path::kReadWriteSmall:
    case Path::kReadWriteLarge: return internal::make_read_write_runner();
    case Path::kBufferedDropBehind:
    case Path::kDirect: return internal::make_store_runner(path);
    case Path::kBufferedWriter: return internal::make_record_runner();
    case Path::kMapDefault:
    case Path::kMapAdvised:
    case Path::kMapPopulated: return internal::make_map_runner(path);
    case Path::kDirectQueued:
    case Path::kBufferedQueued: return internal::make_queue_runner(path);
    case Path::kPaged:
    case Path::kPagedHandler:
    case Path::kPagedPrefetched: return internal::make_paged_runner(path);
    case Path::kMemory: break;
  }
  QUIRE_CHECK_EQ(path, Path::kMemory);
  return internal::make_memory_runner();
}

}  // namespace quire::compare
