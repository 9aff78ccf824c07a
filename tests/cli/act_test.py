# SPDX-License-Identifier: Apache-2.0
"""warm, evict, lock, save, restore: what they say they did is what mincore(2) then sees."""
import json
import mmap
import os
import re
import resource
import signal
import subprocess
import sys

from command import (MIB, PAGE_BYTES, CommandTest, drop, main, resident_pages, run, run_json, start,
                     wait_until)


def status_bytes(pid, field):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        match = re.search(rf"(?m)^{field}:\s+(\d+) kB", file.read())
    return int(match.group(1)) * 1024


class WarmTest(CommandTest):
    def test_a_cold_file_is_resident_afterwards_and_the_report_says_so(self):
        size = 16 * MIB + 5
        path = self.write_cold("file", size)
        document = run_json("warm", path)
        self.assertTrue(all(resident_pages(path)))
        found = document["files"][0]
        self.assertEqual(found["path"], path)
        self.assertEqual(found["size_bytes"], size)
        self.assertIs(found["resident_known"], True)
        self.assertEqual(found["resident_bytes_before"], 0)
        self.assertEqual(found["resident_bytes_after"], size)
        self.assertEqual(found["read_bytes"], size)
        self.assertEqual(found["left_out_bytes"], 0)
        self.assertEqual(found["stopped"], "done")
        self.assertEqual(document["totals"]["files"], 1)
        self.assertEqual(document["totals"]["resident_bytes_after"], size)
        self.assertIn(b"nothing to read", run("warm", path).stdout)

    def test_a_tree_of_small_files_is_warmed_and_counted_file_by_file(self):
        sizes = {self.path(f"f{index}"): index * 700 for index in range(300)}
        for path, size in sizes.items():
            with open(path, "wb") as file:
                file.write(b"x" * size)
        for path in sizes:
            wait_until(lambda path=path: drop(path), "the file leaves the page cache")
        document = run_json("warm", self.dir)
        self.assertEqual({f["path"]: f["resident_bytes_after"] for f in document["files"]}, sizes)
        self.assertEqual(document["totals"]["resident_bytes_before"], 0)
        self.assertEqual(document["totals"]["read_bytes"], sum(sizes.values()))
        for path in sizes:
            self.assertTrue(all(resident_pages(path)), path)

    def test_holes_are_not_read_and_counted_as_such(self):
        path = self.write("file", b"")
        os.truncate(path, 64 * MIB)
        found = run_json("warm", path)["files"][0]
        self.assertEqual(found["hole_bytes"], 64 * MIB)
        self.assertEqual(found["read_bytes"], 0)

    def test_only_the_named_files_are_touched(self):
        named = self.write_cold("named", MIB)
        other = self.write_cold("other", MIB)
        self.assertEqual(run("warm", named).returncode, 0)
        self.assertFalse(any(resident_pages(other)))

    def test_who_may_only_read_is_told_that_the_result_is_unknown(self):
        path = self.write("file", b"x" * MIB)
        document = run_json("warm", path, **self.as_nobody())
        self.assertIs(document["files"][0]["resident_known"], False)
        self.assertIsNone(document["files"][0]["resident_bytes_after"])
        self.assertEqual(document["totals"]["unknown_files"], 1)
        self.assertEqual(document["exit_code"], 0)

    # Goal:   warming stops where the memory ends that can be had without reclaim, and says whose.
    # Method: the command in a cgroup with a limit far below the file's size, and above what a
    #         sanitizer takes.
    def test_a_memory_limit_ends_it_with_the_name_of_the_limit(self):
        self.need_root()
        group = "/sys/fs/cgroup/memory/quire-cli-test"
        if not os.path.exists("/sys/fs/cgroup/memory/memory.limit_in_bytes"):
            self.skipTest("cgroup v1 memory controller: not mounted")
        os.makedirs(group, exist_ok=True)
        self.addCleanup(os.rmdir, group)
        with open(f"{group}/memory.limit_in_bytes", "w", encoding="ascii") as file:
            file.write(str(128 * MIB))
        path = self.write_cold("file", 256 * MIB)

        def enter():
            with open(f"{group}/cgroup.procs", "w", encoding="ascii") as file:
                file.write("0")

        self.addCleanup(drop, path)
        document = run_json("warm", path, preexec_fn=enter)
        self.assertEqual(document["exit_code"], 1)
        found = document["files"][0]
        self.assertEqual(found["stopped"], "memory")
        self.assertGreater(found["left_out_bytes"], 128 * MIB)
        self.assertIn("quire-cli-test", document["errors"][0]["cause"])
        self.assertIn("--allow-reclaim", document["errors"][0]["remedy"])
        with open(f"{group}/memory.failcnt", encoding="ascii") as file:
            self.assertEqual(file.read().strip(), "0")
        allowed = run_json("warm", "--allow-reclaim", path, preexec_fn=enter)
        self.assertEqual(allowed["files"][0]["left_out_bytes"], 0)


class EvictTest(CommandTest):
    def test_a_file_is_gone_afterwards_also_when_it_was_dirty(self):
        content = os.urandom(8 * MIB + 3)
        path = self.write("file", content)
        document = run_json("evict", path)
        self.assertFalse(any(resident_pages(path)))
        found = document["files"][0]
        self.assertEqual(found["path"], path)
        self.assertEqual(found["resident_bytes_before"], len(content))
        self.assertEqual(found["resident_bytes_after"], 0)
        self.assertEqual(found["remaining"], [])
        with open(path, "rb") as file:
            self.assertEqual(file.read(), content)

    def test_only_the_named_files_are_touched(self):
        named = self.write("named", b"x" * MIB)
        other = self.write("other", b"x" * MIB)
        self.assertEqual(run("evict", named).returncode, 0)
        self.assertTrue(all(resident_pages(other)))

    # Goal:   what another process holds stays, and the report names the process and the reason.
    # Method: this very process maps the file and touches it, or locks it.
    def test_what_is_mapped_or_locked_stays_with_its_reason_and_process(self):
        path = self.write("file", b"x" * MIB)
        with open(path, "r+b") as file:
            os.fsync(file.fileno())
            with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapping:
                sum(mapping[offset] for offset in range(0, MIB, PAGE_BYTES))
                document = run_json("evict", path)
                text = run("evict", path)
                gentle = run("evict", "--best-effort", path)
        self.assertEqual(document["exit_code"], 1)
        found = document["files"][0]
        self.assertEqual(found["resident_bytes_after"], sum(k["bytes"] for k in found["remaining"]))
        reasons = {kept["reason"]: kept for kept in found["remaining"]}
        self.assertIn(os.getpid(), [user["pid"] for user in reasons["mapped"]["processes"]])
        self.assertTrue(reasons["mapped"]["processes"][0]["name"])
        self.assertIn(f"mapped by process {os.getpid()}".encode(), text.stdout)
        self.assertEqual((text.returncode, gentle.returncode), (1, 0))
        self.assertEqual(run("evict", path).returncode, 0)

    def test_a_lock_of_ours_is_given_as_the_reason(self):
        path = self.write("file", b"x" * MIB)
        holder = start("lock", path)
        holder.stdout.readline()
        found = run_json("evict", path)["files"][0]
        holder.send_signal(signal.SIGINT)
        holder.communicate()
        reasons = {kept["reason"]: kept for kept in found["remaining"]}
        self.assertIn("locked", reasons)
        self.assertEqual(reasons["locked"]["processes"][0], {"pid": holder.pid, "name": "quire"})

    def test_a_memory_file_system_cannot_be_evicted_and_says_so(self):
        if not os.access("/dev/shm", os.W_OK):
            self.skipTest("/dev/shm: not writable")
        path = f"/dev/shm/quire-cli-{os.getpid()}"
        with open(path, "wb") as file:
            file.write(b"x" * MIB)
        self.addCleanup(os.unlink, path)
        document = run_json("evict", path)
        self.assertEqual([k["reason"] for k in document["files"][0]["remaining"]],
                         ["not_evictable"])
        self.assertEqual(document["exit_code"], 1)


class LockTest(CommandTest):
    def test_pages_are_locked_while_it_runs_and_free_afterwards(self):
        path = self.write_cold("file", 4 * MIB)
        holder = start("lock", path)
        line = holder.stdout.readline()
        self.assertIn(b"locked 4.0 MiB in 1 file until Ctrl-C", line)
        self.assertEqual(status_bytes(holder.pid, "VmLck"), 4 * MIB)
        self.assertTrue(all(resident_pages(path)))
        self.assertFalse(drop(path))
        holder.send_signal(signal.SIGINT)
        out, err = holder.communicate()
        self.assertEqual((holder.returncode, out, err), (0, b"released\n", b""))
        wait_until(lambda: drop(path), "the file can leave the page cache")

    def test_the_document_is_readable_while_the_lock_holds_and_whole_at_the_end(self):
        path = self.write("file", b"x" * MIB)
        holder = start("lock", "--json", path)
        start_of_document = b""
        while b"locked_bytes" not in start_of_document:
            start_of_document += os.read(holder.stdout.fileno(), 4096)
        self.assertIn(os.fsencode(path), start_of_document)
        holder.send_signal(signal.SIGTERM)
        out, _ = holder.communicate()
        document = json.loads(start_of_document + out)
        self.assertEqual(document["locked_bytes"], MIB)
        self.assertEqual(document["ended_by"], "signal")
        self.assertEqual(document["files"], [{"path": path, "size_bytes": MIB, "locked": True}])
        self.assertEqual(holder.returncode, 0)

    def test_it_ends_by_itself_after_the_time_it_was_given(self):
        document = run_json("lock", "--seconds", "0", self.write("file", b"x"))
        self.assertEqual(document["ended_by"], "time")

    def test_a_limit_is_named_before_anything_is_locked(self):
        path = self.write("file", b"x" * MIB)
        os.chmod(path, 0o666)
        options = self.as_nobody()

        def limit():
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))

        # The limit is set by root, before the user changes.
        ended = run("lock", path, preexec_fn=limit, **options)
        self.assert_error(ended, "lock(1.0 MiB)", "64.0 KiB", "RLIMIT_MEMLOCK")
        self.assertEqual(ended.stdout, b"")

    def test_one_bad_path_locks_nothing(self):
        ended = run("lock", self.write("file"), self.path("missing"))
        self.assert_error(ended, "ENOENT", "nothing stays locked")
        self.assertNotIn(b"locked", ended.stdout)


class SaveRestoreTest(CommandTest):
    def setUp(self):
        super().setUp()
        self.snapshot = self.path("snapshot.quire")
        os.mkdir(self.path("data"))

    def test_a_round_brings_back_exactly_what_was_there(self):
        size = 8 * MIB
        path = self.write_cold("data/file", size)
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            for page in range(100, 400, 2):
                os.pread(file.fileno(), 1, page * PAGE_BYTES)
        before = resident_pages(path)
        self.assertTrue(any(before) and not all(before))
        saved = run_json("save", self.path("data"), "-o", self.snapshot)
        self.assertEqual(saved["snapshot"]["path"], self.snapshot)
        self.assertEqual(saved["snapshot"]["files"], 1)
        self.assertEqual(saved["snapshot"]["resident_bytes"], sum(before) * PAGE_BYTES)
        wait_until(lambda: drop(path), "the file leaves the page cache")
        restored = run_json("restore", self.snapshot)
        self.assertEqual(restored["exit_code"], 0)
        found = restored["files"][0]
        self.assertEqual((found["path"], found["restored"], found["why_not"]), (path, True, None))
        self.assertEqual(found["saved_bytes"], sum(before) * PAGE_BYTES)
        self.assertEqual(found["resident_bytes_after"], found["saved_bytes"])
        after = resident_pages(path)
        self.assertTrue(all(now for was, now in zip(before, after) if was))
        self.assertLess(sum(after), len(after))

    def test_it_works_from_another_directory(self):
        self.write("data/file", b"x" * 5000)
        self.assertEqual(run("save", "data", "-o", "snapshot.quire", cwd=self.dir).returncode, 0)
        document = run_json("restore", self.snapshot, cwd="/")
        self.assertEqual(document["totals"]["restored_files"], 1)

    def test_changed_and_missing_files_are_skipped_and_named(self):
        for name in ("same", "longer", "touched", "gone", "replaced"):
            self.write(f"data/{name}", b"x" * 5000)
        self.assertEqual(run("save", self.path("data"), "-o", self.snapshot).returncode, 0)
        self.write("data/longer", b"x" * 6000)
        os.utime(self.path("data/touched"), (1, 1))
        os.unlink(self.path("data/gone"))
        os.unlink(self.path("data/replaced"))
        os.mkfifo(self.path("data/replaced"))
        document = run_json("restore", self.snapshot)
        reasons = {os.path.basename(f["path"]): f["why_not"] for f in document["files"]}
        self.assertIsNone(reasons.pop("same"))
        self.assertEqual(set(reasons), {"longer", "touched", "gone", "replaced"})
        self.assertTrue(all(reasons.values()), reasons)
        self.assertEqual(document["totals"]["skipped_files"], 4)
        self.assertEqual(len(document["notes"]), 4)
        self.assertEqual(document["exit_code"], 0)
        ended = run("restore", self.snapshot)
        self.assertIn(b"skipped 4 files that changed or went", ended.stdout)

    def test_a_file_name_that_is_not_utf8_survives_the_round(self):
        path = os.path.join(os.fsencode(self.dir), b"data/\xff\n")
        with open(path, "wb") as file:
            file.write(b"x")
        self.assertEqual(run("save", self.path("data"), "-o", self.snapshot).returncode, 0)
        self.assertEqual(run_json("restore", self.snapshot)["totals"]["restored_files"], 1)

    def test_the_snapshot_is_not_part_of_itself(self):
        self.write("file")
        inside = self.path("inside.quire")
        self.assertEqual(run("save", self.dir, "-o", inside).returncode, 0)
        with open(inside, "rb") as file:
            self.assertNotIn(b"inside", file.read())

    def test_snapshots_that_are_not_whole_are_refused_and_nothing_is_read(self):
        path = self.write("data/file", b"x" * 5000)
        self.assertEqual(run("save", self.path("data"), "-o", self.snapshot).returncode, 0)
        with open(self.snapshot, "rb") as file:
            good = file.read()
        wait_until(lambda: drop(path), "the file leaves the page cache")
        for name, bad in (("cut", good[:-1]), ("cut more", good[:len(good) // 2]), ("empty", b""),
                          ("edited", good.replace(b"5000", b"5001", 1)),
                          ("longer", good + b"x"), ("other", os.urandom(10_000)),
                          ("text", b"hello\n"), ("deep", b"[" * 100_000)):
            ended = run("restore", self.write("bad", bad))
            self.assert_error(ended, "restore(")
            self.assertEqual(ended.stdout, b"", name)
            self.assertFalse(any(resident_pages(path)), name)

    def test_a_snapshot_of_the_future_says_that_it_is_newer(self):
        future = self.write("future", b'{"quire_snapshot":9}\n{"files":0,"xxh3":"0"}\n')
        document = run_json("restore", future)
        self.assertEqual(document["errors"][0]["code"], "newer_version")

    def test_what_is_no_snapshot_file_is_refused(self):
        os.mkfifo(self.path("fifo"))
        for path, part in ((self.path("fifo"), "a pipe"), (self.dir, "a directory"),
                           (self.path("missing"), "ENOENT"), ("/dev/zero", "a character device")):
            self.assert_error(run("restore", path), part)

    def test_saving_replaces_regular_files_only_and_links_stay_links(self):
        self.write("data/file")
        old = self.write("old", b"old")
        os.symlink("old", self.path("link"))
        self.assertEqual(run("save", self.path("data"), "-o", self.path("link")).returncode, 0)
        self.assertTrue(os.path.islink(self.path("link")))
        with open(old, "rb") as file:
            self.assertIn(b"quire_snapshot", file.read())
        os.mkfifo(self.path("fifo"))
        for target, part in (("/dev/null", "a character device"), (self.path("fifo"), "a pipe"),
                             (self.dir, "a directory"),
                             (self.path("missing/file"), "ENOENT")):
            self.assert_error(run("save", self.path("data"), "-o", target), part)
        self.assertTrue(os.path.exists("/dev/null"))

    def test_a_failed_save_leaves_the_old_snapshot_and_no_other_file(self):
        self.write("data/file")
        old = self.write("snapshot.quire", b"old")

        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))

        self.assert_error(run("save", self.path("data"), "-o", old, preexec_fn=limit), "EFBIG")
        with open(old, "rb") as file:
            self.assertEqual(file.read(), b"old")
        self.assertEqual(sorted(os.listdir(self.dir)), ["data", "snapshot.quire"])

    def test_a_file_whose_residency_is_hidden_is_not_possible_to_save(self):
        self.write("data/file", b"x" * 5000)
        as_nobody = self.as_nobody()
        os.mkdir(self.path("theirs"))
        os.chmod(self.path("theirs"), 0o777)
        ended = run("save", self.path("data"), "-o", self.path("theirs/s"), **as_nobody)
        self.assert_error(ended, "save(", "owner", code=3)


class SmallestTest(CommandTest):
    def test_every_verb_takes_an_empty_file_and_an_empty_directory(self):
        os.mkdir(self.path("empty"))
        for target in (self.write("file", b""), self.path("empty")):
            for verb in (["map"], ["warm"], ["evict"], ["lock", "--seconds", "0"],
                         ["save", "-o", self.path("s")]):
                ended = run(*verb, target)
                self.assertEqual((ended.returncode, ended.stderr), (0, b""), (verb, target))
            self.assertEqual(run("restore", self.path("s")).returncode, 0)


if __name__ == "__main__":
    main()
