// SPDX-License-Identifier: Apache-2.0
//
// PageCache: the kernel's pages of one file between a program and a simulated disk: read-ahead,
// write-behind and a limit of memory, as Linux has them.
//
//      +-------------------- evicted --------------------+
//      v                                                 |
//   absent --asked for--> reading --arrived--------> clean <--written-- writing
//      |                                               |                  ^  |
//      |                                           changed                |  | changed
//      |                                               v                  |  | meanwhile
//      +--------------written whole----------------> dirty --write-back---+  |
//                                                      ^                     |
//                                                      +---------------------+
//
//   absent    nothing is held
//   reading   a request is under way; whoever needs the page waits for it
//   clean     equal to the disk; may be evicted
//   dirty     newer than the disk; written back before it may be evicted
//   writing   on its way; a change meanwhile makes it dirty once more
//
// Read-ahead:  a window that begins small and doubles while the reader goes on from where it was.
//              The next one is asked for when the reader comes to the marked page of this one, so
//              that a stream never waits. A read elsewhere brings what it asked for and no more. A
//              fault of a mapping reads the window around its page, until a hundred such windows
//              more missed than hit.
// Write-behind: above a tenth of the memory dirty pages are written in rising order, in requests of
//              up to kRequestPages; above a fifth the writer waits. sync() writes all and flushes
//              the disk.
// Eviction:    oldest first, but a page that was used since it was looked at gets another turn.
//
// Source:      Linux mm/readahead.c (get_init_ra_size, get_next_ra_size, page_cache_sync_ra,
//              page_cache_async_ra), mm/filemap.c (do_sync_mmap_readahead), and for the tenth and
//              the fifth Documentation/admin-guide/sysctl/vm.rst. We deviate: no probing of the
//              cache's history for interleaved streams, windows of a quarter of the memory at most,
//              one list with a second chance instead of two, no write-back by age, one processor
//              that also starts the write-back. The file lies in one piece on the disk.
// Invariants:    check_invariants(): what is held is counted, linked and within the limit.
// Thread-safety: one thread at a time.
// Cost:          constant per page touched; an eviction looks at few pages.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "quire/base/units.h"
#include "quire/sim/sim_host.h"

namespace quire::sim {

inline constexpr std::uint64_t kSimPageBytes = 4096;

enum class SimAdvice : std::uint8_t { kNormal, kSequential, kRandom };

// What one opened file or one mapping knows about its reader.
struct SimReader {
  SimAdvice advice = SimAdvice::kNormal;
  bool is_doubled = false;         // FADV_SEQUENTIAL doubles the window, MADV_SEQUENTIAL does not.
  std::uint64_t window_first = 0;  // The latest window, in pages.
  std::uint64_t window_pages = 0;
  std::uint64_t window_ahead = 0;   // Pages of it from the marked one on.
  std::uint64_t expected_page = 0;  // After the last read.
  std::uint64_t around_misses = 0;  // Of a mapping.
};

class PageCache {
 public:
  static constexpr std::uint64_t kRequestPages = 256;  // 1 MiB, about what a disk takes at once.
  static constexpr std::size_t kWritesUnderWayMax = 64;
  static constexpr std::uint64_t kAroundMissesMax = 100;  // MMAP_LOTSAMISS.
  static constexpr std::uint64_t kMemoryPagesMin = 64;    // Chosen: windows of 16 pages fit.

  // REQUIRES: `place` on the disk begins and ends with a page and holds one at least; fewer than
  //           2^32 pages. memory_bytes holds at least kMemoryPagesMin pages.
  PageCache(SimHost& host, ByteRange place, std::uint64_t memory_bytes);

  // Puts a page in, at no cost. False when the memory is full: nothing is evicted for it.
  bool warm(std::uint64_t page);
  // Puts the first pages in, as many as the memory holds.
  void warm_all();

  // Has the page present when it returns; `request_pages` are wanted from it on. For read().
  void bring(std::uint64_t page, std::uint64_t request_pages, SimReader& reader);
  // The same for a fault of a mapping. Whether the page had to be asked for: a major fault.
  bool bring_for_fault(std::uint64_t page, SimReader& reader);
  // Asks for what is absent of a range of pages, at most what the memory takes, and does not wait.
  void ask(std::uint64_t first_page, std::uint64_t page_count);
  // The page will be written whole: what the disk has is not needed.
  void bring_empty(std::uint64_t page);

  // REQUIRES: the page is present.
  void mark_dirty(std::uint64_t page);
  // After changes: starts write-back, or waits for it, as the limits say.
  void balance();
  // Starts writing what is dirty in a range of pages; keeps the pages, or evicts each when its
  // write has ended, as RWF_DONTCACHE does.
  enum class Written : std::uint8_t { kKeep, kDrop };
  void write_back(std::uint64_t first_page, std::uint64_t page_count, Written written);
  // Evicts what is clean in a range of pages.
  void drop(std::uint64_t first_page, std::uint64_t page_count);
  // All is on the medium when it returns.
  void sync();

  // Pages in the page table of the mapping, and those it may write without a fault.
  [[nodiscard]] bool is_mapped(std::uint64_t page) const noexcept { return pages_[page].is_mapped; }
  [[nodiscard]] bool is_writable(std::uint64_t page) const noexcept {
    return pages_[page].is_writable;
  }
  void set_writable(std::uint64_t page) noexcept { pages_[page].is_writable = true; }
  void note_use(std::uint64_t page) noexcept { pages_[page].is_used = true; }
  // Maps what is present of `page_count` pages, up to a marked one; how many there were.
  std::uint64_t map_present(std::uint64_t first_page, std::uint64_t page_count);
  // Maps one page. REQUIRES: it is present.
  void map_page(std::uint64_t page) noexcept;

  [[nodiscard]] SimHost& host() noexcept { return *host_; }
  [[nodiscard]] std::uint64_t page_count() const noexcept { return pages_.size(); }
  [[nodiscard]] std::uint64_t resident_pages() const noexcept { return resident_pages_; }
  [[nodiscard]] std::uint64_t dirty_pages() const noexcept { return dirty_pages_ + writing_pages_; }
  void check_invariants() const;

 private:
  enum class Presence : std::uint8_t { kAbsent, kReading, kPresent };
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};

  struct Page {
    OperationId read = 0;           // kReading: the request that brings it.
    std::uint32_t younger = kNone;  // In the order of arrival.
    std::uint32_t older = kNone;
    Presence presence = Presence::kAbsent;
    bool is_dirty = false;
    bool is_writing = false;
    bool is_used = false;    // Since eviction last looked at it.
    bool is_marked = false;  // Reaching it asks for the next window.
    bool is_mapped = false;
    bool is_writable = false;
  };
  struct WriteUnderWay {
    OperationId id = 0;
    std::uint64_t first_page = 0;
    std::uint64_t page_count = 0;
    Written written = Written::kKeep;
  };

  [[nodiscard]] std::uint64_t window_max(const SimReader& reader) const noexcept;
  void drop_if_clean(std::uint64_t page);
  [[nodiscard]] ByteRange on_disk(std::uint64_t first_page,
                                  std::uint64_t page_count) const noexcept;
  void read_window(std::uint64_t first_page, std::uint64_t page_count, std::uint64_t marked_page);
  void read_run(std::uint64_t first_page, std::uint64_t page_count);
  void start_window(std::uint64_t page, std::uint64_t request_pages, SimReader& reader);
  void continue_window(std::uint64_t page, SimReader& reader);
  void wait_for(std::uint64_t page);
  void settle(Page& page);

  // REQUIRES: there is room.
  void insert(std::uint64_t page, Presence presence) noexcept;
  void remove(std::uint64_t page) noexcept;
  void link_youngest(std::uint64_t page) noexcept;
  void unlink(std::uint64_t page) noexcept;
  void make_room(std::uint64_t page_count);
  [[nodiscard]] bool evict_one();

  [[nodiscard]] std::uint64_t next_dirty(std::uint64_t from) const noexcept;
  [[nodiscard]] std::uint64_t start_run(std::uint64_t first_page, std::uint64_t end_page,
                                        Written written);
  void start_writes(std::uint64_t dirty_pages_wanted);
  void reap_writes();
  void wait_for_oldest_write();

  SimHost* host_;
  std::uint64_t disk_offset_bytes_;
  std::uint64_t memory_pages_;
  std::uint64_t stretch_pages_max_;  // Read at a time: a part of the memory.
  std::vector<Page> pages_;
  std::vector<std::uint64_t> dirty_bits_;  // One per page, for finding the next.
  std::uint32_t youngest_ = kNone;
  std::uint32_t oldest_ = kNone;
  std::uint64_t needed_page_ = kNone;  // By the call under way: stays until it returns.
  std::uint64_t resident_pages_ = 0;   // Reading ones included.
  std::uint64_t dirty_pages_ = 0;
  std::uint64_t writing_pages_ = 0;
  std::uint64_t sweep_page_ = 0;  // Where write-back goes on.
  std::deque<WriteUnderWay> writes_;
  std::uint64_t reaped_count_ = 0;  // The host's completions when writes_ was last looked through.
};

}  // namespace quire::sim
