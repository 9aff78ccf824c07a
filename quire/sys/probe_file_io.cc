// SPDX-License-Identifier: Apache-2.0
//
// File system features of one file: flags of buffered reads, space management, shared blocks.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>

#include "quire/sys/internal/kernel_abi.h"
#include "quire/sys/internal/probe_parts.h"

namespace quire::sys::internal {
namespace {

struct FileTrial {
  Trial trial;
  Finding (*run)(const PathSubject& subject);
  bool writes = false;  // Only on a file of ours.
};

Outcome<long> read_a_byte(const PathSubject& subject, int flags) noexcept {
  std::byte byte{};
  const iovec into{.iov_base = &byte, .iov_len = 1};
  return try_call([&] { return ::preadv2(subject.fd, &into, 1, 0, flags); });
}

Finding try_nowait(const PathSubject& subject) {
  const Outcome<long> outcome = read_a_byte(subject, RWF_NOWAIT);
  // EAGAIN is the answer we want: the byte is not in memory, and the call did not wait for it.
  if (!outcome && outcome.error().value != EAGAIN) {
    return tl::unexpected<Errno>(outcome.error());
  }
  return std::string();
}

Finding try_dontcache(const PathSubject& subject) {
  QUIRE_TRY(read_a_byte(subject, abi::kRwfDontcache));
  return std::string();
}

// Past the end, so that blocks really have to be found.
Finding try_allocate(const PathSubject& subject) {
  constexpr off_t kLengthBytes = 64 << 10;
  QUIRE_TRY(try_call([&] {
    return ::fallocate(subject.fd, FALLOC_FL_KEEP_SIZE, static_cast<off_t>(subject.size_bytes),
                       kLengthBytes);
  }));
  return std::string();
}

// In the second file: the first one is read by the trials that follow.
Finding try_punch(const PathSubject& subject) {
  constexpr off_t kLengthBytes = 64 << 10;
  QUIRE_TRY(try_call([&] { return ::ftruncate(subject.twin_fd, kLengthBytes); }));
  QUIRE_TRY(try_call([&] {
    return ::fallocate(subject.twin_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                       kLengthBytes);
  }));
  return std::string();
}

Finding try_clone(const PathSubject& subject) {
  QUIRE_TRY(try_call([&] { return ::ioctl(subject.twin_fd, FICLONE, subject.fd); }));
  return std::string();
}

// Says whether it would: nothing is exchanged.
Finding try_exchange(const PathSubject& subject) {
  abi::XfsExchangeRange request{.file1_fd = subject.twin_fd,
                                .pad = 0,
                                .file1_offset = 0,
                                .file2_offset = 0,
                                .length = os_page_size().bytes(),
                                .flags = abi::kXfsExchangeDryRun};
  QUIRE_TRY(try_call(
      [&] { return ::ftruncate(subject.twin_fd, static_cast<off_t>(subject.size_bytes)); }));
  QUIRE_TRY(try_call([&] { return ::ioctl(subject.fd, abi::kXfsExchangeRange, &request); }));
  return std::string();
}

constexpr std::array kTrials = std::to_array<FileTrial>({
    {{"rwf_nowait", "a read can be tried without waiting for the device",
      "whether a read would wait is not known before it does"},
     try_nowait},
    {{"rwf_dontcache", "scans and copies leave the page cache as it was",
      "scans fill the page cache: FADV_DONTNEED behind a moving window"},
     try_dontcache},
    {{"fallocate", "a full disk is an error at growth, not a SIGBUS",
      "a full disk may be met at a store: write zeros to grow, or guard the access"},
     try_allocate,
     true},
    {{"punch_hole", "space inside a file can be given back", "space is given back at the end only"},
     try_punch,
     true},
    {{"reflink", "a file is copied at once, sharing its blocks (FICLONE)",
      "copying moves the bytes"},
     try_clone,
     true},
    {{"exchange_range", "ranges of two files change places at once (XFS_IOC_EXCHANGE_RANGE)",
      "commits go through a journal"},
     try_exchange,
     true},
});

}  // namespace

void probe_file_io(const PathSubject& subject, std::vector<Capability>& found) {
  for (const FileTrial& row : kTrials) {
    if (row.writes && !subject.is_ours()) {
      found.push_back(conclude_unknown(
          row.trial, "not tried: it would write; name the directory to have it tried there"));
    } else {
      found.push_back(conclude(row.trial, row.run(subject)));
    }
  }
}

void skip_file_io(const std::string& reason, std::vector<Capability>& found) {
  for (const FileTrial& row : kTrials) {
    found.push_back(conclude_unknown(row.trial, reason));
  }
}

}  // namespace quire::sys::internal
