// SPDX-License-Identifier: Apache-2.0
//
// BackgroundIo: the same from any thread: a thread with an IoQueue of its own takes requests and
// resolves tickets.
//
//   BackgroundIo io = QUIRE_TRY(BackgroundIo::make({.depth = 64}));
//   Ticket ticket = io.read(*file, 0, buffer);
//   ... other work ...
//   QUIRE_TRY(ticket.wait());
//
// For who has no loop of their own to run an IoQueue in. A read that meets the end of the store
// before its memory is full fails with kOutOfRange: a ticket has no number to give back.
//
// Invariants:    every ticket is resolved, also when this object goes: it finishes what it took.
// Thread-safety: any thread. The memory of a request stays until its ticket is done.
// Blocks:        a request when waiting_max requests wait already (back-pressure).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "quire/base/ticket.h"
#include "quire/io/io_queue.h"

namespace quire {

class BackgroundIo {
 public:
  static constexpr std::size_t kWaitingMax = 65'536;  // Bounds the memory of a runaway producer.

  // Errors: those of IoQueue::make(); EAGAIN when no thread can be had.
  static Result<std::unique_ptr<BackgroundIo>> make(const IoQueueOptions& options = {});
  ~BackgroundIo();
  BackgroundIo(const BackgroundIo&) = delete;
  BackgroundIo& operator=(const BackgroundIo&) = delete;

  [[nodiscard]] Ticket read(Store& store, std::uint64_t offset_bytes, std::span<std::byte> into);
  [[nodiscard]] Ticket write(Store& store, std::uint64_t offset_bytes,
                             std::span<const std::byte> from);
  // Of what was written before: requests of this object that came earlier are waited for.
  [[nodiscard]] Ticket sync(Store& store, Durability durability = Durability::kData);

  [[nodiscard]] std::string explain() const;

 private:
  class State;
  explicit BackgroundIo(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace quire
