// SPDX-License-Identifier: Apache-2.0
//
// segment_file: the file of a named segment: its directory, whose it is, and the memory behind it.
//
// Thread-safety: any thread.
// Errors:        Result, about the path.
#pragma once

#include <cstdint>
#include <string>

#include "quire/base/result.h"
#include "quire/sys/descriptor.h"

namespace quire::ipc::internal {

enum class OtherUsers : std::uint8_t { kRefused, kAllowed };

// The directory, made (0700) where it is missing. Errors: EACCES when it belongs to somebody else
// or others may write it, unless they are allowed.
[[nodiscard]] Result<sys::Descriptor> open_directory(const std::string& path, OtherUsers others);

struct FileRequest {
  const sys::Descriptor* directory = nullptr;
  std::string path;  // For messages.
  std::string name;
  bool create = false;  // When it is missing.
  OtherUsers others = OtherUsers::kRefused;
};
// Opened for reading and writing. Errors: ENOENT; EACCES for one of somebody else, or that others
// may use, unless they are allowed; kWrongKind for a directory, a link, ...
[[nodiscard]] Result<sys::Descriptor> open_segment_file(const FileRequest& request);

// Whether the name is (still) that file's.
[[nodiscard]] bool is_named(const sys::Descriptor& directory, const std::string& name,
                            int fd) noexcept;

// Makes it at least `size_bytes` long, with memory behind all of it. What cannot be had is not even
// asked for. Errors: kLimit, ENOSPC: with the limit and what would help.
[[nodiscard]] Result<void> secure_space(int fd, std::uint64_t size_bytes, const std::string& path);

}  // namespace quire::ipc::internal
