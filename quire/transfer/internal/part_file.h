// SPDX-License-Identifier: Apache-2.0
//
// part_file: a file on its way into a directory, and what is needed to go on with it later.
//
//   NAME.quire-part    its bytes so far, in order, locked while somebody receives
//   NAME.quire-offer   the frame of the offer they belong to, without its token
//
//   open() --> resize / bytes written by others ... --> make_durable() --> commit(): NAME
//                    |
//              destructor: both stay, to be gone on with
//
// How much is usable is the size of the part, in whole chunks: nothing is written down while it
// grows, so nothing can disagree with it. Whether these bytes are right, a checksum decides.
//
// Safety:        symbolic links are not followed; a part with a second name is somebody else's.
// Thread-safety: one thread at a time.
// Errors:        the errno of open, write, fsync, rename; kLimit when another receiver has it;
//                kWrongKind when something else has its name; EEXIST from commit().
#pragma once

#include <cstdint>
#include <string>

#include "quire/base/result.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/names.h"
#include "quire/transfer/wire.h"

namespace quire::internal {

class PartFile {
 public:
  // REQUIRES: find_flaw_in_name(name) is "". `directory` outlives the object; its path is for
  // errors.
  [[nodiscard]] static Result<PartFile> open(const sys::Descriptor& directory,
                                             const std::string& directory_path,
                                             const std::string& name, const wire::Offer& offer);

  [[nodiscard]] int fd() const noexcept { return file_.get(); }
  // Of the part: for errors.
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  // What is there and belongs to this offer: whole chunks, or all.
  [[nodiscard]] std::uint64_t usable_bytes() const noexcept { return usable_bytes_; }
  // Disk space that it holds already.
  [[nodiscard]] std::uint64_t allocated_bytes() const noexcept { return allocated_bytes_; }

  // Shorter, or longer by a hole.
  Result<void> resize(std::uint64_t size_bytes);

  // Mode, times, bytes: durable. Blocks as long as the disk.
  Result<void> make_durable(const wire::Offer& offer);
  // Under its name, durably. REQUIRES: make_durable() came before.
  Result<void> commit(sys::RenameOver over);
  // Nothing of it is worth keeping.
  void remove() const;

 private:
  PartFile(const sys::Descriptor& directory, const std::string& directory_path, std::string name)
      : directory_(&directory),
        name_(std::move(name)),
        part_name_(name_ + std::string(wire::kPartSuffix)),
        offer_name_(name_ + std::string(wire::kOfferSuffix)),
        directory_path_(directory_path),
        path_(directory_path + "/" + part_name_) {}

  Result<void> open_part(const wire::Offer& offer);
  Result<void> check_part();
  [[nodiscard]] bool belongs_to(const wire::Offer& offer) const;
  Result<void> write_offer(const wire::Offer& offer);
  [[nodiscard]] Error error_of(sys::Errno cause, const char* operation) const;

  const sys::Descriptor* directory_;
  std::string name_;
  std::string part_name_;
  std::string offer_name_;
  std::string directory_path_;
  std::string path_;
  sys::Descriptor file_;
  std::uint64_t usable_bytes_ = 0;
  std::uint64_t allocated_bytes_ = 0;
};

}  // namespace quire::internal
