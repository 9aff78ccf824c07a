// SPDX-License-Identifier: Apache-2.0
//
// Blackboard<T>: the latest value of something, for whoever looks: never torn, never missing.
//
//   layout.add(ipc::Blackboard<Config>::object("config", {.type = "Config"}));
//
//   auto board = ipc::Blackboard<Config>::writer(segment, "config").value();
//   board.write(config);
//
//   auto view = ipc::Blackboard<Config>::reader(segment, "config").value();
//   if (view.read(config).value() != 0) use(config);        // 0: nothing was ever written
//   view.wait_for_change({.timeout = 1s});
//
// It is a Broadcast of four slots of which only the newest counts:
//
//   | value n - 2 | value n - 1 | value n |  n + 1, being written  |
//                                   '- what read() copies, and looks again whether it still is
//
// The writer never touches the newest value, so a reader has the time of three writes for its
// copy before it must begin again. A writer that dies in the middle leaves the one before whole.
//
// What is shared: as broadcast.h says.
//
// Invariants:    as broadcast.h. A reader never goes back: versions it returns do not fall.
// Thread-safety: a handle is for one thread at a time; one writer, any number of readers. Not
//                usable in a child of fork().
// Errors:        opening: EBUSY for a second writer, ENOENT, kWrongKind. read(): kCorrupt; EAGAIN
//                when the writer was faster kReaderTurnsMax times running. Waiting: ETIMEDOUT,
//                kCorrupt.
// Cost:          write: a copy, three stores. read: a copy, four loads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "quire/ipc/core/broadcast_handles.h"

namespace quire::ipc {

template <typename T>
class Blackboard {
  static_assert(internal::kFitsSharedMemory<T>, "T must be trivially copyable and not a pointer");
  static constexpr ObjectKind kKind = ObjectKind::kBlackboard;

 public:
  struct Options {
    std::string type = {};  // T's name, for who is told that it does not fit.
  };
  [[nodiscard]] static ObjectSpec object(std::string name, const Options& options = {}) {
    const internal::ElementType element = internal::element_of<T>(options.type);
    return internal::ring_spec(std::move(name), element, internal::broadcast_shape(kKind, element),
                               internal::kBlackboardValues);
  }

  class Writer : public internal::BroadcastWriterHandle {
   public:
    void write(const T& value) noexcept {
      publish_copy(reinterpret_cast<const std::byte*>(&value), sizeof(T));
    }
    // How often it was written, by this writer and those before it.
    [[nodiscard]] std::uint64_t version() const noexcept { return core_.number(); }

   private:
    friend class Blackboard;
    Writer() noexcept = default;
  };

  class Reader : public internal::LatestReaderHandle {
   public:
    // Copies the latest value and returns its version, from 1 on; 0, and no value, when none was
    // written yet.
    Result<std::uint64_t> read(T& value) {
      return copy(reinterpret_cast<std::byte*>(&value), sizeof(T));
    }
    // Waits until there is a later value than read() has returned. Errors: ETIMEDOUT; kCorrupt when
    // the place of that value says what no writer does, until one writes it.
    Result<void> wait_for_change(const WaitOptions& options = {}) {
      return wait_for(version_, options);
    }
    // True: `bell` will ring when there is. False: there is already, or wait_for_change() fails.
    [[nodiscard]] bool arm(const Doorbell& bell) { return arm_for(version_, bell); }
    // REQUIRES: nobody writes meanwhile.
    [[nodiscard]] bool check_invariants() const noexcept { return core_.is_sound(); }

   private:
    friend class Blackboard;
    Reader() noexcept = default;
  };

  [[nodiscard]] static Result<Writer> writer(const Segment& segment, std::string_view name) {
    Writer writer;
    QUIRE_TRY(Writer::open(writer, segment, name, kKind, internal::element_of<T>({})));
    return writer;
  }
  [[nodiscard]] static Result<Reader> reader(const Segment& segment, std::string_view name) {
    Reader reader;
    QUIRE_TRY(Reader::open(reader, segment, name, kKind, internal::element_of<T>({})));
    return reader;
  }
};

}  // namespace quire::ipc
