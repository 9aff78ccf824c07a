// SPDX-License-Identifier: Apache-2.0
//
// The pager against its models: several threads against a version of every word, and one thread
// against a vector of bytes. In a soak (testing/soak.h) each model goes on with fresh seeds.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "quire/base/prng.h"
#include "quire/pager/pager.h"
#include "quire/testing/pager_model.h"
#include "quire/testing/slow_store.h"
#include "quire/testing/soak.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

enum class Ground : std::uint8_t { kStore, kFile };

struct ModelRow {
  const char* name;
  Ground ground;
  FaultPath path;
  std::uint64_t granule_bytes;
  testing::PagerMix mix = testing::PagerMix::kEverything;
  PolicyKind policy = PolicyKind::kS3Fifo;
};

std::ostream& operator<<(std::ostream& out, const ModelRow& row) {
  return out << row.name;
}

std::uint64_t memory_bytes(const ModelRow& row) {
  return row.granule_bytes > 16_KiB ? 4_MiB : 2_MiB;  // The least that large granules take.
}
std::uint64_t file_bytes(const ModelRow& row) {
  return 8 * memory_bytes(row);
}

PagerOptions pager_options(const ModelRow& row) {
  return {.memory_bytes = memory_bytes(row),
          .policy = row.policy,
          .fault_path = row.path,
          .granule_bytes = row.granule_bytes,
          .dirty_age_max = milliseconds(50)};  // So that age, too, makes pages go.
}

// A walk through a stream counts as one operation: about the same time for each mix.
std::uint64_t operations_per_round(testing::PagerMix mix) {
  return mix == testing::PagerMix::kStreams ? 50 : 250;
}

// The ground, and what it stands on.
struct Site {
  testing::TempDir directory;
  std::shared_ptr<testing::MemoryStore> memory;
  std::string path;
  testing::PagerGround ground;
};

const WritablePagedOptions kPaged{
    .access = Access::kReadWrite, .engine = PagingEngine::kPaged, .reserve_bytes = 64_MiB};

// Slow enough that threads meet in every state; requests end short and go on.
void build_on_store(Site& site, std::vector<std::byte> image, std::uint64_t seed) {
  site.memory = std::make_shared<testing::MemoryStore>(std::move(image));
  auto slow = std::make_shared<testing::SlowStore>(
      site.memory, testing::SlowStoreOptions{.seed = seed,
                                             .read_latency_max = microseconds(60),
                                             .write_latency_max = microseconds(120),
                                             .sync_latency_max = microseconds(200),
                                             .transfer_bytes_max = 128_KiB});
  site.ground = {
      .map = [slow](Pager& pager) { return pager.map(slow, kPaged); },
      .read = [memory = site.memory](std::uint64_t offset,
                                     std::span<std::byte> into) { memory->read(offset, into); },
      .size_bytes = [memory = site.memory] { return memory->size_bytes().value(); }};
}

void build_on_file(Site& site, const std::vector<std::byte>& image) {
  const std::string content(reinterpret_cast<const char*>(image.data()), image.size());
  site.path = site.directory.write("model", content);
  site.ground = {.map = [path = site.path](Pager& pager) { return pager.map(path, kPaged); },
                 .read =
                     [path = site.path](std::uint64_t offset, std::span<std::byte> into) {
                       std::ifstream file(path, std::ios::binary);
                       file.seekg(static_cast<std::streamoff>(offset));
                       file.read(reinterpret_cast<char*>(into.data()),
                                 static_cast<std::streamsize>(into.size()));
                     },
                 .size_bytes = [path = site.path] { return std::filesystem::file_size(path); }};
}

void build(Site& site, Ground ground, std::vector<std::byte> image, std::uint64_t seed) {
  if (ground == Ground::kStore) {
    build_on_store(site, std::move(image), seed);
  } else {
    build_on_file(site, image);
  }
}

bool is_refused_here(FaultPath path) {
#if defined(__SANITIZE_THREAD__)
  return path == FaultPath::kInline;  // Its signals are delivered late under ThreadSanitizer.
#else
  (void)path;
  return false;
#endif
}

constexpr const char* kRefused = "inline delivery: not under ThreadSanitizer";

class PagerModelTest : public ::testing::TestWithParam<ModelRow> {};

// Goal:   no store is ever lost, and no load sees an older or a foreign value, whatever is done at
//         the same time; what was flushed is in the store; the budget holds at every instant.
// Method: a WordModel has a version of every word of a file of eight times the budget.
TEST_P(PagerModelTest, NoStoreIsLostAndNoLoadIsStale) {
  if (is_refused_here(GetParam().path)) {
    GTEST_SKIP() << kRefused;
  }
  constexpr std::uint64_t kRounds = 8;
  testing::soak(1, [](std::uint64_t seed) {
    Site site;
    build(site, GetParam().ground, testing::pager_model_image(file_bytes(GetParam())), seed);
    testing::PagerModel model({.pager = pager_options(GetParam()),
                               .mix = GetParam().mix,
                               .size_bytes_max = file_bytes(GetParam()),
                               .operations_per_round = operations_per_round(GetParam().mix),
                               .seed = seed},
                              site.ground);
    EXPECT_EQ(model.run(kRounds), "");
  });
}

using testing::PagerMix;

INSTANTIATE_TEST_SUITE_P(
    Rows, PagerModelTest,
    ::testing::Values(
        ModelRow{"store_inline_4k", Ground::kStore, FaultPath::kInline, 4_KiB},
        ModelRow{"store_inline_16k", Ground::kStore, FaultPath::kInline, 16_KiB},
        ModelRow{"store_inline_64k", Ground::kStore, FaultPath::kInline, 64_KiB},
        ModelRow{"store_handler_4k", Ground::kStore, FaultPath::kHandler, 4_KiB},
        ModelRow{"store_handler_64k", Ground::kStore, FaultPath::kHandler, 64_KiB},
        ModelRow{"file_inline_4k", Ground::kFile, FaultPath::kInline, 4_KiB},
        ModelRow{"file_inline_64k", Ground::kFile, FaultPath::kInline, 64_KiB},
        ModelRow{"file_handler_4k", Ground::kFile, FaultPath::kHandler, 4_KiB},
        ModelRow{"file_handler_16k", Ground::kFile, FaultPath::kHandler, 16_KiB},
        ModelRow{"streams_inline", Ground::kStore, FaultPath::kInline, 4_KiB, PagerMix::kStreams},
        ModelRow{"streams_handler", Ground::kFile, FaultPath::kHandler, 4_KiB, PagerMix::kStreams},
        ModelRow{"streams_inline_64k", Ground::kFile, FaultPath::kInline, 64_KiB,
                 PagerMix::kStreams},
        ModelRow{"evictors_inline", Ground::kStore, FaultPath::kInline, 4_KiB, PagerMix::kEvictors},
        ModelRow{"evictors_handler", Ground::kStore, FaultPath::kHandler, 4_KiB,
                 PagerMix::kEvictors},
        ModelRow{"fifo_inline", Ground::kStore, FaultPath::kInline, 4_KiB, PagerMix::kEverything,
                 PolicyKind::kFifo},
        ModelRow{"clock_handler", Ground::kStore, FaultPath::kHandler, 4_KiB, PagerMix::kEverything,
                 PolicyKind::kClock}),
    [](const auto& row) { return std::string(row.param.name); });

// --- Bytes ---------------------------------------------------------------------------------------

// One thread, any byte, any length, any size: the model is a vector.
class ByteModel {
 public:
  ByteModel(const ModelRow& row, std::uint64_t seed)
      : size_bytes_max_(file_bytes(row)), random_(seed), pager_(pager_options(row)) {
    std::vector<std::byte> image(size_bytes_max_ - 1234);
    std::ranges::generate(image, [this] { return static_cast<std::byte>(random_()); });
    expected_ = image;
    build(site_, row.ground, std::move(image), seed);
    area_ = site_.ground.map(pager_).value();
  }

  void run(std::uint64_t operations) {
    for (std::uint64_t i = 0; i < operations && !::testing::Test::HasFailure(); ++i) {
      SCOPED_TRACE("operation " + std::to_string(i));
      do_one();
    }
    reopen();
    check_all();
  }

 private:
  void do_one() {
    const std::uint64_t drawn = random_.below(100);
    if (drawn < 40) {
      store();
    } else if (drawn < 75) {
      load();
    } else if (drawn < 82) {
      flush();
    } else if (drawn < 87) {
      pin();
    } else if (drawn < 92) {
      EXPECT_TRUE(area_.evict(pick(kToEnd)).has_value());
    } else if (drawn < 96) {
      EXPECT_TRUE(area_.prefetch(pick(1_MiB)).wait().has_value());
    } else if (drawn < 99) {
      resize();
    } else {
      reopen();
    }
  }

  ByteRange pick(std::uint64_t length_bytes_max) {
    const std::uint64_t offset = random_.below(expected_.size());
    return {offset, 1 + random_.below(std::min(length_bytes_max, expected_.size() - offset))};
  }
  // Half of them across an edge of granules, by a few bytes.
  ByteRange pick_piece() {
    ByteRange range = pick(random_.below(2) == 0 ? 64 : 200_KiB);
    if (random_.below(2) == 0 && range.offset_bytes > 64_KiB) {
      range.offset_bytes -= range.offset_bytes % 4_KiB + 3;
    }
    return range;
  }
  bool is_same(const std::byte* seen, ByteRange range) const {
    return std::memcmp(seen, expected_.data() + range.offset_bytes, range.length_bytes) == 0;
  }

  void store() {
    const ByteRange range = pick_piece();
    std::vector<std::byte> bytes(range.length_bytes);
    std::ranges::generate(bytes, [this] { return static_cast<std::byte>(random_()); });
    std::memcpy(area_.bytes().data() + range.offset_bytes, bytes.data(), bytes.size());
    std::ranges::copy(bytes, expected_.begin() + static_cast<std::ptrdiff_t>(range.offset_bytes));
  }
  void load() {
    const ByteRange range = pick_piece();
    EXPECT_TRUE(is_same(area_.bytes().data() + range.offset_bytes, range)) << describe(range);
  }
  void flush() {
    const ByteRange range = pick(kToEnd);
    const Result<void> flushed = area_.flush(range);
    ASSERT_TRUE(flushed.has_value()) << flushed.error().message();
    std::vector<std::byte> image(range.length_bytes);
    site_.ground.read(range.offset_bytes, image);
    EXPECT_TRUE(is_same(image.data(), range)) << "in the store: " << describe(range);
  }
  void pin() {
    const ByteRange range = pick(256_KiB);
    const Result<Pin> pinned = area_.pin(range);
    ASSERT_TRUE(pinned.has_value()) << pinned.error().message();
    EXPECT_TRUE(is_same(pinned->bytes().data(), range)) << "pinned: " << describe(range);
  }
  void resize() {
    const std::uint64_t size = 1 + random_.below(size_bytes_max_);
    const Result<void> resized = area_.resize(size);
    ASSERT_TRUE(resized.has_value()) << resized.error().message();
    expected_.resize(size);
    EXPECT_EQ(area_.size_bytes(), size);
    EXPECT_EQ(site_.ground.size_bytes(), size);
    area_.check_invariants();
  }
  void reopen() {
    const Result<void> closed = area_.close();
    ASSERT_TRUE(closed.has_value()) << closed.error().message();
    area_ = site_.ground.map(pager_).value();
    ASSERT_EQ(area_.size_bytes(), expected_.size());
  }
  void check_all() {
    EXPECT_TRUE(is_same(area_.bytes().data(), {0, expected_.size()}));
    area_.check_invariants();
    EXPECT_LE(pager_.stats().taken_bytes_max, pager_.options().memory_bytes);
  }

  const std::uint64_t size_bytes_max_;
  Prng random_;
  Site site_;
  std::vector<std::byte> expected_;
  Pager pager_;
  WritablePagedArea area_;
};

class PagerByteModelTest : public ::testing::TestWithParam<ModelRow> {};

// Goal:   an area behaves like a vector of bytes, at any offset and length, through every size.
TEST_P(PagerByteModelTest, BehavesLikeAVector) {
  if (is_refused_here(GetParam().path)) {
    GTEST_SKIP() << kRefused;
  }
  constexpr std::uint64_t kOperations = 400;
  testing::soak(1, [](std::uint64_t seed) { ByteModel(GetParam(), seed).run(kOperations); });
}

INSTANTIATE_TEST_SUITE_P(
    Rows, PagerByteModelTest,
    ::testing::Values(ModelRow{"store_inline_4k", Ground::kStore, FaultPath::kInline, 4_KiB},
                      ModelRow{"store_handler_16k", Ground::kStore, FaultPath::kHandler, 16_KiB},
                      ModelRow{"file_inline_64k", Ground::kFile, FaultPath::kInline, 64_KiB},
                      ModelRow{"file_handler_4k", Ground::kFile, FaultPath::kHandler, 4_KiB}),
    [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace quire
