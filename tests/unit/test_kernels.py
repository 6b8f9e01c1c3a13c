"""Compiled loops beside numpy, and what happens where their machine code cannot be kept."""

import subprocess
import sys

import numpy as np
import pytest

from hashae.indexer.compiled import has_numba, kernels
from hashae.indexer.scan import as_columns, as_rows, own

pytestmark = pytest.mark.skipif(not has_numba(), reason="numba, the extra 'fast', is not installed")


@pytest.mark.parametrize("width", [1, 3, 8, 9, 16, 24, 32, 40, 64])
def test_rows_near_a_query_are_those_that_numpy_finds(width):
    rng = np.random.default_rng(width)
    codes = rng.integers(0, 256, (1500, width), dtype=np.uint8)
    query = codes[7] ^ np.packbits(rng.random(width * 8) < 0.1)
    loops, columns = kernels(), as_columns(codes)
    rows, apart = np.empty(1500, np.int64), np.empty(1500, np.int32)
    expected = np.bitwise_count(codes ^ query).sum(axis=1, dtype=np.int32)
    for limit in (0, width, width * 4, width * 8):
        for start, stop in ((0, 1500), (5, 6), (3, 700), (9, 9)):
            found = loops.near_rows(columns, start, stop, as_rows(query[None])[0], limit, rows, apart)
            near = start + np.flatnonzero(expected[start:stop] <= limit)
            assert rows[:found].tolist() == near.tolist()
            assert apart[:found].tolist() == expected[near].tolist()


def test_words_are_padded_to_a_number_that_there_is_a_loop_for():
    for width, words in ((1, 1), (8, 1), (9, 2), (17, 3), (32, 4), (33, 8), (64, 8)):
        codes = np.full((2, width), 255, np.uint8)
        assert as_rows(codes).shape == (2, words)
        assert np.bitwise_count(as_rows(codes)).sum() == 2 * 8 * width


def test_read_only_and_shifted_arrays_become_ordinary_ones():
    frozen = np.zeros((2, 8), np.uint8)
    frozen.flags.writeable = False
    shifted = np.zeros(17, np.uint8)[1:].reshape(2, 8)
    for array in (frozen, shifted):
        mine = own(array)
        assert mine.flags.writeable
        assert mine.ctypes.data % 8 == 0
    plain = np.zeros((2, 8), np.uint8)
    assert own(plain) is plain


@pytest.mark.parametrize("trouble", ["no folder", "full disk"])
def test_machine_code_that_cannot_be_kept_is_compiled_anew(trouble):
    script = f"""
import numpy as np
from numba.core import caching
if {trouble!r} == "no folder":
    caching.CacheImpl._locator_classes = caching.CompileResultCacheImpl._locator_classes = []
else:
    def refuse(*_):
        raise OSError(28, "No space left on device")
    caching.IndexDataCacheFile.save = refuse
    caching.IndexDataCacheFile.load = lambda *_: None
from hashae.indexer import kernels
one = np.ones(3, np.uint64)
print(kernels.count_1(one, np.uint64(0), np.uint64(1)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert (done.stdout.strip(), done.returncode) == ("3", 0), done.stderr
