# SPDX-License-Identifier: Apache-2.0
"""quire ipc, driven from outside, on segments that other processes have or have left."""
import json
import os
import signal
import subprocess

from command import CommandTest, main, run, run_json, start

FIXTURE = os.environ["QUIRE_IPC_FIXTURE"]


class IpcTest(CommandTest):
    def setUp(self):
        super().setUp()
        self.directory = self.path("ipc")
        self.users = []

    def tearDown(self):
        for user in self.users:
            user.kill()
            user.communicate()
        super().tearDown()

    def attach(self, name, messages=0):
        """A process that has the segment until it is killed; it has written so many messages."""
        user = subprocess.Popen([FIXTURE, self.directory, name, str(messages)],
                                stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self.users.append(user)
        self.assertEqual(user.stdout.readline(), b"attached\n")
        return user

    def kill(self, user):
        user.kill()
        user.communicate()
        self.users.remove(user)

    def ipc(self, *arguments):
        return run("ipc", *arguments, "--directory", self.directory)

    def ipc_json(self, *arguments):
        return run_json("ipc", *arguments, "--directory", self.directory)

    def test_ls_tells_who_is_attached_and_who_died(self):
        self.assertEqual(self.ipc_json("ls")["segments"], [])
        self.assertEqual(self.ipc("ls").stdout, b"no segments\n")
        self.attach("prices")
        dead = self.attach("prices")
        self.kill(dead)
        document = self.ipc_json("ls")
        self.assertEqual(document["directory"], self.directory)
        segment, = document["segments"]
        self.assertEqual((segment["name"], segment["condition"], segment["living"],
                          segment["dead"], segment["objects"], segment["mode"]),
                         ("prices", "ready", 1, 1, 2, "0600"))
        self.assertEqual(segment["user"], os.geteuid())
        self.assertEqual(segment["file_bytes"],
                         os.path.getsize(os.path.join(self.directory, "prices")))
        text = self.ipc("ls").stdout.decode()
        for part in ("prices", "ready", "1 of 64, 1 dead"):
            self.assertIn(part, text)

    def test_stat_tells_participants_objects_and_how_far_they_are(self):
        user = self.attach("prices", messages=7)
        segment, = self.ipc_json("stat", "prices")["segments"]
        one, = segment["participants"]
        self.assertEqual((one["pid"], one["is_alive"], one["user"]),
                         (user.pid, True, os.geteuid()))
        with open(f"/proc/{user.pid}/stat", encoding="utf-8") as stat:
            self.assertEqual(one["start_ticks"], int(stat.read().rsplit(")")[1].split()[19]))
        ring, lock = segment["objects"]
        self.assertEqual((ring["name"], ring["kind"], ring["written"], ring["released"]),
                         ("ticks", "spsc_ring", 7, 0))
        self.assertEqual(ring["holders"],
                         [{"role": "writer", "slot": one["slot"], "generation": one["generation"]}])
        self.assertEqual((lock["kind"], lock["written"], lock["holders"]), ("mutex", None, []))
        self.assertEqual(segment["creator_pid"], user.pid)
        text = self.ipc("stat", "prices").stdout.decode()
        for part in (f"process {user.pid}", "7 written", "7 waiting", f"writer {user.pid}"):
            self.assertIn(part, text)
        self.kill(user)
        self.assertIn(f"writer {user.pid} (dead)", self.ipc("stat", "prices").stdout.decode())

    def test_looking_attaches_nobody_and_writes_nothing(self):
        self.attach("prices", messages=3)
        path = os.path.join(self.directory, "prices")
        with open(path, "rb") as file:
            before = file.read()
        for arguments in (["ls"], ["stat"], ["watch", "--rounds", "2", "--interval", "0.01"]):
            self.assertEqual(self.ipc(*arguments).returncode, 0)
        with open(path, "rb") as file:
            self.assertEqual(file.read(), before)

    def test_watch_looks_as_often_as_it_is_asked(self):
        self.attach("prices", messages=5)
        out = self.ipc("watch", "--rounds", "3", "--interval", "0.01").stdout.decode()
        self.assertEqual(out.count("prices/ticks"), 3)
        self.assertIn("5 written", out)
        self.assertEqual(out.count("0/s"), 2, "the first look has no rate")

    def test_watch_as_json_is_a_series_of_documents_on_a_line_each(self):
        self.attach("prices", messages=5)
        out = self.ipc("watch", "--json", "--rounds", "3", "--interval", "0.01").stdout
        *looks, last = [json.loads(line) for line in out.splitlines()]
        self.assertEqual(len(looks), 3)
        for look in looks:
            segment, = look["segments"]
            self.assertEqual((segment["name"], segment["objects"][0]["written"]), ("prices", 5))
        self.assertEqual(looks[0]["elapsed_s"], 0)
        self.assertGreater(looks[1]["elapsed_s"], 0)
        self.assertEqual((last["verb"], last["errors"], last["exit_code"]), ("ipc", [], 0))

    def test_watch_ends_with_an_interrupt(self):
        self.attach("prices")
        watch = start("ipc", "watch", "--directory", self.directory, "--interval", "3600")
        self.assertIn(b"NAME", watch.stdout.readline())
        watch.send_signal(signal.SIGINT)
        watch.communicate(timeout=60)
        self.assertEqual(watch.returncode, 0)

    def test_rm_takes_what_nobody_uses_and_nothing_else(self):
        used = self.attach("used")
        self.kill(self.attach("stale"))
        with open(os.path.join(self.directory, "text"), "wb") as file:
            file.write(b"x" * 5000)
        self.assertEqual(self.ipc_json("rm", "--stale")["removed"], ["stale"])
        self.assertEqual(sorted(os.listdir(self.directory)), ["text", "used"])
        self.assert_error(self.ipc("rm", "used"), str(used.pid), code=1)
        self.assert_error(self.ipc("rm", "text"), "QUIREIPC", code=1)
        self.assertEqual(self.ipc_json("rm", "--force", "used", "text")["removed"],
                         ["used", "text"])
        self.assertEqual(os.listdir(self.directory), [])
        self.assert_error(self.ipc("rm", "used"), "used", code=1)

    def test_a_stopped_process_keeps_its_segment(self):
        user = self.attach("used")
        user.send_signal(signal.SIGSTOP)
        self.assertEqual(self.ipc_json("rm", "--stale")["removed"], [])
        self.assertEqual(self.ipc_json("ls")["segments"][0]["living"], 1)

    def test_what_is_damaged_is_shown_as_such(self):
        os.mkdir(self.directory, 0o700)
        with open(os.path.join(self.directory, "text"), "wb") as file:
            file.write(b"\x1b[2J" * 2000)
        segment, = self.ipc_json("ls")["segments"]
        self.assertEqual(segment["condition"], "damaged")
        self.assertNotIn(b"\x1b", self.ipc("stat").stdout)

    def test_wrong_use_is_told(self):
        for arguments, part in (([], "ACTION is missing"), (["list"], "ls, stat, watch, rm"),
                                (["rm"], "--stale"), (["rm", "--stale", "x"], "either"),
                                (["rm", "--stale", "--force"], "either")):
            self.assert_error(self.ipc(*arguments), part, code=2)
        self.assert_error(self.ipc("stat", "../x"), "name", code=1)
        self.assert_error(self.ipc("stat", "none"), "No such file", code=1)


if __name__ == "__main__":
    main()
