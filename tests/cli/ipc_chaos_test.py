# SPDX-License-Identifier: Apache-2.0
"""quire ipc chaos, driven from outside: what it proves, how it ends, and that nothing is left.

In a soak it is run again and again, on fresh seeds: --soak=N for N seconds, or QUIRE_SOAK_S=N,
which is stronger, as in a test program (quire/testing/soak.h).
"""
import os
import signal
import sys
import time
import unittest

from command import DEADLINE_S, CommandTest, main, run, run_json, start, wait_until

SECONDS = "10"
STRUCTURES = ["spsc-ring", "spsc-bytes", "mpsc-ring", "mpsc-bytes", "broadcast", "blackboard",
              "mutex", "semaphore", "event"]


def group_members(group):
    """Processes of a process group, zombies aside."""
    members = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="latin-1") as file:
                state, _, pgrp = file.read().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(pgrp) == group and state != "Z":
            members.append(int(pid))
    return members


def soak_seconds():
    """Takes the option away from those of unittest."""
    given = [argument for argument in sys.argv if argument.startswith("--soak=")]
    for argument in given:
        sys.argv.remove(argument)
    return float(os.environ.get("QUIRE_SOAK_S") or "".join(given).removeprefix("--soak=") or 0)


SOAK_SECONDS = soak_seconds()


class ChaosTest(CommandTest):
    def test_every_structure_keeps_its_promises(self):
        end = time.monotonic() + SOAK_SECONDS
        self.see_every_promise_kept()
        while time.monotonic() < end:
            self.see_every_promise_kept()

    def see_every_promise_kept(self):
        document = run_json("ipc", "chaos", "--seconds", SECONDS)
        self.assertEqual(document["violations"], [], document)
        self.assertEqual(document["exit_code"], 0, document)
        self.assertEqual([row["name"] for row in document["structures"]], STRUCTURES)
        self.assertGreaterEqual(document["seconds"], float(SECONDS))
        for row in document["structures"]:
            for count in ("operations", "killed", "stopped"):
                self.assertGreater(row[count], 0, row)
            self.assertGreaterEqual(row["started"], row["killed"], row)
        mutex = document["structures"][STRUCTURES.index("mutex")]
        self.assertGreater(mutex["told_of_death"], 0, "nobody ever died inside")

    def test_structures_are_chosen_by_name_and_the_seed_is_told(self):
        document = run_json("ipc", "chaos", "mutex", "mpsc-ring", "--seconds", "0.2", "--seed", "7")
        self.assertEqual([row["name"] for row in document["structures"]], ["mpsc-ring", "mutex"])
        self.assertEqual(document["seed"], 7)
        ended = run("ipc", "chaos", "semaphore", "--seconds", "0.2")
        self.assertEqual(ended.returncode, 0, ended)
        self.assertRegex(ended.stdout.decode(), r"(?m)^semaphore +[0-9,]+ ")
        self.assertRegex(ended.stdout.decode(), r"every promise was kept: seed [0-9]+, ")
        drawn = run_json("ipc", "chaos", "mutex", "--seconds", "0.1")["seed"]
        self.assertNotEqual(drawn, run_json("ipc", "chaos", "mutex", "--seconds", "0.1")["seed"])

    def test_an_unknown_structure_is_refused_with_those_there_are(self):
        ended = run("ipc", "chaos", "abacus")
        self.assertEqual(ended.returncode, 1)
        self.assertIn(b"abacus", ended.stderr)
        for name in STRUCTURES:
            self.assertIn(name.encode(), ended.stderr)

    def start_in_a_group(self):
        process = start("ipc", "chaos", "--seconds", "1000", "--json", start_new_session=True)
        self.addCleanup(process.kill)
        # All stations are there: fifteen processes and more.
        wait_until(lambda: len(group_members(process.pid)) > 15, "the stations to be there")
        return process

    def test_ctrl_c_ends_it_with_an_audit_and_leaves_nothing(self):
        process = self.start_in_a_group()
        os.killpg(process.pid, signal.SIGINT)  # As a terminal does.
        out, err = process.communicate(timeout=DEADLINE_S)
        self.assertEqual(process.returncode, 1, err)
        self.assertIn(b'"interrupted": true', out)
        self.assertIn(b'"violations": []', out)
        self.assertEqual(group_members(process.pid), [])

    def test_not_even_a_kill_leaves_processes_or_memory(self):
        before = sorted(os.listdir("/dev/shm"))
        process = self.start_in_a_group()
        self.assertEqual(sorted(os.listdir("/dev/shm")), before)
        process.kill()
        process.communicate(timeout=DEADLINE_S)
        wait_until(lambda: not group_members(process.pid), "the stations to be gone")


if __name__ == "__main__":
    main()
