# SPDX-License-Identifier: Apache-2.0
"""quire simulate, driven from outside: counts against a model in Python, formats, errors."""
import collections
import json
import os
import random
import signal
import struct
import subprocess

from command import (DEADLINE_S, MIB, CommandTest, environment, main, run, run_json, start,
                     wait_until)

POLICIES = ["fifo", "clock", "s3fifo", "lru", "belady"]
RUN_KEYS = {"policy", "memory_bytes", "memory_pages", "hits", "misses", "hit_ratio",
            "device_read_requests", "device_read_pages", "device_write_pages",
            "dirty_at_end_pages", "evicted_pages", "not_kept_pages", "read_ahead_used_pages",
            "read_ahead_wasted_pages", "watched_pages", "soft_faults", "ghost_hits",
            "policy_bytes", "seconds"}


def varint(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7f | 0x80])
        value >>= 7
    return out + bytes([value])


def binary_trace(accesses, page_bytes=4096, areas=1, content=0, version=1):
    """As docs/formats.md has it, from (page, is_store) or (page, is_store, area)."""
    out = b"\x89QTRACE\n" + struct.pack("<4I", version, page_bytes, areas, content)
    page, area = 0, 0
    for access in accesses:
        to_page, is_store, to_area = (*access, 0)[:3]
        difference = to_page - page
        zigzag = difference * 2 if difference >= 0 else -difference * 2 - 1
        has_area = to_area != area
        out += varint(zigzag << 2 | has_area << 1 | is_store)
        if has_area:
            out += b"\x01" + varint(to_area)
        page, area = to_page, to_area
    return out + b"\x02\x04" + varint(len(accesses))


def waits_for(pid, pipe):
    """Whether a process sleeps that has opened a pipe which it has as its standard input."""
    names = [f"/proc/{pid}/fd/{fd}" for fd in os.listdir(f"/proc/{pid}/fd")]
    if sum(os.path.islink(name) and os.path.realpath(name).endswith(pipe) for name in names) < 2:
        return False
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return file.read().rsplit(")", 1)[1].split()[0] == "S"


def model(accesses, memory_pages, is_lru):
    """misses and pages written, of FIFO or LRU."""
    resident = collections.OrderedDict()  # Page: dirty.
    misses = writes = 0
    for page, is_store in accesses:
        if page in resident:
            if is_lru:
                resident.move_to_end(page)
        else:
            misses += 1
            if len(resident) == memory_pages:
                writes += resident.popitem(last=False)[1]
            resident[page] = False
        resident[page] |= is_store
    return misses, writes + sum(resident.values())


def some_accesses(seed, count=5000):
    prng = random.Random(seed)
    return [(int(prng.paretovariate(0.6)) % 700 * 3, prng.random() < 0.3) for _ in range(count)]


class SimulateTest(CommandTest):
    def runs(self, *arguments):
        document = run_json("simulate", *arguments)
        self.assertEqual(document["errors"], [])
        return document, {run["policy"]: run for run in document["runs"]}

    def test_counts_are_those_of_an_obvious_model(self):
        accesses = some_accesses(1)
        path = self.write("trace", binary_trace(accesses))
        document, runs = self.runs("--trace", path, "--memory", "256K")
        self.assertEqual(document["accesses"], len(accesses))
        self.assertEqual(document["stores"], sum(is_store for _, is_store in accesses))
        self.assertEqual(document["footprint_pages"], len({page for page, _ in accesses}))
        for policy in ("fifo", "lru"):
            misses, writes = model(accesses, 64, policy == "lru")
            self.assertEqual(runs[policy]["misses"], misses)
            self.assertEqual(runs[policy]["device_write_pages"], writes)
        self.assertEqual(list(runs), POLICIES)
        for counts in runs.values():
            self.assertEqual(set(counts), RUN_KEYS)
            self.assertEqual(counts["hits"] + counts["misses"], len(accesses))
            self.assertGreaterEqual(counts["misses"], runs["belady"]["misses"])

    def test_text_and_binary_mean_the_same(self):
        accesses = some_accesses(2)
        lines = "".join(f"{'w' if is_store else 'r'} {page}\n" for page, is_store in accesses)
        text = self.write("text", b"# by hand\n\n" + lines.encode())
        binary = self.write("binary", binary_trace(accesses))
        def counts(path):
            document, runs = self.runs("--trace", path, "--memory", "20%")
            for counted in runs.values():
                del counted["seconds"]
            return document["footprint_pages"], runs
        self.assertEqual(counts(text), counts(binary))

    def test_a_trace_may_come_through_a_pipe(self):
        process = subprocess.Popen(["printf", "1\\n2\\nw 1\\n"], stdout=subprocess.PIPE)
        document = run_json("simulate", "--trace", "/dev/stdin", stdin=process.stdout)
        process.stdout.close()
        self.assertEqual(process.wait(), 0)
        self.assertEqual((document["accesses"], document["footprint_pages"]), (3, 2))

    def start_on_an_empty_pipe(self):
        """The command, once it waits for what is written to the pipe, and the pipe's other end."""
        read_end, write_end = os.pipe()
        process = start("simulate", "--trace", "/dev/stdin", "--json", stdin=read_end)
        pipe = os.readlink(f"/proc/self/fd/{read_end}")
        os.close(read_end)
        wait_until(lambda: process.poll() is not None or waits_for(process.pid, pipe),
                   "the command waits")
        return process, write_end

    def test_a_pipe_is_waited_for(self):
        process, write_end = self.start_on_an_empty_pipe()
        os.write(write_end, b"1\n2\nw 1\n")
        os.close(write_end)
        out, err = process.communicate(timeout=DEADLINE_S)
        self.assertEqual((process.returncode, err), (0, b""))
        self.assertEqual(json.loads(out)["accesses"], 3)

    def test_an_interrupt_ends_the_wait_for_a_pipe(self):
        process, write_end = self.start_on_an_empty_pipe()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=DEADLINE_S)
        os.close(write_end)
        self.assertEqual(process.returncode, 1, err)
        self.assertTrue(json.loads(out)["interrupted"])
        self.assertEqual(json.loads(out)["errors"], [])

    def test_areas_are_told_apart_and_granules_take_pages_together(self):
        accesses = [(0, 0, 0), (0, 0, 1), (15, 1, 1), (16, 0, 1), (1 << 40, 0, 1)]
        path = self.write("trace", binary_trace(accesses, areas=2))
        self.assertEqual(self.runs("--trace", path)[0]["footprint_pages"], 5)
        document, _ = self.runs("--trace", path, "--granule", "64K")
        self.assertEqual(document["footprint_pages"], 4)
        self.assertEqual(document["granule_bytes"], 65536)

    def test_a_trace_of_faults_says_that_hits_are_missing(self):
        path = self.write("trace", binary_trace([(1, 0)], content=1))
        document, _ = self.runs("--trace", path)
        self.assertEqual(document["content"], "faults")
        self.assertIn("faults only", document["notes"][0])

    def test_with_skew_and_scans_s3fifo_reads_less_than_the_classics(self):
        _, runs = self.runs("--workload", "zipf:0.99+scan/50000", "--pages", "20000", "--accesses",
                            "400000", "--seed", "3")
        reads = {policy: counts["device_read_pages"] for policy, counts in runs.items()}
        self.assertLess(reads["s3fifo"], 0.95 * min(reads["lru"], reads["clock"], reads["fifo"]))
        self.assertGreater(reads["s3fifo"], 1.05 * reads["belady"])

    def test_sizes_and_shares_make_a_curve(self):
        document, _ = self.runs("--workload", "zipf", "--pages", "5000", "--accesses", "100000",
                                "--memory", "50%,1M,1%,50%", "--policy", "lru,belady")
        curve = [(run["memory_pages"], run["policy"]) for run in document["runs"]]
        half = round(document["footprint_pages"] / 2)
        one = round(document["footprint_pages"] / 100)
        self.assertEqual(curve, [(pages, policy) for pages in sorted([one, 256, half])
                                 for policy in ("lru", "belady")])
        misses = [run["misses"] for run in document["runs"] if run["policy"] == "lru"]
        self.assertEqual(misses, sorted(misses, reverse=True))

    def test_the_same_seed_gives_the_same_and_another_does_not(self):
        def misses(seed):
            return [run["misses"] for run in run_json(
                "simulate", "--workload", "zipf+uniform*2", "--pages", "3000", "--accesses",
                "30000", "--seed", seed)["runs"]]
        self.assertEqual(misses("7"), misses("7"))
        self.assertNotEqual(misses("7"), misses("8"))

    def test_read_ahead_turns_misses_of_a_scan_into_hits(self):
        arguments = ("--workload", "scan", "--pages", "20000", "--accesses", "20000", "--policy",
                     "s3fifo")
        _, without = self.runs(*arguments)
        document, ahead = self.runs(*arguments, "--read-ahead", "256K")
        self.assertEqual(without["s3fifo"]["misses"], 20000)
        self.assertLess(ahead["s3fifo"]["misses"], 100)
        self.assertLess(ahead["s3fifo"]["device_read_requests"], 1000)
        self.assertEqual(ahead["s3fifo"]["device_read_pages"], 20000)
        self.assertEqual(document["read_ahead_bytes"], 262144)

    def test_stores_are_the_share_that_was_asked_for(self):
        document, runs = self.runs("--workload", "uniform", "--pages", "100", "--accesses", "1000",
                                   "--stores", "100", "--memory", "100%", "--policy", "clock")
        self.assertEqual(document["stores"], 1000)
        self.assertEqual(runs["clock"]["device_write_pages"], 100)

    def test_the_table_and_the_curve_fit_the_terminal(self):
        for memory, parts in (("10%", ("policy", "hits", "pages read", "s3fifo", "1.00x")),
                              ("1%,10%", ("misses", "pages read", "pages written", "share"))):
            ended = run("simulate", "--workload", "zipf", "--pages", "2000", "--accesses", "20000",
                        "--stores", "20", "--memory", memory, env=environment(COLUMNS="80"))
            self.assertEqual(ended.returncode, 0, ended.stderr)
            text = ended.stdout.decode()
            for part in parts:
                self.assertIn(part, text)
            self.assertLessEqual(max(map(len, text.splitlines())), 100)

    def test_progress_is_shown_and_goes_away(self):
        ended = run("simulate", "--workload", "zipf", "--pages", "20000", "--accesses", "300000",
                    "--progress", "always")
        self.assertEqual(ended.returncode, 0, ended.stderr)
        self.assertIn(b"looking at the accesses", ended.stderr)
        self.assertTrue(ended.stderr.endswith(b"\r\x1b[K"), ended.stderr[-80:])

    # --- Errors ----------------------------------------------------------------------------------

    def test_a_damaged_trace_is_one_line_with_its_place(self):
        good = binary_trace([(1, 0), (2, 0)])
        for name, content, parts in (
                ("empty", b"", ["empty"]),
                ("cut", good[:-1], ["cut off", "offset"]),
                ("newer", binary_trace([], version=9), ["version 9"]),
                ("areas", binary_trace([], areas=1 << 31), ["2147483648 areas"]),
                ("count", good[:-1] + b"\x05", ["counts 5", "there are 2"]),
                ("behind", good + b"\0", ["behind the end"]),
                ("prose", b"1\n2\nthree\n", ["line 3"]),
                ("zeros", bytes(MIB), ["neither a trace"]),
                ("nothing", binary_trace([]), ["not one access"])):
            path = self.write(name, content)
            ended = run("simulate", "--trace", path)
            self.assert_error(ended, path, *parts)
            self.assertEqual(len(ended.stderr.splitlines()), 1, name)

    def test_what_cannot_be_read_or_simulated_is_one_line_that_says_why(self):
        trace = self.write("trace", binary_trace([(1, 0)], page_bytes=65536))
        for arguments, part in ((["--trace", self.path("missing")], "ENOENT"),
                                (["--trace", self.dir], "EISDIR"),
                                (["--trace", trace, "--granule", "4K"], "65536"),
                                (["--trace", trace, "--memory", "4K"], "one granule"),
                                (["--workload", "uniform", "--accesses", "2000000000"], "Belady")):
            self.assert_error(run("simulate", *arguments), part)

    def test_wrong_use_is_told_with_what_is_right(self):
        for arguments, part in (([], "--trace or --workload"),
                                (["--trace", "x", "--workload", "zipf"], "--trace or --workload"),
                                (["--trace", "x", "--pages", "5"], "--pages belongs"),
                                (["--trace", "x", "--seed", "5"], "--seed belongs"),
                                (["--workload", "zap"], "zipf:THETA"),
                                (["--workload", "zipf+scan/0"], "scan/0"),
                                (["--workload", "zipf", "--policy", "lfu"], "s3fifo"),
                                (["--workload", "zipf", "--policy", "lock"], "knows no 'lock'"),
                                (["--workload", "zipf", "--memory", "0%"], "0%"),
                                (["--workload", "zipf", "--memory", "101%"], "101%"),
                                (["--workload", "zipf", "--memory", "much"], "much"),
                                (["--workload", "zipf", "--memory", "nan%"], "nan%"),
                                (["--workload", "zipf", "--granule", "5000"], "power of two"),
                                (["--workload", "zipf", "--stores", "101"], "--stores"),
                                (["--workload", "zipf", "--pages", "0"], "--pages"),
                                (["--workload", "zipf", "--accesses", "0"], "--accesses")):
            ended = run("simulate", *arguments)
            self.assertEqual(ended.returncode, 2, (arguments, ended))
            self.assertIn(part, ended.stderr.decode(), arguments)

    # Goal: Ctrl-C ends it at once, with what was finished in the document.
    # Method: more accesses than a day is long; the progress line says when it is at work.
    def test_an_interrupt_leaves_a_whole_document(self):
        process = start("simulate", "--workload", "uniform", "--pages", "1000", "--accesses",
                        str(1 << 40), "--policy", "fifo", "--json", "--progress", "always")
        self.assertTrue(process.stderr.read(8))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=DEADLINE_S)
        self.assertEqual(process.returncode, 1, err)
        self.assertIn(b"interrupted", err)
        self.assertIn(b'"interrupted": true', out)
        self.assertIn(b'"footprint_pages": null', out)
        self.assertIn(b'"runs": []', out)


if __name__ == "__main__":
    main()
