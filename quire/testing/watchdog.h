// SPDX-License-Identifier: Apache-2.0
//
// The watchdog of a test program (test_main.cc) barks when nothing has ended for as long as it was
// told to wait. The end of a test feeds it; a test that takes many rounds feeds it after each.
#pragma once

namespace quire::testing {

// Thread-safety: any thread of the test program; not its forked children, who have no watchdog.
void feed_watchdog() noexcept;

}  // namespace quire::testing
