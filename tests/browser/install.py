#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Brings playwright-core, at the version of package-lock.json, into build/npm for tests/browser.

    install.py            installs when it is not there; prints where
    install.py --where    only prints where it is, or would be

The folder is named for the lock file, so a change of the lock is a new folder, and two runs at once
do not disturb each other. Nothing of the package runs (--ignore-scripts), and the browser is
Debian's own. Exit code 1 when it cannot be had; the tests then are skipped.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
FILES = ("package.json", "package-lock.json")
NPM_SECONDS_MAX = 300


def where():
    digest = hashlib.sha256()
    for name in FILES:
        with open(os.path.join(HERE, name), "rb") as file:
            digest.update(file.read())
    return os.path.join(ROOT, "build", "npm", digest.hexdigest()[:16])


def is_installed():
    return os.path.exists(os.path.join(where(), "node_modules", "playwright-core", "index.js"))


def install():
    """npm's own words when it fails; nothing is left behind then."""
    target = where()
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with tempfile.TemporaryDirectory(dir=os.path.dirname(target)) as folder:
        for name in FILES:
            shutil.copy(os.path.join(HERE, name), folder)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        try:
            ended = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True,
                                   stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                   timeout=NPM_SECONDS_MAX, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"npm ci: {error}"
        if ended.returncode != 0:
            return f"npm ci ended with {ended.returncode}:\n{ended.stdout}"
        finished = os.path.join(folder, "finished")
        os.mkdir(finished)
        for name in (*FILES, "node_modules"):
            shutil.move(os.path.join(folder, name), finished)
        try:
            os.rename(finished, target)
        except OSError:
            pass  # Another run was faster.
    return None if is_installed() else f"npm ci brought no playwright-core into {target}"


def main():
    if sys.argv[1:] != ["--where"] and not is_installed():
        problem = install()
        if problem:
            print(f"install.py: {problem}\nA network is needed once; the tests labelled `browser` "
                  "are skipped without it", file=sys.stderr)
            return 1
    print(where())
    return 0


if __name__ == "__main__":
    sys.exit(main())
