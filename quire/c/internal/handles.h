// SPDX-License-Identifier: Apache-2.0
//
// handles: what is behind the C API's pointers where more than one source needs to know. Each keeps
// alive what it needs of others, so that callers may free them in any order.
//
//   quire_pin --> AreaBox --> Pager        quire_area --> AreaBox
//   quire_update --> AreaBox, or what quire_tracked has
//
// Thread-safety: that of what they hold.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "quire/base/ticket.h"
#include "quire/c/area.h"
#include "quire/c/internal/boundary.h"
#include "quire/c/map.h"
#include "quire/journal/journal.h"
#include "quire/journal/update.h"
#include "quire/map/writable_mapping.h"
#include "quire/pager/pager.h"
#include "quire/tracked/tracked_mapping.h"

struct quire_ticket {
  quire::Ticket ticket;
};

struct quire_mapping {
  std::variant<quire::Mapping, quire::WritableMapping> mapping;
};

// Null when it is closed.
struct quire_journal {
  std::shared_ptr<quire::Journal> journal;
};

struct quire_snapshot {
  std::size_t file_count = 0;
  std::variant<quire::JournalSnapshot, quire::TrackedSnapshot> snapshot;
};

struct quire_update {
  std::shared_ptr<const void> begun_on;  // First: it must outlive the update.
  quire::Update update;
};

struct quire_pager {
  std::shared_ptr<quire::Pager> pager;
};

namespace quire::c {

struct AreaBox {
  std::shared_ptr<Pager> pager;  // First: it must outlive the area.
  std::variant<PagedArea, WritablePagedArea> area;
};

// Of options of a journal: what C++ has in two places.
struct JournalChoice {
  JournalOptions options{};
  std::string path{};
  Creation creation{};
};
[[nodiscard]] Result<JournalChoice> to_journal_choice(const char* operation,
                                                      const quire_journal_options* given);
// The same where `create` stands elsewhere: it must be zero.
[[nodiscard]] Result<JournalChoice> to_journal_part(const char* operation,
                                                    const quire_journal_options* given);
// Errors: kClosed.
[[nodiscard]] Result<std::shared_ptr<Journal>> open_journal_of(const quire_journal& journal,
                                                               const char* operation);
[[nodiscard]] quire_journal_stats to_c(const JournalStats& from) noexcept;

// There is memory for the handle before the update begins: without, none does.
template <typename BegunOn>
[[nodiscard]] std::unique_ptr<quire_update> begin_update(std::shared_ptr<const void> keeps,
                                                         BegunOn& begun_on) {
  return std::unique_ptr<quire_update>(new quire_update{std::move(keeps), begun_on.begin_update()});
}

// A constant of Durability has another zero in C.
[[nodiscard]] Result<Durability> to_durability(const char* operation, std::uint32_t durability);

}  // namespace quire::c

struct quire_area {
  std::shared_ptr<quire::c::AreaBox> box;
};

namespace quire::c {
// Errors: kReadOnly.
[[nodiscard]] Result<WritablePagedArea*> writable(const quire_area& handle, const char* operation);
}  // namespace quire::c

struct quire_pin {
  std::shared_ptr<quire::c::AreaBox> box;  // First: it must outlive the pin.
  std::variant<quire::Pin, quire::WritablePin> pin;
};
