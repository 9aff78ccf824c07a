// SPDX-License-Identifier: Apache-2.0
//
// quire: files as memory, under your control. This header brings all of it; each of those below
// can be had alone, and is the chapter on its subject.
//
//   quire::map("data.bin")       a file as a span of bytes             quire/map/mapping.h
//   {.access = kReadWrite, ...}  what may be asked for                 quire/map/map_options.h
//   resize, append, flush        growth and durability                 quire/map/writable_mapping.h
//   guarded(range, fn)           a fault as an error, not a signal     quire/map/guarded.h
//   quire::open_file(path, ...)  buffered or direct, by one policy     quire/io/file.h
//   IoQueue, IoTask              many requests under way               quire/io/io_queue.h
//   BatchReader                  pointer if resident, batch if not     quire/io/batch_reader.h
//   RecordWriter, RecordReader   small pieces, gathered                quire/io/records.h
//   Pager, PagedArea, Pin        files larger than memory, bounded     quire/pager/pager.h
//   {.commit = kAtomic, ...}     all stores, or none, together  quire/tracked/tracked_mapping.h
//   Journal, open_journal        all changes since a commit, or none   quire/journal/journal.h
//   transfer, copy_file          bytes from here to there, uncopied    quire/transfer/transfer.h
//   send_file, Receiver          a file to another process, resumed    quire/transfer/sender.h
//   Result, Error                how failure is told                   quire/base/result.h
#pragma once

#include "quire/base/check.h"
#include "quire/base/commit.h"
#include "quire/base/company.h"
#include "quire/base/durability.h"
#include "quire/base/error.h"
#include "quire/base/mutex.h"
#include "quire/base/page_window.h"
#include "quire/base/path_argument.h"
#include "quire/base/prng.h"
#include "quire/base/result.h"
#include "quire/base/ticket.h"
#include "quire/base/units.h"
#include "quire/io/background_io.h"
#include "quire/io/batch_reader.h"
#include "quire/io/buffer_pool.h"
#include "quire/io/file.h"
#include "quire/io/file_options.h"
#include "quire/io/io_queue.h"
#include "quire/io/io_task.h"
#include "quire/io/records.h"
#include "quire/io/store.h"
#include "quire/ipc/blackboard.h"
#include "quire/ipc/broadcast.h"
#include "quire/ipc/chaos.h"
#include "quire/ipc/core/broadcast_core.h"
#include "quire/ipc/core/broadcast_handles.h"
#include "quire/ipc/core/lap_word.h"
#include "quire/ipc/core/mpsc_cells.h"
#include "quire/ipc/core/mpsc_control.h"
#include "quire/ipc/core/mpsc_handles.h"
#include "quire/ipc/core/mpsc_records.h"
#include "quire/ipc/core/pace.h"
#include "quire/ipc/core/peers.h"
#include "quire/ipc/core/ring_spec.h"
#include "quire/ipc/core/role.h"
#include "quire/ipc/core/seat.h"
#include "quire/ipc/core/spsc_core.h"
#include "quire/ipc/core/spsc_handles.h"
#include "quire/ipc/core/wake.h"
#include "quire/ipc/doorbell.h"
#include "quire/ipc/event.h"
#include "quire/ipc/inventory.h"
#include "quire/ipc/layout.h"
#include "quire/ipc/mpsc_bytes.h"
#include "quire/ipc/mpsc_ring.h"
#include "quire/ipc/mutex.h"
#include "quire/ipc/object.h"
#include "quire/ipc/participants.h"
#include "quire/ipc/segment.h"
#include "quire/ipc/semaphore.h"
#include "quire/ipc/spsc_bytes.h"
#include "quire/ipc/spsc_ring.h"
#include "quire/ipc/step.h"
#include "quire/ipc/wait_point.h"
#include "quire/journal/journal.h"
#include "quire/journal/journal_file.h"
#include "quire/journal/journal_options.h"
#include "quire/journal/journal_report.h"
#include "quire/journal/journaled_store.h"
#include "quire/journal/update.h"
#include "quire/map/address_space.h"
#include "quire/map/eviction.h"
#include "quire/map/file_set.h"
#include "quire/map/file_windows.h"
#include "quire/map/guarded.h"
#include "quire/map/map_options.h"
#include "quire/map/mapping.h"
#include "quire/map/page_lock.h"
#include "quire/map/residency.h"
#include "quire/map/snapshot.h"
#include "quire/map/transfer_mapping.h"
#include "quire/map/typed_view.h"
#include "quire/map/warming.h"
#include "quire/map/writable_mapping.h"
#include "quire/pager/pager.h"
#include "quire/pager/pager_options.h"
#include "quire/pager/pager_stats.h"
#include "quire/pager/pin.h"
#include "quire/pager/survive_kill.h"
#include "quire/tracked/tracked_mapping.h"
#include "quire/tracked/tracked_options.h"
#include "quire/transfer/copy.h"
#include "quire/transfer/endpoint.h"
#include "quire/transfer/exchange.h"
#include "quire/transfer/receiver.h"
#include "quire/transfer/sender.h"
#include "quire/transfer/transfer.h"
#include "quire/transfer/wire.h"
