// SPDX-License-Identifier: Apache-2.0
#include "quire/io/internal/batch_source.h"

#include <utility>

#include "quire/base/page_window.h"
#include "quire/sys/file.h"
#include "quire/sys/memory.h"

namespace quire::internal {

Result<std::unique_ptr<BatchSource>> BatchSource::open(std::string path,
                                                       const BatchOptions& options) {
  std::unique_ptr<BatchSource> source(new BatchSource(options));
  // A batch is not a stream: read-ahead would only fetch what nobody asked for.
  source->buffered_ = QUIRE_TRY(open_file(path, {.read_ahead = ReadAhead::kNone}));
  if (options.cache != CacheUse::kKeep) {
    source->direct_ = QUIRE_TRY(open_file(std::move(path), {.cache = options.cache}));
  }
  QUIRE_TRY(source->map_whole());
  source->has_truth_ = sys::residency_is_trustworthy(source->buffered_->fd());
  return source;
}

Result<void> BatchSource::map_whole() {
  const std::uint64_t size_bytes = QUIRE_TRY(buffered_->size_bytes());
  if (size_bytes == 0) {
    return {};
  }
  const sys::Outcome<sys::Address> address =
      sys::map_pages({.length_bytes = size_bytes, .fd = buffered_->fd()});
  if (!address) {
    return fail(sys::to_error(address.error(), "mmap", buffered_->name()));
  }
  mapping_ = {*address, size_bytes};
  // A page that was dropped between question and copy shall cost one page, not a window.
  const std::uint64_t length_bytes = round_up(size_bytes, sys::os_page_size());
  if (const auto done = sys::advise_pages(*address, length_bytes, sys::MemoryAdvice::kRandom);
      !done) {
    return fail(sys::to_error(done.error(), "madvise", buffered_->name()));
  }
  return {};
}

BatchSource::~BatchSource() {
  if (!mapping_.empty()) {
    static_cast<void>(sys::unmap_pages(mapping_.data(), mapping_.size()));
  }
}

}  // namespace quire::internal
