"""Round trips and distances of packed codes, for all lengths and contents."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hashae.codes import MAX_BITS, MIN_BITS, from_hex, hamming, hamming_to, keys, pack, to_hex, unpack

WIDTHS = st.integers(MIN_BITS // 8, MAX_BITS // 8)


@st.composite
def code_arrays(draw, max_rows=6, min_rows=0, widths=WIDTHS):
    return draw(arrays(np.uint8, (draw(st.integers(min_rows, max_rows)), draw(widths))))


@st.composite
def code_pairs(draw):
    width = st.just(draw(WIDTHS))
    return draw(code_arrays(widths=width)), draw(code_arrays(widths=width))


@given(code_arrays())
def test_unpacked_codes_pack_to_themselves(codes):
    packed = pack(unpack(codes))
    assert packed.dtype == np.uint8
    assert np.array_equal(packed, codes)


@given(st.integers(0, 5), WIDTHS, st.data())
def test_packed_bits_unpack_to_themselves(rows, width, data):
    bits = data.draw(arrays(np.bool_, (rows, width * 8)))
    assert np.array_equal(unpack(pack(bits)), bits)
    assert np.array_equal(pack(bits.astype(np.int64)), pack(bits))


@given(code_arrays(min_rows=1))
def test_hexadecimal_round_trip(codes):
    texts = to_hex(codes)
    assert {len(text) for text in texts} == {codes.shape[1] * 2}
    assert np.array_equal(from_hex(texts), codes)


@given(code_arrays(min_rows=1))
def test_hexadecimal_orders_as_bits_do(codes):
    by_text = sorted(range(len(codes)), key=lambda row: to_hex(codes)[row])
    by_bits = sorted(range(len(codes)), key=lambda row: unpack(codes)[row].tolist())
    assert by_text == by_bits


@given(code_pairs())
def test_distance_is_the_number_of_differing_bits(pair):
    a, b = pair
    expected = (unpack(a)[:, None, :] != unpack(b)[None, :, :]).sum(axis=2)
    assert np.array_equal(hamming(a, b), expected)
    assert np.array_equal(hamming(b, a), expected.T)
    for column in range(len(b)):
        assert np.array_equal(hamming_to(a, b[column]), expected[:, column])


@given(code_arrays(widths=st.integers(1, 8)))
def test_a_key_of_at_most_64_bits_tells_codes_apart(codes):
    found = keys(codes)
    assert found.dtype == np.int64
    for row, key in enumerate(found.tolist()):
        assert key % 2**64 == int(to_hex(codes)[row], 16)


@given(code_arrays(widths=st.integers(9, 64)))
def test_a_key_of_a_wide_code_is_its_prefix(codes):
    assert np.array_equal(keys(codes), keys(codes[:, :8]))
