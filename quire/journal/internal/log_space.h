// SPDX-License-Identifier: Apache-2.0
//
// LogSpace: which part of the circle is in use, record by record, and where the next one goes.
//
//   positions grow for ever; the place in the circle is the position modulo its size
//
//        reusable                in use                 free
//   ... ----------[ tail: record | record | ... | head )------------[ reusable + circle
//
//   A record goes when everything in it is in the files, or was given up: no image or resize of it
//   is needed (retain, release), and its own commit has been checkpointed. Only the oldest can go.
//   What went may be written over once a superblock that says so is durable (set_reusable), and
//   nobody reads there any more.
//
// Invariants:    reusable <= tail <= head <= reusable + circle; LSNs of records are consecutive.
// Thread-safety: one thread at a time: the journal's mutex.
// Cost:          24 bytes per record.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "quire/journal/internal/journal_format.h"

namespace quire::internal {

class LogSpace {
 public:
  // An empty circle. The first record gets this LSN and place.
  LogSpace(std::uint64_t log_bytes, std::uint64_t page_bytes, std::uint64_t next_lsn,
           std::uint64_t place_bytes);

  // How a chain of records for so many images begins: each record's place and share.
  struct Piece {
    std::uint64_t position = 0;  // Grows for ever; see place_of().
    std::uint64_t header_bytes = 0;
    std::size_t images = 0;

    [[nodiscard]] std::uint64_t end(std::uint64_t page_bytes) const noexcept {
      return position + header_bytes + images * page_bytes;
    }
  };
  // Resizes go into the first record, commits into the last. REQUIRES: both fit into one block.
  [[nodiscard]] std::vector<Piece> plan(std::size_t images, std::size_t resizes,
                                        std::size_t commits) const;

  // What a planned chain takes, with what is left over at the end of the circle.
  [[nodiscard]] std::uint64_t room_taken(const std::vector<Piece>& pieces) const noexcept {
    return next_position(pieces.back().end(page_bytes_)) - head_;
  }

  // Adds the record that was planned next, retained once, for who writes it. Returns its LSN.
  std::uint64_t append(const Piece& piece);
  void set_commit(std::uint64_t lsn, std::uint64_t commit);
  void retain(std::uint64_t lsn);
  void release(std::uint64_t lsn);
  // Lets go of the oldest records that nobody needs, of commits up to this one.
  void trim(std::uint64_t checkpointed_commit);
  // What lies before this position may be written over.
  void set_reusable(std::uint64_t position);

  [[nodiscard]] std::uint64_t next_lsn() const noexcept { return first_lsn_ + records_.size(); }
  [[nodiscard]] std::uint64_t tail_lsn() const noexcept { return first_lsn_; }
  [[nodiscard]] std::uint64_t tail() const noexcept { return tail_; }
  [[nodiscard]] std::uint64_t head() const noexcept { return head_; }
  [[nodiscard]] std::uint64_t reusable() const noexcept { return reusable_; }
  [[nodiscard]] std::uint64_t used_bytes() const noexcept { return head_ - reusable_; }
  [[nodiscard]] std::uint64_t free_bytes() const noexcept { return log_bytes_ - used_bytes(); }
  [[nodiscard]] std::uint64_t place_of(std::uint64_t position) const noexcept {
    return position % log_bytes_;
  }
  void check_invariants() const;

 private:
  struct Record {
    std::uint64_t end = 0;     // Where the next one begins.
    std::uint64_t commit = 0;  // 0: it is none.
    std::uint64_t live = 0;    // Images and resizes of it that are needed.
  };
  [[nodiscard]] std::uint64_t next_position(std::uint64_t end) const noexcept;
  Record& record(std::uint64_t lsn);

  const std::uint64_t log_bytes_;
  const std::uint64_t page_bytes_;
  std::uint64_t first_lsn_;
  std::uint64_t head_;
  std::uint64_t tail_;
  std::uint64_t reusable_;
  std::uint64_t live_ = 0;
  std::deque<Record> records_;
};

}  // namespace quire::internal
