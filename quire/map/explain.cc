// SPDX-License-Identifier: Apache-2.0
//
// Mapping::explain(): what was chosen, and why, in a sentence.
#include <fmt/format.h>

#include <string>

#include "quire/map/mapping.h"
#include "quire/sys/huge_pages.h"
#include "quire/sys/journal_mark.h"

namespace quire {
namespace {

const char* how(Origin origin, Sharing sharing, bool is_writable) noexcept {
  switch (origin) {
    case Origin::kAnonymous: return "private memory";
    case Origin::kMemfd: return "shared memory (memfd)";
    case Origin::kCopy: return "read into memory: it has no size, or cannot be mapped";
    case Origin::kFile: break;
  }
  if (sharing == Sharing::kPrivate) {
    return is_writable ? "kernel mapping, private: stores are copied and never reach the file"
                       : "kernel mapping, private, read-only";
  }
  return is_writable ? "kernel mapping, shared: stores reach the file"
                     : "kernel mapping, shared, read-only";
}

}  // namespace

std::string Mapping::explain() const {
  if (!state_.is_open) {
    return "empty: never mapped, moved from, or closed";
  }
  std::string text = how(state_.origin, state_.sharing, state_.is_writable);
  text += fmt::format("; {} of {}", human_bytes(state_.size_bytes), state_.path);
  if (state_.offset_bytes > 0) {
    text += fmt::format(" from offset {}", state_.offset_bytes);
  }
  if (reserved_bytes() > state_.size_bytes + sys::os_page_size().bytes()) {
    text += fmt::format("; can grow in place to {}", human_bytes(reserved_bytes()));
  }
  if (state_.is_writable && state_.sharing == Sharing::kShared && state_.origin != Origin::kCopy &&
      !state_.is_device) {
    text += state_.space_policy == Space::kSparse
                ? "; sparse: a store into a hole can meet a full disk"
                : "; growth secures its disk space first";
  }
  if (state_.wrote_zeros) {
    text += "; the file system cannot reserve space, so zeros were written";
  }
  if (state_.huge_pages == HugePages::kTransparent) {
    const sys::HugePageUse use =
        state_.origin == Origin::kMemfd ? sys::HugePageUse::kShared : sys::HugePageUse::kAnonymous;
    text += "; transparent huge pages asked for (this machine: " +
            sys::transparent_huge_page_setting(use) + ")";
  } else if (state_.huge_pages == HugePages::kReserved) {
    text += "; pages of the hugetlb pool";
  }
  const bool is_of_file = state_.origin == Origin::kFile || state_.origin == Origin::kCopy;
  if (is_of_file && sys::has_journal_mark(state_.file.get())) {
    text += std::string("; ") + sys::kBehindItsJournal;
  }
  return text;
}

}  // namespace quire
