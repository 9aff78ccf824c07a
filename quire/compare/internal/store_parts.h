// SPDX-License-Identifier: Apache-2.0
//
// store_parts: quire's File as the runners of several paths open it.
//
// Invariants:    the file without a name stays open as long as the File that was opened from it.
// Thread-safety: one thread.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "quire/base/result.h"
#include "quire/compare/path_runner.h"
#include "quire/io/file.h"
#include "quire/sys/descriptor.h"

namespace quire::compare::internal {

class StoreFile {
 public:
  // Policy by path: direct, drop-behind, or kept; durable writes where each operation must be.
  [[nodiscard]] static Result<StoreFile> open(Path path, const Target& target,
                                              const Workload& work);

  [[nodiscard]] File& store() const noexcept { return *file_; }
  // A buffered descriptor of the same file, to read back through.
  [[nodiscard]] int fd() const noexcept { return base_.get(); }
  // "direct: O_DIRECT, ..." as File explains itself.
  [[nodiscard]] std::string method() const { return file_->explain(); }
  // Why it is not what was asked for: a direct path that is none, drop-behind by advice.
  [[nodiscard]] std::optional<std::string> fallback() const;

 private:
  Path path_{};
  sys::Descriptor base_;
  std::unique_ptr<File> file_;
};

}  // namespace quire::compare::internal
