// SPDX-License-Identifier: Apache-2.0
//
// The ABI of version 1, pinned: sizes and offsets of every public structure, the value of every
// constant. What fails to compile here breaks programs that were built before. A structure that
// grows gets a row for its new member, at its end, another size, and kFirstVersionBytes in
// internal/boundary.h keeps the old one.
#include <stddef.h>
#include <stdint.h>

#include "quire/c/quire.h"

_Static_assert(sizeof(void*) == 8 && sizeof(size_t) == 8, "offsets of pointers are those of LP64");

#define SIZE(type, bytes) _Static_assert(sizeof(type) == (bytes), #type)
#define MEMBER(type, member, offset, bytes)                              \
  _Static_assert(offsetof(type, member) == (offset), #type "." #member); \
  _Static_assert(sizeof(((type*)0)->member) == (bytes), #type "." #member)
#define VALUE(name, value) _Static_assert((name) == (value), #name)

SIZE(quire_code, 4);

SIZE(quire_error, 2048);
MEMBER(quire_error, struct_size, 0, 4);
MEMBER(quire_error, code, 4, 4);
MEMBER(quire_error, system_errno, 8, 4);
MEMBER(quire_error, reserved, 12, 4);
MEMBER(quire_error, message, 16, 1520);
MEMBER(quire_error, remedy, 1536, 512);

SIZE(quire_range, 16);
MEMBER(quire_range, offset_bytes, 0, 8);
MEMBER(quire_range, length_bytes, 8, 8);

SIZE(quire_map_options, 64);
MEMBER(quire_map_options, struct_size, 0, 4);
MEMBER(quire_map_options, access, 4, 4);
MEMBER(quire_map_options, sharing, 8, 4);
MEMBER(quire_map_options, create, 12, 4);
MEMBER(quire_map_options, create_mode, 16, 4);
MEMBER(quire_map_options, space, 20, 4);
MEMBER(quire_map_options, offset_bytes, 24, 8);
MEMBER(quire_map_options, length_bytes, 32, 8);
MEMBER(quire_map_options, minimum_bytes, 40, 8);
MEMBER(quire_map_options, reserve_bytes, 48, 8);
MEMBER(quire_map_options, stream_bytes_max, 56, 8);

SIZE(quire_memory_options, 40);
MEMBER(quire_memory_options, struct_size, 0, 4);
MEMBER(quire_memory_options, sharing, 4, 4);
MEMBER(quire_memory_options, huge_pages, 8, 4);
MEMBER(quire_memory_options, space, 12, 4);
MEMBER(quire_memory_options, secret, 16, 4);
MEMBER(quire_memory_options, reserved, 20, 4);
MEMBER(quire_memory_options, name, 24, 8);
MEMBER(quire_memory_options, reserve_bytes, 32, 8);

SIZE(quire_prefetch_report, 48);
MEMBER(quire_prefetch_report, struct_size, 0, 4);
MEMBER(quire_prefetch_report, stopped, 4, 4);
MEMBER(quire_prefetch_report, size_bytes, 8, 8);
MEMBER(quire_prefetch_report, resident_before_bytes, 16, 8);
MEMBER(quire_prefetch_report, resident_after_bytes, 24, 8);
MEMBER(quire_prefetch_report, read_bytes, 32, 8);
MEMBER(quire_prefetch_report, left_out_bytes, 40, 8);

SIZE(quire_residency, 64);
MEMBER(quire_residency, struct_size, 0, 4);
MEMBER(quire_residency, known, 4, 4);
MEMBER(quire_residency, dirty_known, 8, 4);
MEMBER(quire_residency, reserved, 12, 4);
MEMBER(quire_residency, size_bytes, 16, 8);
MEMBER(quire_residency, resident_bytes, 24, 8);
MEMBER(quire_residency, dirty_bytes, 32, 8);
MEMBER(quire_residency, writeback_bytes, 40, 8);
MEMBER(quire_residency, evicted_bytes, 48, 8);
MEMBER(quire_residency, recently_evicted_bytes, 56, 8);

SIZE(quire_eviction_report, 256);
MEMBER(quire_eviction_report, struct_size, 0, 4);
MEMBER(quire_eviction_report, known, 4, 4);
MEMBER(quire_eviction_report, before_bytes, 8, 8);
MEMBER(quire_eviction_report, after_bytes, 16, 8);
MEMBER(quire_eviction_report, remaining, 24, 232);

SIZE(quire_journal_options, 40);
MEMBER(quire_journal_options, struct_size, 0, 4);
MEMBER(quire_journal_options, checkpointing, 4, 4);
MEMBER(quire_journal_options, page_bytes, 8, 8);
MEMBER(quire_journal_options, log_bytes, 16, 8);
MEMBER(quire_journal_options, full_wait_ms, 24, 4);
MEMBER(quire_journal_options, create, 28, 4);
MEMBER(quire_journal_options, path, 32, 8);

SIZE(quire_journal_stats, 144);
MEMBER(quire_journal_stats, struct_size, 0, 4);
MEMBER(quire_journal_stats, reserved, 4, 4);
MEMBER(quire_journal_stats, last_commit, 8, 8);
MEMBER(quire_journal_stats, checkpointed_commit, 16, 8);
MEMBER(quire_journal_stats, commit_calls, 24, 8);
MEMBER(quire_journal_stats, commits, 32, 8);
MEMBER(quire_journal_stats, log_writes, 40, 8);
MEMBER(quire_journal_stats, log_bytes_written, 48, 8);
MEMBER(quire_journal_stats, images, 56, 8);
MEMBER(quire_journal_stats, uncommitted_images, 64, 8);
MEMBER(quire_journal_stats, full_waits, 72, 8);
MEMBER(quire_journal_stats, checkpoints, 80, 8);
MEMBER(quire_journal_stats, checkpoint_pages, 88, 8);
MEMBER(quire_journal_stats, used_bytes, 96, 8);
MEMBER(quire_journal_stats, log_bytes, 104, 8);
MEMBER(quire_journal_stats, index_bytes, 112, 8);
MEMBER(quire_journal_stats, snapshots, 120, 8);
MEMBER(quire_journal_stats, recovered_commits, 128, 8);
MEMBER(quire_journal_stats, recovered_pages, 136, 8);

SIZE(quire_pager_options, 64);
MEMBER(quire_pager_options, struct_size, 0, 4);
MEMBER(quire_pager_options, policy, 4, 4);
MEMBER(quire_pager_options, fault_path, 8, 4);
MEMBER(quire_pager_options, survive_kill, 12, 4);
MEMBER(quire_pager_options, memory_bytes, 16, 8);
MEMBER(quire_pager_options, granule_bytes, 24, 8);
MEMBER(quire_pager_options, read_ahead_bytes_max, 32, 8);
MEMBER(quire_pager_options, read_ahead_windows, 40, 4);
MEMBER(quire_pager_options, dirty_start_percent, 44, 4);
MEMBER(quire_pager_options, dirty_max_percent, 48, 4);
MEMBER(quire_pager_options, write_back_time_ms, 52, 4);
MEMBER(quire_pager_options, dirty_age_ms, 56, 4);
MEMBER(quire_pager_options, slow_fault_ms, 60, 4);

SIZE(quire_pager_stats, 128);
MEMBER(quire_pager_stats, struct_size, 0, 4);
MEMBER(quire_pager_stats, areas, 4, 4);
MEMBER(quire_pager_stats, memory_bytes, 8, 8);
MEMBER(quire_pager_stats, taken_bytes, 16, 8);
MEMBER(quire_pager_stats, taken_bytes_max, 24, 8);
MEMBER(quire_pager_stats, page_bytes, 32, 8);
MEMBER(quire_pager_stats, buffer_bytes, 40, 8);
MEMBER(quire_pager_stats, metadata_bytes, 48, 8);
MEMBER(quire_pager_stats, dirty_bytes, 56, 8);
MEMBER(quire_pager_stats, evicted, 64, 8);
MEMBER(quire_pager_stats, direct_reclaims, 72, 8);
MEMBER(quire_pager_stats, credit_waits, 80, 8);
MEMBER(quire_pager_stats, dirty_waits, 88, 8);
MEMBER(quire_pager_stats, write_errors, 96, 8);
MEMBER(quire_pager_stats, ghost_hits, 104, 8);
MEMBER(quire_pager_stats, watched, 112, 8);
MEMBER(quire_pager_stats, slow_faults, 120, 8);

SIZE(quire_area_options, 56);
MEMBER(quire_area_options, struct_size, 0, 4);
MEMBER(quire_area_options, access, 4, 4);
MEMBER(quire_area_options, engine, 8, 4);
MEMBER(quire_area_options, on_fill_error, 12, 4);
MEMBER(quire_area_options, create, 16, 4);
MEMBER(quire_area_options, create_mode, 20, 4);
MEMBER(quire_area_options, space, 24, 4);
MEMBER(quire_area_options, commit, 28, 4);
MEMBER(quire_area_options, minimum_bytes, 32, 8);
MEMBER(quire_area_options, reserve_bytes, 40, 8);
MEMBER(quire_area_options, journal, 48, 8);

SIZE(quire_area_residency, 32);
MEMBER(quire_area_residency, struct_size, 0, 4);
MEMBER(quire_area_residency, reserved, 4, 4);
MEMBER(quire_area_residency, resident_bytes, 8, 8);
MEMBER(quire_area_residency, dirty_bytes, 16, 8);
MEMBER(quire_area_residency, pinned_bytes, 24, 8);

SIZE(quire_area_stats, 176);
MEMBER(quire_area_stats, struct_size, 0, 4);
MEMBER(quire_area_stats, reserved, 4, 4);
MEMBER(quire_area_stats, faults, 8, 8);
MEMBER(quire_area_stats, load_misses, 16, 8);
MEMBER(quire_area_stats, store_misses, 24, 8);
MEMBER(quire_area_stats, store_upgrades, 32, 8);
MEMBER(quire_area_stats, waits, 40, 8);
MEMBER(quire_area_stats, tripwires, 48, 8);
MEMBER(quire_area_stats, failed_fills, 56, 8);
MEMBER(quire_area_stats, reads, 64, 8);
MEMBER(quire_area_stats, read_bytes, 72, 8);
MEMBER(quire_area_stats, read_ahead_bytes, 80, 8);
MEMBER(quire_area_stats, zero_fills, 88, 8);
MEMBER(quire_area_stats, writes, 96, 8);
MEMBER(quire_area_stats, write_bytes, 104, 8);
MEMBER(quire_area_stats, evicted, 112, 8);
MEMBER(quire_area_stats, redirtied, 120, 8);
MEMBER(quire_area_stats, commits, 128, 8);
MEMBER(quire_area_stats, committed_bytes, 136, 8);
MEMBER(quire_area_stats, commit_conflicts, 144, 8);
MEMBER(quire_area_stats, spilled_bytes, 152, 8);
MEMBER(quire_area_stats, resident_bytes, 160, 8);
MEMBER(quire_area_stats, dirty_bytes, 168, 8);

SIZE(quire_tracked_options, 40);
MEMBER(quire_tracked_options, struct_size, 0, 4);
MEMBER(quire_tracked_options, create, 4, 4);
MEMBER(quire_tracked_options, minimum_bytes, 8, 8);
MEMBER(quire_tracked_options, reserve_bytes, 16, 8);
MEMBER(quire_tracked_options, drop_past_bytes, 24, 8);
MEMBER(quire_tracked_options, journal, 32, 8);

SIZE(quire_commit_receipt, 24);
MEMBER(quire_commit_receipt, struct_size, 0, 4);
MEMBER(quire_commit_receipt, reserved, 4, 4);
MEMBER(quire_commit_receipt, number, 8, 8);
MEMBER(quire_commit_receipt, pages, 16, 8);

SIZE(quire_tracked_residency, 32);
MEMBER(quire_tracked_residency, struct_size, 0, 4);
MEMBER(quire_tracked_residency, reserved, 4, 4);
MEMBER(quire_tracked_residency, size_bytes, 8, 8);
MEMBER(quire_tracked_residency, resident_bytes, 16, 8);
MEMBER(quire_tracked_residency, private_bytes, 24, 8);

SIZE(quire_tracked_stats, 88);
MEMBER(quire_tracked_stats, struct_size, 0, 4);
MEMBER(quire_tracked_stats, reserved, 4, 4);
MEMBER(quire_tracked_stats, commits, 8, 8);
MEMBER(quire_tracked_stats, empty_commits, 16, 8);
MEMBER(quire_tracked_stats, failed_commits, 24, 8);
MEMBER(quire_tracked_stats, committed_pages, 32, 8);
MEMBER(quire_tracked_stats, compared_pages, 40, 8);
MEMBER(quire_tracked_stats, waiting_commits, 48, 8);
MEMBER(quire_tracked_stats, rollbacks, 56, 8);
MEMBER(quire_tracked_stats, restored_pages, 64, 8);
MEMBER(quire_tracked_stats, drops, 72, 8);
MEMBER(quire_tracked_stats, put_off_drops, 80, 8);

SIZE(quire_object, 48);
MEMBER(quire_object, name, 0, 8);
MEMBER(quire_object, kind, 8, 4);
MEMBER(quire_object, units, 12, 4);
MEMBER(quire_object, capacity_bytes, 16, 8);
MEMBER(quire_object, capacity_records, 24, 8);
MEMBER(quire_object, record_bytes, 32, 8);
MEMBER(quire_object, reserved, 40, 8);

SIZE(quire_broadcast_news, 24);
MEMBER(quire_broadcast_news, struct_size, 0, 4);
MEMBER(quire_broadcast_news, reserved, 4, 4);
MEMBER(quire_broadcast_news, number, 8, 8);
MEMBER(quire_broadcast_news, missed, 16, 8);

SIZE(quire_segment_options, 32);
MEMBER(quire_segment_options, struct_size, 0, 4);
MEMBER(quire_segment_options, mode, 4, 4);
MEMBER(quire_segment_options, permissions, 8, 4);
MEMBER(quire_segment_options, allow_other_users, 12, 4);
MEMBER(quire_segment_options, participants_max, 16, 4);
MEMBER(quire_segment_options, timeout_ms, 20, 4);
MEMBER(quire_segment_options, directory, 24, 8);

VALUE(QUIRE_ABI_VERSION, UINT32_C(1));
VALUE(QUIRE_OK, INT32_C(0));
VALUE(QUIRE_ERROR_OUT_OF_RANGE, INT32_C(1));
VALUE(QUIRE_ERROR_MISALIGNED, INT32_C(2));
VALUE(QUIRE_ERROR_UNSUPPORTED, INT32_C(3));
VALUE(QUIRE_ERROR_WRONG_KIND, INT32_C(4));
VALUE(QUIRE_ERROR_TRUNCATED, INT32_C(5));
VALUE(QUIRE_ERROR_CLOSED, INT32_C(6));
VALUE(QUIRE_ERROR_LIMIT, INT32_C(7));
VALUE(QUIRE_ERROR_CANCELLED, INT32_C(8));
VALUE(QUIRE_ERROR_CORRUPT, INT32_C(9));
VALUE(QUIRE_ERROR_READ_ONLY, INT32_C(10));
VALUE(QUIRE_ERROR_FAULT, INT32_C(11));
VALUE(QUIRE_ERROR_CHANGED, INT32_C(12));
VALUE(QUIRE_ERROR_NEWER_VERSION, INT32_C(13));
VALUE(QUIRE_ERROR_FAILED, INT32_C(14));
VALUE(QUIRE_ERROR_SEALED, INT32_C(15));
VALUE(QUIRE_TO_END, UINT64_MAX);
VALUE(QUIRE_MS_NONE, UINT32_MAX);
VALUE(QUIRE_MS_FOREVER, UINT32_MAX);
VALUE(QUIRE_ACCESS_READ_ONLY, UINT32_C(0));
VALUE(QUIRE_ACCESS_READ_WRITE, UINT32_C(1));
VALUE(QUIRE_CREATE_NEVER, UINT32_C(0));
VALUE(QUIRE_CREATE_IF_MISSING, UINT32_C(1));
VALUE(QUIRE_CREATE_EXCLUSIVE, UINT32_C(2));
VALUE(QUIRE_SPACE_SECURED, UINT32_C(0));
VALUE(QUIRE_SPACE_SPARSE, UINT32_C(1));
VALUE(QUIRE_RESERVE_NONE, UINT64_MAX);
VALUE(QUIRE_DURABILITY_DATA, UINT32_C(0));
VALUE(QUIRE_DURABILITY_ALL, UINT32_C(1));
VALUE(QUIRE_DURABILITY_STARTED, UINT32_C(2));

VALUE(QUIRE_SHARING_DEFAULT, UINT32_C(0));
VALUE(QUIRE_SHARING_SHARED, UINT32_C(1));
VALUE(QUIRE_SHARING_PRIVATE, UINT32_C(2));
VALUE(QUIRE_HUGE_PAGES_NONE, UINT32_C(0));
VALUE(QUIRE_HUGE_PAGES_TRANSPARENT, UINT32_C(1));
VALUE(QUIRE_HUGE_PAGES_RESERVED, UINT32_C(2));
VALUE(QUIRE_ADVICE_NORMAL, UINT32_C(0));
VALUE(QUIRE_ADVICE_RANDOM, UINT32_C(1));
VALUE(QUIRE_ADVICE_SEQUENTIAL, UINT32_C(2));
VALUE(QUIRE_ADVICE_WILL_NEED, UINT32_C(3));
VALUE(QUIRE_ADVICE_COLD, UINT32_C(4));
VALUE(QUIRE_ADVICE_PAGE_OUT, UINT32_C(5));
VALUE(QUIRE_ADVICE_HUGE_PAGES, UINT32_C(6));
VALUE(QUIRE_ADVICE_NO_HUGE_PAGES, UINT32_C(7));
VALUE(QUIRE_ADVICE_DONT_FORK, UINT32_C(8));
VALUE(QUIRE_ADVICE_DONT_DUMP, UINT32_C(9));
VALUE(QUIRE_STOPPED_DONE, UINT32_C(0));
VALUE(QUIRE_STOPPED_CANCELLED, UINT32_C(1));
VALUE(QUIRE_STOPPED_MEMORY, UINT32_C(2));

VALUE(QUIRE_CHECKPOINTING_BACKGROUND, UINT32_C(0));
VALUE(QUIRE_CHECKPOINTING_ON_DEMAND, UINT32_C(1));

VALUE(QUIRE_POLICY_S3_FIFO, UINT32_C(0));
VALUE(QUIRE_POLICY_CLOCK, UINT32_C(1));
VALUE(QUIRE_POLICY_FIFO, UINT32_C(2));
VALUE(QUIRE_FAULT_PATH_AUTOMATIC, UINT32_C(0));
VALUE(QUIRE_FAULT_PATH_HANDLER, UINT32_C(1));
VALUE(QUIRE_FAULT_PATH_INLINE, UINT32_C(2));
VALUE(QUIRE_ENGINE_AUTOMATIC, UINT32_C(0));
VALUE(QUIRE_ENGINE_PAGED, UINT32_C(1));
VALUE(QUIRE_ON_FILL_ERROR_SIGNAL, UINT32_C(0));
VALUE(QUIRE_ON_FILL_ERROR_ZEROS, UINT32_C(1));
VALUE(QUIRE_COMMIT_NONE, UINT32_C(0));
VALUE(QUIRE_COMMIT_ATOMIC, UINT32_C(1));

VALUE(QUIRE_PATTERN_NORMAL, UINT32_C(0));
VALUE(QUIRE_PATTERN_RANDOM, UINT32_C(1));
VALUE(QUIRE_PATTERN_SEQUENTIAL, UINT32_C(2));
VALUE(QUIRE_PATTERN_WILL_NOT_REUSE, UINT32_C(3));
VALUE(QUIRE_PATTERN_OVERWRITE, UINT32_C(4));

VALUE(QUIRE_OBJECT_SPSC_BYTES, UINT32_C(2));
VALUE(QUIRE_OBJECT_MPSC_BYTES, UINT32_C(4));
VALUE(QUIRE_OBJECT_BROADCAST, UINT32_C(5));
VALUE(QUIRE_OBJECT_BLACKBOARD, UINT32_C(6));
VALUE(QUIRE_OBJECT_MUTEX, UINT32_C(7));
VALUE(QUIRE_OBJECT_EVENT, UINT32_C(8));
VALUE(QUIRE_OBJECT_SEMAPHORE, UINT32_C(9));
VALUE(QUIRE_FROM_NEWEST, UINT32_C(0));
VALUE(QUIRE_FROM_OLDEST, UINT32_C(1));
VALUE(QUIRE_OBJECT_BYTES, UINT32_C(1000));
VALUE(QUIRE_SEGMENT_CREATE_OR_JOIN, UINT32_C(0));
VALUE(QUIRE_SEGMENT_CREATE, UINT32_C(1));
VALUE(QUIRE_SEGMENT_JOIN, UINT32_C(2));

// What compiles is right: there is nothing to do.
int main(void) {
  return 0;
}
