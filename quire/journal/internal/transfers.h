// SPDX-License-Identifier: Apache-2.0
//
// transfers: requests that are under way together, where the kernel can do them by itself; those to
// any other store are done as they begin, one after the other, by the calling thread. So what is
// simulated happens in the order in which it was asked for.
//
// Thread-safety: one thread at a time.
#pragma once

#include <memory>

#include "quire/base/result.h"
#include "quire/io/io_queue.h"

namespace quire::internal {

class Transfers {
 public:
  // More wait for their turn: deep enough for the fastest devices.
  static constexpr std::uint32_t kUnderWayMax = 64;

  // A read or a write. `on_done` is called, in here, in wait() or in drain(); it may not begin
  // others. REQUIRES: the request stays where it is until then.
  void begin(IoRequest& request);
  // Until one is done. REQUIRES: one is under way.
  void wait() { queue_->wait(); }
  // Until all are.
  void drain();

 private:
  std::unique_ptr<IoQueue> queue_;  // Made for the first request that is for it.
};

}  // namespace quire::internal
