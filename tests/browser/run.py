#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes reports and has report_test.mjs look at them in a browser.

    run.py samples WRITE_REPORT_SAMPLES DIR    reports that no machine made
    run.py compare QUIRE DIR                   the report of a real, short `quire compare`

Reports and screenshots are in DIR afterwards. Exit code 77: skipped, the last line says why.
"""

import os
import shutil
import subprocess
import sys

import install

HERE = os.path.dirname(os.path.abspath(__file__))
SKIPPED = 77
COMPARE = ["compare", "--size", "16M", "--time", "6s", "--progress", "never"]


def missing():
    """What keeps the tests from running, or None."""
    node = os.environ.get("QUIRE_NODE", "node")
    if shutil.which(node) is None:
        return "node: not installed (Debian package nodejs)"
    if shutil.which("chromium") is None:
        return "chromium: not installed (Debian package chromium)"
    if not install.is_installed():
        return "playwright-core: not installed; run tests/browser/install.py with a network"
    return None


def make_reports(kind, program, folder):
    """The paths of the reports."""
    if kind == "samples":
        subprocess.run([program, folder], check=True)
        return [os.path.join(folder, f"{name}.html")
                for name in ("full", "hostile", "empty", "articles")]
    path = os.path.join(folder, "compare.html")
    subprocess.run([program, *COMPARE, "--dir", folder, "--html", path], check=True,
                   stdin=subprocess.DEVNULL)
    return [path]


def main():
    kind, program, folder = sys.argv[1:]
    reason = missing()
    if reason:
        print(reason)
        return SKIPPED
    os.makedirs(folder, exist_ok=True)
    reports = make_reports(kind, program, folder)
    modules = os.path.join(install.where(), "node_modules")
    environment = {**os.environ, "QUIRE_NODE_MODULES": modules}
    node = os.environ.get("QUIRE_NODE", "node")
    return subprocess.run([node, os.path.join(HERE, "report_test.mjs"), *reports],
                          env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
