// SPDX-License-Identifier: Apache-2.0
//
// step: a mark between two operations on shared memory that others can see, so that a test can
// stop or kill a process exactly there.
//
//   QUIRE_IPC_STEP("mutex.lock.claimed");   // the word says who owns it; the next line does not
//
// The product has none: the mark is an empty statement. In the target quire_ipc_stepped, which
// only tests link, it calls what the thread has asked for; quire/testing/ipc_steps.h asks.
//
// A mark stands before the first and after every operation whose effect a peer could see, and is
// named structure.operation.what_has_just_happened: the state that a death there leaves behind.
//
// Thread-safety: each thread has a hook of its own; a forked child begins with its maker's.
// Cost:          none in the product.
#pragma once

#if defined(QUIRE_IPC_STEPS)

namespace quire::ipc::internal {

// May return, never return, or stop the process for a while.
struct StepHook {
  void (*reached)(const char* step, void* context) = nullptr;
  void* context = nullptr;
};

inline constinit thread_local StepHook step_hook{};

inline void reach_step(const char* step) {
  if (step_hook.reached != nullptr) {
    step_hook.reached(step, step_hook.context);
  }
}

}  // namespace quire::ipc::internal

#define QUIRE_IPC_STEP(name) ::quire::ipc::internal::reach_step(name)

#else

#define QUIRE_IPC_STEP(name) static_cast<void>(0)

#endif
