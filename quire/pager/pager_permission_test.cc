// SPDX-License-Identifier: Apache-2.0
//
// The pager of those who may little: an ordinary user, a process whose seccomp filter forbids
// userfaultfd, a thread that blocks SIGBUS. Each test is a child process with pagers of its own.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <functional>
#include <string>
#include <thread>

#include "quire/pager/pager.h"
#include "quire/sys/file.h"
#include "quire/testing/page_cache.h"
#include "quire/testing/pager_fixture.h"
#include "quire/testing/process.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using testing::kGranule;
using testing::load_byte;
using testing::pattern;
using testing::pattern_bytes;
using testing::store_byte;

constexpr std::uint64_t kFileBytes = 4_MiB;
const WritablePagedOptions kWritable{.access = Access::kReadWrite};

class PagerPermissionTest : public ::testing::Test {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "fork: a sanitizer's child inherits its allocator's locks";
#endif
    if (::geteuid() != 0) {
      GTEST_SKIP() << "changing the user: not root";
    }
    if (const std::string why = testing::why_no_paging(FaultPath::kAutomatic); !why.empty()) {
      GTEST_SKIP() << why;
    }
    path_ = directory_.write("data", pattern(kFileBytes));
    ASSERT_EQ(::chown(path_.c_str(), testing::kNobody, testing::kNobody), 0);
    file_ = sys::open_file(path_.c_str(), {.write = true}).value();
  }

  // The file by a path that needs no right to the directories above it.
  [[nodiscard]] std::string reachable_path() const {
    return "/proc/self/fd/" + std::to_string(file_.get());
  }

  // Runs `body`, which answers what is wrong, as a user without rights.
  void expect_as_nobody(const std::function<std::string()>& body) const {
    EXPECT_EQ(testing::run_as_nobody([&] {
                ::prctl(PR_SET_DUMPABLE, 1);  // As after exec: its /proc/self is its own.
                const std::string finding = body();
                std::fprintf(stderr, "%s%s", finding.c_str(), finding.empty() ? "" : "\n");
                return finding.empty() ? 0 : 1;
              }),
              0);
  }

  const testing::TempDir directory_;
  std::string path_;
  sys::Descriptor file_;
};

// Loads all of it, stores, flushes, looks again.
std::string use(WritablePagedArea& area) {
  if (!std::ranges::equal(std::as_const(area).bytes(), pattern_bytes(0, kFileBytes))) {
    return "wrong bytes";
  }
  store_byte(area.bytes().data() + 3 * kGranule, std::byte{0x77});
  if (const Result<void> flushed = area.flush(); !flushed) {
    return flushed.error().message();
  }
  static_cast<void>(area.evict());
  if (load_byte(area.bytes().data() + 3 * kGranule) != std::byte{0x77}) {
    return "a store was lost";
  }
  const Result<void> closed = area.close();
  return closed ? "" : closed.error().message();
}

TEST_F(PagerPermissionTest, OrdinaryUserPagesInline) {
  expect_as_nobody([&]() -> std::string {
    Pager pager({.memory_bytes = 1_MiB});
    auto area = pager.map(reachable_path(), kWritable);
    if (!area) {
      return area.error().message();
    }
    std::string text = area->explain();
    std::fprintf(stdout, "%s\n", text.c_str());
    std::fflush(stdout);
    if (!area->is_paged() || text.find("inline") == std::string::npos) {
      return text;
    }
    const std::string finding = use(*area);
    return finding.empty() && pager.stats().taken_bytes_max > 1_MiB ? "over the budget" : finding;
  });
  EXPECT_EQ(testing::read_file(path_)[3 * kGranule], '\x77');
}

// Goal:   asked for by name, the handler works for loads and stores; explain() says what does not.
TEST_F(PagerPermissionTest, OrdinaryUserWithHandlerIsToldAboutSystemCalls) {
  if (testing::read_file("/proc/sys/vm/unprivileged_userfaultfd") != "0\n") {
    GTEST_SKIP() << "vm.unprivileged_userfaultfd: ordinary users have full access here";
  }
  expect_as_nobody([&]() -> std::string {
    Pager pager({.memory_bytes = 1_MiB, .fault_path = FaultPath::kHandler});
    auto area = pager.map(reachable_path(), kWritable);
    if (!area) {
      return area.error().message();
    }
    std::string text = area->explain();
    if (text.find("system calls need a pin") == std::string::npos) {
      return text;
    }
    const int sink = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    int ends[2];
    if (sink < 0 || ::pipe(ends) != 0) {
      return "no pipe";
    }
    if (::write(ends[1], area->bytes().data(), 100) != -1 || errno != EFAULT) {
      return "a system call on an absent page is not EFAULT";
    }
    const Pin pin = area->pin({0, 100}).value();
    if (::write(ends[1], pin.bytes().data(), 100) != 100) {
      return "a system call on a pinned page fails";
    }
    const_cast<Pin&>(pin).release();
    return use(*area);
  });
}

// From here on userfaultfd(2) fails with EPERM, as under the default filter of containers.
bool forbid_userfaultfd() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{.len = std::size(program), .filter = program};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

TEST_F(PagerPermissionTest, WhereUserfaultfdIsForbiddenAutomaticIsAKernelMappingAndSaysSo) {
  expect_as_nobody([&]() -> std::string {
    if (!forbid_userfaultfd()) {
      return "no seccomp";
    }
    Pager pager({.memory_bytes = 1_MiB});
    auto area = pager.map(reachable_path(), kWritable);
    if (!area) {
      return area.error().message();
    }
    std::string text = area->explain();
    std::fprintf(stdout, "%s\n", text.c_str());
    std::fflush(stdout);
    if (area->is_paged() || text.find("userfaultfd") == std::string::npos ||
        text.find("no memory budget holds") == std::string::npos) {
      return text;
    }
    if (!area->prefetch({0, kGranule}).wait() || !area->advise({0, 1}, Pattern::kRandom) ||
        !area->resident() || !area->pin({0, kGranule}) || !area->check()) {
      return "a function fails on a kernel mapping";
    }
    return use(*area);
  });
  EXPECT_EQ(testing::read_file(path_)[3 * kGranule], '\x77');
}

TEST_F(PagerPermissionTest, WhereUserfaultfdIsForbiddenPagedNamesTheRemedy) {
  expect_as_nobody([&]() -> std::string {
    if (!forbid_userfaultfd()) {
      return "no seccomp";
    }
    Pager pager({.memory_bytes = 1_MiB});
    const auto refused =
        pager.map(reachable_path(), {.access = Access::kReadWrite, .engine = PagingEngine::kPaged});
    if (refused) {
      return "it was mapped";
    }
    const std::string text = refused.error().message();
    for (const char* word :
         {"userfaultfd", "/dev/userfaultfd", "vm.unprivileged_userfaultfd", "seccomp"}) {
      if (text.find(word) == std::string::npos) {
        return std::string(word) + " is not in: " + text;
      }
    }
    return refused.error().code() == Errc::kUnsupported ? "" : text;
  });
}

// Goal:   a thread that blocks SIGBUS after map() dies at its first inline fault, as documented: it
//         neither hangs nor goes on with zeros.
TEST_F(PagerPermissionTest, ThreadThatBlocksSigbusLaterDiesAtItsFirstFault) {
  testing::Child child([&] {
    Pager pager({.memory_bytes = 1_MiB, .fault_path = FaultPath::kInline});
    const PagedArea area = pager.map(path_, {.engine = PagingEngine::kPaged}).value();
    std::thread([&] {
      sigset_t bus;
      sigemptyset(&bus);
      sigaddset(&bus, SIGBUS);
      pthread_sigmask(SIG_BLOCK, &bus, nullptr);
      static_cast<void>(load_byte(area.bytes().data()));
    }).join();
    return 0;
  });
  EXPECT_EQ(child.join().signal, SIGBUS);
}

}  // namespace
}  // namespace quire
