// SPDX-License-Identifier: Apache-2.0
//
// Counts lines, words and bytes of files through mappings, like wc(1), and survives what kills
// programs that map files: a file that is truncated while it is read, or a disk that fails.
//
//   example_word_count FILE...
#include <quire/quire.h>

#include <cstdio>
#include <cstdlib>

namespace {

struct Counts {
  std::uint64_t lines = 0;
  std::uint64_t words = 0;
  std::uint64_t bytes = 0;
};

// Plain data in, plain data out: what a guarded function must look like.
Counts count(std::span<const std::byte> text) {
  Counts counts{.bytes = text.size()};
  bool in_word = false;
  for (const std::byte byte : text) {
    const char letter = static_cast<char>(byte);
    const bool is_space = letter == ' ' || (letter >= '\t' && letter <= '\r');
    counts.lines += letter == '\n';
    counts.words += in_word && is_space;
    in_word = !is_space;
  }
  counts.words += in_word;
  return counts;
}

quire::Result<Counts> count_file(const char* path) {
  const auto map = QUIRE_TRY(quire::map(path));
  QUIRE_TRY(map.advise(quire::kWholeFile, quire::Advice::kSequential));
  return map.guarded(quire::kWholeFile, count);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s FILE...\n", argv[0]);
    return 2;
  }
  int status = EXIT_SUCCESS;
  for (int i = 1; i < argc; ++i) {
    const auto counts = count_file(argv[i]);
    if (!counts) {
      std::fprintf(stderr, "%s\n", counts.error().message().c_str());
      status = EXIT_FAILURE;
      continue;
    }
    std::printf("%7llu %7llu %7llu %s\n", static_cast<unsigned long long>(counts->lines),
                static_cast<unsigned long long>(counts->words),
                static_cast<unsigned long long>(counts->bytes), argv[i]);
  }
  return status;
}
