// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/outcome.h"

#include <cerrno>

namespace quire::sys {
namespace {

// What usually helps. A caller who knows better passes its own remedy.
const char* usual_remedy(int value) noexcept {
  switch (value) {
    case ENOENT: return "check the path";
    case EACCES: return "check the permissions of the file and of the directories above it";
    case EMFILE: return "close files, or raise the limit of open files (ulimit -n)";
    case ENFILE: return "the whole system is out of open files (/proc/sys/fs/file-max)";
    case ENOSPC: return "free some space on that file system";
    case EDQUOT: return "the disk quota is used up";
    case ELOOP: return "a symbolic link points back at itself";
    case ENOMEM:
      return "out of memory, address space or mappings (ulimit -v, vm.max_map_count, cgroup)";
    case EROFS: return "the file system is mounted read-only";
    case ETXTBSY: return "the file is a program that is running";
    case EIO: return "the device reported an error; see the kernel log (dmesg)";
    case ESTALE: return "the file server no longer knows this file; open it again";
    default: return "";
  }
}

}  // namespace

tl::unexpected<Errno> refuse_with_errno() noexcept {
  return refuse(errno);
}

Error to_error(Errno cause, std::string operation, std::string subject, std::string remedy) {
  return Error({.code = std::error_code(cause.value, std::system_category()),
                .operation = std::move(operation),
                .subject = std::move(subject),
                .remedy = remedy.empty() ? usual_remedy(cause.value) : std::move(remedy)});
}

}  // namespace quire::sys
