// SPDX-License-Identifier: Apache-2.0
//
// Layout: what a segment holds, as everyone who opens it sees it: the same objects in the same
// order, or the segment is refused.
//
//   0          header, kHeaderBytes
//   4096       slots of participants, 64 bytes each
//              directory of objects, 256 bytes each
//              objects in the order in which they were added, each at its alignment;
//              mirrored data at whole pages
//   size_bytes, a whole number of pages
//
// The places follow from the layout alone, by the same arithmetic for everyone. A participant never
// believes an offset or a length that stands in shared memory; the directory there is for tools
// that have no layout (`quire ipc`), and for telling what differs.
//
// Invariants:    the signature is the XXH3 hash of text(), which names everything that matters to
//                the bytes: byte order, page size, slots, and each object's kind, signature, size,
//                alignment and mirrored bytes.
// Thread-safety: one thread at a time while it is added to.
// Errors:        add() remembers the first mistake; check(), and whoever opens, reports it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "quire/base/result.h"
#include "quire/ipc/object.h"
#include "quire/ipc/participants.h"

namespace quire::ipc {

// Of the directory; chosen so that it stays below 256 KiB.
inline constexpr std::size_t kObjectsMax = 1000;
// Far beyond any memory; keeps every sum of offsets from overflowing.
inline constexpr std::uint64_t kSegmentBytesMax = std::uint64_t{1} << 46;
inline constexpr std::uint16_t kParticipantsDefault = 64;

// Where an object lies in the segment.
struct ObjectPlace {
  std::uint64_t offset_bytes = 0;
  std::uint64_t size_bytes = 0;
  std::uint64_t mirrored_offset_bytes = 0;
  std::uint64_t mirrored_bytes = 0;  // 0: none.
};

class Layout {
 public:
  // Adds an object behind those that are there. Returns *this.
  Layout& add(ObjectSpec spec);
  // How many may be attached at once, 1 to kParticipantsMax; kParticipantsDefault when not called.
  Layout& set_participants_max(std::uint32_t count);

  // The first mistake: a name that is bad or taken, a signature, size or alignment that does not
  // fit, more than kObjectsMax objects or kSegmentBytesMax bytes.
  [[nodiscard]] Result<void> check() const;

  [[nodiscard]] const std::vector<ObjectSpec>& objects() const noexcept { return objects_; }
  // Of each object, in their order. REQUIRES: check() is content.
  [[nodiscard]] const std::vector<ObjectPlace>& places() const noexcept { return places_; }
  [[nodiscard]] std::uint16_t participants_max() const noexcept { return participants_max_; }
  [[nodiscard]] std::uint64_t participants_offset_bytes() const noexcept;
  [[nodiscard]] std::uint64_t directory_offset_bytes() const noexcept;
  [[nodiscard]] std::uint64_t size_bytes() const noexcept { return size_bytes_; }
  // The index of an object by name.
  [[nodiscard]] std::optional<std::size_t> index_of(const std::string& name) const noexcept;

  // One line for the segment and one for each object.
  [[nodiscard]] std::string text() const;
  [[nodiscard]] std::uint64_t signature() const;

 private:
  void place_objects();
  void refuse(std::string subject, std::string cause, std::string remedy);

  std::vector<ObjectSpec> objects_;
  std::vector<ObjectPlace> places_;
  std::uint16_t participants_max_ = kParticipantsDefault;
  std::uint64_t size_bytes_ = 0;
  std::optional<Error> mistake_;
};

// Whether it can be the name of a segment or an object: 1 to `bytes_max` bytes of [A-Za-z0-9._-],
// not beginning with a dot.
[[nodiscard]] bool is_good_name(const std::string& name, std::size_t bytes_max) noexcept;

}  // namespace quire::ipc
