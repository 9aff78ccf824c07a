// SPDX-License-Identifier: Apache-2.0
//
// kernel_abi: numbers and layouts of the kernel's interface that are younger than the headers of
// the oldest system quire is built on (Linux 6.1). They are promises of the kernel and the same on
// every architecture, except where noted. Whether the running kernel knows them is probe.h's
// business.
//
// Thread-safety: constants.
#pragma once

#include <sys/ioctl.h>

#include <array>
#include <cstddef>
#include <cstdint>

namespace quire::sys::abi {

// System calls: generic numbers, on x86-64 and arm64 alike.
inline constexpr long kSysProcessMadvise = 440;  // 5.10
inline constexpr long kSysCachestat = 451;
inline constexpr long kSysMseal = 462;

// userfaultfd: <linux/userfaultfd.h>.
inline constexpr std::uint64_t kUffdApi = 0xAA;
inline constexpr int kUffdUserModeOnly = 1;
struct UffdioApi {
  std::uint64_t api;
  std::uint64_t features;
  std::uint64_t ioctls;
};
inline constexpr unsigned long kUffdioApi = _IOWR(0xAA, 0x3F, UffdioApi);
static_assert(kUffdioApi == 0xc018aa3f);
inline constexpr unsigned long kUffdDeviceNew = _IO(0xAA, 0x00);
static_assert(kUffdDeviceNew == 0xaa00);
inline constexpr std::uint64_t kUffdFeatureFlagWp = 1U << 0;
inline constexpr std::uint64_t kUffdFeatureMissingShmem = 1U << 5;
inline constexpr std::uint64_t kUffdFeatureSigbus = 1U << 7;
inline constexpr std::uint64_t kUffdFeatureExactAddress = 1U << 11;
inline constexpr std::uint64_t kUffdFeatureWpShmem = 1U << 12;
inline constexpr std::uint64_t kUffdFeaturePoison = 1U << 14;
inline constexpr std::uint64_t kUffdFeatureWpAsync = 1U << 15;  // 6.7
struct UffdioRange {
  std::uint64_t start;
  std::uint64_t length;
};
inline constexpr std::uint64_t kUffdRegisterMissing = 1;
inline constexpr std::uint64_t kUffdRegisterWp = 2;
struct UffdioRegister {
  UffdioRange range;
  std::uint64_t mode;
  std::uint64_t ioctls;
};
inline constexpr unsigned long kUffdioRegister = _IOWR(0xAA, 0x00, UffdioRegister);
static_assert(kUffdioRegister == 0xc020aa00);
inline constexpr unsigned long kUffdioUnregister = _IOR(0xAA, 0x01, UffdioRange);
static_assert(kUffdioUnregister == 0x8010aa01);
inline constexpr unsigned long kUffdioWake = _IOR(0xAA, 0x02, UffdioRange);
static_assert(kUffdioWake == 0x8010aa02);
inline constexpr std::uint64_t kUffdCopyWp = 2;
struct UffdioCopy {
  std::uint64_t to;
  std::uint64_t from;
  std::uint64_t length;
  std::uint64_t mode;
  std::int64_t done;  // Out: bytes, or minus an errno.
};
inline constexpr unsigned long kUffdioCopy = _IOWR(0xAA, 0x03, UffdioCopy);
static_assert(kUffdioCopy == 0xc028aa03);
struct UffdioFill {  // Zero page, and poison.
  UffdioRange range;
  std::uint64_t mode;
  std::int64_t done;  // Out: bytes, or minus an errno.
};
inline constexpr unsigned long kUffdioZeropage = _IOWR(0xAA, 0x04, UffdioFill);
static_assert(kUffdioZeropage == 0xc020aa04);
inline constexpr unsigned long kUffdioPoison = _IOWR(0xAA, 0x08, UffdioFill);
static_assert(kUffdioPoison == 0xc020aa08);
inline constexpr std::uint64_t kUffdWriteProtect = 1;
struct UffdioWriteProtect {
  UffdioRange range;
  std::uint64_t mode;
};
inline constexpr unsigned long kUffdioWriteProtect = _IOWR(0xAA, 0x06, UffdioWriteProtect);
static_assert(kUffdioWriteProtect == 0xc018aa06);
inline constexpr std::uint8_t kUffdEventPagefault = 0x12;
inline constexpr std::uint64_t kUffdFaultWrite = 1;
inline constexpr std::uint64_t kUffdFaultWp = 2;
struct UffdMessage {
  std::uint8_t event;
  std::array<std::uint8_t, 7> reserved;
  std::uint64_t flags;
  std::uint64_t address;
  std::uint64_t thread;
};
static_assert(sizeof(UffdMessage) == 32);

// /proc/PID/pagemap: PAGEMAP_SCAN (6.7).
struct PagemapScan {
  std::uint64_t size;
  std::uint64_t flags;
  std::uint64_t start;
  std::uint64_t end;
  std::uint64_t walk_end;
  std::uint64_t vector;
  std::uint64_t vector_length;
  std::uint64_t pages_max;
  std::uint64_t category_inverted;
  std::uint64_t category_mask;
  std::uint64_t category_any_of;
  std::uint64_t return_mask;
};
static_assert(sizeof(PagemapScan) == 96);
struct PagemapRegion {
  std::uint64_t start;
  std::uint64_t end;
  std::uint64_t categories;
};
inline constexpr unsigned long kPagemapScan = _IOWR('f', 16, PagemapScan);
static_assert(kPagemapScan == 0xc0606610);
inline constexpr std::uint64_t kScanProtectsMatching = 1;
inline constexpr std::uint64_t kScanWantsWpAsync = 2;  // Else EPERM, not pages left unprotected.
inline constexpr std::uint64_t kPageIsWritten = 1U << 1;
inline constexpr std::uint64_t kPageIsFile = 1U << 2;
inline constexpr std::uint64_t kPageIsPresent = 1U << 3;
inline constexpr std::uint64_t kPageIsSwapped = 1U << 4;
inline constexpr std::uint64_t kPageIsZeroPage = 1U << 5;
inline constexpr std::uint64_t kPageIsHuge = 1U << 6;
// In a word of the file:
inline constexpr std::uint64_t kPagemapPresent = std::uint64_t{1} << 63;
inline constexpr std::uint64_t kPagemapSwapped = std::uint64_t{1} << 62;
inline constexpr std::uint64_t kPagemapFile = std::uint64_t{1} << 61;  // Or shared memory.

// madvise(2).
inline constexpr int kAdviseGuardInstall = 102;  // 6.13
inline constexpr int kAdviseGuardRemove = 103;

// A pidfd argument that means "this process" (6.14).
inline constexpr int kPidfdSelf = -10000;

// memfd_create(2).
inline constexpr unsigned kMfdNoexecSeal = 0x0008U;  // 6.3

// preadv2(2), pwritev2(2).
inline constexpr int kRwfAtomic = 0x40;     // 6.11
inline constexpr int kRwfDontcache = 0x80;  // 6.14

// XFS: <linux/xfs_fs.h> of 6.10.
struct XfsExchangeRange {
  std::int32_t file1_fd;
  std::uint32_t pad;
  std::uint64_t file1_offset;
  std::uint64_t file2_offset;
  std::uint64_t length;
  std::uint64_t flags;
};
static_assert(sizeof(XfsExchangeRange) == 40);
inline constexpr unsigned long kXfsExchangeRange = _IOW('X', 129, XfsExchangeRange);
inline constexpr std::uint64_t kXfsExchangeDryRun = 1U << 2;

// statx(2), with what was added after 6.1.
inline constexpr unsigned kStatxDioAlign = 0x2000;       // 6.1
inline constexpr unsigned kStatxWriteAtomic = 0x10000;   // 6.11
inline constexpr unsigned kStatxDioReadAlign = 0x20000;  // 6.14
struct Statx {
  std::uint32_t mask;
  std::array<std::byte, 0x94> older;
  std::uint32_t dio_memory_align;
  std::uint32_t dio_offset_align;
  std::uint64_t subvolume;
  std::uint32_t atomic_write_unit_min;
  std::uint32_t atomic_write_unit_max;
  std::uint32_t atomic_write_segments_max;
  std::uint32_t dio_read_offset_align;
  std::array<std::byte, 0x48> spare;
};
static_assert(offsetof(Statx, dio_memory_align) == 0x98);
static_assert(offsetof(Statx, dio_read_offset_align) == 0xb4);
static_assert(sizeof(Statx) == 0x100);

// io_uring: <linux/io_uring.h>.
inline constexpr std::uint32_t kIoUringSetupCoopTaskrun = 1U << 8;     // 5.19
inline constexpr std::uint32_t kIoUringSetupSingleIssuer = 1U << 12;   // 6.0
inline constexpr std::uint32_t kIoUringSetupDeferTaskrun = 1U << 13;   // 6.1
inline constexpr std::uint16_t kIoUringSendReportUsage = 1U << 3;      // 6.2
inline constexpr std::uint32_t kIoUringNotificationCopied = 1U << 31;  // 6.2
inline constexpr unsigned kIoUringRegisterBuffers = 0;
inline constexpr unsigned kIoUringRegisterProbe = 8;
struct IoUringParameters {
  std::uint32_t submission_entries;
  std::uint32_t completion_entries;
  std::uint32_t flags;
  std::uint32_t thread_processor;
  std::uint32_t thread_idle;
  std::uint32_t features;
  std::uint32_t worker_fd;
  std::array<std::uint32_t, 3> reserved;
  std::array<std::byte, 80> offsets;  // Of the rings, for who maps them.
};
static_assert(sizeof(IoUringParameters) == 120);
struct IoUringProbeOperation {
  std::uint8_t operation;
  std::uint8_t reserved;
  std::uint16_t flags;  // Bit 0: supported.
  std::uint32_t reserved2;
};
inline constexpr std::size_t kIoUringOperationsMax = 256;
struct IoUringProbe {
  std::uint8_t last_operation;
  std::uint8_t operations_length;
  std::uint16_t reserved;
  std::array<std::uint32_t, 3> reserved2;
  std::array<IoUringProbeOperation, kIoUringOperationsMax> operations;
};
static_assert(sizeof(IoUringProbe) == 16 + 8 * kIoUringOperationsMax);

// /proc/kpageflags.
inline constexpr int kPageFlagCompoundHead = 15;
inline constexpr int kPageFlagCompoundTail = 16;

}  // namespace quire::sys::abi
