// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/internal/store_parts.h"

#include <fmt/format.h>

#include "quire/compare/internal/runner_parts.h"

namespace quire::compare::internal {
namespace {

CacheUse cache_use_of(Path path) noexcept {
  switch (path) {
    case Path::kDirect:
    case Path::kDirectQueued: return CacheUse::kBypass;
    case Path::kBufferedDropBehind: return CacheUse::kDropBehind;
    default: return CacheUse::kKeep;
  }
}

}  // namespace

Result<StoreFile> StoreFile::open(Path path, const Target& target, const Workload& work) {
  // A log grows as it is written; a file that is written whole can be reserved.
  const std::uint64_t reserved = work.pattern == Pattern::kSequentialWrite ? work.bytes_max : 0;
  StoreFile opened;
  opened.path_ = path;
  opened.base_ = QUIRE_TRY(open_for(target, work, reserved));
  const bool is_each_durable = work.durability == DurabilityChoice::kEachOperation;
  auto file = open_file(
      fmt::format("/proc/self/fd/{}", opened.base_.get()),
      {.writable = is_write(work.pattern),
       .cache = cache_use_of(path),
       .fallback = Fallback::kRefused,
       .write_through = is_each_durable ? WriteThrough::kEachWrite : WriteThrough::kOnSync});
  if (!file) {
    return fail(file.error().about("open", target.name()));
  }
  opened.file_ = std::move(*file);
  return opened;
}

std::optional<std::string> StoreFile::fallback() const {
  if (path_ == Path::kBufferedDropBehind && file_->stats().drop_fallbacks > 0) {
    return "RWF_DONTCACHE was refused (Linux 6.14): pages are dropped by advice";
  }
  return std::nullopt;
}

}  // namespace quire::compare::internal
