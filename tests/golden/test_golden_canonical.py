"""Golden values of the canonical form: a change here changes the code of every picture ever indexed."""

from __future__ import annotations

import numpy as np
import pytest

from hashae.images.canonical import CanonicalForm


def fixed_picture(channels):
    """Return a picture made by integer arithmetic alone: a pattern in a frame of 6 black pixels."""
    rows, columns = np.mgrid[0:64, 0:64]
    planes = [
        ((rows * (7 + c) + columns * (11 - 3 * c) + (rows // 9) * (columns // 7) * 29) % 251).astype(np.uint8)
        for c in range(channels)
    ]
    thumb = np.stack(planes)[None]
    thumb[:, :, :6] = thumb[:, :, -6:] = 0
    thumb[:, :, :, :6] = thumb[:, :, :, -6:] = 0
    return thumb


SPOTS = ((5, 20), (16, 16), (27, 9))

GOLDEN = {
    "photo": (0.71, 0.743, 0.073, 0.5, 0.289),
    "plain": (0.635, 0.706, 0.706, 0.34, 0.309),
    "colour": (0.635, 0.706, 0.706, 0.2, 0.451, 0.702, 0.749, 0.196, 0.698, 0.326, 0.305),
}


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_the_canonical_form_of_a_fixed_picture_never_changes(name):
    form = CanonicalForm.preset(name)
    got = form(fixed_picture(form.channels))
    values = [round(float(got[0, channel, y, x]), 3) for channel in range(form.channels) for y, x in SPOTS]
    assert [*values, round(float(got.mean()), 3), round(float(got.std()), 3)] == pytest.approx(GOLDEN[name], abs=0.002)
