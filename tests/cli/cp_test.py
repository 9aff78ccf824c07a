# SPDX-License-Identifier: Apache-2.0
"""cp: the copy is the file, whole or not there, and the report says how it was made."""
import errno
import filecmp
import json
import os
import signal
import socket
import stat
import subprocess

from command import (MIB, CommandTest, drop, main, resident_pages, run, run_json, start, wait_until,
                     wait_until_full)

OLD_TIME_NS = 1_234_567_890_123_456_789


def content_of(path):
    with open(path, "rb") as file:
        return file.read()


class CopyTest(CommandTest):
    def names(self, directory="."):
        return sorted(os.listdir(self.path(directory)))

    def test_the_copy_has_the_bytes_the_mode_and_the_times_of_the_file(self):
        source = self.write("source", os.urandom(3 * MIB + 7))
        os.chmod(source, 0o640)
        os.utime(source, ns=(OLD_TIME_NS, OLD_TIME_NS))
        document = run_json("cp", source, self.path("copy"))
        self.assertEqual(content_of(self.path("copy")), content_of(source))
        found = os.stat(self.path("copy"))
        self.assertEqual(stat.S_IMODE(found.st_mode), 0o640)
        self.assertEqual(found.st_mtime_ns, OLD_TIME_NS)
        self.assertEqual(document["bytes"], 3 * MIB + 7)
        self.assertIn(document["method"], ("copy_file_range", "reflink"))
        self.assertGreater(document["system_calls"], 0)
        self.assertIn(document["bytes_copied_by_cpu"], (None, 0, 3 * MIB + 7))
        self.assertTrue(document["reason"])
        self.assertEqual(document["totals"]["files"], 1)
        entry = document["files"][0]
        self.assertEqual((entry["source"], entry["target"]), (source, self.path("copy")))
        self.assertEqual(self.names(), ["copy", "source"])

    def test_every_method_makes_the_same_copy(self):
        content = os.urandom(9 * MIB + 5)
        source = self.write("source", content)
        for method in ("read_write", "direct", "mmap_write", "sendfile", "splice",
                       "copy_file_range"):
            ended = run("cp", "--json", "--method", method, source, self.path(method))
            document = json.loads(ended.stdout)
            if ended.returncode == 3 and method == "direct":
                continue  # Not possible on this file system, and said so.
            self.assertEqual(ended.returncode, 0, ended.stderr)
            self.assertEqual(document["method"], method)
            self.assertEqual(content_of(self.path(method)), content)

    def test_a_method_that_is_not_possible_is_exit_code_3_and_leaves_nothing(self):
        source = self.write("source", b"content")
        ended = run("cp", "--method", "reflink", source, self.path("copy"))
        if ended.returncode == 0:
            self.skipTest("reflink: this file system can share blocks")
        self.assert_error(ended, "reflink", "EOPNOTSUPP", code=3)
        self.assertEqual(self.names(), ["source"])

    def test_sparse_files_stay_sparse(self):
        source = self.path("source")
        with open(source, "wb") as file:
            file.write(b"a" * 4096)
            file.seek(500 * MIB)
            file.write(b"b" * 4096)
            file.truncate(800 * MIB)
        document = run_json("cp", source, self.path("copy"))
        found = os.stat(self.path("copy"))
        self.assertEqual(found.st_size, 800 * MIB)
        self.assertEqual(found.st_blocks, os.stat(source).st_blocks)
        self.assertEqual(document["hole_bytes"], 800 * MIB - 8192)
        self.assertTrue(filecmp.cmp(source, self.path("copy"), shallow=False))
        filled = run_json("cp", "--fill-holes", source, self.path("filled"))
        self.assertEqual(filled["hole_bytes"], 0)
        self.assertGreaterEqual(os.stat(self.path("filled")).st_blocks, 800 * MIB // 512)

    def test_a_target_directory_takes_the_sources_in(self):
        first = self.write("first", b"1")
        second = self.write("second", b"2")
        os.mkdir(self.path("target"))
        self.assertEqual(run("cp", first, second, self.path("target")).returncode, 0)
        self.assertEqual(self.names("target"), ["first", "second"])
        self.assert_error(run("cp", first, second, self.path("nowhere")), "directory", code=2)

    def test_a_tree_is_copied_with_odd_names_links_and_hard_links(self):
        tree = self.path("tree")
        os.makedirs(f"{tree}/deep/empty")
        odd = [b"\xff\xfe not unicode", b"new\nline", b"\x1b[31mred", b" ", "ü".encode(), b"-r",
               b"n" * 255]
        for index, name in enumerate(odd):
            with open(os.path.join(os.fsencode(tree), name), "wb") as file:
                file.write(b"%d" % index)
        os.symlink("deep", f"{tree}/link")
        os.symlink("/nowhere/at/all", f"{tree}/dangling")
        os.link(f"{tree}/ ", f"{tree}/deep/twin")
        os.chmod(f"{tree}/deep", 0o710)
        document = run_json("cp", tree, self.path("copy"))
        self.assertEqual(document["totals"]["files"], len(odd))
        self.assertEqual(document["totals"]["symlinks"], 2)
        self.assertEqual(document["totals"]["hard_links"], 1)
        copy = os.fsencode(self.path("copy"))
        for index, name in enumerate(odd):
            self.assertEqual(content_of(os.path.join(copy, name)), b"%d" % index)
        self.assertEqual(os.readlink(self.path("copy/link")), "deep")
        self.assertEqual(os.readlink(self.path("copy/dangling")), "/nowhere/at/all")
        self.assertEqual(os.stat(self.path("copy/ ")).st_ino,
                         os.stat(self.path("copy/deep/twin")).st_ino)
        self.assertEqual(stat.S_IMODE(os.stat(self.path("copy/deep")).st_mode), 0o710)
        self.assertEqual(self.names("copy/deep"), ["empty", "twin"])

    def test_a_tree_goes_into_a_directory_that_exists_like_a_file(self):
        os.makedirs(self.path("tree/inside"))
        os.mkdir(self.path("target"))
        self.assertEqual(run("cp", self.path("tree") + "/", self.path("target")).returncode, 0)
        self.assertEqual(self.names("target"), ["tree"])
        self.assertEqual(run("cp", ".", self.path("dot"), cwd=self.path("tree")).returncode, 0)
        self.assertEqual(self.names("dot"), ["inside"])

    def test_special_files_are_named_and_the_rest_is_copied(self):
        os.mkdir(self.path("tree"))
        self.write("tree/file", b"content")
        os.mkfifo(self.path("tree/fifo"))
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.path("tree/socket"))
            ended = run("cp", self.path("tree"), self.path("copy"))
        self.assert_error(ended, "tree/fifo", "a pipe", "tree/socket", "a socket")
        self.assertEqual(self.names("copy"), ["file"])
        self.assert_error(run("cp", self.path("tree/fifo"), self.path("x")), "a pipe")

    def test_nothing_is_copied_onto_or_into_itself(self):
        source = self.write("source", b"content")
        os.link(source, self.path("twin"))
        os.makedirs(self.path("tree/inside"))
        self.assert_error(run("cp", source, source), "one and the same")
        self.assert_error(run("cp", source, self.path("twin")), "one and the same")
        self.assert_error(run("cp", self.path("tree"), self.path("tree/inside")), "inside it")
        self.assertEqual(content_of(source), b"content")
        self.assertEqual(self.names("tree/inside"), [])

    def test_existing_files_are_replaced_or_kept_as_asked(self):
        source = self.write("source", b"new")
        target = self.write("target", b"old and longer")
        self.assert_error(run("cp", "--keep-existing", source, target), "EEXIST")
        self.assertEqual(content_of(target), b"old and longer")
        before = os.stat(target).st_ino
        self.assertEqual(run("cp", source, target).returncode, 0)
        self.assertEqual(content_of(target), b"new")
        self.assertNotEqual(os.stat(target).st_ino, before)  # Renamed over, not written over.

    def test_verified_copies_have_a_checksum(self):
        source = self.write("source", os.urandom(5 * MIB))
        document = run_json("cp", "--verify", "--durability", "all", source, self.path("copy"))
        self.assertRegex(document["files"][0]["checksum"], "^xxh3:[0-9a-f]{16}$")
        self.assertEqual(document["totals"]["verified_files"], 1)
        again = run_json("cp", "--verify", self.path("copy"), self.path("again"))
        self.assertEqual(again["files"][0]["checksum"], document["files"][0]["checksum"])
        self.assertIsNone(run_json("cp", source, self.path("third"))["files"][0]["checksum"])

    def test_the_source_is_in_memory_afterwards_as_far_as_it_was_before(self):
        cold = self.write_cold("cold", 24 * MIB)
        self.assertEqual(run("cp", cold, self.path("copy")).returncode, 0)
        self.assertEqual(sum(resident_pages(cold)), 0)
        self.assertEqual(content_of(self.path("copy")), content_of(cold))  # Which warms it.
        self.assertEqual(run("cp", cold, self.path("copy")).returncode, 0)
        self.assertTrue(all(resident_pages(cold)))
        wait_until(lambda: drop(cold), "the file leaves the page cache")
        self.assertEqual(run("cp", "--keep-cached", cold, self.path("copy")).returncode, 0)
        self.assertTrue(all(resident_pages(cold)))

    def test_files_that_are_made_up_when_read_are_copied_whole(self):
        self.assertEqual(run("cp", "/proc/filesystems", self.path("copy")).returncode, 0)
        self.assertEqual(content_of(self.path("copy")), content_of("/proc/filesystems"))

    def test_what_cannot_be_read_or_written_is_an_error_each(self):
        self.assert_error(run("cp", self.path("missing"), self.path("copy")), "missing", "ENOENT")
        source = self.write("source", b"content")
        self.assert_error(run("cp", source, self.path("no/such/directory")), "ENOENT")
        os.makedirs(self.path("tree/locked"))
        self.write("tree/readable", b"x")
        self.write("tree/secret", b"x")
        os.chmod(self.path("tree/secret"), 0)
        os.chmod(self.dir, 0o777)
        ended = run("cp", self.path("tree"), self.path("copy"), **self.as_nobody())
        self.assert_error(ended, "tree/secret", "EACCES")
        self.assertEqual(self.names("copy"), ["locked", "readable"])

    def test_the_wrong_use_is_told(self):
        self.assert_error(run("cp"), "SOURCE... TARGET", code=2)
        self.assert_error(run("cp", "one"), "TARGET", code=2)
        self.assert_error(run("cp", "--method", "teleport", "a", "b"), "teleport", code=2)
        self.assert_error(run("cp", "--durability", "maybe", "a", "b"), "maybe", code=2)


class FullDiskTest(CommandTest):
    def mount(self, size):
        self.need_root()
        small = self.path("small")
        os.mkdir(small)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "small", small],
                                 capture_output=True, check=False)
        if mounted.returncode != 0:
            self.skipTest(f"tmpfs: {mounted.stderr}")
        self.addCleanup(subprocess.run, ["umount", small], check=False)
        return small

    def test_what_does_not_fit_is_refused_before_a_byte_is_written(self):
        small = self.mount("4m")
        source = self.write("source", os.urandom(6 * MIB))
        self.assert_error(run("cp", source, small), "ENOSPC", "6.0 MiB")
        self.assertEqual(os.listdir(small), [])

    def test_a_tree_that_fills_the_disk_has_whole_files_and_errors(self):
        small = self.mount("4m")
        os.mkdir(self.path("tree"))
        for index in range(6):
            self.write(f"tree/{index}", bytes([index]) * MIB)
        ended = run("cp", self.path("tree"), small + "/copy")
        self.assert_error(ended, "ENOSPC")
        copied = os.listdir(small + "/copy")
        self.assertGreater(len(copied), 1)
        for name in copied:
            self.assertEqual(content_of(f"{small}/copy/{name}"), bytes([int(name)]) * MIB)


class StoppedCopyTest(CommandTest):
    def writes_now(self, process):
        """Whether the process holds a file without a name that has bytes in it."""
        try:
            for number in os.listdir(f"/proc/{process.pid}/fd"):
                link = f"/proc/{process.pid}/fd/{number}"
                if self.dir in os.readlink(link) and os.stat(link).st_nlink == 0:
                    return os.stat(link).st_size > 0
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ESRCH, errno.EACCES):
                raise
        return False

    # Goal:   the target is the old file or the new one, and there is nothing beside it, whenever
    #         and however the command ends.
    # Method: killed or interrupted as soon as it is seen to write; where it was faster, the copy
    #         must be whole.
    def test_a_command_that_is_killed_leaves_the_old_file_or_the_new_one(self):
        source = self.write("source", os.urandom(48 * MIB))
        new = content_of(source)
        stopped = 0
        for round_number in range(12):
            signal_number = signal.SIGKILL if round_number % 2 else signal.SIGINT
            target = self.write("target", b"old")
            process = start("cp", "--durability", "data", source, target)
            wait_until(lambda: process.poll() is not None or self.writes_now(process),
                       "it writes, or has ended")
            process.send_signal(signal_number)
            process.communicate()
            found = content_of(target)
            self.assertTrue(found in (b"old", new), round_number)
            stopped += found == b"old"
            if signal_number == signal.SIGINT or found == b"old":
                self.assertEqual(sorted(os.listdir(self.dir)), ["source", "target"])
            for name in os.listdir(self.dir):
                if name.startswith("."):  # Killed between link and rename.
                    os.unlink(self.path(name))
        self.assertGreater(stopped, 0)

    def test_an_interrupted_tree_has_only_whole_files_and_a_document_that_says_so(self):
        os.mkdir(self.path("tree"))
        for index in range(3000):
            self.write(f"tree/a-name-that-is-long-enough-to-fill-the-pipe-soon-{index}",
                       b"%d" % index)
        process = start("cp", "--json", self.path("tree"), self.path("copy"))
        wait_until_full(process.stdout)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
        document = json.loads(out)
        self.assertEqual((process.returncode, document["exit_code"]), (1, 1))
        self.assertIs(document["interrupted"], True)
        self.assertIn(b"interrupted after", err)
        copied = os.listdir(self.path("copy"))
        self.assertGreater(len(copied), 0)
        self.assertLess(len(copied), 3000)
        self.assertEqual(document["totals"]["files"], len(copied))
        for name in copied:
            self.assertEqual(content_of(self.path(f"copy/{name}")),
                             content_of(self.path(f"tree/{name}")))


class SharedBlocksTest(CommandTest):
    def setUp(self):
        super().setUp()
        self.need_root()
        image = self.path("image")
        with open(image, "wb") as file:
            file.truncate(400 * MIB)
        for command in (["mkfs.xfs", "-q", "-m", "reflink=1", image],
                        ["mount", "-o", "loop", image, self.path("xfs")]):
            os.makedirs(self.path("xfs"), exist_ok=True)
            try:
                ended = subprocess.run(command, capture_output=True, check=False)
            except FileNotFoundError:
                self.skipTest("mkfs.xfs: not installed")
            if ended.returncode != 0:
                self.skipTest(f"{command[0]}: {ended.stderr}")
        self.addCleanup(subprocess.run, ["umount", self.path("xfs")], check=False)

    def test_blocks_are_shared_and_the_copy_costs_no_space(self):
        source = self.write("xfs/source", os.urandom(64 * MIB))
        with open(source, "rb") as file:
            os.fsync(file.fileno())
        before = os.statvfs(self.path("xfs")).f_bfree
        document = run_json("cp", source, self.path("xfs/copy"))
        self.assertEqual(document["method"], "reflink")
        self.assertEqual(document["bytes_copied_by_cpu"], 0)
        self.assertLess(before - os.statvfs(self.path("xfs")).f_bfree, MIB // 4096)
        small = self.write("xfs/small", os.urandom(4096))
        calls = run_json("cp", small, self.path("xfs/small-copy"))["system_calls"]
        self.assertEqual(document["system_calls"], calls)
        self.assertTrue(filecmp.cmp(source, self.path("xfs/copy"), shallow=False))


if __name__ == "__main__":
    main()
