// SPDX-License-Identifier: Apache-2.0
#include "quire/transfer/internal/source_cache.h"

#include <algorithm>

#include "quire/base/page_window.h"
#include "quire/sys/file.h"

namespace quire::internal {
namespace {

// Less than this is one read-ahead anyway.
constexpr std::uint64_t kAdviseBytesMin = 256_KiB;

}  // namespace

SourceCacheCare::SourceCacheCare(Job& job) : job_(job) {
  const SourceEnd& source = job.source();
  if (source.is_placed() && source.is_sized) {
    end_bytes_ = source.start_bytes + *source.length_bytes;
    asked_until_ = round_up(source.start_bytes, PageSize(kWindowBytes));
  }
}

SourceCacheCare::~SourceCacheCare() {
  if (is_advised_) {
    job_.count_call();
    static_cast<void>(sys::advise_file(job_.source().fd, kWholeFile, sys::FileAdvice::kNormal));
  }
}

void SourceCacheCare::before_step() {
  if (end_bytes_ < kAdviseBytesMin) {
    return;
  }
  if (!is_advised_) {
    is_advised_ = true;
    job_.count_call();
    static_cast<void>(sys::advise_file(job_.source().fd, kWholeFile, sys::FileAdvice::kSequential));
  }
  if (job_.options().source_cache == SourceCache::kKeep) {
    return;
  }
  const std::uint64_t until_bytes =
      std::min(end_of({job_.source_offset(), kLookAheadBytes}), end_bytes_);
  while (asked_until_ + kWindowBytes <= until_bytes) {
    const ByteRange range{asked_until_, kWindowBytes};
    job_.count_call();
    const auto cached = sys::cache_status(job_.source().fd, range);
    windows_.push_back({.range = range, .was_absent = cached && cached->cached.value == 0});
    asked_until_ += kWindowBytes;
  }
}

void SourceCacheCare::after_step() {
  while (!windows_.empty() && end_of(windows_.front().range) <= job_.source_offset()) {
    if (windows_.front().was_absent) {
      job_.count_call();
      static_cast<void>(
          sys::advise_file(job_.source().fd, windows_.front().range, sys::FileAdvice::kDontNeed));
    }
    windows_.pop_front();
  }
}

}  // namespace quire::internal
