// SPDX-License-Identifier: Apache-2.0
//
// Plain memory that holds the same bytes: no path to a file, but what a path can reach at best.
#include "quire/base/page_window.h"
#include "quire/compare/internal/loops.h"
#include "quire/compare/internal/runner_parts.h"

namespace quire::compare::internal {
namespace {

class MemoryRunner final : public BasicRunner {
 public:
  [[nodiscard]] int fd() const noexcept override { return -1; }
  [[nodiscard]] std::string method() const override { return "memory"; }

 protected:
  Result<void> prepare() override {
    const std::uint64_t length =
        needs_new_file(work().pattern) ? work().bytes_max : work().working_set_bytes;
    pages_ = QUIRE_TRY(Pages::map({.length_bytes = round_up(length, sys::os_page_size()),
                                   .protection = sys::Protection::kReadWrite,
                                   .visibility = sys::Visibility::kPrivate},
                                  "memory"));
    for (std::uint64_t offset = 0; offset < pages_.length_bytes(); offset += kPatternPageBytes) {
      fill_page({at(offset), kPatternPageBytes}, offset / kPatternPageBytes, 0);
    }
    block_ = QUIRE_TRY(make_block(work().block_bytes));
    return {};
  }

  Result<void> run_pattern(Tally& tally) override {
    const std::span<std::byte> block(block_.address(),
                                     static_cast<std::size_t>(work().block_bytes));
    const auto read = [&](std::uint64_t offset, std::size_t length) {
      return std::span<const std::byte>(at(offset), length);
    };
    const auto write = [&](std::uint64_t offset, std::span<const std::byte> bytes) {
      std::memcpy(at(offset), bytes.data(), bytes.size());
      return true;
    };
    run_loop(work(), tally, block, read, write, [&](std::uint64_t offset) {
      sum_and_count_update(tally, at(offset));
      return true;
    });
    return {};
  }

 private:
  [[nodiscard]] std::byte* at(std::uint64_t offset) const noexcept {
    return pages_.address() + offset;
  }

  Pages pages_;
  Pages block_;
};

}  // namespace

std::unique_ptr<PathRunner> make_memory_runner() {
  return std::make_unique<MemoryRunner>();
}

}  // namespace quire::compare::internal
