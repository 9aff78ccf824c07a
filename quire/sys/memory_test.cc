// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/memory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "quire/base/page_window.h"
#include "quire/sys/call.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"
#include "quire/testing/process.h"
#include "quire/testing/temp_dir.h"

namespace quire::sys {
namespace {

using literals::operator""_GiB;
using literals::operator""_MiB;
using testing::pattern;
using testing::TempDir;

constexpr std::uint64_t kPages = 4;

std::uint64_t page_bytes() {
  return os_page_size().bytes();
}

// Pages that are unmapped when they go.
class Pages {
 public:
  explicit Pages(const MapRequest& request)
      : address_(map_pages(request).value()), length_bytes_(request.length_bytes) {}
  ~Pages() { static_cast<void>(unmap_pages(address_, length_bytes_)); }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;

  [[nodiscard]] Address at() const { return address_; }
  [[nodiscard]] Address page(std::uint64_t index) const { return address_ + index * page_bytes(); }
  [[nodiscard]] std::uint64_t length_bytes() const { return length_bytes_; }
  [[nodiscard]] std::string text() const {
    return {reinterpret_cast<const char*>(address_), length_bytes_};
  }

 private:
  Address address_;
  std::uint64_t length_bytes_;
};

MapRequest anonymous(std::uint64_t page_count) {
  return {.length_bytes = page_count * page_bytes(),
          .protection = Protection::kReadWrite,
          .visibility = Visibility::kPrivate};
}

// The signal that ends a child which runs `body`; 0 when it gets through.
int signal_of(const std::function<void()>& body) {
  testing::Child child([&] {
    signal(SIGSEGV, SIG_DFL);  // Sanitizers turn both into an exit code.
    signal(SIGBUS, SIG_DFL);
    body();
    return 0;
  });
  return child.join().signal;
}

void store(Address address) {
  *const_cast<volatile std::byte*>(address) = std::byte{1};
}

void load(Address address) {
  static_cast<void>(*const_cast<const volatile std::byte*>(address));
}

std::vector<unsigned char> residency_of(const Pages& pages) {
  std::vector<unsigned char> vector(pages.length_bytes() / page_bytes());
  EXPECT_TRUE(page_residency(pages.at(), pages.length_bytes(), vector).has_value());
  for (unsigned char& page : vector) {
    page &= 1;
  }
  return vector;
}

class FilePagesTest : public ::testing::Test {
 protected:
  [[nodiscard]] MapRequest request(Protection protection, Visibility visibility) const {
    return {.length_bytes = kPages * page_bytes(),
            .protection = protection,
            .visibility = visibility,
            .fd = file_.get()};
  }
  [[nodiscard]] char byte_in_file(std::uint64_t offset_bytes) const {
    std::array<std::byte, 1> byte{};
    EXPECT_EQ(read_at(file_.get(), byte, offset_bytes), 1U);
    return static_cast<char>(byte[0]);
  }

  TempDir directory_;
  std::string content_ = pattern(kPages * page_bytes());
  std::string path_ = directory_.write("a", content_);
  Descriptor file_ = open_file(path_.c_str(), {.write = true}).value();
};

TEST(PageSizeTest, IsTheKernels) {
  EXPECT_EQ(os_page_size().bytes(), static_cast<std::uint64_t>(getpagesize()));
}

// --- mapping ------------------------------------------------------------------------------------

TEST_F(FilePagesTest, AMappingShowsTheFile) {
  const Pages whole(request(Protection::kRead, Visibility::kShared));
  EXPECT_TRUE(whole.text() == content_);
  const Pages second(
      {.length_bytes = page_bytes(), .fd = file_.get(), .offset_bytes = page_bytes()});
  EXPECT_TRUE(second.text() == content_.substr(page_bytes(), page_bytes()));
}

TEST_F(FilePagesTest, SharedStoresReachTheFileAndPrivateOnesDoNot) {
  const Pages shared(request(Protection::kReadWrite, Visibility::kShared));
  const Pages copy(request(Protection::kReadWrite, Visibility::kPrivate));
  shared.at()[10] = std::byte{'s'};
  copy.at()[11] = std::byte{'p'};
  EXPECT_EQ(byte_in_file(10), 's');
  EXPECT_EQ(byte_in_file(11), content_[11]);
  EXPECT_EQ(static_cast<char>(copy.at()[11]), 'p');
}

TEST_F(FilePagesTest, AReadOnlyMappingCannotBeStoredTo) {
  const Pages pages(request(Protection::kRead, Visibility::kShared));
  EXPECT_EQ(signal_of([&] { store(pages.at()); }), SIGSEGV);
  EXPECT_EQ(signal_of([&] { load(pages.at()); }), 0);
}

TEST_F(FilePagesTest, ErrorsAreTheKernels) {
  const Descriptor read_only = open_file(path_.c_str(), {}).value();
  MapRequest shared_write = request(Protection::kReadWrite, Visibility::kShared);
  shared_write.fd = read_only.get();
  EXPECT_EQ(map_pages(shared_write).error(), Errno{EACCES});
  MapRequest odd_offset = request(Protection::kRead, Visibility::kShared);
  odd_offset.offset_bytes = 1;
  EXPECT_EQ(map_pages(odd_offset).error(), Errno{EINVAL});
  MapRequest nothing = request(Protection::kRead, Visibility::kShared);
  nothing.length_bytes = 0;
  EXPECT_EQ(map_pages(nothing).error(), Errno{EINVAL});
  MapRequest too_long = request(Protection::kRead, Visibility::kShared);
  too_long.length_bytes = std::uint64_t{1} << 47;
  EXPECT_EQ(map_pages(too_long).error(), Errno{ENOMEM});
  MapRequest too_far = request(Protection::kRead, Visibility::kShared);
  too_far.offset_bytes = std::uint64_t{1} << 63;
  EXPECT_FALSE(map_pages(too_far).has_value());
  MapRequest closed = request(Protection::kRead, Visibility::kShared);
  closed.fd = 1'000'000;
  EXPECT_EQ(map_pages(closed).error(), Errno{EBADF});
}

TEST(MapPagesTest, AnonymousMemoryIsZeroAndPrivateOrSharedWithChildren) {
  const Pages copy(anonymous(1));
  MapRequest request = anonymous(1);
  request.visibility = Visibility::kShared;
  const Pages shared(request);
  EXPECT_EQ(copy.text(), std::string(page_bytes(), '\0'));
  testing::Child child([&] {
    store(copy.at());
    store(shared.at());
    return 0;
  });
  EXPECT_EQ(child.join().exit_code, 0);
  EXPECT_EQ(copy.at()[0], std::byte{0});
  EXPECT_EQ(shared.at()[0], std::byte{1});
}

TEST(MapPagesTest, AReservationCostsNothingAndHoldsAPlace) {
  const Pages reserved({.length_bytes = 64_GiB,
                        .protection = Protection::kNone,
                        .visibility = Visibility::kPrivate,
                        .no_reserve = true});
  EXPECT_EQ(signal_of([&] { load(reserved.at()); }), SIGSEGV);
  MapRequest inside = anonymous(1);
  inside.fixed_address = reserved.at() + 1_GiB;
  EXPECT_EQ(map_pages(inside), inside.fixed_address);
  store(inside.fixed_address);
  EXPECT_EQ(inside.fixed_address[0], std::byte{1});
}

// Goal:   memory that is only reserved is not promised, so there may be more of it than there is.
// Method: twice of all there is, which the default accounting refuses to promise anybody.
TEST(MapPagesTest, NoReserveIsNotAccounted) {
  if (testing::read_file("/proc/sys/vm/overcommit_memory") != "0\n") {
    GTEST_SKIP() << "vm.overcommit_memory: not 0, accounting is off or strict";
  }
  struct sysinfo machine{};
  ASSERT_EQ(sysinfo(&machine), 0);
  const std::uint64_t all_bytes = (machine.totalram + machine.totalswap) * machine.mem_unit;
  MapRequest request{.length_bytes = round_up(2 * all_bytes, os_page_size()),
                     .protection = Protection::kReadWrite,
                     .visibility = Visibility::kPrivate};
  EXPECT_EQ(map_pages(request).error(), Errno{ENOMEM});
  request.no_reserve = true;
  const Pages pages(request);
  store(pages.at());
}

TEST(MapPagesTest, PopulateBringsThePages) {
  MapRequest request = anonymous(kPages);
  const Pages lazy(request);
  EXPECT_EQ(residency_of(lazy), std::vector<unsigned char>(kPages, 0));
  request.populate = true;
  const Pages eager(request);
  EXPECT_EQ(residency_of(eager), std::vector<unsigned char>(kPages, 1));
}

// Goal:   huge pages are asked for: where none are reserved, there is no memory of that kind.
TEST(MapPagesTest, HugePagesComeFromTheReserveOrNotAtAll) {
  const Outcome<Address> mapped = map_pages({.length_bytes = 2_MiB,
                                             .protection = Protection::kReadWrite,
                                             .visibility = Visibility::kPrivate,
                                             .huge_pages = true});
  const std::string meminfo = testing::read_file("/proc/meminfo");
  if (meminfo.find("HugePages_Total:       0\n") != std::string::npos) {
    ASSERT_FALSE(mapped.has_value());
    EXPECT_EQ(mapped.error(), Errno{ENOMEM});
  } else if (mapped) {
    store(*mapped);
    EXPECT_EQ(unmap_pages(*mapped, page_bytes()).error(), Errno{EINVAL}) << "not a whole one";
    EXPECT_TRUE(unmap_pages(*mapped, 2_MiB).has_value());
  }
}

TEST(UnmapPagesTest, WhatIsUnmappedIsGone) {
  const Pages pages(anonymous(2));
  ASSERT_TRUE(unmap_pages(pages.page(1), page_bytes()).has_value());
  EXPECT_EQ(signal_of([&] { load(pages.page(1)); }), SIGSEGV);
  EXPECT_EQ(signal_of([&] { load(pages.page(0)); }), 0);
  EXPECT_EQ(unmap_pages(pages.at() + 1, page_bytes()).error(), Errno{EINVAL});
}

TEST(ProtectPagesTest, ChangesWhatMayBeDone) {
  const Pages pages(anonymous(1));
  ASSERT_TRUE(protect_pages(pages.at(), page_bytes(), Protection::kRead).has_value());
  EXPECT_EQ(signal_of([&] { load(pages.at()); }), 0);
  EXPECT_EQ(signal_of([&] { store(pages.at()); }), SIGSEGV);
  ASSERT_TRUE(protect_pages(pages.at(), page_bytes(), Protection::kNone).has_value());
  EXPECT_EQ(signal_of([&] { load(pages.at()); }), SIGSEGV);
  ASSERT_TRUE(protect_pages(pages.at(), page_bytes(), Protection::kReadWrite).has_value());
  EXPECT_EQ(signal_of([&] { store(pages.at()); }), 0);
}

TEST(RemapInPlaceTest, GrowsAndShrinksWithoutMoving) {
  const Pages reserved({.length_bytes = 8 * page_bytes(),
                        .protection = Protection::kNone,
                        .visibility = Visibility::kPrivate});
  MapRequest request = anonymous(2);
  request.fixed_address = reserved.at();
  const Address start = map_pages(request).value();
  store(start);
  EXPECT_EQ(remap_in_place(start, 2 * page_bytes(), 4 * page_bytes()).error(), Errno{ENOMEM})
      << "the reservation behind it is in the way";
  ASSERT_TRUE(unmap_pages(reserved.page(2), 2 * page_bytes()).has_value());
  ASSERT_TRUE(remap_in_place(start, 2 * page_bytes(), 4 * page_bytes()).has_value());
  store(reserved.page(3));
  EXPECT_EQ(start[0], std::byte{1});
  ASSERT_TRUE(remap_in_place(start, 4 * page_bytes(), page_bytes()).has_value());
  EXPECT_EQ(start[0], std::byte{1});
  EXPECT_EQ(signal_of([&] { load(reserved.page(1)); }), SIGSEGV);
}

// --- advice -------------------------------------------------------------------------------------

TEST(AdvisePagesTest, DontNeedGivesZerosBackInAnonymousMemory) {
  const Pages pages(anonymous(1));
  store(pages.at());
  ASSERT_TRUE(advise_pages(pages.at(), page_bytes(), MemoryAdvice::kDontNeed).has_value());
  EXPECT_EQ(pages.at()[0], std::byte{0});
}

TEST(AdvisePagesTest, RemovePunchesSharedMemory) {
  const Descriptor memory(memfd_create("quire-test", MFD_CLOEXEC));
  ASSERT_TRUE(truncate_file(memory.get(), page_bytes()).has_value());
  const Pages pages(
      {.length_bytes = page_bytes(), .protection = Protection::kReadWrite, .fd = memory.get()});
  store(pages.at());
  EXPECT_EQ(file_status(memory.get())->allocated_bytes, page_bytes());
  ASSERT_TRUE(advise_pages(pages.at(), page_bytes(), MemoryAdvice::kRemove).has_value());
  EXPECT_EQ(file_status(memory.get())->allocated_bytes, 0U);
}

TEST(AdvisePagesTest, DontForkKeepsPagesFromChildren) {
  const Pages pages(anonymous(1));
  ASSERT_TRUE(advise_pages(pages.at(), page_bytes(), MemoryAdvice::kDontFork).has_value());
  EXPECT_EQ(signal_of([&] { load(pages.at()); }), SIGSEGV);
}

TEST(AdvisePagesTest, AllAdviceIsTakenOrRefusedAsUnknown) {
  const Pages pages(anonymous(kPages));
  for (int value = 0; value <= static_cast<int>(MemoryAdvice::kDontDump); ++value) {
    const auto advice = static_cast<MemoryAdvice>(value);
    if (advice == MemoryAdvice::kRemove) {
      continue;  // For shared memory only.
    }
    const Outcome<void> outcome = advise_pages(pages.at(), pages.length_bytes(), advice);
    EXPECT_TRUE(outcome || outcome.error() == Errno{EINVAL} || outcome.error() == Errno{EBADF})
        << value << ": " << errno_name(outcome.error().value);
  }
}

// Goal:   populating past the end of a file is an error value, where touching kills.
TEST_F(FilePagesTest, PopulatingPastTheEndIsAnErrorNotASignal) {
  MapRequest beyond = request(Protection::kReadWrite, Visibility::kShared);
  beyond.length_bytes = 2 * kPages * page_bytes();
  const Pages pages(beyond);
  const Outcome<void> inside =
      advise_pages(pages.at(), kPages * page_bytes(), MemoryAdvice::kPopulateRead);
  if (!inside && inside.error() == Errno{EINVAL}) {
    GTEST_SKIP() << "MADV_POPULATE_READ: EINVAL";
  }
  EXPECT_TRUE(inside.has_value());
  for (const MemoryAdvice advice : {MemoryAdvice::kPopulateRead, MemoryAdvice::kPopulateWrite}) {
    EXPECT_EQ(advise_pages(pages.page(kPages), page_bytes(), advice).error(), Errno{EFAULT});
  }
  EXPECT_EQ(signal_of([&] { load(pages.page(kPages)); }), SIGBUS);
}

// Goal:   EAGAIN is tried again, but not for ever.
TEST(AdvisePagesTest, ABusyPageIsTriedAgainWithinLimits) {
  const Pages pages(anonymous(1));
  {
    const FaultPlan plan({.call = Call::kAdviseMemory, .times = 10, .error = EAGAIN});
    EXPECT_TRUE(advise_pages(pages.at(), page_bytes(), MemoryAdvice::kNormal).has_value());
    EXPECT_EQ(plan.count(Call::kAdviseMemory), 11U);
  }
  const FaultPlan plan({.call = Call::kAdviseMemory, .times = UINT64_MAX, .error = EAGAIN});
  EXPECT_EQ(advise_pages(pages.at(), page_bytes(), MemoryAdvice::kNormal).error(), Errno{EAGAIN});
  EXPECT_EQ(plan.count(Call::kAdviseMemory), 64U);
}

// --- locking, residency, durability -------------------------------------------------------------

TEST(LockPagesTest, NowBringsPagesAndOnFaultDoesNot) {
  const Pages now(anonymous(kPages));
  const Pages later(anonymous(kPages));
  const Outcome<void> locked = lock_pages(now.at(), now.length_bytes(), LockMode::kNow);
  if (!locked) {
    GTEST_SKIP() << "mlock: " << errno_name(locked.error().value);
  }
  ASSERT_TRUE(lock_pages(later.at(), later.length_bytes(), LockMode::kOnFault).has_value());
  EXPECT_EQ(residency_of(now), std::vector<unsigned char>(kPages, 1));
  EXPECT_EQ(residency_of(later), std::vector<unsigned char>(kPages, 0));
  EXPECT_EQ(advise_pages(now.at(), now.length_bytes(), MemoryAdvice::kDontNeed).error(),
            Errno{EINVAL})
      << "locked pages stay";
  ASSERT_TRUE(unlock_pages(now.at(), now.length_bytes()).has_value());
  EXPECT_TRUE(advise_pages(now.at(), now.length_bytes(), MemoryAdvice::kDontNeed).has_value());
}

TEST(LockPagesTest, TheLimitIsAnError) {
  if (geteuid() != 0) {
    GTEST_SKIP() << "another user: only root can become one";
  }
  const Pages pages(anonymous(kPages));
  testing::Child child([&] {
    const rlimit one_page{page_bytes(), page_bytes()};
    if (setrlimit(RLIMIT_MEMLOCK, &one_page) != 0 || setuid(65534) != 0) {
      return 255;
    }
    const Outcome<void> locked = lock_pages(pages.at(), pages.length_bytes(), LockMode::kNow);
    return locked ? 0 : locked.error().value;
  });
  EXPECT_EQ(child.join().exit_code, ENOMEM);
}

TEST_F(FilePagesTest, ResidencyFollowsEviction) {
  const Pages pages(request(Protection::kRead, Visibility::kShared));
  ASSERT_TRUE(sync_all(file_.get()).has_value());
  load(pages.at());
  EXPECT_EQ(residency_of(pages)[0], 1);
  ASSERT_TRUE(advise_pages(pages.at(), pages.length_bytes(), MemoryAdvice::kDontNeed).has_value());
  ASSERT_TRUE(advise_file(file_.get(), kWholeFile, FileAdvice::kDontNeed).has_value());
  EXPECT_EQ(residency_of(pages), std::vector<unsigned char>(kPages, 0));
}

TEST(PageResidencyTest, UnmappedMemoryIsAnError) {
  const Pages pages(anonymous(2));
  ASSERT_TRUE(unmap_pages(pages.page(1), page_bytes()).has_value());
  std::array<unsigned char, 2> vector{};
  EXPECT_EQ(page_residency(pages.at(), pages.length_bytes(), vector).error(), Errno{ENOMEM});
}

TEST(PageResidencyDeathTest, AVectorThatIsTooSmallDies) {
  const Pages pages(anonymous(2));
  std::array<unsigned char, 1> vector{};
  EXPECT_DEATH(static_cast<void>(page_residency(pages.at(), page_bytes() + 1, vector)),
               "vector.size.. >= .* \\(1, 2\\)");
}

TEST_F(FilePagesTest, SyncingWritesAndRefusesWhatIsNoPage) {
  const Pages pages(request(Protection::kReadWrite, Visibility::kShared));
  store(pages.at());
  EXPECT_TRUE(sync_pages(pages.at(), pages.length_bytes()).has_value());
  const Outcome<CacheStatus> status = cache_status(file_.get(), kWholeFile);
  EXPECT_EQ(status ? status->dirty.value + status->writeback.value : 0, 0U);
  EXPECT_EQ(sync_pages(pages.at() + 1, page_bytes()).error(), Errno{EINVAL});
}

}  // namespace
}  // namespace quire::sys
