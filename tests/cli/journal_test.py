# SPDX-License-Identifier: Apache-2.0
"""quire journal and quire recover, driven from outside, on journals that a crash left."""
import json
import os
import signal
import subprocess

from command import (DEADLINE_S, MIB, CommandTest, main, run, run_json, start, wait_until,
                     waits_in)

FIXTURE = os.environ["QUIRE_JOURNAL_FIXTURE"]
PAGE = 4096


class JournalTest(CommandTest):
    def crashed(self, *names, commits=3, pages=1):
        """Files whose commits are all in their journal still, with one more uncommitted."""
        paths = [self.path(name) for name in names]
        subprocess.run([FIXTURE, str(commits), str(pages), *paths], check=True, timeout=60)
        return paths

    def committed(self, commits=3, pages=1):
        return b"".join(bytes([ord("0") + i]) * PAGE * pages for i in range(commits))

    def read(self, path):
        with open(path, "rb") as file:
            return file.read()

    def test_it_shows_what_a_crash_left_and_changes_nothing(self):
        path, = self.crashed("data")
        before = self.read(path + ".quire-journal")
        for arguments in ([path], [path + ".quire-journal"], [path, "--verify"]):
            document = run_json("journal", *arguments)
            self.assertEqual(document["exit_code"], 0)
            self.assertFalse(document["is_clean"])
            self.assertEqual((document["checkpointed_commit"], document["last_commit"]), (0, 3))
            self.assertEqual(document["files"],
                             [{"path": os.path.abspath(path), "size_bytes": 3 * PAGE}])
            self.assertEqual([record["commit"] for record in document["records"]],
                             [None, 1, None, 2, None, 3, None])
            self.assertEqual(document["used_bytes"],
                             sum(record["length_bytes"] for record in document["records"]))
        self.assertEqual(self.read(path + ".quire-journal"), before)
        self.assertEqual(self.read(path), b"")

    def test_the_text_names_commits_files_and_records(self):
        path, = self.crashed("data")
        out = run("journal", path, "--records", "--verify").stdout.decode()
        for part in ("has commits that are not in the files", "0 to 3", "every checksum is right",
                     "12,288 bytes after the last commit", "commit 3", "uncommitted"):
            self.assertIn(part, out)

    def test_recover_brings_the_file_to_the_last_commit(self):
        path, = self.crashed("data")
        document = run_json("recover", path)
        self.assertEqual((document["recovered_commits"], document["recovered_pages"]), (3, 3))
        self.assertEqual(self.read(path), self.committed())
        self.assertTrue(run_json("journal", path)["is_clean"])
        self.assertNotIn("user.quire.journal", os.listxattr(path))
        again = run_json("recover", path)
        self.assertEqual((again["recovered_commits"], again["last_commit"]), (0, 3))

    def test_recover_finds_all_files_of_a_journal(self):
        paths = self.crashed("a", "b", commits=2)
        journal = paths[0] + ".quire-journal"
        out = run("recover", journal)
        self.assertEqual(out.returncode, 0, out.stderr)
        for path in paths:
            self.assertEqual(self.read(path), self.committed(2))

    def test_recover_takes_a_journal_from_elsewhere(self):
        path, = self.crashed("data")
        elsewhere = self.path("moved")
        os.rename(path + ".quire-journal", elsewhere)
        self.assert_error(run("recover", path), "data", code=1)
        self.assertEqual(run("recover", path, "--journal", elsewhere).returncode, 0)
        self.assertEqual(self.read(path), self.committed())

    def test_a_copy_is_recovered_and_not_what_it_was_copied_from(self):
        paths = self.crashed("a", "b", commits=2)
        copies = self.path("copies")
        os.mkdir(copies)
        for path in [*paths, paths[0] + ".quire-journal"]:
            subprocess.run(["cp", "--preserve=xattr", path, copies], check=True, timeout=60)
        copied = [os.path.join(copies, name) for name in ("a", "b")]
        document = run_json("recover", copied[0] + ".quire-journal")
        self.assertEqual([file["path"] for file in document["files"]], copied)
        for path, copy in zip(paths, copied):
            self.assertEqual(self.read(path), b"")
            self.assertEqual(self.read(copy), self.committed(2))

    def test_recover_takes_the_files_by_name(self):
        paths = self.crashed("a", "b", commits=2)
        moved = [self.path(name) for name in ("first", "second", "their-journal")]
        for path, name in zip([*paths, paths[0] + ".quire-journal"], moved):
            os.rename(path, name)
        out = run("recover", "--journal", moved[2], moved[0], moved[1])
        self.assertEqual(out.returncode, 0, out.stderr)
        for path in moved[:2]:
            self.assertEqual(self.read(path), self.committed(2))

    def test_a_symbolic_link_is_followed(self):
        path, = self.crashed("data")
        link = self.path("link")
        os.symlink("data", link)
        self.assertEqual(run_json("journal", link)["last_commit"], 3)
        self.assertEqual(run("recover", link).returncode, 0)
        self.assertEqual(self.read(path), self.committed())

    def test_a_file_whose_journal_is_elsewhere_says_so(self):
        path, = self.crashed("data")
        os.rename(path + ".quire-journal", self.path("elsewhere"))
        for verb in ("journal", "recover"):
            self.assert_error(run(verb, path), "needs its journal", code=1)

    def test_a_path_that_was_too_long_is_said_to_be_missing(self):
        deep = self.path("d" * 200)
        for _ in range(2):
            deep = os.path.join(deep, "d" * 200)
        os.makedirs(deep)
        path, = self.crashed(os.path.join(deep, "data"))
        self.assertIn("path too long", run("journal", path).stdout.decode())
        journal = self.path("elsewhere")
        os.rename(path + ".quire-journal", journal)
        self.assert_error(run("recover", journal), "name the files", code=1)
        self.assertEqual(run("recover", "--journal", journal, path).returncode, 0)
        self.assertEqual(self.read(path), self.committed())

    def test_damage_is_an_error(self):
        path, = self.crashed("data")
        journal = path + ".quire-journal"
        with open(journal, "r+b") as file:
            file.seek(32768 + PAGE + 100)  # The first image.
            file.write(b"x")
        self.assertEqual(run("journal", journal).returncode, 0)
        self.assert_error(run("journal", journal, "--verify"), "record 1 is damaged", code=1)
        self.assert_error(run("recover", path), "checksum", code=1)

    def test_progress_is_shown_and_goes_away(self):
        path, = self.crashed("data", pages=100)
        for verb, arguments in (("journal", [path, "--verify"]), ("recover", [path])):
            self.assertEqual(run("journal", *arguments).stderr, b"")
            ended = run(verb, *arguments, "--progress", "always")
            self.assertEqual(ended.returncode, 0)
            line = ended.stderr.decode()
            self.assertTrue(line.startswith(f"\r\x1b[K{verb}  "), line)
            self.assertIn("KiB", line)
            self.assertTrue(line.endswith("\r\x1b[K"), line)

    # Goal:   Ctrl-C ends it, it says so, and the next time it is done.
    # Method: the progress line blocks on a pipe that is full.
    def test_an_interrupt_leaves_a_document_and_a_journal_that_can_be_recovered(self):
        path, = self.crashed("data")
        before = self.read(path + ".quire-journal")
        for verb, arguments in (("journal", [path, "--verify"]), ("recover", [path])):
            read_end, write_end = os.pipe()
            os.set_blocking(write_end, False)
            with self.assertRaises(BlockingIOError):
                while True:
                    os.write(write_end, b" " * PAGE)
            os.set_blocking(write_end, True)
            process = start(verb, *arguments, "--json", "--progress=always", stderr=write_end)
            os.close(write_end)
            wait_until(lambda: waits_in(process.pid, "pipe_write"), "the progress line blocks")
            process.send_signal(signal.SIGINT)
            with os.fdopen(read_end, "rb") as pipe:
                err = pipe.read()
            document = json.loads(process.stdout.read())
            process.stdout.close()
            self.assertEqual((process.wait(DEADLINE_S), document["exit_code"]), (1, 1))
            self.assertIs(document["interrupted"], True)
            self.assertEqual(document["errors"], [])
            self.assertIn("interrupted; ", document["notes"][0])
            self.assertIn(b"quire: note: interrupted; ", err)
            self.assertEqual(self.read(path + ".quire-journal"), before)
        self.assertEqual(run("recover", path).returncode, 0)
        self.assertEqual(self.read(path), self.committed())

    # Goal:   however often, and however, it is ended, in the end the contents are right.
    # Method: as soon as the file changes; where the command was faster, they must be.
    def test_recovery_that_was_ended_in_the_middle_is_done_by_the_next_one(self):
        size = {"commits": 4, "pages": 2000}
        stopped = 0
        for number in (signal.SIGINT, signal.SIGKILL, signal.SIGINT):
            path, = self.crashed("data", **size)
            for done_bytes in (0, MIB, 8 * MIB):
                process = start("recover", path)
                wait_until(lambda: process.poll() is not None or self.has_more(path, done_bytes),
                           "the file changes, or it has ended")
                process.send_signal(number)
                process.communicate()
                stopped += process.returncode != 0
                if process.returncode == 0 or number == signal.SIGINT:
                    self.assertEqual("user.quire.journal" in os.listxattr(path),
                                     process.returncode != 0)
            self.assertEqual(run("recover", path).returncode, 0)
            self.assertTrue(self.read(path) == self.committed(**size), "not what was committed")
            self.assertTrue(run_json("journal", path)["is_clean"])
            os.unlink(path)
            os.unlink(path + ".quire-journal")
        self.assertGreater(stopped, 0)

    def has_more(self, path, done_bytes):
        """Whether so much was written; of nothing, whether the file has got its size."""
        status = os.stat(path)
        return (status.st_blocks * 512 if done_bytes > 0 else status.st_size) > done_bytes

    def test_what_is_no_journal_is_refused(self):
        for content, cause in ((b"", "shorter than a journal"), (b"a text", "does not begin as"),
                               (b"x" * 100_000, "does not begin as")):
            path = self.write("none", content)
            for verb in ("journal", "recover"):
                self.assert_error(run(verb, path), cause, code=1)
        fifo = self.path("fifo")
        os.mkfifo(fifo)
        for path in (fifo, os.path.dirname(fifo), "/dev/null"):
            for verb in ("journal", "recover"):
                self.assert_error(run(verb, path), path, code=1)
        self.assert_error(run("journal"), "PATH", code=2)
        self.assert_error(run("recover"), "FILE", code=2)


if __name__ == "__main__":
    main()
