// SPDX-License-Identifier: Apache-2.0
#include "quire/io/buffer_pool.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <utility>
#include <vector>

#include "quire/base/check.h"
#include "quire/base/mutex.h"
#include "quire/base/page_window.h"
#include "quire/sys/huge_pages.h"
#include "quire/sys/limits.h"
#include "quire/sys/memory.h"

namespace quire {
namespace {

// Of x86-64, and of arm64 with 4 KiB pages. Where it is another, memory aligned to it does no harm.
constexpr PageSize kHugePage{2_MiB};

Error pool_error(Errc code, const BufferPoolOptions& options, std::string cause,
                 std::string remedy = {}) {
  return make_error(
      code, "buffer_pool",
      fmt::format("{} buffers of {} bytes", options.buffer_count, options.buffer_bytes),
      std::move(cause), std::move(remedy));
}

Result<std::uint64_t> check_options(const BufferPoolOptions& options) {
  const std::uint64_t page_bytes = sys::os_page_size().bytes();
  if (!std::has_single_bit(options.buffer_bytes) || options.buffer_bytes < page_bytes ||
      options.buffer_count == 0 || options.buffer_bytes > kMapLengthMax / options.buffer_count) {
    return fail(pool_error(Errc::kOutOfRange, options,
                           "a buffer is a power of two of at least one OS page, and there is one "
                           "at least"));
  }
  const std::uint64_t length_bytes = options.buffer_bytes * options.buffer_count;
  const sys::MemoryLimits limits = sys::memory_limits();
  if (limits.binding_bytes && *limits.binding_bytes < length_bytes) {
    return fail(pool_error(Errc::kLimit, options, limits.binding + " is all there is",
                           "ask for fewer or smaller buffers"));
  }
  return length_bytes;
}

}  // namespace

class BufferPool::State {
 public:
  static Result<std::unique_ptr<State>> make(const BufferPoolOptions& options) {
    const std::uint64_t length_bytes = QUIRE_TRY(check_options(options));
    auto state = std::make_unique<State>();
    state->buffer_bytes_ = options.buffer_bytes;
    state->buffer_count_ = options.buffer_count;
    const sys::Outcome<void> mapped = state->map(length_bytes);
    if (!mapped) {
      return fail(sys::to_error(mapped.error(), "buffer_pool", human_bytes(length_bytes)));
    }
    state->fill_free_list();
    return state;
  }

  State() = default;
  ~State() {
    if (mapping_ != nullptr) {
      static_cast<void>(sys::unmap_pages(mapping_, mapping_bytes_));
    }
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  std::optional<std::uint32_t> try_take() {
    const MutexLock lock(mutex_);
    return free_.empty() ? std::nullopt : std::optional(pop());
  }

  std::uint32_t take() {
    const MutexLock lock(mutex_);
    while (free_.empty()) {
      given_back_.wait(mutex_);
    }
    return pop();
  }

  void give_back(std::uint32_t index) {
    {
      const MutexLock lock(mutex_);
      QUIRE_CHECK(is_out_[index]);
      is_out_[index] = false;
      free_.push_back(index);
    }
    given_back_.notify_one();
  }

  [[nodiscard]] std::uint32_t free_count() const {
    const MutexLock lock(mutex_);
    return static_cast<std::uint32_t>(free_.size());
  }

  void check_invariants() const {
    const MutexLock lock(mutex_);
    const auto out_count = static_cast<std::size_t>(std::ranges::count(is_out_, true));
    QUIRE_CHECK_EQ(free_.size() + out_count, std::size_t{buffer_count_});
    QUIRE_CHECK(std::ranges::none_of(
        free_, [&](std::uint32_t index) QUIRE_REQUIRES(mutex_) { return is_out_[index]; }));
  }

  [[nodiscard]] std::span<std::byte> memory() const noexcept { return memory_; }
  [[nodiscard]] std::uint64_t buffer_bytes() const noexcept { return buffer_bytes_; }
  [[nodiscard]] std::uint32_t buffer_count() const noexcept { return buffer_count_; }
  [[nodiscard]] std::uint64_t huge_bytes() const noexcept { return huge_bytes_; }
  [[nodiscard]] std::span<std::byte> bytes_of(std::uint32_t index) const noexcept {
    return memory_.subspan(index * buffer_bytes_, buffer_bytes_);
  }

 private:
  // The surplus is for alignment: address space that is never touched.
  sys::Outcome<void> map(std::uint64_t length_bytes) {
    const std::uint64_t alignment = std::max(kHugePage.bytes(), buffer_bytes_);
    mapping_bytes_ = length_bytes + alignment;
    mapping_ = QUIRE_TRY(sys::map_pages({.length_bytes = mapping_bytes_,
                                         .protection = sys::Protection::kReadWrite,
                                         .visibility = sys::Visibility::kPrivate}));
    const std::uint64_t address = reinterpret_cast<std::uintptr_t>(mapping_);
    sys::Address first = mapping_ + (round_up(address, PageSize(alignment)) - address);
    memory_ = {first, length_bytes};
    // A kernel without huge pages refuses the advice; huge_bytes_ then says what came of it.
    static_cast<void>(sys::advise_pages(first, length_bytes, sys::MemoryAdvice::kHugePage));
    QUIRE_TRY(touch());
    huge_bytes_ = sys::huge_bytes_in(memory_).value_or(0);
    if (huge_bytes_ < round_down(length_bytes, kHugePage)) {
      // Memory was in pieces at that moment: the kernel may move pages together (6.1).
      static_cast<void>(sys::advise_pages(first, length_bytes, sys::MemoryAdvice::kCollapse));
      huge_bytes_ = sys::huge_bytes_in(memory_).value_or(0);
    }
    return {};
  }

  sys::Outcome<void> touch() {
    const sys::Outcome<void> populated =
        sys::advise_pages(memory_.data(), memory_.size(), sys::MemoryAdvice::kPopulateWrite);
    if (populated || populated.error().value != EINVAL) {
      return populated;
    }
    for (std::size_t at = 0; at < memory_.size(); at += sys::os_page_size().bytes()) {
      memory_[at] = std::byte{0};
    }
    return {};
  }

  void fill_free_list() {
    const MutexLock lock(mutex_);
    is_out_.assign(buffer_count_, false);
    // Descending, so that the first ones are taken first.
    for (std::uint32_t index = buffer_count_; index > 0; --index) {
      free_.push_back(index - 1);
    }
  }

  std::uint32_t pop() QUIRE_REQUIRES(mutex_) {
    const std::uint32_t index = free_.back();
    free_.pop_back();
    is_out_[index] = true;
    return index;
  }

  sys::Address mapping_ = nullptr;
  std::uint64_t mapping_bytes_ = 0;
  std::span<std::byte> memory_;
  std::uint64_t buffer_bytes_ = 0;
  std::uint32_t buffer_count_ = 0;
  std::uint64_t huge_bytes_ = 0;

  mutable Mutex mutex_;
  CondVar given_back_;
  // The one given back last is the one the processor's cache knows best: it is taken first.
  std::vector<std::uint32_t> free_ QUIRE_GUARDED_BY(mutex_);
  std::vector<bool> is_out_ QUIRE_GUARDED_BY(mutex_);
};

BufferPool::Buffer::Buffer(BufferPool& pool, std::uint32_t index)
    : pool_(&pool), bytes_(pool.state_->bytes_of(index)), index_(index) {}

BufferPool::Buffer::Buffer(Buffer&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)),
      bytes_(std::exchange(other.bytes_, {})),
      index_(other.index_) {}

BufferPool::Buffer& BufferPool::Buffer::operator=(Buffer&& other) noexcept {
  if (this != &other) {
    release();
    pool_ = std::exchange(other.pool_, nullptr);
    bytes_ = std::exchange(other.bytes_, {});
    index_ = other.index_;
  }
  return *this;
}

BufferPool::Buffer::~Buffer() {
  release();
}

void BufferPool::Buffer::release() noexcept {
  if (pool_ != nullptr) {
    pool_->state_->give_back(index_);
  }
}

Result<std::unique_ptr<BufferPool>> BufferPool::make(const BufferPoolOptions& options) {
  std::unique_ptr<State> state = QUIRE_TRY(State::make(options));
  return std::unique_ptr<BufferPool>(new BufferPool(std::move(state)));
}

BufferPool::BufferPool(std::unique_ptr<State> state) : state_(std::move(state)) {}

BufferPool::~BufferPool() {
  QUIRE_CHECK_EQ(free_count(), buffer_count());
}

std::optional<BufferPool::Buffer> BufferPool::try_take() {
  const std::optional<std::uint32_t> index = state_->try_take();
  return index ? std::optional<Buffer>(Buffer(*this, *index)) : std::nullopt;
}

BufferPool::Buffer BufferPool::take() {
  return Buffer(*this, state_->take());
}

std::span<std::byte> BufferPool::memory() const noexcept {
  return state_->memory();
}

std::uint64_t BufferPool::buffer_bytes() const noexcept {
  return state_->buffer_bytes();
}

std::uint32_t BufferPool::buffer_count() const noexcept {
  return state_->buffer_count();
}

std::uint32_t BufferPool::free_count() const {
  return state_->free_count();
}

std::uint64_t BufferPool::huge_bytes() const noexcept {
  return state_->huge_bytes();
}

std::string BufferPool::explain() const {
  const std::string what =
      fmt::format("{} buffers of {}", buffer_count(), human_bytes(buffer_bytes()));
  if (huge_bytes() >= memory().size()) {
    return what + " in huge pages";
  }
  const std::string granted = huge_bytes() > 0
                                  ? fmt::format("{} of it in huge pages", human_bytes(huge_bytes()))
                                  : std::string("in ordinary pages");
  if (memory().size() < kHugePage.bytes()) {
    return fmt::format("{}, {}: less than one huge page", what, granted);
  }
  return fmt::format("{}, {}: transparent huge pages are set to \"{}\"", what, granted,
                     sys::transparent_huge_page_setting(sys::HugePageUse::kAnonymous));
}

void BufferPool::check_invariants() const {
  state_->check_invariants();
}

}  // namespace quire
