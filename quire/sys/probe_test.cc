// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/probe.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <set>

#include "quire/sys/call.h"
#include "quire/sys/limits.h"
#include "quire/sys/memory.h"
#include "quire/testing/process.h"
#include "quire/testing/temp_dir.h"

namespace quire::sys {
namespace {

using testing::Child;
using testing::TempDir;

constexpr uid_t kNobody = 65534;

bool is_available(const std::vector<Capability>& all, std::string_view name) {
  const Capability* capability = find(all, name);
  return capability != nullptr && capability->available == Availability::kYes;
}

void expect_well_formed(const std::vector<Capability>& all) {
  std::set<std::string> names;
  for (const Capability& capability : all) {
    EXPECT_TRUE(names.insert(capability.name).second) << capability.name << " comes twice";
    EXPECT_FALSE(capability.consequence.empty()) << capability.name;
    EXPECT_EQ(capability.reason.empty(), capability.available == Availability::kYes)
        << capability.name << ": " << capability.reason;
  }
}

std::set<std::string> names_of(const std::vector<Capability>& all) {
  std::set<std::string> names;
  for (const Capability& capability : all) {
    names.insert(capability.name);
  }
  return names;
}

TEST(MachineProbeTest, EachCapabilityHasAReasonOrWorks) {
  const MachineProbe& probe = probe_machine();
  expect_well_formed(probe.capabilities);
  EXPECT_FALSE(probe.kernel_release.empty());
  EXPECT_EQ(probe.page_size_bytes, os_page_size().bytes());
  EXPECT_GE(probe.processor_count, 1U);
  EXPECT_EQ(probe.is_root, geteuid() == 0);
}

TEST(MachineProbeTest, ProbesOncePerProcess) {
  const MachineProbe* first = &probe_machine();
  const FaultPlan plan({});
  EXPECT_EQ(&probe_machine(), first);
  EXPECT_EQ(plan.count(Call::kProbe), 0U);
}

// Goal:   probing leaks neither descriptors nor mappings.
// Method: many times over: allocators map for themselves now and then, a leak does it every time.
TEST(MachineProbeTest, LeavesNothingOpenOrMapped) {
  constexpr std::uint64_t kRuns = 50;
  static_cast<void>(probe_machine_now());
  const int descriptors = testing::count_open_descriptors();
  const std::uint64_t mappings = process_limits().mappings_now.value();
  for (std::uint64_t i = 0; i < kRuns; ++i) {
    static_cast<void>(probe_machine_now());
  }
  EXPECT_EQ(testing::count_open_descriptors(), descriptors);
  EXPECT_LT(process_limits().mappings_now.value(), mappings + kRuns);
}

// What one failing call does to the probe.
struct Faulted {
  std::uint64_t hits = 0;
  std::vector<Capability> capabilities;
};

// Runs `probe` once for each call of the kind that it makes, with that call failing, and hands the
// outcomes to `judge`. Returns how many calls there were.
int fail_each_call(int error, const std::function<std::vector<Capability>()>& probe,
                   const std::function<void(const Faulted&, int nth)>& judge) {
  constexpr int kCallsMax = 500;
  for (int nth = 1; nth <= kCallsMax; ++nth) {
    const FaultPlan plan(
        {.call = Call::kProbe, .nth = static_cast<std::uint64_t>(nth), .error = error});
    Faulted faulted;
    faulted.capabilities = probe();
    faulted.hits = plan.hits();
    if (faulted.hits == 0) {
      return nth - 1;
    }
    judge(faulted, nth);
  }
  ADD_FAILURE() << "no end after " << kCallsMax << " calls";
  return kCallsMax;
}

// At least one capability that was there without the fault is not now, and says why. Exceptions are
// calls whose failure leaves another way to the same answer.
bool blames(const Faulted& faulted, const std::vector<Capability>& usual, std::string_view error) {
  for (const Capability& capability : faulted.capabilities) {
    const Capability* before = find(usual, capability.name);
    if (capability.available != Availability::kYes && before != nullptr &&
        capability.reason.find(error) != std::string::npos && capability.reason != before->reason) {
      return true;
    }
  }
  return false;
}

struct ErrorRow {
  int error;
  const char* name;
};

// Goal:   whichever probed call a filter, an old kernel or a missing privilege refuses, the report
//         still comes, complete, and names the error at what is missing.
// Method: fail call 1, 2, 3 ... of the probe until a run meets no fault; for each error.
TEST(MachineProbeFaultTest, ReportsTheReasonWhicheverCallIsRefused) {
  const std::vector<Capability> usual = probe_machine_now().capabilities;
  for (const ErrorRow& row :
       {ErrorRow{ENOSYS, "ENOSYS"}, ErrorRow{EPERM, "EPERM"}, ErrorRow{EINVAL, "EINVAL"}}) {
    const int calls = fail_each_call(
        row.error, [] { return probe_machine_now().capabilities; },
        [&](const Faulted& faulted, int nth) {
          expect_well_formed(faulted.capabilities);
          EXPECT_EQ(names_of(faulted.capabilities), names_of(usual));
          EXPECT_TRUE(blames(faulted, usual, row.name)) << row.name << " at call " << nth;
        });
    EXPECT_GT(calls, 30);
  }
}

TEST(MachineProbeFaultTest, WhenEverythingIsRefusedNothingIsAvailable) {
  const FaultPlan plan({.call = Call::kProbe, .nth = 1, .times = UINT64_MAX, .error = ENOSYS});
  for (const Capability& capability : probe_machine_now().capabilities) {
    if (capability.name != "huge_pages.pool") {  // Asked for by an ordinary mmap.
      EXPECT_EQ(capability.available, Availability::kNo) << capability.name;
    }
  }
}

TEST(MachineProbeFaultTest, ShortageIsUnknownNotUnavailable) {
  const FaultPlan plan({.call = Call::kProbe, .nth = 1, .times = UINT64_MAX, .error = EMFILE});
  const MachineProbe probe = probe_machine_now();
  EXPECT_EQ(find(probe.capabilities, "memfd")->available, Availability::kUnknown);
  EXPECT_EQ(find(probe.capabilities, "io_uring.setup")->available, Availability::kUnknown);
  EXPECT_FALSE(probe.has("memfd"));
}

TEST(PathProbeTest, ADirectoryIsTriedAndLeftAsItWas) {
  const TempDir dir;
  const PathProbe probe = probe_path(dir.path()).value();
  expect_well_formed(probe.capabilities);
  EXPECT_EQ(probe.kind, FileKind::kDirectory);
  EXPECT_TRUE(is_available(probe.capabilities, "map.shared"));
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
  EXPECT_EQ(probe.direct_alignment.has_value(), is_available(probe.capabilities, "direct_io.read"));
}

TEST(PathProbeTest, AFileIsReadAndNeverWritten) {
  const TempDir dir;
  const std::string content = testing::pattern(100'001);
  const std::string path = dir.write("f", content);
  chmod(path.c_str(), 0444);
  const auto before = std::filesystem::last_write_time(path);
  const FaultPlan plan({});
  const PathProbe probe = probe_path(path).value();
  expect_well_formed(probe.capabilities);
  EXPECT_EQ(plan.count(Call::kWrite), 0U);
  EXPECT_EQ(find(probe.capabilities, "reflink")->available, Availability::kUnknown);
  EXPECT_EQ(find(probe.capabilities, "fallocate")->available, Availability::kUnknown);
  EXPECT_TRUE(is_available(probe.capabilities, "map.shared"));
  EXPECT_EQ(std::filesystem::last_write_time(path), before);
  EXPECT_EQ(testing::read_file(path), content);
}

TEST(PathProbeTest, AnEmptyFileIsNoError) {
  const TempDir dir;
  const PathProbe probe = probe_path(dir.write("empty", "")).value();
  expect_well_formed(probe.capabilities);
  EXPECT_EQ(find(probe.capabilities, "large_folios")->available, Availability::kUnknown);
}

TEST(PathProbeTest, MemoryIsNoDisk) {
  if (access("/dev/shm", W_OK) != 0) {
    GTEST_SKIP() << "/dev/shm: not there or not writable";
  }
  const PathProbe probe = probe_path("/dev/shm").value();
  EXPECT_EQ(probe.file_system.type.kind, StorageKind::kMemory);
  const Capability* dontcache = find(probe.capabilities, "rwf_dontcache");
  EXPECT_EQ(dontcache->available, Availability::kNo);
  EXPECT_TRUE(dontcache->reason.starts_with("EOPNOTSUPP")) << dontcache->reason;
}

// Goal:   files that are made up when read are not read: one may consume or wait.
// Method: count reads of everything but the probe's own sources.
TEST(PathProbeTest, PseudoFilesAreNotTouched) {
  for (const char* path : {"/proc/version", "/proc", "/sys/kernel"}) {
    const FaultPlan plan({});
    const PathProbe probe = probe_path(path).value();
    EXPECT_EQ(plan.count(Call::kProbe), 0U) << path;
    for (const Capability& capability : probe.capabilities) {
      EXPECT_EQ(capability.available, Availability::kUnknown) << path << " " << capability.name;
    }
  }
}

TEST(PathProbeTest, WhatCannotBeProbedIsAnErrorThatNamesIt) {
  const TempDir dir;
  const std::string fifo = dir.file("fifo");
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  const std::string socket_path = dir.file("s");
  const int socket_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // Relative, since a socket's path must be short.
  const std::filesystem::path home = std::filesystem::current_path();
  std::filesystem::current_path(dir.path());
  address.sun_path[0] = 's';
  ASSERT_EQ(bind(socket_fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  close(socket_fd);
  std::filesystem::current_path(home);
  std::filesystem::create_symlink("nowhere", dir.file("dangling"));
  std::filesystem::create_symlink("loop", dir.file("loop"));
  struct Row {
    std::string path;
    std::error_code code;
  };
  for (const Row& row :
       {Row{dir.file("none"), std::make_error_code(std::errc::no_such_file_or_directory)},
        Row{dir.file("dangling"), std::make_error_code(std::errc::no_such_file_or_directory)},
        Row{dir.file("loop"), std::make_error_code(std::errc::too_many_symbolic_link_levels)},
        Row{dir.write("f", "x") + "/below", std::make_error_code(std::errc::not_a_directory)},
        Row{"", std::make_error_code(std::errc::no_such_file_or_directory)},
        Row{std::string("a\0b", 3), std::make_error_code(std::errc::invalid_argument)},
        Row{fifo, make_error_code(Errc::kWrongKind)},
        Row{socket_path, make_error_code(Errc::kWrongKind)},
        Row{"/dev/null", make_error_code(Errc::kWrongKind)}}) {
    const auto probe = probe_path(row.path);
    ASSERT_FALSE(probe) << row.path;
    EXPECT_EQ(probe.error().code().default_error_condition(), row.code.default_error_condition())
        << row.path << ": " << probe.error().message();
    EXPECT_FALSE(probe.error().message().empty());
  }
}

// Goal:   an ordinary user gets a report, with unknown where it is not his to know.
// Method: in a child that gave up root, a directory he may not write and a file he may not read.
TEST(PathProbeTest, AnOrdinaryUserGetsWhatHeMaySee) {
  if (geteuid() != 0) {
    GTEST_SKIP() << "setuid: only root can become another user";
  }
  const TempDir dir;
  chmod(dir.path().c_str(), 0755);
  const std::string secret = dir.write("secret", "x");
  chmod(secret.c_str(), 0600);
  const testing::ChildEnd end =
      Child([&] {
        if (setgid(kNobody) != 0 || setuid(kNobody) != 0 || chdir("/") != 0) {
          return 1;
        }
        const MachineProbe machine = probe_machine_now();
        const auto directory = probe_path(dir.path());
        const auto file = probe_path(secret);
        if (machine.is_root || !machine.has("memfd") || !directory || file) {
          return access(dir.path().c_str(), X_OK) == 0 ? 2 : 77;
        }
        const Capability* direct = find(directory->capabilities, "direct_io.read");
        const bool is_told = direct->available == Availability::kUnknown &&
                             direct->reason.find("EACCES") != std::string::npos;
        return is_told && file.error().code() == std::errc::permission_denied ? 0 : 3;
      }).join();
  if (end.exit_code == 77) {
    GTEST_SKIP() << "the test directory: not reachable for an ordinary user";
  }
  EXPECT_EQ(end.exit_code, 0);
}

// Goal:   a kernel that answers "nothing is cached" of everything is not believed.
// Method: overlay, where cachestat looks at the wrong inode, mounted in a namespace of a child.
TEST(PathProbeTest, CountsThatCannotBeTrueAreNotBelieved) {
  const TempDir dir;
  for (const char* part : {"lower", "upper", "work", "merged"}) {
    std::filesystem::create_directory(dir.file(part));
  }
  constexpr int kNotPossible = 77;
  const testing::ChildEnd end =
      Child([&] {
        const std::string options = "lowerdir=" + dir.file("lower") +
                                    ",upperdir=" + dir.file("upper") +
                                    ",workdir=" + dir.file("work");
        if (unshare(CLONE_NEWNS) != 0 ||
            mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
            mount("overlay", dir.file("merged").c_str(), "overlay", 0, options.c_str()) != 0) {
          return kNotPossible;
        }
        const auto probe = probe_path(dir.file("merged"));
        if (!probe || probe->file_system.type.kind != StorageKind::kStacked) {
          return 1;
        }
        // Should a later kernel count truly, it must say so consistently.
        const Capability* told = find(probe->capabilities, "residency_told");
        const Capability* direct = find(probe->capabilities, "direct_io.read");
        const bool is_verified =
            direct->detail.ends_with("verified") && !direct->detail.ends_with("unverified");
        return told->available == Availability::kYes || !is_verified ? 0 : 2;
      }).join();
  if (end.exit_code == kNotPossible) {
    GTEST_SKIP() << "overlay: cannot be mounted here";
  }
  EXPECT_EQ(end.exit_code, 0);
}

TEST(PathProbeTest, LeavesNoDescriptorOpen) {
  const TempDir dir;
  static_cast<void>(probe_path(dir.path()));
  const int before = testing::count_open_descriptors();
  static_cast<void>(probe_path(dir.path()));
  EXPECT_EQ(testing::count_open_descriptors(), before);
}

// Goal:   as for the machine: whichever call is refused, the report of a path comes, complete.
// Method: fail probe calls in turn, in a directory of ours.
TEST(PathProbeFaultTest, ReportsTheReasonWhicheverCallIsRefused) {
  const TempDir dir;
  const std::vector<Capability> usual = probe_path(dir.path()).value().capabilities;
  for (const ErrorRow& row :
       {ErrorRow{ENOSYS, "ENOSYS"}, ErrorRow{EPERM, "EPERM"}, ErrorRow{EINVAL, "EINVAL"}}) {
    const int calls = fail_each_call(
        row.error, [&] { return probe_path(dir.path()).value().capabilities; },
        [&](const Faulted& faulted, int nth) {
          expect_well_formed(faulted.capabilities);
          EXPECT_EQ(names_of(faulted.capabilities), names_of(usual));
          // A nameless file that is refused with EINVAL is replaced by a named one.
          const bool has_other_way = row.error == EINVAL && nth <= 2;
          EXPECT_TRUE(has_other_way || blames(faulted, usual, row.name))
              << row.name << " at call " << nth;
        });
    EXPECT_GT(calls, 10);
  }
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

TEST(PathProbeFaultTest, WithoutNamelessFilesANamedOneIsRemovedAtOnce) {
  const TempDir dir;
  const FaultPlan plan({.call = Call::kProbe, .nth = 1, .times = 2, .error = EOPNOTSUPP});
  const PathProbe probe = probe_path(dir.path()).value();
  EXPECT_EQ(plan.hits(), 2U);
  EXPECT_EQ(plan.count(Call::kUnlink), 2U);
  EXPECT_TRUE(is_available(probe.capabilities, "map.shared"));
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

TEST(PathProbeFaultTest, AFullDiskIsUnknownWithItsReason) {
  const TempDir dir;
  const FaultPlan plan({.call = Call::kWrite, .nth = 1, .error = ENOSPC});
  const PathProbe probe = probe_path(dir.path()).value();
  for (const Capability& capability : probe.capabilities) {
    EXPECT_EQ(capability.available, Availability::kUnknown);
    EXPECT_NE(capability.reason.find("ENOSPC"), std::string::npos) << capability.reason;
  }
}

}  // namespace
}  // namespace quire::sys
