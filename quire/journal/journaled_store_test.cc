// SPDX-License-Identifier: Apache-2.0
//
// A JournaledStore keeps the promises of Store, whatever becomes of the log meanwhile.
#include "quire/journal/journaled_store.h"

#include "quire/journal/journal.h"
#include "quire/testing/slow_store.h"
#include "quire/testing/store_conformance.h"

namespace quire::testing {
namespace {

// A journal with one file, which commits when its log is full: the tests of Store never do.
class CommittingStore final : public Store {
 public:
  explicit CommittingStore(std::uint64_t page_bytes) {
    const JournalOptions options{.page_bytes = page_bytes, .log_bytes = 4_MiB};
    const auto log = std::make_shared<MemoryStore>();
    Journal::format(*log, JournalUuid{}, options).value();
    journal_ = Journal::open({.log = log,
                              .durable_log = nullptr,
                              .files = {{.store = std::make_shared<MemoryStore>()}},
                              .guard = nullptr},
                             options)
                   .value();
  }

  [[nodiscard]] const std::string& name() const noexcept override { return file().name(); }
  [[nodiscard]] Result<std::uint64_t> size_bytes() const override { return file().size_bytes(); }
  Result<std::uint64_t> read_pieces(std::uint64_t offset_bytes, MutablePieces into) override {
    return file().read_pieces(offset_bytes, into);
  }
  Result<void> write_pieces(std::uint64_t offset_bytes, ConstPieces from) override {
    if (journal_->stats().used_bytes > 2_MiB) {
      QUIRE_TRY(journal_->commit());
    }
    return file().write_pieces(offset_bytes, from);
  }
  Result<void> resize(std::uint64_t size_bytes) override { return file().resize(size_bytes); }
  Result<void> allocate(ByteRange range) override { return file().allocate(range); }
  Result<void> punch(ByteRange range) override { return file().punch(range); }
  Result<void> sync(Durability durability, ByteRange range) override {
    return file().sync(durability, range);
  }

 private:
  [[nodiscard]] JournaledStore& file() const { return journal_->file(0); }

  std::unique_ptr<Journal> journal_;
};

StoreMaker maker(std::string name, std::uint64_t page_bytes) {
  return {std::move(name),
          [page_bytes](const TempDir&) { return std::make_unique<CommittingStore>(page_bytes); }};
}

INSTANTIATE_TEST_SUITE_P(Journaled, StoreConformanceTest,
                         ::testing::Values(maker("Pages4K", 4096), maker("Pages64K", 65'536)),
                         store_maker_name);

}  // namespace
}  // namespace quire::testing
