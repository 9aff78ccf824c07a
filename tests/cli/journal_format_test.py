# SPDX-License-Identifier: Apache-2.0
"""docs/formats.md against the code: a reader made from that page alone, over journals of random
work, finds the records that quire journal finds, and the files that quire recover makes."""
import os
import random
import subprocess

from command import CommandTest, main, run, run_json
from journal_reader import Journal

FIXTURE = os.environ["QUIRE_JOURNAL_FIXTURE"]
ROUNDS = 40


class JournalFormatTest(CommandTest):
    def read(self, path):
        with open(path, "rb") as file:
            return file.read()

    def worked(self, seed, steps):
        """Paths of three files whose journal a crash has left."""
        paths = [self.path(f"{seed}-{name}") for name in "abc"]
        subprocess.run([FIXTURE, "--random", str(seed), str(steps), *paths], check=True, timeout=60)
        return paths

    def test_the_page_is_enough_to_read_and_recover_a_journal(self):
        first_seed = random.SystemRandom().randrange(2 ** 32)
        totals = dict.fromkeys(("records", "commits", "wrapped", "resizes"), 0)
        for seed in range(first_seed, first_seed + ROUNDS):
            with self.subTest(seed=seed):
                paths = self.worked(seed, steps=20 + 3 * (seed - first_seed))
                journal = Journal(self.read(paths[0] + ".quire-journal"))
                self.compare_records(journal, run_json("journal", paths[0], "--verify"))
                wanted = journal.recover([self.read(path) for path in paths])
                out = run("recover", paths[0])
                self.assertEqual(out.returncode, 0, out.stderr)
                for path, content in zip(paths, wanted):
                    self.assertEqual(self.read(path), content)
                self.assertTrue(Journal(self.read(paths[0] + ".quire-journal"))
                                .superblock.is_clean)
                self.count(journal, totals)
        for name, total in totals.items():
            self.assertGreater(total, 0, name)

    def compare_records(self, journal, document):
        self.assertEqual(document["uuid"], journal.superblock.uuid.hex())
        self.assertEqual((document["generation"], document["epoch"]),
                         (journal.superblock.generation, journal.superblock.epoch))
        self.assertEqual(document["last_commit"], journal.last_commit())
        self.assertEqual(
            [(record["lsn"], record["offset_bytes"], record["length_bytes"], record["images"])
             for record in document["records"]],
            [(record.lsn, record.position, record.length, len(record.images))
             for record in journal.records])

    def count(self, journal, totals):
        positions = [record.position for record in journal.records]
        totals["records"] += len(positions)
        totals["commits"] += sum(record.is_commit() for record in journal.records)
        totals["wrapped"] += positions != sorted(positions)
        totals["resizes"] += sum(mark[0] == 1 for record in journal.records
                                 for mark in record.marks)

    def test_a_clean_journal_is_read(self):
        path, = self.worked(1, steps=30)[:1]
        self.assertEqual(run("recover", path).returncode, 0)
        journal = Journal(self.read(path + ".quire-journal"))
        self.assertEqual(journal.records, [])
        self.assertEqual([entry[0] for entry in journal.superblock.files][0], os.stat(path).st_ino)
        self.assertEqual(journal.superblock.files[0][2].decode(), os.path.abspath(path))

    def test_the_file_says_which_journal_it_needs(self):
        paths = self.worked(2, steps=30)
        uuid = Journal(self.read(paths[0] + ".quire-journal")).superblock.uuid
        for number, path in enumerate(paths):
            self.assertEqual(os.getxattr(path, "user.quire.journal").decode(),
                             f"{uuid.hex()} {number}")


if __name__ == "__main__":
    main()
