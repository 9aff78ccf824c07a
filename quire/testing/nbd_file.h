// SPDX-License-Identifier: Apache-2.0
//
// NbdFile: what an nbdkit plugin serves, as a file: nbdkit behind nbdfuse. For those who may mount
// (root); `problem()` is the text of the skip.
//
//   NbdFile file(directory.file("disk"), {"eval", "get_size=echo 4096", "pread=..."});
//
// Its server dies with the process, however that ends.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace quire::testing {

class NbdFile {
 public:
  // `plugin`: arguments of nbdkit, the plugin first.
  NbdFile(const std::string& path, const std::vector<std::string>& plugin);
  ~NbdFile();
  NbdFile(const NbdFile&) = delete;
  NbdFile& operator=(const NbdFile&) = delete;

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] const std::string& problem() const noexcept { return problem_; }

 private:
  void serve(const std::vector<std::string>& plugin);
  void wait_until_ready(int ready);

  const std::string path_;
  std::string problem_;
  pid_t server_ = -1;
};

}  // namespace quire::testing
