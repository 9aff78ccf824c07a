#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tools/tidy.py finds what it promises to find: each rule fires on the smallest tree that breaks
it, at the right line, and stays silent on the same tree made right."""

import os
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TIDY = os.path.join(ROOT, "tools", "tidy.py")
SPDX = "// SPDX-License-Identifier: Apache-2.0\n"
HEADER = SPDX + "//\n// An idea.\n#pragma once\n"
CMAKE = "# SPDX-License-Identifier: Apache-2.0\n"


def clean_tree():
    """A floor of each kind, a test, a script and a page, none of which breaks a rule."""
    return {
        "README.md": "Read [the style](docs/STYLE.md); run tools/helper.py.\n",
        "docs/STYLE.md": "Style. The ratchet is length_ratchet.txt.\n",
        "tools/helper.py": CMAKE + "print(1)\n",
        "tools/length_ratchet.txt": "# Rows: lines, path.\n",
        "quire/quire.h": HEADER + '#include "quire/base/a.h"\n#include "quire/map/m.h"\n',
        "quire/base/CMakeLists.txt": CMAKE + "quire_floor(base SOURCES a.cc a_test.cc)\n",
        "quire/base/a.h": HEADER,
        "quire/base/a.cc": SPDX + '#include "quire/base/a.h"\n',
        "quire/base/a_test.cc": SPDX + '#include "quire/base/a.h"\n',
        "quire/sys/CMakeLists.txt": CMAKE + "quire_floor(sys SOURCES s.cc)\n",
        "quire/sys/s.h": HEADER + '#include "quire/base/a.h"\n',
        "quire/sys/s.cc": SPDX + '#include "quire/sys/s.h"\n#include <sys/mman.h>\n',
        "quire/map/CMakeLists.txt": CMAKE + "quire_floor(map SOURCES m.cc)\n",
        "quire/map/m.h": HEADER + '#include "quire/sys/s.h"\n',
        "quire/map/m.cc": SPDX + '#include "quire/map/m.h"\n',
    }


def run_tidy(files, *options):
    """The findings as {(path, line, rule)}, the exit code, and the files afterwards."""
    with tempfile.TemporaryDirectory() as root:
        for path, text in files.items():
            full = os.path.join(root, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as file:
                file.write(text)
        done = subprocess.run([sys.executable, TIDY, "--root", root, *options],
                              stdout=subprocess.PIPE, text=True, check=False)
        found = set()
        for line in done.stdout.splitlines()[:-1]:
            path, number, rule, _ = line.split(":", 3)
            found.add((path, int(number), rule.strip()))
        with open(os.path.join(root, "tools/length_ratchet.txt"), encoding="utf-8") as ratchet:
            return found, done.returncode, ratchet.read()


class TidyTest(unittest.TestCase):
    def expect_all(self, findings, changes):
        """The clean tree with some files replaced or added has exactly these findings."""
        found, code, _ = run_tidy({**clean_tree(), **changes})
        self.assertEqual(found, set(findings))
        self.assertEqual(code, 1 if findings else 0)

    def in_source(self, path, line, rule):
        """One line of code, the third, breaks exactly one rule; `rule` None: it is fine."""
        text = clean_tree()[path] + ("" if path.endswith("s.cc") else "\n") + line + "\n"
        self.expect_all({(path, text.count("\n"), rule)} if rule else set(), {path: text})

    def test_the_clean_tree_is_clean(self):
        self.expect_all(set(), {})

    def test_this_tree_has_an_exception_list_that_is_used(self):
        for path in ("quire/base/check.cc", "quire/testing/test_main.cc"):
            self.assertTrue(os.path.exists(os.path.join(ROOT, path)), path)

    # --- Arrows ---

    def test_an_include_of_a_higher_floor_is_found(self):
        self.in_source("quire/base/a.cc", '#include "quire/sys/s.h"', "arrow")
        self.in_source("quire/sys/s.cc", '#include "quire/map/m.h"', "arrow")

    def test_an_include_of_a_lower_floor_is_fine(self):
        self.in_source("quire/map/m.cc", '#include "quire/base/a.h"', None)

    def test_folders_of_one_floor_do_not_meet(self):
        self.expect_all({("quire/io/i.cc", 3, "arrow")}, {
            "quire/io/CMakeLists.txt": CMAKE + "quire_floor(io SOURCES i.cc)\n",
            "quire/io/i.cc": SPDX + '\n#include "quire/map/m.h"\n'})

    def test_a_test_beside_the_code_points_down_too(self):
        self.in_source("quire/base/a_test.cc", '#include "quire/map/m.h"', "arrow")

    def test_a_folder_without_a_floor_is_found(self):
        self.in_source("quire/map/m.cc", '#include "quire/attic/x.h"', "arrow")

    def test_testing_is_for_tests(self):
        helper = {"quire/testing/h.h": HEADER, "tests/use.cc": SPDX +
                  '#include "quire/testing/h.h"\n', "tests/CMakeLists.txt": CMAKE +
                  "add_executable(t use.cc)\n"}
        self.expect_all(set(), helper)
        with_use = clean_tree()["quire/map/m.cc"] + '#include "quire/testing/h.h"\n'
        self.expect_all({("quire/map/m.cc", 3, "testing")}, {**helper, "quire/map/m.cc": with_use})
        with_use = clean_tree()["quire/base/a_test.cc"] + '#include "quire/testing/h.h"\n'
        self.expect_all(set(), {**helper, "quire/base/a_test.cc": with_use})

    def test_testing_does_not_know_the_command(self):
        self.expect_all({("quire/testing/h.h", 5, "arrow")}, {
            "quire/cli/c.h": HEADER, "tests/use.cc": SPDX + '#include "quire/testing/h.h"\n',
            "quire/testing/h.h": HEADER + '#include "quire/cli/c.h"\n',
            "tests/CMakeLists.txt": CMAKE + "add_executable(t use.cc)\n"})

    def test_paths_start_at_the_root(self):
        self.in_source("quire/base/a.cc", '#include "a.h"', "include-form")

    def test_internal_headers_stay_in_their_folder(self):
        internal = {"quire/base/internal/i.h": HEADER,
                    "quire/base/a.cc": SPDX + '#include "quire/base/a.h"\n'
                                              '#include "quire/base/internal/i.h"\n'}
        self.expect_all(set(), internal)
        text = clean_tree()["quire/map/m.cc"] + '#include "quire/base/internal/i.h"\n'
        self.expect_all({("quire/map/m.cc", 3, "internal")}, {**internal, "quire/map/m.cc": text})

    def test_kernel_headers_belong_to_sys(self):
        for name in ("sys/mman.h", "unistd.h", "linux/userfaultfd.h", "csignal", "liburing.h"):
            with self.subTest(name):
                self.in_source("quire/map/m.cc", f"#include <{name}>", "kernel-header")
        for name in ("cstdio", "system_error", "signal", "vector"):
            with self.subTest(name):
                self.in_source("quire/map/m.cc", f"#include <{name}>", None)

    def test_tests_may_include_kernel_headers(self):
        self.in_source("quire/base/a_test.cc", "#include <unistd.h>", None)

    def test_the_umbrella_has_every_public_header(self):
        self.expect_all({("quire/quire.h", 1, "umbrella")}, {
            "quire/quire.h": HEADER + '#include "quire/base/a.h"\n'})

    # --- The opening of a file ---

    def test_the_licence_line_comes_first(self):
        self.expect_all({("quire/base/a.cc", 1, "spdx")},
                        {"quire/base/a.cc": '#include "quire/base/a.h"\n'})
        self.expect_all({("tools/helper.py", 1, "spdx")}, {"tools/helper.py": "print(1)\n"})
        self.expect_all({("quire/base/CMakeLists.txt", 1, "spdx")},
                        {"quire/base/CMakeLists.txt": "quire_floor(base SOURCES a.cc a_test.cc)\n"})

    def test_a_script_has_it_in_the_second_line(self):
        self.expect_all(set(), {"tools/helper.py": "#!/usr/bin/env python3\n" + CMAKE})

    def test_a_header_opens_with_a_chapter(self):
        self.expect_all({("quire/base/a.h", 2, "chapter")},
                        {"quire/base/a.h": SPDX + "#pragma once\n"})
        self.expect_all({("quire/base/a.h", 2, "chapter")},
                        {"quire/base/a.h": SPDX + "// Not set apart.\n#pragma once\n"})

    def test_pragma_once_follows_the_chapter(self):
        self.expect_all({("quire/base/a.h", 4, "pragma-once")},
                        {"quire/base/a.h": SPDX + "//\n// An idea.\n\n#pragma once\n"})

    def test_a_policy_names_its_source(self):
        policy = {"quire/policy/CMakeLists.txt": CMAKE + "quire_floor(policy SOURCES p.cc)\n",
                  "quire/policy/p.cc": SPDX + '#include "quire/policy/p.h"\n'}
        self.expect_all({("quire/policy/p.h", 2, "source")},
                        {**policy, "quire/policy/p.h": HEADER})
        named = SPDX + "//\n// An idea.\n// Source: a paper, 2023.\n#pragma once\n"
        self.expect_all(set(), {**policy, "quire/policy/p.h": named})

    # --- Words ---

    def test_unfinished_work_is_found_in_code_and_prose(self):
        for word in ("FIX" + "ME", "TO" + "DO", "X" + "XX"):
            with self.subTest(word):
                self.in_source("quire/base/a.cc", f"// {word} later", "unfinished")
                page = clean_tree()["docs/STYLE.md"] + f"{word}: more\n"
                self.expect_all({("docs/STYLE.md", 2, "unfinished")}, {"docs/STYLE.md": page})
        self.in_source("quire/base/a.cc", 'const char* path = "/tmp/file-XXXXXX";', None)

    def test_banned_words_are_found(self):
        for line in ("int x = rand();", "long y = ::random();",
                     "std::mt19937 generator;", "usleep(5);", "::sleep(1);",
                     "std::this_thread::sleep_for(d);", "worker.detach();", "worker->detach();",
                     "strcpy(a, b);", "std::sprintf(a, b);", "using namespace std;",
                     "posix_madvise(a, b, c);", "out << std::endl;", "assert(x);",
                     "char* p = NULL;", "void* p = alloca(8);"):
            with self.subTest(line):
                self.in_source("quire/base/a.cc", line, "banned")

    def test_throwing_is_found_in_the_library(self):
        self.in_source("quire/base/a.cc", "throw 1;", "throw")

    def test_words_that_only_look_like_them_are_fine(self):
        for line in ("operand(1);", "Prng random(test_seed());",
                     "static_assert(x);", "std::snprintf(a, 1, b);",
                     "// rand() is banned", 'say("rand()");', "int detach_count = 0;",
                     "QUIRE_ASSERT(x);", "const char quote = '\"'; // sleep(1)",
                     "auto raw = R\"x(throw rand())x\";", "const int big = 1'000'000;"):
            with self.subTest(line):
                self.in_source("quire/base/a.cc", line, None)

    def test_a_banned_word_after_a_literal_is_still_found(self):
        self.in_source("quire/base/a.cc", "const char c = '\"'; rand(); const char d = '\"';",
                       "banned")

    def test_only_the_command_prints(self):
        for line in ('printf("x");', 'std::fprintf(stderr, "x");', "std::cout << 1;",
                     'fmt::print("x");', 'puts("x");', 'perror("x");'):
            with self.subTest(line):
                self.in_source("quire/base/a.cc", line, "print")
                self.in_source("quire/base/a_test.cc", line, None)
        self.expect_all(set(), {
            "quire/cli/CMakeLists.txt": CMAKE + "add_executable(quire c.cc)\n",
            "quire/cli/c.cc": SPDX + 'int main() { printf("x"); }\n'})

    def test_formatting_into_a_string_is_not_printing(self):
        for line in ('std::snprintf(a, 1, "x");', "fmt::format(x);", "stream.puts(x);"):
            with self.subTest(line):
                self.in_source("quire/base/a.cc", line, None)

    # --- Dead files and links ---

    def test_a_source_that_nothing_builds_is_dead(self):
        self.expect_all({("quire/base/b.cc", 1, "dead-file")}, {"quire/base/b.cc": SPDX})
        # Part of another name is not a mention.
        self.expect_all({("quire/base/b.cc", 1, "dead-file")}, {
            "quire/base/b.cc": SPDX, "quire/base/ab.cc": SPDX,
            "quire/base/CMakeLists.txt":
            CMAKE + "quire_floor(base SOURCES a.cc a_test.cc ab.cc)\n"})

    def test_a_source_in_c_is_a_source_too(self):
        self.expect_all({("quire/base/b.c", 1, "dead-file"), ("quire/base/b.c", 1, "spdx")},
                        {"quire/base/b.c": "// NULL is a word of C.\n"})
        self.expect_all({("quire/base/b_test.c", 2, "arrow")}, {
            "quire/base/b_test.c": SPDX + '#include "quire/sys/s.h"\n#include <unistd.h>\n',
            "quire/base/CMakeLists.txt":
            CMAKE + "quire_floor(base SOURCES a.cc a_test.cc b_test.c)\n"})

    def test_a_list_of_stems_builds_its_sources(self):
        self.expect_all(set(), {
            "examples/one.cc": SPDX, "examples/CMakeLists.txt": CMAKE +
            "foreach(name one)\n  add_executable(${name} ${name}.cc)\nendforeach()\n"})

    def test_a_header_that_only_the_umbrella_includes_is_dead(self):
        self.expect_all({("quire/base/b.h", 1, "dead-file")}, {
            "quire/base/b.h": HEADER,
            "quire/quire.h": clean_tree()["quire/quire.h"] + '#include "quire/base/b.h"\n'})

    def test_a_page_and_a_script_that_nothing_mentions_are_dead(self):
        self.expect_all({("docs/lost.md", 1, "dead-file")}, {"docs/lost.md": "Lost.\n"})
        self.expect_all({("tools/lost.py", 1, "dead-file")}, {"tools/lost.py": CMAKE})

    def test_a_dead_link_is_found(self):
        page = "One.\n[two](STYLE.md) [three](missing.md#part) [four](https://debian.org)\n"
        self.expect_all({("docs/STYLE.md", 2, "dead-link")},
                        {"docs/STYLE.md": page + "The ratchet is length_ratchet.txt.\n"})

    # --- Lines ---

    def test_long_lines_tabs_and_trailing_blanks_are_found(self):
        self.in_source("quire/base/a.cc", "// " + "x" * 98, "columns")
        self.in_source("quire/base/a.cc", "// " + "x" * 97, None)
        self.in_source("quire/base/a.cc", "// \u00e9" + "x" * 96, None)
        self.in_source("quire/base/a.cc", "\tint x = 0;", "tab")
        self.in_source("quire/base/a.cc", "int x = 0; ", "blanks")

    def test_a_file_ends_with_one_newline(self):
        self.expect_all({("quire/base/a.cc", 2, "blanks")},
                        {"quire/base/a.cc": clean_tree()["quire/base/a.cc"][:-1]})
        self.expect_all({("quire/base/a.cc", 4, "blanks")},
                        {"quire/base/a.cc": clean_tree()["quire/base/a.cc"] + "\n"})

    # --- Length ---

    def source_of(self, lines):
        text = clean_tree()["quire/base/a.cc"]
        return text + "// x\n" * (lines - text.count("\n"))

    def test_a_long_file_is_found(self):
        self.expect_all(set(), {"quire/base/a.cc": self.source_of(450)})
        self.expect_all({("quire/base/a.cc", 451, "length")},
                        {"quire/base/a.cc": self.source_of(451)})

    def test_a_long_header_is_found_sooner(self):
        long = HEADER + "// x\n" * (301 - HEADER.count("\n"))
        self.expect_all({("quire/base/a.h", 301, "length")}, {"quire/base/a.h": long})

    def test_a_file_on_the_ratchet_may_stay_but_not_grow_nor_shrink_unseen(self):
        ratchet = {"tools/length_ratchet.txt": "500 quire/base/a.cc\n"}
        self.expect_all(set(), {**ratchet, "quire/base/a.cc": self.source_of(500)})
        for lines in (501, 499):
            self.expect_all({("quire/base/a.cc", lines, "length")},
                            {**ratchet, "quire/base/a.cc": self.source_of(lines)})

    def test_a_row_of_a_file_that_is_gone_is_found(self):
        self.expect_all({("tools/length_ratchet.txt", 1, "length")},
                        {"tools/length_ratchet.txt": "500 quire/base/gone.cc\n"})

    def test_the_ratchet_only_turns_down(self):
        files = {**clean_tree(), "quire/base/a.cc": self.source_of(480),
                 "tools/length_ratchet.txt": "# Rows.\n500 quire/base/a.cc\n460 quire/map/m.cc\n"}
        found, _, ratchet = run_tidy(files, "--update-ratchet")
        self.assertEqual((found, ratchet), (set(), "# Rows.\n480 quire/base/a.cc\n"))
        files["quire/base/a.cc"] = self.source_of(520)
        found, _, ratchet = run_tidy(files, "--update-ratchet")
        self.assertEqual(found, {("quire/base/a.cc", 520, "length")})
        self.assertEqual(ratchet, "# Rows.\n500 quire/base/a.cc\n")


if __name__ == "__main__":
    unittest.main(verbosity=2)
