// SPDX-License-Identifier: Apache-2.0
//
// GuardianProcess: what runs in the guardian; see quire/pager/survive_kill.h.
//
//   request: watch, forget  --socket-->  [ areas: memory, states, file ]  --> answer: an errno
//   end of the stream       ---------->  write, sync, exit
//
//   board   | size, has zeros | ...      shared memory: what the owner says of each area without
//                                        asking, also while a fault is being served
//
// It reads the states as they lie in the memfd (GranuleTable, TableBacking::kMemfd), by pread: a
// dead process changes nothing, and a hole that is read through a mapping would take memory.
//
// A write that the owner had begun may still be on its way to the device, with older bytes: before
// the first write to a file, fallocate() of a range that is going to be written waits for it, as
// every change of a file's blocks does.
//
// Thread-safety: one thread, in a process of its own (sys/lone_process.h: no allocation, no lock).
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "quire/base/units.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/outcome.h"

namespace quire::internal {

// Areas of one guardian: three descriptors each fit the usual limit of 1024.
inline constexpr std::size_t kGuardedAreasMax = 256;
static_assert(3 * kGuardedAreasMax + 16 < 1024);

// The marks of a file; see quire/pager/survive_kill.h. Far past every end, below 2^63.
inline constexpr std::uint64_t kGuardianByte = 0x7155'4952'4500'0000;
inline constexpr std::uint64_t kOwnerByte = kGuardianByte + 1;

struct GuardBoard {
  struct Area {
    std::atomic<std::uint64_t> size_bytes{0};
    std::atomic<bool> has_zeros{false};
  };
  static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

  std::array<Area, kGuardedAreasMax> areas{};
};

// kWatch is followed by three messages of one descriptor each: memory, states, file.
struct GuardRequest {
  enum class Kind : std::uint32_t { kWatch, kForget };

  Kind kind = Kind::kWatch;
  std::uint32_t slot = 0;
  std::uint64_t granule_bytes = 0;
  std::uint64_t granule_count = 0;
  std::array<char, 64> name{};  // For messages.
};

struct GuardReply {
  std::int32_t error = 0;
};

class GuardianProcess {
 public:
  GuardianProcess(int socket, const GuardBoard& board) : socket_(socket), board_(board) {}

  // For sys::start_lone_process(). `self` is a GuardianProcess.
  static int run(void* self) noexcept;

 private:
  struct Area {
    sys::Descriptor memory;
    sys::Descriptor states;
    sys::Descriptor file;
    sys::FileId id;
    std::uint64_t granule_bytes = 0;
    std::uint64_t granule_count = 0;
    std::array<char, 64> name{};
  };
  // What went wrong with an area, and how much.
  struct Loss {
    std::string_view operation;
    std::uint64_t offset_bytes = 0;
    int error = 0;
    std::uint64_t lost_bytes = 0;
  };

  [[nodiscard]] int serve() noexcept;
  [[nodiscard]] sys::Outcome<void> watch(const GuardRequest& request) noexcept;
  void forget(std::uint32_t slot) noexcept;
  [[nodiscard]] int rescue_all() noexcept;
  [[nodiscard]] Loss rescue(const Area& area, const GuardBoard::Area& told) noexcept;
  void write_runs(const Area& area, std::uint64_t first, std::uint64_t size_bytes, ByteRange& run,
                  Loss& loss) noexcept;
  void write(const Area& area, ByteRange run, Loss& loss) noexcept;
  static void complain(const Area& area, const Loss& loss) noexcept;

  static constexpr std::size_t kBufferBytes = 256 * 1024;
  static constexpr std::size_t kLeafCells = 512;

  const int socket_;
  const GuardBoard& board_;
  std::size_t watched_ = 0;
  std::array<Area, kGuardedAreasMax> areas_{};
  std::array<std::uint64_t, kLeafCells> cells_{};
  std::array<std::byte, kBufferBytes> buffer_{};
};

}  // namespace quire::internal
