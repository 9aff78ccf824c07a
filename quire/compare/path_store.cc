// SPDX-License-Identifier: Apache-2.0
//
// quire's File, one request at a time: direct, and buffered with the pages dropped behind.
#include "quire/compare/internal/loops.h"
#include "quire/compare/internal/runner_parts.h"
#include "quire/compare/internal/store_parts.h"
#include "quire/io/buffer_pool.h"
#include "quire/io/file.h"

namespace quire::compare::internal {
namespace {

class StoreRunner final : public BasicRunner {
 public:
  explicit StoreRunner(Path path) noexcept : path_(path) {}

  [[nodiscard]] int fd() const noexcept override { return file_.fd(); }
  [[nodiscard]] std::string method() const override { return file_.method(); }
  [[nodiscard]] std::optional<std::string> fallback() const override { return file_.fallback(); }

  Result<void> check_written(const Tally& tally) override {
    return check_sample_of(work(), tally, target().name(), fd());
  }

 protected:
  Result<void> prepare() override {
    file_ = QUIRE_TRY(StoreFile::open(path_, target(), work()));
    pool_ = QUIRE_TRY(BufferPool::make({.buffer_bytes = work().block_bytes, .buffer_count = 1}));
    buffer_ = pool_->take();
    return {};
  }

  Result<void> run_pattern(Tally& tally) override {
    const std::uint64_t calls_before = file_.store().stats().system_calls;
    run_block_loop(
        work(), tally, buffer_.bytes(),
        [&](std::uint64_t offset, std::span<std::byte> into) { return read_one(offset, into); },
        [&](std::uint64_t offset, std::span<const std::byte> bytes) {
          return write_one(offset, bytes);
        });
    if (work().durability == DurabilityChoice::kAtEnd) {
      QUIRE_TRY(file_.store().sync(Durability::kData));
    }
    tally.system_calls += file_.store().stats().system_calls - calls_before;
    return {};
  }

 private:
  std::span<const std::byte> read_one(std::uint64_t offset, std::span<std::byte> into) {
    const auto count = file_.store().read(offset, into);
    if (!count) [[unlikely]] {
      return no_bytes(count.error());
    }
    return *count == into.size() ? into : no_bytes(truncated_at(offset));
  }

  bool write_one(std::uint64_t offset, std::span<const std::byte> bytes) {
    const auto written = file_.store().write(offset, bytes);
    return written ? true : not_done(written.error());
  }

  const Path path_;
  StoreFile file_;
  std::unique_ptr<BufferPool> pool_;
  BufferPool::Buffer buffer_;
};

}  // namespace

std::unique_ptr<PathRunner> make_store_runner(Path path) {
  return std::make_unique<StoreRunner>(path);
}

}  // namespace quire::compare::internal
