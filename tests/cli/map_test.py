# SPDX-License-Identifier: Apache-2.0
"""quire map: what it says is in memory is what mincore(2) sees, and any tree can be walked."""
import mmap
import os
import resource
import shutil
import socket
import subprocess
import sys
import threading

from command import (COMMAND, MIB, PAGE_BYTES, CommandTest, drop, environment, main,
                     resident_pages, run, run_json, start)


def extents_of(pages, size):
    """Runs of resident pages as the document writes them."""
    extents = []
    for index, is_resident in enumerate(pages):
        if not is_resident:
            continue
        offset = index * PAGE_BYTES
        length = min(PAGE_BYTES, size - offset)
        if extents and extents[-1]["offset_bytes"] + extents[-1]["length_bytes"] == offset:
            extents[-1]["length_bytes"] += length
        else:
            extents.append({"offset_bytes": offset, "length_bytes": length})
    return extents


def touch_pages(path, pages):
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        for page in pages:
            os.pread(file.fileno(), 1, page * PAGE_BYTES)


class FileTest(CommandTest):
    def only_file(self, *arguments, **options):
        document = run_json("map", *arguments, **options)
        self.assertEqual(len(document["files"]), 1, document)
        return document["files"][0]

    def test_the_document_says_what_mincore_sees(self):
        size = 4 * MIB + 100
        path = self.write_cold("file", size)
        touch_pages(path, [0, 1, 500, 1024])
        pages = resident_pages(path)
        self.assertTrue(any(pages) and not all(pages))
        found = self.only_file(path)
        expected = extents_of(pages, size)
        self.assertEqual(found["path"], path)
        self.assertEqual(found["size_bytes"], size)
        self.assertEqual(found["extents"], expected)
        self.assertEqual(found["resident_bytes"], sum(e["length_bytes"] for e in expected))
        self.assertIs(found["resident_known"], True)
        self.assertIs(found["extents_complete"], True)
        self.assertEqual(found["dirty_bytes"], 0)
        self.assertEqual(found["writeback_bytes"], 0)

    def test_fincore_agrees(self):
        if shutil.which("fincore") is None:
            self.skipTest("fincore: not installed")
        path = self.write_cold("file", MIB)
        touch_pages(path, range(0, 256, 3))
        output = subprocess.run(["fincore", "--bytes", "--noheadings", "-o", "RES", path],
                                capture_output=True, check=True).stdout
        self.assertEqual(self.only_file(path)["resident_bytes"], int(output))

    def test_a_fresh_write_is_dirty_until_it_is_synced(self):
        path = self.write("file", b"x" * MIB)
        found = self.only_file(path)
        self.assertEqual(found["resident_bytes"], MIB)
        self.assertLessEqual(found["dirty_bytes"] + found["writeback_bytes"], MIB)
        with open(path, "rb") as file:
            os.fsync(file.fileno())
        self.assertEqual(self.only_file(path)["dirty_bytes"], 0)

    def test_an_empty_file_has_nothing_and_is_known(self):
        path = self.write("file", b"")
        found = self.only_file(path)
        self.assertEqual((found["size_bytes"], found["resident_bytes"], found["resident_known"],
                          found["extents"]), (0, 0, True, []))
        self.assertIn(b"empty", run("map", path).stdout)

    def test_a_huge_sparse_file_is_answered_at_once(self):
        path = self.write("file", b"")
        os.truncate(path, 1 << 43)  # 8 TiB: 2^31 pages, which nothing may walk one by one.
        with open(path, "r+b") as file:
            file.seek(1 << 42)
            file.write(b"x")
        found = self.only_file(path)
        self.assertEqual(found["size_bytes"], 1 << 43)
        self.assertLess(found["resident_bytes"], MIB)
        self.assertGreater(found["resident_bytes"], 0)

    def test_a_card_shows_where_the_pages_are(self):
        path = self.write_cold("file", 2 * MIB)
        touch_pages(path, range(0, 256))
        pages = resident_pages(path)
        self.assertTrue(all(pages[:256]) and not any(pages[300:]))
        bar = run("map", path, env=environment(LC_ALL="C")).stdout.decode().splitlines()[1]
        self.assertRegex(bar, r"^\|#{30,}[^#]? +\|$")

    def test_what_the_kernel_hides_is_unknown_and_neither_nothing_nor_all(self):
        as_nobody = self.as_nobody()
        path = self.write("file", b"x" * (1 << 16))
        found = self.only_file(path, **as_nobody)
        self.assertIs(found["resident_known"], False)
        for key in ("resident_bytes", "dirty_bytes", "writeback_bytes"):
            self.assertIsNone(found[key])
        self.assertEqual(found["extents"], [])
        self.assertIs(found["extents_complete"], False)
        self.assertTrue(found["why_unknown"])
        card = run("map", path, **as_nobody)
        self.assertEqual(card.returncode, 0)
        self.assertIn(b"unknown", card.stdout)
        self.assertNotIn(b"%", card.stdout)
        self.write("other", b"x")
        table = run("map", self.dir, **as_nobody).stdout.decode()
        self.assertIn("unknown for 2 files", table)
        self.assertIn("0 B of 64.0 KiB resident", table)


class BadInputTest(CommandTest):
    def test_each_bad_path_gets_its_cause_and_the_others_are_shown(self):
        good = self.write("good")
        os.symlink("nowhere", self.path("dangling"))
        os.symlink("loop", self.path("loop"))
        os.mkfifo(self.path("fifo"))
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(self.path("socket"))
        for name, parts in (("missing", ["ENOENT", "check the path"]),
                            ("dangling", ["ENOENT"]),
                            ("loop", ["ELOOP", "symbolic link"]),
                            ("fifo", ["it is a pipe", "name files"]),
                            ("socket", ["it is a socket"]),
                            ("good/below", ["ENOTDIR"])):
            ended = run("map", self.path(name), good)
            self.assert_error(ended, f"map({self.path(name)})", *parts)
            self.assertIn(b"good", ended.stdout)
            document = run_json("map", self.path(name), good)
            self.assertEqual([file["path"] for file in document["files"]], [good])
            error = document["errors"][0]
            self.assertEqual((error["operation"], error["subject"]), ("map", self.path(name)))
            self.assertTrue(error["cause"] and error["code"])
        self.assert_error(run("map", "/dev/null"), "a character device")
        self.assert_error(run("map", ""), "ENOENT")

    def test_a_path_without_files_that_only_errs_shows_nothing_else(self):
        self.assertEqual(run("map", self.path("missing")).stdout, b"")

    def test_what_may_not_be_read_is_named_and_the_walk_goes_on(self):
        as_nobody = self.as_nobody()
        os.mkdir(self.path("closed"), 0o700)
        os.chmod(self.write("secret"), 0o600)
        self.write("open")
        document = run_json("map", self.dir, **as_nobody)
        self.assertEqual([os.path.basename(f["path"]) for f in document["files"]], ["open"])
        self.assertEqual(sorted(os.path.basename(e["subject"]) for e in document["errors"]),
                         ["closed", "secret"])
        self.assertEqual({e["code"] for e in document["errors"]}, {"EACCES"})
        self.assertTrue(all(e["remedy"] for e in document["errors"]))
        self.assertEqual(document["exit_code"], 1)

    def test_files_without_pages_are_not_possible_here(self):
        for path in ("/proc/self/status", "/proc", "/sys/kernel"):
            self.assert_error(run("map", path), "they have no pages", code=3)

    def test_a_name_too_long_for_the_kernel_is_an_error(self):
        self.assert_error(run("map", "x" * 5000), "ENAMETOOLONG")

    def test_an_empty_directory_is_no_error(self):
        ended = run("map", self.dir)
        self.assertEqual((ended.returncode, ended.stdout), (0, b"no files\n"))


class TreeTest(CommandTest):
    def names(self, *arguments):
        document = run_json("map", *arguments)
        self.assertEqual(document["errors"], [])
        return sorted(os.path.relpath(file["path"], self.dir) for file in document["files"])

    def test_links_inside_are_not_followed_and_links_named_are(self):
        os.makedirs(self.path("tree/sub"))
        self.write("tree/sub/file")
        self.write("outside")
        os.symlink("../outside", self.path("tree/link"))
        os.symlink("..", self.path("tree/sub/up"))
        os.symlink("tree", self.path("named"))
        os.mkfifo(self.path("tree/fifo"))
        self.assertEqual(self.names(self.path("tree")), ["tree/sub/file"])
        self.assertEqual(self.names(self.path("named")), ["named/sub/file"])
        self.assertEqual(self.names(self.path("tree/link")), ["tree/link"])

    def test_each_file_counts_once_however_often_it_is_reached(self):
        os.makedirs(self.path("tree/sub"))
        self.write("tree/sub/file")
        self.write("tree/two")
        os.link(self.path("tree/two"), self.path("tree/hard"))
        for arguments in (["tree"], ["tree", "tree"], ["tree/sub", "tree"], ["tree", "tree/sub"],
                          ["tree/sub/file", "tree", "tree/two", "tree/hard"]):
            paths = [self.path(argument) for argument in arguments]
            document = run_json("map", *paths)
            self.assertEqual(document["totals"]["files"], 2, arguments)
            self.assertEqual(document["totals"]["size_bytes"], 2, arguments)

    def test_another_file_system_is_entered_unless_told_not_to(self):
        self.need_root()
        os.mkdir(self.path("other"))
        mounted = subprocess.run(["mount", "-t", "tmpfs", "none", self.path("other")],
                                 capture_output=True, check=False)
        if mounted.returncode != 0:
            self.skipTest(f"mount: {mounted.stderr.decode().strip()}")
        self.addCleanup(subprocess.run, ["umount", self.path("other")], check=True)
        self.write("other/there")
        self.write("here")
        self.assertEqual(self.names(self.dir), ["here", "other/there"])
        self.assertEqual(self.names("-x", self.dir), ["here"])

    def test_a_tree_deeper_than_the_limit_is_reported_and_not_entered(self):
        deep = self.dir
        for _ in range(300):
            deep += "/d"
            os.mkdir(deep)
        with open(deep + "/bottom", "wb"):
            pass
        self.write("top")
        document = run_json("map", self.dir)
        self.assertEqual([os.path.basename(f["path"]) for f in document["files"]], ["top"])
        self.assertEqual(document["errors"][0]["code"], "limit")
        self.assertIn("256 directories deep", document["errors"][0]["cause"])

    def test_hostile_names_reach_the_document_exactly_and_the_terminal_never(self):
        names = [b"new\nline", b"\x1b]0;pwned\x07", b"\xff\xfe", b'quo"te\\', "\u202eabc".encode(),
                 b" lead", "caf\u00e9".encode()]
        for name in names:
            with open(os.path.join(os.fsencode(self.dir), name), "wb") as file:
                file.write(b"x")
        import base64
        document = run_json("map", self.dir)
        found = [base64.b64decode(file["path_base64"]) if "path_base64" in file
                 else file["path"].encode() for file in document["files"]]
        self.assertEqual(sorted(map(os.path.basename, found)), sorted(names))
        for arguments in ([], ["--all"]):
            text = run("map", self.dir, *arguments).stdout
            self.assertNotIn(b"\x1b", text)
            self.assertNotIn(b"\xff", text)
            self.assertNotIn("\u202e".encode(), text)
            self.assertIn(b"new\\nline", text)

    def test_the_table_shows_the_largest_and_says_what_it_left_out(self):
        for index in range(60):
            self.write(f"f{index}", b"x" * (PAGE_BYTES * (index + 1)))
        lines = run("map", self.dir).stdout.decode().splitlines()
        self.assertEqual(len(lines), 1 + 40 + 1 + 1)
        self.assertTrue(lines[1].endswith("f59"), lines[1])
        self.assertTrue(lines[40].endswith("f20"), lines[40])
        self.assertIn("20 more files", lines[41])
        self.assertIn("in 60 files", lines[42])
        everything = run("map", "--all", self.dir).stdout.decode().splitlines()
        self.assertEqual(len(everything), 1 + 60 + 1)

    def test_totals_are_the_sums_of_the_files(self):
        for index in range(10):
            self.write(f"f{index}", b"x" * (index * 1000))
        document = run_json("map", self.dir)
        for key in ("size_bytes", "resident_bytes"):
            self.assertEqual(document["totals"][key], sum(f[key] for f in document["files"]))

    # Goal:   a tree that changes under the walk gives an answer and no error.
    # Method: a thread makes and removes files and directories for as long as the walks go on.
    def test_names_that_vanish_during_the_walk_are_no_error(self):
        is_over = threading.Event()

        def churn():
            round_number = 0
            while not is_over.is_set():
                directory = self.path(f"d{round_number % 7}")
                os.makedirs(directory, exist_ok=True)
                for name in ("a", "b", "c"):
                    with open(os.path.join(directory, name), "wb") as file:
                        file.write(b"x")
                shutil.rmtree(directory)
                round_number += 1

        worker = threading.Thread(target=churn)
        worker.start()
        try:
            for _ in range(50):
                ended = run("map", "--json", self.dir)
                self.assertEqual(ended.returncode, 0, ended.stderr)
        finally:
            is_over.set()
            worker.join()


class ManyFilesTest(CommandTest):
    FILES = 100_000
    MEMORY_BYTES = 8 * MIB

    def setUp(self):
        super().setUp()
        for directory in range(100):
            os.mkdir(self.path(f"d{directory}"))
            for index in range(self.FILES // 100):
                os.close(os.open(self.path(f"d{directory}/{index}"), os.O_CREAT | os.O_WRONLY))

    # Goal:   memory does not grow with the number of files, for any verb.
    # Method: a data segment (heap and stacks) of 8 MiB: keeping 100 bytes of each file would not
    #         fit. Sanitizers keep what is freed, so they cannot take part.
    def test_a_hundred_thousand_files_fit_into_little_memory(self):
        with open(COMMAND, "rb") as binary:
            program = binary.read()
        if b"__asan_init" in program or b"__tsan_init" in program:
            self.skipTest("memory limit: a sanitizer needs more")

        def limit():
            resource.setrlimit(resource.RLIMIT_DATA, (self.MEMORY_BYTES, self.MEMORY_BYTES))

        snapshot = self.path("snapshot")
        for arguments in (["map", self.dir], ["map", "--all", self.dir],
                          ["map", "--json", self.dir], ["warm", "--threads", "1", self.dir],
                          ["evict", self.dir], ["save", self.dir, "-o", snapshot],
                          ["restore", snapshot]):
            with open(self.path("out"), "wb") as out:
                ended = run(*arguments, stdout=out, preexec_fn=limit)
            self.assertEqual(ended.returncode, 0, ended.stderr)
            os.unlink(self.path("out"))

    def test_the_document_has_every_one_of_them(self):
        document = run_json("map", self.dir)
        self.assertEqual(document["totals"]["files"], self.FILES)
        self.assertEqual(len({file["path"] for file in document["files"]}), self.FILES)


class ProcessTest(CommandTest):
    def test_a_process_shows_the_file_it_maps_and_what_its_memory_is(self):
        path = self.write("mapped", b"x" * (8 * MIB))
        with open(path, "r+b") as file:
            os.fsync(file.fileno())
            with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapping:
                sum(mapping[offset] for offset in range(0, 8 * MIB, PAGE_BYTES))
                document = run_json("map", "--pid", str(os.getpid()))
        row = {entry["path"]: entry for entry in document["mappings"]}[path]
        self.assertEqual(row["size_bytes"], 8 * MIB)
        self.assertEqual(row["resident_bytes"], 8 * MIB)
        self.assertTrue(row["is_file"])
        process = document["process"]
        self.assertEqual(process["pid"], os.getpid())
        self.assertGreaterEqual(process["clean_file_bytes"], 8 * MIB)
        self.assertEqual(process["resident_bytes"],
                         sum(process[key] for key in ("clean_file_bytes", "dirty_file_bytes",
                                                      "shared_bytes", "anonymous_bytes")))
        self.assertTrue(process["verdict"])

    # Goal:   "is it a leak?" follows what the process holds.
    # Method: the same program holding 64 MiB of anonymous memory, or of a clean file.
    def test_the_verdict_tells_a_cache_from_a_heap(self):
        path = self.write("file", b"x" * (64 * MIB))
        with open(path, "rb") as file:
            os.fsync(file.fileno())
        for program, words in (("m = bytearray(64 << 20)", "anonymous memory"),
                               (f"import mmap; f = open({path!r}, 'rb'); "
                                "m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ); "
                                "[m[i] for i in range(0, len(m), 4096)]", "clean file pages")):
            holder = subprocess.Popen([sys.executable, "-c", program + "; print(1, flush=True); "
                                       "import sys; sys.stdin.read()"],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            try:
                holder.stdout.readline()
                text = run("map", "--pid", str(holder.pid)).stdout.decode()
                verdict = " ".join(text.split("Is it a leak?")[1].split(".\n")[0].split())
                self.assertIn(words, verdict)
            finally:
                holder.communicate()

    def test_a_process_that_does_not_exist_is_an_error(self):
        gone = subprocess.Popen(["true"])
        gone.wait()
        self.assert_error(run("map", "--pid", str(gone.pid)), f"process {gone.pid}", "ESRCH")

    def test_somebody_elses_process_says_who_could_look(self):
        ended = run("map", "--pid", "1", **self.as_nobody())
        self.assert_error(ended, "process 1", "EACCES", "root")

    def test_top_names_a_file_and_its_user_even_when_it_is_deleted(self):
        path = self.write("busy", b"x" * (32 * MIB))
        with open(path, "rb") as file:
            os.unlink(path)
            document = run_json("map", "--top", "1000")
            rows = [row for row in document["files"] if row["path"].startswith(path)]
            self.assertEqual(len(rows), 1)
            self.assertEqual(rows[0]["resident_bytes"], os.fstat(file.fileno()).st_size)
        self.assertIn(os.getpid(), [user["pid"] for user in rows[0]["processes"]])
        sizes = [row["resident_bytes"] for row in document["files"]]
        self.assertEqual(sizes, sorted(sizes, reverse=True))

    def test_top_shows_as_many_as_it_was_asked_for(self):
        self.assertEqual(len(run_json("map", "--top", "3")["files"]), 3)
        lines = run("map", "--top", "3").stdout.decode().splitlines()
        self.assertEqual(len(lines), 4)

    def test_top_says_how_many_processes_it_could_not_look_into(self):
        document = run_json("map", "--top", **self.as_nobody())
        self.assertGreater(document["processes_hidden"], 0)
        self.assertIn("root sees all", document["notes"][0])


if __name__ == "__main__":
    main()
