// SPDX-License-Identifier: Apache-2.0
#include "quire/testing/pager_model.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>
#include <utility>

#include "quire/testing/pager_model_thread.h"

namespace quire::testing {
namespace {

constexpr std::uint64_t kWordBytes = WordModel::kWordBytes;
constexpr std::uint64_t kStatBlockBytes = 512;  // The unit of st_blocks, everywhere.
constexpr std::uint64_t kSizeBytesMin = 1_MiB;
// Every fourth round only touches while the area is resized; what is touched stays.
constexpr std::uint64_t kTouchingRoundEvery = 4;
constexpr std::uint64_t kTouchedBytesMax = 6_MiB;

}  // namespace

const char* name_of(PagerMix mix) noexcept {
  switch (mix) {
    case PagerMix::kEverything: return "everything";
    case PagerMix::kStreams: return "streams";
    case PagerMix::kEvictors: return "evictors";
  }
  return "unknown";
}

std::vector<std::byte> pager_model_image(std::uint64_t size_bytes) {
  const WordModel words({.size_bytes = size_bytes, .block_bytes = 4_KiB});
  std::vector<std::byte> image(size_bytes);
  for (std::uint64_t word = 0; word < words.word_count(); ++word) {
    const std::uint64_t value = words.expected(word);
    std::memcpy(image.data() + word * kWordBytes, &value, kWordBytes);
  }
  return image;
}

std::uint64_t memfd_resident_bytes() {
  std::uint64_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    char target[PATH_MAX] = {};
    struct stat status = {};
    const ssize_t length = ::readlink(entry.path().c_str(), target, sizeof(target) - 1);
    const int fd = std::atoi(entry.path().filename().c_str());
    if (length > 0 && std::string_view(target).starts_with("/memfd:") &&
        ::fstat(fd, &status) == 0) {
      bytes += static_cast<std::uint64_t>(status.st_blocks) * kStatBlockBytes;
    }
  }
  return bytes;
}

PagerModel::PagerModel(const PagerModelOptions& options, PagerGround ground)
    : options_(options),
      ground_(std::move(ground)),
      random_(options.seed),
      words_({.size_bytes = options.size_bytes_max,
              .block_bytes = options.pager.granule_bytes,
              .threads = options.threads}),
      overwrites_(options.size_bytes_max / options.pager.granule_bytes + 1),
      pager_(options.pager) {
  if (ground_.size_bytes() != options.size_bytes_max) {
    report("the ground is not as long as the model");
  }
}

void PagerModel::report(const std::string& finding) {
  const std::lock_guard lock(mutex_);
  if (!is_stopped_.exchange(true)) {
    finding_ = fmt::format("seed {}: {}", options_.seed, finding);
  }
}

bool PagerModel::is_good(const Result<void>& result, const char* what) {
  if (!result) {
    report(std::string(what) + ": " + result.error().message());
  }
  return result.has_value();
}

void PagerModel::open() {
  Result<WritablePagedArea> area = ground_.map(pager_);
  if (!area) {
    report("map: " + area.error().message());
    return;
  }
  area_ = std::move(*area);
  if (!area_.is_paged()) {
    report("not paged: " + area_.explain());
  }
  if (area_.size_bytes() != ground_.size_bytes()) {
    report(
        fmt::format("size: {} bytes, the store has {}", area_.size_bytes(), ground_.size_bytes()));
  }
}

std::string PagerModel::run(std::uint64_t rounds) {
  open();
  for (std::uint64_t round = 0; round < rounds && !is_stopped(); ++round) {
    if (round % kTouchingRoundEvery == kTouchingRoundEvery - 1) {
      run_touching_threads();
    } else {
      run_threads();
    }
    check_all();
    do_quiet_operation();
  }
  if (!is_stopped() && is_good(area_.close(), "close")) {
    check_image("close");
  }
  area_ = {};
  const std::lock_guard lock(mutex_);
  return finding_;
}

void PagerModel::run_threads() {
  const std::span<std::byte> bytes = area_.bytes();
  std::vector<std::jthread> threads;
  for (unsigned i = 0; i < options_.threads; ++i) {
    const std::uint64_t seed = random_();
    threads.emplace_back(
        [=, this] { PagerModelThread(*this, bytes, i, seed).run(options_.operations_per_round); });
  }
}

// Bytes that stay may be touched while the area becomes longer and shorter.
void PagerModel::run_touching_threads() {
  const std::span<std::byte> bytes = area_.bytes();
  const std::uint64_t touched =
      std::min<std::uint64_t>(area_.size_bytes(), kTouchedBytesMax) / kWordBytes;
  std::vector<std::jthread> threads;
  for (unsigned i = 0; i < options_.threads; ++i) {
    const std::uint64_t seed = random_();
    threads.emplace_back([=, this] {
      PagerModelThread(*this, bytes, i, seed).touch(options_.operations_per_round, touched);
    });
  }
  for (int i = 0; i < 8 && !is_stopped(); ++i) {
    const std::uint64_t room = options_.size_bytes_max / kWordBytes - touched;
    resize_to((touched + random_.below(room + 1)) * kWordBytes);
  }
}

void PagerModel::audit() {
  const std::uint64_t resident = memfd_resident_bytes();
  const PagerStats stats = pager_.stats();
  const std::uint64_t most = std::max({resident, stats.taken_bytes, stats.taken_bytes_max});
  if (most > options_.pager.memory_bytes) {
    report(fmt::format("budget {}: the kernel keeps {}, taken {}, at most {}",
                       options_.pager.memory_bytes, resident, stats.taken_bytes,
                       stats.taken_bytes_max));
  }
}

// --- At quiet moments ----------------------------------------------------------------------------

void PagerModel::check_words(std::span<const std::byte> bytes, const char* where) {
  for (std::uint64_t word = 0; word < bytes.size() / kWordBytes; ++word) {
    std::uint64_t seen = 0;
    std::memcpy(&seen, bytes.data() + word * kWordBytes, kWordBytes);
    if (seen != words_.expected(word)) {
      report(std::string(where) + ": " + words_.describe(word, seen, words_.version(word)));
      return;
    }
  }
}

void PagerModel::check_all() {
  if (is_stopped()) {
    return;
  }
  audit();
  area_.check_invariants();
  pager_.check_invariants();
  check_words(std::as_const(area_).bytes(), "quiet");
  (void)is_good(area_.check(), "check");
}

void PagerModel::check_image(const char* after) {
  if (is_stopped()) {
    return;
  }
  std::vector<std::byte> image(ground_.size_bytes());
  ground_.read(0, image);
  check_words(image, after);
}

void PagerModel::resize_to(std::uint64_t size_bytes) {
  const std::uint64_t before = area_.size_bytes();
  if (!is_good(area_.resize(size_bytes), "resize")) {
    return;
  }
  words_.truncate(std::min(before, size_bytes) / kWordBytes);
  if (area_.size_bytes() != size_bytes || ground_.size_bytes() != size_bytes) {
    report(fmt::format("resize to {}: the area has {}, the store {}", size_bytes,
                       area_.size_bytes(), ground_.size_bytes()));
  }
}

void PagerModel::evict_all() {
  for (;;) {
    const Result<PagedEviction> evicted = area_.evict();
    const Result<PagedResidency> resident = area_.resident();
    if (!evicted || !resident) {
      report("evict: " + (evicted ? resident.error() : evicted.error()).message());
      return;
    }
    if (evicted->kept_bytes == 0 && resident->resident_bytes == 0) {
      return;
    }
    std::this_thread::yield();  // Read-ahead is under way; nobody asks for more of it.
  }
}

void PagerModel::reopen() {
  if (is_good(area_.close(), "close")) {
    check_image("close");
    open();
  }
}

void PagerModel::do_quiet_operation() {
  if (is_stopped()) {
    return;
  }
  (void)is_good(area_.advise(kWholeFile, Pattern::kNormal), "advise kNormal");
  switch (random_.below(5)) {
    case 0:
      resize_to((kSizeBytesMin + random_.below(options_.size_bytes_max - kSizeBytesMin)) /
                kWordBytes * kWordBytes);
      break;
    case 1: resize_to(options_.size_bytes_max); break;
    case 2:
      evict_all();
      check_image("evict");
      break;
    case 3:
      (void)is_good(area_.flush(), "flush");
      check_image("flush");
      break;
    default: reopen();
  }
}

}  // namespace quire::testing
