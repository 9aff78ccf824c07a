# SPDX-License-Identifier: Apache-2.0
"""How the command is used: help, man page, completions, wrong use, broken outputs."""
import json
import os
import re
import subprocess

from command import (COMMAND, SOURCE_DIR, VERBS, CommandTest, environment, main, run, start)


def man_page():
    with open(os.path.join(SOURCE_DIR, "docs/man/quire.1"), encoding="utf-8") as file:
        return file.read().replace("\\-", "-")


def long_options(verb):
    return sorted(set(re.findall(r"--[a-z][a-z-]*", run(verb, "--help").stdout.decode()
                                 .split("Example:")[0])))


class HelpTest(CommandTest):
    def test_the_bare_command_prints_the_table_of_verbs(self):
        ended = run()
        self.assertEqual(ended.returncode, 0)
        for verb in VERBS:
            self.assertRegex(ended.stdout.decode(), rf"(?m)^  {verb} +[A-Z]")
        self.assertNotIn(b"completion", ended.stdout)
        self.assertLessEqual(len(ended.stdout.splitlines()), 24)

    def test_every_verb_explains_itself_on_one_screen_with_an_example(self):
        for verb in VERBS:
            ended = run(verb, "--help")
            self.assertEqual(ended.returncode, 0, verb)
            lines = ended.stdout.decode().splitlines()
            self.assertLessEqual(max(map(len, lines)), 80, verb)
            self.assertLessEqual(len(lines), 40, verb)
            self.assertIn(f"  quire {verb}", ended.stdout.decode().split("Example:")[1])
            self.assertEqual([line for line in lines if line.endswith(" ")], [], verb)

    def test_the_usage_names_what_cannot_be_left_out(self):
        self.assertIn(b"quire save [OPTION]... --output FILE PATH...\n",
                      run("save", "--help").stdout)
        self.assertIn(b"quire receive [OPTION]... --listen ADDRESS TARGET\n",
                      run("receive", "--help").stdout)
        self.assertIn(b"quire recover [OPTION]... FILE...\n", run("recover", "--help").stdout)

    def test_help_wins_over_whatever_else_is_wrong(self):
        self.assertEqual(run("map", "--help", "/no/such/file").returncode, 0)

    def test_every_option_is_in_the_man_page_under_its_verb(self):
        page = man_page()
        common = page.split(".SS Output")[1].split(".SS")[0]
        for verb in VERBS:
            section = page.split(f".SS quire {verb}")[1].split(".SS")[0]
            for option in long_options(verb):
                self.assertIn(option, section + common, f"{verb} {option}")

    def test_the_man_page_has_no_option_that_is_gone(self):
        page = man_page()
        known = {option for verb in VERBS for option in long_options(verb)} | {"--version"}
        self.assertEqual(set(re.findall(r"--[a-z][a-z-]*", page)) - known, set())

    def test_the_man_page_has_no_mistakes_of_form(self):
        try:
            checked = subprocess.run(
                ["man", "--warnings", "-l", os.path.join(SOURCE_DIR, "docs/man/quire.1")],
                env=environment(MANWIDTH="80"), capture_output=True, check=False)
        except FileNotFoundError:
            self.skipTest("man: not installed")
        self.assertEqual(checked.stderr, b"")
        self.assertIn(b"quire", checked.stdout)

    def test_the_version_is_one_line(self):
        self.assertRegex(run("--version").stdout.decode(), r"\Aquire \d+\.\d+\.\d+\n\Z")


class CompletionTest(CommandTest):
    def test_every_shell_learns_every_verb_and_option(self):
        for shell in ("bash", "zsh", "fish"):
            script = run("completion", shell).stdout.decode()
            for verb in VERBS:
                self.assertIn(verb, script)
                for option in long_options(verb):
                    wanted = f"-l {option[2:]}" if shell == "fish" else option
                    self.assertIn(wanted, script, f"{shell} {verb} {option}")

    def test_bash_accepts_and_uses_its_script(self):
        script = run("completion", "bash").stdout.decode()
        for words, expected in ((["quire", "ev"], "evict"), (["quire", "map", "--wat"], "--watch"),
                                (["quire", "map", "--color", "al"], "always")):
            ask = (f'{script}\nCOMP_WORDS=({" ".join(words)}); COMP_CWORD={len(words) - 1}\n'
                   '_quire; printf "%s\\n" "${COMPREPLY[@]}"')
            found = subprocess.run(["bash", "-c", ask], capture_output=True, check=True)
            self.assertEqual(found.stdout.decode().split(), [expected])
            self.assertEqual(found.stderr, b"")

    def test_an_unknown_shell_is_wrong_use(self):
        self.assert_error(run("completion", "tcsh"), "tcsh", code=2)


class WrongUseTest(CommandTest):
    def test_a_line_that_is_not_understood_gets_one_line_and_a_hint(self):
        for arguments, parts in (
                (["mapp"], ["unknown verb 'mapp'", "did you mean 'map'?", "see 'quire --help'"]),
                (["--bad"], ["unknown option '--bad'", "see 'quire --help'"]),
                (["map", "--jsno", "x"], ["unknown option '--jsno'", "did you mean '--json'?",
                                          "see 'quire map --help'"]),
                (["map"], ["PATH... or --pid N or --top"]),
                (["map", "--pid", "0"], ["--pid"]),
                (["map", "--pid", "x"], ["--pid"]),
                (["map", "--pid", "1", "x"], ["either"]),
                (["map", "--top", "0"], ["--top takes 1 to 1000"]),
                (["map", "--top", "x"], ["either"]),
                (["map", "x", "--watch", "--json"], ["--watch redraws a terminal"]),
                (["map", "x", "--watch"], ["--watch redraws a terminal"]),
                (["map", "--top", "--watch"], ["--watch goes with PATH..."]),
                (["map", "x", "--watch", "--all"], ["so not --all"]),
                (["map", "x", "--color", "blue"], ["--color"]),
                (["warm"], ["PATH... is missing"]),
                (["warm", "x", "--threads", "0"], ["--threads"]),
                (["evict"], ["PATH... is missing"]),
                (["lock"], ["PATH... is missing"]),
                (["lock", "x", "--seconds", "-1"], ["--seconds"]),
                (["save", "x"], ["--output"]),
                (["save", "-o", "x"], ["PATH... is missing"]),
                (["restore"], ["SNAPSHOT"]),
                (["restore", "a", "b"], ["'quire restore --help'"])):
            ended = run(*arguments)
            self.assert_error(ended, *parts, code=2)
            self.assertEqual(len(ended.stderr.splitlines()), 1, arguments)
            self.assertEqual(ended.stdout, b"", arguments)

    def test_what_is_quoted_back_cannot_steer_the_terminal(self):
        for arguments in (["\x1b[2J"], ["map", "--\x1b[2J"], ["map", b"/no/\x1b[2J\xff\n"]):
            ended = run(*arguments)
            self.assertNotEqual(ended.returncode, 0)
            self.assertNotIn(b"\x1b", ended.stderr)
            self.assertEqual(ended.stderr.count(b"\n"), 1)

    def test_a_file_may_have_the_name_of_a_verb_or_look_like_an_option(self):
        for name in ("map", "warm", "--json"):
            self.write(name, b"x")
            document = run_in(self.dir, "map", "--json", "--", name)
            self.assertEqual([file["path"] for file in document["files"]], [name])

    def test_an_optional_number_does_not_swallow_a_path(self):
        self.write("name", b"x")
        ended = run("map", "--top", "name", cwd=self.dir)
        self.assert_error(ended, "either PATH... or --pid N or --top [N]", code=2)
        self.assertEqual(run("map", "--top", "1", "--json").returncode, 0)


def run_in(directory, *arguments):
    return json.loads(run(*arguments, cwd=directory).stdout)


def keys_in(value):
    if isinstance(value, dict):
        return set(value) | {key for inner in value.values() for key in keys_in(inner)}
    if isinstance(value, list):
        return {key for inner in value for key in keys_in(inner)}
    return set()


class DocumentTest(CommandTest):
    def test_every_key_of_every_document_is_described(self):
        path = self.write("file", b"x" * 5000)
        os.mkfifo(self.path("fifo"))
        snapshot = self.path("snapshot")
        with open(os.path.join(SOURCE_DIR, "docs/json.md"), encoding="utf-8") as file:
            sections = dict(section.split("\n", 1) for section in file.read().split("\n## "))
        common = sections["# The JSON documents"]
        for arguments in (["map", path, self.path("fifo")], ["map", "--pid", str(os.getpid())],
                          ["map", "--top"], ["warm", path], ["evict", path, "/usr/bin/env"],
                          ["lock", "--seconds", "0", path], ["save", path, "-o", snapshot],
                          ["restore", snapshot], ["doctor"]):
            document = json.loads(run(*arguments, "--json").stdout)
            self.assertEqual(document["verb"], arguments[0])
            for key in keys_in(document):
                self.assertIn(f"`{key}`", common + sections[arguments[0]], arguments)


class BrokenOutputTest(CommandTest):
    def setUp(self):
        super().setUp()
        for index in range(2000):  # Far more output than a pipe and the command's buffer hold.
            self.write(f"a-name-that-is-long-enough-to-fill-the-pipe-soon-{index}")

    def test_a_reader_that_goes_away_is_an_error_and_not_a_signal(self):
        for verb in ("map", "warm", "evict"):
            process = start(verb, "--json", self.dir)
            process.stdout.read(1)
            process.stdout.close()
            error = process.stderr.read()
            process.stderr.close()
            self.assertEqual(process.wait(), 1, verb)
            self.assertEqual(error.count(b"\n"), 1, error)
            self.assertIn(b"write(standard output)", error)
            self.assertIn(b"EPIPE", error)

    def test_a_full_disk_under_the_output_is_an_error(self):
        for arguments in (["--help"], ["--version"], ["map", self.dir], ["map", "--json", self.dir],
                          ["map", "--all", self.dir], ["completion", "bash"],
                          ["doctor", "--json"], ["lock", "--seconds", "0", self.dir]):
            with open("/dev/full", "wb") as full:
                ended = run(*arguments, stdout=full)
            self.assert_error(ended, "write(standard output)", "ENOSPC", "free some space")

    # Goal:   nothing that is printed ends up in a file that the command opened.
    # Method: without standard streams the snapshot would get the number of one of them.
    def test_closed_standard_streams_are_an_error_and_leave_files_alone(self):
        snapshot = self.path("snapshot")
        ended = subprocess.run(
            ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", COMMAND, "save", self.dir, "-o", snapshot],
            env=environment(), check=False)
        self.assertEqual(ended.returncode, 1)
        with open(snapshot, "rb") as file:
            lines = file.read().splitlines()
        self.assertTrue(all(line.startswith(b"{") for line in lines))
        self.assertEqual(run("restore", snapshot).returncode, 0)


class LookTest(CommandTest):
    """What depends on the terminal and the environment."""

    def test_there_is_no_colour_and_no_progress_off_a_terminal(self):
        for arguments in ([], ["--all"]):
            ended = run("map", self.write("file"), self.write("second"), *arguments)
            self.assertNotIn(b"\x1b", ended.stdout)
            self.assertEqual(ended.stderr, b"")

    def test_colour_can_be_forced_and_forbidden(self):
        path = self.write("file")
        self.assertIn(b"\x1b[", run("map", "--color=always", path).stdout)
        self.assertNotIn(b"\x1b[", run("map", "--color=never", path).stdout)

    def test_the_progress_line_goes_to_standard_error_and_erases_itself(self):
        ended = run("map", "--progress=always", self.write("file"))
        self.assertTrue(ended.stderr.endswith(b"\r\x1b[K"), ended.stderr)
        self.assertNotIn(b"\r", ended.stdout)

    def test_an_ascii_locale_gets_ascii(self):
        path = self.write("caf\u00e9")
        for arguments in (["map", path], ["map", "--all", path], ["warm", path], ["evict", path]):
            ended = run(*arguments, env=environment(LC_ALL="C"))
            self.assertTrue((ended.stdout + ended.stderr).isascii(), ended)

    def test_columns_bound_every_line_of_a_table(self):
        for index in range(5):
            self.write(f"{index}-{'n' * 200}", b"x" * 5000)
        for columns in (60, 80, 100, 140):
            ended = run("map", self.dir, env=environment(COLUMNS=str(columns)))
            table = ended.stdout.decode().splitlines()[:-1]  # The last line is a sentence.
            self.assertEqual(len(table), 6)
            self.assertLessEqual(max(map(len, table)), columns)


if __name__ == "__main__":
    main()
