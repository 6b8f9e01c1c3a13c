"""The order of the bits is part of every stored collection: these values must never change."""

from __future__ import annotations

import numpy as np
import pytest

from hashae.codes import from_hex, hamming, keys, pack, to_hex, unpack


@pytest.mark.parametrize("bit", range(24))
def test_bit_i_is_mask_0x80_shifted_in_byte_i_over_8(bit):
    bits = np.zeros((1, 24), bool)
    bits[0, bit] = True
    expected = [0, 0, 0]
    expected[bit // 8] = 0x80 >> (bit % 8)
    assert pack(bits).tolist() == [expected]
    assert np.flatnonzero(unpack(np.array([expected], np.uint8))[0]).tolist() == [bit]


def test_a_code_in_full():
    text = "0110_1001 1000_0000 0000_0001 1111_0000 0000_1111 1010_1010 0101_0101 1100_0011"
    bits = np.array([[int(digit) for digit in text if digit in "01"]])
    codes = pack(bits)
    assert codes.tolist() == [[0x69, 0x80, 0x01, 0xF0, 0x0F, 0xAA, 0x55, 0xC3]]
    assert to_hex(codes) == ["698001f00faa55c3"]
    assert keys(codes).tolist() == [0x698001F00FAA55C3]
    assert unpack(codes).astype(int).tolist() == bits.tolist()


def test_keys_are_signed_and_big_endian():
    codes = from_hex(["8000000000000000", "ffffffffffffffff", "0000000000000001", "0100000000000000"])
    assert keys(codes).tolist() == [-(2**63), -1, 1, 2**56]


def test_short_keys_are_never_negative():
    assert keys(from_hex(["83", "ff"])).tolist() == [131, 255]
    assert keys(from_hex(["8001"])).tolist() == [0x8001]
    assert keys(from_hex(["ffffffffff"])).tolist() == [0xFFFFFFFFFF]


def test_distances():
    a = from_hex(["00ff00ff", "698001f0"])
    assert hamming(a, from_hex(["00000000", "00ff00fe", "ffffffff"])).tolist() == [[16, 1, 16], [10, 15, 22]]
