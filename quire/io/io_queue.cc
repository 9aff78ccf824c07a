// SPDX-License-Identifier: Apache-2.0
#include "quire/io/io_queue.h"

#include <fmt/format.h>

#include <utility>

#include "quire/base/units.h"
#include "quire/io/internal/io_queue_state.h"
#include "quire/sys/outcome.h"

namespace quire {
namespace {

const char* name_of(IoOperation operation) noexcept {
  switch (operation) {
    case IoOperation::kRead: return "read";
    case IoOperation::kWrite: return "write";
    case IoOperation::kSync: return "sync";
    case IoOperation::kCall: return "call";
    case IoOperation::kAwaitReadable: break;
  }
  return "poll";
}

std::string subject_of(const IoRequest& request) {
  switch (request.operation) {
    case IoOperation::kRead:
    case IoOperation::kWrite: break;
    case IoOperation::kSync: return request.store->name();
    case IoOperation::kAwaitReadable: return fmt::format("descriptor {}", request.fd);
    case IoOperation::kCall: return "a function";
  }
  const ByteRange range{.offset_bytes = request.offset_bytes,
                        .length_bytes = request.memory.size()};
  return fmt::format("{}, {}", request.store->name(), describe(range));
}

}  // namespace

const char* name_of(IoEngine engine) noexcept {
  switch (engine) {
    case IoEngine::kAutomatic: return "automatic";
    case IoEngine::kRing: return "io_uring";
    case IoEngine::kThreads: break;
  }
  return "threads";
}

Result<std::uint64_t> IoRequest::result() const {
  if (!error) {
    return done_bytes;
  }
  if (error.category() == std::system_category()) {
    return fail(sys::to_error({error.value()}, name_of(operation), subject_of(*this)));
  }
  return fail(
      Error({.code = error, .operation = name_of(operation), .subject = subject_of(*this)}));
}

IoQueue::IoQueue(std::unique_ptr<State> state) : state_(std::move(state)) {}

IoQueue::~IoQueue() {
  drain();
}

Result<std::unique_ptr<IoQueue>> IoQueue::make(const IoQueueOptions& options) {
  auto state = QUIRE_TRY(State::make(options));
  return std::unique_ptr<IoQueue>(new IoQueue(std::move(state)));
}

void IoQueue::register_store(const Store& store) {
  state_->register_store(store);
}

void IoQueue::forget_store(const Store& store) {
  state_->forget_store(store);
}

void IoQueue::submit(IoRequest& request) {
  state_->submit(request);
}

std::size_t IoQueue::poll() {
  return state_->poll();
}

std::size_t IoQueue::wait(std::size_t count) {
  return state_->wait(count);
}

void IoQueue::drain() {
  state_->drain();
}

std::size_t IoQueue::wait_interruptibly() {
  return state_->wait_interruptibly();
}

void IoQueue::interrupt() {
  state_->interrupt();
}

std::size_t IoQueue::under_way() const noexcept {
  return state_->under_way();
}

IoEngine IoQueue::engine() const noexcept {
  return state_->engine();
}

IoQueueStats IoQueue::stats() const noexcept {
  return state_->stats();
}

std::string IoQueue::explain() const {
  return state_->explain();
}

void IoQueue::check_invariants() const {
  state_->check_invariants();
}

IoQueue::Awaitable IoQueue::read(Store& store, std::uint64_t offset_bytes,
                                 std::span<std::byte> into) {
  return {*this,
          {.store = &store,
           .operation = IoOperation::kRead,
           .offset_bytes = offset_bytes,
           .memory = into}};
}

IoQueue::Awaitable IoQueue::write(Store& store, std::uint64_t offset_bytes,
                                  std::span<const std::byte> from) {
  return {*this,
          {.store = &store,
           .operation = IoOperation::kWrite,
           .offset_bytes = offset_bytes,
           .memory = {const_cast<std::byte*>(from.data()), from.size()}}};  // A write only reads.
}

IoQueue::Awaitable IoQueue::sync(Store& store, Durability durability) {
  return {*this, {.store = &store, .operation = IoOperation::kSync, .durability = durability}};
}

void IoQueue::Awaitable::await_suspend(std::coroutine_handle<> waiter) {
  waiter_ = waiter;
  request_.context = this;
  request_.on_done = [](IoRequest& request) {
    static_cast<Awaitable*>(request.context)->waiter_.resume();
  };
  queue_.submit(request_);
}

}  // namespace quire
