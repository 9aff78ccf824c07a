// SPDX-License-Identifier: Apache-2.0
//
// ends_test: both ends of a transfer for tests: every kind of source, with known bytes, and every
// kind of target, that tells what arrived. For tests alone.
//
// Streams have a thread at their other end, which uses plain system calls: a sys::FaultPlan counts
// and fails the transfer's own calls only.
#pragma once

#include <cstddef>
#include <ostream>
#include <string>
#include <thread>

#include "quire/sys/descriptor.h"
#include "quire/testing/temp_dir.h"
#include "quire/transfer/transfer.h"

namespace quire::internal {

using testing::pattern;
using testing::read_file;
using testing::TempDir;

enum class SourceKind : std::uint8_t { kFile, kPipe, kUnixSocket, kTcpSocket };
enum class TargetKind : std::uint8_t {
  kFile,
  kAppendedFile,
  kPipe,
  kUnixSocket,
  kTcpSocket,
  kNullDevice
};
enum class Blocking : std::uint8_t { kYes, kNo };

[[nodiscard]] const char* name_of(SourceKind kind) noexcept;
[[nodiscard]] const char* name_of(TargetKind kind) noexcept;

// As testing::pattern(), for many megabytes in little time: it repeats itself with a period that is
// no multiple of any block, so that a piece in the wrong place still shows.
[[nodiscard]] std::string long_pattern(std::size_t length_bytes);

// Expects that it can be opened; new files are 0644.
[[nodiscard]] sys::Descriptor open_at(const std::string& path, int flags);

// Two connected ends.
struct EndPair {
  sys::Descriptor near;
  sys::Descriptor far;
};
[[nodiscard]] EndPair tcp_pair();
[[nodiscard]] EndPair unix_pair();

class TestSource {
 public:
  TestSource(SourceKind kind, const TempDir& directory, const std::string& content,
             Blocking blocking = Blocking::kYes);
  ~TestSource();
  TestSource(const TestSource&) = delete;
  TestSource& operator=(const TestSource&) = delete;

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  sys::Descriptor fd_;
  std::string path_;
  std::jthread feeder_;
};

class TestTarget {
 public:
  TestTarget(TargetKind kind, const TempDir& directory, Blocking blocking = Blocking::kYes);
  ~TestTarget();
  TestTarget(const TestTarget&) = delete;
  TestTarget& operator=(const TestTarget&) = delete;

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  // Closes the near end and gives all that arrived. kNullDevice: nothing. Call once.
  [[nodiscard]] std::string received();

 private:
  TargetKind kind_;
  sys::Descriptor fd_;
  std::string path_;
  std::string received_;
  std::jthread collector_;
};

}  // namespace quire::internal
