// SPDX-License-Identifier: Apache-2.0
//
// read() and write(), one after the other, as most programs have them.
#include "quire/compare/internal/loops.h"
#include "quire/compare/internal/runner_parts.h"
#include "quire/sys/file.h"

namespace quire::compare::internal {
namespace {

class ReadWriteRunner final : public BasicRunner {
 public:
  [[nodiscard]] int fd() const noexcept override { return file_.get(); }
  [[nodiscard]] std::string method() const override {
    switch (work().durability) {
      case DurabilityChoice::kNone: break;
      case DurabilityChoice::kAtEnd: return "pwrite, fdatasync";
      case DurabilityChoice::kEachOperation: return "pwrite and fdatasync";
    }
    return is_write(work().pattern) ? "pwrite" : "pread";
  }

  Result<void> check_written(const Tally& tally) override {
    return check_sample_of(work(), tally, target().name(), fd());
  }

 protected:
  Result<void> prepare() override {
    // A log grows as it is written; a file that is written whole can be reserved.
    const std::uint64_t reserved =
        work().pattern == Pattern::kSequentialWrite ? work().bytes_max : 0;
    file_ = QUIRE_TRY(open_for(target(), work(), reserved));
    block_ = QUIRE_TRY(make_block(work().block_bytes));
    return {};
  }

  Result<void> run_pattern(Tally& tally) override {
    const std::span<std::byte> block(block_.address(),
                                     static_cast<std::size_t>(work().block_bytes));
    run_block_loop(
        work(), tally, block,
        [&](std::uint64_t offset, std::span<std::byte> into) {
          return read_one(tally, offset, into);
        },
        [&](std::uint64_t offset, std::span<const std::byte> bytes) {
          return write_one(tally, offset, bytes);
        });
    return sync_at_end(tally);
  }

 private:
  std::span<const std::byte> read_one(Tally& tally, std::uint64_t offset,
                                      std::span<std::byte> into) {
    const std::int64_t count = sys::read_bare(file_.get(), into, offset);
    ++tally.system_calls;
    if (count == static_cast<std::int64_t>(into.size())) [[likely]] {
      return into;
    }
    return no_bytes(count < 0 ? error_at({static_cast<int>(-count)}, "pread", offset)
                              : truncated_at(offset));
  }

  bool write_one(Tally& tally, std::uint64_t offset, std::span<const std::byte> bytes) {
    const std::int64_t count = sys::write_bare(file_.get(), bytes, offset);
    ++tally.system_calls;
    if (count != static_cast<std::int64_t>(bytes.size())) [[unlikely]] {
      return write_rest(tally, offset, bytes, count);
    }
    return work().durability != DurabilityChoice::kEachOperation || sync(tally, offset);
  }

  // After a short write, which a disk that is full gives first: the rest says why.
  bool write_rest(Tally& tally, std::uint64_t offset, std::span<const std::byte> bytes,
                  std::int64_t count) {
    sys::Errno cause{static_cast<int>(-count)};
    if (count >= 0) {
      const auto done = static_cast<std::size_t>(count);
      const auto written = sys::write_at(file_.get(), bytes.subspan(done), offset + done);
      ++tally.system_calls;
      if (written) {
        return true;
      }
      cause = written.error();
    }
    return not_done(error_at(cause, "pwrite", offset));
  }

  bool sync(Tally& tally, std::uint64_t offset) {
    const auto synced = sys::sync_data(file_.get());
    ++tally.system_calls;
    return synced ? true : not_done(error_at(synced.error(), "fdatasync", offset));
  }

  Result<void> sync_at_end(Tally& tally) {
    if (work().durability == DurabilityChoice::kAtEnd) {
      static_cast<void>(sync(tally, 0));
    }
    return {};
  }

  sys::Descriptor file_;
  Pages block_;
};

}  // namespace

std::unique_ptr<PathRunner> make_read_write_runner() {
  return std::make_unique<ReadWriteRunner>();
}

}  // namespace quire::compare::internal
