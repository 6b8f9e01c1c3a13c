"""Bits dealt to bands by entropy: dead and copied bits are spread, and buckets become small."""

import numpy as np
import pytest

from hashae.errors import ConfigError
from hashae.indexer.band_layout import band_count, band_lengths, flips_of
from hashae.indexer.multi import MultiIndex
from hashae.indexer.order import band_order, bit_information, deal


def codes_from(bits):
    return np.packbits(bits, axis=1)


def test_dead_bits_are_spread_evenly():
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (4000, 64), dtype=np.uint8)
    dead = rng.choice(64, 24, replace=False)
    bits[:, dead] = 1
    for bands in (2, 3, 4, 5, 7):
        dealt = deal(band_order(codes_from(bits), bands), bands)
        live = [len(np.setdiff1d(band, dead)) for band in dealt]
        assert max(live) - min(live) <= 1


def test_copies_go_to_different_bands():
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2, (4000, 64), dtype=np.uint8)
    bits[:, 16:32] = bits[:, :16]
    bits[:, 32:48] = 1 - bits[:, :16]  # inverted ones too
    dealt = deal(band_order(codes_from(bits), 4), 4)
    for band in dealt:
        origin = np.where(band < 48, band % 16, band)
        assert len(set(origin.tolist())) == len(band) == 16


def test_unbalanced_bits_are_balanced_over_bands():
    rng = np.random.default_rng(2)
    share = np.linspace(0.02, 0.5, 64)
    codes = codes_from((rng.random((8000, 64)) < share).astype(np.uint8))
    entropy, _ = bit_information(codes)
    totals = [entropy[band].sum() for band in deal(band_order(codes, 4), 4)]
    assert max(totals) - min(totals) < 0.3
    plain = [entropy[band].sum() for band in np.split(np.arange(64), 4)]
    assert max(plain) - min(plain) > 5


def test_information_is_what_the_definition_says():
    bits = np.array([[0, 0, 0, 1], [0, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 1]], np.uint8).repeat(2, axis=1)
    entropy, shared = bit_information(codes_from(bits))
    assert np.allclose(entropy, [1, 1, 1, 1, 1, 1, 0, 0])
    assert np.allclose(shared[0], [1, 1, 1, 1, 0, 0, 0, 0])


def test_the_order_is_a_permutation_and_depends_on_nothing_else():
    codes = np.random.default_rng(3).integers(0, 256, (30_000, 4), dtype=np.uint8)
    order = band_order(codes, 3)
    assert sorted(order.tolist()) == list(range(32))
    assert np.array_equal(order, band_order(codes.copy(), 3))
    assert sorted(band_order(codes[:1], 5).tolist()) == list(range(32))


def test_buckets_of_correlated_bits_become_small():
    rng = np.random.default_rng(4)
    latent = rng.integers(0, 2, (20_000, 40), dtype=np.uint8)
    bits = np.repeat(latent, 2, axis=1)[:, :64]  # every bit beside its copy
    codes = codes_from(bits)
    plain = MultiIndex.build(codes, np.r_[0:64:4, 1:64:4, 2:64:4, 3:64:4].reshape(4, 16).T.ravel(), 4)
    dealt = MultiIndex.build(codes, band_order(codes, 4), 4)
    together = MultiIndex.build(codes, np.arange(64).reshape(4, 16).T.ravel(), 4)  # neighbours in one band
    assert dealt.mean_bucket.max() < together.mean_bucket.max() / 4
    assert dealt.mean_bucket.max() < plain.mean_bucket.max() * 1.5


def test_refusals():
    codes = np.zeros((2, 8), np.uint8)
    with pytest.raises(ConfigError, match="there is no code to derive an order of bits from"):
        band_order(codes[:0])
    for bands in (0, 65, 1.5):
        with pytest.raises(ConfigError, match=f"bands is {bands}; expected a whole number from 1 to 64"):
            band_order(codes, bands)


def test_flips_are_all_values_with_few_ones():
    for length in (1, 5, 12):
        for levels in range(length + 1):
            flips = flips_of(length, levels)
            ones = np.bitwise_count(flips)
            assert (np.diff(ones.astype(int)) >= 0).all()
            expected = {value for value in range(2**length) if value.bit_count() <= levels}
            assert len(flips) == len(expected)
            assert set(flips.tolist()) == expected


def test_bands_of_an_index_are_what_is_planned_with():
    for n, bits in ((1, 8), (2, 8), (1000, 64), (5000, 72), (3000, 256)):
        codes = np.random.default_rng(n).integers(0, 256, (n, bits // 8), dtype=np.uint8)
        arrays = MultiIndex.build(codes, np.arange(bits)).arrays()
        assert arrays["lengths"].tolist() == band_lengths(n, bits)
        assert len(arrays["lengths"]) == band_count(n, bits)
        bytes_a_code_and_band = (
            sum(arrays[name].nbytes for name in ("start", "rows", "words")) / n / len(arrays["rows"])
        )
        assert n < 1000 or bytes_a_code_and_band <= 16
