// SPDX-License-Identifier: Apache-2.0
#include "quire/testing/nbd_file.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "quire/base/check.h"
#include "quire/testing/disk.h"
#include "quire/testing/process.h"

namespace quire::testing {

NbdFile::NbdFile(const std::string& path, const std::vector<std::string>& plugin) : path_(path) {
  for (const char* program : {"nbdkit", "nbdfuse"}) {
    const std::string look = std::string("command -v ") + program;
    if (run_program({"sh", "-c", look}).end.exit_code != 0) {
      problem_ = std::string(program) + ": not installed";
      return;
    }
  }
  problem_ = enter_mount_namespace();
  if (problem_.empty()) {
    serve(plugin);
  }
}

NbdFile::~NbdFile() {
  if (server_ > 0) {
    umount2(path_.c_str(), MNT_DETACH);
    ::kill(server_, SIGKILL);
    waitpid(server_, nullptr, 0);
  }
}

// nbdfuse writes its process id into a FIFO once the file can be used: waiting needs no clock.
void NbdFile::serve(const std::vector<std::string>& plugin) {
  const int file = open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  QUIRE_CHECK(file >= 0);
  close(file);
  const std::string ready_path = path_ + ".ready";
  QUIRE_CHECK_EQ(mkfifo(ready_path.c_str(), 0600), 0);
  const int ready = open(ready_path.c_str(), O_RDWR | O_CLOEXEC);
  QUIRE_CHECK(ready >= 0);
  std::vector<std::string> words{"nbdfuse", "-P",     ready_path,          path_,
                                 "[",       "nbdkit", "--exit-with-parent"};
  words.insert(words.end(), plugin.begin(), plugin.end());
  words.emplace_back("]");
  std::vector<char*> arguments;
  for (std::string& word : words) {
    arguments.push_back(word.data());
  }
  arguments.push_back(nullptr);
  server_ = fork();
  QUIRE_CHECK(server_ >= 0);
  if (server_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execvp(arguments[0], arguments.data());
    _exit(127);
  }
  wait_until_ready(ready);
  close(ready);
}

void NbdFile::wait_until_ready(int ready) {
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
