// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/layout.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "quire/base/prng.h"
#include "quire/ipc/internal/segment_header.h"
#include "quire/sys/memory.h"
#include "quire/testing/seed.h"

namespace quire::ipc {
namespace {

ObjectSpec spec_of(const std::string& name, std::size_t size_bytes = 100) {
  return {.name = name, .signature = "bytes v1", .size_bytes = size_bytes};
}

const std::uint64_t kPageBytes = sys::os_page_size().bytes();

TEST(Layout, SaysWhatIsWrongWithAnObject) {
  struct Case {
    ObjectSpec spec;
    const char* part;
  };
  const std::vector<Case> cases = {
      {spec_of(""), "name"},
      {spec_of(".hidden"), "name"},
      {spec_of("a/b"), "name"},
      {spec_of(std::string(32, 'x')), "name"},
      {spec_of("nothing", 0), "0 bytes"},
      {spec_of("vast", kSegmentBytesMax + 1), "bytes"},
      {{.name = "unsigned", .signature = "", .size_bytes = 1}, "signature"},
      {{.name = "long", .signature = std::string(160, 'x'), .size_bytes = 1}, "signature"},
      {{.name = "newline", .signature = "a\nb", .size_bytes = 1}, "signature"},
      {{.name = "odd", .signature = "x", .size_bytes = 1, .alignment_bytes = 24}, "alignment"},
      {{.name = "far", .signature = "x", .size_bytes = 1, .alignment_bytes = kPageBytes * 2},
       "alignment"},
      {{.name = "part", .signature = "x", .size_bytes = 1, .mirrored_bytes = 100}, "mirrored"},
  };
  for (const Case& bad : cases) {
    const Result<void> checked = Layout().add(spec_of("good")).add(bad.spec).check();
    ASSERT_FALSE(checked.has_value()) << bad.spec.name;
    EXPECT_NE(checked.error().message().find(bad.part), std::string::npos)
        << checked.error().message();
    EXPECT_EQ(checked.error().code(), Errc::kOutOfRange);
  }
}

TEST(Layout, RefusesTwoObjectsOfOneNameAndNoObjects) {
  EXPECT_FALSE(Layout().add(spec_of("a")).add(spec_of("a")).check());
  EXPECT_FALSE(Layout().check());
  EXPECT_TRUE(Layout().add(spec_of("a")).add(spec_of("b")).check());
}

TEST(Layout, RefusesMoreThanItsLimits) {
  EXPECT_FALSE(Layout().add(spec_of("a")).set_participants_max(0).check());
  EXPECT_FALSE(Layout().add(spec_of("a")).set_participants_max(kParticipantsMax + 1U).check());
  EXPECT_TRUE(Layout().add(spec_of("a")).set_participants_max(kParticipantsMax).check());
  Layout sum;
  for (int i = 0; i < 3; ++i) {
    sum.add(spec_of("half" + std::to_string(i), kSegmentBytesMax / 2));
  }
  EXPECT_FALSE(sum.check());
  Layout many;
  for (std::size_t i = 0; i < kObjectsMax; ++i) {
    many.add(spec_of("o" + std::to_string(i)));
  }
  EXPECT_TRUE(many.check());
  EXPECT_FALSE(many.add(spec_of("one-more")).check());
}

// Goal:   places do not overlap, are aligned, and end within the segment.
// Method: random objects against the obvious walk over all of them.
TEST(Layout, PlacesFollowEachOther) {
  Prng random(testing::test_seed());
  for (int round = 0; round < 200; ++round) {
    Layout layout;
    const std::uint64_t objects = 1 + random() % 20;
    for (std::uint64_t i = 0; i < objects; ++i) {
      layout.add({.name = "o" + std::to_string(i),
                  .signature = "x",
                  .size_bytes = 1 + random() % 10000,
                  .alignment_bytes = std::size_t{1} << random() % 13,
                  .mirrored_bytes = random() % 3 * kPageBytes});
    }
    ASSERT_TRUE(layout.check());
    std::uint64_t end =
        layout.directory_offset_bytes() + objects * sizeof(internal::DirectoryEntry);
    for (std::size_t i = 0; i < objects; ++i) {
      const ObjectPlace& place = layout.places()[i];
      EXPECT_GE(place.offset_bytes, end);
      EXPECT_EQ(place.offset_bytes % layout.objects()[i].alignment_bytes, 0U);
      end = place.offset_bytes + place.size_bytes;
      if (place.mirrored_bytes > 0) {
        EXPECT_GE(place.mirrored_offset_bytes, end);
        EXPECT_EQ(place.mirrored_offset_bytes % kPageBytes, 0U);
        end = place.mirrored_offset_bytes + place.mirrored_bytes;
      }
    }
    EXPECT_GE(layout.size_bytes(), end);
    EXPECT_LT(layout.size_bytes() - end, kPageBytes);
    EXPECT_EQ(layout.size_bytes() % kPageBytes, 0U);
  }
}

TEST(Layout, EverythingThatMattersToTheBytesIsInTheSignature) {
  const auto base = [] { return spec_of("a"); };
  std::vector<Layout> layouts(9);
  layouts[0].add(base());
  layouts[1].add(base()).set_participants_max(7);
  layouts[2].add(base()).add(spec_of("b"));
  auto changed = base();
  changed.name = "c";
  layouts[3].add(changed);
  changed = base();
  changed.kind = ObjectKind::kMutex;
  layouts[4].add(changed);
  changed = base();
  changed.signature = "bytes v2";
  layouts[5].add(changed);
  changed = base();
  changed.size_bytes = 101;
  layouts[6].add(changed);
  changed = base();
  changed.alignment_bytes = 8;
  layouts[7].add(changed);
  changed = base();
  changed.mirrored_bytes = kPageBytes;
  layouts[8].add(changed);
  for (std::size_t i = 0; i < layouts.size(); ++i) {
    for (std::size_t j = 0; j < layouts.size(); ++j) {
      EXPECT_EQ(layouts[i].signature() == layouts[j].signature(), i == j) << i << " " << j;
    }
  }
}

}  // namespace
}  // namespace quire::ipc
