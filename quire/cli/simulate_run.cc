// SPDX-License-Identifier: Apache-2.0
#include "quire/cli/simulate_run.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <memory>
#include <span>
#include <utility>

#include "quire/base/units.h"
#include "quire/policy/belady.h"
#include "quire/policy/recorded_trace.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"

namespace quire::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kBlockAccesses = 1 << 16;  // Between two looks at Ctrl-C: a few ms.
constexpr std::uint32_t kGranuleDefaultBytes = 4096;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// How far all of it is. Looking at the accesses counts like a simulation.
class Meter {
 public:
  Meter(Session& session, std::uint64_t total_steps)
      : session_(session),
        progress_(session, "simulate"),
        total_steps_(static_cast<double>(total_steps)) {}

  void begin(std::string doing) { doing_ = std::move(doing); }
  // False when it is to stop.
  [[nodiscard]] bool advance(std::uint64_t steps) {
    done_steps_ += static_cast<double>(steps);
    const double share = done_steps_ / total_steps_;
    const double elapsed_s = seconds_since(started_);
    progress_.update(
        {.done = share,
         .left_s = share > 0 ? std::optional(elapsed_s / share - elapsed_s) : std::nullopt,
         .doing = doing_});
    return !session_.stop_requested();
  }

 private:
  Session& session_;
  ProgressLine progress_;
  double total_steps_;
  double done_steps_ = 0;
  std::string doing_;
  Clock::time_point started_ = Clock::now();
};

// --- Where accesses come from --------------------------------------------------------------------

// How often a stop is looked for while a pipe's writer has nothing.
constexpr int kWaitMs = 100;

// Waits for the writer of a pipe. Zero: it is the end, or a stop was asked for.
sys::Outcome<std::size_t> read_trace(const Session& session, int fd, std::span<std::byte> into) {
  for (;;) {
    const sys::Outcome<std::size_t> count = sys::read_some(fd, into);
    if (count || count.error().value != EAGAIN) {
      return count;
    }
    if (session.stop_requested()) {
      return 0;
    }
    QUIRE_TRY(sys::wait_readable(fd, kWaitMs));
  }
}

// Nothing when it was stopped.
Result<std::unique_ptr<AccessSource>> load_trace(Session& session, const SimulateRequest& request,
                                                 SimulatedLoad& load) {
  load.trace = request.trace;
  const auto file = sys::open_file(request.trace.c_str(), {});
  const auto status = file ? sys::file_status(file->get()) : tl::unexpected(file.error());
  if (!status) {
    return fail(sys::to_error(status.error(), "read_trace", request.trace));
  }
  std::uint64_t read_bytes = 0;
  const auto source = [&](std::span<std::byte> into) -> Result<std::size_t> {
    const auto count = read_trace(session, file->get(), into);
    if (!count) {
      return fail(sys::to_error(count.error(), "read_trace", request.trace));
    }
    read_bytes += *count;
    return *count;
  };
  Result<TraceReader> opened = TraceReader::open(source, request.trace);
  if (session.stop_requested()) {
    return nullptr;
  }
  TraceReader reader = QUIRE_TRY(std::move(opened));
  TraceLoader loader = QUIRE_TRY(TraceLoader::make(reader, request.granule_bytes));
  ProgressLine progress(session, "simulate");
  if (status->kind == sys::FileKind::kRegular) {
    progress.set_total(status->size_bytes);
  }
  for (;;) {
    const Result<bool> goes_on = loader.step();
    if (session.stop_requested()) {
      return nullptr;
    }
    if (!QUIRE_TRY(goes_on)) {
      break;
    }
    progress.update(read_bytes, 0);
  }
  load.granule_bytes = std::max(reader.header().page_bytes, request.granule_bytes);
  load.has_faults_only = reader.header().content == TraceContent::kFaults;
  return std::make_unique<RecordedTrace>(loader.finish());
}

std::unique_ptr<AccessSource> make_synthetic(const SimulateRequest& request, SimulatedLoad& load) {
  load.workload = request.workload_text;
  load.seed = request.formula.seed;
  load.granule_bytes = request.granule_bytes == 0 ? kGranuleDefaultBytes : request.granule_bytes;
  return std::make_unique<SyntheticSource>(request.formula);
}

// --- What is done with them ----------------------------------------------------------------------

class Simulator {
 public:
  // REQUIRES: the source has accesses.
  Simulator(Session& session, const SimulateRequest& request, AccessSource& source,
            SimulateOutcome& outcome)
      : request_(request),
        source_(source),
        outcome_(outcome),
        load_(outcome.load),
        meter_(session,
               source.access_count() * (1 + request.memory.size() * request.policies.size())),
        block_(kBlockAccesses) {}

  // Whatever was finished when somebody asked to stop stands in the outcome.
  Result<void> run() {
    if (!QUIRE_TRY(survey())) {
      return {};
    }
    const std::vector<std::uint32_t> sizes = QUIRE_TRY(memory_sizes());
    outcome_.rows_wanted = sizes.size() * request_.policies.size();
    for (const std::uint32_t memory_pages : sizes) {
      for (const SimulatedPolicy& policy : request_.policies) {
        if (!simulate(policy, memory_pages)) {
          return {};
        }
      }
    }
    return {};
  }

 private:
  // False when it was stopped.
  Result<bool> survey() {
    const auto& policies = request_.policies;
    const bool keeps_all = std::any_of(policies.begin(), policies.end(),
                                       [](const SimulatedPolicy& policy) { return !policy.kind; });
    if (keeps_all && source_.access_count() > kBeladyAccessesMax) {
      return fail(make_error(Errc::kLimit, "simulate",
                             count_of(source_.access_count(), "access", "accesses"),
                             fmt::format("Belady's optimum takes {} at most: it has them all in "
                                         "memory",
                                         with_thousands(kBeladyAccessesMax)),
                             "name the other policies with --policy"));
    }
    all_.reserve(keeps_all ? source_.access_count() : 0);
    meter_.begin("looking at the accesses");
    FootprintSurvey survey(source_.page_span());
    while (const std::size_t count = source_.next(block_)) {
      const auto some = std::span(block_).first(count);
      survey.add(some);
      if (keeps_all) {
        all_.insert(all_.end(), some.begin(), some.end());
      }
      if (!meter_.advance(count)) {
        return false;
      }
    }
    load_.accesses = survey.accesses();
    load_.stores = survey.stores();
    load_.pages = survey.pages();
    return true;
  }

  // In pages, ascending, each once.
  Result<std::vector<std::uint32_t>> memory_sizes() const {
    std::vector<std::uint32_t> sizes;
    for (const MemorySize& size : request_.memory) {
      std::uint64_t pages = 0;
      if (const auto* const share = std::get_if<MemoryShare>(&size)) {
        const double exact = share->percent / 100 * load_.pages;
        pages = static_cast<std::uint64_t>(std::max(1.0, std::round(exact)));
      } else {
        pages = std::get<std::uint64_t>(size) / load_.granule_bytes;
      }
      if (pages == 0) {
        return fail(make_error(
            Errc::kLimit, "simulate",
            fmt::format("memory of {} bytes", std::get<std::uint64_t>(size)),
            fmt::format("it does not hold one granule of {}", human_bytes(load_.granule_bytes)),
            "give --memory more"));
      }
      // More than all pages there are changes nothing, and would cost the policies memory.
      sizes.push_back(static_cast<std::uint32_t>(std::min<std::uint64_t>(pages, load_.pages)));
    }
    std::sort(sizes.begin(), sizes.end());
    sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
    return sizes;
  }

  // False when it was stopped.
  bool simulate(const SimulatedPolicy& policy, std::uint32_t memory_pages) {
    const std::uint64_t memory_bytes = std::uint64_t{memory_pages} * load_.granule_bytes;
    meter_.begin(fmt::format("{} in {}", policy.name, human_bytes(memory_bytes)));
    const Clock::time_point started = Clock::now();
    const auto stats = policy.kind ? replay(*policy.kind, memory_pages) : optimum(memory_pages);
    if (!stats) {
      return false;
    }
    outcome_.rows.push_back({.policy = policy.name,
                             .memory_pages = memory_pages,
                             .stats = *stats,
                             .seconds = seconds_since(started)});
    return true;
  }

  std::optional<SimulationStats> replay(PolicyKind kind, std::uint32_t memory_pages) {
    source_.rewind();
    const SimulationOptions options{
        .memory_pages = memory_pages,
        .read_ahead_pages_max =
            static_cast<std::uint32_t>(load_.read_ahead_bytes / load_.granule_bytes),
        .hits = kind == PolicyKind::kLru ? HitReports::kEach : HitReports::kNone};
    CacheSimulation simulation(options, source_, [&](PageHost& host) {
      return make_replacement({.kind = kind, .pages_max = memory_pages}, host);
    });
    while (const std::size_t count = source_.next(block_)) {
      simulation.run(std::span(block_).first(count));
      if (!meter_.advance(count)) {
        return std::nullopt;
      }
    }
    return simulation.stats();
  }

  std::optional<SimulationStats> optimum(std::uint32_t memory_pages) {
    if (!meter_.advance(0)) {
      return std::nullopt;
    }
    const BeladyStats best = belady(all_, source_.page_span(), memory_pages);
    if (!meter_.advance(all_.size())) {
      return std::nullopt;
    }
    SimulationStats stats;
    stats.accesses = load_.accesses;
    stats.stores = load_.stores;
    stats.hits = best.hits;
    stats.misses = best.misses;
    stats.device_read_requests = best.misses;
    stats.device_read_pages = best.misses;
    stats.device_write_pages = best.dirty_evictions + best.dirty_at_end;
    stats.dirty_at_end = best.dirty_at_end;
    stats.evictions = best.evictions;
    return stats;
  }

  const SimulateRequest& request_;
  AccessSource& source_;
  SimulateOutcome& outcome_;
  SimulatedLoad& load_;
  Meter meter_;
  std::vector<PageAccess> block_;
  std::vector<PageAccess> all_;  // For Belady, who must know them all.
};

}  // namespace

Result<SimulateOutcome> run_simulations(Session& session, const SimulateRequest& request) {
  SimulateOutcome outcome;
  const std::unique_ptr<AccessSource> source =
      request.trace.empty() ? make_synthetic(request, outcome.load)
                            : QUIRE_TRY(load_trace(session, request, outcome.load));
  if (source == nullptr) {
    return outcome;
  }
  if (source->access_count() == 0) {
    return fail(
        make_error(Errc::kCorrupt, "read_trace", request.trace, "there is not one access in it"));
  }
  // Whole granules: less than one is none.
  outcome.load.read_ahead_bytes =
      request.read_ahead_bytes / outcome.load.granule_bytes * outcome.load.granule_bytes;
  QUIRE_TRY(Simulator(session, request, *source, outcome).run());
  return outcome;
}

}  // namespace quire::cli
