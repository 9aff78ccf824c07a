# SPDX-License-Identifier: Apache-2.0
"""Reads a journal as docs/formats.md has it, and as nothing else has it: a second witness.

Everything that the page says is asserted, also that the bytes it calls zeros are zeros.
"""
import ctypes
import struct
from dataclasses import dataclass, field

SLOT = 16384
CIRCLE = 2 * SLOT
BLOCK = 4096
COUNT_MAX = 2 ** 62
RESIZE, COMMIT = 1, 2

_xxhash = ctypes.CDLL("libxxhash.so.0")
_xxhash.XXH3_64bits.restype = ctypes.c_uint64
_xxhash.XXH3_64bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]


def xxh3(data):
    return _xxhash.XXH3_64bits(bytes(data), len(data))


def assert_zeros(data, what):
    assert not any(data), f"{what}: no zeros"


@dataclass
class Superblock:
    page_bytes: int
    uuid: bytes
    generation: int
    epoch: int
    log_bytes: int
    tail: int
    tail_lsn: int
    tail_commit: int
    is_clean: bool
    files: list  # Of (inode, size, name).


@dataclass
class Record:
    position: int
    length: int
    lsn: int
    durable_lsn: int
    commit: int
    marks: list  # Of (kind, file, transaction, size).
    images: list  # Of (offset, transaction, checksum, file, bytes).

    def is_commit(self):
        return any(mark[0] == COMMIT for mark in self.marks)


def parse_slot(slot):
    """None: not valid."""
    magic, version, page_bytes, uuid = struct.unpack_from("<8sII16s", slot)
    (generation, epoch, log_bytes, tail, tail_lsn, tail_commit, file_count, flags,
     check) = struct.unpack_from("<6QIIQ", slot, 32)
    if magic != b"quireJNL" or check != xxh3(slot[:88] + slot[96:]):
        return None
    assert version == 1
    assert page_bytes in (4096, 8192, 16384, 32768, 65536)
    assert log_bytes % page_bytes == 0 and log_bytes >= max(65536, 16 * page_bytes)
    assert tail % BLOCK == 0 and tail + BLOCK + page_bytes <= log_bytes
    assert max(generation, epoch, tail_lsn, tail_commit) <= COUNT_MAX
    assert file_count <= 31 and flags & ~1 == 0
    assert_zeros(slot[96:512], "slot, 96 to 512")
    files = []
    for at in range(512, SLOT, 512):
        entry = slot[at:at + 512]
        if len(files) == file_count:
            assert_zeros(entry, "an unused entry")
            continue
        inode, rest, size, name_length = struct.unpack_from("<QQQI", entry)
        assert rest == 0 and name_length <= 472
        assert_zeros(entry[28:40] + entry[40 + name_length:], "a file's entry")
        files.append((inode, size, entry[40:40 + name_length]))
    return Superblock(page_bytes, uuid, generation, epoch, log_bytes, tail, tail_lsn, tail_commit,
                      flags == 1, files)


def parse_record(circle, position, superblock, lsn):
    """None: the log ends here."""
    header = circle[position:position + BLOCK]
    magic, length, mark_count, image_count, zero, uuid = struct.unpack_from("<8s4I16s", header)
    if magic != b"quireREC" or uuid != superblock.uuid:
        return None
    if length != (128 + 32 * (mark_count + image_count) + BLOCK - 1) // BLOCK * BLOCK:
        return None
    header = circle[position:position + length]
    epoch, found_lsn, durable_lsn, commit, found_position, check = struct.unpack_from("<6Q",
                                                                                      header, 40)
    if (epoch, found_position, found_lsn) != (superblock.epoch, position, lsn):
        return None
    if check != xxh3(header[:80] + header[88:]):
        return None
    assert mark_count <= 1024 and image_count <= 1024 and zero == 0 and durable_lsn < lsn
    assert_zeros(header[88:128], "record, 88 to 128")
    marks = [struct.unpack_from("<IIQQQ", header, 128 + 32 * i) for i in range(mark_count)]
    at = 128 + 32 * mark_count
    page = superblock.page_bytes
    images = []
    for i in range(image_count):
        offset, transaction, checksum, file, rest = struct.unpack_from("<QQQII", header,
                                                                       at + 32 * i)
        assert offset % page == 0 and file < len(superblock.files) and rest == 0
        begin = position + length + i * page
        images.append((offset, transaction, checksum, file, circle[begin:begin + page]))
    assert_zeros(header[at + 32 * image_count:], "the end of a header")
    for kind, file, _, size, rest in marks:
        assert kind in (RESIZE, COMMIT) and file < len(superblock.files) and rest == 0
        assert kind == RESIZE or size == 0
    record = Record(position, length + image_count * page, lsn, durable_lsn, commit,
                    [mark[:4] for mark in marks], images)
    assert position + record.length <= superblock.log_bytes, "a record wraps"
    return record


class Journal:
    def __init__(self, data):
        slots = [parse_slot(data[:SLOT]), parse_slot(data[SLOT:CIRCLE])]
        for number, slot in enumerate(slots):
            assert slot is None or slot.generation % 2 == number
        self.superblock = max((slot for slot in slots if slot), key=lambda slot: slot.generation)
        assert len(data) == CIRCLE + self.superblock.log_bytes
        self.records = [] if self.superblock.is_clean else self._read_records(data[CIRCLE:])

    def _read_records(self, circle):
        superblock = self.superblock
        records = []
        position, lsn = superblock.tail, superblock.tail_lsn
        while (record := parse_record(circle, position, superblock, lsn)) is not None:
            records.append(record)
            position, lsn = position + record.length, lsn + 1
            if superblock.log_bytes - position < BLOCK + superblock.page_bytes:
                position = 0
        durable_lsn = max((record.durable_lsn for record in records), default=0)
        for number, record in enumerate(records):
            are_good = all(xxh3(image[4]) == image[2] for image in record.images)
            assert are_good or record.lsn > durable_lsn
            if not are_good:
                return records[:number]
        return records

    def last_commit(self):
        return max((record.commit for record in self.records if record.is_commit()),
                   default=self.superblock.tail_commit)

    def recover(self, contents):
        """What the files are at the last commit, from what they are now."""
        files = [_File(content, entry[1])
                 for content, entry in zip(contents, self.superblock.files, strict=True)]
        for record in self.records:
            for kind, file, transaction, size in record.marks:
                if kind == RESIZE:
                    files[file].enter(transaction).append((size, None, None))
            for offset, transaction, _, file, image in record.images:
                files[file].enter(transaction).append((None, offset, image))
            for kind, file, transaction, _ in record.marks:
                if kind == COMMIT:
                    files[file].commit(transaction)
        return [bytes(file.content) for file in files]


@dataclass
class _File:
    content: bytearray
    size: int
    transaction: int = -1
    changes: list = field(default_factory=list)

    def __post_init__(self):
        self.content = bytearray(self.content)
        self._resize(self.size)

    def enter(self, transaction):
        assert transaction >= self.transaction, "numbers only grow"
        if transaction != self.transaction:
            self.transaction, self.changes = transaction, []
        return self.changes

    def commit(self, transaction):
        for size, offset, image in self.enter(transaction):
            if image is None:
                self._resize(size)
            elif offset < len(self.content):
                end = min(offset + len(image), len(self.content))
                self.content[offset:end] = image[:end - offset]
        self.transaction, self.changes = transaction + 1, []

    def _resize(self, size):
        del self.content[size:]
        self.content.extend(bytes(size - len(self.content)))
