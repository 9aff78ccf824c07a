# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C in the middle: a report of what was done, a document that parses, nothing half-written.

The command is blocked on a pipe that nobody reads, so "the middle" does not depend on timing.
"""
import fcntl
import json
import os
import pty
import re
import signal
import struct
import termios

from command import (DEADLINE_S, MIB, CommandTest, environment, main, run, start, wait_until,
                     wait_until_full, waits_in)

FILES = 3000


class StopTest(CommandTest):
    def setUp(self):
        super().setUp()
        os.mkdir(self.path("tree"))
        for index in range(FILES):
            self.write(f"tree/a-name-that-is-long-enough-to-fill-the-pipe-soon-{index}")

    def test_a_document_that_is_interrupted_is_whole_and_says_so(self):
        for verb in ("map", "warm", "evict"):
            for signal_number in (signal.SIGINT, signal.SIGTERM):
                process = start(verb, "--json", self.path("tree"))
                wait_until_full(process.stdout)
                process.send_signal(signal_number)
                out, err = process.communicate()
                document = json.loads(out)
                self.assertIs(document["interrupted"], True, verb)
                self.assertEqual((process.returncode, document["exit_code"]), (1, 1), verb)
                self.assertGreater(len(document["files"]), 0, verb)
                self.assertLess(len(document["files"]), FILES, verb)
                self.assertEqual(document["totals"]["files"], len(document["files"]), verb)
                self.assertIn("interrupted", document["notes"][-1])
                self.assertIn(b"quire: note: interrupted", err)

    def test_a_signal_that_was_ignored_at_the_start_stays_ignored(self):
        process = start("map", "--json", self.path("tree"),
                        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
        wait_until_full(process.stdout)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
        document = json.loads(out)
        self.assertEqual((process.returncode, err), (0, b""))
        self.assertIs(document["interrupted"], False)
        self.assertEqual(len(document["files"]), FILES)

    def test_an_interrupted_table_ends_with_the_totals_of_what_was_seen(self):
        process = start("map", "--all", self.path("tree"))
        wait_until_full(process.stdout)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
        self.assertEqual(process.returncode, 1)
        lines = out.decode().splitlines()
        self.assertLess(len(lines), FILES)
        self.assertIn("resident", lines[-1])
        self.assertIn(b"interrupted after", err)

    def test_an_interrupted_save_writes_nothing(self):
        snapshot = self.path("snapshot")
        missing = [self.path(f"missing-{index:0200}") for index in range(400)]
        process = start("save", "-o", snapshot, *missing, self.path("tree"))
        wait_until_full(process.stderr)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
        self.assertEqual(process.returncode, 1)
        self.assertIn(b"interrupted; no snapshot was written", err)
        self.assertEqual(os.listdir(self.dir), ["tree"])

    def test_an_interrupted_restore_says_what_was_not_reached(self):
        snapshot = self.path("snapshot")
        self.assertEqual(run("save", self.path("tree"), "-o", snapshot).returncode, 0)
        process = start("restore", "--json", snapshot)
        wait_until_full(process.stdout)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate()
        document = json.loads(out)
        self.assertEqual(process.returncode, 1)
        self.assertIs(document["interrupted"], True)
        self.assertGreater(document["totals"]["left_out_bytes"], 0)

    def test_an_interrupted_lock_keeps_nothing(self):
        process = start("lock", "--json", self.path("tree"))
        wait_until_full(process.stdout)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
        self.assertEqual(process.returncode, 1)
        self.assertNotIn("ended_by", json.loads(out))
        self.assertIn(b"nothing stays locked", err)

    # Goal:   a single large file is given up in its middle, and the report says how far it came.
    # Method: standard error is a pipe of one page with room for one progress line: that of looking.
    #         The first line of warming blocks between two steps, and there the signal arrives.
    def test_warming_one_file_stops_between_two_steps(self):
        size = 768 * MIB
        path = self.write_cold("large", size)
        read_end, write_end = os.pipe()
        page = fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 4096)
        looking = b"\r\x1b[Klooking  768.0 MiB  1 file\r\x1b[K"
        os.write(write_end, b" " * (page - len(looking)))
        process = start("warm", "--json", "--progress=always", "--allow-reclaim", path,
                        stderr=write_end)
        os.close(write_end)
        wait_until(lambda: waits_in(process.pid, "pipe_write"), "the progress line blocks")
        process.send_signal(signal.SIGINT)
        with os.fdopen(read_end, "rb") as pipe:
            err = pipe.read()
        document = json.loads(process.stdout.read())
        process.stdout.close()
        self.assertEqual(process.wait(DEADLINE_S), 1)
        self.assertIn(b"interrupted", err)
        found = document["files"][0]
        self.assertEqual(found["stopped"], "cancelled")
        self.assertGreater(found["left_out_bytes"], 0)
        self.assertLess(found["resident_bytes_after"], size)
        self.assertEqual(document["totals"]["left_out_bytes"],
                         size - document["totals"]["resident_bytes_after"])

    def test_a_second_signal_ends_a_command_that_is_stuck(self):
        process = start("map", "--json", self.path("tree"))
        wait_until_full(process.stdout)
        process.send_signal(signal.SIGINT)
        # Two signals sent at once would arrive as one.
        wait_until(lambda: not catches(process.pid, signal.SIGINT), "the first signal arrives")
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(DEADLINE_S), -signal.SIGINT)
        process.stdout.close()
        process.stderr.close()


def catches(pid, signal_number):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        mask = int(re.search(r"(?m)^SigCgt:\s+(\w+)", file.read()).group(1), 16)
    return mask >> (signal_number - 1) & 1 == 1


class Screen:
    """A terminal of 80 by 24 with the command on it."""

    def __init__(self, *arguments):
        ours, program = pty.openpty()
        fcntl.ioctl(program, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.process = start(*arguments, stdin=program, stdout=program, stderr=program,
                             env=environment())
        os.close(program)
        self.terminal = ours
        self.seen = b""

    def read_until(self, text):
        while text not in self.seen:
            if not self.read_some():
                raise AssertionError(f"{text} never came: {self.seen}")

    def read_some(self):
        try:
            some = os.read(self.terminal, 65536)
        except OSError:  # EIO: the last user of the terminal is gone.
            return False
        self.seen += some
        return bool(some)

    def read_to_the_end(self):
        while self.read_some():
            pass
        os.close(self.terminal)
        return self.process.wait()


class WatchTest(CommandTest):
    def test_watching_redraws_until_ctrl_c_and_then_is_done(self):
        for index in range(40):
            self.write(f"f{index}", b"x" * 5000)
        screen = Screen("map", "--watch", "0.1", self.dir)
        for _ in range(3):
            screen.read_until(b"\x1b[J")
            frame, screen.seen = screen.seen.split(b"\x1b[J", 1)
            self.assertIn(b"\x1b[H", frame)
            self.assertIn(b"in 40 files", frame)
            self.assertLess(frame.count(b"\n"), 24)
        screen.process.send_signal(signal.SIGINT)
        self.assertEqual(screen.read_to_the_end(), 0)

    def test_watching_shows_a_change(self):
        path = self.write("file", b"x" * 4096)
        screen = Screen("map", "--watch", "0.1", path)
        screen.read_until(b"4.0 KiB of 4.0 KiB")
        with open(path, "ab") as file:
            file.write(b"x" * 4096)
        screen.read_until(b"8.0 KiB of 8.0 KiB")
        os.unlink(path)
        screen.read_until(b"ENOENT")
        screen.process.send_signal(signal.SIGTERM)
        self.assertEqual(screen.read_to_the_end(), 0)

    def test_watching_what_is_not_there_is_an_error_at_once(self):
        screen = Screen("map", "--watch", "1", self.path("missing"))
        self.assertEqual(screen.read_to_the_end(), 1)
        self.assertIn(b"ENOENT", screen.seen)

    def test_a_terminal_gets_colour_unless_no_color_is_set(self):
        path = self.write("file", b"x")
        screen = Screen("map", path)
        screen.read_to_the_end()
        self.assertIn(b"\x1b[1m", screen.seen)
        ours, program = pty.openpty()
        process = start("map", path, stdout=program, env=environment(NO_COLOR="1"))
        os.close(program)
        text = os.read(ours, 65536)
        process.communicate()
        os.close(ours)
        self.assertNotIn(b"\x1b[", text)


if __name__ == "__main__":
    main()
