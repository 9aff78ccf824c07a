// SPDX-License-Identifier: Apache-2.0
#include "quire/journal/internal/transfers.h"

namespace quire::internal {
namespace {

// Few threads, where the kernel forbids rings.
constexpr IoQueueOptions kQueue{.depth = Transfers::kUnderWayMax, .thread_count = 4};

void do_at_once(IoRequest& request) {
  if (request.operation == IoOperation::kRead) {
    const Result<std::uint64_t> read = request.store->read(request.offset_bytes, request.memory);
    request.done_bytes = read.value_or(0);
    request.error = read ? std::error_code() : read.error().code();
  } else {
    const Result<void> written = request.store->write(request.offset_bytes, request.memory);
    request.done_bytes = written ? request.memory.size() : 0;
    request.error = written ? std::error_code() : written.error().code();
  }
  request.on_done(request);
}

}  // namespace

void Transfers::begin(IoRequest& request) {
  if (queue_ == nullptr && request.store->kernel_target() != nullptr) {
    // Without one, each by itself is slower, and nothing else.
    queue_ = IoQueue::make(kQueue).value_or(nullptr);
  }
  if (queue_ == nullptr || request.store->kernel_target() == nullptr) {
    do_at_once(request);
  } else {
    queue_->submit(request);
  }
}

Result<std::byte*> Transfers::take_block() {
  if (!memory_) {
    memory_ = QUIRE_TRY(ImageArena::make(kBlocks * kBlockBytes));
    for (std::size_t i = 0; i < kBlocks; ++i) {
      give_block(memory_->begin() + i * kBlockBytes);
    }
  }
  while (free_blocks_.empty()) {
    wait();
  }
  std::byte* const block = free_blocks_.back();
  free_blocks_.pop_back();
  return block;
}

void Transfers::drain() {
  if (queue_ != nullptr) {
    queue_->drain();
  }
}

}  // namespace quire::internal
