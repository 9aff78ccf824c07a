// SPDX-License-Identifier: Apache-2.0
//
// quire's Pager: loads and stores, over memory of its own with a hard budget.
//
//   |<-------------- the limit of the round's process -------------->|
//   |<-------- budget of the pager --------->|<------ reserve ------>|
//
// Without a limit the budget is half of what the machine could give: memory of a process cannot be
// taken back like a page cache. A new file grows through the area: what is added reads nothing.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "quire/compare/internal/loops.h"
#include "quire/compare/internal/runner_parts.h"
#include "quire/io/file.h"
#include "quire/pager/pager.h"
#include "quire/sys/limits.h"

namespace quire::compare::internal {
namespace {

// For the process beside its pager: its stack and heap, blocks to write from, drawn pages. Small
// limits give a share.
constexpr std::uint64_t kReserveBytesMax = 16_MiB;
constexpr std::uint64_t kReserveShare = 4;
constexpr std::uint64_t kBudgetShare = 2;

std::uint64_t budget_bytes(std::optional<std::uint64_t> limit_bytes) {
  if (limit_bytes) {
    return *limit_bytes - std::min(kReserveBytesMax, *limit_bytes / kReserveShare);
  }
  const sys::MemoryLimits limits = sys::memory_limits();
  const std::uint64_t available = limits.machine ? limits.machine->available_bytes : 0;
  const std::uint64_t bytes = std::min(available, limits.binding_bytes.value_or(available));
  return std::max(bytes / kBudgetShare, PagerOptions().memory_bytes);
}

class PagedRunner final : public BasicRunner, public PathEngine {
 public:
  explicit PagedRunner(Path path) noexcept : path_(path) {}

  [[nodiscard]] int fd() const noexcept override { return file_.get(); }
  [[nodiscard]] PathEngine* engine() noexcept override { return this; }
  [[nodiscard]] std::string method() const override {
    std::string text = fmt::format("pager, {} faults", name_of(area().fault_path()));
    if (path_ == Path::kPagedPrefetched) {
      text += ", prefetch";
    }
    return work().durability == DurabilityChoice::kNone ? text : text + ", flush";
  }

  [[nodiscard]] std::optional<std::string> fallback() const override {
    return store_->is_direct() ? std::nullopt
                               : std::optional("no direct I/O: the page cache holds pages, too");
  }

  Result<void> check_written(const Tally& tally) override {
    QUIRE_TRY(writable_.flush());  // Nobody asked for it yet where nothing is durable.
    return check_sample_of(work(), tally, target().name(), fd());
  }

  Result<void> read_in(ByteRange range) override {
    const std::uint64_t end = range.offset_bytes + range.length_bytes;
    for (std::uint64_t at = range.offset_bytes; at < end; at += kPatternPageBytes) {
      warmed_ += stamp_of(bytes_ + at);
    }
    return area().check();
  }
  [[nodiscard]] EngineDetails details() const override {
    // The file is opened by its descriptor: what that is called says nothing.
    std::string explanation = area().explain();
    const std::string name = area().name() + ": ";
    for (std::size_t at = 0; (at = explanation.find(name, at)) != std::string::npos;) {
      explanation.erase(at, name.size());
    }
    return {.explanation = std::move(explanation),
            .fault_path = name_of(area().fault_path()),
            .granule_bytes = pager_->options().granule_bytes,
            .memory_bytes = pager_->options().memory_bytes};
  }
  [[nodiscard]] EngineCounts counts() const override {
    const AreaStats stats = area().stats();
    return {.faults = stats.faults,
            .evicted = stats.evicted,
            .reads = stats.reads,
            .read_bytes = stats.read_bytes,
            .read_ahead_bytes = stats.read_ahead_bytes,
            .writes = stats.writes,
            .write_bytes = stats.write_bytes,
            .memory_taken_bytes_max = pager_->stats().taken_bytes_max};
  }

 protected:
  Result<void> prepare() override {
    file_ = QUIRE_TRY(open_for(target(), work(), 0));
    block_ = QUIRE_TRY(make_block(work().block_bytes));
    pager_.emplace(PagerOptions{
        .memory_bytes = budget_bytes(work().memory_bytes),
        .fault_path = path_ == Path::kPagedHandler ? FaultPath::kHandler : FaultPath::kAutomatic});
    const Result<void> mapped = map();
    return mapped ? mapped : fail(mapped.error().about("map", target().name()));
  }

  // A fill that fails reads as zeros, and sticks: looked at once, in the end.
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
      static_cast<void>(flush(kWholeFile));
    }
    return area().check();
  }

 private:
  // As Pager::map(path) opens it; what it became can be asked for this way.
  Result<void> map() {
    store_ = QUIRE_TRY(open_file(fmt::format("/proc/self/fd/{}", file_.get()),
                                 {.writable = is_write(work().pattern),
                                  .cache = CacheUse::kBypass,
                                  .read_ahead = ReadAhead::kNone}));
    if (!is_write(work().pattern)) {
      readable_ = QUIRE_TRY(pager_->map(store_, {.on_fill_error = OnFillError::kZeros}));
      bytes_ = readable_.bytes().data();
      return {};
    }
    const std::uint64_t new_bytes = needs_new_file(work().pattern) ? work().bytes_max : 0;
    writable_ = QUIRE_TRY(pager_->map(store_, {.access = Access::kReadWrite,
                                               .on_fill_error = OnFillError::kZeros,
                                               .reserve_bytes = new_bytes}));
    if (new_bytes > 0) {
      QUIRE_TRY(writable_.resize(new_bytes));
    }
    bytes_ = writable_.bytes().data();
    return {};
  }

  [[nodiscard]] const PagedArea& area() const noexcept {
    return is_write(work().pattern) ? writable_ : readable_;
  }
  [[nodiscard]] std::byte* at(std::uint64_t offset) noexcept {
    return writable_.bytes().data() + offset;
  }

  void run_scan(Tally& tally) {
    scan(work(), tally, [&](std::uint64_t offset, std::size_t length) {
      return std::span<const std::byte>(bytes_ + offset, length);
    });
  }

  void run_visit(Tally& tally) {
    if (path_ == Path::kPagedPrefetched) {
      ask_for(0);
    }
    visit(work(), tally, [&](std::uint64_t offset, std::size_t length) {
      if (path_ == Path::kPagedPrefetched && tally.operations % work().depth == 0) {
        ask_for(tally.operations + work().depth);
      }
      return std::span<const std::byte>(bytes_ + offset, length);
    });
  }

  // The next `depth` pages from an operation on: they are read while those before them are used.
  void ask_for(std::uint64_t operation) {
    asked_.clear();
    for (std::uint64_t i = 0; i < work().depth; ++i) {
      asked_.push_back({drawn_offset(work(), operation + i), kPatternPageBytes});
    }
    static_cast<void>(area().prefetch(asked_));  // Whoever loads first waits; nobody else does.
  }

  void run_fill(Tally& tally) {
    const std::span<std::byte> block(block_.address(),
                                     static_cast<std::size_t>(work().block_bytes));
    fill(work(), tally, block, [&](std::uint64_t offset, std::span<const std::byte> bytes) {
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
             flush({tally.bytes, bytes.size()});
    });
    if (const Result<void> cut = writable_.resize(tally.bytes); !cut) {
      static_cast<void>(not_done(cut.error()));
    }
  }

  void run_update(Tally& tally) {
    update(work(), tally, [&](std::uint64_t offset) {
      sum_and_count_update(tally, at(offset));
      return work().durability != DurabilityChoice::kEachOperation ||
             flush({offset, kPatternPageBytes});
    });
  }

  bool flush(ByteRange range) {
    // What was read as zeros is never written: check() has the cause, flush() only says so.
    const Result<void> checked = area().check();
    const Result<void> flushed = checked ? writable_.flush(range) : checked;
    return flushed ? true : not_done(flushed.error());
  }

  const Path path_;
  sys::Descriptor file_;
  Pages block_;
  std::shared_ptr<File> store_;
  std::optional<Pager> pager_;  // Before its areas: they go first.
  PagedArea readable_;
  WritablePagedArea writable_;
  const std::byte* bytes_ = nullptr;
  std::vector<ByteRange> asked_;
  std::uint64_t warmed_ = 0;  // So that no load of read_in() can be left out.
};

}  // namespace

std::unique_ptr<PathRunner> make_paged_runner(Path path) {
  return std::make_unique<PagedRunner>(path);
}

}  // namespace quire::compare::internal
