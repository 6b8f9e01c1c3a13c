"""``hashae stats --health``: what is measured, told and drawn of a collection."""

import json
import sqlite3
import sys

import numpy as np
import pytest
from PIL import Image

from hashae.codes import keys
from hashae.errors import CollectionError
from hashae.health import code_health
from hashae.indexer import Collection


@pytest.fixture(scope="module")
def filled(tmp_path_factory, make_encoder, fill):
    """The arguments that name a collection of 120 pictures and 20 blank pages; no test changes it."""
    folder = tmp_path_factory.mktemp("health")
    fill(folder / "photos", range(120))
    for number in range(20):
        values = np.random.default_rng(number).normal(246, 1, (60, 80))
        Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).save(folder / "photos" / f"blank {number}.png")
    with Collection.open(folder / "photos.db") as collection:
        collection.set_encoder(make_encoder())
        collection.index(folder / "photos")
    return "--db", folder / "photos.db"


def test_the_health_of_a_collection_is_that_of_its_codes(cli, filled):
    with Collection.open(filled[1]) as collection:
        codes = code_health(collection.hash_index().codes)
        found = collection.health()
        radius = collection.dedup().radius
    assert (found.featureless, found.radius, found.own_radius) == (20, radius, False)
    told = json.loads(cli("stats", "--health", "--json", *filled).out)
    assert told["collection"] == str(filled[1])
    assert told == {"collection": told["collection"], **found.to_dict()}
    assert (told["images"], told["bits"], told["encoder"]) == (140, 64, "tiny")
    assert told["effective_bits"] == codes.code.effective_bits
    assert told["distances"] == codes.distances.tolist()
    assert len(told["means"]) == 64
    strongest = told["most_correlated"][0]
    others = np.abs(codes.correlation - np.eye(64))
    assert abs(strongest["correlation"]) == pytest.approx(others.max(), abs=1e-4)
    assert others[tuple(strongest["bits"])] == others.max()


def test_people_see_a_table_and_what_is_wrong(cli, filled):
    done = cli("stats", "--health", *filled)
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("140 images, 64 bits of encoder tiny\n")
    for measure in ("imbalance of the bits", "effective bits", "codes used", "pairs of equal codes (by chance)"):
        assert measure in done.out
    assert "keys of" not in done.out  # the key is the whole code
    assert done.out.splitlines()[-1] == (
        "! 20 of 140 images show next to nothing (blank pages, black frames): no code tells them apart, so they are "
        "duplicates only where their bytes or pixels are equal"
    )


def test_a_healthy_collection_is_told_so(cli, tmp_path, fill, make_encoder):
    """Its codes are replaced by random ones: those of an untrained encoder repeat one another."""
    with Collection.open(tmp_path / "photos.db") as collection:
        collection.set_encoder(make_encoder(bits=128))
        collection.index(fill(tmp_path / "photos", range(110)))
    repeating = cli("stats", "--health", "--db", tmp_path / "photos.db").out
    assert "! the bits repeat one another" in repeating
    assert "keys of 64 bits used" in repeating
    codes = np.random.default_rng(0).integers(0, 256, (110, 16), np.uint8)
    rows = [(int(key), code.tobytes(), id_) for id_, (key, code) in enumerate(zip(keys(codes), codes, strict=True), 1)]
    connection = sqlite3.connect(tmp_path / "photos.db")
    with connection:
        connection.executemany("UPDATE codes SET key = ?, code = ? WHERE image = ?", rows)
    connection.close()
    assert cli("stats", "--health", "--db", tmp_path / "photos.db").out.splitlines()[-1] == (
        "nothing is wrong with these codes"
    )


def test_the_health_is_drawn(cli, filled, tmp_path):
    target = tmp_path / "health.png"
    done = cli("stats", "--health", "--plot", target, *filled)
    assert done.err == f"plot: {target}\n"
    with Image.open(target) as picture:
        assert (picture.format, picture.size) == ("PNG", (1920, 576))
        assert len(picture.convert("RGB").getcolors(1 << 21)) > 50


def test_a_plot_that_cannot_be_drawn_is_refused_before_the_work(cli, filled, tmp_path, monkeypatch):
    assert "give --health as well" in cli("stats", "--plot", "x.png", *filled).err
    done = cli("stats", "--health", "--plot", tmp_path / "none" / "x.png", *filled)
    assert (done.status, done.out) == (1, "")
    assert done.err == f"hashae: --plot: folder {tmp_path / 'none'} does not exist; create it first\n"
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "matplotlib.figure", raising=False)
    done = cli("stats", "--health", "--plot", tmp_path / "x.png", *filled)
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("hashae: a plot (matplotlib")
    assert done.err.endswith("pip install 'hashae[train]'\n")


def test_one_image_has_no_health(cli, tmp_path, fill, make_encoder):
    with Collection.open(tmp_path / "photos.db") as collection:
        collection.set_encoder(make_encoder())
        collection.index(fill(tmp_path / "photos", [0]))
        with pytest.raises(CollectionError, match="holds 1 image; its health needs two or more"):
            collection.health()
