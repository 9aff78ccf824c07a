// SPDX-License-Identifier: Apache-2.0
//
// TemporaryFile: a file on its way to a name, which it gets whole or not at all.
//
//   create() --> nameless, or .NAME.quire-XXXXXXXX --> commit(): the name
//                        |
//                  destructor without commit(): gone
//
// A nameless file (O_TMPFILE) is gone with the process, however that ends. To replace an existing
// file it gets the dotted name first, for the moment before the rename.
//
// Thread-safety: one thread.
// Errors:        the errno of open, link and rename; EEXIST with RenameOver::kRefuse.
#pragma once

#include <string>

#include "quire/base/result.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/names.h"

namespace quire::internal {

class TemporaryFile {
 public:
  // In `directory`, which outlives it; `shown_path` is what errors call the file. Mode 0600.
  [[nodiscard]] static Result<TemporaryFile> create(const sys::Descriptor& directory,
                                                    const std::string& name,
                                                    const std::string& shown_path);
  TemporaryFile(TemporaryFile&& other) noexcept;
  TemporaryFile& operator=(TemporaryFile&&) = delete;
  ~TemporaryFile();

  [[nodiscard]] int fd() const noexcept { return file_.get(); }
  // REQUIRES: called once.
  Result<void> commit(sys::RenameOver over);

 private:
  TemporaryFile(const sys::Descriptor& directory, std::string name, std::string shown_path)
      : directory_(&directory), name_(std::move(name)), shown_path_(std::move(shown_path)) {}

  Result<void> give_dotted_name();
  Result<void> open_dotted();

  const sys::Descriptor* directory_;
  std::string name_;
  std::string shown_path_;
  std::string dotted_name_;  // While it has one.
  sys::Descriptor file_;
};

// A name for something temporary beside `name`: hidden, unlike any other, no longer than allowed.
[[nodiscard]] std::string dotted_name_for(const std::string& name);
// How often another such name is tried when one is taken.
inline constexpr int kDottedNamesMax = 100;

}  // namespace quire::internal
