// SPDX-License-Identifier: Apache-2.0
//
// Mappings: as they come, with the best advice for the pattern, and with the pages put in first.
#include "quire/base/page_window.h"
#include "quire/compare/internal/loops.h"
#include "quire/compare/internal/runner_parts.h"
#include "quire/sys/file.h"

namespace quire::compare::internal {
namespace {

// Put in at a time: large enough for the device, small enough for any memory limit.
constexpr std::uint64_t kPopulateBytes = std::uint64_t{8} << 20;

class MapRunner final : public BasicRunner {
 public:
  explicit MapRunner(Path path) noexcept : path_(path) {}

  [[nodiscard]] int fd() const noexcept override { return file_.get(); }
  [[nodiscard]] std::string method() const override {
    std::string text = "mmap";
    if (path_ == Path::kMapAdvised) {
      text += is_random(work().pattern) ? ", MADV_RANDOM" : ", MADV_SEQUENTIAL";
    } else if (path_ == Path::kMapPopulated) {
      text += is_write(work().pattern) ? ", MADV_POPULATE_WRITE" : ", MADV_POPULATE_READ";
    }
    return work().durability == DurabilityChoice::kNone ? text : text + ", msync";
  }

  Result<void> check_written(const Tally& tally) override {
    return check_sample_of(work(), tally, target().name(), fd());
  }

 protected:
  Result<void> prepare() override {
    const bool is_new = needs_new_file(work().pattern);
    const std::uint64_t length = is_new ? work().bytes_max : work().working_set_bytes;
    file_ = QUIRE_TRY(open_for(target(), work(), length));
    block_ = QUIRE_TRY(make_block(work().block_bytes));
    pages_ =
        QUIRE_TRY(Pages::map({.length_bytes = round_up(length, sys::os_page_size()),
                              .protection = is_write(work().pattern) ? sys::Protection::kReadWrite
                                                                     : sys::Protection::kRead,
                              .fd = file_.get()},
                             target().name()));
    if (path_ == Path::kMapAdvised) {
      const auto advised = sys::advise_pages(
          pages_.address(), pages_.length_bytes(),
          is_random(work().pattern) ? sys::MemoryAdvice::kRandom : sys::MemoryAdvice::kSequential);
      if (!advised) {
        return fail(error_at(advised.error(), "madvise", 0));
      }
    }
    return {};
  }

  Result<void> run_pattern(Tally& tally) override {
    switch (work().pattern) {
      case Pattern::kSequentialRead: run_scan(tally); break;
      case Pattern::kRandomRead:
      case Pattern::kSkewedRead: run_visit(tally); break;
      case Pattern::kSequentialWrite: run_fill(tally); break;
      case Pattern::kAppend: run_append(tally); break;
      case Pattern::kRandomUpdate: run_update(tally); break;
    }
    if (work().durability == DurabilityChoice::kAtEnd) {
      static_cast<void>(sync(tally, 0, pages_.length_bytes()));
    }
    return {};
  }

 private:
  [[nodiscard]] std::byte* at(std::uint64_t offset) const noexcept {
    return pages_.address() + offset;
  }

  void run_scan(Tally& tally) {
    if (path_ != Path::kMapPopulated) {
      scan(work(), tally, [&](std::uint64_t offset, std::size_t length) {
        return std::span<const std::byte>(at(offset), length);
      });
      return;
    }
    scan(work(), tally, [&](std::uint64_t offset, std::size_t length) {
      return populate(tally, offset, sys::MemoryAdvice::kPopulateRead)
                 ? std::span<const std::byte>(at(offset), length)
                 : std::span<const std::byte>();
    });
  }

  void run_visit(Tally& tally) {
    if (path_ == Path::kMapPopulated) {
      for (std::uint64_t offset = 0; offset < pages_.length_bytes(); offset += kPopulateBytes) {
        if (!populate(tally, offset, sys::MemoryAdvice::kPopulateRead)) {
          return;
        }
      }
    }
    visit(work(), tally, [&](std::uint64_t offset, std::size_t length) {
      return std::span<const std::byte>(at(offset), length);
    });
  }

  void run_fill(Tally& tally) {
    const std::span<std::byte> block(block_.address(),
                                     static_cast<std::size_t>(work().block_bytes));
    fill(work(), tally, block, [&](std::uint64_t offset, std::span<const std::byte> bytes) {
      if (path_ == Path::kMapPopulated &&
          !populate(tally, offset, sys::MemoryAdvice::kPopulateWrite)) {
        return false;
      }
      std::memcpy(at(offset), bytes.data(), bytes.size());
      return true;
    });
  }

  // The file was made long enough first; what was not needed is cut off in the end.
  void run_append(Tally& tally) {
    const std::span<std::byte> record(block_.address(),
                                      static_cast<std::size_t>(work().block_bytes));
    append(work(), tally, record, [&](std::span<const std::byte> bytes) {
      std::memcpy(at(tally.bytes), bytes.data(), bytes.size());
      return work().durability != DurabilityChoice::kEachOperation ||
             sync(tally, tally.bytes, bytes.size());
    });
    const auto cut = sys::truncate_file(file_.get(), tally.bytes);
    ++tally.system_calls;
    if (!cut) {
      static_cast<void>(not_done(error_at(cut.error(), "ftruncate", tally.bytes)));
    }
  }

  void run_update(Tally& tally) {
    update(work(), tally, [&](std::uint64_t offset) {
      sum_and_count_update(tally, at(offset));
      return work().durability != DurabilityChoice::kEachOperation ||
             sync(tally, offset, kPatternPageBytes);
    });
  }

  // Puts in the next piece when `offset` enters it.
  bool populate(Tally& tally, std::uint64_t offset, sys::MemoryAdvice advice) {
    if (offset >= populated_from_ && offset < populated_to_) {
      return true;
    }
    populated_from_ = offset / kPopulateBytes * kPopulateBytes;
    populated_to_ = std::min(populated_from_ + kPopulateBytes, pages_.length_bytes());
    const auto populated =
        sys::advise_pages(at(populated_from_), populated_to_ - populated_from_, advice);
    ++tally.system_calls;
    return populated ? true : not_done(error_at(populated.error(), "madvise", offset));
  }

  bool sync(Tally& tally, std::uint64_t offset, std::uint64_t length) {
    const std::uint64_t from = round_down(offset, sys::os_page_size());
    const auto synced = sys::sync_pages(at(from), offset + length - from);
    ++tally.system_calls;
    return synced ? true : not_done(error_at(synced.error(), "msync", offset));
  }

  const Path path_;
  sys::Descriptor file_;
  Pages block_;
  Pages pages_;
  std::uint64_t populated_from_ = 0;
  std::uint64_t populated_to_ = 0;
};

}  // namespace

std::unique_ptr<PathRunner> make_map_runner(Path path) {
  return std::make_unique<MapRunner>(path);
}

}  // namespace quire::compare::internal
