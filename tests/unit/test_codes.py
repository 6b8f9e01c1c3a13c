"""Packed codes: every sentence of `CodeError`, and the small promises of each function."""

from __future__ import annotations

import re

import numpy as np
import pytest

from hashae.codes import as_words, check_bits, check_codes, from_hex, hamming, hamming_to, keys, pack, to_hex, unpack
from hashae.errors import CodeError, ConfigError, HashaeError


def raises_sentence(error, sentence):
    return pytest.raises(error, match=f"^{re.escape(sentence)}$")


@pytest.mark.parametrize("bits", [8, 64, 72, 256, 512])
def test_legal_lengths(bits):
    assert check_bits(bits) == bits


@pytest.mark.parametrize("bits", [-8, 0, 4, 12, 520])
def test_illegal_lengths(bits):
    with raises_sentence(ConfigError, f"bits is {bits}; expected a multiple of 8 from 8 to 512"):
        check_bits(bits)


@pytest.mark.parametrize(
    ("codes", "found"),
    [
        (np.zeros((2, 8), np.int64), "int64 of shape (2, 8)"),
        (np.zeros(8, np.uint8), "uint8 of shape (8,)"),
        (np.zeros((1, 2, 8), np.uint8), "uint8 of shape (1, 2, 8)"),
    ],
)
def test_codes_of_another_kind(codes, found):
    with raises_sentence(CodeError, f"codes are {found}; expected uint8 of shape (n, bits // 8), as pack() makes"):
        check_codes(codes)


def test_codes_of_another_width():
    sentence = "codes are 64 bits wide; expected 256 bits: encode with the index's own encoder"
    with raises_sentence(CodeError, sentence):
        check_codes(np.zeros((1, 8), np.uint8), bits=256)


@pytest.mark.parametrize("width", [0, 65])
def test_codes_too_narrow_or_too_wide(width):
    with raises_sentence(CodeError, f"codes are {width * 8} bits wide; expected 8 to 512 bits"):
        check_codes(np.zeros((1, width), np.uint8))


def test_checked_codes_are_contiguous(rng):
    codes = rng.integers(0, 256, (6, 16), dtype=np.uint8)
    checked = check_codes(codes[::2, ::2])
    assert checked.flags.c_contiguous
    assert np.array_equal(checked, codes[::2, ::2])


@pytest.mark.parametrize("shape", [(8,), (2, 7), (2, 0), (1, 2, 8)])
def test_pack_refuses_shapes(shape):
    with raises_sentence(CodeError, f"bits have shape {shape}; expected (n, bits) with bits a multiple of 8"):
        pack(np.zeros(shape, bool))


@pytest.mark.parametrize("value", [2, -1, 0.5, np.nan])
def test_pack_refuses_logits(value):
    bits = np.zeros((2, 8))
    bits[1, 3] = value
    with raises_sentence(
        CodeError, "bits hold values other than 0 and 1; threshold the logits first: pack(logits > 0)"
    ):
        pack(bits)


def test_pack_takes_booleans_integers_and_floats():
    bits = np.array([[1, 0, 0, 1, 1, 0, 1, 1]])
    assert pack(bits).tolist() == pack(bits.astype(bool)).tolist() == pack(bits.astype(np.float32)).tolist() == [[155]]


def test_no_codes_are_codes():
    assert pack(np.zeros((0, 16), bool)).shape == (0, 2)
    assert unpack(np.zeros((0, 2), np.uint8)).shape == (0, 16)
    assert keys(np.zeros((0, 2), np.uint8)).shape == (0,)
    assert hamming(np.zeros((0, 2), np.uint8), np.zeros((3, 2), np.uint8)).shape == (0, 3)


@pytest.mark.parametrize(
    ("width", "word"), [(8, np.uint64), (32, np.uint64), (4, np.uint32), (6, np.uint16), (5, np.uint8)]
)
def test_words_are_as_wide_as_the_width_allows(width, word, rng):
    codes = rng.integers(0, 256, (3, width), dtype=np.uint8)
    words = as_words(codes)
    assert words.dtype == word
    assert words.tobytes() == codes.tobytes()


@pytest.mark.parametrize("count", [hamming, lambda a, b: hamming_to(a, b[:1])])
def test_distance_needs_equal_widths(count):
    with raises_sentence(CodeError, "codes are 64 and 128 bits wide; expected equal widths"):
        count(np.zeros((2, 8), np.uint8), np.zeros((2, 16), np.uint8))


def test_distance_of_unequal_widths_with_as_many_words():
    with raises_sentence(CodeError, "codes are 64 and 32 bits wide; expected equal widths"):
        hamming_to(np.zeros((2, 8), np.uint8), np.zeros(4, np.uint8))


def test_distance_types(rng):
    codes = rng.integers(0, 256, (5, 8), dtype=np.uint8)
    assert hamming(codes, codes).dtype == np.int32
    assert hamming_to(codes, codes[0]).dtype == np.int32
    assert hamming_to(codes, codes[:1]).tolist() == hamming_to(codes, codes[0]).tolist()


@pytest.mark.parametrize("text", ["8g", "123", "0x12", "é0"])
def test_not_hexadecimal(text):
    sentence = f"{text!r} is not a hexadecimal code; expected two digits 0-9a-f for each byte"
    with raises_sentence(CodeError, sentence):
        from_hex(["00", text])


def test_hexadecimal_of_two_lengths():
    with raises_sentence(CodeError, "hexadecimal codes have lengths [2, 4]; expected one length"):
        from_hex(["00", "ffff", "01"])


def test_no_hexadecimal():
    with raises_sentence(CodeError, "no hexadecimal code given; expected at least one"):
        from_hex([])


def test_hexadecimal_from_an_iterator_and_in_capitals():
    assert from_hex(iter(["8F", "8f"])).tolist() == [[143], [143]]


def test_empty_hexadecimal_is_too_narrow():
    with raises_sentence(CodeError, "codes are 0 bits wide; expected 8 to 512 bits"):
        from_hex([""])


def test_key_of_a_wide_code_is_its_first_64_bits(rng):
    codes = rng.integers(0, 256, (4, 32), dtype=np.uint8)
    assert keys(codes).tolist() == keys(codes[:, :8]).tolist()


def test_code_errors_are_value_errors_and_ours():
    assert issubclass(CodeError, ValueError)
    assert issubclass(CodeError, HashaeError)
    assert to_hex(pack(np.ones((1, 8), bool))) == ["ff"]
