// SPDX-License-Identifier: Apache-2.0
//
// ChaosReferee: starts the stations of all games, makes their lives short, watches that each of
// them goes on, and has the books audited at the end.
//
//   playing ----- time over, stop asked for -----> ending ----> auditing ----> report
//      |   misfortunes: kill, stop for a while        |   stations end by themselves;
//      |   watch: died of something else? broken      |   those who serve them are killed
//      |   promise? no progress?                      |
//      '---- violation: all are killed -------------------------------------> report
//
// Invariants:    it never touches a structure itself, since that would give it a thread: audits and
//                questions run in processes of their own.
// Thread-safety: as chaos.h says.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "quire/base/prng.h"
#include "quire/ipc/chaos.h"
#include "quire/ipc/internal/chaos_game.h"
#include "quire/sys/child.h"

namespace quire::ipc::internal {

class ChaosReferee {
 public:
  // Errors: what keeps its memory from being had.
  [[nodiscard]] static Result<ChaosReferee> make(const ChaosOptions& options, ChaosGames games);

  // Once. Errors: as run_chaos().
  [[nodiscard]] Result<ChaosReport> run();

 private:
  using Clock = std::chrono::steady_clock;

  // A station, and the process that has it.
  struct Seat {
    std::size_t game = 0;
    unsigned number = 0;  // In its game.
    ChaosGame::Role role;
    std::optional<sys::Child> child = {};
    std::uint64_t finished = 0;    // When we looked last.
    Clock::time_point since = {};  // No progress since then.
    std::optional<Clock::time_point> stopped_until = {};
    bool dies_stopped = false;
  };
  // What a forked process is to do.
  struct Job {
    ChaosReferee* referee = nullptr;
    std::size_t game = 0;
    unsigned number = 0;
    std::uint64_t seed = 0;
    std::function<Result<void>(const ChaosGame&, ChaosStation&)> work;
    ChaosLog* answer = nullptr;  // Where an error is told.
  };

  ChaosReferee(const ChaosOptions& options, ChaosGames games)
      : options_(options), games_(std::move(games)), random_(options.seed) {}

  Result<void> prepare();
  [[nodiscard]] ChaosLog& log_of(const Seat& seat) const noexcept;
  [[nodiscard]] ChaosTally& tally_of(const Seat& seat) noexcept;
  static int run_job(void* job);
  Result<void> do_job(const Job& job);

  Result<void> start(Seat& seat);
  Result<void> play();
  Result<void> end();
  Result<void> audit();

  Result<void> bring_misfortune();
  Result<void> kill(Seat& seat);
  Result<void> wake_the_stopped(Clock::time_point now);
  // Whether something went wrong, or somebody hangs. `only_ending`: those who end by themselves.
  Result<void> watch(Clock::time_point now, bool only_ending);
  Result<void> look_for_end(Seat& seat);
  Result<void> look_for_progress(Seat& seat, Clock::time_point now);
  void rest_until(Clock::time_point when) const noexcept;
  void forgive_lost_time(Clock::time_point now);
  [[nodiscard]] std::string describe_hang(const Seat& seat, Clock::time_point now);
  // Runs `work` in a process of its own; what it said, if it said anything.
  Result<std::string> ask_apart(
      std::size_t game, const std::function<Result<void>(const ChaosGame&, ChaosStation&)>& work);
  void collect();
  void tell_progress(Clock::time_point now);
  [[nodiscard]] bool has_violation() const noexcept { return !report_.violations.empty(); }
  void accuse_dead(const Seat& seat, const sys::ChildEnd& end);
  void accuse(std::string what) { report_.violations.push_back(std::move(what)); }

  ChaosOptions options_;
  ChaosGames games_;
  Prng random_;
  Layout layout_;
  std::optional<Segment> segment_;  // What is under test.
  std::optional<Segment> books_;
  ChaosLog* logs_ = nullptr;  // In books_: of all seats, and one for answers.
  std::atomic<std::uint32_t>* ends_ = nullptr;
  std::vector<Seat> seats_;
  std::vector<std::size_t> first_seats_;  // Of each game.
  Clock::time_point began_ = {};
  Clock::time_point looked_ = {};
  ChaosReport report_;
};

}  // namespace quire::ipc::internal
