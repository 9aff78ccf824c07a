#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The house rules that a machine can check, in under a second. docs/STYLE.md says why.

    tidy.py [--root DIR] [--update-ratchet]

Prints one line per finding, `file:line: rule: what to do`, and exits with 1 if there is any.
--update-ratchet lowers the counts in tools/length_ratchet.txt to what the files have now; it never
raises one and never adds a file. tests/tidy/tidy_test.py proves that each rule fires.
"""

import argparse
import os
import re
import sys
from functools import cached_property

# The floors of docs/ARCHITECTURE.md. An include goes to a lower number or stays in its folder.
FLOORS = {"base": 0, "sys": 1, "policy": 1, "sim": 1, "map": 2, "io": 2, "cache": 3, "journal": 3,
          "transfer": 3, "ipc": 3, "pager": 4, "tracked": 4, "c": 5, "compare": 5,
          "cli": 6, "preload": 6}
# Folders whose every header a user gets with quire/quire.h. What stands between them and the kernel
# (sys, policy, cache) comes along where it is needed.
UMBRELLA_FOLDERS = {"base", "map", "io", "journal", "transfer", "ipc", "pager", "tracked"}

KERNEL_HEADERS = re.compile(
    r"(sys|linux|asm|asm-generic|net|netinet|arpa)/.*|liburing\.h|"
    r"(unistd|fcntl|signal|csignal|poll|dirent|termios|sched|pthread|semaphore|spawn|ucontext|"
    r"mntent|mqueue|ftw|fts|glob|pwd|grp|dlfcn|syscall|syslog|utime|netdb|aio|execinfo)\.h|csignal")

FILE_LINES_MAX = 450
HEADER_LINES_MAX = 300
LINE_COLUMNS_MAX = 100
RATCHET = "tools/length_ratchet.txt"

SKIPPED_FOLDERS = {".git", "build", ".cache", "__pycache__"}
SOURCE_SUFFIXES = (".h", ".cc")
C_SUFFIX = ".c"  # Tests and examples of the C API: C has other words, but the same form.
TEXT_SUFFIXES = SOURCE_SUFFIXES + (C_SUFFIX, ".py", ".sh", ".cmake", ".md", ".txt", ".json", ".in",
                                   ".yml")
CODE_SUFFIXES = SOURCE_SUFFIXES + (C_SUFFIX, ".py", ".sh", ".cmake")

# Files that break a rule by their nature, each with its reason.
ALLOWED = {
    ("quire/base/result.h", "throw"): "value() of an error throws: the caller's own decision",
    ("quire/base/check.cc", "print"): "a failed check has nobody to return an error to",
    ("quire/testing/test_main.cc", "banned"): "draws the seed that everything else derives from",
}

# In code and in prose: what is not done yet is an issue, not a comment.
UNFINISHED = re.compile(r"\b(FIX" + r"ME|TO" + r"DO|X" + r"XX)\b")
# In code, with what to write instead.
BANNED = [(re.compile(pattern), name, instead) for pattern, name, instead in [
    (r"\bs?rand\s*\(|::random\s*\(|\bstd::(mt19937|random_device|default_random_engine)", "rand",
     "use quire::Prng with a seed that the test prints"),
    (r"\b(u|nano)?sleep(_for|_until)?\s*\(", "sleep",
     "wait for the event: CondVar::wait_until, a descriptor, a barrier"),
    (r"[.>]\s*detach\s*\(", "detach", "join the thread where it is owned"),
    (r"\b(strcpy|strcat|sprintf|vsprintf|gets)\s*\(", "strcpy and friends",
     "use std::string, fmt::format_to_n or snprintf"),
    (r"\busing\s+namespace\s+std\b", "using namespace std", "write std:: where it is used"),
    (r"\bposix_madvise\b", "posix_madvise",
     "use sys::advise_pages: glibc ignores POSIX_MADV_DONTNEED"),
    (r"\bstd::endl\b", "std::endl", "write '\\n'; flush where a reader waits"),
    (r"(?<![\w.>])assert\s*\(", "assert", "use QUIRE_CHECK or QUIRE_DCHECK"),
    (r"\bNULL\b", "NULL", "write nullptr"),
    (r"\b(alloca|setjmp|longjmp)\s*\(", "alloca and longjmp",
     "use a std::array with a named limit, and return errors"),
]]
THROW = re.compile(r"\bthrow\b")
PRINT = re.compile(r"(?<![\w.>])(std::|::)?(v?f?printf|perror|f?puts|f?putc|putchar|psignal)\s*\(|"
                   r"\bstd::(cout|cerr|clog)\b|\bfmt::print\b")

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')
NOT_CODE = re.compile(r'//[^\n]*|/\*.*?\*/|R"([^(\s]*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|'
                      r"(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'", re.DOTALL)
LINK = re.compile(r"\]\(([^)\s#:]+)(?:#[^)]*)?\)")


def blank(match):
    """The same number of lines with nothing on them, so that line numbers stay true."""
    return "\n" * match.group(0).count("\n") or " "


class File:
    """One text file: its lines, and where in the house it stands."""

    def __init__(self, root, path):
        self.path = path
        self.name = os.path.basename(path)
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
            self.text = file.read()
        self.lines = self.text.split("\n")
        parts = path.split("/")
        # The folder below quire/, None elsewhere and for quire/quire.h itself.
        self.folder = parts[1] if parts[0] == "quire" and len(parts) > 2 else None

    @cached_property
    def code(self):
        """The lines of a C++ file without comments and literals."""
        return NOT_CODE.sub(blank, self.text).split("\n")

    @cached_property
    def includes(self):
        """(line number, path, written with quotes) of each include."""
        found = []
        for number, line in enumerate(self.lines, 1):
            match = INCLUDE.match(line)
            if match:
                found.append((number, match.group(1) or match.group(2), match.group(1) is not None))
        return found

    @property
    def is_source(self):
        return self.name.endswith(SOURCE_SUFFIXES)

    @property
    def is_c(self):
        return self.name.endswith(C_SUFFIX)

    @property
    def is_script(self):
        return self.text.startswith("#!")

    @property
    def is_code(self):
        return (self.name.endswith(CODE_SUFFIXES) or self.name == "CMakeLists.txt" or
                self.is_script)

    @property
    def is_for_tests(self):
        """Tests, fuzzers, benchmarks, examples and their helpers."""
        return (self.path.startswith(("tests/", "bench/", "examples/", "quire/testing/")) or
                re.search(r"_(test|fuzz|bench)\.(cc|c|h)$", self.name) is not None)


class Tree:
    """All text files below a root, and the findings about them."""

    def __init__(self, root):
        self.root = root
        self.files = [File(root, path) for path in sorted(self._paths())]
        self.by_path = {file.path: file for file in self.files}
        self.findings = []

    def _paths(self):
        for folder, names, files in os.walk(self.root):
            names[:] = [name for name in names if name not in SKIPPED_FOLDERS]
            for name in files:
                path = os.path.relpath(os.path.join(folder, name), self.root)
                if name.endswith(TEXT_SUFFIXES) or self._is_script(path):
                    yield path

    def _is_script(self, path):
        full = os.path.join(self.root, path)
        if "." in os.path.basename(path) or not os.access(full, os.X_OK):
            return False
        with open(full, "rb") as file:
            return file.read(2) == b"#!"

    def report(self, file, line, rule, message):
        if (file.path, rule) not in ALLOWED:
            self.findings.append((file.path, line, rule, message))


def folder_of(include):
    """The folder of quire/ an include names, or None."""
    parts = include.split("/")
    return parts[1] if parts[0] == "quire" and len(parts) > 2 else None


def check_arrow(tree, file, line, include):
    target = folder_of(include)
    if target == file.folder or target is None:
        return
    if target == "testing":
        if not file.is_for_tests:
            tree.report(file, line, "testing", f"{include} is for tests, fuzzers and benchmarks; "
                        "move what is needed to a floor")
    elif target not in FLOORS:
        tree.report(file, line, "arrow", f"quire/{target} is no floor; add it to FLOORS in "
                    "tools/tidy.py and to docs/ARCHITECTURE.md")
    elif file.folder in FLOORS and FLOORS[target] >= FLOORS[file.folder]:
        where = "on the same floor" if FLOORS[target] == FLOORS[file.folder] else "above"
        tree.report(file, line, "arrow", f"quire/{target} is {where}, quire/{file.folder} may not "
                    "include it; let a higher floor introduce them")
    elif file.folder == "testing" and target in ("cli", "preload"):
        tree.report(file, line, "arrow", "testing helpers know the library, not the command")


def check_includes(tree):
    """Arrows point down; one form of path; internal headers stay in; only sys knows the kernel."""
    for file in filter(lambda f: f.is_source or f.is_c, tree.files):
        for line, include, is_quoted in file.includes:
            if file.folder is not None:
                check_arrow(tree, file, line, include)
                if is_quoted and not include.startswith("quire/"):
                    tree.report(file, line, "include-form", f'write "quire/{file.folder}/'
                                f'{os.path.basename(include)}": paths start at the root')
                if (KERNEL_HEADERS.fullmatch(include) and file.folder != "sys" and
                        not file.is_for_tests):
                    tree.report(file, line, "kernel-header", f"<{include}> belongs to quire/sys; "
                                "call or add a wrapper there")
            if include.startswith("quire/") and "/internal/" in include:
                if folder_of(include) != file.folder:
                    tree.report(file, line, "internal", f"{include} is private to its folder")


def check_umbrella(tree):
    """quire/quire.h brings every public header."""
    umbrella = tree.by_path.get("quire/quire.h")
    if umbrella is None:
        return
    included = {include for _, include, _ in umbrella.includes}
    for file in tree.files:
        if (file.name.endswith(".h") and file.folder in UMBRELLA_FOLDERS and
                "/internal/" not in file.path and file.path not in included):
            tree.report(umbrella, 1, "umbrella", f'add #include "{file.path}"')


def check_opening(tree):
    """SPDX line first; a header is a chapter; policies name their paper."""
    for file in filter(lambda f: f.is_code, tree.files):
        first = file.lines[1] if file.is_script and len(file.lines) > 1 else file.lines[0]
        mark = "//" if file.is_source or file.is_c else "#"
        if first != f"{mark} SPDX-License-Identifier: Apache-2.0":
            tree.report(file, 1, "spdx", f"start with `{mark} SPDX-License-Identifier: Apache-2.0`")
        if file.name.endswith(".h"):
            check_header(tree, file)


def check_header(tree, file):
    opening = []
    for line in file.lines[1:]:
        if not line.startswith("//"):
            break
        opening.append(line)
    if len(opening) < 2 or opening[0] != "//" or not re.match(r"// \S", opening[1]):
        tree.report(file, 2, "chapter", "open with a comment after the SPDX line and an empty //: "
                    "idea, invariants, thread-safety, errors, cost")
    after = len(opening) + 1
    if file.lines[after:after + 1] != ["#pragma once"]:
        tree.report(file, after + 1, "pragma-once", "put #pragma once right after the comment")
    if file.folder == "policy" and not any("Source:" in line for line in opening):
        tree.report(file, 2, "source", "a policy names its paper: `Source:`, and where we deviate")


def check_words(tree):
    """Banned words, each with what to write instead; only cli prints; errors are values."""
    for file in tree.files:
        for number, line in enumerate(file.lines, 1):
            match = UNFINISHED.search(line)
            if match:
                tree.report(file, number, "unfinished", f"{match.group(0)}: finish it, or open an "
                            "issue and delete the note")
        if file.is_source:
            check_code_words(tree, file)


def check_code_words(tree, file):
    in_library = file.folder is not None and not file.is_for_tests
    for number, line in enumerate(file.code, 1):
        for pattern, name, instead in BANNED:
            if pattern.search(line):
                tree.report(file, number, "banned", f"{name}: {instead}")
        if in_library and THROW.search(line):
            tree.report(file, number, "throw", "return a Result; bugs are QUIRE_CHECKs")
        if in_library and file.folder != "cli" and PRINT.search(line):
            tree.report(file, number, "print", "only quire/cli prints; return what is to be said")


def check_dead_files(tree):
    """Every source is built, every header included, every script and page mentioned."""
    cmake = {os.path.dirname(file.path): file.text for file in tree.files
             if file.name == "CMakeLists.txt"}
    included = {(include, file.path) for file in tree.files if file.is_source or file.is_c
                for _, include, _ in file.includes if file.path != "quire/quire.h"}
    includers = {include for include, path in included if include != path}
    for file in tree.files:
        if file.name.endswith((".cc", C_SUFFIX)) and not is_built(file, cmake):
            tree.report(file, 1, "dead-file", "no CMakeLists.txt builds it; list it or delete it")
        elif (file.name.endswith(".h") and file.path != "quire/quire.h" and
              not includers & {file.path, file.name}):
            tree.report(file, 1, "dead-file", "nobody includes it; include it or delete it")
        elif file.path.startswith(("tools/", "docs/")) and file.name != "CMakeLists.txt":
            if not any(file.name in other.text for other in tree.files if other is not file):
                tree.report(file, 1, "dead-file", "nothing mentions it; link to it or delete it")


def is_built(file, cmake):
    """Listed by name, or by stem where the CMakeLists.txt appends the suffix to a list of stems."""
    folder = os.path.dirname(file.path)
    stem, suffix = os.path.splitext(file.name)
    while True:
        text = cmake.get(folder, "")
        if re.search(rf"(?<![\w-]){re.escape(file.name)}\b", text):
            return True
        is_in_list = re.search(rf"\}}{re.escape(suffix)}\b", text) is not None
        if is_in_list and re.search(rf"(?<![\w-]){re.escape(stem)}(?![\w-])", text):
            return True
        if not folder:
            return False
        folder = os.path.dirname(folder)


def check_links(tree):
    """Relative links between pages lead somewhere."""
    for file in filter(lambda f: f.name.endswith(".md"), tree.files):
        for number, line in enumerate(file.lines, 1):
            for target in LINK.findall(line):
                path = os.path.join(tree.root, os.path.dirname(file.path), target)
                if not os.path.exists(path):
                    tree.report(file, number, "dead-link", f"{target} does not exist")


def check_lines(tree):
    """Columns, blanks, tabs."""
    for file in tree.files:
        for number, line in enumerate(file.lines, 1):
            if file.is_code and len(line) > LINE_COLUMNS_MAX:
                tree.report(file, number, "columns", f"{len(line)} columns; break the line at "
                            f"{LINE_COLUMNS_MAX}")
            if line != line.rstrip():
                tree.report(file, number, "blanks", "remove the blanks at the end")
            if "\t" in line:
                tree.report(file, number, "tab", "use spaces")
        if file.text and (file.lines[-1] != "" or file.lines[-2:] == ["", ""]):
            tree.report(file, len(file.lines), "blanks", "end with exactly one newline")


def lines_max(file):
    return HEADER_LINES_MAX if file.name.endswith(".h") else FILE_LINES_MAX


def line_count(file):
    return file.text.count("\n")


def read_ratchet(tree):
    """{path: lines allowed} of the files that were longer than the limit when it was set."""
    ratchet = tree.by_path.get(RATCHET)
    rows = [line.split() for line in ratchet.lines] if ratchet else []
    return {row[1]: int(row[0]) for row in rows if len(row) == 2 and row[0].isdigit()}


def check_length(tree):
    """Long files may only shrink."""
    allowed = read_ratchet(tree)
    for file in filter(lambda f: f.name.endswith(SOURCE_SUFFIXES + (C_SUFFIX, ".py")),
                       tree.files):
        count, limit = line_count(file), lines_max(file)
        if count > max(limit, allowed.get(file.path, 0)):
            tree.report(file, count, "length", f"{count} lines; "
                        f"{allowed.get(file.path, limit)} are the wall, split it in two")
        elif count < allowed.get(file.path, count):
            tree.report(file, count, "length", f"it shrank to {count} lines: run tools/tidy.py "
                        "--update-ratchet, so that it stays so")
    for path in allowed.keys() - tree.by_path.keys():
        tree.report(tree.by_path[RATCHET], 1, "length", f"{path} is gone; delete its row")


def update_ratchet(tree):
    """Rows of files that are still too long, at no more than they were allowed."""
    allowed = read_ratchet(tree)
    if RATCHET not in tree.by_path:
        return
    comments = [line for line in tree.by_path[RATCHET].lines if line.startswith("#")]
    rows = []
    for path, limit in sorted(allowed.items()):
        file = tree.by_path.get(path)
        if file is not None and line_count(file) > lines_max(file):
            rows.append(f"{min(limit, line_count(file))} {path}")
    with open(os.path.join(tree.root, RATCHET), "w", encoding="utf-8") as out:
        out.write("\n".join(comments + rows) + "\n")


CHECKS = [check_includes, check_umbrella, check_opening, check_words, check_dead_files,
          check_links, check_lines, check_length]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    above = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    parser.add_argument("--root", default=above, help="the tree to check (default: this one)")
    parser.add_argument("--update-ratchet", action="store_true", help="lower the length limits")
    arguments = parser.parse_args()
    tree = Tree(arguments.root)
    if arguments.update_ratchet:
        update_ratchet(tree)
        tree = Tree(arguments.root)
    for check in CHECKS:
        check(tree)
    for path, line, rule, message in sorted(tree.findings):
        print(f"{path}:{line}: {rule}: {message}")
    count = len(tree.findings)
    print(f"tidy: {len(tree.files)} files, {count} finding{'' if count == 1 else 's'}")
    return 1 if tree.findings else 0


if __name__ == "__main__":
    sys.exit(main())
