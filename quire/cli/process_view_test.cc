// SPDX-License-Identifier: Apache-2.0
#include "quire/cli/process_view.h"

#include <gtest/gtest.h>

#include <string_view>

#include "quire/base/units.h"

namespace quire::cli {
namespace {

using literals::operator""_KiB;
using literals::operator""_MiB;

constexpr std::string_view kSmaps =
    "7f0000000000-7f0000400000 r--p 00000000 fe:00 42                /srv/index\n"
    "Rss:                2048 kB\nPss:                1024 kB\nShared_Dirty:          0 kB\n"
    "Private_Dirty:         0 kB\nAnonymous:             0 kB\nSwap:                  0 kB\n"
    "7f0000400000-7f0000500000 rw-s 00000000 fe:00 43                /srv/log\n"
    "Rss:                1024 kB\nPss:                1024 kB\nShared_Dirty:        100 kB\n"
    "Private_Dirty:       300 kB\nAnonymous:             0 kB\nLocked:             64 kB\n"
    "7f0000500000-7f0000600000 rw-p 00400000 fe:00 42                /srv/index\n"
    "Rss:                 512 kB\nPss:                 512 kB\nPrivate_Dirty:       512 kB\n"
    "Anonymous:           512 kB\n"
    "7f0000600000-7f0000700000 rw-s 00000000 00:01 7                 /memfd:cache (deleted)\n"
    "Rss:                 256 kB\nPss:                 128 kB\nShared_Dirty:        256 kB\n"
    "7f0000700000-7f0000900000 rw-p 00000000 00:00 0 \n"
    "Rss:                 128 kB\nPss:                 128 kB\nAnonymous:           128 kB\n"
    "7f0000900000-7f0000a00000 rw-p 00000000 00:00 0                 [heap]\n"
    "Rss:                  64 kB\nPss:                  64 kB\nAnonymous:            64 kB\n";
constexpr std::string_view kStatus =
    "Name:\tserver\nVmLck:\t      64 kB\nRssAnon:\t     704 kB\nRssFile:\t    3072 kB\n"
    "RssShmem:\t     256 kB\nVmSwap:\t      32 kB\n";

TEST(ProcessViewTest, MappingsOfOneFileAreOneRowAndTheLargestComesFirst) {
  const ProcessPicture picture = picture_of(kSmaps, kStatus);
  ASSERT_EQ(picture.objects.size(), 5u);
  const MappedObject& index = picture.objects[0];
  EXPECT_EQ(index.name, "/srv/index");
  EXPECT_TRUE(index.is_file);
  EXPECT_EQ(index.size_bytes, 5_MiB);
  EXPECT_EQ(index.resident_bytes, 2560_KiB);
  EXPECT_EQ(index.proportional_bytes, 1536_KiB);
  EXPECT_EQ(picture.objects[1].name, "/srv/log");
  EXPECT_EQ(picture.objects[1].dirty_bytes, 400_KiB);
  EXPECT_EQ(picture.objects[1].locked_bytes, 64_KiB);
  EXPECT_TRUE(picture.objects[2].is_deleted);
  EXPECT_EQ(picture.objects[3].name, "[anonymous]");
  EXPECT_EQ(picture.objects[4].name, "[heap]");
}

TEST(ProcessViewTest, PrivateCopiesAreAnonymousMemoryAndNotDirtyFilePages) {
  const ProcessMemory memory = picture_of(kSmaps, kStatus).memory;
  EXPECT_EQ(memory.dirty_file_bytes, 400_KiB);
  EXPECT_EQ(memory.clean_file_bytes, 3072_KiB - 400_KiB);
  EXPECT_EQ(memory.anonymous_bytes, 704_KiB);
  EXPECT_EQ(memory.shared_bytes, 256_KiB);
  EXPECT_EQ(memory.swapped_bytes, 32_KiB);
  EXPECT_EQ(memory.locked_bytes, 64_KiB);
}

TEST(ProcessViewTest, TheVerdictIsAboutTheLargestPart) {
  struct Row {
    ProcessMemory memory;
    const char* start;
  };
  for (const Row& row :
       {Row{{.clean_file_bytes = 3_MiB, .anonymous_bytes = 1_MiB},
            "No sign of one: 3.0 MiB of 4.0"},
        Row{{.dirty_file_bytes = 3_MiB}, "No sign of one: 3.0 MiB of 3.0 MiB (100 %) are dirty"},
        Row{{.shared_bytes = 3_MiB}, "Perhaps a forgotten one"},
        Row{{.anonymous_bytes = 3_MiB}, "Possibly: 3.0 MiB of 3.0 MiB (100 %) are anonymous"},
        Row{{}, "It has no resident memory"}}) {
    EXPECT_TRUE(leak_verdict(row.memory).starts_with(row.start)) << leak_verdict(row.memory);
  }
}

TEST(ProcessViewTest, TextThatIsNoSmapsGivesAnEmptyPicture) {
  const ProcessPicture picture = picture_of("not\nsmaps\xff at all\n", "");
  EXPECT_TRUE(picture.objects.empty());
  EXPECT_EQ(picture.memory.resident_bytes(), 0u);
}

}  // namespace
}  // namespace quire::cli
