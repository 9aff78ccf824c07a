#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The scripts in tools/ keep their word: a hang leaves evidence, packages are installed once and
only when missing, tests are counted as what they are, and clang-tidy looks again when it must."""

import json
import os
import stat
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOLS = os.path.join(ROOT, "tools")
sys.dont_write_bytecode = True
sys.path.insert(0, TOOLS)

# pylint: disable=wrong-import-position
import check
import run_clang_tidy


def run(*command, **options):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          stdin=subprocess.DEVNULL, check=False, **options)


def is_alive(pid):
    """Running, and not merely waiting to be reaped."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def write_program(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write("#!/bin/bash\n" + text)
    os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


class WithTimeoutTest(unittest.TestCase):
    def limit(self, *arguments):
        return run(sys.executable, os.path.join(TOOLS, "with_timeout.py"), *arguments)

    def test_the_exit_code_is_the_commands_own(self):
        self.assertEqual(self.limit("60", "true").returncode, 0)
        self.assertEqual(self.limit("60", "bash", "-c", "exit 7").returncode, 7)
        self.assertEqual(self.limit("60", "bash", "-c", "kill -TERM $$").returncode, 128 + 15)
        self.assertEqual(self.limit("60", "./no-such-program").returncode, 127)

    def test_wrong_use_is_said(self):
        self.assertEqual(self.limit("60").returncode, 2)
        self.assertEqual(self.limit("soon", "true").returncode, 2)

    def test_a_hang_shows_the_whole_tree_and_leaves_nothing_behind(self):
        # The grandchild has left the process group: killing the group alone would miss it.
        with tempfile.TemporaryDirectory() as folder:
            pid_file = os.path.join(folder, "pid")
            script = f"setsid bash -c 'echo $$ > {pid_file}; exec sleep 86399' & sleep 86398"
            ended = self.limit("3", "bash", "-c", script)
            with open(pid_file, encoding="utf-8") as file:
                pid = int(file.read())
        self.assertEqual(ended.returncode, 124)
        self.assertIn("hang: no end after 3 s", ended.stdout)
        self.assertIn("sleep 86398", ended.stdout)
        self.assertIn("sleep 86399", ended.stdout)
        self.assertFalse(is_alive(pid))


class InstallPackagesTest(unittest.TestCase):
    """apt-get and dpkg-query are small scripts that note what they are asked."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        os.chmod(self.folder.name, 0o755)
        self.calls = os.path.join(self.folder.name, "calls")
        self.bin = os.path.join(self.folder.name, "bin")
        os.mkdir(self.bin)
        # dpkg-query --show --showformat=... PACKAGE
        self.dpkg = '[[ " $MISSING " == *" $3 "* ]] && exit 1; printf installed\n'
        write_program(os.path.join(self.bin, "dpkg-query"), self.dpkg)
        self.answer_with(0)

    def answer_with(self, code):
        write_program(os.path.join(self.bin, "apt-get"),
                      f'echo "$*" >> {self.calls}; echo "E: no network"; exit {code}\n')

    def install(self, *groups, missing="", prefix=()):
        environment = {**os.environ, "PATH": f"{self.bin}:/usr/bin:/bin", "MISSING": missing}
        return run(*prefix, os.path.join(TOOLS, "install_packages.sh"), *groups, env=environment)

    def asked(self):
        if not os.path.exists(self.calls):
            return []
        with open(self.calls, encoding="utf-8") as file:
            return file.read().splitlines()

    def test_nothing_missing_asks_nothing(self):
        ended = self.install("build", "test", "bench")
        self.assertEqual((ended.returncode, self.asked()), (0, []))

    def test_a_listing_installs_nothing(self):
        ended = self.install("--list", "build", "test", missing="ccache gdb")
        self.assertEqual((ended.stdout.split(), self.asked()), (["ccache", "gdb"], []))

    def test_what_another_package_provides_is_not_missing(self):
        provides = "[[ -z $3 ]] && printf 'installed, node-x (= 1), npm,\\n' && exit\n"
        write_program(os.path.join(self.bin, "dpkg-query"), provides + self.dpkg)
        ended = self.install("--list", "test", missing="nodejs npm")
        self.assertEqual((ended.stdout.split(), self.asked()), (["nodejs"], []))

    def test_an_unknown_group_is_an_error(self):
        self.assertEqual(self.install("builds").returncode, 1)
        self.assertEqual(self.install().returncode, 1)

    @unittest.skipIf(os.geteuid() != 0, "install_packages: needs root")
    def test_what_is_missing_is_installed_in_one_go(self):
        ended = self.install("build", missing="ccache cmake gdb")
        self.assertEqual(ended.returncode, 0, ended.stdout)
        self.assertEqual(len(self.asked()), 2)
        self.assertTrue(self.asked()[0].endswith("update"))
        self.assertTrue(self.asked()[1].endswith("install --no-install-recommends cmake ccache"))

    @unittest.skipIf(os.geteuid() != 0, "install_packages: needs root")
    def test_a_failing_apt_get_is_quoted(self):
        self.answer_with(100)
        ended = self.install("build", missing="cmake")
        self.assertEqual(ended.returncode, 1)
        self.assertIn("E: no network", ended.stdout)
        self.assertEqual(len(self.asked()), 1)

    @unittest.skipIf(os.geteuid() != 0, "install_packages: needs root to become somebody else")
    def test_without_root_and_sudo_it_says_what_to_do(self):
        write_program(os.path.join(self.bin, "sudo"), "exit 1\n")
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        tools = os.path.join(self.folder.name, "tools")
        os.mkdir(tools)
        for name in ("install_packages.sh", "packages.txt"):
            run("install", "-m", "755", os.path.join(TOOLS, name), tools)
        environment = {"PATH": f"{self.bin}:/usr/bin:/bin", "MISSING": "cmake"}
        ended = run(*nobody, os.path.join(tools, "install_packages.sh"), "build", env=environment)
        self.assertEqual(ended.returncode, 1)
        self.assertIn("apt-get install cmake", ended.stdout)
        self.assertEqual(self.asked(), [])


class CountTest(unittest.TestCase):
    """check.py counts what CTest reports."""

    def count(self, status, output="", message=None):
        case = ElementTree.Element("testcase", name="T", status=status)
        if message is not None:
            ElementTree.SubElement(case, "skipped", message=message)
        ElementTree.SubElement(case, "system-out").text = output
        tally = check.Tally()
        has_failed = not check.count_case(tally, case)
        return tally.passed, has_failed, tally.skips

    def test_a_run_passes_and_a_failure_fails(self):
        self.assertEqual(self.count("run"), (1, False, []))
        self.assertEqual(self.count("fail"), (0, True, []))

    def test_a_skip_gives_its_reason(self):
        text = "[ RUN      ] T\n/a/b.cc:12: Skipped\nuserfaultfd: EPERM\n[  SKIPPED ] T (0 ms)\n"
        self.assertEqual(self.count("notrun", text, "SKIP_REGULAR_EXPRESSION_MATCHED"),
                         (0, False, [("T", "userfaultfd: EPERM")]))
        self.assertEqual(self.count("notrun", "no loop device\n\n", "SKIP_RETURN_CODE=77"),
                         (0, False, [("T", "no loop device")]))

    def test_a_test_that_failed_before_it_skipped_has_failed(self):
        text = "x.cc:1: Failure\nx.cc:2: Skipped\nlater\n[  SKIPPED ] T\n[  FAILED  ] T\n"
        self.assertEqual(self.count("notrun", text, "SKIP_REGULAR_EXPRESSION_MATCHED"),
                         (0, True, []))

    def test_a_test_whose_program_is_missing_has_failed(self):
        self.assertEqual(self.count("notrun", "", "Unable to find executable"), (0, True, []))

    def test_a_disabled_test_is_a_skip(self):
        self.assertEqual(self.count("disabled"), (0, False, [("T", "disabled")]))

    def test_skips_inside_a_passing_unittest_are_seen(self):
        text = "test_a (m.C.test_a) ... skipped 'fuse: absent'\ntest_b (m.C.test_b) ... ok\n"
        self.assertEqual(self.count("run", text), (1, False, [("T", "fuse: absent")]))

    def test_skips_of_one_program_for_one_reason_are_one_line(self):
        skips = [("asan", "a_test/X.One", "fork"), ("asan", "a_test/X.Two", "fork"),
                 ("asan", "b_test/Y.One", "fork"), ("tsan", "a_test/X.One", "fork"),
                 ("tsan", "cli/map", "root")]
        self.assertEqual(list(check.group_skips(skips)),
                         ["asan: 2 tests of a_test: fork", "asan: b_test/Y.One: fork",
                          "tsan: a_test/X.One: fork", "tsan: cli/map: root"])


class SecondAttemptTest(unittest.TestCase):
    """A failed assertion may pass when the test is run again, alone; nothing else may."""

    ASSERTION = "x.cc:7: Failure\nno room\n[  FAILED  ] T\n"

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.addCleanup(setattr, check, "LOGS", check.LOGS)
        check.LOGS = self.folder.name

    def tally(self, first, again):
        """Of a stage whose tests end as `first` says, {name: output}, and then as `again` does."""
        attempts = []

        def run_tests(command, _):
            attempts.append(command)
            if "-R" not in command:
                return 1, [self.case(name, output) for name, output in first.items()]
            name = command[-1].strip("^$").replace("\\", "")
            return 0, [self.case(name, again[name])]
        stage = check.Stage("s")
        self.addCleanup(stage.log.close)
        stage.run_tests = run_tests
        stage.test("p")
        return stage.tally, len(attempts)

    @staticmethod
    def case(name, output):
        case = ElementTree.Element("testcase", name=name, status="fail" if output else "run")
        if output:
            ElementTree.SubElement(case, "failure", message="Failed")
        ElementTree.SubElement(case, "system-out").text = output
        return case

    def test_what_passes_the_second_time_is_unsteady(self):
        tally, _ = self.tally({"a": "", "b.c": self.ASSERTION}, {"b.c": ""})
        self.assertEqual((tally.passed, tally.failed), (2, 0))
        self.assertEqual(tally.unsteady, ["b.c: Failed\n    | x.cc:7: Failure\n    | no room\n"
                                          "    | [  FAILED  ] T"])

    def test_what_fails_twice_has_failed(self):
        tally, _ = self.tally({"a": self.ASSERTION, "b": self.ASSERTION},
                              {"a": self.ASSERTION, "b": ""})
        self.assertEqual((tally.passed, tally.failed, len(tally.unsteady)), (1, 1, 1))

    def test_crashes_hangs_reports_and_many_failures_have_one_attempt(self):
        report = self.ASSERTION + "ERROR: AddressSanitizer: heap-use-after-free\n"
        for first in ({"a": "killed by signal 11"}, {"a": "hang: stacks of all threads"},
                      {"a": report}, {str(n): self.ASSERTION for n in range(4)}):
            tally, attempts = self.tally(first, {name: "" for name in first})
            self.assertEqual((tally.failed, attempts), (len(first), 1), first)


class TurnTest(unittest.TestCase):
    """Two runs of ./check in one tree would overwrite each other's builds and logs."""

    def test_only_one_run_has_its_turn(self):
        with tempfile.TemporaryDirectory() as folder:
            self.addCleanup(setattr, check, "LOGS", check.LOGS)
            check.LOGS = folder
            first = check.take_turn()
            self.assertIsNotNone(first)
            self.assertIsNone(check.take_turn())
            first.close()
            second = check.take_turn()
            self.assertIsNotNone(second)
            second.close()


class ClangTidyCacheTest(unittest.TestCase):
    """A clean file is looked at again exactly when the answer could change."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = os.path.realpath(folder.name)
        self.addCleanup(setattr, run_clang_tidy, "ROOT", run_clang_tidy.ROOT)
        run_clang_tidy.ROOT = self.root
        self.write("quire/base/a.cc", '#include "quire/base/a.h"\n')
        self.write("quire/base/a.h", '#include "quire/base/b.h"\n')
        self.write("quire/base/b.h", "\n")
        self.write("quire/base/c.h", "\n")
        self.write(".clang-tidy", "Checks: x\n")
        self.command = "g++ -c a.cc"

    def write(self, path, text):
        full = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(text)

    def fingerprint(self, version="19"):
        run_clang_tidy.read.cache_clear()
        run_clang_tidy.includes.cache_clear()
        path = os.path.join(self.root, "quire/base/a.cc")
        return run_clang_tidy.fingerprint({"command": self.command, "file": path}, version)

    def test_nothing_changed_nothing_to_do(self):
        self.assertEqual(self.fingerprint(), self.fingerprint())

    def test_an_unrelated_header_changes_nothing(self):
        before = self.fingerprint()
        self.write("quire/base/c.h", "int c;\n")
        self.assertEqual(self.fingerprint(), before)

    def test_every_cause_of_another_answer_is_seen(self):
        for path in ("quire/base/a.cc", "quire/base/a.h", "quire/base/b.h", ".clang-tidy"):
            with self.subTest(path):
                before = self.fingerprint()
                with open(os.path.join(self.root, path), "a", encoding="utf-8") as file:
                    file.write("// more\n")
                self.assertNotEqual(self.fingerprint(), before)
        before = self.fingerprint()
        self.assertNotEqual(self.fingerprint(version="20"), before)
        self.command += " -O2"
        self.assertNotEqual(self.fingerprint(), before)

    def test_a_finding_is_not_remembered_as_clean(self):
        marker, mark = os.path.join(self.root, "ran"), os.path.join(self.root, "mark")
        program = os.path.join(self.root, "clang-tidy")
        entry = {"file": os.path.join(self.root, "quire/base/a.cc")}
        write_program(program, f"echo x >> {marker}; echo 'a.cc:1: error: bad'; exit 1\n")
        self.assertIn("error: bad", run_clang_tidy.examine(program, self.root, entry, mark))
        self.assertFalse(os.path.exists(mark))
        write_program(program, "echo '12 warnings generated.'\n")
        self.assertEqual(run_clang_tidy.examine(program, self.root, entry, mark), "")
        self.assertTrue(os.path.exists(mark))

    def test_the_end_names_each_finding_once(self):
        header = f"{self.root}/a.h:1:2: error: bad [some-check]"
        texts = [f"{header}\n  1 | int a;\n", "",
                 f"{header}\n{self.root}/b.cc:3:4: warning: poor [x]\n",
                 "c.cc: clang-tidy ended with 139"]
        self.assertEqual(run_clang_tidy.summarise(texts),
                         ["a.h:1:2: error: bad [some-check]", "b.cc:3:4: warning: poor [x]",
                          "c.cc: clang-tidy ended with 139"])
        self.assertEqual(run_clang_tidy.summarise([""]), [])
        many = [f"a.cc:{line}:1: error: bad" for line in range(1, 101)]
        shown = run_clang_tidy.FINDINGS_SHOWN_MAX
        self.assertEqual(run_clang_tidy.summarise(["\n".join(many)]),
                         [*many[:shown], f"... and {100 - shown} more, above"])

    def test_only_sources_of_the_tree_are_looked_at(self):
        build = os.path.join(self.root, "build")
        self.write("build/compile_commands.json", json.dumps([
            {"directory": build, "file": "../quire/base/a.cc", "command": "c"},
            {"directory": build, "file": "generated.cc", "command": "c"},
            {"directory": build, "file": "/usr/src/other.cc", "command": "c"}]))
        files = [entry["file"] for entry in run_clang_tidy.load(build, [])]
        self.assertEqual(files, [os.path.join(self.root, "quire/base/a.cc")])
        self.assertEqual(run_clang_tidy.load(build, ["nothing"]), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
