// SPDX-License-Identifier: Apache-2.0
//
// The journal on real file systems and a disk that loses its power: what a commit promises holds
// with all that the kernel does in between. The disk records every write and flush; images of what
// a power cut leaves are mounted, which is the file system's own recovery, and the journal is
// opened, which is ours. In a soak (testing/soak.h) walk after walk, each on a fresh seed.
//
//   the kernel's   the file system and its journal, the page cache, the loop device, FUSE
//   ours           what is written where, when it is flushed, what recovery makes of it
//   the test's     which writes since the last flush are lost (testing/recorded_disk.h)
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "quire/journal/internal/journal_workload_test.h"
#include "quire/journal/journal_file.h"
#include "quire/testing/disk.h"
#include "quire/testing/process.h"
#include "quire/testing/recorded_disk.h"
#include "quire/testing/seed.h"
#include "quire/testing/soak.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using internal::JournalWorkload;
using testing::BlockEvent;
using testing::BlockLoss;
using testing::DiskHistory;
using testing::FlushMemory;

struct FileSystem {
  std::string type;
  std::uint64_t image_bytes = 0;  // Hardly more than mkfs wants.
  std::vector<std::string> mkfs;
  std::uint64_t states = 0;  // To look at; mounting takes XFS three times as long.
};

const FileSystem kExt4{.type = "ext4",
                       .image_bytes = 16 * 1024 * 1024,
                       .mkfs = {"mkfs.ext4", "-q", "-F", "-J", "size=4"},
                       .states = 120};
const FileSystem kXfs{
    .type = "xfs", .image_bytes = 300 * 1024 * 1024, .mkfs = {"mkfs.xfs", "-q"}, .states = 50};

class JournalStackTest : public ::testing::TestWithParam<FileSystem> {
 protected:
  // Memory for the images, which are made anew for every state.
  void SetUp() override {
    std::filesystem::create_directories(images_);
    std::filesystem::create_directories(mount_point_);
    if (const std::string why_not = memory_.mount("tmpfs", "none", images_, ""); !why_not.empty()) {
      GTEST_SKIP() << why_not;
    }
  }

  // An empty file system. Empty, or why there is none.
  std::string make_file_system() {
    const std::string path = images_ + "/first";
    std::ofstream(path, std::ios::trunc).close();
    std::filesystem::resize_file(path, GetParam().image_bytes);
    std::vector<std::string> command = GetParam().mkfs;
    command.push_back(path);
    const auto made = testing::run_program(command);
    if (made.end.exit_code != 0) {
      return command[0] + ": " + made.standard_error;
    }
    // The zeros that mkfs has written need no memory.
    const auto copied = testing::run_program({"cp", "--sparse=always", path, images_ + "/disk"});
    std::filesystem::remove(path);
    const auto copied_back =
        testing::run_program({"cp", "--sparse=always", images_ + "/disk", path});
    EXPECT_EQ(copied.end.exit_code + copied_back.end.exit_code, 0);
    return "";
  }

  [[nodiscard]] std::unique_ptr<Journal> open_there() const {
    return open_journal(paths_, {.create = true, .journal = internal::kWorkloadOptions}).value();
  }

  // Works on the file system, on a disk that records. Empty, or why that cannot be done here.
  std::string record(std::uint64_t seed, int steps) {
    directory_.emplace();
    const testing::RecordedDisk disk(*directory_, QUIRE_RECORDING_PLUGIN, images_ + "/disk");
    if (!disk.problem().empty()) {
      return disk.problem();
    }
    testing::LoopDevice loop;
    testing::Mount mount;
    if (std::string why_not = loop.attach(disk.path()); !why_not.empty()) {
      return why_not;
    }
    if (std::string why_not = mount.mount(GetParam().type, loop.path(), mount_point_, "");
        !why_not.empty()) {
      return why_not;
    }
    Prng random(seed);
    workload_.emplace(
        random, JournalWorkload::Contents(internal::kWorkloadFiles),
        [this] { return open_there(); },
        [&disk](std::uint64_t generation) { disk.mark(generation); });
    workload_->work(steps);
    workload_->leave();
    return "";
  }

  std::string make_disk_and_record(std::uint64_t seed, int steps) {
    const std::string why_not = make_file_system();
    return why_not.empty() ? record(seed, steps) : why_not;
  }

  // What is wrong with an image; "": nothing.
  std::string judge(const std::string& image, std::uint64_t mark) {
    testing::LoopDevice loop;
    testing::Mount mount;
    if (const std::string why_not = loop.attach(image); !why_not.empty()) {
      return why_not;
    }
    if (const std::string why_not = mount.mount(GetParam().type, loop.path(), mount_point_, "");
        !why_not.empty()) {
      return "the file system does not mount: " + why_not;
    }
    ++mounted_;
    const auto journal =
        open_journal(paths_, {.create = true, .journal = internal::kWorkloadOptions});
    if (!journal) {
      return journal.error().message();
    }
    JournalWorkload::Contents files;
    for (const std::string& path : paths_) {
      const std::string content = testing::read_file(path);
      const auto bytes = std::as_bytes(std::span(content));
      files.emplace_back(bytes.begin(), bytes.end());
    }
    return workload_->judge(files, mark);
  }

  // Looks at so many states, more of them right before and after flushes than elsewhere. Returns
  // what is wrong with the first bad one.
  std::string search(std::uint64_t seed, std::uint64_t states_max, FlushMemory flushes) {
    DiskHistory history(images_ + "/first", directory_->file("record"), flushes);
    Prng random(seed);
    const std::uint64_t points =
        history.count(BlockEvent::kWrite) + history.count(BlockEvent::kFlush);
    flushes_seen_ = history.count(BlockEvent::kFlush);
    while (history.advance()) {
      const std::uint64_t weight = history.event() == BlockEvent::kFlush ? 4 : 1;
      if (random.below(points) >= weight * states_max) {
        continue;
      }
      ++states_;
      history.make_image(images_ + "/crashed",
                         static_cast<BlockLoss>(random.below(testing::kBlockLossCount)), random);
      if (std::string wrong = judge(images_ + "/crashed", history.mark()); !wrong.empty()) {
        return "seed " + std::to_string(seed) + ", " + history.where() + ": " + wrong;
      }
    }
    return "";
  }

  const testing::TempDir base_;
  const std::string images_ = base_.file("images");
  const std::string mount_point_ = base_.file("mounted");
  const std::vector<std::string> paths_{mount_point_ + "/a", mount_point_ + "/b"};
  testing::Mount memory_;
  std::optional<testing::TempDir> directory_;  // Of the record.
  std::optional<JournalWorkload> workload_;
  std::uint64_t states_ = 0;
  std::uint64_t mounted_ = 0;
  std::uint64_t flushes_seen_ = 0;
};

// Goal:   a power cut under a real file system leaves the last acknowledged commit or the next.
// Method: random work from an empty file system on, the making of files and journal included; cuts
//         anywhere, mostly at flushes.
TEST_P(JournalStackTest, APowerCutLeavesAnAllowedGeneration) {
  testing::soak(1, [this](std::uint64_t seed) {
    if (const std::string why_not = make_disk_and_record(seed, 60); !why_not.empty()) {
      GTEST_SKIP() << why_not;
    }
    ASSERT_EQ(search(seed, GetParam().states, FlushMemory::kHonest), "");
    EXPECT_GT(workload_->generation_count(), 5U);
    EXPECT_GT(flushes_seen_, workload_->generation_count());
  });
  if (IsSkipped() || HasFailure()) {
    return;
  }
  EXPECT_GT(states_, GetParam().states / 2);
  RecordProperty("states", std::to_string(states_));
  std::printf("%llu states\n", static_cast<unsigned long long>(states_));
}

// Goal:   the search would notice commits that are not durable.
TEST_P(JournalStackTest, ADiskThatForgetsFlushesIsCaught) {
  if (const std::string why_not = make_disk_and_record(testing::test_seed(), 30);
      !why_not.empty()) {
    GTEST_SKIP() << why_not;
  }
  EXPECT_NE(search(testing::test_seed(), 100, FlushMemory::kForgets), "");
  EXPECT_GT(mounted_, 0U);
}

INSTANTIATE_TEST_SUITE_P(FileSystems, JournalStackTest, ::testing::Values(kExt4, kXfs),
                         [](const auto& type) { return type.param.type; });

}  // namespace
}  // namespace quire
