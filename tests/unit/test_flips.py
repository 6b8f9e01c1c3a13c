"""Enumerated neighbourhoods against their definition."""

import re

import numpy as np
import pytest

from hashae.codes import hamming_to
from hashae.errors import ConfigError, SearchTooLarge
from hashae.indexer.flips import neighbourhood_size, neighbours


@pytest.mark.parametrize("radius", range(17))
def test_neighbours_of_16_bits_are_all_codes_within_the_radius(radius):
    code = np.array([0xA5, 0x3C], np.uint8)
    every = np.arange(1 << 16, dtype=">u2").view(np.uint8).reshape(-1, 2)
    distances = hamming_to(every, code)
    found, counted = neighbours(code, radius)
    assert found.dtype == np.uint8
    assert len(found) == neighbourhood_size(16, radius)
    assert np.array_equal(counted, hamming_to(found, code))
    assert (np.diff(counted) >= 0).all()
    values = found.view(">u2").ravel().tolist()
    assert len(set(values)) == len(values)
    assert set(values) == set(np.flatnonzero(distances <= radius).tolist())


def test_size_of_64_bit_neighbourhoods():
    assert [neighbourhood_size(64, r) for r in range(5)] == [1, 65, 2_081, 43_745, 679_121]
    assert neighbourhood_size(8, 8) == 256


def test_wide_codes():
    code = np.arange(32, dtype=np.uint8)
    found, distances = neighbours(code, 2)
    assert found.shape == (1 + 256 + 256 * 255 // 2, 32)
    assert np.array_equal(np.bincount(distances), [1, 256, 32640])
    assert np.array_equal(hamming_to(found, code), distances)


def test_too_many_are_refused_before_they_are_listed():
    sentence = (
        "method 'flips' would look up 679,121 codes (radius 4 on 64 bits); the limit is 1,000: "
        "use method 'auto', which answers the same, or a smaller radius"
    )
    with pytest.raises(SearchTooLarge, match=re.escape(sentence)):
        neighbours(np.zeros(8, np.uint8), 4, limit=1000)
    with pytest.raises(SearchTooLarge, match="the limit is 1,000,000"):
        neighbours(np.zeros(32, np.uint8), 128)


def test_radius_outside_the_code_is_refused():
    with pytest.raises(ConfigError, match="radius is 9; expected a whole number of bits from 0 to 8, the code length"):
        neighbourhood_size(8, 9)
