// SPDX-License-Identifier: Apache-2.0
#include "quire/transfer/internal/part_file.h"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <optional>
#include <utility>
#include <vector>

#include "quire/sys/file.h"
#include "quire/sys/metadata.h"

namespace quire::internal {
namespace {

constexpr std::uint32_t kOwnerMayWrite = 0600;  // A part that we could not go on with is no use.
constexpr std::uint32_t kPermissionBits = 0777;

// The offer that a file holds; nothing when it holds anything else.
std::optional<wire::Offer> read_offer(int fd) {
  wire::FrameParser parser;
  std::uint64_t position = 0;
  for (;;) {
    const auto got = sys::read_at(fd, parser.wanted(), position);
    if (!got || *got == 0) {
      return std::nullopt;
    }
    position += *got;
    auto message = parser.advance(*got);
    if (!message) {
      return std::nullopt;
    }
    if (*message) {
      auto* offer = std::get_if<wire::Offer>(&**message);
      return offer == nullptr ? std::nullopt : std::optional(std::move(*offer));
    }
  }
}

// The same file, as far as names, sizes and times can tell; bytes are compared later.
bool is_same_file(const wire::Offer& a, const wire::Offer& b) {
  return a.name == b.name && a.size_bytes == b.size_bytes && a.modified_s == b.modified_s &&
         a.modified_ns == b.modified_ns && a.chunk_bytes == b.chunk_bytes && a.has_checksums &&
         b.has_checksums;
}

std::uint64_t whole_chunks(std::uint64_t size_bytes, const wire::Offer& offer) {
  if (size_bytes == offer.size_bytes) {
    return size_bytes;
  }
  return size_bytes < offer.size_bytes ? size_bytes - size_bytes % offer.chunk_bytes : 0;
}

}  // namespace

Error PartFile::error_of(sys::Errno cause, const char* operation) const {
  return sys::to_error(cause, operation, path_);
}

Result<PartFile> PartFile::open(const sys::Descriptor& directory, const std::string& directory_path,
                                const std::string& name, const wire::Offer& offer) {
  PartFile part(directory, directory_path, name);
  QUIRE_TRY(part.open_part(offer));
  const auto status = sys::file_status(part.fd());
  if (!status) {
    return fail(part.error_of(status.error(), "receive"));
  }
  if (part.belongs_to(offer)) {
    part.usable_bytes_ = whole_chunks(status->size_bytes, offer);
    part.allocated_bytes_ = status->allocated_bytes;
  } else {
    QUIRE_TRY(part.resize(0));
    QUIRE_TRY(part.write_offer(offer));
  }
  return part;
}

Result<void> PartFile::open_part(const wire::Offer& offer) {
  auto opened = sys::open_file_at(*directory_, part_name_.c_str(),
                                  {.write = true,
                                   .create = true,
                                   .no_follow = true,
                                   .mode = (offer.mode & kPermissionBits) | kOwnerMayWrite});
  if (!opened) {
    return fail(error_of(opened.error(), "create"));
  }
  file_ = std::move(*opened);
  if (const auto locked = sys::lock_file(fd()); !locked) {
    return locked.error().value == EWOULDBLOCK
               ? fail(make_error(Errc::kLimit, "receive", path_,
                                 "another receiver is at work on it",
                                 "wait for the other one, or receive into another directory"))
               : fail(error_of(locked.error(), "lock"));
  }
  return check_part();
}

// What we locked is a file of ours, and still what the name stands for: a receiver that finished
// between our open and our lock has renamed it.
Result<void> PartFile::check_part() {
  const auto status = sys::file_status(fd());
  if (!status) {
    return fail(error_of(status.error(), "receive"));
  }
  if (status->kind != sys::FileKind::kRegular || status->link_count > 1) {
    return fail(make_error(Errc::kWrongKind, "receive", path_,
                           status->kind != sys::FileKind::kRegular
                               ? fmt::format("it is {}", sys::describe(status->kind))
                               : "it has a second name",
                           "remove it: the name belongs to parts of received files"));
  }
  const auto named =
      sys::open_file_at(*directory_, part_name_.c_str(), {.no_follow = true, .path_only = true});
  const auto now = named ? sys::file_status(named->get())
                         : sys::Outcome<sys::FileStatus>(tl::unexpect, named.error());
  if (!now || now->inode != status->inode || now->device != status->device) {
    return fail(make_error(Errc::kChanged, "receive", path_,
                           "another receiver has just finished it",
                           "look at what arrived, and send again if need be"));
  }
  return {};
}

bool PartFile::belongs_to(const wire::Offer& offer) const {
  const auto file = sys::open_file_at(*directory_, offer_name_.c_str(), {.no_follow = true});
  if (!file) {
    return false;
  }
  const std::optional<wire::Offer> stored = read_offer(file->get());
  return stored && is_same_file(*stored, offer);
}

Result<void> PartFile::write_offer(const wire::Offer& offer) {
  wire::Offer stored = offer;
  stored.token.clear();
  const std::vector<std::byte> frame = wire::encode(stored);
  const std::string subject = directory_path_ + "/" + offer_name_;
  const auto file = sys::open_file_at(
      *directory_, offer_name_.c_str(),
      {.write = true, .create = true, .truncate = true, .no_follow = true, .mode = kOwnerMayWrite});
  if (!file) {
    return fail(sys::to_error(file.error(), "create", subject));
  }
  if (const auto written = sys::write_at(file->get(), frame, 0); !written) {
    return fail(sys::to_error(written.error(), "write", subject));
  }
  return {};
}

Result<void> PartFile::resize(std::uint64_t size_bytes) {
  const auto resized = sys::truncate_file(fd(), size_bytes);
  return resized ? Result<void>{} : fail(error_of(resized.error(), "resize"));
}

Result<void> PartFile::make_durable(const wire::Offer& offer) {
  const auto status = sys::file_status(fd());
  if (!status) {
    return fail(error_of(status.error(), "receive"));
  }
  // The part was created with the offered mode, so what the umask takes is missing from it.
  const auto moded = sys::set_mode(fd(), status->mode & offer.mode & kPermissionBits);
  if (!moded) {
    return fail(error_of(moded.error(), "set the mode of"));
  }
  const sys::FileTime modified{.seconds = offer.modified_s, .nanoseconds = offer.modified_ns};
  if (const auto timed = sys::set_times(fd(), modified, modified); !timed) {
    return fail(error_of(timed.error(), "set the time of"));
  }
  const auto synced = sys::sync_all(fd());
  return synced ? Result<void>{} : fail(error_of(synced.error(), "fsync"));
}

Result<void> PartFile::commit(sys::RenameOver over) {
  auto renamed = sys::rename_at(*directory_, part_name_.c_str(), name_.c_str(), over);
  if (!renamed && renamed.error().value == EINVAL && over == sys::RenameOver::kRefuse) {
    // A file system that cannot promise it: a second name cannot replace anything either.
    renamed = sys::link_at(*directory_, part_name_.c_str(), *directory_, name_.c_str());
    if (renamed) {
      renamed = sys::unlink_at(*directory_, part_name_.c_str());
    }
  }
  if (!renamed) {
    return fail(sys::to_error(renamed.error(), "rename", directory_path_ + "/" + name_));
  }
  if (const auto synced = sys::sync_all(directory_->get()); !synced) {
    return fail(sys::to_error(synced.error(), "fsync", directory_path_));
  }
  // Left behind it would only be replaced by the next one.
  static_cast<void>(sys::unlink_at(*directory_, offer_name_.c_str()));
  return {};
}

void PartFile::remove() const {
  static_cast<void>(sys::unlink_at(*directory_, offer_name_.c_str()));
  static_cast<void>(sys::unlink_at(*directory_, part_name_.c_str()));
}

}  // namespace quire::internal
