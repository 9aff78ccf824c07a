// SPDX-License-Identifier: Apache-2.0
//
// parallel_checksum: the sum of a file's bytes, read past the page cache by a few coroutines.
//
//   parallel_checksum [FILE]
//
// Each coroutine looks like a loop of blocking reads; the queue keeps one request of each under
// way, so the device always has eight. The memory is eight buffers, whatever the file's size.
#include <cstdio>
#include <memory>
#include <vector>

#include "quire/quire.h"

namespace {

constexpr std::uint64_t kBlockBytes = 256 * 1024;
constexpr std::uint32_t kTasks = 8;

quire::IoTask sum_stripe(quire::IoQueue& queue, quire::File& file, std::span<std::byte> buffer,
                         std::uint64_t first_block, std::uint64_t& sum) {
  for (std::uint64_t block = first_block;; block += kTasks) {
    const quire::Result<std::uint64_t> bytes =
        co_await queue.read(file, block * kBlockBytes, buffer);
    if (!bytes) {
      co_return quire::fail(bytes.error());
    }
    for (const std::byte byte : buffer.first(*bytes)) {
      sum += static_cast<std::uint64_t>(byte);
    }
    if (*bytes < buffer.size()) {
      co_return quire::Result<void>();
    }
  }
}

quire::Result<std::uint64_t> checksum(const char* path) {
  const auto file = QUIRE_TRY(quire::open_file(path, {.cache = quire::CacheUse::kBypass}));
  const auto pool =
      QUIRE_TRY(quire::BufferPool::make({.buffer_bytes = kBlockBytes, .buffer_count = kTasks}));
  const auto queue = QUIRE_TRY(quire::IoQueue::make({.depth = kTasks, .registered = pool.get()}));
  std::printf("%s\n%s\n", file->explain().c_str(), queue->explain().c_str());

  std::uint64_t sum = 0;
  std::vector<quire::BufferPool::Buffer> buffers;
  std::vector<quire::IoTask> tasks;
  for (std::uint32_t i = 0; i < kTasks; ++i) {
    buffers.push_back(pool->take());
    tasks.push_back(sum_stripe(*queue, *file, buffers.back().bytes(), i, sum));
  }
  quire::Result<void> outcome;
  for (quire::IoTask& task : tasks) {  // All of them end, also when one fails.
    const quire::Result<void> done = task.wait(*queue);
    outcome = outcome ? done : outcome;
  }
  QUIRE_TRY(outcome);
  return sum;
}

}  // namespace

int main(int argc, char** argv) {
  const quire::Result<std::uint64_t> sum = checksum(argc > 1 ? argv[1] : argv[0]);
  if (!sum) {
    std::fprintf(stderr, "parallel_checksum: %s\n", sum.error().message().c_str());
    return 1;
  }
  std::printf("%llu\n", static_cast<unsigned long long>(*sum));
  return 0;
}
