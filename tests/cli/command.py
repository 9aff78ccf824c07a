# SPDX-License-Identifier: Apache-2.0
"""Driving the real binary: run it, look at what it says, and check that against other witnesses.

Nothing here waits for a time to pass: a test that needs the command in the middle of something
blocks it on a pipe that nobody reads, and goes on when the pipe is full.
"""
import array
import ctypes
import fcntl
import json
import mmap
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time
import unittest

COMMAND = os.environ["QUIRE_COMMAND"]
SOURCE_DIR = os.environ["QUIRE_SOURCE_DIR"]
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
PIPE_BYTES = 65536
DEADLINE_S = 120  # The slowest command takes a hundredth of it.
NOBODY = 65534
MIB = 1 << 20

VERBS = ("doctor", "map", "warm", "evict", "lock", "save", "restore", "compare", "cp", "send",
         "receive", "journal", "recover", "ipc", "simulate")

# Whoever runs the tests may ignore them, as background jobs of scripts do, and a program that is
# started so goes on ignoring them: that is how it should be. What a process catches is the default
# again in what it starts.
for _number, _catch in ((signal.SIGINT, signal.default_int_handler),
                        (signal.SIGTERM, lambda number, _: sys.exit(128 + number))):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _catch)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int,
                       ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]


def environment(**changes):
    """A fixed one: no colour, width or language of whoever runs the tests."""
    fixed = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": "/", "TERM": "xterm"}
    for name in os.environ:
        if name.startswith(("ASAN_", "UBSAN_", "TSAN_", "LSAN_")):
            fixed[name] = os.environ[name]
    fixed.update(changes)
    return fixed


def start(*arguments, **options):
    options.setdefault("env", environment())
    options.setdefault("stdin", subprocess.DEVNULL)
    options.setdefault("stdout", subprocess.PIPE)
    options.setdefault("stderr", subprocess.PIPE)
    return subprocess.Popen([COMMAND, *arguments], **options)


def run(*arguments, **options):
    """Runs the command to its end: returncode, stdout and stderr as bytes."""
    process = start(*arguments, **options)
    try:
        out, err = process.communicate(timeout=DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise AssertionError(f"{arguments} hangs")
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def run_json(*arguments, **options):
    """The document, with the exit code checked against it."""
    ended = run(*arguments, "--json", **options)
    document = json.loads(ended.stdout)
    assert document["exit_code"] == ended.returncode, (document["exit_code"], ended)
    return document


def wait_until(condition, what):
    end = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"never: {what}")
        time.sleep(0.002)


def bytes_waiting(pipe):
    count = array.array("i", [0])
    fcntl.ioctl(pipe.fileno(), termios.FIONREAD, count)
    return count[0]


def wait_until_full(pipe):
    """Until its writer is stuck: less room is left than the smallest thing it writes at once."""
    wait_until(lambda: bytes_waiting(pipe) > PIPE_BYTES - 4096, "the pipe is full")


def waits_in(pid, function):
    """Whether the kernel has it wait in this function of its own."""
    with open(f"/proc/{pid}/wchan", encoding="ascii") as file:
        return function in file.read()


def resident_pages(path):
    """The witness: mincore(2) on a mapping of our own, one bool per page."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            return []
        address = _libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), 0)
        pages = (size + PAGE_BYTES - 1) // PAGE_BYTES
        vector = ctypes.create_string_buffer(pages)
        assert _libc.mincore(address, size, vector) == 0, os.strerror(ctypes.get_errno())
        _libc.munmap(address, size)
        return [byte & 1 == 1 for byte in vector.raw]


def drop(path):
    """Out of the page cache, by hand; true when it went."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)
    return not any(resident_pages(path))


class CommandTest(unittest.TestCase):
    """A directory on a real disk for each test, and the assertions of this suite."""

    maxDiff = None

    def setUp(self):
        base = os.environ.get("QUIRE_TEST_DIR", os.getcwd())
        self.dir = tempfile.mkdtemp(prefix="quire-cli-", dir=base)
        os.chmod(self.dir, 0o755)
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, content=b"x"):
        path = self.path(name)
        with open(path, "wb") as file:
            file.write(content)
        return path

    def write_cold(self, name, size):
        """A file on disk with nothing of it in memory."""
        path = self.write(name, os.urandom(size))
        wait_until(lambda: drop(path), "the file leaves the page cache")
        return path

    def need_root(self):
        if os.geteuid() != 0:
            self.skipTest("another user: only root can become nobody")

    def as_nobody(self):
        """Options of run() for a user who owns nothing here."""
        self.need_root()
        probe = subprocess.run([COMMAND, "--version"], user=NOBODY, group=NOBODY,
                               extra_groups=[], capture_output=True, check=False,
                               env=environment())
        if probe.returncode != 0:
            self.skipTest("another user: nobody cannot reach the binary")
        return {"user": NOBODY, "group": NOBODY, "extra_groups": []}

    def assert_error(self, ended, *parts, code=1):
        """One line per error, operation(subject): cause; remedy."""
        text = ended.stderr.decode("ascii" if ended.stderr.isascii() else "utf-8")
        self.assertEqual(ended.returncode, code, text)
        for line in text.splitlines():
            self.assertTrue(line.startswith("quire: "), line)
        for part in parts:
            self.assertIn(part, text)


def main():
    unittest.main(verbosity=2)
