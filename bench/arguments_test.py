#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Benchmarks say what can be chosen, and refuse what cannot.

    arguments_test.py BENCHMARK...
"""

import os
import re
import subprocess
import sys
import tempfile
import unittest

PROGRAMS = []
DEADLINE_S = 60  # Of a benchmark that runs instead.


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


class ArgumentsTest(unittest.TestCase):
    def test_help_tells_the_options_and_runs_nothing(self):
        for program in PROGRAMS:
            with self.subTest(program):
                ended = run(program, "--help")
                self.assertEqual((ended.returncode, ended.stderr), (0, ""))
                lines = ended.stdout.splitlines()
                self.assertEqual(lines[0], f"{program} [OPTION]...")
                for line in lines[1:]:
                    self.assertRegex(line, r"^  --[a-z-]+(=[A-Z]+)? +\S")
                named = {line.split()[0] for line in lines[1:]}
                self.assertTrue({"--json", "--help", "--rounds=N"} <= named, named)

    # With --help beside it: one that took it for nothing would end well, and at once.
    def test_what_is_no_option_is_refused(self):
        for program in PROGRAMS:
            for wrong in ("--no-such-option", "--rounds", "--json=1", "--round=1", "rounds=1", ""):
                with self.subTest((program, wrong)):
                    ended = run(program, "--help", wrong)
                    self.assertEqual((ended.returncode, ended.stdout), (2, ""))
                    self.assertEqual(ended.stderr, f"{program}: there is no {wrong}; see --help\n")

    def options(self, program):
        """What --help tells: (name, what it takes)."""
        return [tuple(line.split()[0][2:].split("=")) for line in
                run(program, "--help").stdout.splitlines()[1:] if "=" in line.split()[0]]

    def assert_refused(self, program, name, value, part, *others):
        ended = run(program, *others, f"--{name}={value}")
        self.assertEqual((ended.returncode, ended.stdout), (2, ""), ended)
        self.assertRegex(ended.stderr, re.escape(f"{program}: --{name}={value}: ") +
                         f".*{part}.*; see --help\n$")

    def test_a_value_that_is_none_is_refused_with_what_can_be(self):
        for program in PROGRAMS:
            for name, kind in self.options(program):
                wrong = {"N": (("", "abc", "0", "-1", "+1", "1.5", "0x10", " 7", "7 ", "1000000001",
                                "99999999999999999999"), "whole numbers, [0-9]+ to 1000000000"),
                         "D": (("", "/no/such/directory", __file__), "a directory that is there")}
                for value in wrong.get(kind, ((), ""))[0]:
                    with self.subTest((program, name, value)):
                        self.assert_refused(program, name, value, wrong[kind][1], "--help")

    def test_a_name_that_is_none_is_refused_with_those_that_are(self):
        for program in PROGRAMS:
            for name, _ in self.options(program):
                if name == "case":
                    listed = [line.split()[0]
                              for line in run(program, "--list").stdout.splitlines()]
                    self.assertGreater(len(listed), 3)
                    for wrong in ("", "typo", listed[0] + "x", listed[0].upper()):
                        self.assert_refused(program, name, wrong, ", ".join(listed), "--help")
                if name == "only":
                    for wrong in ("", "typo"):
                        self.assert_refused(program, name, wrong, "sync, locks, rings", "--help")

    # Sides are known when their cases have run.
    def test_a_side_that_no_case_has_is_refused(self):
        for program in PROGRAMS:
            if os.path.basename(program) == "commit_bench":
                with tempfile.TemporaryDirectory(dir=os.getcwd()) as directory:
                    self.assert_refused(program, "side", "typo", "journal, .*sqlite", "--smoke",
                                        "--case=txn-1", f"--dir={directory}")
                    self.assertEqual(os.listdir(directory), [])

    def test_values_that_do_not_go_together_are_refused(self):
        for program in PROGRAMS:
            if os.path.basename(program) == "pager_bench":
                self.assert_refused(program, "file-mib", "511", "8 times --memory-mib",
                                    "--memory-mib=64")


if __name__ == "__main__":
    PROGRAMS = sys.argv[1:]
    if not PROGRAMS:
        sys.exit(__doc__)
    unittest.main(argv=sys.argv[:1])
