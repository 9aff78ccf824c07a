// SPDX-License-Identifier: Apache-2.0
//
// ipc_memory: shared memory and made-up participants, for tests of structures without a segment.
//
// Memory that exists before a fork is shared with the child. A member is dead as soon as the test
// says so, and not before.
//
// Thread-safety: FakePeers is for one thread, or for many that do not change it.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <set>
#include <span>

#include "quire/base/check.h"
#include "quire/ipc/core/peers.h"

namespace quire::testing {

// Zeroed bytes.
class SharedMemory {
 public:
  explicit SharedMemory(std::size_t size_bytes) : size_bytes_(size_bytes) {
    memory_ =
        ::mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    QUIRE_CHECK(memory_ != MAP_FAILED);
  }
  ~SharedMemory() { ::munmap(memory_, size_bytes_); }
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  [[nodiscard]] std::byte* data() const { return static_cast<std::byte*>(memory_); }
  [[nodiscard]] std::span<std::byte> bytes() const { return {data(), size_bytes_}; }
  template <typename T>
  [[nodiscard]] T& as(std::size_t offset_bytes = 0) const {
    return *reinterpret_cast<T*>(data() + offset_bytes);
  }

 private:
  std::size_t size_bytes_;
  void* memory_ = nullptr;
};

// Zeroed bytes, mapped twice in a row.
class MirroredMemory {
 public:
  explicit MirroredMemory(std::size_t size_bytes) : size_bytes_(size_bytes) {
    const int fd = ::memfd_create("mirrored", MFD_CLOEXEC);
    QUIRE_CHECK(fd >= 0 && ::ftruncate(fd, static_cast<off_t>(size_bytes)) == 0);
    memory_ = static_cast<std::byte*>(
        ::mmap(nullptr, 2 * size_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    for (std::byte* half : {memory_, memory_ + size_bytes}) {
      QUIRE_CHECK(::mmap(half, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) ==
                  half);
    }
    ::close(fd);
  }
  ~MirroredMemory() { ::munmap(memory_, 2 * size_bytes_); }
  MirroredMemory(const MirroredMemory&) = delete;
  MirroredMemory& operator=(const MirroredMemory&) = delete;

  [[nodiscard]] std::byte* data() const { return memory_; }
  [[nodiscard]] std::size_t size_bytes() const { return size_bytes_; }

 private:
  std::size_t size_bytes_;
  std::byte* memory_ = nullptr;
};

class FakePeers final : public ipc::internal::Peers {
 public:
  explicit FakePeers(ipc::internal::MemberWord self) : self_(self) {}

  [[nodiscard]] ipc::internal::MemberWord self() const noexcept override { return self_; }
  [[nodiscard]] bool is_dead(ipc::internal::MemberWord member) const noexcept override {
    return dead_.contains(member);
  }
  void die(ipc::internal::MemberWord member) { dead_.insert(member); }

 private:
  ipc::internal::MemberWord self_;
  std::set<ipc::internal::MemberWord> dead_;
};

}  // namespace quire::testing
