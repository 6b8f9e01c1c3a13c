"""What a collection knows about how far to trust its codes: detail, confidence, crowding, and matches by own radii."""

import shutil
import sqlite3

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import event

from hashae.calibration import Tail
from hashae.codes import hamming
from hashae.errors import CollectionError
from hashae.images.detail import FEATURELESS
from hashae.indexer import Collection, code_table
from hashae.indexer.crowding import crowding
from hashae.indexer.facts import FactBook
from hashae.indexer.radius_rule import choose_rule

TAIL = Tail(-1.0, 2.8)


@pytest.fixture
def collection(tmp_path, encoder):
    opened = Collection.open(tmp_path / "photos.db")
    opened.set_encoder(encoder)
    yield opened
    opened.close()


def sql(collection, statement):
    connection = sqlite3.connect(collection.path)
    try:
        with connection:
            return connection.execute(statement).fetchall()
    finally:
        connection.close()


# --- detail -------------------------------------------------------------------------------------------------------


def test_detail_is_stored_with_each_code(collection, encoder, tmp_path, fill):
    folder = fill(tmp_path / "photos", range(3))
    collection.index(folder)
    stored = dict(sql(collection, "SELECT path, detail FROM codes JOIN images ON images.id = image"))
    measured = {path.name: float(encoder.encode_file(path).detail[0]) for path in folder.iterdir()}
    assert stored == pytest.approx(measured)
    assert len(set(stored.values())) == 3


def test_codes_from_before_detail_was_measured_are_made_once_more(collection, tmp_path, fill):
    """As they are in a file that was brought up from schema 0001."""
    folder = fill(tmp_path / "photos", range(3))
    collection.index(folder)
    sql(collection, "UPDATE codes SET detail = NULL")
    again = collection.index(folder)
    assert (again.unchanged, again.changed, again.encoded) == (3, 0, 3)
    assert sql(collection, "SELECT count(*) FROM codes WHERE detail IS NULL") == [(0,)]
    assert collection.index(folder).encoded == 0


# --- crowding -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictures(tmp_path_factory, fill):
    """One hundred and ten pictures, and the first seven with a mark drawn in; shared, so never write into it."""
    folder = fill(tmp_path_factory.mktemp("pictures"), range(110))
    for number in range(7):
        with Image.open(folder / f"{number}.png") as picture:
            picture.paste((255, 255, 255), (40, 30, 48, 36))
            picture.save(folder / f"marked {number}.png")
    return folder


@pytest.fixture
def crowd(tmp_path, make_encoder, pictures):
    """A collection large enough for own radii."""
    opened = Collection.open(tmp_path / "crowd.db")
    opened.set_encoder(make_encoder(tail=TAIL))
    opened.index(pictures)
    yield opened
    opened.close()


def stored(collection):
    """Id -> crowding of present images, and whether it is of the collection as it is."""
    rows = sql(
        collection, "SELECT image, crowding FROM codes JOIN images ON id = image WHERE NOT missing ORDER BY image"
    )
    (stamp,) = sql(collection, "SELECT crowding_generation = generation FROM encoders, collections")
    return dict(rows), stamp == (1,)


def computed(collection):
    index = collection.hash_index()
    return dict(zip(index.ids.tolist(), crowding(index.codes).tolist(), strict=True))


def test_crowding_is_stored_when_images_are_indexed(crowd):
    assert stored(crowd) == (computed(crowd), True)


def test_a_new_image_changes_the_crowding_of_its_neighbours_and_a_missing_one_takes_no_part(crowd, tmp_path, pictures):
    before, _ = stored(crowd)
    folder = tmp_path / "more"
    folder.mkdir()
    for number in range(9):
        shutil.copy(pictures / "20.png", folder / f"{number}.png")
    crowd.index(folder)
    after, fresh = stored(crowd)
    assert (after, fresh) == (computed(crowd), True)
    assert any(after[id_] != value for id_, value in before.items())
    shutil.rmtree(folder)
    folder.mkdir()
    crowd.index(folder, prune=True)
    assert stored(crowd) == (before, True)


def test_a_run_that_changes_nothing_computes_nothing(crowd, monkeypatch):
    monkeypatch.setattr(code_table, "crowding", None)
    crowd.index()
    assert stored(crowd)[1]


def test_few_images_have_no_crowding(collection, tmp_path, fill):
    collection.index(fill(tmp_path / "photos", range(3)))
    assert set(stored(collection)[0].values()) == {None}


def test_in_a_large_collection_few_new_images_leave_it_to_the_next_duplicate_search(crowd, tmp_path, fill, monkeypatch):
    monkeypatch.setattr(code_table, "REFERENCE", 50)
    crowd.index(fill(tmp_path / "few", range(200, 203)))
    assert not stored(crowd)[1]
    crowd.dedup(radius=0)
    assert not stored(crowd)[1]  # one radius for all needs none
    crowd.dedup()
    assert stored(crowd) == (computed(crowd), True)
    crowd.index(fill(tmp_path / "many", range(300, 350)))
    assert stored(crowd) == (computed(crowd), True)


def test_a_duplicate_search_takes_what_is_stored(crowd):
    told = []
    usual = crowd.dedup(on_progress=told.append)
    assert "crowding" not in {step.stage for step in told}
    assert usual.own_radius
    assert usual.radius > 0
    sql(crowd, "UPDATE codes SET crowding = 0")
    with Collection.open(crowd.path) as other:
        assert other.dedup().radius == 0


def test_a_small_folder_has_the_radii_of_the_whole_collection(crowd, tmp_path, pictures):
    folder = tmp_path / "few"
    folder.mkdir()
    for number in range(7):
        shutil.copy(pictures / f"{number}.png", folder)
        shutil.copy(pictures / f"marked {number}.png", folder)
    crowd.index(folder)
    part = crowd.dedup(folder)
    assert (part.images, part.own_radius) == (14, True)
    inside = {str(path) for path in folder.iterdir()}
    whole = [{image.path for image in group.images} & inside for group in crowd.dedup().groups]
    assert part.groups
    for group in part.groups:
        assert any({image.path for image in group.images} <= found for found in whole)


def test_what_is_stored_for_another_state_of_the_collection_is_not_taken(crowd):
    usual = crowd.dedup()
    sql(crowd, "UPDATE codes SET crowding = 0")
    sql(crowd, "UPDATE collections SET generation = generation + 1")
    assert crowd.dedup().groups == usual.groups
    assert stored(crowd) == (computed(crowd), True)


def test_crowding_of_a_collection_that_has_changed_meanwhile_is_not_stored(crowd):
    index = crowd.hash_index()
    generation = crowd.stats()["generation"]
    with Collection.open(crowd.path) as other:
        facts = FactBook(other._parts.database, 1)
        values = np.zeros(len(index), np.float32)
        sql(crowd, "UPDATE collections SET generation = generation + 1")
        assert not facts.remember_crowding(1, index.ids, index.codes, values, generation)
        assert 0 not in stored(crowd)[0].values()
        assert facts.remember_crowding(1, index.ids, index.codes, values, generation + 1)
        assert set(stored(crowd)[0].values()) == {0}
        assert facts.crowding(1, index.ids[1:]) is None  # of other images than those that are wanted


def test_a_file_that_cannot_be_written_is_searched_all_the_same(crowd):
    usual = crowd.dedup()
    sql(crowd, "UPDATE encoders SET crowding_generation = NULL")
    with Collection.open(crowd.path) as other:

        @event.listens_for(other._parts.database.engine, "checkout")
        def forbid(connection, _record, _proxy):
            connection.execute("PRAGMA query_only = ON")

        assert other.dedup().groups == usual.groups
        with pytest.raises(CollectionError, match="read-only"):
            other.remove(usual.groups[0].keeper.path)


# --- matches ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fresh", [True, False])
def test_matches_are_the_images_that_a_duplicate_search_takes_for_the_same(crowd, pictures, fresh):
    index, values = crowd.hash_index(), crowding(crowd.hash_index().codes)
    margins = choose_rule(len(index), radius=None, fallback=3, tail=TAIL).margins(values).astype(float)
    if not fresh:
        sql(crowd, "UPDATE encoders SET crowding_generation = NULL")
    every = hamming(index.codes, index.codes)
    more = 0
    for number in range(20):
        answer = crowd.query(pictures / f"{number}.png", matches=True)
        row = int(np.searchsorted(index.ids, answer.matches[0].id))
        allowed = (margins[row] + margins) / 2
        expected = sorted((int(every[row, i]), int(index.ids[i])) for i in np.flatnonzero(every[row] <= allowed))
        assert [(match.distance, match.id) for match in answer.matches] == expected
        assert [match.allowed for match in answer.matches] == [
            allowed[np.searchsorted(index.ids, id_)] for _, id_ in expected
        ]
        assert answer.rule == "own radius for each image"
        more += len(expected) > 1
    assert more
    paired = {image.path for group in crowd.dedup().groups for image in group.images}
    assert paired
    for path in paired:
        assert len(crowd.query(path, matches=True).matches) > 1


def test_a_match_carries_the_confidence_that_was_stored_with_its_code(crowd, encoder, pictures):
    for match in crowd.query(pictures / "3.png", k=4).matches:
        assert match.confidence == pytest.approx(float(encoder.encode_file(match.path).confidence[0]))
        assert match.allowed is None


# --- featureless pictures -----------------------------------------------------------------------------------------


def page(seed, size=(120, 90)):
    """A blank page as a scanner gives it."""
    values = np.random.default_rng(seed).normal(246, 2, size[::-1])
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


@pytest.fixture
def scans(tmp_path, fill):
    """Six pictures, one of them twice, and eight blank pages: one twice, and one twice in another file."""
    folder = fill(tmp_path / "scans", range(6))
    shutil.copy(folder / "5.png", folder / "5 again.png")
    for number in range(5):
        page(number).save(folder / f"blank {number}.png")
    shutil.copy(folder / "blank 1.png", folder / "blank 1 again.png")
    page(2).save(folder / "blank 2 again.png", compress_level=1)
    page(3, (90, 120)).save(folder / "blank 3 turned.png")
    return folder


def names(group):
    return sorted(image.path.rpartition("/")[2] for image in group.images)


@pytest.mark.parametrize("radius", [None, 0, 30])
def test_featureless_pictures_are_the_same_by_their_bytes_or_pixels_only(collection, scans, radius):
    collection.index(scans)
    groups = {tuple(names(group)): group.tier for group in collection.dedup(radius=radius).groups}
    blank = {key: tier for key, tier in groups.items() if any("blank" in name for name in key)}
    assert blank == {
        ("blank 1 again.png", "blank 1.png"): "bytes",
        ("blank 2 again.png", "blank 2.png"): "pixels",
    }
    assert ("5 again.png", "5.png") in groups


def test_a_report_lists_featureless_pictures_and_how_sure_codes_are(collection, encoder, scans, fill, tmp_path):
    collection.index(scans)
    collection.index(fill(tmp_path / "other", range(10, 12)))
    report = collection.dedup(scans)
    assert list(report.featureless) == sorted(str(path) for path in scans.glob("blank*"))
    assert report.images == 7 + 8
    assert collection.dedup(tmp_path / "other").featureless == ()
    for group in report.groups:
        for image in group.images:
            assert image.confidence == pytest.approx(float(encoder.encode_file(image.path).confidence[0]))


def test_the_command_line_counts_featureless_pictures(cli, scans, encoder_file, tmp_path):
    done = cli("dedup", scans, "--encoder", encoder_file, "--db", tmp_path / "scans.db")
    assert done.status == 0
    assert done.out.splitlines()[-1] == (
        "8 images show next to nothing (blank pages, black frames): duplicates only of the same bytes or pixels; "
        "listed by --report and --json"
    )


def test_without_being_recognised_they_would_be_taken_for_one_picture(collection, scans):
    """Else the test above would prove nothing."""
    collection.index(scans)
    sql(collection, f"UPDATE codes SET detail = {FEATURELESS}")
    assert max(len(group.images) for group in collection.dedup(radius=30).groups) > 4


def test_featureless_pictures_whose_files_are_gone_are_the_same_by_their_bytes_still(collection, scans):
    collection.index(scans)
    for name in ("blank 1 again.png", "blank 2.png", "blank 4.png"):
        (scans / name).unlink()
    assert [names(group) for group in collection.dedup(radius=0).groups if "blank" in names(group)[0]] == [
        ["blank 1 again.png", "blank 1.png"]
    ]


def test_a_query_tells_featureless_pictures_apart(collection, scans):
    collection.index(scans)
    blank, picture = scans / "blank 4.png", scans / "0.png"
    assert collection.query(blank, exact=True).featureless
    assert [match.featureless for match in collection.query(blank, exact=True).matches] == [True]
    answer = collection.query(picture, k=1)
    assert (answer.featureless, answer.matches[0].featureless) == (False, False)
