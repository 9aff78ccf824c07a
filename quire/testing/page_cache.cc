// SPDX-License-Identifier: Apache-2.0
#include "quire/testing/page_cache.h"

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "quire/base/check.h"
#include "quire/testing/process.h"

namespace quire::testing {
namespace {

// Opened for the length of a scope.
class OpenFile {
 public:
  explicit OpenFile(const std::string& path) : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    QUIRE_CHECK(fd_ >= 0);
  }
  ~OpenFile() { close(fd_); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] std::size_t size_bytes() const {
    struct stat status{};
    QUIRE_CHECK_EQ(fstat(fd_, &status), 0);
    return static_cast<std::size_t>(status.st_size);
  }

 private:
  int fd_;
};

}  // namespace

void make_cold(const std::string& path) {
  const OpenFile file(path);
  QUIRE_CHECK_EQ(fsync(file.fd()), 0);
  QUIRE_CHECK_EQ(posix_fadvise(file.fd(), 0, 0, POSIX_FADV_DONTNEED), 0);
  const std::vector<bool> pages = resident_pages(path);
  QUIRE_CHECK(std::ranges::find(pages, true) == pages.end());
}

void read_pages(const std::string& path, const std::vector<std::uint64_t>& page_numbers) {
  const OpenFile file(path);
  QUIRE_CHECK_EQ(posix_fadvise(file.fd(), 0, 0, POSIX_FADV_RANDOM), 0);
  std::array<char, kPageBytes> page{};
  for (const std::uint64_t number : page_numbers) {
    QUIRE_CHECK(
        pread(file.fd(), page.data(), page.size(), static_cast<off_t>(number * kPageBytes)) > 0);
  }
}

std::vector<bool> resident_pages(const std::string& path) {
  const OpenFile file(path);
  const std::size_t size_bytes = file.size_bytes();
  std::vector<unsigned char> bits((size_bytes + kPageBytes - 1) / kPageBytes);
  if (!bits.empty()) {
    void* address = mmap(nullptr, size_bytes, PROT_READ, MAP_SHARED, file.fd(), 0);
    QUIRE_CHECK(address != MAP_FAILED);
    QUIRE_CHECK_EQ(mincore(address, size_bytes, bits.data()), 0);
    munmap(address, size_bytes);
  }
  std::vector<bool> flags;
  for (const unsigned char bit : bits) {
    flags.push_back((bit & 1) != 0);
  }
  return flags;
}

int run_as_nobody(const std::function<int()>& body) {
  Child child([&] {
    if (setgroups(0, nullptr) != 0 || setresgid(kNobody, kNobody, kNobody) != 0 ||
        setresuid(kNobody, kNobody, kNobody) != 0) {
      return 126;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);  // Changing the user took it away.
    return body();
  });
  return child.join().exit_code;
}

}  // namespace quire::testing
