// SPDX-License-Identifier: Apache-2.0
//
// The four kinds of mapping, and who sees a store: file or memory, shared or private.
//
//   example_four_kinds
//
// A child process stores one byte through each; the parent looks.
#include <quire/quire.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

using quire::Access;
using quire::Sharing;

// Stores in a child process, waits for its end, and says whether the parent sees the store.
bool parent_sees_store(quire::WritableMapping& mapping) {
  const pid_t child = fork();
  if (child == 0) {
    mapping.bytes()[0] = std::byte{'!'};
    _exit(0);
  }
  int status = 0;
  return waitpid(child, &status, 0) == child && mapping.bytes()[0] == std::byte{'!'};
}

bool show(const char* kind, quire::Result<quire::WritableMapping> mapping, bool expected) {
  if (!mapping) {
    std::fprintf(stderr, "%s\n", mapping.error().message().c_str());
    return false;
  }
  const bool seen = parent_sees_store(*mapping);
  std::printf("%-18s the parent %s the child's store; %s\n", kind, seen ? "sees" : "does not see",
              mapping->explain().c_str());
  return seen == expected;
}

}  // namespace

int main() {
  std::string path = "four_kinds.XXXXXX";
  close(mkstemp(path.data()));
  const auto file = [&](Sharing sharing) {
    return quire::map(path, {.access = Access::kReadWrite, .sharing = sharing});
  };
  bool good = quire::map(path, {.access = Access::kReadWrite, .minimum_bytes = 1}).has_value();
  good = show("file, private", file(Sharing::kPrivate), false) && good;
  good = show("file, shared", file(Sharing::kShared), true) && good;
  good = show("memory, private", quire::map_anonymous({.size_bytes = 1}), false) && good;
  good = show("memory, shared",
              quire::map_anonymous({.size_bytes = 1, .sharing = Sharing::kShared}), true) &&
         good;
  unlink(path.c_str());
  return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
