// SPDX-License-Identifier: Apache-2.0
//
// IoQueue: many requests under way at a time, from one thread.
//
//   IoQueue queue = QUIRE_TRY(IoQueue::make({.depth = 32}));
//   queue.submit(request);              // a callback when it is done ...
//   auto bytes = co_await queue.read(*file, 4096, buffer);     // ... or a coroutine that goes on
//   queue.drain();
//
//   submit --> [waiting: depth reached] --> under way --> done: request.on_done(request)
//
// Where the kernel allows it, reads and writes of a Store with a kernel_target() go through one
// io_uring of this queue's own; syncs, requests to other stores, and unaligned writes to direct
// files run in a few threads that call the Store, and so does what the ring refuses. Where io_uring
// is forbidden (seccomp, io_uring_disabled) all of them do: the same results, more switches.
// explain() says which.
//
// Completeness:  as Store's: short transfers are gone on with, EINTR and EAGAIN are resolved; a
//                request ends with all its bytes, at the end of the store, or with an error.
// Callbacks:     run in the queue's thread, inside submit(), poll(), wait() and drain() only, and
//                may submit more, but not poll or wait. Nothing is called twice or forgotten.
// Awaits:        kAwaitReadable is done when its descriptor is readable, or its peer hung up, so
//                that one thread waits for requests and for others who bring work. It has no store,
//                reads nothing, and may take for ever; so it neither waits for its turn nor keeps
//                others from theirs: up to kAwaitsMax are under way on top of the depth. Nothing
//                cancels one: drain() and the destructor wait for it, so make it readable first.
// Calls:         kCall runs a function in one of the queue's threads: work that its thread has no
//                time for. It waits for its turn like a transfer.
// Order:         none. A sync covers the writes that were done before it was submitted.
// Invariants:    under way, without awaits, <= depth; submitted = waiting + under way + done.
// Thread-safety: one thread at a time; another one may take over when nothing is under way
//                (checked; it gets a ring of its own, some 50 us). The Stores may be shared.
// Blocks:        submit() when kWaitingMax requests wait already, except inside of a callback;
//                wait(), drain(). poll() never.
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <system_error>

#include "quire/base/result.h"
#include "quire/io/store.h"

namespace quire {

class BufferPool;

enum class IoOperation : std::uint8_t { kRead, kWrite, kSync, kAwaitReadable, kCall };

// One request. It belongs to the caller, stays where it is until on_done was called, and may be
// used again then.
struct IoRequest {
  Store* store = nullptr;  // Null for kAwaitReadable and kCall, and only there.
  IoOperation operation = IoOperation::kRead;
  std::uint64_t offset_bytes = 0;
  std::span<std::byte> memory = {};            // A write only reads it.
  Durability durability = Durability::kData;   // kSync only; the whole store.
  int fd = -1;                                 // kAwaitReadable only; open until on_done.
  void (*call)(IoRequest& request) = nullptr;  // kCall only. May set `error`. Must not throw.
  // Called when it is done. Must not throw.
  void (*on_done)(IoRequest& request) = nullptr;
  void* context = nullptr;  // The callback's.

  // Answers, valid in on_done and after.
  std::uint64_t done_bytes = 0;  // kRead: fewer than asked for is the end of the store.
  std::error_code error = {};

  // The answer as a value: the bytes (of an await: none), or an Error that names store and range.
  // An await's are EBADF, and EAGAIN where there is neither a ring nor a thread for it.
  [[nodiscard]] Result<std::uint64_t> result() const;
};

enum class IoEngine : std::uint8_t { kAutomatic, kRing, kThreads };
[[nodiscard]] const char* name_of(IoEngine engine) noexcept;  // "io_uring", "threads"

struct IoQueueOptions {
  std::uint32_t depth = 32;                // Requests under way at most. 1 .. kDepthMax.
  IoEngine engine = IoEngine::kAutomatic;  // kRing: fail rather than fall back.
  std::uint32_t thread_count = 0;          // Of the fallback; 0: min(depth, kThreadsMax).
  // Requests whose memory lies in one of its buffers use it registered: the kernel pins it once.
  BufferPool* registered = nullptr;  // Outlives the queue.

  static constexpr std::uint32_t kDepthMax = 4096;  // A ring's limit of 32768 is far; ours.
  static constexpr std::uint32_t kThreadsMax = 16;  // More only queue in the kernel.
  // Requests that wait for their turn at most: bounds the memory of a runaway producer.
  static constexpr std::size_t kWaitingMax = 65'536;
  static constexpr std::uint32_t kRegisteredStoresMax = 16;  // They are searched at each request.
  static constexpr std::uint32_t kAwaitsMax = 4;  // More descriptors share one: a sys::Poller's.
};

struct IoQueueStats {
  std::uint64_t submitted = 0;
  std::uint64_t completed = 0;
  std::uint64_t failed = 0;
  std::uint64_t resumed = 0;       // Short transfers gone on with.
  std::uint64_t bounced = 0;       // Requests that needed an aligned buffer.
  std::uint64_t on_threads = 0;    // Requests that a thread did.
  std::uint64_t system_calls = 0;  // io_uring_enter, or one per thread's transfer.
  std::uint64_t under_way_max = 0;
};

class IoQueue {
 public:
  // Errors: kUnsupported for kRing where there is none; kLimit for a depth out of range; ENOMEM.
  static Result<std::unique_ptr<IoQueue>> make(const IoQueueOptions& options = {});
  // Drains first: the kernel must not write into memory that is gone.
  ~IoQueue();
  IoQueue(const IoQueue&) = delete;
  IoQueue& operator=(const IoQueue&) = delete;

  // Registers the store's file with the ring, which then need not look it up at each request; the
  // kernel holds the file open until forget_store(). Does nothing for stores without a
  // kernel_target(), without a ring, and beyond kRegisteredStoresMax stores: it only makes things
  // faster. REQUIRES: it is forgotten before the store goes or is closed, with no request under
  // way.
  void register_store(const Store& store);
  void forget_store(const Store& store);

  // Takes the request; what happens to it arrives in on_done, errors of submission too.
  // REQUIRES: the request and its memory stay until on_done; kAwaitReadable: at most kAwaitsMax are
  //           under way (checked).
  void submit(IoRequest& request);
  // Hands what was submitted, and is not in the kernel yet, to it, and runs the completions that
  // are there. Returns them.
  std::size_t poll();
  // The same, until `count` completions ran or nothing is under way. What callbacks submit goes to
  // the kernel with the next poll(), wait() or drain().
  std::size_t wait(std::size_t count = 1);
  // Until nothing is under way.
  void drain();
  // Until a completion ran or somebody interrupted, before or meanwhile; also when nothing is under
  // way. May come back with nothing for no reason. For a thread that others bring work to; it ends
  // with drain(), before another thread takes over or destroys the queue.
  std::size_t wait_interruptibly();
  // Any thread; the queue must live.
  void interrupt();

  [[nodiscard]] std::size_t under_way() const noexcept;
  [[nodiscard]] IoEngine engine() const noexcept;  // kRing or kThreads.
  [[nodiscard]] IoQueueStats stats() const noexcept;
  // "io_uring, depth 32, registered buffers"; "16 threads: io_uring_setup: EPERM ..."
  [[nodiscard]] std::string explain() const;
  void check_invariants() const;

  // For co_await; the coroutine goes on inside poll(), wait() or drain().
  class Awaitable;
  [[nodiscard]] Awaitable read(Store& store, std::uint64_t offset_bytes, std::span<std::byte> into);
  [[nodiscard]] Awaitable write(Store& store, std::uint64_t offset_bytes,
                                std::span<const std::byte> from);
  [[nodiscard]] Awaitable sync(Store& store, Durability durability);

 private:
  class State;
  explicit IoQueue(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

// One request as something to wait for. Lives in the coroutine's frame.
class IoQueue::Awaitable {
 public:
  Awaitable(IoQueue& queue, IoRequest request) : queue_(queue), request_(request) {}
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiter);
  [[nodiscard]] Result<std::uint64_t> await_resume() const { return request_.result(); }

 private:
  IoQueue& queue_;
  IoRequest request_;
  std::coroutine_handle<> waiter_;
};

}  // namespace quire
