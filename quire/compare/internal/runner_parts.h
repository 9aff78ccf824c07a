// SPDX-License-Identifier: Apache-2.0
//
// runner_parts: what the runners share: errors, opening, memory, and looking at what was written.
//
// Thread-safety: one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "quire/base/result.h"
#include "quire/compare/path_runner.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/memory.h"

namespace quire::compare::internal {

// A runner with its target, its work, and the error that ended its loop.
class BasicRunner : public PathRunner {
 public:
  Result<void> open(const Target& target, const Workload& work) final {
    target_ = &target;
    work_ = &work;
    return prepare();
  }
  Result<void> run(Tally& tally) final {
    QUIRE_TRY(run_pattern(tally));
    if (error_) {
      return fail(*error_);
    }
    return {};
  }

 protected:
  virtual Result<void> prepare() = 0;
  // Errors of single operations go to set_error().
  virtual Result<void> run_pattern(Tally& tally) = 0;

  [[nodiscard]] const Target& target() const noexcept { return *target_; }
  [[nodiscard]] const Workload& work() const noexcept { return *work_; }
  // For the way out of a loop: keeps the error and gives what ends the loop.
  std::span<const std::byte> no_bytes(Error error) {
    error_ = std::move(error);
    return {};
  }
  bool not_done(Error error) {
    error_ = std::move(error);
    return false;
  }
  [[nodiscard]] Error error_at(sys::Errno cause, const char* call,
                               std::uint64_t offset_bytes) const;
  [[nodiscard]] Error truncated_at(std::uint64_t offset_bytes) const;

 private:
  const Target* target_ = nullptr;
  const Workload* work_ = nullptr;
  std::optional<Error> error_;
};

// Whether the pattern works on a file of its own, beside the target.
[[nodiscard]] bool needs_new_file(Pattern pattern) noexcept;

// The target again with read-ahead of its own; writable for updates.
[[nodiscard]] Result<sys::Descriptor> reopen(const Target& target, Pattern pattern);
// What the pattern works on: reopen(), or a new file of `new_file_bytes`.
[[nodiscard]] Result<sys::Descriptor> open_for(const Target& target, const Workload& work,
                                               std::uint64_t new_file_bytes);

// Pages of a mapping, unmapped at the end.
class Pages {
 public:
  Pages() = default;
  [[nodiscard]] static Result<Pages> map(const sys::MapRequest& request, const std::string& name);
  Pages(Pages&& other) noexcept
      : address_(std::exchange(other.address_, nullptr)),
        length_bytes_(std::exchange(other.length_bytes_, 0)) {}
  Pages& operator=(Pages&& other) noexcept {
    std::swap(address_, other.address_);
    std::swap(length_bytes_, other.length_bytes_);
    return *this;
  }
  ~Pages();

  [[nodiscard]] std::byte* address() const noexcept { return address_; }
  [[nodiscard]] std::uint64_t length_bytes() const noexcept { return length_bytes_; }

 private:
  std::byte* address_ = nullptr;
  std::uint64_t length_bytes_ = 0;
};

// One block of random bytes to write from, page-aligned as the largest alignment asks for.
[[nodiscard]] Result<Pages> make_block(std::uint64_t block_bytes);

// Compares a sample of what the pattern wrote with what it must have written.
using ReadBack = std::function<Result<void>(std::uint64_t offset_bytes, std::span<std::byte> into)>;
[[nodiscard]] Result<void> check_sample_of(const Workload& work, const Tally& tally,
                                           const std::string& name, const ReadBack& read_back);
[[nodiscard]] Result<void> check_sample_of(const Workload& work, const Tally& tally,
                                           const std::string& name, int fd);

// One maker per source file; path_runner.cc chooses.
[[nodiscard]] std::unique_ptr<PathRunner> make_read_write_runner();
[[nodiscard]] std::unique_ptr<PathRunner> make_map_runner(Path path);
[[nodiscard]] std::unique_ptr<PathRunner> make_store_runner(Path path);
[[nodiscard]] std::unique_ptr<PathRunner> make_queue_runner(Path path);
[[nodiscard]] std::unique_ptr<PathRunner> make_record_runner();
[[nodiscard]] std::unique_ptr<PathRunner> make_paged_runner(Path path);
[[nodiscard]] std::unique_ptr<PathRunner> make_memory_runner();

}  // namespace quire::compare::internal
