// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/directory.h"

#include <dirent.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "quire/sys/call.h"
#include "quire/sys/file.h"

namespace quire::sys {
namespace {

// The kernel's linux_dirent64: inode, offset, record length, type, then the name.
constexpr std::size_t kInodeAt = 0;
constexpr std::size_t kRecordLengthAt = 16;
constexpr std::size_t kTypeAt = 18;
constexpr std::size_t kNameAt = 19;

FileKind kind_of(unsigned char type) noexcept {
  switch (type) {
    case DT_REG: return FileKind::kRegular;
    case DT_DIR: return FileKind::kDirectory;
    case DT_BLK: return FileKind::kBlockDevice;
    case DT_CHR: return FileKind::kCharacterDevice;
    case DT_FIFO: return FileKind::kPipe;
    case DT_SOCK: return FileKind::kSocket;
    case DT_LNK: return FileKind::kSymlink;
    default: return FileKind::kOther;
  }
}

bool is_dot_or_dot_dot(const char* name) noexcept {
  return std::strcmp(name, ".") == 0 || std::strcmp(name, "..") == 0;
}

}  // namespace

DirectoryReader::DirectoryReader(Descriptor directory)
    : directory_(std::move(directory)), buffer_(std::make_unique<Buffer>()) {}

Outcome<bool> DirectoryReader::refill() noexcept {
  for (;;) {
    const CallSite site = CallSite::enter(Call::kDirectory);
    if (site.error != 0 && site.error != EINTR) {
      return refuse(site.error);
    }
    const long filled = site.error == EINTR ? -1
                                            : ::syscall(SYS_getdents64, directory_.get(),
                                                        buffer_->bytes.data(), kBufferBytes);
    if (filled >= 0) {
      filled_bytes_ = static_cast<std::size_t>(filled);
      position_bytes_ = 0;
      return filled > 0;
    }
    if (site.error != EINTR && errno != EINTR) {
      return refuse_with_errno();
    }
  }
}

Outcome<std::optional<DirectoryEntry>> DirectoryReader::next() noexcept {
  for (;;) {
    if (position_bytes_ == filled_bytes_) {
      const Outcome<bool> more = refill();
      if (!more) {
        return tl::unexpected<Errno>(more.error());
      }
      if (!*more) {
        return std::nullopt;
      }
    }
    const std::byte* record = buffer_->bytes.data() + position_bytes_;
    std::uint16_t record_bytes = 0;
    std::memcpy(&record_bytes, record + kRecordLengthAt, sizeof record_bytes);
    position_bytes_ += record_bytes;
    const char* name = reinterpret_cast<const char*>(record + kNameAt);
    if (is_dot_or_dot_dot(name)) {
      continue;
    }
    DirectoryEntry entry{.name = name};
    std::memcpy(&entry.inode, record + kInodeAt, sizeof entry.inode);
    const auto type = static_cast<unsigned char>(record[kTypeAt]);
    entry.kind = kind_of(type);
    entry.is_kind_known = type != DT_UNKNOWN;
    return entry;
  }
}

Result<void> sync_parent_directory(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  const std::string directory = parent.empty() ? "." : parent;
  const Outcome<Descriptor> opened = open_file(directory.c_str(), {.directory = true});
  if (!opened) {
    return fail(to_error(opened.error(), "open", directory));
  }
  const Outcome<void> synced = sync_all(opened->get());
  return synced ? Result<void>{} : fail(to_error(synced.error(), "fsync", directory));
}

}  // namespace quire::sys
