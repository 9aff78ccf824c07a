// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/internal/segment_open.h"

#include <fmt/format.h>

#include <cerrno>
#include <utility>

#include "quire/ipc/step.h"
#include "quire/sys/memfd.h"
#include "quire/sys/metadata.h"
#include "quire/sys/names.h"
#include "quire/sys/outcome.h"

namespace quire::ipc::internal {
namespace {

constexpr const char* kOpen = "open segment";
// How long a look at somebody else's work may be late: initialising takes about as long.
constexpr int kSliceMs = 1;
// As many turns as a few dozen others can cause by dying one after the other; beyond them the time
// counts.
constexpr int kAttemptsMax = 100;

using Opened = std::shared_ptr<SegmentState>;

// One attempt on one file.
class Opener {
 public:
  Opener(sys::Descriptor file, const OpenRequest& request)
      : request_(request), layout_(*request.layout), file_(std::move(file)) {}

  Result<Opened> run();

 private:
  enum class Next : std::uint8_t { kAgain, kAttach, kGone };

  Result<Next> step();
  Result<Next> look_at_removal(OwnedState word);
  Result<void> claim(OwnedState from);
  Result<void> initialise(bool was_used);
  Result<Opened> attach();
  [[nodiscard]] bool has_name() const;
  void give_up(const ProcessTag& self) noexcept;
  [[nodiscard]] std::atomic<std::uint64_t>& word() { return header_in(header_).state; }

  const OpenRequest& request_;
  const Layout& layout_;
  sys::Descriptor file_;
  AddressSpace header_;
  bool was_made_here_ = false;
};

bool Opener::has_name() const {
  return !request_.name || is_named(*request_.name->directory, request_.name->name, file_.get());
}

Result<void> Opener::claim(OwnedState from) {
  const ProcessTag self = QUIRE_TRY(own_process());
  std::uint64_t expected = from.word();
  QUIRE_IPC_STEP("segment.open.about_to_claim");
  if (!word().compare_exchange_strong(expected,
                                      make_phase(SegmentPhase::kInitialising, self).word())) {
    return {};  // Somebody else was faster.
  }
  QUIRE_IPC_STEP("segment.initialise.claimed");
  Result<void> made = initialise(phase_of(from) != SegmentPhase::kBlank);
  if (!made) {
    give_up(self);
    return made;
  }
  // Release: pairs with the acquire of whoever finds it ready.
  word().store(make_phase(SegmentPhase::kReady, {}).word(), std::memory_order_release);
  QUIRE_IPC_STEP("segment.initialise.ready");
  was_made_here_ = true;
  return {};
}

// What could not be made is not left lying about: nobody uses it, since it was never ready. Where
// it cannot be removed it is nobody's, for the next one to begin anew.
void Opener::give_up(const ProcessTag& self) noexcept {
  const bool is_removed =
      request_.name && has_name() &&
      sys::unlink_at(*request_.name->directory, request_.name->name.c_str()).has_value();
  std::uint64_t expected = make_phase(SegmentPhase::kInitialising, self).word();
  const SegmentPhase left = is_removed ? SegmentPhase::kRemoving : SegmentPhase::kInitialising;
  word().compare_exchange_strong(expected, make_phase(left, {}).word());
}

Result<void> Opener::initialise(bool was_used) {
  const ProcessTag self = QUIRE_TRY(own_process());
  QUIRE_TRY(secure_space(file_.get(), layout_.size_bytes(), request_.path));
  QUIRE_IPC_STEP("segment.initialise.allocated");
  if (request_.name && request_.permissions != 0600) {
    const auto set = sys::set_mode(file_.get(), request_.permissions);
    if (!set) {
      return fail(sys::to_error(set.error(), kOpen, request_.path));
    }
  }
  const auto memory = QUIRE_TRY(SegmentMemory::map(file_.get(), layout_, request_.path));
  return write_segment(*memory, layout_, self, was_used);
}

Result<Opener::Next> Opener::look_at_removal(OwnedState found) {
  if (!has_name()) {
    return Next::kGone;
  }
  if (found.owner() == ProcessTag()) {
    return fail(make_error(Errc::kCorrupt, kOpen, request_.path,
                           "it says that it was removed, and is there still",
                           "remove it (quire ipc rm --force)"));
  }
  if (is_alive(found.owner())) {
    QUIRE_TRY(wait_for_owner(found, request_.path, request_.deadline));
    return Next::kAgain;
  }
  std::uint64_t expected = found.word();
  QUIRE_IPC_STEP("segment.open.remover_died");
  word().compare_exchange_strong(expected, make_phase(SegmentPhase::kReady, {}).word());
  QUIRE_IPC_STEP("segment.open.removal_undone");
  return Next::kAgain;
}

Result<Opener::Next> Opener::step() {
  // seq_cst: pairs with the removal, see segment_state.h. Acquire for what ready stands for.
  const OwnedState found(word().load());
  const SegmentPhase phase = phase_of(found);
  if (phase == SegmentPhase::kInitialising && is_alive(found.owner())) {
    QUIRE_TRY(wait_for_owner(found, request_.path, request_.deadline));
    return Next::kAgain;
  }
  QUIRE_TRY(check_form(header_in(header_), request_.path));
  switch (phase) {
    case SegmentPhase::kBlank:
    case SegmentPhase::kInitialising: QUIRE_TRY(claim(found)); return Next::kAgain;
    case SegmentPhase::kRemoving: return look_at_removal(found);
    case SegmentPhase::kReady: return Next::kAttach;
  }
  return Next::kAgain;
}

Result<Opened> Opener::attach() {
  if (request_.must_be_new && !was_made_here_) {
    return fail(sys::to_error({EEXIST}, kOpen, request_.path,
                              "join it (OpenMode::kCreateOrJoin), or remove it (quire ipc rm)"));
  }
  QUIRE_TRY(check_match(file_.get(), header_in(header_), layout_, request_.path));
  const auto memory = QUIRE_TRY(SegmentMemory::map(file_.get(), layout_, request_.path));
  const SegmentFacts facts = copy_facts(memory->header());
  auto table = std::make_shared<ParticipantTable>(memory, memory->slots(), facts.segment_id);
  const MemberId self = QUIRE_TRY(table->attach(request_.path));
  auto participants = std::make_unique<Participants>(std::move(table), self);
  // seq_cst, after the slot was taken: a remover sees the slot, or we see him.
  QUIRE_IPC_STEP("segment.open.about_to_confirm");
  if (phase_of(OwnedState(word().load())) != SegmentPhase::kReady || !has_name()) {
    return Opened();
  }
  auto state = std::make_shared<SegmentState>();
  state->name = request_.name ? request_.name->name : std::string();
  state->path = request_.path;
  state->layout = layout_;
  state->file = std::move(file_);
  state->memory = memory;
  state->participants = std::move(participants);
  state->generation = facts.generation;
  state->was_made_here = was_made_here_;
  return state;
}

Result<Opened> Opener::run() {
  QUIRE_IPC_STEP("segment.open.file");
  const auto status = sys::file_status(file_.get());
  if (!status) {
    return fail(sys::to_error(status.error(), kOpen, request_.path));
  }
  if (status->size_bytes > 0 && status->size_bytes < kHeaderBytes) {
    return fail(
        make_error(Errc::kWrongKind, kOpen, request_.path,
                   fmt::format("it has {} bytes, and no segment has so few", status->size_bytes),
                   "choose another name, or remove that file"));
  }
  if (status->size_bytes == 0) {
    QUIRE_TRY(secure_space(file_.get(), kHeaderBytes, request_.path));
    QUIRE_IPC_STEP("segment.open.header_allocated");
  }
  header_ = QUIRE_TRY(map_header(file_.get(), request_.path));
  for (int attempt = 0;; ++attempt) {
    if (attempt > kAttemptsMax && std::chrono::steady_clock::now() >= request_.deadline) {
      return fail(sys::to_error({ETIMEDOUT}, kOpen, request_.path,
                                "its state changes all the time: look who writes there"));
    }
    const Next next = QUIRE_TRY(step());
    if (next == Next::kGone) {
      return Opened();
    }
    if (next == Next::kAttach) {
      Opened opened = QUIRE_TRY(attach());
      if (opened != nullptr || !has_name()) {
        return opened;
      }
    }
  }
}

}  // namespace

Result<Opened> open_segment(sys::Descriptor file, const OpenRequest& request) {
  return Opener(std::move(file), request).run();
}

Result<void> wait_for_owner(OwnedState word, const std::string& path,
                            std::chrono::steady_clock::time_point deadline) {
  if (std::chrono::steady_clock::now() < deadline) {
    wait_for_end(word.owner(), kSliceMs);
    return {};
  }
  const bool initialises = phase_of(word) == SegmentPhase::kInitialising;
  return fail(
      Error({.code = std::make_error_code(std::errc::timed_out),
             .operation = kOpen,
             .subject = path,
             .cause = fmt::format("process {} is {} it, lives, and does not come to an end",
                                  word.owner().pid, initialises ? "initialising" : "removing"),
             .remedy = "look whether that process is stopped; when it ends, others go on"}));
}

Result<Removal> remove_segment(SegmentHeader& header, ParticipantTable* table, const FileName& name,
                               int fd, const std::string& path,
                               std::chrono::steady_clock::time_point deadline) {
  const ProcessTag self = QUIRE_TRY(own_process());
  for (;;) {
    const OwnedState found(header.state.load());
    const SegmentPhase phase = phase_of(found);
    if (!is_named(*name.directory, name.name, fd)) {
      return Removal::kWasRemoved;
    }
    if (phase != SegmentPhase::kReady && found.owner() != ProcessTag() && is_alive(found.owner())) {
      QUIRE_TRY(wait_for_owner(found, path, deadline));
      continue;
    }
    // One that is not ready has no users, and stays so: it is taken over like by an initialiser.
    const SegmentPhase mine = phase == SegmentPhase::kReady || phase == SegmentPhase::kRemoving
                                  ? SegmentPhase::kRemoving
                                  : SegmentPhase::kInitialising;
    if (mine == SegmentPhase::kRemoving && table == nullptr) {
      return Removal::kLookAgain;
    }
    const OwnedState claimed = make_phase(mine, self);
    std::uint64_t expected = found.word();
    QUIRE_IPC_STEP("segment.remove.about_to_claim");
    if (!header.state.compare_exchange_strong(expected, claimed.word())) {
      continue;
    }
    QUIRE_IPC_STEP("segment.remove.claimed");
    if (mine == SegmentPhase::kRemoving && table->has_living()) {
      header.state.store(make_phase(SegmentPhase::kReady, {}).word());
      QUIRE_IPC_STEP("segment.remove.withdrawn");
      return fail(sys::to_error({EBUSY}, "remove segment", path,
                                "end the processes that are attached (quire ipc stat)"));
    }
    const auto unlinked = sys::unlink_at(*name.directory, name.name.c_str());
    QUIRE_IPC_STEP("segment.remove.unlinked");
    const bool has_gone = unlinked || unlinked.error().value == ENOENT;
    const SegmentPhase kept =
        mine == SegmentPhase::kRemoving ? SegmentPhase::kReady : SegmentPhase::kInitialising;
    header.state.store(make_phase(has_gone ? SegmentPhase::kRemoving : kept, {}).word());
    QUIRE_IPC_STEP("segment.remove.done");
    if (!has_gone) {
      return fail(sys::to_error(unlinked.error(), "remove segment", path));
    }
    return Removal::kRemoved;
  }
}

}  // namespace quire::ipc::internal
