"""Two sets of pictures: ``hashae dedup --against`` and ``hashae leaks``; linkages from the command line."""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hashae.errors import ConfigError, EncoderMismatch, UnknownName
from hashae.indexer import Collection
from hashae.indexer import groups as groups_module


def page(width=160):
    """A page with next to nothing on it."""
    return Image.fromarray(np.full((120, width, 3), 250, np.uint8))


@pytest.fixture
def train(tmp_path, fill):
    """Return eight pictures, four of which come back in `exam`, and a blank page."""
    folder = fill(tmp_path / "train", range(8))
    page().save(folder / "blank.png")
    return folder


@pytest.fixture
def exam(tmp_path, train, fill):
    """Return two pictures of its own; bytes, pixels and a code that are in `train`, and a cut copy; blank pages."""
    folder = fill(tmp_path / "test", [100, 101])
    shutil.copy(train / "0.png", folder / "bytes.png")
    with Image.open(train / "1.png") as picture:
        picture.save(folder / "pixels.png", compress_level=0)
    with Image.open(train / "2.png") as picture:
        picture.resize((picture.width * 2, picture.height * 2), Image.Resampling.NEAREST).save(folder / "twice.png")
    with Image.open(train / "3.png") as picture:
        picture.crop((0, 0, picture.width - 2, picture.height)).save(folder / "cropped.png")
    page().save(folder / "blank again.png", compress_level=1)
    page(100).save(folder / "blank small.png")
    return folder


def found(report):
    """Return name of image -> (name of match, tier)."""
    return {Path(p.image.path).name: (Path(p.match.path).name, p.tier) for p in report.pairs}


EXPECTED = {
    "bytes.png": ("0.png", "bytes"),
    "pixels.png": ("1.png", "pixels"),
    "twice.png": ("2.png", "code"),
    "cropped.png": ("3.png", "near"),
    "blank again.png": ("blank.png", "pixels"),
}


@pytest.fixture
def db(tmp_path):
    return tmp_path / "photos.db"


@pytest.fixture
def collection(tmp_path, encoder):
    with Collection.open(tmp_path / "both.db") as opened:
        opened.set_encoder(encoder)
        yield opened


def test_what_of_a_folder_is_in_another(collection, train, exam):
    for folder in (train, exam):
        collection.index(folder)
    report = collection.overlap(exam, train, radius=6)
    assert found(report) == EXPECTED
    assert (report.images, report.others, report.folder, report.against) == (8, 9, str(exam), str(train))
    assert report.share == len(EXPECTED) / 8
    assert [pair.tier for pair in report.pairs] == ["bytes", "pixels", "pixels", "code", "near"]
    assert all((pair.distance > 0) == (pair.tier == "near") for pair in report.pairs)
    assert report.rule == "radius 6 of 64 bits"
    back = collection.overlap(train, exam, radius=6)
    assert {(match, name, tier) for name, (match, tier) in found(report).items()} == {
        (name, match, tier) for name, (match, tier) in found(back).items()
    }
    strict = collection.overlap(exam, train, radius=0)
    assert "cropped.png" not in found(strict)
    whole = collection.overlap(None, train, radius=6)
    assert found(whole) == EXPECTED


def test_of_the_same_code_the_same_bytes_win_then_the_same_pixels_then_the_first(collection, train, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    shutil.copy(train / "5.png", mine / "a.png")
    with Image.open(train / "5.png") as picture:
        picture.save(mine / "b.png", compress_level=0)
        picture.save(train / "0 first.png", compress_level=1)
        picture.resize((300, 200), Image.Resampling.NEAREST).save(train / "0 large.png")
        picture.resize((320, 240), Image.Resampling.NEAREST).save(mine / "c.png")
    collection.index(train)
    collection.index(mine)
    report = collection.overlap(mine, train, radius=0)
    assert found(report)["a.png"] == ("5.png", "bytes")
    assert found(report)["b.png"] == ("0 first.png", "pixels")
    assert found(report).get("c.png", ("0 first.png", "code"))[1] == "code"


def test_another_collection_with_the_same_encoder(collection, encoder, make_encoder, train, exam, tmp_path):
    collection.index(exam)
    with Collection.open(tmp_path / "train.db") as other:
        other.set_encoder(encoder)
        other.index(train)
        report = collection.overlap(None, other, radius=6)
        assert found(report) == EXPECTED
        assert report.against == str(other.path)
    with Collection.open(tmp_path / "foreign.db") as other:
        other.set_encoder(make_encoder(1))
        other.index(train)
        with pytest.raises(
            EncoderMismatch, match=r"is encoded by 'tiny' .* expected one encoder: index one of them again"
        ):
            collection.overlap(None, other)


def test_a_folder_inside_the_other(collection, train, fill):
    inner = fill(train / "inner", [1, 70])
    collection.index(train)
    report = collection.overlap(inner, train, radius=0)
    assert (report.images, report.others) == (2, 9)
    assert found(report) == {"1.png": ("1.png", "bytes")}
    report = collection.overlap(train, inner, radius=0)
    assert (report.images, report.others) == (9, 2)
    with pytest.raises(ConfigError, match=r"both sets are .*train; expected two folders"):
        collection.overlap(train, train)
    with pytest.raises(UnknownName, match="knows no pictures in"):
        collection.overlap(train, train.parent / "nowhere")


def test_own_radii_across(tmp_path, make_encoder, fill, draw):
    from hashae.calibration import Tail

    encoder = make_encoder(tail=Tail(-2.0, 0.5))
    folder = fill(tmp_path / "many", range(130))
    copies = tmp_path / "copies"
    copies.mkdir()
    for number in range(5):
        picture = draw(number)
        picture.crop((1, 0, picture.width, picture.height)).save(copies / f"{number}.png")
    with Collection.open(tmp_path / "own.db") as collection:
        collection.set_encoder(encoder)
        collection.index(folder)
        collection.index(copies)
        report = collection.overlap(copies, folder)
        assert report.own_radius
        assert report.rule.startswith("own radius for each image, median")
        groups = collection.dedup()
        partners = {
            Path(image.path): {Path(other.path) for other in group.images}
            for group in groups.groups
            for image in group.images
        }
        for pair in report.pairs:
            image = Path(pair.image.path)
            assert image not in partners or any(other.parent == folder for other in partners[image])
        small = fill(tmp_path / "few", [0, 1])
        with Collection.open(tmp_path / "few.db") as other:
            other.set_encoder(encoder)
            other.index(small)
            assert not collection.overlap(None, other).own_radius  # too few for a radius of their own


def test_the_command_line_says_what_is_there_already(cli, train, exam, encoder_file, db, tmp_path):
    rows, shown = tmp_path / "known.csv", tmp_path / "known.html"
    options = ("--encoder", encoder_file, "--db", db, "--radius", "6")
    done = cli("dedup", exam, "--against", train, *options, "--csv", rows, "--report", shown)
    assert done.status == 0, done.err
    assert f"5 of 8 images of {exam} are among the 9 of {train} (radius 6 of 64 bits)" in done.out
    assert "images already there" in done.out
    assert str(exam / "bytes.png") in done.out
    assert f"     {train / '0.png'}  [same bytes, 0 bits]" in done.out
    with rows.open(encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file))
    assert {Path(row["path"]).name: (Path(row["match_path"]).name, row["tier"]) for row in listed} == EXPECTED
    assert list(listed[0])[:3] == ["tier", "distance", "path"]
    assert "twice.png" in shown.read_text("utf-8")
    told = json.loads(cli("dedup", exam, "--against", train, *options, "--json").out)
    assert (told["summary"]["matched"], told["summary"]["images"], told["summary"]["others"]) == (5, 8, 9)
    assert told["summary"]["by_tier"] == {"bytes": 1, "pixels": 2, "code": 1, "near": 1}
    assert len(told["pairs"]) == 5
    second = tmp_path / "second.db"
    cli("index", train, "--encoder", encoder_file, "--db", second)
    done = cli("dedup", exam, "--against", second, *options)
    assert f"5 of 8 images of {exam} are among the 9 of {second}" in done.out


def test_against_takes_no_options_of_groups(cli, train, exam, encoder_file, db):
    options = ("--encoder", encoder_file, "--db", db)
    for more in (("--linkage", "complete"), ("--method", "exact"), ("--plan", db.parent / "plan.json")):
        done = cli("dedup", exam, "--against", train, *options, *more)
        assert done.status == 2
        assert "--against makes pairs, not groups" in done.err


def test_leaks_are_counted_and_shown(cli, train, exam, encoder_file, tmp_path, monkeypatch, db):
    cache = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    rows = tmp_path / "leaks.csv"
    options = ("--encoder", encoder_file, "--radius", "6")
    done = cli("leaks", train, exam, *options, "--csv", rows)
    assert done.status == 0, done.err
    assert f"5 of 8 images of {exam} (62.50%) have a copy among the 9 of {train}" in done.out
    assert "images of test" in done.out
    assert len(rows.read_text("utf-8").splitlines()) == 6
    assert list(cache.rglob("*.db")) == []  # the collection was a temporary one
    assert cli("leaks", train, exam, *options, "--fail").status == 1
    told = cli("leaks", train, exam, *options, "--json", "--db", db)
    assert json.loads(told.out)["summary"]["share"] == 0.625
    assert db.is_file()


def test_no_leaks(cli, train, fill, encoder_file, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    other = fill(tmp_path / "other", [200, 201])
    done = cli("leaks", train, other, "--encoder", encoder_file, "--radius", "0", "--fail")
    assert done.status == 0, done.err
    assert done.out == f"0 of 2 images of {other} (0.00%) have a copy among the 9 of {train} (radius 0 of 64 bits)\n"


def test_leaks_refuses_what_is_no_folder(cli, train, tmp_path):
    done = cli("leaks", train, tmp_path / "nowhere")
    assert done.status == 1
    assert re.search(r"nowhere", done.err)
    assert len(done.err.splitlines()) == 1


def test_linkages_and_methods_from_the_command_line(cli, train, exam, encoder_file, db):
    options = ("--encoder", encoder_file, "--db", db, "--json", "--radius", "6")
    cli("index", train, "--encoder", encoder_file, "--db", db)
    cli("index", exam, "--db", db)
    for linkage in ("star", "complete", "component"):
        report = json.loads(cli("dedup", *options, "--linkage", linkage).out)
        assert (report["linkage"], report["approximate"], report["recall"]) == (linkage, False, None)
        assert report["summary"]["groups"] >= 5
    text = cli("dedup", "--db", db, "--radius", "20", "--linkage", "component").out
    assert "radius 20 of 64 bits, component linkage" in text
    assert cli("dedup", *options, "--linkage", "single").status == 2


def test_an_approximate_search_says_so(cli, train, encoder_file, db, monkeypatch):
    from hashae.indexer.approximate import Recall

    real = groups_module.connected

    def connected(*arguments, on_recall=None, method="exact", **settings):
        if method == "approximate":
            on_recall(Recall("approximate", 0.875, 10, 8))
        return real(*arguments, **settings)

    monkeypatch.setattr(groups_module, "connected", connected)
    options = ("--encoder", encoder_file, "--db", db, "--radius", "20", "--method", "approximate")
    done = cli("dedup", train, *options)
    assert "radius 20 of 64 bits, approximate search that finds 87.5% of the pairs" in done.out
    assert json.loads(cli("dedup", train, *options, "--json").out)["recall"] == 0.875
