// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/internal/chaos_referee.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <utility>

#include "quire/sys/futex.h"

namespace quire::ipc::internal {
namespace {

using Seconds = std::chrono::duration<double>;

constexpr const char* kOperation = "chaos";
constexpr const char* kBooks = "books";
constexpr const char* kBooksSignature = "chaos v1";
// How often the stations are looked at.
constexpr std::chrono::milliseconds kTick{5};
// How often while something is about to end.
constexpr std::chrono::milliseconds kShortTick{1};
// When we were not looked after ourselves, nobody is blamed for having stood still.
constexpr std::chrono::milliseconds kLostTick{500};
constexpr std::uint64_t kStopMaxUs = 40'000;
// Longer than what an audit may wait for in its turn.
constexpr std::chrono::seconds kAuditMax{40};
// Slots for the referee, an auditor, and some whose owners are dead.
constexpr std::uint32_t kSpareParticipants = 8;

Error cannot(const sys::Errno& cause, const char* what) {
  return sys::to_error(cause, kOperation, what);
}

double seconds_of(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration_cast<Seconds>(duration).count();
}

void tell(ChaosLog& log, const std::string& text) noexcept {
  const std::size_t count = std::min(text.size(), ChaosLog::kViolationBytes - 1);
  std::memcpy(log.violation.data(), text.data(), count);
  log.violation[count] = '\0';
}

}  // namespace

Result<ChaosReferee> ChaosReferee::make(const ChaosOptions& options, ChaosGames games) {
  ChaosReferee referee(options, std::move(games));
  QUIRE_TRY(referee.prepare());
  return referee;
}

Result<void> ChaosReferee::prepare() {
  report_.seed = options_.seed;
  for (const auto& game : games_) {
    game->add_objects(layout_);
    first_seats_.push_back(seats_.size());
    report_.structures.push_back({.name = game->name()});
    unsigned number = 0;
    for (ChaosGame::Role& role : game->roles()) {
      seats_.push_back({.game = first_seats_.size() - 1, .number = number++, .role = role});
    }
  }
  layout_.set_participants_max(static_cast<std::uint32_t>(seats_.size()) + kSpareParticipants);
  segment_ = QUIRE_TRY(Segment::make_anonymous(layout_, "quire-chaos"));
  Layout books;
  books.add({.name = kBooks,
             .kind = ObjectKind::kUser,
             .signature = kBooksSignature,
             .size_bytes = sizeof(ChaosLog) * (seats_.size() + 2),
             .alignment_bytes = alignof(ChaosLog)});
  books_ = QUIRE_TRY(Segment::make_anonymous(books, "quire-chaos-books"));
  const ObjectRef object = QUIRE_TRY(books_->find(kBooks, ObjectKind::kUser, kBooksSignature));
  ends_ = reinterpret_cast<std::atomic<std::uint32_t>*>(object.bytes().data());
  logs_ = reinterpret_cast<ChaosLog*>(object.bytes().data()) + 1;
  return {};
}

ChaosLog& ChaosReferee::log_of(const Seat& seat) const noexcept {
  return logs_[first_seats_[seat.game] + seat.number];
}

ChaosTally& ChaosReferee::tally_of(const Seat& seat) noexcept {
  return report_.structures[seat.game];
}

Result<ChaosReport> ChaosReferee::run() {
  began_ = looked_ = Clock::now();
  for (Seat& seat : seats_) {
    QUIRE_TRY(start(seat));
  }
  QUIRE_TRY(play());
  if (!has_violation()) {
    QUIRE_TRY(end());
  }
  collect();
  seats_.clear();  // Kills who is left.
  if (!has_violation()) {
    QUIRE_TRY(audit());
  }
  report_.elapsed_s = seconds_of(Clock::now() - began_);
  return report_;
}

// --- Processes -------------------------------------------------------------------------------

// In the child.
int ChaosReferee::run_job(void* job) {
  const Job& todo = *static_cast<const Job*>(job);
  try {
    const Result<void> done = todo.referee->do_job(todo);
    if (done) {
      return 0;
    }
    tell(*todo.answer, done.error().subject() + ": " + done.error().cause());
  } catch (const std::exception& error) {
    tell(*todo.answer, error.what());
  }
  return 1;
}

Result<void> ChaosReferee::do_job(const Job& job) {
  // A participant of its own; what was inherited belongs to the referee.
  auto descriptor = sys::duplicate(segment_->descriptor());
  if (!descriptor) {
    return fail(cannot(descriptor.error(), "its segment"));
  }
  const Segment segment = QUIRE_TRY(Segment::adopt(std::move(*descriptor), layout_));
  ChaosStation station(segment, {.number = job.number,
                                 .logs = logs_ + first_seats_[job.game],
                                 .ends = ends_,
                                 .seed = job.seed});
  return job.work(*games_[job.game], station);
}

Result<void> ChaosReferee::start(Seat& seat) {
  ChaosLog& log = log_of(seat);
  log.doing = ChaosDoing::kStarting;
  Job job{.referee = this,
          .game = seat.game,
          .number = seat.number,
          .seed = random_(),
          .work = [](const ChaosGame& game, ChaosStation& station) { return game.play(station); },
          .answer = &log};
  auto child = sys::Child::start(run_job, &job);
  if (!child) {
    return fail(cannot(child.error(), "start a process"));
  }
  seat.child.emplace(std::move(*child));
  seat.finished = log.finished;
  seat.since = Clock::now();
  seat.stopped_until.reset();
  ++tally_of(seat).starts;
  return {};
}

Result<void> ChaosReferee::kill(Seat& seat) {
  if (const auto killed = seat.child->kill(); !killed) {
    return fail(cannot(killed.error(), "kill a process"));
  }
  const auto end = seat.child->wait();
  if (!end) {
    return fail(cannot(end.error(), "wait for a process"));
  }
  ++tally_of(seat).kills;
  seat.child.reset();
  if (end->exit_code || sys::signal_name(end->signal) != "SIGKILL") {
    accuse_dead(seat, *end);  // It ended before the signal came.
  }
  return {};
}

void ChaosReferee::accuse_dead(const Seat& seat, const sys::ChildEnd& end) {
  accuse(end.exit_code ? std::string(log_of(seat).violation.data())
                       : fmt::format("{}: {} was ended by {}, which we did not send",
                                     games_[seat.game]->name(), seat.role.name,
                                     sys::signal_name(end.signal)));
}

Result<std::string> ChaosReferee::ask_apart(
    std::size_t game, const std::function<Result<void>(const ChaosGame&, ChaosStation&)>& work) {
  ChaosLog& answer = logs_[first_seats_.back() + games_.back()->roles().size()];
  tell(answer, "");
  Job job{.referee = this,
          .game = game,
          .number = static_cast<unsigned>(games_[game]->roles().size()) - 1,
          .seed = random_(),
          .work = work,
          .answer = &answer};
  auto child = sys::Child::start(run_job, &job);
  if (!child) {
    return fail(cannot(child.error(), "start a process"));
  }
  for (const auto until = Clock::now() + kAuditMax; Clock::now() < until;) {
    const auto end = child->try_wait();
    if (!end) {
      return fail(cannot(end.error(), "wait for a process"));
    }
    if (*end) {
      return (*end)->exit_code ? std::string(answer.violation.data())
                               : games_[game]->name() + ": the audit was ended by " +
                                     sys::signal_name((*end)->signal);
    }
    rest_until(Clock::now() + kShortTick);
  }
  return games_[game]->name() + ": the audit hangs";
}

// --- The three parts -------------------------------------------------------------------------

Result<void> ChaosReferee::play() {
  const auto over = began_ + std::chrono::duration_cast<Clock::duration>(Seconds(options_.seconds));
  auto next = Clock::now();
  for (auto now = next; now < over && !has_violation(); now = Clock::now()) {
    if (options_.should_stop && options_.should_stop()) {
      report_.was_stopped = true;
      return {};
    }
    QUIRE_TRY(wake_the_stopped(now));
    QUIRE_TRY(watch(now, false));
    if (now >= next && !has_violation()) {
      QUIRE_TRY(bring_misfortune());
      next = now + std::chrono::microseconds(
                       random_.below(static_cast<std::uint64_t>(options_.pause.count()) * 2 + 1));
    }
    tell_progress(now);
    rest_until(std::min(next, now + kTick));
  }
  return {};
}

Result<void> ChaosReferee::end() {
  QUIRE_TRY(wake_the_stopped(Clock::time_point::max()));
  ends_->store(1, std::memory_order_relaxed);
  sys::shared_futex_wake_all(ends_);
  const auto is_going = [](const Seat& seat) { return seat.child && !seat.role.goes_on; };
  while (!has_violation() && std::any_of(seats_.begin(), seats_.end(), is_going)) {
    QUIRE_TRY(watch(Clock::now(), true));
    rest_until(Clock::now() + kShortTick);
  }
  return {};
}

Result<void> ChaosReferee::audit() {
  for (std::size_t game = 0; game < games_.size(); ++game) {
    const std::string answer = QUIRE_TRY(ask_apart(
        game, [](const ChaosGame& one, ChaosStation& station) { return one.audit(station); }));
    if (!answer.empty()) {
      accuse(answer);
    }
  }
  return {};
}

// --- Misfortunes -----------------------------------------------------------------------------

Result<void> ChaosReferee::bring_misfortune() {
  Seat& seat = seats_[random_.below(seats_.size())];
  if (seat.stopped_until) {
    return {};
  }
  const std::uint64_t kind = random_.below(10);
  if (kind < 6) {
    QUIRE_TRY(kill(seat));
    return has_violation() ? Result<void>() : start(seat);
  }
  if (const auto stopped = seat.child->stop(); !stopped) {
    return fail(cannot(stopped.error(), "stop a process"));
  }
  ++tally_of(seat).stops;
  seat.stopped_until = Clock::now() + std::chrono::microseconds(random_.below(kStopMaxUs));
  seat.dies_stopped = kind == 9;
  return {};
}

Result<void> ChaosReferee::wake_the_stopped(Clock::time_point now) {
  for (Seat& seat : seats_) {
    if (!seat.stopped_until || now < *seat.stopped_until) {
      continue;
    }
    if (seat.dies_stopped) {
      QUIRE_TRY(kill(seat));
      if (!has_violation()) {
        QUIRE_TRY(start(seat));
      }
      continue;
    }
    if (const auto woken = seat.child->go_on(); !woken) {
      return fail(cannot(woken.error(), "let a process go on"));
    }
    seat.stopped_until.reset();
    seat.since = Clock::now();
  }
  return {};
}

// --- Watching --------------------------------------------------------------------------------

Result<void> ChaosReferee::watch(Clock::time_point now, bool only_ending) {
  forgive_lost_time(now);
  for (Seat& seat : seats_) {
    if (!seat.child || has_violation()) {
      continue;
    }
    QUIRE_TRY(look_for_end(seat));
    if (seat.child && !seat.stopped_until && !(only_ending && seat.role.goes_on)) {
      QUIRE_TRY(look_for_progress(seat, now));
    }
  }
  return {};
}

Result<void> ChaosReferee::look_for_end(Seat& seat) {
  const auto end = seat.child->try_wait();
  if (!end) {
    return fail(cannot(end.error(), "wait for a process"));
  }
  if (!*end) {
    return {};
  }
  seat.child.reset();
  if ((*end)->exit_code != 0) {
    accuse_dead(seat, **end);
  }
  return {};
}

Result<void> ChaosReferee::look_for_progress(Seat& seat, Clock::time_point now) {
  const std::uint64_t finished = log_of(seat).finished.load(std::memory_order_relaxed);
  double& longest_s = tally_of(seat).longest_wait_s;
  longest_s = std::max(longest_s, seconds_of(now - seat.since));
  if (finished != seat.finished) {
    seat.finished = finished;
    seat.since = now;
  } else if (now - seat.since > options_.hang_after) {
    std::string text = describe_hang(seat, now);
    const std::string why = QUIRE_TRY(
        ask_apart(seat.game, [](const ChaosGame& game, ChaosStation& station) -> Result<void> {
          std::string said = game.explain(station.segment());
          return said.empty() ? Result<void>() : fail(violation(game.name(), std::move(said)));
        }));
    accuse(why.empty() ? text : text + "; " + why);
  }
  return {};
}

// Nobody changes the word: a rest that the stations could be woken from, too.
void ChaosReferee::rest_until(Clock::time_point when) const noexcept {
  if (const auto now = Clock::now(); now < when) {
    sys::shared_futex_wait(ends_, ends_->load(std::memory_order_relaxed), when - now);
  }
}

void ChaosReferee::forgive_lost_time(Clock::time_point now) {
  const auto lost = now - std::exchange(looked_, now);
  for (Seat& seat : seats_) {
    if (lost > kLostTick) {
      seat.since += lost;
    }
  }
}

std::string ChaosReferee::describe_hang(const Seat& seat, Clock::time_point now) {
  std::string text = games_[seat.game]->name() + ": ";
  const auto describe = [&](const Seat& one) {
    return fmt::format("{} (pid {}) is {} since {:.1f} s", one.role.name, one.child->pid(),
                       name_of(log_of(one).doing), seconds_of(now - one.since));
  };
  text += describe(seat);
  for (const Seat& other : seats_) {
    if (other.game == seat.game && other.number != seat.number && other.child) {
      text += other.stopped_until ? fmt::format(", {} is stopped", other.role.name)
                                  : ", " + describe(other);
    }
  }
  return text;
}

void ChaosReferee::collect() {
  for (ChaosTally& tally : report_.structures) {
    tally.finished = tally.repeated = tally.told_of_death = 0;
  }
  for (const Seat& seat : seats_) {
    ChaosTally& tally = tally_of(seat);
    const ChaosLog& log = log_of(seat);
    tally.finished += noted(log.finished);
    tally.repeated += noted(log.repeated);
    tally.told_of_death += noted(log.told_of_death);
  }
}

void ChaosReferee::tell_progress(Clock::time_point now) {
  if (!options_.tell) {
    return;
  }
  collect();
  ChaosProgress progress{.elapsed_s = seconds_of(now - began_)};
  for (const ChaosTally& tally : report_.structures) {
    progress.kills += tally.kills;
    progress.finished += tally.finished;
  }
  options_.tell(progress);
}

}  // namespace quire::ipc::internal
