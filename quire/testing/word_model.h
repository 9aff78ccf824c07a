// SPDX-License-Identifier: Apache-2.0
//
// WordModel: what every 8-byte word of a shared range of bytes must hold while several threads
// store to it, so that a lost, stale, torn or foreign word is noticed by whoever loads it.
//
//   word:   | check: 16 bits of a hash of place and version | version: 48 bits |     0: zeros
//
//   blocks  | one owner | stripes | stripes | one owner | stripes | ...
//   stripes of an OS page:  | thread 0 | thread 1 | ... |       every page has a part of everyone
//
// Only its owner stores to a word, each time a higher version, and notes here that it did:
//
//   owner:   store next(word) to the memory, then note()
//   reader:  before = version(word); load; after = version(word)
//            before <= version in the loaded word <= next version after `after`
//
// The owner itself, and anybody at a quiet moment, knows the one value that is right.
//
// Versions begin anew after truncate(), but higher than all before it: what comes back from beyond
// an old end is a difference, too.
//
// Thread-safety: next() and note() by the word's owner; truncate() with nobody else at work on the
//                words that go; the rest from any thread.
#pragma once

#include <fmt/format.h>

#include <atomic>
#include <bit>
#include <cstdint>
#include <string>
#include <vector>

#include "quire/base/check.h"

namespace quire::testing {

struct WordModelOptions {
  std::uint64_t size_bytes = 0;
  std::uint64_t block_bytes = 0;  // A multiple of the OS page.
  unsigned threads = 1;           // A power of two.
};

class WordModel {
 public:
  static constexpr std::uint64_t kWordBytes = 8;
  static constexpr std::uint64_t kPageWords = 4096 / kWordBytes;

  explicit WordModel(const WordModelOptions& options)
      : block_words_(options.block_bytes / kWordBytes),
        stripe_words_(kPageWords / options.threads),
        threads_(options.threads),
        versions_(options.size_bytes / kWordBytes) {
    QUIRE_CHECK(std::has_single_bit(options.threads));
    QUIRE_CHECK(block_words_ % kPageWords == 0 && block_words_ > 0);
    for (std::atomic<std::uint64_t>& version : versions_) {
      version = kFirstVersion;
    }
  }

  [[nodiscard]] std::uint64_t word_count() const { return versions_.size(); }
  [[nodiscard]] std::uint64_t block_words() const { return block_words_; }

  // Every third block has a single owner.
  [[nodiscard]] bool has_single_owner(std::uint64_t block) const { return block % 3 == 0; }
  [[nodiscard]] unsigned owner_of(std::uint64_t word) const {
    const std::uint64_t block = word / block_words_;
    const std::uint64_t turn =
        has_single_owner(block) ? block / 3 : word % kPageWords / stripe_words_;
    return static_cast<unsigned>(turn % threads_);
  }
  // How many words from this one on have the same owner without a gap: at least one.
  [[nodiscard]] std::uint64_t run_from(std::uint64_t word) const {
    const std::uint64_t unit = has_single_owner(word / block_words_) ? block_words_ : stripe_words_;
    return unit - word % unit;
  }

  [[nodiscard]] std::uint64_t version(std::uint64_t word) const {
    return versions_[word].load(std::memory_order_acquire);  // Pairs with note().
  }
  [[nodiscard]] std::uint64_t version_after(std::uint64_t version) const {
    return (version == 0 ? epoch_.load() << kEpochShift : version) + 1;
  }
  [[nodiscard]] std::uint64_t next(std::uint64_t word) const {
    return word_of(word, version_after(version(word)));
  }
  void note(std::uint64_t word, std::uint64_t stored) {
    // Release: who sees the version has the store before it. Pairs with version().
    versions_[word].store(stored & kVersionMask, std::memory_order_release);
  }
  // The bytes from this word on are zeros from now on.
  void truncate(std::uint64_t first_word) {
    epoch_.fetch_add(1);
    for (std::uint64_t word = first_word; word < versions_.size(); ++word) {
      versions_[word].store(0, std::memory_order_relaxed);  // Nobody else looks at them.
    }
  }

  // What the memory holds when the word has that version.
  [[nodiscard]] static std::uint64_t word_of(std::uint64_t word, std::uint64_t version) {
    if (version == 0) {
      return 0;
    }
    const std::uint64_t mixed = (word * 0x9e3779b97f4a7c15 ^ version) * 0xbf58476d1ce4e5b9;
    return (mixed >> kVersionBits << kVersionBits) | version;
  }
  [[nodiscard]] std::uint64_t expected(std::uint64_t word) const {
    return word_of(word, version(word));
  }

  // Whether `seen`, loaded between two looks at version(), may have been there.
  [[nodiscard]] bool may_be(std::uint64_t word, std::uint64_t seen, std::uint64_t before) const {
    const std::uint64_t found = seen & kVersionMask;
    return seen == word_of(word, found) && found >= before && found <= version_after(version(word));
  }
  [[nodiscard]] std::string describe(std::uint64_t word, std::uint64_t seen,
                                     std::uint64_t before) const {
    const std::uint64_t found = seen & kVersionMask;
    const bool is_whole = seen == word_of(word, found);
    return fmt::format("offset {}, block {}, owner {}: found {:#x} ({}), versions {:#x} to {:#x}",
                       word * kWordBytes, word / block_words_, owner_of(word), seen,
                       is_whole ? "of this word" : "never stored here", before,
                       version_after(version(word)));
  }

 private:
  static constexpr std::uint64_t kVersionBits = 48;
  static constexpr std::uint64_t kVersionMask = (std::uint64_t{1} << kVersionBits) - 1;
  static constexpr std::uint64_t kEpochShift = 24;   // Stores to one word between two truncations.
  static constexpr std::uint64_t kFirstVersion = 1;  // Zeros are never right in the beginning.

  const std::uint64_t block_words_;
  const std::uint64_t stripe_words_;
  const std::uint64_t threads_;
  std::vector<std::atomic<std::uint64_t>> versions_;
  std::atomic<std::uint64_t> epoch_{0};
};

}  // namespace quire::testing
