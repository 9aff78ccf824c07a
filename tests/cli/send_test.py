# SPDX-License-Identifier: Apache-2.0
"""send and receive: two processes over the loopback, and what is left when one of them goes."""
import contextlib
import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import threading

from command import MIB, CommandTest, main, run, run_json, start, wait_until

CHUNK = 4 * MIB


def xxh3(data):
    """XXH3 by the library that xxhsum uses; None without it."""
    try:
        library = ctypes.CDLL("libxxhash.so.0")
    except OSError:
        return None
    library.XXH3_64bits.restype = ctypes.c_uint64
    library.XXH3_64bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    return f"xxh3:{library.XXH3_64bits(data, len(data)):016x}"


class HoldingWire:
    """Passes one connection on to a receiver, and of what the sender says only so many bytes."""

    def __init__(self, port, limit_bytes):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp:127.0.0.1:{self._listener.getsockname()[1]}"
        self._port = port
        self._left = limit_bytes
        self.is_holding = threading.Event()
        self._ends = []
        self._threads = [threading.Thread(target=self._run)]
        self._threads[0].start()

    def _run(self):
        sender, _ = self._listener.accept()
        receiver = socket.create_connection(("127.0.0.1", self._port))
        self._ends = [sender, receiver]
        self._threads.append(threading.Thread(target=self._pass_back, args=(receiver, sender)))
        self._threads[-1].start()
        with contextlib.suppress(OSError):
            while self._left > 0:
                data = sender.recv(min(65536, self._left))
                if not data:
                    break
                self._left -= len(data)
                receiver.sendall(data)
        self.is_holding.set()

    @staticmethod
    def _pass_back(receiver, sender):
        with contextlib.suppress(OSError):
            while data := receiver.recv(65536):
                sender.sendall(data)

    def close(self):
        self.is_holding.wait()
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._listener.close()
        for thread in self._threads:
            thread.join()


class ExchangeTest(CommandTest):
    def setUp(self):
        super().setUp()
        os.mkdir(self.path("inbox"))

    def start_receiver(self, *arguments, address="tcp:0", target=None, **options):
        """A receiver that listens, and where."""
        # Unbuffered: what is read here line by line must not swallow what communicate() reads.
        process = start("receive", "--listen", address, target or self.path("inbox"), *arguments,
                        bufsize=0, **options)
        self.addCleanup(self.end, process)
        process.said = b""
        for line in process.stdout:
            process.said += line
            found = re.search(rb'(?:listening on |"listening": ")([^"\n]+)', line)
            if found:
                return process, found.group(1).decode()
        self.fail(process.stderr.read().decode())

    @staticmethod
    def end(process):
        if process.poll() is None:
            process.kill()
        process.communicate()

    def finish(self, process):
        """All that it said, and how it ended."""
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess([], process.returncode,
                                           getattr(process, "said", b"") + out, err)

    def received(self, name):
        with open(os.path.join(self.path("inbox"), name), "rb") as file:
            return file.read()


class SendTest(ExchangeTest):
    def test_a_file_goes_over_tcp_and_over_a_unix_socket(self):
        for index, address in enumerate(("tcp:0", "tcp:[::1]:0", "unix:" + self.path("socket"))):
            with self.subTest(address):
                if "::1" in address and not socket.has_ipv6:
                    continue
                content = os.urandom(9 * MIB + 7)
                path = self.write(f"file{index}", content)
                os.chmod(path, 0o640)
                os.utime(path, ns=(5, 1_234_567_890_123_456_789))
                receiver, where = self.start_receiver(address=address)
                sent = run("send", path, where)
                self.assertEqual(sent.returncode, 0, sent.stderr)
                self.assertRegex(sent.stdout.decode(), r"^sent .*durable there as file")
                got = self.finish(receiver)
                self.assertEqual(got.returncode, 0, got.stderr)
                self.assertIn(b"received ", got.stdout)
                self.assertEqual(self.received(f"file{index}"), content)
                status = os.stat(os.path.join(self.path("inbox"), f"file{index}"))
                self.assertEqual(status.st_mode & 0o777, 0o640)
                self.assertEqual(status.st_mtime_ns, 1_234_567_890_123_456_789)
        self.assertFalse(os.path.exists(self.path("socket")))

    def test_the_documents_say_what_was_done_and_how(self):
        content = os.urandom(5 * MIB)
        path = self.write("file", content)
        receiver, where = self.start_receiver("--json")
        sent = run_json("send", path, where)
        got = json.loads(self.finish(receiver).stdout)
        self.assertEqual(got["listening"], where)
        self.assertEqual(sent["path"], path)
        self.assertEqual(sent["to"], where)
        self.assertIs(sent["acknowledged"], True)
        self.assertEqual(sent["bytes"], len(content))
        self.assertEqual(sent["method"], "sendfile")
        self.assertEqual(sent["bytes_copied_by_cpu"], 0)
        self.assertGreater(sent["system_calls"], 0)
        self.assertTrue(sent["reason"])
        self.assertEqual(sent["resumed_from_bytes"], 0)
        self.assertGreater(sent["transfer_cpu_s"], 0)
        self.assertGreater(sent["checksum_cpu_s"], 0)
        file = got["files"][0]
        self.assertEqual(file["path"], os.path.join(self.path("inbox"), "file"))
        self.assertEqual(file["bytes"], len(content))
        self.assertEqual(file["checksum"], sent["checksum"])
        self.assertEqual(got["totals"], {"files": 1, "size_bytes": len(content), "refused": 0})
        expected = xxh3(content)
        if expected is None:
            self.skipTest("libxxhash: not installed")
        self.assertEqual(sent["checksum"], expected)

    def test_without_checksums_both_say_so(self):
        path = self.write("file", b"x" * MIB)
        receiver, where = self.start_receiver()
        sent = run_json("send", "--no-checksum", path, where)
        self.assertIsNone(sent["checksum"])
        self.assertEqual(sent["checksum_cpu_s"], 0)
        self.assertIn("nothing is verified", sent["notes"][0])
        self.assertIn(b"no checksum", self.finish(receiver).stdout)

    def test_a_method_that_was_asked_for_is_used(self):
        for method, copies in (("read_write", 2), ("mmap_write", 1), ("sendfile", 0)):
            with self.subTest(method):
                path = self.write(method, b"x" * MIB)
                receiver, where = self.start_receiver("--method", "read_write")
                sent = run_json("send", "--method", method, path, where)
                self.assertEqual(sent["method"], method)
                self.assertEqual(sent["bytes_copied_by_cpu"], copies * MIB)
                self.assertEqual(self.finish(receiver).returncode, 0)

    def test_several_files_come_one_after_the_other(self):
        receiver, where = self.start_receiver("--count", "3", "--json")
        for name in ("a", "b", "c"):
            self.assertEqual(run("send", self.write(name, name.encode()), where).returncode, 0)
        got = self.finish(receiver)
        self.assertEqual(got.returncode, 0)
        self.assertEqual(sorted(os.listdir(self.path("inbox"))), ["a", "b", "c"])
        late = run("send", self.write("d"), where)
        self.assert_error(late, "ECONNREFUSED")

    def test_names_are_made_fit_for_the_screen(self):
        path = self.write("evil\x1b[2J")
        receiver, where = self.start_receiver()
        self.assertNotIn(b"\x1b", run("send", path, where).stdout)
        got = self.finish(receiver)
        self.assertNotIn(b"\x1b", got.stdout + got.stderr)
        self.assertIn(b"\\x1b[2J", got.stdout)

    def test_memory_does_not_grow_with_the_file(self):
        peaks = []
        for size in (MIB, 256 * MIB):
            path = self.write(f"file{size}", b"")
            with open(path, "r+b") as file:
                for _ in range(size // MIB):
                    file.write(os.urandom(4096) * 256)
            receiver, where = self.start_receiver()
            sender = start("send", path, where)
            sender.stdout.read()
            receiver.stdout.read()
            for process in (sender, receiver):
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                self.assertEqual(process.returncode, 0)
                peaks.append(usage.ru_maxrss * 1024)
                process.stdout.close()
                process.stderr.close()
        # A chunk of mapped pages, and a few buffers.
        self.assertLess(peaks[2] - peaks[0], 24 * MIB)
        self.assertLess(peaks[3] - peaks[1], 24 * MIB)


class RefusalTest(ExchangeTest):
    def test_what_was_not_asked_for_is_refused_and_the_next_one_is_served(self):
        token = self.write("token", b"secret\n")
        self.write("inbox/taken", b"old")
        receiver, where = self.start_receiver("--max-bytes", "1K", "--token-file", token)
        rows = [(self.write("big", b"x" * 1025), ["--token-file", token], "EFBIG"),
                (self.write("taken"), ["--token-file", token], "EEXIST"),
                (self.write("file"), [], "EACCES"),
                (self.write("file"), ["--token-file", self.write("wrong", b"Secret")], "EACCES")]
        for path, options, code in rows:
            with self.subTest(path):
                refused = run_json("send", *options, path, where)
                self.assertEqual(refused["exit_code"], 1)
                self.assertIs(refused["acknowledged"], False)
                self.assertEqual(refused["errors"][0]["code"], code)
                self.assertIn("the other side refused", refused["errors"][0]["cause"])
        accepted = run("send", self.write("file"), where, "--token-file", token)
        self.assertEqual(accepted.returncode, 0, accepted.stderr)
        got = self.finish(receiver)
        self.assertEqual(got.returncode, 0)
        self.assertEqual(got.stderr.count(b"still listening"), len(rows))
        self.assertEqual(self.received("taken"), b"old")
        self.assertEqual(sorted(os.listdir(self.path("inbox"))), ["file", "taken"])

    def test_overwrite_replaces_what_is_there(self):
        self.write("inbox/taken", b"old")
        refused = run("receive", "--listen", "tcp:0", self.path("inbox/taken"))
        self.assert_error(refused, "EEXIST", "--overwrite")
        receiver, where = self.start_receiver("--overwrite", target=self.path("inbox/taken"))
        self.assertEqual(run("send", self.write("other", b"new"), where).returncode, 0)
        self.assertEqual(self.finish(receiver).returncode, 0)
        self.assertEqual(self.received("taken"), b"new")

    def test_an_address_that_cannot_be_had_is_an_error_with_a_remedy(self):
        _, where = self.start_receiver()
        self.assert_error(run("receive", "--listen", where, self.path("inbox")), "EADDRINUSE",
                          "another port")
        self.assert_error(run("receive", "--listen", "unix:" + self.write("file"),
                              self.path("inbox")), "EADDRINUSE")
        self.assert_error(run("send", self.write("file"), "unix:" + self.path("nobody")), "ENOENT",
                          "quire receive")
        self.assert_error(run("send", self.write("file"), "tcp:no-such-host.invalid:1"),
                          "no-such-host.invalid")
        for address in ("9000", "tcp:x", "unix:", "tcp:a:99999"):
            self.assert_error(run("send", self.write("file"), address), "tcp:HOST:PORT", code=2)

    def test_what_cannot_be_sent_or_received_into_is_an_error(self):
        _, where = self.start_receiver()
        self.assert_error(run("send", self.path("missing"), where), "ENOENT")
        self.assert_error(run("send", self.dir, where), "a directory")
        self.assert_error(run("send", "/dev/null", where), "a character device")
        self.assert_error(run("send", "--name", "a/b", self.write("file"), where), "--name")
        self.assert_error(run("receive", "--listen", "tcp:0", self.path("no/such/file")), "ENOENT")
        self.assert_error(run("receive", "--listen", "tcp:0", "/dev/null"), "a character device")

    def test_a_directory_that_may_not_be_written_to_is_an_error_on_both_sides(self):
        nobody = self.as_nobody()
        receiver, where = self.start_receiver(**nobody)
        self.assert_error(run("send", self.write("file"), where), "Permission denied")
        self.assert_error(self.finish(receiver), "EACCES")

    def test_another_user_of_a_unix_socket_is_kept_out(self):
        nobody = self.as_nobody()
        os.chmod(self.path("inbox"), 0o777)
        path = self.write("file")
        _, where = self.start_receiver(address="unix:" + self.path("socket"))
        self.assert_error(run("send", path, where, **nobody), "EACCES")

    def test_listening_for_everybody_without_a_token_is_remarked_on(self):
        receiver, _ = self.start_receiver(address="tcp:0.0.0.0:0")
        receiver.send_signal(signal.SIGINT)
        self.assertIn(b"anyone who reaches this address", self.finish(receiver).stderr)
        receiver, _ = self.start_receiver()
        receiver.send_signal(signal.SIGINT)
        self.assertNotIn(b"anyone", self.finish(receiver).stderr)

    def test_nobody_coming_ends_the_wait_that_was_limited(self):
        ended = run("receive", "--listen", "tcp:0", "--wait", "0.05", self.path("inbox"))
        self.assert_error(ended, "ETIMEDOUT", "nobody came")


class BrokenTest(ExchangeTest):
    def held_exchange(self, *options):
        """A sender and a receiver in the middle of a file, neither of which can go on."""
        path = self.write("file", os.urandom(40 * MIB))
        receiver, where = self.start_receiver()
        wire = HoldingWire(int(where.rpartition(":")[2]), 3 * CHUNK + MIB)
        sender = start("send", path, wire.address, *options)
        self.addCleanup(self.end, sender)
        wire.is_holding.wait()
        part = os.path.join(self.path("inbox"), "file.quire-part")
        wait_until(lambda: os.path.exists(part) and os.path.getsize(part) >= 3 * CHUNK,
                   "three chunks have arrived")
        return path, sender, receiver, wire, where

    def assert_resumes(self, path, where):
        sent = run_json("send", path, where)
        self.assertEqual(sent["exit_code"], 0, sent["errors"])
        self.assertEqual(sent["resumed_from_bytes"], 3 * CHUNK)
        self.assertEqual(sent["bytes"], 40 * MIB - 3 * CHUNK)
        with open(path, "rb") as file:
            self.assertEqual(self.received("file"), file.read())
        self.assertEqual(os.listdir(self.path("inbox")), ["file"])

    def test_ctrl_c_of_the_sender_leaves_what_the_next_one_goes_on_with(self):
        path, sender, receiver, wire, where = self.held_exchange()
        sender.send_signal(signal.SIGINT)
        ended = self.finish(sender)
        self.assertEqual(ended.returncode, 1)
        self.assertIn(b"note: interrupted", ended.stderr)
        self.assertIn(b"send it again to go on from there", ended.stderr)
        wire.close()
        self.assert_resumes(path, where)
        got = self.finish(receiver)
        self.assertEqual(got.returncode, 0)
        self.assertIn(b"still listening", got.stderr)
        self.assertIn(b"went on from 12.0 MiB", got.stdout)

    def test_ctrl_c_of_the_receiver_leaves_what_the_next_one_goes_on_with(self):
        path, sender, receiver, wire, _ = self.held_exchange()
        receiver.send_signal(signal.SIGTERM)
        ended = self.finish(receiver)
        self.assertEqual(ended.returncode, 1)
        self.assertIn(b"the part is kept", ended.stderr)
        wire.close()
        self.assertEqual(self.finish(sender).returncode, 1)
        _, where = self.start_receiver()
        self.assert_resumes(path, where)

    def test_a_receiver_that_is_killed_is_an_error_and_not_a_signal(self):
        path, sender, receiver, wire, _ = self.held_exchange()
        receiver.kill()
        receiver.communicate()
        wire.close()
        ended = self.finish(sender)
        self.assertEqual(ended.returncode, 1, "SIGPIPE would be negative")
        self.assertRegex(ended.stderr.decode(), "EPIPE|ECONNRESET|ended")
        self.assertIn(b"send it again", ended.stderr)
        _, where = self.start_receiver()
        self.assert_resumes(path, where)

    def test_a_sender_that_is_killed_leaves_what_the_next_one_goes_on_with(self):
        path, sender, _, wire, where = self.held_exchange()
        sender.kill()
        sender.communicate()
        wire.close()
        self.assert_resumes(path, where)

    def test_a_peer_that_stalls_is_left_after_the_idle_limit(self):
        path, sender, _, wire, _ = self.held_exchange("--idle-limit", "1")
        ended = self.finish(sender)
        self.assert_error(ended, "ETIMEDOUT")
        self.assertTrue(os.path.exists(path))
        wire.close()

    def test_the_progress_line_shows_the_way_and_goes(self):
        _, sender, _, wire, _ = self.held_exchange("--progress", "always")
        sender.send_signal(signal.SIGINT)
        ended = self.finish(sender)
        wire.close()
        self.assertRegex(ended.stderr.decode(), r"send  .*%  \d.* of 40\.0 MiB")
        self.assertIn(b"\r\x1b[K", ended.stderr)


if __name__ == "__main__":
    main()
