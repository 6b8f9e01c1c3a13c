"""Which images meet in a batch."""

from __future__ import annotations

import numpy as np
import pytest

from hashae.codes import hamming, pack
from hashae.config import TrainConfig
from hashae.errors import ConfigError
from hashae.training.batches import COPY_SHARE, POOL, WARM_UP, BatchRows, nearest_others


@pytest.fixture
def clustered(rng):
    """200 codes of 128 bits in ten clusters; the first two are copies of one picture."""
    centres = rng.random((10, 128)) < 0.5
    bits = centres[np.arange(200) % 10] ^ (rng.random((200, 128)) < 0.15)
    bits[10] = bits[0]
    return pack(bits)


def rows_of(codes, group, batch=40):
    return BatchRows(len(codes), batch, group, 0, lambda: codes)


def test_every_image_comes_once_before_any_comes_again(clustered):
    rows = rows_of(clustered, 1)
    seen = np.concatenate([rows.draw(step, step / 5) for step in range(5)])
    assert sorted(seen) == list(range(200))


def test_similar_images_meet_after_the_warm_up(clustered):
    """Groups of four put images of one cluster together; random batches do not."""

    def near(group, progress):
        rows = rows_of(clustered, group).draw(3, progress)
        distances = hamming(clustered[rows], clustered[rows]) + 999 * np.eye(len(rows), dtype=np.int32)
        return float(np.sort(distances, axis=1)[:, :2].mean())

    assert near(4, 0.5) < near(1, 0.5) - 2
    assert near(4, WARM_UP / 2) == near(1, WARM_UP / 2)


def test_a_draw_repeats_and_a_batch_holds_no_image_twice(clustered):
    first, again = (rows_of(clustered, 4).draw(7, 0.6) for _ in range(2))
    assert first.tolist() == again.tolist()
    assert len(set(first.tolist())) == len(first) <= 40


def test_copies_are_never_put_together(clustered):
    near = nearest_others(clustered, block=64)
    assert near.shape == (200, POOL)
    for row, others in enumerate(near):
        distances = hamming(clustered[row : row + 1], clustered[others])[0]
        assert distances.min() > COPY_SHARE * 128
        allowed = np.sort(hamming(clustered[row : row + 1], clustered)[0])
        allowed = allowed[allowed > COPY_SHARE * 128]
        assert sorted(distances) == allowed[:POOL].tolist()


def test_a_group_needs_a_positive_number():
    with pytest.raises(ConfigError, match="neighbours is 0; expected at least 1"):
        TrainConfig(neighbours=0)
