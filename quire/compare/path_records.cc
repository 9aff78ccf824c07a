// SPDX-License-Identifier: Apache-2.0
//
// quire's RecordWriter: small records gathered in a buffer.
#include <optional>

#include "quire/compare/internal/loops.h"
#include "quire/compare/internal/runner_parts.h"
#include "quire/compare/internal/store_parts.h"
#include "quire/io/records.h"

namespace quire::compare::internal {
namespace {

class RecordRunner final : public BasicRunner {
 public:
  [[nodiscard]] int fd() const noexcept override { return file_.fd(); }
  [[nodiscard]] std::string method() const override {
    return work().durability == DurabilityChoice::kNone ? "RecordWriter"
                                                        : "RecordWriter, fdatasync";
  }

  Result<void> check_written(const Tally& tally) override {
    return check_sample_of(work(), tally, target().name(), fd());
  }

 protected:
  Result<void> prepare() override {
    QUIRE_CHECK_EQ(work().pattern, Pattern::kAppend);
    file_ = QUIRE_TRY(StoreFile::open(Path::kBufferedWriter, target(), work()));
    writer_.emplace(QUIRE_TRY(RecordWriter::make(file_.store())));
    block_ = QUIRE_TRY(make_block(work().block_bytes));
    return {};
  }

  Result<void> run_pattern(Tally& tally) override {
    const std::span<std::byte> record(block_.address(),
                                      static_cast<std::size_t>(work().block_bytes));
    const std::uint64_t calls_before = file_.store().stats().system_calls;
    const bool is_each_durable = work().durability == DurabilityChoice::kEachOperation;
    append(work(), tally, record, [&](std::span<const std::byte> bytes) {
      const auto appended = writer_->append(bytes);
      if (!appended) [[unlikely]] {
        return not_done(appended.error());
      }
      return !is_each_durable || flush();
    });
    if (!is_each_durable) {
      QUIRE_TRY(writer_->flush(work().durability == DurabilityChoice::kNone
                                   ? std::nullopt
                                   : std::optional(Durability::kData)));
    }
    tally.system_calls += file_.store().stats().system_calls - calls_before;
    return {};
  }

 private:
  bool flush() {
    const auto flushed = writer_->flush(Durability::kData);
    return flushed ? true : not_done(flushed.error());
  }

  StoreFile file_;
  std::optional<RecordWriter> writer_;
  Pages block_;
};

}  // namespace

std::unique_ptr<PathRunner> make_record_runner() {
  return std::make_unique<RecordRunner>();
}

}  // namespace quire::compare::internal
