# SPDX-License-Identifier: Apache-2.0
"""quire compare, driven from outside: its document, its errors, and that nothing is left behind."""
import glob
import json
import os
import signal

from command import (DEADLINE_S, MIB, CommandTest, environment, main, run, run_json, start,
                     wait_until)

# What issue readers and scripts rely on.
CELL_KEYS = {"path", "pattern", "state", "durability", "memory_bytes", "median_mib_per_s",
             "median_ops_per_s", "spread", "cpu_s_per_gib", "major_faults", "device_read_bytes",
             "verified_cold", "verified_direct", "engine"}
PATTERNS = {"sequential_read", "random_read", "skewed_read", "sequential_write", "append",
            "random_update"}


def children_of(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(child) for child in file.read().split()]
    except FileNotFoundError:
        return []


def bounds_of(pid):
    return glob.glob(f"/sys/fs/cgroup/**/quire-compare-{pid}-*", recursive=True)


class CompareTest(CommandTest):
    def quick(self, *arguments, **options):
        return run_json("compare", "--size", "1M", "--dir", self.dir, "--quick", *arguments,
                        **options)

    def test_every_cell_has_the_promised_members_and_a_result_or_a_reason(self):
        document = self.quick("--time", "30")
        self.assertEqual(document["errors"], [])
        self.assertIs(document["interrupted"], False)
        self.assertEqual({cell["pattern"] for cell in document["cells"]}, PATTERNS)
        for cell in document["cells"]:
            self.assertLessEqual(CELL_KEYS, set(cell))
            if cell["median_mib_per_s"] is None:
                self.assertTrue(cell["skipped"], cell)
            else:
                self.assertGreater(cell["median_mib_per_s"], 0, cell)
        self.assertGreater(len(document["verdicts"]), 5)
        self.assertEqual(os.listdir(self.dir), [])

    def test_chosen_patterns_and_paths_are_all_there_is(self):
        document = self.quick("--patterns", "random_read,append",
                              "--paths", "mmap_default,read_write_small", "--depth", "4")
        self.assertEqual({cell["pattern"] for cell in document["cells"]}, {"random_read", "append"})
        self.assertEqual({cell["path"] for cell in document["cells"]},
                         {"mmap_default", "read_write_small"})

    def test_a_file_of_the_user_is_read_and_stays_as_it_was(self):
        content = os.urandom(MIB + 17)
        path = self.write("data", content)
        before = os.stat(path)
        document = run_json("compare", path, "--quick", "--time", "30")
        self.assertEqual({cell["pattern"] for cell in document["cells"]},
                         {"sequential_read", "random_read", "skewed_read"})
        with open(path, "rb") as file:
            self.assertEqual(file.read(), content)
        self.assertEqual(os.stat(path).st_mtime_ns, before.st_mtime_ns)
        self.assertEqual(os.stat(path).st_ctime_ns, before.st_ctime_ns)

    def test_a_file_that_may_only_be_read_can_be_compared(self):
        path = self.write("data", os.urandom(MIB))
        os.chmod(path, 0o444)
        document = run_json("compare", path, "--quick", "--time", "30", **self.as_nobody())
        self.assertTrue(any(cell["median_mib_per_s"] for cell in document["cells"]))
        # Who may not write the file is not told what of it is in memory.
        for cell in document["cells"]:
            self.assertIsNone(cell["verified_cold"])

    def test_memory_is_limited_or_the_report_says_why_not(self):
        document = self.quick("--memory", "64M", "--patterns", "sequential_read")
        if document["is_memory_limited"]:
            self.assertIn("memory cgroup", document["memory_limit_method"])
            self.assertEqual({cell["memory_bytes"] for cell in document["cells"]}, {64 * MIB})
        else:
            self.assertTrue(document["memory_limit_method"])

    def test_the_pager_answers_beside_the_others_within_the_same_memory(self):
        document = self.quick("--memory", "64M", "--time", "30",
                              "--paths", "paged,read_write_small,mmap_default")
        paged = [cell for cell in document["cells"] if cell["path"] == "paged"]
        self.assertEqual({cell["pattern"] for cell in paged}, PATTERNS)
        for cell in paged:
            if cell["skipped"]:
                self.assertIn("userfaultfd", cell["skipped"])
                continue
            engine = cell["engine"]
            self.assertIn("paged: ", engine["explain"])
            self.assertIn(engine["fault_path"], ("inline", "handler"))
            self.assertEqual(engine["granule_bytes"], 4096)
            self.assertLess(engine["memory_bytes"], 64 * MIB)
            self.assertLessEqual(engine["memory_taken_bytes_max"], engine["memory_bytes"])
            self.assertGreater(engine["faults"] + engine["reads"] +
                               (cell["state"] == "warm"), 0, cell)
            self.assertIsNot(cell["verified_direct"], False, cell)
        for cell in document["cells"]:
            if cell["path"] != "paged":
                self.assertIsNone(cell["engine"])

    def test_without_rights_the_limit_is_missing_and_said_to_be(self):
        path = self.write("data", os.urandom(MIB))
        document = run_json("compare", path, "--quick", "--memory", "64M", "--patterns",
                            "sequential_read", **self.as_nobody())
        self.assertIs(document["is_memory_limited"], False)
        self.assertTrue(any("memory is not limited" in remark for remark in document["remarks"]))

    def test_the_table_names_every_path_and_the_verdict(self):
        ended = run("compare", "--size", "1M", "--dir", self.dir, "--quick", "--patterns",
                    "random_read", env=environment(COLUMNS="120"))
        self.assertEqual(ended.returncode, 0, ended.stderr)
        text = ended.stdout.decode()
        for piece in ("random 4 KiB reads, cold", "mmap, as it comes", "direct, queued",
                      "paged, as it comes", "=>"):
            self.assertIn(piece, text)

    def test_the_html_report_is_written_whole(self):
        report = self.path("report.html")
        os.mkdir(self.path("scratch"))
        ended = run("compare", "--size", "1M", "--dir", self.path("scratch"), "--quick",
                    "--patterns", "sequential_read", "--html", report)
        self.assertEqual(ended.returncode, 0, ended.stderr)
        self.assertIn(f"report: {report}", ended.stdout.decode())
        with open(report, encoding="utf-8") as file:
            text = file.read()
        self.assertTrue(text.startswith("<!DOCTYPE html>") or text.startswith("<!doctype html>"))
        self.assertIn("</html>", text)
        self.assertEqual(sorted(os.listdir(self.dir)), ["report.html", "scratch"])

    def test_a_report_that_cannot_be_written_is_an_error_before_anything_is_measured(self):
        ended = run("compare", "--size", "1M", "--dir", self.dir, "--html", "/nowhere/report.html")
        self.assert_error(ended, "report.html", "ENOENT")
        self.assertEqual(ended.stdout, b"")

    def test_the_articles_experiment_gives_three_figures_and_the_matrix(self):
        document = self.quick("--articles", "--time", "30")
        self.assertEqual([figure["target"] for figure in document["articles_way"]],
                         ["file", "mapping", "memory"])
        self.assertGreater(len(document["articles_matrix"]), 50)

    def test_a_simulated_disk_gives_the_same_document_twice(self):
        def cells():
            return run_json("compare", "--device-model", "hdd", "--size", "16M", "--patterns",
                            "random_read", "--seed", "7")["cells"]
        first = cells()
        self.assertGreater(len(first), 5)
        self.assertEqual(first, cells())

    # --- Errors ----------------------------------------------------------------------------------

    def test_wrong_use_is_told_with_what_is_right(self):
        for arguments, part in (([], "FILE or --size"),
                                (["x", "--size", "1M"], "FILE or --size"),
                                (["x", "--articles"], "--size"),
                                (["x", "--paths", "mmapped"], "mmap_default"),
                                (["x", "--patterns", "scan"], "sequential_read"),
                                (["x", "--states", "hot"], "cold, warm"),
                                (["x", "--durability", "some"], "each_operation"),
                                (["x", "--device-model", "hdd"], "--device-model"),
                                (["--device-model", "drum"], "drum"),
                                (["x", "--depth", "0"], "--depth"),
                                (["--size", "lots"], "--size")):
            ended = run("compare", *arguments)
            self.assertEqual(ended.returncode, 2, arguments)
            self.assertIn(part, ended.stderr.decode(), arguments)

    def test_what_cannot_be_compared_is_one_line_that_says_why(self):
        for path, part in ((self.path("missing"), "ENOENT"),
                           (self.dir, "a directory"),
                           ("/dev/null", "a character device"),
                           (self.write("empty", b""), "the file is empty"),
                           (self.write("tiny", b"x" * 100), "100 bytes")):
            ended = run("compare", path)
            self.assert_error(ended, part)
            self.assertEqual(len(ended.stderr.splitlines()), 1, ended.stderr)

    def test_an_unreadable_file_and_a_directory_without_rights_are_errors(self):
        path = self.write("secret", os.urandom(MIB))
        os.chmod(path, 0o600)
        nobody = self.as_nobody()
        self.assert_error(run("compare", path, **nobody), "secret", "EACCES")
        self.assert_error(run("compare", "--size", "1M", "--dir", self.dir, **nobody), "EACCES")

    def test_a_scratch_file_without_room_is_refused_at_once(self):
        ended = run("compare", "--size", "512T", "--dir", self.dir)
        self.assert_error(ended, "are free", "--dir")
        self.assertEqual(os.listdir(self.dir), [])

    def test_choices_that_leave_nothing_are_an_error(self):
        path = self.write("data", os.urandom(MIB))
        ended = run("compare", path, "--patterns", "append")
        self.assert_error(ended, "nothing to compare", "--size", code=3)

    # --- Stopping --------------------------------------------------------------------------------

    # The run is in the middle of a round when its worker exists.
    def start_long(self, *arguments, **options):
        process = start("compare", "--size", "8M", "--dir", self.dir, "--memory", "64M", "--time",
                        "600", "--json", *arguments, **options)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        wait_until(lambda: children_of(process.pid), "a round is measured")
        return process

    def test_an_interrupted_run_keeps_what_it_has_and_leaves_nothing(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            process = self.start_long()
            process.send_signal(number)
            out, err = process.communicate(timeout=DEADLINE_S)
            document = json.loads(out)
            self.assertEqual((process.returncode, document["exit_code"]), (1, 1))
            self.assertIs(document["interrupted"], True)
            self.assertIn(b"interrupted after", err)
            self.assertTrue(any(cell["median_mib_per_s"] is None for cell in document["cells"]))
            self.assertEqual(os.listdir(self.dir), [])
            self.assertEqual(bounds_of(process.pid), [])

    def test_ctrl_c_that_reaches_the_worker_too_is_no_error_of_a_cell(self):
        process = self.start_long(start_new_session=True)
        os.killpg(process.pid, signal.SIGINT)
        out, _ = process.communicate(timeout=DEADLINE_S)
        document = json.loads(out)
        self.assertIs(document["interrupted"], True)
        self.assertEqual(document["errors"], [])

    def test_a_killed_run_leaves_no_file_and_no_process_and_the_next_removes_its_cgroup(self):
        process = self.start_long()
        workers = children_of(process.pid)
        process.kill()
        process.communicate(timeout=DEADLINE_S)
        wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in workers),
                   "the worker ends")
        self.assertEqual(os.listdir(self.dir), [])
        self.quick("--memory", "64M", "--patterns", "sequential_read", "--paths", "mmap_default")
        self.assertEqual(bounds_of(process.pid), [])

    def test_a_worker_that_is_killed_is_the_error_of_its_cell(self):
        process = self.start_long("--patterns", "sequential_read")
        for worker in children_of(process.pid):
            os.kill(worker, signal.SIGKILL)
        wait_until(lambda: children_of(process.pid), "the next round is measured")
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=DEADLINE_S)
        document = json.loads(out)
        failed = [cell for cell in document["cells"] if cell["error"]]
        self.assertLessEqual(len(failed), 1)
        for cell in failed:
            self.assertIn("SIGKILL", json.dumps(cell["error"]))


if __name__ == "__main__":
    main()
