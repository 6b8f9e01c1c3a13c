"""Calibration from end to end: what is measured equals what a plain loop measures, is stored, used, and renewed."""

from __future__ import annotations

import json
import sqlite3
import sys
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from hashae import pretrained
from hashae.calibration import BETA, COPY_RATIO
from hashae.errors import CollectionError, ConfigError, EncoderFileError, SourceError, UnknownName
from hashae.images.edits import EDITS, edited_bytes
from hashae.indexer import Collection, calibrate
from hashae.indexer.calibrate import DEFAULT_EDITS, Sampling, is_due, quick_sampling
from hashae.indexer.calibrated import Calibration
from hashae.promise import Promise
from hashae.reference import Reference, make_reference

PICTURES = 110
FEW = ("re-encode q30", "crop 10 %", "rotate 4", "grey")
FAST = ("--sample", "5", "--edits", ",".join(FEW))


@pytest.fixture(scope="session")
def many(fill, tmp_path_factory):
    """A folder of pictures; shared, so never change it."""
    return fill(tmp_path_factory.mktemp("many"), range(PICTURES))


@pytest.fixture(autouse=True)
def enough(monkeypatch):
    """Let a collection of the size of `many` be calibrated, and others borrow."""
    monkeypatch.setattr(calibrate, "ENOUGH", PICTURES)
    monkeypatch.setattr(calibrate, "BORROWING", PICTURES)
    monkeypatch.setattr(calibrate, "AUTOMATIC", 40)
    monkeypatch.setattr(calibrate, "QUICK_SAMPLE", 3)


@pytest.fixture(scope="session")
def store(many, encoder, tmp_path_factory):
    """A collection file of `many` that nobody has calibrated; shared, so copy it."""
    path = tmp_path_factory.mktemp("store") / "many.db"
    with Collection.open(path) as collection:
        collection.set_encoder(encoder)
        collection.index(many)
    return path


@pytest.fixture
def db(store, tmp_path):
    path = tmp_path / "many.db"
    path.write_bytes(store.read_bytes())
    return path


@pytest.fixture
def collection(db):
    with Collection.open(db) as opened:
        yield opened


@pytest.fixture
def reference(monkeypatch, encoder, rng):
    """Codes that only `encoder` may borrow, as if it were the shipped one."""
    made = Reference(encoder.fingerprint, rng.integers(0, 256, (400, encoder.bits // 8), dtype=np.uint8))
    monkeypatch.setattr(pretrained, "reference", lambda fingerprint: made if fingerprint == made.fingerprint else None)
    return made


def one_line(result):
    assert (result.status, result.out) == (1, "")
    assert result.err.count("\n") == 1
    return result.err.removeprefix("hashae: ").strip()


# --- what is measured ---------------------------------------------------------------------------------------------


def bits_apart(a, b):
    return int(np.unpackbits(a ^ b).sum())


def test_recall_and_false_pairs_are_those_of_a_plain_loop(collection, encoder, tmp_path):
    sampling = Sampling(sample=4, edits=FEW, seed=7)
    found = collection.calibrate(sampling=sampling)
    index = collection.hash_index()
    ids, codes = index.ids.tolist(), index.codes
    paths = {match.id: match.path for match in collection.query(tmp_path_picture(tmp_path), k=PICTURES).matches}
    crowding = []
    for code in codes:
        crowding.append(np.mean(sorted(bits_apart(code, other) for other in codes)[3:8]))
    sample = np.random.default_rng(7).permutation(np.array(ids)).tolist()[:4]
    recalled, false, others = np.zeros((4, len(FEW))), 0, 0
    tau = found.calibration.tau
    for place, id_ in enumerate(sample):
        row = ids.index(id_)
        for number, edit in enumerate(FEW):
            with Image.open(paths[id_]) as opened:
                rng = np.random.default_rng([7, id_, list(EDITS).index(edit)])
                (tmp_path / "copy.jpg").write_bytes(edited_bytes(opened.convert("RGB"), edit, ".jpg", rng))
            copy = encoder.encode([tmp_path / "copy.jpg"])[0]
            distances = [bits_apart(copy, code) for code in codes]
            own = np.mean(sorted(distances)[2:7])

            def matches(other, distances=distances, own=own):
                margins = max(tau + BETA * own, 0) + max(tau + BETA * crowding[other], 0)
                return distances[other] <= margins / 2 + 1e-6

            recalled[place, number] = matches(row)
            for other in range(len(codes)):
                near = COPY_RATIO * min(crowding[row], crowding[other])
                if other != row and bits_apart(codes[row], codes[other]) > near:
                    others += 1
                    false += matches(other)
    assert found.calibration.edits == pytest.approx(dict(zip(FEW, recalled.mean(axis=0), strict=True)), abs=1e-4)
    assert found.calibration.recall == pytest.approx(recalled.mean(), abs=1e-4)
    assert (found.calibration.pairs["false"], found.calibration.pairs["others"]) == (false, others)
    assert found.calibration.pairs["copies"] == 16


def tmp_path_picture(folder):
    path = folder / "query.png"
    Image.new("RGB", (40, 40), "red").save(path)
    return path


def test_the_seed_decides_and_nothing_else(collection):
    results = [collection.calibrate(sampling=Sampling(sample=4, edits=FEW, seed=seed)) for seed in (1, 1, 2)]
    first, again, other = ({**found.calibration.to_dict(), "date": ""} for found in results)
    assert first == again
    assert (results[0].one.recall == results[1].one.recall).all()
    assert (results[0].one.recall != results[2].one.recall).any()
    assert other["seed"] == 2


def test_threads_change_nothing(collection):
    first, second = (
        collection.calibrate(sampling=Sampling(sample=6, edits=FEW), workers=workers).calibration for workers in (1, 3)
    )
    assert {**first.to_dict(), "date": ""} == {**second.to_dict(), "date": ""}


def test_a_stricter_promise_takes_a_smaller_radius(collection):
    loose, strict = (
        collection.calibrate(sampling=Sampling(Promise(precision), 5, FEW)).calibration for precision in (0.5, 0.99)
    )
    assert strict.tau < loose.tau
    assert strict.radius <= loose.radius
    assert strict.recall <= loose.recall


def test_what_cannot_be_edited_is_replaced_by_the_next(encoder, fill, tmp_path, draw):
    """A file that has changed, one that is gone, and one too small for letters and bars."""
    folder = fill(tmp_path / "p", range(PICTURES))
    draw(0).resize((20, 200)).save(folder / "0.png")
    with Collection.open(tmp_path / "c.db") as collection:
        collection.set_encoder(encoder)
        collection.index(folder)
        (folder / "1.png").unlink()
        draw(5000).save(folder / "2.png")
        stages = []
        found = collection.calibrate(sampling=Sampling(sample=PICTURES, edits=("grey",)), on_progress=stages.append)
    assert (found.calibration.images, found.calibration.sample) == (PICTURES, PICTURES - 3)
    edited = [progress for progress in stages if progress.stage == "calibrate"]
    assert [progress.done for progress in edited][-1] == found.calibration.sample
    assert {progress.total for progress in edited} == {PICTURES}


def test_pictures_of_one_folder_can_be_edited_alone(encoder, fill, tmp_path):
    fill(tmp_path / "all" / "a", range(PICTURES - 3))
    fill(tmp_path / "all" / "b", range(PICTURES, PICTURES + 3))
    with Collection.open(tmp_path / "c.db") as collection:
        collection.set_encoder(encoder)
        collection.index(tmp_path / "all")
        found = collection.calibrate(tmp_path / "all" / "b", Sampling(sample=50, edits=("grey",))).calibration
        assert (found.sample, found.images) == (3, PICTURES)
        with pytest.raises(UnknownName, match="knows no pictures in"):
            collection.calibrate(tmp_path / "none", Sampling(sample=1, edits=("grey",)))


def test_featureless_pictures_are_no_strangers(encoder, fill, tmp_path):
    folder = fill(tmp_path / "p", range(PICTURES))
    for number in range(5):
        Image.new("RGB", (64, 64 + number), "white").save(folder / f"blank {number}.png")
    with Collection.open(tmp_path / "c.db") as collection:
        collection.set_encoder(encoder)
        collection.index(folder)
        assert len(collection) == PICTURES + 5
        assert collection.calibrate(sampling=Sampling(sample=2, edits=("grey",))).calibration.images == PICTURES


def test_no_further_picture_is_begun_when_the_time_is_up(collection):
    found = collection.calibrate(sampling=Sampling(sample=PICTURES, edits=("grey",), seconds=0), workers=1)
    assert 1 <= found.calibration.sample <= 3


# --- borrowed codes -----------------------------------------------------------------------------------------------


def test_a_small_collection_borrows_and_says_so(cli, many, encoder_file, tmp_path, monkeypatch, reference):
    monkeypatch.setattr(calibrate, "BORROWING", 500)
    db = tmp_path / "c.db"
    assert cli("index", many, "--encoder", encoder_file, "--db", db, "--no-calibrate").status == 0
    done = cli("calibrate", "--db", db, *FAST)
    assert done.status == 0, done.err
    assert (
        f"borrowed: 400 reference codes of the encoder stand in for different pictures; {PICTURES} images are too"
        in (done.out)
    )
    with Collection.open(db) as collection:
        found = collection.calibration
    assert found.borrowed == 400
    assert found.tau is not None
    assert found.pairs["different"] + found.pairs["suspected"] == 4 * PICTURES * (PICTURES - 1) // 2


def test_a_handful_gets_one_radius_as_strict_as_for_all_that_was_borrowed(encoder, fill, tmp_path, reference):
    with Collection.open(tmp_path / "c.db") as collection:
        collection.set_encoder(encoder)
        collection.index(fill(tmp_path / "p", range(12)))
        found = collection.calibrate(sampling=Sampling(sample=3, edits=FEW))
        assert found.own is None
        assert found.calibration.tau is None
        assert found.calibration.pairs["different"] + found.calibration.pairs["suspected"] == 400 * 399 // 2
        report = collection.dedup()
        assert (report.own_radius, report.radius) == (False, found.calibration.radius)
        words = "calibrated for 99.9 % precision on 12 images"
        assert report.rule == f"radius {report.radius} of 64 bits, {words}"
        assert collection.query(tmp_path / "p" / "3.png", matches=True).rule == f"radius {report.radius} bits, {words}"


def test_another_encoder_has_nothing_to_borrow(make_encoder, fill, tmp_path, reference):
    with Collection.open(tmp_path / "c.db") as collection:
        collection.set_encoder(make_encoder(3, name="mine"))
        collection.index(fill(tmp_path / "p", range(12)))
        with pytest.raises(CollectionError) as refused:
            collection.calibrate()
    assert str(refused.value) == (
        "12 images are too few to calibrate with encoder 'mine'; 110 or more are needed, or 10 with the shipped encoder"
    )


def test_reference_codes_are_made_of_pictures_that_differ(encoder, fill, tmp_path):
    folder = fill(tmp_path / "p", range(30))
    for number in range(10):
        (folder / f"copy {number}.png").write_bytes((folder / f"{number}.png").read_bytes())
    told = []
    made = make_reference(encoder, folder, count=36, on_progress=lambda done, total: told.append((done, total)))
    every = encoder.encode(sorted(folder.glob("*.png")))
    assert made.fingerprint == encoder.fingerprint
    assert len(np.unique(made.codes, axis=0)) == len(made.codes) <= 30
    assert set(map(bytes, made.codes)) <= set(map(bytes, every))
    assert told == [(40, 40)]
    assert (make_reference(encoder, folder, count=36).codes == made.codes).all()
    assert len(make_reference(encoder, folder, count=9).codes) <= 9


def test_reference_codes_come_back_from_their_file(encoder, rng, tmp_path):
    made = Reference(encoder.fingerprint, rng.integers(0, 256, (20, 8), dtype=np.uint8))
    made.save(tmp_path / "tiny.reference.npz")
    data = (tmp_path / "tiny.reference.npz").read_bytes()
    back = Reference.from_bytes(data)
    assert back.fingerprint == made.fingerprint
    assert (back.codes == made.codes).all()
    buffer = BytesIO()
    np.savez(buffer, codes=np.zeros((3, 8)), fingerprint=np.zeros(32, np.uint8))
    for damaged in (data[:-40], b"", b"no archive", buffer.getvalue()):
        with pytest.raises(EncoderFileError, match=r"tiny are damaged .*; make them again or install hashae anew"):
            Reference.from_bytes(damaged, "tiny")


def test_too_few_pictures_make_no_reference(encoder, fill, tmp_path):
    with pytest.raises(SourceError, match="holds 5 pictures; a reference needs 8 and should have 2000"):
        make_reference(encoder, fill(tmp_path / "p", range(5)))


def test_a_reference_is_found_by_the_fingerprint_of_its_encoder(rng, tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "files", lambda package: tmp_path)
    assert pretrained.reference("ab" * 32) is None
    made = Reference("ab" * 32, rng.integers(0, 256, (20, 8), dtype=np.uint8))
    made.save(tmp_path / "photo.reference.npz")
    assert (pretrained.reference("ab" * 32).codes == made.codes).all()
    assert pretrained.reference("cd" * 32) is None


def test_the_shipped_reference_belongs_to_the_shipped_encoder():
    assert pretrained.reference("00" * 32) is None
    found = pretrained.reference(pretrained.load().fingerprint)
    assert found is None or found.codes.shape[1] * 8 == pretrained.load().bits


# --- the command --------------------------------------------------------------------------------------------------


def test_what_is_found_is_shown_stored_and_used(cli, db):
    before = json.loads(cli("dedup", "--db", db, "--no-calibrate", "--json").out)
    assert before["calibration"] is None
    told = json.loads(cli("calibrate", "--db", db, *FAST, "--json").out)
    calibration, curve = told["calibration"], told["curves"]["own"]
    assert not calibration["automatic"]
    assert calibration["edits"].keys() == set(FEW)
    chosen = [row for row in curve if row["threshold"] == calibration["tau"]]
    assert len(chosen) == 1
    assert chosen[0]["at_least"] >= 0.999
    assert not [row for row in curve if row["threshold"] > calibration["tau"] and row["at_least"] >= 0.999]
    after = json.loads(cli("dedup", "--db", db, "--json").out)
    assert after["calibration"] == calibration
    assert after["own_radius"]
    shown = cli("dedup", "--db", db)
    assert "calibrated for 99.9 % precision on 110 images" in shown.out
    assert "calibrated for 99.9 % precision on 110 images" in cli("stats", "--db", db).out
    assert json.loads(cli("encoders", "--db", db, "--json").out)[0]["calibration"] == calibration
    mine = json.loads(cli("dedup", "--db", db, "--radius", "2", "--json").out)
    assert (mine["radius"], mine["calibration"]) == (2, None)


def test_the_groups_are_those_of_the_stored_tau(collection, db):
    with sqlite3.connect(db) as connection:
        tau = collection.calibrate(sampling=Sampling(Promise(0.3), 4, FEW)).calibration.tau
        stored = json.loads(connection.execute("SELECT calibration FROM encoders").fetchone()[0])
    assert stored["tau"] == tau
    index = collection.hash_index()
    distances = np.bitwise_count(index.codes[:, None] ^ index.codes[None]).sum(axis=2)
    crowding = np.sort(distances, axis=1)[:, 3:8].mean(axis=1)
    margins = np.maximum(tau + BETA * crowding, 0)
    expected = {group.members for group in index.duplicates(0, margins=margins.astype(np.float32))}
    found = {tuple(sorted(image.id for image in group.images)) for group in collection.dedup().groups}
    assert found == {tuple(sorted(members)) for members in expected}


def test_the_table_marks_the_choice_and_words_explain_it(cli, db):
    done = cli("calibrate", "--db", db, *FAST, "--copies", "0.5", "--precision", "0.4")
    assert done.status == 0, done.err
    assert done.out.count(" * ") == 2
    for words in (
        "at least 40 % of the pairs reported are right, if 50% of the images have an edited copy; ",
        "extrapolated: 5 edited pictures are too few to count pairs so rare",
        " pairs of an edited copy and another picture match; true copies that the collection holds are among them",
        "found least: ",
    ):
        assert words in done.out


def test_a_promise_that_counting_keeps_is_called_counted(cli, db):
    done = cli("calibrate", "--db", db, "--sample", "100", "--edits", "grey", "--precision", "0.3")
    assert "counted: so many pairs of pictures were compared that the bound needs nothing else" in done.out
    assert "extrapolated" not in done.out


def test_a_promise_that_nothing_keeps_leaves_equal_codes(cli, fill, tmp_path, monkeypatch, make_encoder):
    """Eight bits cannot tell a hundred pictures apart."""
    make_encoder(0, bits=8).save(tmp_path / "short.onnx")
    folder, db = fill(tmp_path / "p", range(PICTURES)), tmp_path / "c.db"
    assert cli("index", folder, "--encoder", tmp_path / "short.onnx", "--db", db, "--no-calibrate").status == 0
    done = cli("calibrate", "--db", db, "--sample", "3", "--edits", "grey", "--precision", "0.999999")
    assert done.status == 0, done.err
    assert "no radius keeps 99.9999 %; only equal codes match: promise less with --precision" in done.out
    report = json.loads(cli("dedup", "--db", db, "--json").out)
    assert not report["calibration"]["kept"]
    assert {image["distance"] for group in report["groups"] for image in group["images"]} <= {0}


def test_a_plot_is_drawn(cli, db, tmp_path):
    done = cli("calibrate", "--db", db, *FAST, "--plot", tmp_path / "curves.png")
    assert done.status == 0, done.err
    assert f"plot: {tmp_path / 'curves.png'}" in done.err
    with Image.open(tmp_path / "curves.png") as plot:
        assert plot.format == "PNG"
        assert len(np.unique(np.asarray(plot.convert("L")))) > 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--precision", "1"), "precision is 1.0; expected a share between 0 and 1, for example 0.999"),
        (("--copies", "2"), "copies is 2.0; expected a share of the images above 0, at most 1"),
        (("--sample", "0"), "sample is 0; expected 1 or more pictures"),
        (("--edits", " , "), "no edit is named; expected at least one, or none for the usual ones"),
    ],
)
def test_wrong_settings_are_named_before_the_work(cli, tmp_path, options, message):
    assert one_line(cli("calibrate", "--db", tmp_path / "none.db", *options)) == message
    assert not (tmp_path / "none.db").exists()


def test_an_unknown_edit_is_told_the_known_ones(cli, tmp_path):
    told = one_line(cli("calibrate", "--db", tmp_path / "none.db", "--edits", "crop 10 %,squint"))
    assert told == f"no edit is called 'squint'; known ones are {', '.join(EDITS)}"


def test_a_plot_that_cannot_be_drawn_or_written_is_refused_before_the_work(cli, db, tmp_path, monkeypatch):
    told = one_line(cli("calibrate", "--db", db, "--plot", tmp_path / "none" / "x.png"))
    assert told == f"--plot: folder {tmp_path / 'none'} does not exist; create it first"
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "matplotlib.figure", raising=False)
    told = one_line(cli("calibrate", "--db", db, "--plot", tmp_path / "x.png"))
    assert told.startswith("a plot (matplotlib")
    assert told.endswith("needs libraries that are not installed; run: pip install 'hashae[train]'")
    with Collection.open(db) as collection:
        assert collection.calibration is None


def test_pictures_that_are_all_gone_cannot_be_edited(encoder, fill, tmp_path):
    folder = fill(tmp_path / "p", range(PICTURES))
    with Collection.open(tmp_path / "c.db") as collection:
        collection.set_encoder(encoder)
        collection.index(folder)
        folder.rename(tmp_path / "away")
        with pytest.raises(SourceError) as refused:
            collection.calibrate()
        assert collection.calibration is None
    assert str(refused.value) == (
        f"none of the {PICTURES} pictures can be read and edited now; are their folders there?"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("'{'", "the stored calibration cannot be read"),
        ("json_remove(calibration, '$.tau')", "the stored calibration cannot be read"),
        ("json_set(calibration, '$.format', 2)", "the stored calibration has format 2; this version reads 1"),
    ],
)
def test_a_stored_calibration_that_cannot_be_read_is_told_and_can_be_made_again(cli, db, change, message):
    assert cli("calibrate", "--db", db, *FAST).status == 0
    with sqlite3.connect(db) as connection:
        connection.execute(f"UPDATE encoders SET calibration = {change}")
    told = one_line_after(cli("dedup", "--db", db, "--no-calibrate"))
    assert told.startswith(message)
    assert told.endswith("run: hashae calibrate")
    assert cli("calibrate", "--db", db, *FAST).status == 0
    assert cli("dedup", "--db", db).status == 0


def one_line_after(result):
    """The sentence of a failure after the line that tells what indexing did."""
    assert (result.status, result.out) == (1, "")
    return result.err.splitlines()[-1].removeprefix("hashae: ")


# --- unasked ------------------------------------------------------------------------------------------------------


def calibration_of(db):
    with Collection.open(db) as collection:
        return collection.calibration


def test_indexing_calibrates_once_and_again_when_the_collection_has_grown(cli, fill, tmp_path, encoder_file, reference):
    folder, db = fill(tmp_path / "p", range(39)), tmp_path / "c.db"
    assert "calibrated" not in cli("index", folder, "--encoder", encoder_file, "--db", db).err  # too few to ask for it
    fill(folder, range(39, 40))
    assert "calibrated" not in cli("index", "--db", db, "--no-calibrate").err
    done = cli("index", "--db", db)
    assert (done.status, done.out) == (0, "")
    told = done.err.splitlines()[-1]
    assert told.startswith("calibrated for 99.9 % precision on 40 images: finds ")
    assert told.endswith(" of strongly and weakly edited copies of 3 pictures; more with: hashae calibrate")
    first = calibration_of(db)
    assert first.automatic
    fill(folder, range(40, 60))
    cli("index", "--db", db)
    assert calibration_of(db) == first  # half more, and not more than half
    fill(folder, range(60, 61))
    told = json.loads(cli("index", "--db", db, "--json").out)
    assert told["calibration"]["images"] == 61
    assert calibration_of(db).to_dict() == told["calibration"]


def test_what_a_person_promised_is_promised_again(cli, fill, tmp_path, encoder_file, reference):
    folder, db = fill(tmp_path / "p", range(30)), tmp_path / "c.db"
    assert cli("index", folder, "--encoder", encoder_file, "--db", db).status == 0
    assert cli("calibrate", "--db", db, *FAST, "--precision", "0.8", "--copies", "0.25").status == 0
    fill(folder, range(30, 50))
    done = cli("dedup", "--db", db)
    assert "calibrated for 80 % precision on 50 images: finds" in done.err
    found = calibration_of(db)
    assert (found.precision, found.copies, found.automatic, tuple(found.edits)) == (0.8, 0.25, True, FEW)


def test_a_radius_of_ones_own_needs_no_calibration(cli, db):
    assert cli("dedup", "--db", db, "--radius", "3").status == 0
    assert calibration_of(db) is None


def test_a_calibration_that_fails_unasked_is_told_and_stops_nothing(cli, fill, tmp_path, encoder_file, reference):
    """Pictures too small to be edited are indexed like any other."""
    folder = tmp_path / "p"
    folder.mkdir()
    for number, path in enumerate(sorted(fill(tmp_path / "large", range(41)).glob("*.png"))):
        with Image.open(path) as picture:
            picture.resize((30, 30)).save(folder / f"{number}.png")
    done = cli("index", folder, "--encoder", encoder_file, "--db", tmp_path / "c.db", "--json")
    assert done.status == 0
    assert "not calibrated: none of the " in done.err
    assert json.loads(done.out)["calibration"] is None


def test_a_collection_is_due_first_and_when_its_size_has_changed_by_half(monkeypatch, reference, encoder):
    monkeypatch.setattr(calibrate, "ENOUGH", 500)
    assert is_due(None, 500, "other")
    assert not is_due(None, 499, "other")
    assert is_due(None, 40, encoder.fingerprint)
    assert not is_due(None, 39, encoder.fingerprint)
    before = a_calibration(images=600)
    assert [is_due(before, images, "other") for images in (600, 900, 901, 400, 399)] == [
        False,
        False,
        True,
        False,
        False,
    ]
    assert is_due(before, 399, encoder.fingerprint)  # it can borrow


def a_calibration(**changes):
    numbers = {"tau": -3.0, "beta": 0.7, "radius": 4, "recall": 0.9, "radius_recall": 0.8, "images": 600, "sample": 5}
    promise = {"precision": 0.999, "copies": 1.0, "confidence": 0.95, "kept": True, "counted": False}
    rest = {"edits": {"grey": 1.0}, "pairs": {}, "borrowed": 0, "seed": 0, "automatic": False, "date": ""}
    return Calibration(**{**numbers, **promise, **rest, **changes})


def test_unasked_the_usual_edits_are_made_unless_others_were():
    assert quick_sampling(None).edits == DEFAULT_EDITS
    assert "mirror" not in DEFAULT_EDITS
    assert quick_sampling(a_calibration()).edits == ("grey",)
    assert quick_sampling(a_calibration(edits={"no longer known": 1.0})).edits == DEFAULT_EDITS


def test_a_sampling_says_what_is_wrong():
    with pytest.raises(ConfigError, match="sample is 0; expected 1 or more pictures"):
        Sampling(sample=0)
    with pytest.raises(UnknownName, match="no edit is called 'x'"):
        Sampling(edits=("x",))
