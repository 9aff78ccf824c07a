// SPDX-License-Identifier: Apache-2.0
//
// file_holders: which processes map a file, and how much of it is in their page tables.
//
// /proc/<pid>/maps of every process is looked through by device and inode (by path where a file
// system shows other device numbers there); only a process that maps the file has its smaps read.
//
// Thread-safety: any thread; plain values.
// Cost:          one small file per process of the machine; smaps walks the page tables of a
//                holder.
#pragma once

#include <cstdint>
#include <vector>

#include "quire/map/eviction.h"
#include "quire/map/internal/cached_file.h"
#include "quire/sys/proc_files.h"

namespace quire::internal {

struct FileHolder {
  Holder process;
  std::uint64_t mapped_bytes = 0;  // Present in mappings that are not locked.
  std::uint64_t locked_bytes = 0;  // Present in mlocked ones.
};

struct HolderScan {
  std::vector<FileHolder> holders;     // By pid.
  std::uint64_t processes_hidden = 0;  // Not ours to look into.
};

[[nodiscard]] HolderScan find_holders(const CachedFile& file, ByteRange range);

// Whether a mapping shows this file. `path` is what the kernel calls the descriptor.
[[nodiscard]] bool shows_file(const sys::ProcMapping& mapping, const sys::FileStatus& status,
                              const std::string& path);

}  // namespace quire::internal
