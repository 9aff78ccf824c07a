// SPDX-License-Identifier: Apache-2.0
//
// A work queue whose workers are killed: each worker has a ring of jobs of its own, all answer into
// one; whoever is killed is replaced, and its successor begins with the job that it died on.
//
//   example_work_queue WORKERS JOBS
//
// A job is released only after its answer was published, so that none is lost; a worker that dies
// between the two has its job done twice, which the master sees by its number.
#include <quire/quire.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

namespace ipc = quire::ipc;

struct Job {
  std::uint64_t number = 0;
};
struct Answer {
  std::uint64_t number = 0;
  std::uint64_t result = 0;
};

using Jobs = ipc::SpscRing<Job>;
using Answers = ipc::MpscRing<Answer>;

std::string ring_of(std::size_t worker) {
  return "jobs." + std::to_string(worker);
}

ipc::Layout layout_for(std::size_t workers) {
  ipc::Layout layout;
  for (std::size_t worker = 0; worker < workers; ++worker) {
    layout.add(Jobs::object(ring_of(worker), {.capacity = 16, .type = "Job"}));
  }
  layout.add(Answers::object("answers", {.capacity = 64, .type = "Answer"}));
  return layout;
}

std::uint64_t solve(std::uint64_t number) {
  std::uint64_t result = number;
  for (int round = 0; round < 1000; ++round) {
    result = result * 6364136223846793005U + 1442695040888963407U;
  }
  return result;
}

// Works until it is killed.
quire::Result<void> work(const std::string& name, std::size_t worker, std::size_t workers) {
  const ipc::Segment segment = QUIRE_TRY(ipc::Segment::open(name, layout_for(workers)));
  auto jobs = QUIRE_TRY(Jobs::reader(segment, ring_of(worker)));
  const auto answers = QUIRE_TRY(Answers::writer(segment, "answers"));
  for (;;) {
    QUIRE_TRY(jobs.wait());
    const std::uint64_t number = jobs.peek()[0].number;
    QUIRE_TRY(answers.push({.number = number, .result = solve(number)}));
    jobs.release();  // Not before: a successor would not see it.
  }
}

class Master {
 public:
  Master(ipc::Segment segment, std::string name, std::size_t workers)
      : segment_(std::move(segment)), name_(std::move(name)), workers_(workers) {}

  // Hands out jobs and takes answers; every so many answers a worker is killed and replaced.
  quire::Result<void> run(std::size_t jobs) {
    std::vector<Jobs::Writer> rings;
    for (std::size_t worker = 0; worker < workers_; ++worker) {
      rings.push_back(QUIRE_TRY(Jobs::writer(segment_, ring_of(worker))));
      pids_.push_back(start(worker));
    }
    auto answers = QUIRE_TRY(Answers::reader(segment_, "answers"));
    std::vector<std::size_t> next(workers_);  // Of each worker, how many jobs it was given.
    std::vector<bool> is_answered(jobs);
    for (std::size_t answered = 0; answered < jobs;) {
      for (std::size_t worker = 0; worker < workers_; ++worker) {
        // Job n is for worker n % workers.
        while (next[worker] * workers_ + worker < jobs &&
               rings[worker].try_push({.number = next[worker] * workers_ + worker})) {
          ++next[worker];
        }
      }
      const Answer answer = QUIRE_TRY(answers.pop({.timeout = std::chrono::seconds(60)}));
      if (answer.number >= jobs || answer.result != solve(answer.number)) {
        return quire::fail(
            quire::make_error(quire::Errc::kCorrupt, "work queue", name_, "an answer is wrong"));
      }
      if (is_answered[answer.number]) {
        ++repeated_;
        continue;
      }
      is_answered[answer.number] = true;
      if (++answered % kAnswersPerDeath == 0) {
        replace(answered / kAnswersPerDeath % workers_);
      }
    }
    return {};
  }

  // Ends the workers. How often one was killed before, and how many answers came twice.
  void finish() {
    for (const pid_t pid : pids_) {
      end(pid);
    }
    std::printf("%zu workers were killed, %zu answers came twice\n", killed_, repeated_);
  }
  // Each death may have a job done twice, and no more.
  [[nodiscard]] bool is_plausible() const { return repeated_ <= killed_; }

 private:
  static constexpr std::size_t kAnswersPerDeath = 100;

  pid_t start(std::size_t worker) const {
    const pid_t child = fork();
    if (child == 0) {
      execl("/proc/self/exe", "work_queue", std::to_string(workers_).c_str(),
            std::to_string(worker).c_str(), name_.c_str(), static_cast<char*>(nullptr));
      _exit(127);
    }
    return child;
  }
  static void end(pid_t pid) {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }
  void replace(std::size_t worker) {
    end(pids_[worker]);
    pids_[worker] = start(worker);
    ++killed_;
  }

  ipc::Segment segment_;
  std::string name_;
  std::size_t workers_;
  std::vector<pid_t> pids_;
  std::size_t killed_ = 0;
  std::size_t repeated_ = 0;
};

int fail_with(const quire::Error& error) {
  std::fprintf(stderr, "%s\n", error.message().c_str());
  return EXIT_FAILURE;
}

int run_master(std::size_t workers, std::size_t jobs) {
  const std::string name = "work-queue." + std::to_string(getpid());
  auto segment = ipc::Segment::open(name, layout_for(workers));
  if (!segment) {
    return fail_with(segment.error());
  }
  quire::Result<void> done;
  bool is_plausible = false;
  {
    Master master(std::move(*segment), name, workers);
    done = master.run(jobs);
    master.finish();
    is_plausible = master.is_plausible();
  }
  const quire::Result<void> removed = ipc::remove_segment(name);
  if (!done || !removed) {
    return fail_with(done ? removed.error() : done.error());
  }
  std::printf("%zu jobs: all answered\n", jobs);
  return is_plausible ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 4) {
    const auto worked =
        work(argv[3], std::strtoull(argv[2], nullptr, 10), std::strtoull(argv[1], nullptr, 10));
    return worked ? EXIT_SUCCESS : fail_with(worked.error());
  }
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s WORKERS JOBS\n", argv[0]);
    return 2;
  }
  return run_master(std::strtoull(argv[1], nullptr, 10), std::strtoull(argv[2], nullptr, 10));
}
