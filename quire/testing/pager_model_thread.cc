// SPDX-License-Identifier: Apache-2.0
#include "quire/testing/pager_model_thread.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>

namespace quire::testing {
namespace {

constexpr std::uint64_t kWordBytes = WordModel::kWordBytes;
constexpr std::uint64_t kAuditEvery = 32;      // Operations: an audit is some 30 system calls.
constexpr std::uint64_t kPipeBytesMax = 4096;  // Always fits into an empty pipe.
constexpr std::uint64_t kStreamBytesMax = 1_MiB;
constexpr std::uint64_t kStreamStepWords = 37;  // Odd: every place within a page has its turn.

// Loads and stores of an area are atomic: other threads do the same at the same time.
std::uint64_t load_word(const std::uint64_t* place) {
  return std::atomic_ref<std::uint64_t>(*const_cast<std::uint64_t*>(place))
      .load(std::memory_order_acquire);  // Versions are looked at before and after it.
}
void store_word(std::uint64_t* place, std::uint64_t value) {
  std::atomic_ref<std::uint64_t>(*place).store(value, std::memory_order_relaxed);  // note() follows
}

}  // namespace

PagerModelThread::PagerModelThread(PagerModel& model, std::span<std::byte> bytes, unsigned index,
                                   std::uint64_t seed)
    : model_(model),
      index_(index),
      random_(seed),
      base_(bytes.data()),
      word_count_(bytes.size() / kWordBytes) {
  QUIRE_CHECK(::pipe(pipe_) == 0);
}

PagerModelThread::~PagerModelThread() {
  ::close(pipe_[0]);
  ::close(pipe_[1]);
}

std::span<const PagerModelThread::Choice> PagerModelThread::choices(PagerMix mix) {
  using Self = PagerModelThread;
  static constexpr Choice kEverything[] = {{30, &Self::load},        {30, &Self::store},
                                           {4, &Self::load_forward}, {3, &Self::load_backward},
                                           {3, &Self::load_strided}, {3, &Self::overwrite_block},
                                           {3, &Self::flush},        {5, &Self::prefetch},
                                           {6, &Self::pin},          {4, &Self::pin_for_writing},
                                           {4, &Self::evict},        {3, &Self::advise},
                                           {2, &Self::look}};
  static constexpr Choice kStreams[] = {{10, &Self::load},          {20, &Self::load_forward},
                                        {15, &Self::load_backward}, {15, &Self::load_strided},
                                        {5, &Self::store},          {20, &Self::overwrite_block},
                                        {10, &Self::advise},        {5, &Self::prefetch}};
  static constexpr Choice kEvictors[] = {
      {30, &Self::load}, {40, &Self::store}, {25, &Self::evict}, {5, &Self::flush}};
  switch (mix) {
    case PagerMix::kStreams: return kStreams;
    case PagerMix::kEvictors: return kEvictors;
    case PagerMix::kEverything: break;
  }
  return kEverything;
}

void PagerModelThread::run(std::uint64_t operations) {
  const std::span<const Choice> all = choices(model_.options_.mix);
  std::uint64_t weights = 0;
  for (const Choice& choice : all) {
    weights += choice.weight;
  }
  for (std::uint64_t i = 0; i < operations && !model_.is_stopped(); ++i) {
    std::uint64_t drawn = random_.below(weights);
    const Choice* choice = all.data();
    while (drawn >= choice->weight) {
      drawn -= choice->weight;
      ++choice;
    }
    (this->*choice->operation)();
    if (i % kAuditEvery == index_) {
      model_.audit();
    }
  }
}

void PagerModelThread::touch(std::uint64_t operations, std::uint64_t word_count) {
  word_count_ = word_count;
  for (std::uint64_t i = 0; i < operations && !model_.is_stopped(); ++i) {
    random_.below(2) == 0 ? load() : store();
  }
}

std::uint64_t PagerModelThread::pick_own(std::uint64_t& count) {
  for (;;) {
    const std::uint64_t word = pick_word();
    if (model_.words_.owner_of(word) == index_) {
      count = std::min(model_.words_.run_from(word), word_count_ - word);
      return word;
    }
  }
}

ByteRange PagerModelThread::pick_range(std::uint64_t length_bytes_max) {
  const std::uint64_t size = word_count_ * kWordBytes;
  const std::uint64_t offset = random_.below(size);
  return {offset, 1 + random_.below(std::min(length_bytes_max, size - offset))};
}

std::uint64_t* PagerModelThread::at(std::uint64_t word) const {
  return reinterpret_cast<std::uint64_t*>(base_ + word * kWordBytes);
}

bool PagerModelThread::is_overwritten(std::uint64_t word, std::uint32_t& seen) const {
  seen = model_.overwrites_[word / model_.words_.block_words()].load();
  return seen % 2 == 1 && model_.words_.owner_of(word) != index_;
}

// `place` is where the word is to be loaded from: the area, or a pin of it.
void PagerModelThread::check_word(const std::uint64_t* place, std::uint64_t word, const char* how) {
  const WordModel& words = model_.words_;
  std::uint32_t overwrite_before = 0;
  std::uint32_t overwrite_after = 0;
  const bool was_overwritten = is_overwritten(word, overwrite_before);
  const std::uint64_t before = words.version(word);
  const std::uint64_t seen = load_word(place);
  const bool is_own = words.owner_of(word) == index_;
  const bool is_good = is_own ? seen == words.expected(word) : words.may_be(word, seen, before);
  if (is_good || was_overwritten || is_overwritten(word, overwrite_after) ||
      overwrite_before != overwrite_after) {
    return;
  }
  const std::uint64_t again = load_word(place);
  model_.report(fmt::format("thread {}: {}: {}; loaded again: {:#x}", index_, how,
                            words.describe(word, seen, before), again));
}

void PagerModelThread::load() {
  const std::uint64_t word = pick_word();
  const std::uint64_t count = std::min(1 + random_.below(8), word_count_ - word);
  for (std::uint64_t i = 0; i < count; ++i) {
    check_word(at(word + i), word + i, "load");
  }
}

void PagerModelThread::load_forward() {
  const ByteRange range = pick_range(kStreamBytesMax);
  const std::uint64_t end = (range.offset_bytes + range.length_bytes) / kWordBytes;
  for (std::uint64_t word = range.offset_bytes / kWordBytes; word < end; word += kStreamStepWords) {
    check_word(at(word), word, "forward load");
  }
}

void PagerModelThread::load_backward() {
  const ByteRange range = pick_range(kStreamBytesMax);
  const std::uint64_t first = range.offset_bytes / kWordBytes;
  std::uint64_t word = (range.offset_bytes + range.length_bytes - 1) / kWordBytes;
  for (; word >= first + kStreamStepWords; word -= kStreamStepWords) {
    check_word(at(word), word, "backward load");
  }
}

void PagerModelThread::load_strided() {
  const std::uint64_t stride = model_.words_.block_words() * (2 + random_.below(6));
  const std::uint64_t count = 4 + random_.below(60);
  std::uint64_t word = pick_word();
  for (std::uint64_t i = 0; i < count && word < word_count_; ++i, word += stride) {
    check_word(at(word), word, "strided load");
  }
}

void PagerModelThread::store_words(std::uint64_t first, std::uint64_t count) {
  for (std::uint64_t word = first; word < first + count; ++word) {
    const std::uint64_t value = model_.words_.next(word);
    store_word(at(word), value);
    model_.words_.note(word, value);
  }
}

void PagerModelThread::store() {
  std::uint64_t own = 0;
  const std::uint64_t word = pick_own(own);
  constexpr std::array<std::uint64_t, 5> kCounts = {1, 1, 2, 16, 512};
  const std::uint64_t count = std::min(own, kCounts.at(random_.below(kCounts.size())));
  check_word(at(word), word, "load before a store");
  store_words(word, count);
  check_word(at(word + count - 1), word + count - 1, "load after a store");
}

// Taking advice back from the middle of a range makes two of it, for which there may be no room.
void PagerModelThread::end_advice(ByteRange range) {
  const Result<void> ended = model_.area_.advise(range, Pattern::kNormal);
  if (!ended && ended.error().code() == Errc::kLimit) {
    (void)model_.is_good(model_.area_.advise(kWholeFile, Pattern::kNormal), "advise kNormal");
  } else {
    (void)model_.is_good(ended, "advise kNormal");
  }
}

void PagerModelThread::overwrite_block() {
  const std::uint64_t block_words = model_.words_.block_words();
  std::uint64_t own = 0;
  const std::uint64_t block = pick_own(own) / block_words;
  const std::uint64_t first = block * block_words;
  if (!model_.words_.has_single_owner(block) || first + block_words > word_count_) {
    return;
  }
  const ByteRange range{first * kWordBytes, block_words * kWordBytes};
  model_.overwrites_[block].fetch_add(1);
  const Result<void> advised = model_.area_.advise(range, Pattern::kOverwrite);
  if (advised) {
    store_words(first, block_words);
    end_advice(range);
  } else if (advised.error().code() != Errc::kLimit) {
    model_.report("advise kOverwrite: " + advised.error().message());
  }
  model_.overwrites_[block].fetch_add(1);
  check_word(at(first), first, "first word of an overwritten block");
  check_word(at(first + block_words - 1), first + block_words - 1, "last word of it");
}

void PagerModelThread::flush() {
  const ByteRange range = pick_range(random_.below(8) == 0 ? kToEnd : 256_KiB);
  // Some words of the range, and what must be in the store after the flush.
  const std::uint64_t first = (range.offset_bytes + kWordBytes - 1) / kWordBytes;
  const std::uint64_t end = (range.offset_bytes + range.length_bytes) / kWordBytes;
  std::vector<std::uint64_t> versions;
  for (std::uint64_t word = first; word < end && versions.size() < 2048; ++word) {
    versions.push_back(model_.words_.version(word));
  }
  if (random_.below(4) == 0) {
    const Ticket ticket = model_.area_.flush_async(range, Durability::kData);
    if (!model_.is_good(ticket.wait(), "flush_async")) {
      return;
    }
  } else if (!model_.is_good(model_.area_.flush(range, Durability::kData), "flush")) {
    return;
  }
  check_flushed({first * kWordBytes, versions.size() * kWordBytes}, versions);
}

// The store may hold newer words than the flush left there, but never older ones.
void PagerModelThread::check_flushed(ByteRange range, const std::vector<std::uint64_t>& versions) {
  std::vector<std::uint64_t> image(versions.size());
  std::vector<std::uint32_t> overwrites;
  const std::uint64_t first = range.offset_bytes / kWordBytes;
  for (std::uint64_t i = 0; i < image.size(); ++i) {
    overwrites.push_back(model_.overwrites_[(first + i) / model_.words_.block_words()].load());
  }
  model_.ground_.read(range.offset_bytes, std::as_writable_bytes(std::span(image)));
  for (std::uint64_t i = 0; i < image.size(); ++i) {
    const std::uint64_t word = first + i;
    std::uint32_t now = 0;
    const bool is_changing = is_overwritten(word, now) || overwrites[i] != now || now % 2 == 1;
    if (!model_.words_.may_be(word, image[i], versions[i]) && !is_changing) {
      model_.report(fmt::format("thread {}: in the store after a flush: {}", index_,
                                model_.words_.describe(word, image[i], versions[i])));
      return;
    }
  }
}

void PagerModelThread::prefetch() {
  std::vector<ByteRange> ranges(1 + random_.below(6));
  std::ranges::generate(ranges, [this] { return pick_range(64_KiB); });
  const Ticket ticket = model_.area_.prefetch(ranges);
  if (random_.below(2) == 0) {
    (void)model_.is_good(ticket.wait(), "prefetch");
    const std::uint64_t word = ranges.front().offset_bytes / kWordBytes;
    check_word(at(word), word, "load after a prefetch");
  }
}

bool PagerModelThread::write_to_pipe(std::span<const std::byte> bytes) {
#if defined(__SANITIZE_THREAD__)
  // As in read_from_pipe().
  std::array<std::uint64_t, kPipeBytesMax / kWordBytes> words{};
  for (std::size_t i = 0; i < bytes.size() / kWordBytes; ++i) {
    words[i] = load_word(reinterpret_cast<const std::uint64_t*>(bytes.data()) + i);
  }
  const ssize_t done = ::write(pipe_[1], words.data(), bytes.size());
#else
  const ssize_t done = ::write(pipe_[1], bytes.data(), bytes.size());
#endif
  if (done != static_cast<ssize_t>(bytes.size())) {
    model_.report(fmt::format("thread {}: write() from a pin: {}", index_, errno_name(errno)));
    return false;
  }
  return true;
}

bool PagerModelThread::read_from_pipe(std::span<std::byte> bytes) {
#if defined(__SANITIZE_THREAD__)
  // A system call's store beside atomic loads is a race by the sanitizer's rules: by way of a copy.
  std::array<std::uint64_t, kPipeBytesMax / kWordBytes> words{};
  const std::span<std::byte> into = std::as_writable_bytes(std::span(words)).first(bytes.size());
#else
  const std::span<std::byte> into = bytes;
#endif
  const ssize_t done = ::read(pipe_[0], into.data(), into.size());
  if (done != static_cast<ssize_t>(bytes.size())) {
    model_.report(fmt::format("thread {}: read() into a pin: {}", index_, errno_name(errno)));
    return false;
  }
#if defined(__SANITIZE_THREAD__)
  for (std::size_t i = 0; i < bytes.size() / kWordBytes; ++i) {
    store_word(reinterpret_cast<std::uint64_t*>(bytes.data()) + i, words[i]);
  }
#endif
  return true;
}

// The pin is held until the next one, so that evictors meet it; system calls may use it.
void PagerModelThread::pin() {
  held_.release();
  const std::uint64_t length_max = model_.options_.pager.granule_bytes / 2;
  const std::uint64_t first = pick_word();
  const std::uint64_t words =
      std::min({1 + random_.below(length_max / kWordBytes), word_count_ - first});
  Result<Pin> pinned = model_.area_.pin({first * kWordBytes, words * kWordBytes});
  if (!pinned) {
    model_.report("pin: " + pinned.error().message());
    return;
  }
  held_ = std::move(*pinned);
  const auto* place = reinterpret_cast<const std::uint64_t*>(held_.bytes().data());
  check_word(place, first, "load of a pin");
  check_word(place + words - 1, first + words - 1, "load of a pin's end");
  const std::span<const std::byte> sent =
      held_.bytes().first(std::min<std::size_t>(held_.bytes().size(), kPipeBytesMax));
  std::vector<std::uint64_t> copy(sent.size() / kWordBytes);
  if (!write_to_pipe(sent) || !read_from_pipe(std::as_writable_bytes(std::span(copy)))) {
    return;
  }
  for (std::uint64_t i = 0; i < copy.size(); ++i) {
    if (model_.words_.owner_of(first + i) == index_) {
      check_word(&copy[i], first + i, "what write() took from a pin");
    }
  }
}

void PagerModelThread::pin_for_writing() {
  held_.release();
  std::uint64_t own = 0;
  const std::uint64_t first = pick_own(own);
  const std::uint64_t count = 1 + random_.below(std::min(own, kPipeBytesMax / kWordBytes));
  Result<WritablePin> pinned =
      model_.area_.pin_for_writing({first * kWordBytes, count * kWordBytes});
  if (!pinned) {
    model_.report("pin_for_writing: " + pinned.error().message());
    return;
  }
  std::vector<std::uint64_t> values(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    values[i] = model_.words_.next(first + i);
  }
  if (write_to_pipe(std::as_bytes(std::span(values))) && read_from_pipe(pinned->bytes())) {
    for (std::uint64_t i = 0; i < count; ++i) {
      model_.words_.note(first + i, values[i]);
    }
  }
}

void PagerModelThread::evict() {
  const ByteRange range = pick_range(random_.below(8) == 0 ? kToEnd : 128_KiB);
  const Result<PagedEviction> evicted = model_.area_.evict(range);
  if (!evicted) {
    model_.report("evict: " + evicted.error().message());
  }
}

void PagerModelThread::advise() {
  constexpr std::array kPatterns = {Pattern::kNormal, Pattern::kRandom, Pattern::kSequential,
                                    Pattern::kWillNotReuse};
  const Pattern pattern = kPatterns.at(random_.below(kPatterns.size()));
  const ByteRange range = pick_range(2_MiB);
  const Result<void> advised = model_.area_.advise(range, pattern);
  if (!advised && advised.error().code() != Errc::kLimit) {
    model_.report("advise: " + advised.error().message());
  }
}

void PagerModelThread::look() {
  const ByteRange range = pick_range(1_MiB);
  const Result<PagedResidency> resident = model_.area_.resident(range);
  if (!resident) {
    model_.report("resident: " + resident.error().message());
  } else if (resident->resident_bytes < resident->dirty_bytes ||
             resident->resident_bytes > model_.options_.pager.memory_bytes) {
    model_.report(fmt::format("resident: {} bytes in memory, {} dirty", resident->resident_bytes,
                              resident->dirty_bytes));
  }
  (void)model_.is_good(model_.area_.check(), "check");
}

}  // namespace quire::testing
