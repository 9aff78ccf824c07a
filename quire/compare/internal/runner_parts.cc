// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/internal/runner_parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "quire/base/page_window.h"
#include "quire/base/prng.h"
#include "quire/compare/internal/loops.h"
#include "quire/sys/file.h"

namespace quire::compare::internal {
namespace {

constexpr const char* kMeasure = "measure";
// Operations whose result is looked at after a round that wrote.
constexpr std::uint64_t kSamplesMax = 16;

struct Expected {
  std::uint64_t offset_bytes = 0;
  std::uint64_t stamp = 0;
  bool is_updated = false;
};

Expected expected_at(const Workload& work, std::uint64_t operation) {
  if (work.pattern == Pattern::kRandomUpdate) {
    const std::uint64_t offset = drawn_offset(work, operation);
    return {.offset_bytes = offset, .stamp = offset / kPatternPageBytes, .is_updated = true};
  }
  const std::uint64_t offset = operation * work.block_bytes;
  return {.offset_bytes = offset,
          .stamp = work.pattern == Pattern::kAppend ? operation : offset / kPatternPageBytes};
}

}  // namespace

Error BasicRunner::error_at(sys::Errno cause, const char* call, std::uint64_t offset_bytes) const {
  return sys::to_error(cause, call, fmt::format("{}, offset {}", target_->name(), offset_bytes));
}

Error BasicRunner::truncated_at(std::uint64_t offset_bytes) const {
  return make_error(Errc::kTruncated, kMeasure, target_->name(),
                    fmt::format("it ends before offset {}", offset_bytes + work_->block_bytes));
}

bool needs_new_file(Pattern pattern) noexcept {
  return pattern == Pattern::kSequentialWrite || pattern == Pattern::kAppend;
}

Result<sys::Descriptor> reopen(const Target& target, Pattern pattern) {
  auto file = sys::open_file(target.path_to_reopen().c_str(), {.write = is_write(pattern)});
  if (!file) {
    return fail(to_error(file.error(), "open", target.name()));
  }
  return std::move(*file);
}

Result<sys::Descriptor> open_for(const Target& target, const Workload& work,
                                 std::uint64_t new_file_bytes) {
  return needs_new_file(work.pattern) ? target.make_beside(new_file_bytes)
                                      : reopen(target, work.pattern);
}

Result<Pages> Pages::map(const sys::MapRequest& request, const std::string& name) {
  const auto address = sys::map_pages(request);
  if (!address) {
    return fail(to_error(address.error(), "map", name));
  }
  Pages pages;
  pages.address_ = *address;
  pages.length_bytes_ = request.length_bytes;
  return pages;
}

Pages::~Pages() {
  if (address_ != nullptr) {
    static_cast<void>(sys::unmap_pages(address_, length_bytes_));
  }
}

Result<Pages> make_block(std::uint64_t block_bytes) {
  Pages block = QUIRE_TRY(Pages::map({.length_bytes = round_up(block_bytes, sys::os_page_size()),
                                      .protection = sys::Protection::kReadWrite,
                                      .visibility = sys::Visibility::kPrivate},
                                     "memory"));
  Prng prng(block_bytes);
  for (std::uint64_t at = 0; at < block.length_bytes(); at += sizeof(std::uint64_t)) {
    const std::uint64_t word = prng();
    std::memcpy(block.address() + at, &word, sizeof word);
  }
  return block;
}

Result<void> check_sample_of(const Workload& work, const Tally& tally, const std::string& name,
                             const ReadBack& read_back) {
  const std::uint64_t count =
      work.block_bytes < kStampBytes ? 0 : std::min(tally.operations, kSamplesMax);
  for (std::uint64_t i = 0; i < count; ++i) {
    const Expected expected =
        expected_at(work, i * (tally.operations - 1) / std::max(count - 1, std::uint64_t{1}));
    std::array<std::byte, 2 * sizeof(std::uint64_t)> head{};
    QUIRE_TRY(read_back(expected.offset_bytes, head));
    const bool is_counted = stamp_of(head.data() + sizeof(std::uint64_t)) > 0;
    if (stamp_of(head.data()) != expected.stamp || (expected.is_updated && !is_counted)) {
      return fail(make_error(
          Errc::kCorrupt, kMeasure, name,
          fmt::format("what was written at offset {} is not there", expected.offset_bytes)));
    }
  }
  return {};
}

Result<void> check_sample_of(const Workload& work, const Tally& tally, const std::string& name,
                             int fd) {
  return check_sample_of(work, tally, name,
                         [&](std::uint64_t offset, std::span<std::byte> into) -> Result<void> {
                           const auto count = sys::read_at(fd, into, offset);
                           if (!count) {
                             return fail(to_error(count.error(), "read back", name));
                           }
                           return {};
                         });
}

}  // namespace quire::compare::internal
