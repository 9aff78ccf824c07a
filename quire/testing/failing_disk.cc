// SPDX-License-Identifier: Apache-2.0
#include "quire/testing/failing_disk.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "quire/base/check.h"
#include "quire/base/error.h"
#include "quire/testing/process.h"

namespace quire::testing {
namespace {

std::string enter_mount_namespace() {
  if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return "mount namespace: " + errno_name(errno);
  }
  return "";
}

}  // namespace

FailingDisk::FailingDisk(const TempDir& directory, std::uint64_t size_bytes,
                         std::uint64_t bad_from_bytes)
    : path_(directory.write("failing_disk", "")) {
  for (const char* program : {"nbdkit", "nbdfuse"}) {
    const std::string look = std::string("command -v ") + program;
    if (run_program({"sh", "-c", look}).end.exit_code != 0) {
      problem_ = std::string(program) + ": not installed";
      return;
    }
  }
  problem_ = enter_mount_namespace();
  if (problem_.empty()) {
    serve(directory.file("ready"), size_bytes, bad_from_bytes);
  }
}

FailingDisk::~FailingDisk() {
  if (server_ > 0) {
    umount2(path_.c_str(), MNT_DETACH);
    ::kill(server_, SIGKILL);
    waitpid(server_, nullptr, 0);
  }
}

// nbdfuse writes its process id into a FIFO once the file can be used: waiting needs no clock.
void FailingDisk::serve(const std::string& ready_path, std::uint64_t size_bytes,
                        std::uint64_t bad_from_bytes) {
  QUIRE_CHECK_EQ(mkfifo(ready_path.c_str(), 0600), 0);
  const int ready = open(ready_path.c_str(), O_RDWR | O_CLOEXEC);
  QUIRE_CHECK(ready >= 0);
  const std::string get_size = "get_size=echo " + std::to_string(size_bytes);
  // The script gets: pread <handle> <count> <offset>.
  const std::string pread = "pread=if [ $(($3 + $4)) -gt " + std::to_string(bad_from_bytes) +
                            " ]; then echo EIO bad sector >&2; exit 1; fi; head -c $3 /dev/zero";
  server_ = fork();
  QUIRE_CHECK(server_ >= 0);
  if (server_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execlp("nbdfuse", "nbdfuse", "-P", ready_path.c_str(), path_.c_str(), "[", "nbdkit",
           "--exit-with-parent", "eval", get_size.c_str(), pread.c_str(), "pwrite=cat >/dev/null",
           "]", static_cast<char*>(nullptr));
    _exit(127);
  }
  wait_until_ready(ready);
  close(ready);
}

void FailingDisk::wait_until_ready(int ready) {
  constexpr int kStepMs = 50;
  pollfd entry{.fd = ready, .events = POLLIN, .revents = 0};
  while (poll(&entry, 1, kStepMs) == 0) {
    if (waitpid(server_, nullptr, WNOHANG) == server_) {
      server_ = -1;
      problem_ = "nbdfuse: it ended at once (no FUSE here?)";
      return;
    }
  }
}

}  // namespace quire::testing
