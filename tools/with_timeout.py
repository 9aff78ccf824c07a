#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a command under a time limit. A hang is a failure with evidence.

    with_timeout.py SECONDS COMMAND [ARGUMENT...]

The command gets a process group of its own. When the time is over, the stacks of every thread of
every process in the tree are printed (with gdb where there is one, else the kernel's wait channel),
the whole tree is killed, and the exit code is 124. Otherwise the exit code is the command's own;
128 + N when signal N ended it.
"""

import os
import shutil
import signal
import subprocess
import sys

EXIT_TIMEOUT = 124
GDB_SECONDS_MAX = 60  # gdb itself can hang on a process in an uninterruptible wait.


def parents():
    """Maps each process id to its parent's, from /proc."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as stat:
                found[int(name)] = int(stat.read().rpartition(")")[2].split()[1])
        except OSError:
            pass  # It ended while we were looking.
    return found


def descendants(root):
    """The process `root` and everything below it, parents first."""
    parent_of = parents()
    tree = [root]
    for pid in tree:
        tree.extend(child for child, parent in parent_of.items() if parent == pid)
    return tree


def read_proc(pid, name):
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError as error:
        return f"({error.strerror})"


def dump(pid):
    print(f"\n--- process {pid}: {read_proc(pid, 'cmdline')}", flush=True)
    print(f"waits in: {read_proc(pid, 'wchan')}", flush=True)
    if shutil.which("gdb") is None:
        print("no gdb here: no stacks", flush=True)
        return
    command = ["gdb", "-p", str(pid), "-batch", "-nx", "-ex", "thread apply all backtrace"]
    try:
        subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT,
                       timeout=GDB_SECONDS_MAX, check=False)
    except subprocess.TimeoutExpired:
        print(f"gdb found no end either within {GDB_SECONDS_MAX} s", flush=True)


def kill_tree(process):
    """Ends the group, and what left the group but not the tree."""
    tree = descendants(process.pid)
    for end, pid in [(os.killpg, process.pid)] + [(os.kill, pid) for pid in tree]:
        try:
            end(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    process.wait()


def interrupt(_signal, _frame):
    raise KeyboardInterrupt


def run(seconds, command):
    try:
        process = subprocess.Popen(command, start_new_session=True)
    except OSError as error:
        print(f"with_timeout: {command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    try:
        code = process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        print(f"\nhang: no end after {seconds:g} s: {' '.join(command)}", flush=True)
        for pid in descendants(process.pid):
            dump(pid)
        kill_tree(process)
        return EXIT_TIMEOUT
    except KeyboardInterrupt:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        kill_tree(process)
        return 130
    return code if code >= 0 else 128 - code


def main(arguments):
    if len(arguments) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        seconds = float(arguments[0])
    except ValueError:
        print(f"with_timeout: {arguments[0]} is not a number of seconds", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, interrupt)
    return run(seconds, arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
