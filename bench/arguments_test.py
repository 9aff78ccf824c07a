#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Benchmarks say what can be chosen, and refuse what cannot.

    arguments_test.py BENCHMARK...
"""

import subprocess
import sys
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


if __name__ == "__main__":
    PROGRAMS = sys.argv[1:]
    if not PROGRAMS:
        sys.exit(__doc__)
    unittest.main(argv=sys.argv[:1])
