#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The shared library exports what its headers declare, and nothing else.

    exports_test.py NM LIBRARY EXPORTS

EXPORTS is the checked-in list, from which the version script is made; the headers are those beside
it. All three must have the same names: a function that is declared and not listed could not be
linked, one that is listed and gone breaks programs that were built before.
"""

import glob
import os
import re
import subprocess
import sys
import unittest

DECLARATION = re.compile(r"^QUIRE_API\b[^;(]*?\b(quire_\w+)\s*\(", re.MULTILINE)


def exported(nm, library):
    """Names of the symbols that a program can link, without their versions."""
    lines = subprocess.run([nm, "--dynamic", "--defined-only", library], check=True, text=True,
                           stdout=subprocess.PIPE).stdout.splitlines()
    return {line.split()[2].split("@")[0] for line in lines if line.split()[1] != "A"}


def listed(path):
    with open(path, encoding="utf-8") as file:
        return [line.strip() for line in file if not line.startswith("#")]


def declared(folder):
    names = set()
    for path in glob.glob(os.path.join(folder, "*.h")):
        with open(path, encoding="utf-8") as file:
            names.update(DECLARATION.findall(file.read()))
    return names


class ExportsTest(unittest.TestCase):
    maxDiff = None

    def test_the_list_is_sorted_and_has_each_name_once(self):
        self.assertEqual(listed(EXPORTS), sorted(set(listed(EXPORTS))))

    def test_the_library_exports_the_list(self):
        self.assertEqual(sorted(exported(NM, LIBRARY)), listed(EXPORTS))

    def test_the_headers_declare_the_list(self):
        self.assertEqual(sorted(declared(os.path.dirname(EXPORTS))), listed(EXPORTS))


if __name__ == "__main__":
    NM, LIBRARY, EXPORTS = sys.argv[1:4]
    unittest.main(argv=sys.argv[:1], verbosity=2)
