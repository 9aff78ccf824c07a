// SPDX-License-Identifier: Apache-2.0
//
// The smallest program a user writes: prints a file through a mapping, and appends a line to
// another one.
#include <quire/quire.h>

#include <iostream>
#include <span>
#include <string_view>

namespace {

quire::Result<void> show(const char* path) {
  const quire::Mapping map = QUIRE_TRY(quire::map(path));
  std::cout << map.text() << std::flush;
  return {};
}

quire::Result<void> note(const char* path, std::string_view line) {
  quire::WritableMapping log =
      QUIRE_TRY(quire::map(path, {.access = quire::Access::kReadWrite, .create = true}));
  QUIRE_TRY(log.append(std::as_bytes(std::span(line))));
  return log.close();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: consumer FILE LOG\n";
    return 2;
  }
  quire::Result<void> done = show(argv[1]);
  if (done) {
    done = note(argv[2], "shown\n");
  }
  if (!done) {
    std::cerr << done.error().message() << '\n';
    return 1;
  }
  return std::cout.good() ? 0 : 1;
}
