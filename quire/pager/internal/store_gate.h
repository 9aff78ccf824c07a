// SPDX-License-Identifier: Apache-2.0
//
// StoreGate: whatever lets a store into an atomic area goes through it, and a cut shuts it.
//
//   open, n inside --shut()--> shut, n inside --the last leaves--> shut and empty --open()--> open
//                              nobody enters                       shut() comes back
//
// Who is inside changes protections, for microseconds. He waits for nobody, and no signal of the
// application comes in between: its handler could store, too, and would wait for the one who waits
// for this thread.
//
// Thread-safety: every member from any thread; enter() and leave() also where a fault is served.
// Blocks:        enter() while it is shut; shut() until nobody is inside, and while another has it.
#pragma once

#include <atomic>
#include <cstdint>

namespace quire::internal {

class StoreGate {
 public:
  void enter() noexcept;
  void leave() noexcept;
  void shut() noexcept;
  void open() noexcept;

 private:
  // Who is inside is counted below these.
  static constexpr std::uint32_t kShut = 0x8000'0000;
  static constexpr std::uint32_t kAwaited = 0x4000'0000;  // Somebody sleeps until it is open.

  void await_open(std::uint32_t seen) noexcept;

  std::atomic<std::uint32_t> word_{0};
};

// Inside, for a scope. Null: there is no gate.
class InsideGate {
 public:
  explicit InsideGate(StoreGate* gate) noexcept : gate_(gate) {
    if (gate_ != nullptr) {
      gate_->enter();
    }
  }
  ~InsideGate() {
    if (gate_ != nullptr) {
      gate_->leave();
    }
  }
  InsideGate(const InsideGate&) = delete;
  InsideGate& operator=(const InsideGate&) = delete;

 private:
  StoreGate* gate_;
};

}  // namespace quire::internal
