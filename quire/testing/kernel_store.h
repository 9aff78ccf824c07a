// SPDX-License-Identifier: Apache-2.0
//
// KernelStore: the plainest Store on a file, with a kernel_target() that claims any alignment. On a
// buffered file the claim is a pretence: what an IoQueue does about it can be seen without a device
// that insists.
//
// Thread-safety: as Store's; the counters may be read at any time.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "quire/io/io_queue.h"
#include "quire/io/store.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"
#include "quire/sys/vector_io.h"
#include "quire/testing/temp_dir.h"

namespace quire::testing {

class KernelStore final : public Store {
 public:
  explicit KernelStore(const std::string& content, KernelTarget claims = {})
      : target(claims),
        path_(directory_.write("data", content)),
        file_(sys::open_file(path_.c_str(), {.write = true}).value()) {
    target.fd = file_.get();
  }

  [[nodiscard]] const std::string& name() const noexcept override { return name_; }
  [[nodiscard]] Result<std::uint64_t> size_bytes() const override {
    return sys::file_status(file_.get())->size_bytes;
  }
  Result<std::uint64_t> read_pieces(std::uint64_t offset_bytes, MutablePieces into) override {
    ++store_calls;
    return answer(sys::read_vector_at(file_.get(), into, offset_bytes), "read");
  }
  Result<void> write_pieces(std::uint64_t offset_bytes, ConstPieces from) override {
    ++store_calls;
    return answer(sys::write_vector_at(file_.get(), from, offset_bytes), "write");
  }
  Result<void> resize(std::uint64_t size_bytes) override {
    return answer(sys::truncate_file(file_.get(), size_bytes), "resize");
  }
  Result<void> allocate(ByteRange range) override {
    return answer(sys::allocate_space(file_.get(), range, sys::Allocate::kExtendSize), "allocate");
  }
  Result<void> punch(ByteRange range) override {
    return answer(sys::punch_hole(file_.get(), range), "punch");
  }
  Result<void> sync(Durability /*durability*/, ByteRange /*range*/) override {
    ++syncs;
    return answer(sys::sync_data(file_.get()), "sync");
  }

  [[nodiscard]] const KernelTarget* kernel_target() const noexcept override {
    return is_kernels ? &target : nullptr;
  }
  [[nodiscard]] bool may_kernel_do(const IoRequest& request) const noexcept override {
    return request.operation != IoOperation::kWrite || are_writes_kernels;
  }
  void on_kernel_completion(const IoRequest& request) noexcept override {
    ++kernel_completions;
    kernel_errors += request.error ? 1 : 0;
  }

  [[nodiscard]] std::string content() const { return read_file(path_); }

  KernelTarget target;
  bool is_kernels = true;          // Whether there is a kernel_target() at all,
  bool are_writes_kernels = true;  // and what may_kernel_do() says of writes.
  std::atomic<int> store_calls = 0;
  std::atomic<int> syncs = 0;
  int kernel_completions = 0;
  int kernel_errors = 0;

 private:
  template <typename T>
  Result<T> answer(const tl::expected<T, sys::Errno>& outcome, const char* operation) const {
    if (!outcome) {
      return fail(sys::to_error(outcome.error(), operation, name_));
    }
    if constexpr (std::is_void_v<T>) {
      return {};
    } else {
      return *outcome;
    }
  }

  TempDir directory_;
  std::string name_ = "data";
  std::string path_;
  sys::Descriptor file_;
};

}  // namespace quire::testing
