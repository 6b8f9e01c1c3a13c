"""The index on disk: what was kept answers alike; whatever is wrong with the file, it is made anew."""

import json
import logging
import os
import struct
import sys
import zlib

import numpy as np
import pytest

from hashae.errors import CodeError
from hashae.indexer import cache
from hashae.indexer import engines as engines_module
from hashae.indexer.cache import Stamp, Unusable, cache_path, load_index, read_arrays, save_index, write_arrays
from hashae.indexer.index import HashIndex

STAMP = Stamp("fingerprint", 1, "today", 7, 64)


def made(bits=64, n=3000):
    rng = np.random.default_rng(bits)
    index = HashIndex(bits)
    index.add(np.sort(rng.choice(10 * n, n, replace=False)), rng.integers(0, 256, (n, bits // 8), dtype=np.uint8))
    return index


def kept(tmp_path, bits=64, n=3000):
    path, index = tmp_path / "c.db.index-1", made(bits, n)
    stamp = Stamp("fingerprint", 1, "today", 7, bits)
    assert save_index(path, index, stamp)
    return path, index, stamp


@pytest.mark.parametrize("bits", [8, 64, 72, 256])
@pytest.mark.parametrize("n", [1, 2, 3000])
def test_what_was_kept_answers_alike(tmp_path, bits, n):
    path, index, stamp = kept(tmp_path, bits, n)
    loaded = load_index(path, stamp)
    assert np.array_equal(loaded.ids, index.ids)
    assert np.array_equal(loaded.codes, index.codes)
    for radius in (0, 3, bits // 4):
        assert loaded.within_many(index.codes[:20], radius, method="bands") == index.within_many(
            index.codes[:20], radius, method="scan"
        )
    assert loaded.nearest_many(index.codes[:5], 7) == index.nearest_many(index.codes[:5], 7)
    assert os.listdir(tmp_path) == [path.name]


def test_what_was_kept_is_used_and_may_change(tmp_path, monkeypatch):
    path, index, stamp = kept(tmp_path)
    content = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(engines_module.MultiIndex, "build", None)  # nothing may be sorted again
        loaded = load_index(path, stamp)
        assert loaded.within(index.codes[5], 2, method="bands") == index.within(index.codes[5], 2, method="scan")
    loaded.add([10**9], index.codes[:1])
    assert len(loaded.within(index.codes[0], 0, method="bands")) == len(index.within(index.codes[0], 0)) + 1
    assert path.read_bytes() == content


def test_the_derived_order_of_bits_is_kept(tmp_path):
    path, index, stamp = kept(tmp_path)
    assert np.array_equal(read_arrays(path, stamp)["order"], index.bands().arrays()["order"])


def test_no_file_is_no_index(tmp_path):
    assert load_index(tmp_path / "none", STAMP) is None


@pytest.mark.parametrize(
    "other",
    [
        Stamp("another", 1, "today", 7, 64),
        Stamp("fingerprint", 2, "today", 7, 64),
        Stamp("fingerprint", 1, "yesterday", 7, 64),
        Stamp("fingerprint", 1, "today", 8, 64),
    ],
)
def test_a_stale_index_is_not_used_and_nothing_is_said(tmp_path, other, caplog):
    path, _, _ = kept(tmp_path)
    with caplog.at_level(logging.INFO):
        assert load_index(path, other) is None
    assert not caplog.records
    with caplog.at_level(logging.DEBUG):
        assert load_index(path, other) is None
    assert "was made before the collection changed; made anew" in caplog.text


def with_header(content, **changes):
    length, _ = struct.unpack("<II", content[8:16])
    about = json.loads(content[16 : 16 + length]) | changes
    header = json.dumps(about, separators=(",", ":")).encode()
    header += b" " * (length - len(header))
    return content[:8] + struct.pack("<II", len(header), zlib.crc32(header)) + header + content[16 + length :]


def replaced(content, at, value):
    return content[:at] + bytes([value]) + content[at + 1 :]


DAMAGE = {
    "empty": (lambda _: b"", "is not an index of hashae"),
    "foreign": (lambda content: b"SQLite format 3\0" + content[16:], "is not an index of hashae"),
    "short": (lambda content: content[:12], "is cut off"),
    "cut in the header": (lambda content: content[:100], "is cut off, or its header is damaged"),
    "cut": (lambda content: content[:-64], "bytes where its header promises"),
    "longer": (lambda content: content + b"x", "bytes where its header promises"),
    "header": (lambda content: replaced(content, 40, content[40] ^ 1), "has a damaged header"),
    "newer": (lambda content: with_header(content, format=2), "was written by a newer hashae"),
    "order": (
        lambda content: with_header(content, byteorder="big" if sys.byteorder == "little" else "little"),
        "was written by a machine with another byte order",
    ),
    "no stamp": (lambda content: with_header(content, stamp=None)[: -0 or None], "was made before"),
    "no meaning": (lambda content: with_header(content, bytes="many"), "has a header without meaning"),
    "a bit": (lambda content: replaced(content, len(content) - 100, content[-100] ^ 16), "a checksum differs"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_index_is_not_used_and_told_once(tmp_path, name, caplog):
    path, index, stamp = kept(tmp_path)
    damage, sentence = DAMAGE[name]
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(Unusable, match=sentence):
        read_arrays(path, stamp)
    with caplog.at_level(logging.DEBUG):
        assert load_index(path, stamp) is None
    assert len(caplog.records) == 1
    assert f"index {path} " in caplog.text
    assert save_index(path, index, stamp)
    assert load_index(path, stamp) is not None


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("ids", lambda a: a[::-1], "a number in it leads nowhere"),
        ("order", np.zeros_like, "a number in it leads nowhere"),
        ("widths", lambda a: a + 1, "a number in it leads nowhere"),
        ("lengths", lambda a: a + 1, "a number in it leads nowhere"),
        ("start", lambda a: a[::-1], "a number in it leads nowhere"),
        ("start", lambda a: a[:-1], "a number in it leads nowhere"),
        ("means", lambda a: a * np.nan, "a number in it leads nowhere"),
        ("rows", lambda a: a + 1, "a number in it leads nowhere"),
        ("rows", lambda a: a[:, ::-1], "a code is not where it belongs"),
        ("words", lambda a: a ^ np.uint64(1), "a code is not where it belongs"),
        ("codes", lambda a: a ^ np.uint8(1), "a code is not where it belongs"),
        ("codes", lambda a: a[:, :4], "an array 'codes' of another shape than its stamp asks for"),
        ("rows", lambda a: a.astype(np.uint64), "an array 'rows' of another shape than its stamp asks for"),
        ("rows", lambda a: a.astype(np.int16), "an array 'rows' of an unknown kind"),
        ("words", None, "lacks its array 'words'"),
    ],
)
def test_arrays_that_would_lead_astray_are_refused(tmp_path, name, change, sentence):
    path, index, stamp = kept(tmp_path)
    arrays = {"ids": index.ids, "codes": index.codes, **index.bands().arrays()}
    if change is None:
        del arrays[name]
    else:
        arrays[name] = change(arrays[name])
    write_arrays(path, arrays, stamp)
    with pytest.raises(Unusable, match=sentence):
        read_arrays(path, stamp)
    assert load_index(path, stamp) is None


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(28, "No space left on device")])
def test_an_index_that_cannot_be_kept_is_no_error(tmp_path, monkeypatch, caplog, error):
    path, index, stamp = kept(tmp_path)
    content = path.read_bytes()

    def refuse(*_):
        raise error

    monkeypatch.setattr(cache.os, "replace", refuse)
    with caplog.at_level(logging.DEBUG):
        assert not save_index(path, index, stamp)
    assert f"is not kept: [Errno {error.errno}] {error.strerror}" in caplog.text
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == [path.name]


def test_an_index_that_cannot_be_read_is_told(tmp_path, caplog):
    path = tmp_path / "c.db.index-1"
    path.mkdir()
    assert load_index(path, STAMP) is None
    assert "cannot be read (Is a directory); made anew" in caplog.text


def test_too_little_memory_for_bands_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setattr(engines_module, "memory_left", lambda: 1000)
    monkeypatch.setattr(engines_module, "WATCHED_FROM", 0)
    assert not save_index(tmp_path / "x", made(), STAMP)
    assert not os.listdir(tmp_path)


def test_the_name_is_that_of_the_collection(tmp_path):
    assert cache_path(tmp_path / "photos.db", 3) == tmp_path / "photos.db.index-3"


def test_rows_in_order_are_taken_as_they_are():
    index = made()
    ids, codes = index.ids, index.codes
    again = HashIndex.from_sorted(64, ids, codes)
    assert again.within(codes[3], 5) == index.within(codes[3], 5)
    for change, sentence in (
        ((ids[::-1], codes), "ids do not ascend; expected each id once, in order: use add for others"),
        ((ids[1:], codes), "ids are int64 of shape .2999,.; expected int64 of shape .3000,."),
        ((ids, codes[:, :4]), "codes are 32 bits wide; expected 64 bits"),
    ):
        with pytest.raises(CodeError, match=sentence):
            HashIndex.from_sorted(64, *change)
