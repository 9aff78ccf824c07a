// SPDX-License-Identifier: Apache-2.0
//
// preserve: what a file has besides its bytes, from one to another.
//
//   owner, then attributes, then mode, then times: each step may undo what a later one sets
//   (a change of owner clears capabilities and the set-user bit; everything changes times)
//
// Owner and group are kept by root alone; for everybody else the copy is theirs, and loses the bits
// that would run it as somebody else (set-user, set-group).
//
// Thread-safety: any thread.
// Errors:        of what must work: mode and times. What may not is a remark.
#pragma once

#include <string>
#include <vector>

#include "quire/base/result.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/metadata.h"

namespace quire::internal {

// Both open; for regular files and directories. `shown_path` is what errors call the target.
Result<void> preserve_metadata(int source, int target, const std::string& shown_path,
                               std::vector<std::string>& remarks);

// Of a symbolic link: owner and times; it has no mode.
void preserve_link_metadata(const sys::Descriptor& source_directory, const char* source_name,
                            const sys::Descriptor& target_directory, const char* target_name,
                            std::vector<std::string>& remarks);

}  // namespace quire::internal
