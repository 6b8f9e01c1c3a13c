"""Codes as points of a plane."""

from __future__ import annotations

import numpy as np

from hashae.indexer.projection import project


def test_two_clusters_lie_apart_and_the_plane_is_filled(rng):
    centres = rng.integers(0, 256, (2, 16), dtype=np.uint8)
    which = rng.integers(0, 2, 500)
    codes = centres[which] ^ np.packbits(rng.random((500, 128)) < 0.03, axis=1)
    points = project(codes)
    assert points.dtype == np.float32
    assert points.min(axis=0).tolist() == [0, 0]
    assert points.max(axis=0).tolist() == [1, 1]
    first, second = points[which == 0, 0], points[which == 1, 0]
    assert first.max() < second.min() or second.max() < first.min()


def test_it_is_the_projection_on_the_main_components(rng):
    codes = rng.integers(0, 256, (300, 4), dtype=np.uint8)
    bits = np.unpackbits(codes, axis=1).astype(float)
    centred = bits - bits.mean(axis=0)
    expected = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
    for column in (0, 1):
        agreement = np.corrcoef(project(codes)[:, column], expected[:, column])[0, 1]
        assert abs(agreement) > 0.999


def test_blocks_few_codes_and_equal_codes(rng):
    codes = rng.integers(0, 256, (9000, 2), dtype=np.uint8)
    assert np.array_equal(project(codes)[:5], project(codes)[[0, 1, 2, 3, 4]])
    assert project(codes, sample=100).shape == (9000, 2)
    assert project(codes[:0]).shape == (0, 2)
    assert project(codes[:1]).tolist() == [[0.5, 0.5]]
    assert project(np.repeat(codes[:1], 9, axis=0)).tolist() == [[0.5, 0.5]] * 9
