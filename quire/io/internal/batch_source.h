// SPDX-License-Identifier: Apache-2.0
//
// BatchSource: one file in the three forms that a BatchReader needs: mapped, buffered, direct.
//
// Invariants:    the mapping shows the file from its start, as long as it was when it was opened.
// Thread-safety: immutable; File is thread-safe.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "quire/base/result.h"
#include "quire/io/batch_reader.h"
#include "quire/io/file.h"

namespace quire::internal {

class BatchSource {
 public:
  static Result<std::unique_ptr<BatchSource>> open(std::string path, const BatchOptions& options);
  ~BatchSource();
  BatchSource(const BatchSource&) = delete;
  BatchSource& operator=(const BatchSource&) = delete;

  // Empty for an empty file.
  [[nodiscard]] std::span<std::byte> mapping() const noexcept { return mapping_; }
  // What mincore() says of the mapping is true.
  [[nodiscard]] bool has_truth() const noexcept { return has_truth_; }
  // For reads that must not wait.
  [[nodiscard]] File& cached() const noexcept { return *buffered_; }
  // For what is not in memory.
  [[nodiscard]] File& deep() const noexcept { return direct_ ? *direct_ : *buffered_; }
  [[nodiscard]] const BatchOptions& options() const noexcept { return options_; }

 private:
  explicit BatchSource(const BatchOptions& options) : options_(options) {}
  Result<void> map_whole();

  const BatchOptions options_;
  std::unique_ptr<File> buffered_;
  std::unique_ptr<File> direct_;  // Null with CacheUse::kKeep.
  std::span<std::byte> mapping_;
  bool has_truth_ = false;
};

}  // namespace quire::internal
