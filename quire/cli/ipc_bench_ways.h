// SPDX-License-Identifier: Apache-2.0
//
// ipc_bench_ways: the ways to pass messages and to lock that `quire ipc bench` measures side by
// side: quire's own, and what the machine has for the same.
//
//   way = make_way(...)        before the fork: memory, descriptors
//   open_writer, open_reader   in each process that uses it
//   send, receive              block
//
// Thread-safety: one thread in each process. Nothing of a way may be opened in the process that
// made it: that one goes on to fork.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "quire/base/result.h"

namespace quire::cli {

inline constexpr std::size_t kBenchMessageBytes = 64;
inline constexpr std::size_t kBenchTripBytes = 8;
inline constexpr std::size_t kBenchLargeBytes = std::size_t{1} << 20;

class IpcWay {
 public:
  IpcWay() = default;
  virtual ~IpcWay() = default;
  IpcWay(const IpcWay&) = delete;
  IpcWay& operator=(const IpcWay&) = delete;

  virtual Result<void> open_writer() { return {}; }
  virtual Result<void> open_reader() { return {}; }
  // REQUIRES: a message of the length that the way was made for.
  virtual void send(std::span<const std::byte> message) = 0;
  virtual void receive(std::span<std::byte> message) = 0;
};

// Something that one process does again and again.
class IpcLoop {
 public:
  IpcLoop() = default;
  virtual ~IpcLoop() = default;
  IpcLoop(const IpcLoop&) = delete;
  IpcLoop& operator=(const IpcLoop&) = delete;

  virtual Result<void> open() { return {}; }
  virtual void turn() = 0;
};

using MakeWay = std::function<Result<std::unique_ptr<IpcWay>>()>;
using MakeLoop = std::function<Result<std::unique_ptr<IpcLoop>>()>;

struct NamedWay {
  std::string name;
  MakeWay make;
};
struct NamedLoop {
  std::string name;
  MakeLoop make;
};

// The first one is ours.
[[nodiscard]] std::vector<NamedWay> one_way_of_small();  // kBenchMessageBytes
[[nodiscard]] std::vector<NamedWay> one_way_of_large();  // kBenchLargeBytes
[[nodiscard]] std::vector<NamedWay> one_way_of_many();   // kBenchMessageBytes, many writers
[[nodiscard]] std::vector<NamedWay> trips_spinning();    // kBenchTripBytes
[[nodiscard]] std::vector<NamedWay> trips_sleeping();    // kBenchTripBytes
[[nodiscard]] std::vector<NamedLoop> uncontended_locks();
// What copying takes that nothing can be faster than.
[[nodiscard]] NamedLoop plain_copy();

}  // namespace quire::cli
