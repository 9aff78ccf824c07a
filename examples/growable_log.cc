// SPDX-License-Identifier: Apache-2.0
//
// A log that grows while it is mapped: pointers into it stay valid, the file is always exactly as
// long as what was appended, and flush() says when it is on disk.
//
//   example_growable_log FILE
#include <quire/quire.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

using quire::Access;

quire::Result<void> write_log(const std::string& path) {
  auto log = QUIRE_TRY(quire::map(
      path,
      {.access = Access::kReadWrite, .create = true, .reserve_bytes = std::uint64_t{1} << 40}));
  QUIRE_TRY(log.resize(0));
  const std::string first = "the first record\n";
  QUIRE_TRY(log.append(std::as_bytes(std::span(first))));
  const std::string_view early = log.text();  // A view of the beginning, kept while it grows.
  for (int i = 0; i < 100'000; ++i) {
    const std::string record = "record " + std::to_string(i) + "\n";
    QUIRE_TRY(log.append(std::as_bytes(std::span(record))));
  }
  QUIRE_TRY(log.flush());
  std::printf("%s\n", log.explain().c_str());
  std::printf("%llu bytes, and the early view still reads: %.*s",
              static_cast<unsigned long long>(log.size_bytes()), static_cast<int>(early.size()),
              early.data());
  return log.close();
}

quire::Result<bool> check_log(const std::string& path) {
  const auto log = QUIRE_TRY(quire::map(path));
  return log.text().starts_with("the first record\n") && log.text().ends_with("record 99999\n");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s FILE\n", argv[0]);
    return 2;
  }
  const quire::Result<bool> good = write_log(argv[1]).and_then([&] { return check_log(argv[1]); });
  if (!good) {
    std::fprintf(stderr, "%s\n", good.error().message().c_str());
    return EXIT_FAILURE;
  }
  return *good ? EXIT_SUCCESS : EXIT_FAILURE;
}
