// SPDX-License-Identifier: Apache-2.0
//
// SnapshotStore: one file of a JournalSnapshot as a Store that cannot be changed: what a read-only
// area of the last commit reads.
//
// Thread-safety: as Store's.
// Errors:        kReadOnly for every change; of reading; kClosed once the journal is closed.
#pragma once

#include <cstddef>
#include <string>

#include "quire/io/store.h"
#include "quire/journal/journal.h"

namespace quire::internal {

class SnapshotStore final : public Store {
 public:
  SnapshotStore(JournalSnapshot snapshot, std::size_t file, const std::string& of);
  ~SnapshotStore() override;

  [[nodiscard]] const std::string& name() const noexcept override { return name_; }
  [[nodiscard]] Result<std::uint64_t> size_bytes() const override;
  Result<std::uint64_t> read_pieces(std::uint64_t offset_bytes, MutablePieces into) override;
  Result<void> write_pieces(std::uint64_t offset_bytes, ConstPieces from) override;
  Result<void> resize(std::uint64_t size_bytes) override;
  Result<void> allocate(ByteRange range) override;
  Result<void> punch(ByteRange range) override;
  Result<void> sync(Durability durability, ByteRange range = kWholeFile) override;

 private:
  [[nodiscard]] tl::unexpected<Error> refuse(const char* operation) const;

  JournalSnapshot snapshot_;
  const std::size_t file_;
  const std::string name_;  // "table.db, commit 17"
};

}  // namespace quire::internal
