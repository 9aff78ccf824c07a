#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The stages behind ./check, which installs the packages and explains the options.

A stage runs commands, all their output in build/check/STAGE.log, and gives back a Tally: what
passed, failed and was skipped. It stops at its first failing command; the other stages still run.
A command that is not itself a run of tests counts as one passed or failed.

A test that failed an assertion is run a second time, alone, when few did: on a machine that is busy
with other things a device may be slow, memory short or a cache emptied. If it passes then, it is
reported as unsteady, with what it had said, and does not fail the stage. A crash, a hang and a
sanitizer's report have no second attempt.
"""

import argparse
import fcntl
import glob
import os
import random
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LOGS = os.path.join(ROOT, "build", "check")
JOBS = str(os.cpu_count() or 1)
TAIL_LINES = 40
EXCERPT_LINES = 20         # Of what a failed test said.
COMMAND_CHARACTERS = 300   # Of a command in a log: some name every source.
SECOND_ATTEMPTS_MAX = 3    # In a stage: when more fail, it is not the machine.
FUZZ_SECONDS_TOTAL = 60
FUZZ_SECONDS_MIN = 5       # Fewer and a fuzzer has hardly read its corpus.
FUZZ_INPUT_SECONDS_MAX = 10
FUZZ_MARGIN_SECONDS = 60   # For with_timeout: start-up, the last input, the report.
COMMAND_SECONDS_MAX = 3600  # A stage built from nothing takes 20 minutes on two slow cores.
# With more random bits the run-time parts of gcc 12's sanitizers find their places taken.
RANDOM_BITS_MAX = 28

QUIET_SKIP = re.compile(r"^(?:\S+ \(.*\)|.*) \.\.\. skipped ['\"](.*)['\"]$", re.MULTILINE)
GTEST_SKIP = re.compile(r": Skipped\n(.*?)\n", re.DOTALL)
FAILED_ASSERTION = re.compile(r"\[  FAILED  \]|^FAILED \((?:failures|errors)=", re.MULTILINE)
FIRST_FAILURE = re.compile(r": Failure$|^(?:FAIL|ERROR): ")


@dataclass
class Tally:
    passed: int = 0
    failed: int = 0
    skips: list = field(default_factory=list)     # (test, reason)
    failures: list = field(default_factory=list)  # One line each.
    unsteady: list = field(default_factory=list)  # Passed the second time; text.

    def add(self, name, is_good):
        self.passed += is_good
        if not is_good:
            self.fail(name)

    def fail(self, line):
        self.failed += 1
        self.failures.append(line)


class StageFailed(Exception):
    """The rest of the stage makes no sense."""


def read_text(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def environment():
    variables = dict(os.environ)
    # One cache for every build directory and every clone.
    variables.update(CCACHE_BASEDIR=ROOT, CCACHE_NOHASHDIR="1", CLICOLOR_FORCE="0")
    symbolizer = "/usr/bin/llvm-symbolizer-19"
    if os.path.exists(symbolizer):
        variables.setdefault("ASAN_SYMBOLIZER_PATH", symbolizer)
    variables.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
    variables.setdefault("TSAN_OPTIONS", "second_deadlock_stack=1")
    return variables


class Stage:
    """One stage at work: its log and its tally."""

    def __init__(self, name):
        self.name = name
        self.tally = Tally()
        self.log_path = os.path.join(LOGS, f"{name}.log")
        self.log = open(self.log_path, "w", encoding="utf-8")

    def run(self, command, seconds=COMMAND_SECONDS_MAX):
        """Runs one command under a time limit; its exit code."""
        print(f"$ {shortened(' '.join(command), COMMAND_CHARACTERS)}", file=self.log, flush=True)
        limit = [sys.executable, os.path.join(ROOT, "tools", "with_timeout.py"), str(seconds)]
        process = subprocess.Popen(limit + command, cwd=ROOT, env=environment(),
                                   stdin=subprocess.DEVNULL, stdout=self.log,
                                   stderr=subprocess.STDOUT)
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGTERM)
            process.wait()
            raise

    def expect(self, name, command):
        """A command that counts as one test."""
        self.tally.add(name, self.run(command) == 0)

    def require(self, name, command):
        """A command without which the stage cannot go on."""
        if self.run(command) != 0:
            raise StageFailed(name)

    def build(self, preset, prefix=(), targets=()):
        self.require(f"configure {preset}", ["cmake", "--preset", preset])
        self.require(f"build {preset}", [*prefix, "cmake", "--build", "--preset", preset,
                                         *(f"--target={target}" for target in targets)])

    def test(self, preset, prefix=()):
        """Runs the tests of a preset and counts them."""
        command = [*prefix, "ctest", "--preset", preset]
        code, cases = self.run_tests([*command, "-j", JOBS], self.name)
        failed = [case for case in cases if not count_case(self.tally, case)]
        if code != 0 and not failed:
            self.tally.fail(f"ctest ended with {code}")
        if len(failed) <= SECOND_ATTEMPTS_MAX and all(map(failed_an_assertion, failed)):
            failed = [case for case in failed if not self.passes_alone(command, case)]
        for case in failed:
            self.tally.fail(describe_failure(case))

    def run_tests(self, command, report_name):
        """The exit code of CTest and its test cases."""
        report = os.path.join(LOGS, f"{report_name}.xml")
        if os.path.exists(report):
            os.remove(report)
        code = self.run([*command, "--output-junit", report, "--test-output-size-passed",
                         "1000000", "--test-output-size-failed", "1000000"])
        if not os.path.exists(report):
            raise StageFailed("ctest, which wrote no report")
        return code, list(ElementTree.parse(report).getroot().iter("testcase"))

    def passes_alone(self, command, case):
        name = case.get("name")
        _, again = self.run_tests([*command, "-R", f"^{re.escape(name)}$"], f"{self.name}-again")
        if [other.get("status") for other in again] != ["run"]:
            return False
        self.tally.passed += 1
        self.tally.unsteady.append(describe_failure(case))
        return True


def shortened(text, characters):
    return text if len(text) <= characters else f"{text[:characters]} ..."


def count_case(tally, case):
    """False when it failed, which is not yet counted."""
    name, output = case.get("name"), case.findtext("system-out") or ""
    # unittest reports skips inside a run that passes.
    tally.skips.extend((name, reason) for reason in QUIET_SKIP.findall(output))
    status = case.get("status")
    if status == "run":
        tally.passed += 1
    elif status == "disabled":
        tally.skips.append((name, "disabled"))
    elif status == "notrun" and (failure_cause(case).startswith("SKIP_") and
                                 "[  FAILED  ]" not in output):
        tally.skips.append((name, skip_reason(output)))
    else:
        return False
    return True


def failure_cause(case):
    """CTest's words: "Failed", "SEGFAULT", "Timeout", SKIP_..."""
    parts = (case.find(tag) for tag in ("skipped", "failure"))
    return next((part.get("message", "") for part in parts if part is not None), "")


def failed_an_assertion(case):
    output = case.findtext("system-out") or ""
    return bool(FAILED_ASSERTION.search(output)) and "Sanitizer" not in output


def describe_failure(case):
    """Name and cause, and below them what the test said from its first failure on."""
    lines = (case.findtext("system-out") or "").rstrip("\n").split("\n")
    first = next((at for at, line in enumerate(lines) if FIRST_FAILURE.search(line)),
                 max(0, len(lines) - EXCERPT_LINES))
    excerpt = lines[first:first + EXCERPT_LINES]
    cause = failure_cause(case)
    return "\n".join([case.get("name") + (f": {cause}" if cause else ""),
                      *(f"    | {line}" for line in excerpt)])


def skip_reason(output):
    match = GTEST_SKIP.search(output)
    if match:
        return match.group(1)
    lines = [line.strip() for line in output.split("\n") if line.strip()]
    return lines[-1] if lines else "no reason given"


def calm_addresses():
    """A prefix that turns address randomisation down where the sanitizers cannot bear it."""
    try:
        bits = int(read_text("/proc/sys/vm/mmap_rnd_bits"))
    except (OSError, ValueError):
        return []
    prefix = ["setarch", "--addr-no-randomize"]
    if bits <= RANDOM_BITS_MAX or subprocess.run([*prefix, "true"], check=False).returncode != 0:
        return []
    return prefix


def our_files(accept):
    """Paths of the tree, without what is built."""
    found = []
    for folder, names, files in os.walk(ROOT):
        names[:] = [name for name in names if name not in (".git", "build", ".cache")]
        found.extend(path for path in (os.path.join(folder, name) for name in files)
                     if accept(path))
    return sorted(os.path.relpath(path, ROOT) for path in found)


def is_shell_script(path):
    if path.endswith(".sh"):
        return True
    if "." in os.path.basename(path) or not os.access(path, os.X_OK):
        return False
    with open(path, "rb") as file:
        return b"bash" in file.readline()


def stage_tidy(stage, _):
    stage.expect("tools/tidy.py", [sys.executable, "tools/tidy.py"])


def stage_format(stage, _):
    sources = our_files(lambda path: path.endswith((".h", ".cc", ".c")))
    stage.expect("clang-format-19", ["clang-format-19", "--dry-run", "-Werror", *sources])
    stage.expect("shellcheck", ["shellcheck", *our_files(is_shell_script)])


def bring_browser_driver(stage):
    """For the tests labelled `browser`, which are skipped, and say so, when it cannot be had."""
    stage.run([sys.executable, "tests/browser/install.py"])


def stage_release(stage, _):
    stage.build("release")
    bring_browser_driver(stage)
    stage.test("release")


def stage_asan(stage, _):
    calm = calm_addresses()
    stage.build("asan", calm)
    bring_browser_driver(stage)
    stage.test("asan", calm)


def stage_tsan(stage, _):
    calm = calm_addresses()
    stage.build("tsan", calm)
    stage.test("tsan", calm)


def stage_clang(stage, _):
    # clang-tidy reports what clang does, warnings and thread safety included: that all of it parses
    # with clang is seen there, that it links is seen by the fuzzers.
    stage.build("tidy", targets=["quire_own_code"])
    stage.expect("tests/tidy/clang_tidy_test.py", [
        sys.executable, "tests/tidy/clang_tidy_test.py", "build/tidy/tools/own_code.so"])
    stage.expect("clang-tidy-19", [sys.executable, "tools/run_clang_tidy.py", "build/tidy"])


def stage_fuzz(stage, seed):
    stage.build("fuzz")
    fuzzers = sorted(path for path in glob.glob(os.path.join(ROOT, "build/fuzz/**/*_fuzz"),
                                                recursive=True) if os.path.isfile(path))
    if not fuzzers:
        raise StageFailed("no fuzzer in build/fuzz")
    seconds = max(FUZZ_SECONDS_MIN, FUZZ_SECONDS_TOTAL // len(fuzzers))
    for fuzzer in fuzzers:
        name = os.path.basename(fuzzer)
        corpus = os.path.join(ROOT, "build", "fuzz", "corpus", name)
        os.makedirs(corpus, exist_ok=True)
        code = stage.run([fuzzer, f"-seed={seed}", f"-max_total_time={seconds}",
                          f"-timeout={FUZZ_INPUT_SECONDS_MAX}", "-print_final_stats=1",
                          f"-artifact_prefix={LOGS}/{name}-", corpus],
                         seconds + FUZZ_MARGIN_SECONDS)
        stage.tally.add(f"{name} (seed {seed}; the input is in {LOGS}/{name}-*)", code == 0)


STAGES = {"tidy": stage_tidy, "format": stage_format, "release": stage_release,
          "asan": stage_asan, "tsan": stage_tsan, "clang": stage_clang, "fuzz": stage_fuzz}
QUICK = ["tidy", "format", "release"]


def describe_seconds(seconds):
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def run_stage(name, seed):
    """Runs one stage in the reader's sight: a line now, its end when it fails."""
    note = f" (seed {seed})" if name == "fuzz" else ""
    print(f"{name + note:<24}", end="", flush=True)
    start = time.monotonic()
    stage = Stage(name)
    try:
        STAGES[name](stage, seed)
    except StageFailed as failure:
        stage.tally.fail(str(failure))
    finally:
        stage.log.close()
    tally = stage.tally
    if os.environ.get("QUIRE_NO_SKIP") == "1":
        for test, reason in tally.skips:
            tally.fail(f"{test}: skipped: {reason}")
        tally.skips = []
    elapsed = time.monotonic() - start
    print(f"{'failed' if tally.failed else 'ok':<7}{describe_seconds(elapsed):>6}", flush=True)
    if tally.failed:
        show_failure(stage)
    return tally, elapsed


def show_failure(stage):
    for line in stage.tally.failures:
        print(f"  failed: {line}")
    lines = read_text(stage.log_path).rstrip("\n").split("\n")
    print(f"  the end of {os.path.relpath(stage.log_path, ROOT)}:")
    for line in lines[-TAIL_LINES:]:
        print(f"    {line}")
    sys.stdout.flush()


def summarise(results):
    print("\nstage          result    time  passed  failed  skipped")
    for name, (tally, elapsed) in results.items():
        print(f"{name:<15}{'failed' if tally.failed else 'ok':<7}{describe_seconds(elapsed):>7}"
              f"{tally.passed:>8}{tally.failed:>8}{len(tally.skips):>9}")
    skips = [(name, test, reason) for name, (tally, _) in results.items()
             for test, reason in tally.skips]
    if skips:
        print("\nskipped:")
        for line in group_skips(skips):
            print(f"  {line}")
    unsteady = [(name, text) for name, (tally, _) in results.items() for text in tally.unsteady]
    if unsteady:
        print("\nunsteady (failed once, passed when run again, alone):")
        for name, text in unsteady:
            print(f"  {name}: {text}")
    tallies = [tally for tally, _ in results.values()]
    failures = [(name, line) for name, (tally, _) in results.items() for line in tally.failures]
    if failures:
        print("\nfailed:")
        for name, line in failures:
            print(f"  {name}: {line}  (build/check/{name}.log)")
    failed = sum(tally.failed for tally in tallies)
    print(f"\n{sum(tally.passed for tally in tallies)} passed, {failed} failed, "
          f"{len(skips)} skipped")
    return failed


def group_skips(skips):
    """A line for all tests of one program that were skipped for one reason in one stage."""
    groups = {}
    for stage, test, reason in skips:
        program, _, rest = test.partition("/")
        groups.setdefault((stage, program, reason), []).append(rest)
    for (stage, program, reason), tests in groups.items():
        if len(tests) > 1:
            yield f"{stage}: {len(tests)} tests of {program}: {reason}"
        else:
            yield f"{stage}: {'/'.join(filter(None, [program, *tests]))}: {reason}"


def take_turn():
    """An open file, locked while we run; None when another run has it: two would break each
    other's builds."""
    lock = open(os.path.join(LOGS, "lock"), "w", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def interrupt(_signal, _frame):
    raise KeyboardInterrupt


def main():
    parser = argparse.ArgumentParser(prog="check", usage="./check [--quick] [--stage NAME]...")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--stage", action="append", choices=STAGES)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 2**31))
    arguments = parser.parse_args()
    if arguments.quick and arguments.stage:
        parser.error("--quick and --stage exclude each other")
    names = arguments.stage or (QUICK if arguments.quick else list(STAGES))
    os.makedirs(LOGS, exist_ok=True)
    lock = take_turn()
    if lock is None:
        print("check: another run is at work in this tree; wait for its end", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, interrupt)
    results = {}
    try:
        for name in names:
            results[name] = run_stage(name, arguments.seed)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    return 1 if summarise(results) else 0


if __name__ == "__main__":
    sys.exit(main())
