#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""clang-tidy over our sources, in parallel, and only over what changed.

    run_clang_tidy.py BUILD_DIR [--jobs N] [--clang-tidy PROGRAM] [FILE...]

The sources are those of BUILD_DIR/compile_commands.json that lie in the tree; FILE... restricts
them by a part of their path. A file that was clean is not looked at again until something that
could change the answer does: its own text, that of any header of ours it reaches, its compile
command, .clang-tidy, the plugin or the program's version. The marks are empty files in
BUILD_DIR/clang-tidy. BUILD_DIR/tools/own_code.so, where it was built, keeps the checks out of
system headers: the same findings in a fifth of the time.

What a file has to say is printed whole when the file is done; each finding once more, on one line,
at the end.
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
INCLUDE = re.compile(r'^\s*#\s*include\s*["<]([^">]+)[">]', re.MULTILINE)
PLUGIN_SOURCE = os.path.join(ROOT, "tools", "own_code.cc")
FINDING = re.compile(r"^\S+:\d+:\d+: (?:fatal )?(?:error|warning): .*", re.MULTILINE)
FINDINGS_SHOWN_MAX = 35  # What fits with the last line into the tail that ./check shows.
NOISE = re.compile(r"^\d+ warnings? .*|^Suppressed \d+ .*|^Use -header-filter.*|^\s*$")


@lru_cache(maxsize=None)
def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


@lru_cache(maxsize=None)
def includes(path):
    """The headers of ours that a file names: from the root, or beside it."""
    found = []
    for name in INCLUDE.findall(read(path)):
        for folder in (ROOT, os.path.dirname(path)):
            candidate = os.path.normpath(os.path.join(folder, name))
            if candidate.startswith(ROOT + os.sep) and os.path.isfile(candidate):
                found.append(candidate)
                break
    return found


def closure(path):
    """The file and every header of ours it reaches."""
    seen = [path]
    for file in seen:
        seen.extend(header for header in includes(file) if header not in seen)
    return sorted(seen)


def fingerprint(entry, version):
    digest = hashlib.sha256()
    for part in (version, read(os.path.join(ROOT, ".clang-tidy")), entry["command"]):
        digest.update(part.encode() + b"\0")
    for path in closure(entry["file"]):
        digest.update(path.encode() + b"\0" + read(path).encode() + b"\0")
    return digest.hexdigest()


def load(build_dir, patterns):
    """One entry per source of ours."""
    with open(os.path.join(build_dir, "compile_commands.json"), encoding="utf-8") as file:
        entries = json.load(file)
    build = os.path.abspath(build_dir) + os.sep
    chosen = {}
    for entry in entries:
        path = os.path.abspath(os.path.join(entry["directory"], entry["file"]))
        # Sources in C are tests and examples of the C API; the rules are about C++.
        is_ours = (path.startswith(ROOT + os.sep) and not path.startswith(build) and
                   not path.endswith(".c"))
        if is_ours and (not patterns or any(pattern in path for pattern in patterns)):
            chosen[path] = {**entry, "file": path}
    return [chosen[path] for path in sorted(chosen)]


def plugin(build_dir):
    """The option that loads the plugin, where the preset `tidy` has built it."""
    path = os.path.join(os.path.abspath(build_dir), "tools", "own_code.so")
    return [f"--load={path}"] if os.path.exists(path) else []


def examine(program, build_dir, entry, mark):
    """Runs clang-tidy on one source; the findings as text, empty when it is clean."""
    command = [program, *plugin(build_dir), "--quiet", "-p", build_dir, entry["file"]]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", check=False)
    text = "\n".join(line for line in done.stdout.split("\n") if not NOISE.match(line))
    if done.returncode == 0 and not text:
        with open(mark, "w", encoding="utf-8"):
            return ""
    return text or f"{entry['file']}: clang-tidy ended with {done.returncode}"


def summarise(texts):
    """Each finding on one line, and once: one in a header is found by all who include it."""
    found = {}
    for text in filter(None, texts):
        found.update(dict.fromkeys(FINDING.findall(text) or [text.split("\n", 1)[0]]))
    lines = [finding.replace(ROOT + os.sep, "", 1) for finding in found]
    hidden = len(lines) - FINDINGS_SHOWN_MAX
    return lines[:FINDINGS_SHOWN_MAX] + ([f"... and {hidden} more, above"] if hidden > 0 else [])


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build_dir")
    parser.add_argument("files", nargs="*", metavar="FILE")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--clang-tidy", default="clang-tidy-19")
    arguments = parser.parse_args()
    start = time.monotonic()
    version = subprocess.run([arguments.clang_tidy, "--version"], stdout=subprocess.PIPE, text=True,
                             check=True).stdout + read(PLUGIN_SOURCE)
    marks = os.path.join(arguments.build_dir, "clang-tidy")
    os.makedirs(marks, exist_ok=True)
    entries = load(arguments.build_dir, arguments.files)
    if not entries:
        print("clang-tidy: no source matches", file=sys.stderr)
        return 1
    if not plugin(arguments.build_dir):
        print(f"clang-tidy: no {arguments.build_dir}/tools/own_code.so: every check walks system "
              "headers too", flush=True)
    work = []
    for entry in entries:
        mark = os.path.join(marks, fingerprint(entry, version))
        if not os.path.exists(mark):
            work.append((entry, mark))

    def task(item):
        text = examine(arguments.clang_tidy, arguments.build_dir, *item)
        print(text or os.path.relpath(item[0]["file"], ROOT), flush=True)
        return text

    with ThreadPoolExecutor(arguments.jobs) as pool:
        texts = list(pool.map(task, work))
    clean = texts.count("")
    bad = len(work) - clean
    if bad:
        print("\n".join(["", *summarise(texts)]))
    print(f"clang-tidy: {len(entries)} sources, {len(entries) - len(work)} unchanged, "
          f"{clean} clean, {bad} with findings, {time.monotonic() - start:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
