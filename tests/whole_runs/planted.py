"""Secrets that a test has planted, or seen drawn, and where they turn up again.

A file is looked at as it lies there, and as what it holds: members of archives, gzip, Parquet and
Arrow. A secret is looked for as bytes and as what writes bytes: hexadecimal, base64, wide
characters; numbers in decimal, and as the words that arrays are made of.
"""

import base64
import gzip
import io
import os
import random
import re
import sys
import tarfile
import zipfile

import numpy as np
import pyarrow as pa
from pyarrow import parquet

import fedrec_tff

_PACKAGE = os.path.dirname(fedrec_tff.__file__) + os.sep
_WORD_BYTES = 8
_DECIMAL = re.compile(rb"\d{12,40}")
_HEXADECIMAL = re.compile(rb"[0-9a-fA-F]{16,}")
# Callers whose draws are names that all may know: identifiers, and names of temporary files.
_PUBLIC = ("uuid.py", "tempfile.py", "output_folder.py", "random.py:seed")


def find_forms(secret):
    """Texts and bytes that tell a secret: bytes, lower-case where the case tells nothing."""
    forms = {secret, secret.lower(), secret.hex().encode()}
    text = secret.decode("latin-1")
    forms |= {text.encode(wide) for wide in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")}
    for shift in range(3):
        # What does not depend on the bytes before and behind.
        encoded = base64.b64encode(b"\0" * shift + secret)
        whole = encoded[(0, 2, 3)[shift] : len(encoded) // 4 * 4 - 4]
        forms |= {whole, whole.translate(bytes.maketrans(b"+/", b"-_"))}
    return forms


class Planted:
    """What must be nowhere but where it is said to be."""

    def __init__(self):
        self._forms = {}
        self._words = {}
        self._decimals = {}

    def add_text(self, name, text):
        """A text that stands in many secrets, such as the beginning of all ids."""
        for form in find_forms(text.encode()):
            self._forms[form] = name

    def add_bytes(self, name, secret):
        """Random bytes, and the integers that they are."""
        self.add_text(name, secret.hex())
        for form in find_forms(secret):
            self._forms[form] = name
        for begin in range(0, len(secret) - _WORD_BYTES + 1, _WORD_BYTES):
            for order in ("little", "big"):
                word = int.from_bytes(secret[begin : begin + _WORD_BYTES], order)
                self.add_word(name, word)
        for order in ("little", "big"):
            self._add_decimal(name, int.from_bytes(secret, order))

    def add_word(self, name, word):
        """A random integer of 64 bits, signed or not."""
        word %= 2**64
        if word < 2**32:
            # No random word: it would be found by chance.
            return
        self._words[word] = name
        self._words[int.from_bytes(word.to_bytes(_WORD_BYTES, "little"), "big")] = name
        for number in (word, 2**64 - word):
            self._add_decimal(name, number)

    def _add_decimal(self, name, number):
        if number >= 10**12:
            self._decimals[str(number).encode()] = name

    def find(self, data):
        """Names of the secrets that bytes tell."""
        found = {name for form, name in self._forms.items() if form in data}
        lower = data.lower()
        found |= {name for form, name in self._forms.items() if form in lower}
        found |= {
            self._decimals[number] for number in _DECIMAL.findall(data) if number in self._decimals
        }
        for digits in _HEXADECIMAL.findall(data):
            for begin in range(0, len(digits) - 15, 2):
                word = int(digits[begin : begin + 16], 16)
                if word in self._words:
                    found.add(self._words[word])
        if self._words:
            words = np.fromiter(self._words, np.uint64, len(self._words))
            for shift in range(min(_WORD_BYTES, len(data))):
                count = (len(data) - shift) // _WORD_BYTES
                here = np.frombuffer(data, "<u8", count, shift)
                found |= {self._words[int(word)] for word in here[np.isin(here, words)]}
        return found

    def find_in_folder(self, root):
        """Path of each file, as it is under the folder, to the names of what it tells."""
        found = {}
        for path in sorted(root.rglob("*")):
            told = self.find(os.fsencode(path.name))
            if path.is_file():
                for data in open_layers(path.name, path.read_bytes()):
                    told |= self.find(data)
            if told:
                found[path.relative_to(root).as_posix()] = told
        return found


def open_layers(name, data):
    """Bytes of a file, and of all that is packed into it."""
    yield data
    if data[:4] == b"PK\3\4":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.namelist():
                yield member.encode()
                yield from open_layers(member, archive.read(member))
    elif data[:2] == b"\x1f\x8b":
        yield from open_layers(name, gzip.decompress(data))
    elif data[257:262] == b"ustar":
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive.getmembers():
                if member.isfile():
                    yield from open_layers(member.name, archive.extractfile(member).read())
    elif data[:4] == b"PAR1":
        yield _write_out(parquet.read_table(pa.BufferReader(data)))
    elif data[:6] == b"ARROW1":
        yield _write_out(pa.ipc.open_file(pa.BufferReader(data)).read_all())


def _write_out(table):
    return repr([*table.schema.names, *table.to_pylist()]).encode()


class Draws:
    """What Python draws from the operating system, and for whom."""

    def __init__(self, monkeypatch):
        self.by_caller = {}
        draw = os.urandom

        def note(size):
            drawn = draw(size)
            caller = _find_caller()
            if caller is not None:
                self.by_caller.setdefault(caller, []).append(drawn)
            return drawn

        monkeypatch.setattr(os, "urandom", note)
        # What `secrets` draws.
        monkeypatch.setattr(random, "_urandom", note)


def _find_caller():
    """The file of ours that a secret is drawn for; None if it is none, or nobody's of ours."""
    frame = sys._getframe(2)
    while frame is not None:
        path = frame.f_code.co_filename
        name = path.rpartition("/")[2]
        if name in _PUBLIC or f"{name}:{frame.f_code.co_name}" in _PUBLIC:
            return None
        if path.startswith(_PACKAGE):
            return path.removeprefix(_PACKAGE)
        frame = frame.f_back
    return None
