"""Files that move, vanish, come back or cannot be read: what is known of a picture follows its content."""

import json
import os
import shutil
import sqlite3
import subprocess
from importlib import import_module
from pathlib import Path

import pytest

from hashae.errors import SourceError
from hashae.indexer import Collection, ingest

decode_module = import_module("hashae.images.decode")


@pytest.fixture
def photos(tmp_path, fill):
    return fill(tmp_path / "photos", range(6))


@pytest.fixture
def collection(tmp_path, encoder):
    opened = Collection.open(tmp_path / "photos.db")
    opened.set_encoder(encoder)
    yield opened
    opened.close()


@pytest.fixture
def decoded(monkeypatch):
    """Names of the files that indexing decodes."""
    seen = []

    def watched(data, path, **settings):
        seen.append(Path(path).name)
        return decode_module.decode(data, path, **settings)

    monkeypatch.setattr(ingest, "decode", watched)
    return seen


def table(collection):
    """path -> (id, codes, missing) of every image."""
    connection = sqlite3.connect(collection.path)
    try:
        query = """SELECT sources.path, images.path, images.id, group_concat(hex(code)), missing FROM images
            JOIN sources ON sources.id = source LEFT JOIN codes ON image = images.id GROUP BY images.id"""
        return {
            os.path.join(os.fsdecode(root), os.fsdecode(below)): (id_, codes, bool(missing))
            for root, below, id_, codes, missing in connection.execute(query)
        }
    finally:
        connection.close()


def told(summary):
    return summary.added, summary.changed, summary.moved, summary.unchanged, summary.missing, summary.encoded


def test_a_moved_and_a_renamed_file_keep_their_rows_and_are_not_decoded(collection, photos, decoded):
    collection.index(photos)
    before = table(collection)
    decoded.clear()
    (photos / "new").mkdir()
    (photos / "1.png").rename(photos / "new" / "1.png")
    (photos / "2.png").rename(photos / "two\nlines.png")
    os.rename(photos / "3.png", os.fsencode(photos) + b"/raw \xff.png")
    assert told(collection.index(photos)) == (0, 0, 3, 3, 0, 0)
    assert decoded == []
    after = table(collection)
    raw = os.path.join(photos, os.fsdecode(b"raw \xff.png"))
    for old, new in (("1.png", photos / "new" / "1.png"), ("2.png", photos / "two\nlines.png"), ("3.png", raw)):
        assert after[str(new)] == before[str(photos / old)]
        assert str(photos / old) not in after
    assert len(collection) == 6
    assert told(collection.index(photos)) == (0, 0, 0, 6, 0, 0)


def test_a_file_moved_between_two_sources_keeps_its_row_whichever_is_looked_at_first(
    collection, photos, fill, tmp_path
):
    other = fill(tmp_path / "another", [20])
    collection.index(photos)
    collection.index(other)
    before = table(collection)
    (photos / "1.png").rename(other / "1.png")  # comes into the source that is indexed first
    (other / "20.png").rename(photos / "20.png")
    assert told(collection.index()) == (0, 0, 2, 5, 0, 0)
    after = table(collection)
    assert after[str(other / "1.png")] == before[str(photos / "1.png")]
    assert after[str(photos / "20.png")] == before[str(other / "20.png")]


def test_a_part_of_a_source_finds_what_moved_into_it_from_outside(collection, photos):
    (photos / "sub").mkdir()
    collection.index(photos)
    before = table(collection)
    (photos / "1.png").rename(photos / "sub" / "one.png")
    assert told(collection.index(photos / "sub")) == (0, 0, 1, 0, 0, 0)
    assert table(collection)[str(photos / "sub" / "one.png")] == before[str(photos / "1.png")]
    assert told(collection.index(photos)) == (0, 0, 0, 6, 0, 0)


def test_a_copy_gets_a_row_and_the_codes_of_its_twin_without_being_decoded(collection, photos, decoded):
    collection.index(photos)
    before = table(collection)
    decoded.clear()
    shutil.copy(photos / "1.png", photos / "copy.png")
    os.link(photos / "2.png", photos / "hard link.png")
    assert told(collection.index(photos)) == (2, 0, 0, 6, 0, 0)
    assert decoded == []
    after = table(collection)
    assert {path: row for path, row in after.items() if path in before} == before
    assert after[str(photos / "copy.png")][1] == before[str(photos / "1.png")][1]
    assert {match.path for match in collection.query(photos / "1.png", radius=0).matches} == {
        str(photos / "1.png"),
        str(photos / "copy.png"),
    }
    # A hard link is another name of one file, not a duplicate.
    assert [len(group.images) for group in collection.dedup(radius=0).groups] == [2]


def test_of_two_new_files_with_one_content_one_takes_the_old_row_and_one_is_added(collection, photos):
    collection.index(photos)
    old = table(collection)[str(photos / "1.png")]
    data = (photos / "1.png").read_bytes()
    (photos / "1.png").unlink()
    (photos / "a.png").write_bytes(data)
    (photos / "sub").mkdir()
    (photos / "sub" / "1.png").write_bytes(data)
    assert told(collection.index(photos)) == (1, 0, 1, 5, 0, 0)
    rows = table(collection)
    assert {rows[str(photos / "a.png")][1], rows[str(photos / "sub" / "1.png")][1]} == {old[1]}
    assert [row[0] for row in rows.values()].count(old[0]) == 1


def test_a_name_that_changed_its_case_only_is_a_move_where_case_does_not_matter(collection, photos, monkeypatch):
    """There, the old name still leads to the file: what the scan lists decides."""
    collection.index(photos)
    before = table(collection)
    (photos / "1.png").rename(photos / "1.PNG")
    real = os.lstat

    def careless(path, **options):
        return real(str(path).replace("1.png", "1.PNG"), **options)

    monkeypatch.setattr(os, "lstat", careless)
    assert told(collection.index(photos)) == (0, 0, 1, 5, 0, 0)
    assert table(collection)[str(photos / "1.PNG")] == before[str(photos / "1.png")]


def test_verdicts_follow_a_moved_file(collection, photos, draw):
    draw(1).save(photos / "1.bmp")
    collection.index(photos)
    assert len(collection.dedup(radius=0).groups) == 1
    collection.verdicts.judge("distinct", [photos / "1.png", photos / "1.bmp"])
    assert collection.dedup(radius=0).groups == ()
    (photos / "1.bmp").rename(photos / "elsewhere.bmp")
    assert collection.index(photos).moved == 1
    assert collection.dedup(radius=0).groups == ()


def test_what_cannot_be_read_now_is_kept_and_told_and_is_whole_again_later(collection, photos, monkeypatch):
    collection.index(photos)
    before = table(collection)[str(photos / "1.png")]
    os.utime(photos / "1.png", (1, 1))
    real = ingest.read_bytes

    def unreadable(path):
        if str(path).endswith("1.png"):
            raise decode_module.ImageError(path, "cannot be read (Input/output error)") from OSError(5, "error")
        return real(path)

    with monkeypatch.context() as patched:
        patched.setattr(ingest, "read_bytes", unreadable)
        summary = collection.index(photos)
    assert (summary.unreadable, len(summary.failed)) == (1, 1)
    assert table(collection)[str(photos / "1.png")] == (*before[:2], True)
    assert collection.missing().gone == ()  # it is there
    assert told(collection.index(photos)) == (0, 0, 0, 6, 0, 0)
    assert table(collection)[str(photos / "1.png")] == before


# --- missing for good ---------------------------------------------------------------------------------------------


def test_missing_images_stay_until_they_are_pruned(cli, collection, photos, tmp_path):
    db = collection.path
    collection.index(photos)
    (photos / "1.png").unlink()
    (photos / "2.png").unlink()
    collection.index(photos)
    assert json.loads(cli("prune", "--db", db, "--json").out) == {
        "gone": [str(photos / "1.png"), str(photos / "2.png")],
        "kept": 0,
        "forgotten": 0,
    }
    shown = cli("prune", "--db", db)
    assert shown.out == "2 missing pictures would be forgotten; to do it: hashae prune --yes\n"
    assert shown.err == f"  {photos / '1.png'}\n  {photos / '2.png'}\n"
    assert len(table(collection)) == 6
    assert (
        cli("prune", photos / "sub", "--yes", "--db", db).out == "0 missing pictures forgotten; no file was touched\n"
    )
    assert cli("prune", "--yes", "--db", db).out == "2 missing pictures forgotten; no file was touched\n"
    assert sorted(Path(path).name for path in table(collection)) == ["0.png", "3.png", "4.png", "5.png"]
    assert cli("prune", "--db", db).out == "no picture is missing for good\n"


def test_index_prunes_at_once_if_asked(cli, collection, photos):
    collection.index(photos)
    (photos / "1.png").unlink()
    done = cli("index", photos, "--prune", "--db", collection.path)
    assert done.err.startswith("5 images: 5 unchanged, 1 gone since the last run, 1 forgotten, in ")
    assert len(table(collection)) == 5


def test_a_file_that_is_back_before_pruning_is_not_forgotten(collection, photos):
    collection.index(photos)
    (photos / "1.png").rename(photos.parent / "1.png")
    collection.index(photos)
    (photos.parent / "1.png").rename(photos / "1.png")
    assert collection.missing().gone == ()


@pytest.mark.parametrize("missing", [False, True])
def test_a_drive_that_is_away_empties_nothing(cli, collection, photos, fill, tmp_path, missing):
    """A place where a drive is mounted is an empty folder while it is away."""
    other = fill(tmp_path / "other", [20])
    collection.index(photos)
    collection.index(other)
    photos.rename(tmp_path / "drive")
    if not missing:
        photos.mkdir()
    state = "folder cannot be listed now" if missing else "folder is empty now (is its drive mounted?)"
    summary = collection.index()
    assert [(f.path, f.reason) for f in summary.failed] == [(str(photos), f"{state}; its images are kept")]
    assert (summary.missing, len(collection)) == (0, 7)
    if not missing:
        shown = cli("index", photos, "--db", collection.path)
        assert shown.status == 1
        assert shown.err.splitlines()[-1] == (
            f"hashae: {photos} holds no pictures now, and the collection knows 6 of it: they are kept; if a drive "
            f"belongs there, mount it; if they are gone for good, run: hashae index {photos} --prune"
        )
        photos.rmdir()
    (tmp_path / "drive").rename(photos)
    assert told(collection.index()) == (0, 0, 0, 7, 0, 0)


def test_a_move_is_not_seen_in_a_copy_of_what_lies_on_a_drive_that_is_away(collection, photos, tmp_path):
    collection.index(photos)
    before = table(collection)
    other = tmp_path / "other"
    shutil.copytree(photos, other)
    photos.rename(tmp_path / "drive")
    photos.mkdir()
    assert told(collection.index(other)) == (6, 0, 0, 0, 0, 0)
    photos.rmdir()
    (tmp_path / "drive").rename(photos)
    assert told(collection.index(photos)) == (0, 0, 0, 6, 0, 0)
    assert {path: row for path, row in table(collection).items() if path in before} == before


def test_pruning_keeps_what_was_missing_on_a_drive_that_is_away(cli, collection, photos, tmp_path):
    collection.index(photos)
    (photos / "1.png").unlink()
    collection.index(photos)
    photos.rename(tmp_path / "drive")
    found = json.loads(cli("prune", "--yes", "--db", collection.path, "--json").out)
    assert found == {"gone": [], "kept": 1, "forgotten": 0}


def test_an_emptied_folder_is_believed_with_prune(collection, photos):
    collection.index(photos)
    for path in photos.iterdir():
        path.unlink()
    with pytest.raises(SourceError, match="are gone for good"):
        collection.index(photos)
    summary = collection.index(photos, prune=True)
    assert (summary.missing, summary.pruned, len(table(collection))) == (6, 6, 0)


def test_a_real_mount_that_goes_and_comes_back(collection, tmp_path, fill):
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() or shutil.which("mount") is None:
        pytest.skip("only root can mount a file system")
    image = tmp_path / "image"
    fill(image, range(3))
    if subprocess.run(["mount", "--bind", image, place], capture_output=True, check=False).returncode:
        pytest.skip("a file system cannot be mounted here")
    try:
        assert told(collection.index(place)) == (3, 0, 0, 0, 0, 3)
    finally:
        subprocess.run(["umount", place], check=True)
    with pytest.raises(SourceError, match="mount it"):
        collection.index(place)
    subprocess.run(["mount", "--bind", image, place], check=True)
    try:
        assert told(collection.index(place)) == (0, 0, 0, 3, 0, 0)
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_new_collection_is_indexed_while_it_is_scanned_and_comes_out_the_same(tmp_path, photos, encoder, monkeypatch):
    (photos / "bad.png").write_text("no picture")
    found, steps = [], []
    for segment in (1 << 14, 2):
        monkeypatch.setattr(ingest, "SEGMENT", segment)
        with Collection.open(tmp_path / f"{segment}.db") as collection:
            collection.set_encoder(encoder)
            steps = []
            summary = collection.index(photos, on_progress=steps.append)
            assert (told(summary), len(summary.failed)) == ((6, 0, 0, 0, 0, 6), 1)
            found.append(table(collection))
            assert told(collection.index(photos)) == (0, 0, 0, 6, 0, 0)
    assert found[0] == found[1]
    done = [step.done for step in steps if step.stage == "index"]
    assert done == sorted(done)
    assert (steps[-1].done, steps[-1].total) == (7, 7)
