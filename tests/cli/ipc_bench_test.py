# SPDX-License-Identifier: Apache-2.0
"""quire ipc bench, driven from outside: that all of it is measured. How fast it is, is no test."""
import signal
import unittest

from command import DEADLINE_S, CommandTest, main, run, run_json, start

QUESTIONS = {
    "one way, 64 bytes": ["SpscRing", "SpscRing, spinning", "pipe", "UNIX socket",
                          "POSIX message queue"],
    "one way, 1 MiB": ["SpscBytes, in place", "memcpy"],
    "round trip, spinning": ["SpscRing, spinning", "bare atomic"],
    "round trip, sleeping": ["SpscRing, sleeping", "bare futex", "eventfd", "pipe"],
    "lock and unlock, uncontended": ["Mutex", "robust pthread mutex"],
    "64 bytes from 16 writers": ["MpscRing", "pipe", "UNIX socket", "POSIX message queue"],
}


class BenchTest(CommandTest):
    def test_every_question_is_measured_on_every_side(self):
        document = run_json("ipc", "bench", "--seconds", "1")
        self.assertEqual(document["exit_code"], 0, document)
        self.assertTrue(document["pinned"])
        self.assertEqual({question["name"]: [side["name"] for side in question["sides"]]
                          for question in document["questions"]}, QUESTIONS)
        for question in document["questions"]:
            for side in question["sides"]:
                if side["name"] == "POSIX message queue" and side["problem"]:
                    continue  # A machine may have none, or a limit of them.
                self.assertEqual(side["problem"], "", side)
                self.assertGreater(side["rate"], 0, side)
                self.assertEqual(side["rate"], sorted(side["rounds"])[2], side)
                ratio = side["ratio"]
                self.assertLessEqual(ratio["least"], ratio["median"], side)
                self.assertLessEqual(ratio["median"], ratio["most"], side)
                if question["unit"] == "trips/s":
                    times = side["latency_ns"]
                    self.assertGreater(times["trips"], 0, side)
                    self.assertLessEqual(times["p50"], times["p99"], side)
                    self.assertLessEqual(times["p99"], times["p999"], side)
                    self.assertLessEqual(times["p50"], times["max"] * 1.02, side)
                else:
                    self.assertIsNone(side["latency_ns"], side)
            self.assertEqual(question["sides"][0]["ratio"]["median"], 1, question)

    def test_the_table_names_every_side_and_a_name_is_refused(self):
        ended = run("ipc", "bench", "--seconds", "0.5", "--no-pin")
        self.assertEqual(ended.returncode, 0, ended)
        self.assertIn(b"as it liked", ended.stdout)
        for name, sides in QUESTIONS.items():
            for text in (name, *sides):
                self.assertIn(text.encode(), ended.stdout)
        self.assertEqual(run("ipc", "bench", "prices").returncode, 2)

    def test_ctrl_c_ends_it_with_a_whole_document(self):
        process = start("ipc", "bench", "--seconds", "1000", "--json", "--progress", "always")
        process.stderr.read(1)  # The first progress.
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=DEADLINE_S)
        self.assertEqual(process.returncode, 1, err)
        self.assertIn(b'"interrupted": true', out)


if __name__ == "__main__":
    main()
