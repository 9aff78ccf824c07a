// SPDX-License-Identifier: Apache-2.0
//
// Fuzzes what stands in a segment. The input is a list of patches, four bytes each: place (three
// bytes) and value. They are applied to a whole segment, which is then looked at by somebody who
// has no layout, and opened by somebody who has.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "quire/base/check.h"
#include "quire/ipc/internal/segment_view.h"
#include "quire/ipc/segment.h"
#include "quire/sys/memfd.h"

namespace {

using quire::ipc::Layout;
using quire::ipc::MemberId;
using quire::ipc::Segment;
using quire::ipc::SegmentInfo;

Layout make_layout() {
  return Layout()
      .add({.name = "ring", .signature = "ring v1", .size_bytes = 200, .mirrored_bytes = 4096})
      .add({.name = "word", .signature = "word v1", .size_bytes = 8})
      .set_participants_max(4);
}

std::vector<std::byte> make_image() {
  const Segment segment = Segment::make_anonymous(make_layout()).value();
  std::vector<std::byte> image(static_cast<std::size_t>(segment.size_bytes()));
  QUIRE_CHECK_EQ(::pread(segment.descriptor(), image.data(), image.size(), 0),
                 static_cast<ssize_t>(image.size()));
  return image;
}

void patch(std::vector<std::byte>& image, std::span<const std::uint8_t> input) {
  for (; input.size() >= 4; input = input.subspan(4)) {
    const std::size_t place =
        std::size_t{input[0]} | std::size_t{input[1]} << 8U | std::size_t{input[2]} << 16U;
    image[place % image.size()] = static_cast<std::byte>(input[3]);
  }
}

void look_into(const std::vector<std::byte>& image) {
  SegmentInfo info;
  info.file_bytes = image.size();
  quire::ipc::internal::view_segment(
      [&](std::span<std::byte> into, std::uint64_t offset_bytes) {
        const std::size_t offset = std::min<std::uint64_t>(offset_bytes, image.size());
        const std::size_t length = std::min(into.size(), image.size() - offset);
        std::memcpy(into.data(), image.data() + offset, length);
        return length;
      },
      [](const auto& process) { return process.pid % 2 == 0; },
      quire::ipc::internal::own_domain().value(), info);
  QUIRE_CHECK_LE(info.objects.size(), quire::ipc::kObjectsMax);
  QUIRE_CHECK_LE(info.participants.size(), quire::ipc::kParticipantsMax);
}

quire::sys::Descriptor memfd_of(const std::vector<std::byte>& image) {
  auto memfd = quire::sys::create_memfd({.name = "fuzz"});
  QUIRE_CHECK(memfd.has_value());
  QUIRE_CHECK_EQ(::pwrite(memfd->get(), image.data(), image.size(), 0),
                 static_cast<ssize_t>(image.size()));
  QUIRE_CHECK(quire::sys::add_seals(memfd->get(), quire::sys::Seals::kShrink).has_value());
  return std::move(*memfd);
}

// Refused, or usable.
void use(const std::vector<std::byte>& image) {
  auto opened = Segment::adopt(memfd_of(image), make_layout());
  if (!opened) {
    QUIRE_CHECK(!opened.error().message().empty());
    return;
  }
  auto& participants = opened->participants();
  QUIRE_CHECK(participants.is_alive(participants.self()));
  for (std::uint16_t slot = 0; slot < 8; ++slot) {
    static_cast<void>(participants.is_alive(MemberId(slot, 1)));
    static_cast<void>(participants.is_alive(participants.member_in(slot)));
  }
  QUIRE_CHECK_LE(participants.list().size(), 4U);
  const auto ring = opened->find("ring", quire::ipc::ObjectKind::kUser, "ring v1").value();
  QUIRE_CHECK_EQ(ring.bytes().size(), 200U);
  // The compiler does not know that the two are one.
  volatile std::byte* const mirrored = ring.mirrored();
  mirrored[4095] = std::byte{1};
  QUIRE_CHECK(mirrored[8191] == std::byte{1});
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size_bytes) {
  static const std::vector<std::byte> whole = make_image();
  std::vector<std::byte> image = whole;
  patch(image, {data, size_bytes});
  look_into(image);
  use(image);
  return 0;
}
