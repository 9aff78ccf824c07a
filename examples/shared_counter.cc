// SPDX-License-Identifier: Apache-2.0
//
// One counter, several processes that know nothing of each other but the name of a file.
//
//   example_shared_counter FILE PROCESSES INCREMENTS
//
// The program starts itself PROCESSES times (exec, not only fork: unrelated processes); each maps
// the file and adds. No system call is made per increment, and none is lost.
#include <quire/quire.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

using quire::Access;

quire::Result<std::uint64_t> add(const char* path, long count) {
  auto map = QUIRE_TRY(quire::map(
      path,
      {.access = Access::kReadWrite, .create = true, .minimum_bytes = sizeof(std::uint64_t)}));
  std::uint64_t& counter = QUIRE_TRY(map.as<std::uint64_t>()).front();
  const std::atomic_ref<std::uint64_t> shared(counter);
  for (long i = 0; i < count; ++i) {
    shared.fetch_add(1, std::memory_order_relaxed);  // Only the sum counts, not the order.
  }
  return shared.load();
}

int fail_with(const quire::Error& error) {
  std::fprintf(stderr, "%s\n", error.message().c_str());
  return EXIT_FAILURE;
}

// Starts this program anew, as "FILE add INCREMENTS".
pid_t start_adder(const char* program, const char* path, const char* increments) {
  const pid_t child = fork();
  if (child == 0) {
    execl(program, program, path, "add", increments, static_cast<char*>(nullptr));
    _exit(127);
  }
  return child;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: %s FILE PROCESSES INCREMENTS\n", argv[0]);
    return 2;
  }
  const char* path = argv[1];
  const long increments = std::strtol(argv[3], nullptr, 10);
  if (std::string(argv[2]) == "add") {
    const auto added = add(path, increments);
    return added ? EXIT_SUCCESS : fail_with(added.error());
  }
  unlink(path);
  const long processes = std::strtol(argv[2], nullptr, 10);
  for (long i = 0; i < processes; ++i) {
    start_adder("/proc/self/exe", path, argv[3]);
  }
  bool all_good = true;
  int status = 0;
  while (wait(&status) > 0) {
    all_good = all_good && status == 0;
  }
  const auto total = add(path, 0);
  if (!total) {
    return fail_with(total.error());
  }
  std::printf("%ld processes x %ld increments = %llu\n", processes, increments,
              static_cast<unsigned long long>(*total));
  return all_good && *total == static_cast<std::uint64_t>(processes * increments) ? EXIT_SUCCESS
                                                                                  : EXIT_FAILURE;
}
