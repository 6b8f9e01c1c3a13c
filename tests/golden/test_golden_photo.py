"""The shipped encoder gives the codes it gave when collections were stored with it."""

from __future__ import annotations

import numpy as np
import pytest

from hashae.codes import from_hex, hamming, to_hex
from hashae.pretrained import load

# A code is decided by 8-bit arithmetic, which is exact; but the canonical form before it adds up in floating point, and
# its sums may round differently on another processor: a bit or two, where the images are as plain as these.
ROUNDING = 2

GOLDEN = [
    "48baf255c7f2d95b235ef7c639868be8de216096b33ffe1277215746955c4181",
    "6162417e419941f105949580d1a06cbf5ee96c27a7f5f2aaa29fd9eb2d4769bb",
    "49a2b8b6ed45ff575366263150af2dcae9220526a347d0e4d4f1a717ed44259e",
    "0af326906205d6706adabc3c4cb743b8a33f6d2bbc6e96a51742f876afcb123b",
    "90efc5bd228c97ef6d7a8b65e3c2438ac731e7afb81d5a0793aa17ce11286537",
    "21fa05474981104c3b684521638709a8beb1ec2a067eb60a978db3eeb183cb73",
    "c6a252a646f8f159495c7dd4d9ebfa0546a92cbdad1ad3b7c5c8746e9e512428",
    "a1e240d26fdb407d2190040de3a101af469974ab6677d7e26494c1f67d46493d",
    "49e3090401a4eed375ee353072a44dbc80214c96bfbd9081df9cbda771dd2572",
    "48c2f0a5688cd64b7df2915dea8a23ca073946bc889dd4c6378c974f3d606704",
]


@pytest.fixture(scope="module")
def codes(tmp_path_factory, draw):
    folder = tmp_path_factory.mktemp("golden")
    paths = [folder / f"{number}.png" for number in range(len(GOLDEN))]
    for number, path in enumerate(paths):
        draw(number).save(path)
    return load("photo", threads=1).encode(paths)


@pytest.mark.parametrize("number", range(len(GOLDEN)))
def test_the_code_of_a_drawn_picture(codes, number):
    distance = int(hamming(codes[number : number + 1], from_hex([GOLDEN[number]]))[0, 0])
    assert distance <= ROUNDING, f"{distance} bits differ: {to_hex(codes[number : number + 1])[0]}"


def test_the_pictures_are_told_apart(codes):
    distances = hamming(codes, codes)[np.triu_indices(len(codes), 1)]
    assert distances.min() > 60
