// SPDX-License-Identifier: Apache-2.0
#include "quire/testing/memory_cgroup.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace quire::testing {
namespace {

namespace fs = std::filesystem;

constexpr const char* kVersion1 = "/sys/fs/cgroup/memory";
constexpr const char* kVersion2 = "/sys/fs/cgroup";

bool write_number(const std::string& path, std::uint64_t number) {
  std::ofstream out(path);
  out << number << std::flush;
  return out.good();
}

// The number behind a word, as in "oom_kill 1".
std::uint64_t number_after(const std::string& path, const std::string& word) {
  std::ifstream in(path);
  std::string name;
  std::uint64_t number = 0;
  while (in >> name >> number) {
    if (name == word) {
      return number;
    }
  }
  return 0;
}

}  // namespace

MemoryCgroup::~MemoryCgroup() {
  if (!directory_.empty()) {
    ::rmdir(directory_.c_str());
  }
}

std::string MemoryCgroup::make(std::uint64_t limit_bytes) {
  is_version_1_ = fs::exists(std::string(kVersion1) + "/memory.limit_in_bytes");
  const std::string parent = is_version_1_ ? kVersion1 : kVersion2;
  const std::string directory = parent + "/quire-test-" + std::to_string(::getpid());
  if (::mkdir(directory.c_str(), 0755) != 0) {
    return "memory cgroup: mkdir(" + directory + "): " + std::strerror(errno);
  }
  directory_ = directory;
  const std::string limit = is_version_1_ ? "/memory.limit_in_bytes" : "/memory.max";
  if (!write_number(directory_ + limit, limit_bytes)) {
    return "memory cgroup: no memory controller at " + directory_;
  }
  // Without swap, or the limit would be a soft one. The kernel may have been built without it.
  static_cast<void>(
      write_number(directory_ + (is_version_1_ ? "/memory.swappiness" : "/memory.swap.max"), 0));
  return "";
}

bool MemoryCgroup::enter() const {
  return write_number(directory_ + "/cgroup.procs", 0);
}

std::uint64_t MemoryCgroup::number_in(const std::string& file) const {
  std::uint64_t number = 0;
  std::ifstream(directory_ + file) >> number;
  return number;
}

std::uint64_t MemoryCgroup::usage_bytes() const {
  return number_in(is_version_1_ ? "/memory.usage_in_bytes" : "/memory.current");
}

std::uint64_t MemoryCgroup::peak_bytes() const {
  return number_in(is_version_1_ ? "/memory.max_usage_in_bytes" : "/memory.peak");
}

std::uint64_t MemoryCgroup::killed_processes() const {
  return number_after(directory_ + (is_version_1_ ? "/memory.oom_control" : "/memory.events"),
                      "oom_kill");
}

}  // namespace quire::testing
