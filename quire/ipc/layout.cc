// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "quire/ipc/internal/segment_header.h"
#include "quire/sys/memory.h"

#define XXH_INLINE_ALL  // NOLINT(readability-identifier-naming): xxhash wants it so.
#include <xxhash.h>

namespace quire::ipc {
namespace {

constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment) noexcept {
  return (value + alignment - 1) & ~(alignment - 1);
}

bool is_printable(const std::string& text) noexcept {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

}  // namespace

bool is_good_name(const std::string& name, std::size_t bytes_max) noexcept {
  const auto is_good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  return !name.empty() && name.size() <= bytes_max && name.front() != '.' &&
         std::all_of(name.begin(), name.end(), is_good);
}

void Layout::refuse(std::string subject, std::string cause, std::string remedy) {
  if (!mistake_) {
    mistake_ = make_error(Errc::kOutOfRange, "layout", std::move(subject), std::move(cause),
                          std::move(remedy));
  }
}

Layout& Layout::add(ObjectSpec spec) {
  const std::uint64_t page_bytes = sys::os_page_size().bytes();
  if (!is_good_name(spec.name, kObjectNameBytesMax)) {
    refuse(fmt::format("object '{}'", spec.name), "this cannot be the name of an object",
           "use 1 to 31 bytes of [A-Za-z0-9._-], the first one not a dot");
  } else if (index_of(spec.name)) {
    refuse(fmt::format("object '{}'", spec.name), "the layout has one of that name", "");
  } else if (spec.signature.empty() || spec.signature.size() > kSignatureBytesMax ||
             !is_printable(spec.signature)) {
    refuse(fmt::format("object '{}'", spec.name),
           fmt::format("its signature has {} bytes, or some that cannot be printed",
                       spec.signature.size()),
           fmt::format("1 to {} printable bytes are a signature", kSignatureBytesMax));
  } else if (!std::has_single_bit(spec.alignment_bytes) || spec.alignment_bytes > page_bytes ||
             spec.mirrored_bytes % page_bytes != 0) {
    refuse(fmt::format("object '{}'", spec.name),
           fmt::format("{} bytes of alignment, {} mirrored", spec.alignment_bytes,
                       spec.mirrored_bytes),
           fmt::format("align to a power of two up to {}, and mirror whole pages of {} bytes",
                       page_bytes, page_bytes));
  } else if (spec.size_bytes == 0 || spec.size_bytes > kSegmentBytesMax ||
             spec.mirrored_bytes > kSegmentBytesMax) {
    refuse(
        fmt::format("object '{}'", spec.name),
        fmt::format("it has {} bytes, {} of them mirrored", spec.size_bytes, spec.mirrored_bytes),
        fmt::format("between 1 and {} are possible", kSegmentBytesMax));
  } else if (objects_.size() == kObjectsMax) {
    refuse("objects", fmt::format("a segment has at most {}", kObjectsMax), "use several segments");
  } else {
    objects_.push_back(std::move(spec));
    place_objects();
  }
  return *this;
}

Layout& Layout::set_participants_max(std::uint32_t count) {
  if (count == 0 || count > kParticipantsMax) {
    refuse("participants", fmt::format("{} cannot be", count),
           fmt::format("1 to {} can", kParticipantsMax));
    return *this;
  }
  participants_max_ = static_cast<std::uint16_t>(count);
  place_objects();
  return *this;
}

std::uint64_t Layout::participants_offset_bytes() const noexcept {
  return internal::kHeaderBytes;
}

std::uint64_t Layout::directory_offset_bytes() const noexcept {
  return participants_offset_bytes() + participants_max_ * sizeof(internal::ParticipantSlot);
}

// Every sum stays far below 2^64: each part is at most kSegmentBytesMax, and the first that goes
// beyond it is the last that is added.
void Layout::place_objects() {
  const std::uint64_t page_bytes = sys::os_page_size().bytes();
  std::uint64_t end = directory_offset_bytes() + objects_.size() * sizeof(internal::DirectoryEntry);
  places_.clear();
  for (const ObjectSpec& spec : objects_) {
    ObjectPlace place{.offset_bytes = align_up(end, spec.alignment_bytes),
                      .size_bytes = spec.size_bytes};
    end = place.offset_bytes + place.size_bytes;
    if (spec.mirrored_bytes > 0) {
      place.mirrored_offset_bytes = align_up(end, page_bytes);
      place.mirrored_bytes = spec.mirrored_bytes;
      end = place.mirrored_offset_bytes + place.mirrored_bytes;
    }
    places_.push_back(place);
    if (end > kSegmentBytesMax) {
      refuse("size", fmt::format("the objects up to '{}' take {} bytes", spec.name, end),
             fmt::format("a segment has at most {} bytes", kSegmentBytesMax));
      return;
    }
  }
  size_bytes_ = align_up(end, page_bytes);
}

Result<void> Layout::check() const {
  if (mistake_) {
    return fail(*mistake_);
  }
  if (objects_.empty()) {
    return fail(make_error(Errc::kOutOfRange, "layout", "objects", "it has none", "add() some"));
  }
  return {};
}

std::optional<std::size_t> Layout::index_of(const std::string& name) const noexcept {
  const auto found = std::find_if(objects_.begin(), objects_.end(),
                                  [&](const ObjectSpec& spec) { return spec.name == name; });
  return found == objects_.end()
             ? std::nullopt
             : std::optional(static_cast<std::size_t>(found - objects_.begin()));
}

std::string Layout::text() const {
  std::string text = fmt::format(
      "quire-ipc {} {}-endian, pages of {} bytes, {} participants, {} bytes\n",
      internal::kFormatVersion, std::endian::native == std::endian::little ? "little" : "big",
      sys::os_page_size().bytes(), participants_max_, size_bytes_);
  for (const ObjectSpec& spec : objects_) {
    text += fmt::format("{} {} [{}] {} bytes, aligned to {}, {} mirrored\n", spec.name,
                        name_of(spec.kind), spec.signature, spec.size_bytes, spec.alignment_bytes,
                        spec.mirrored_bytes);
  }
  return text;
}

std::uint64_t Layout::signature() const {
  const std::string whole = text();
  return XXH3_64bits(whole.data(), whole.size());
}

}  // namespace quire::ipc
