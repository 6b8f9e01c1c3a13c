"""A collection from pictures to answers: what indexing notices, what queries and duplicate reports say."""

import os
import shutil
from collections import Counter
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hashae.codes import hamming_to
from hashae.errors import CollectionError, ConfigError, ImageError, SourceError, UnknownName
from hashae.indexer import Collection, ingest

# The modules: in the package, functions of the same names stand in front of them.
decode_module = import_module("hashae.images.decode")
scan_module = import_module("hashae.images.scan")

GOLDEN = Path(__file__).parents[1] / "golden" / "collection-0001.db"


@pytest.fixture
def photos(tmp_path, fill):
    """Twelve pictures, two of them in a sub-folder."""
    folder = fill(tmp_path / "photos", range(10))
    fill(folder / "more", (10, 11))
    return folder


@pytest.fixture
def collection(tmp_path, encoder):
    opened = Collection.open(tmp_path / "photos.db")
    opened.set_encoder(encoder)
    yield opened
    opened.close()


@pytest.fixture
def decoded(monkeypatch):
    """Paths of the files that indexing decodes."""
    seen = []

    def watched(data, path, **settings):
        seen.append(Path(path).name)
        return decode_module.decode(data, path, **settings)

    monkeypatch.setattr(ingest, "decode", watched)
    return seen


def counts(summary):
    """(added, changed, unchanged, missing, failed, encoded)"""
    return (
        *(summary.added, summary.changed, summary.unchanged, summary.missing),
        *(len(summary.failed), summary.encoded),
    )


def reasons(summary):
    return [(Path(failure.path).name, failure.reason) for failure in summary.failed]


def names(answer):
    return [Path(match.path).name for match in answer.matches]


def generation(collection):
    return collection.stats()["generation"]


def touch(path, seconds=5):
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + seconds * 10**9))


# --- indexing -----------------------------------------------------------------------------------------------------


def test_new_files_are_added_and_a_second_run_finds_them_unchanged(collection, photos, decoded):
    assert counts(collection.index(photos)) == (12, 0, 0, 0, 0, 12)
    assert len(collection) == 12
    assert sorted(decoded) == sorted(path.name for path in photos.rglob("*.png"))
    before = generation(collection)
    assert counts(collection.index(photos)) == (0, 0, 12, 0, 0, 0)
    assert len(decoded) == 12
    assert generation(collection) == before


def test_all_folders_are_brought_up_to_date_when_none_is_named(collection, photos, fill, tmp_path):
    collection.index(photos)
    collection.index(fill(tmp_path / "scans", range(20, 23)))
    fill(photos, [30])
    fill(tmp_path / "scans", [31])
    assert counts(collection.index()) == (2, 0, 15, 0, 0, 2)


def test_a_changed_file_is_encoded_again(collection, photos, draw):
    collection.index(photos)
    draw(99).save(photos / "3.png")
    touch(photos / "3.png")
    assert counts(collection.index(photos)) == (0, 1, 11, 0, 0, 1)
    assert names(collection.query(photos / "3.png", exact=True)) == ["3.png"]


def test_a_changed_file_of_the_same_size_and_time_is_not_looked_into(collection, photos, decoded):
    collection.index(photos)
    path = photos / "3.png"
    status = path.stat()
    path.write_bytes(b"x" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert counts(collection.index(photos)) == (0, 0, 12, 0, 0, 0)


def test_a_touched_file_is_read_but_not_decoded_and_not_read_the_next_time(collection, photos, decoded, monkeypatch):
    collection.index(photos)
    decoded.clear()
    touch(photos / "3.png")
    assert counts(collection.index(photos)) == (0, 0, 12, 0, 0, 0)
    assert decoded == []
    monkeypatch.setattr(ingest, "read_bytes", lambda path: pytest.fail(f"{path} was read"))
    assert counts(collection.index(photos)) == (0, 0, 12, 0, 0, 0)


def test_a_removed_file_is_missing_once_and_takes_part_in_nothing(collection, photos):
    collection.index(photos)
    kept = (photos / "3.png").rename(photos.parent / "3.png")
    before = generation(collection)
    assert counts(collection.index(photos)) == (0, 0, 11, 1, 0, 0)
    assert generation(collection) > before
    assert counts(collection.index(photos)) == (0, 0, 11, 0, 0, 0)
    assert len(collection) == 11
    assert collection.stats()["missing"] == 1
    assert names(collection.query(kept, exact=True)) == []
    assert "3.png" not in names(collection.query(kept, k=12))
    assert collection.dedup(radius=64).images == 11


def test_a_file_that_comes_back_is_taken_in_without_decoding(collection, photos, decoded):
    collection.index(photos)
    away = (photos / "3.png").rename(photos.parent / "3.png")
    collection.index(photos)
    decoded.clear()
    away.rename(photos / "3.png")
    assert counts(collection.index(photos)) == (0, 0, 12, 0, 0, 0)
    assert decoded == []
    assert names(collection.query(photos / "3.png", exact=True)) == ["3.png"]
    assert collection.stats()["missing"] == 0


def test_a_bad_file_is_recorded_not_tried_again_retried_when_it_changes_and_forgotten(
    collection, photos, draw, monkeypatch
):
    bad = photos / "bad.png"
    bad.write_text("no picture")
    known = [("bad.png", "not an image (the file holds text)")]
    assert reasons(collection.index(photos)) == known
    assert [(Path(f.path).name, f.reason) for f in collection.failures()] == known
    assert collection.stats()["failures"] == [{"path": str(bad), "reason": known[0][1]}]
    with monkeypatch.context() as patch:
        patch.setattr(ingest, "read_bytes", lambda path: pytest.fail(f"{path} was read"))
        assert reasons(collection.index(photos)) == known
    bad.write_bytes(b"")
    assert reasons(collection.index(photos)) == [("bad.png", "empty file (0 bytes)")]
    draw(40).save(bad)
    assert counts(collection.index(photos)) == (1, 0, 12, 0, 0, 1)
    assert collection.failures() == []
    bad.write_text("no picture again")
    touch(bad)
    assert reasons(collection.index(photos)) == known
    assert len(collection) == 12
    bad.unlink()
    assert counts(collection.index(photos)) == (0, 0, 12, 0, 0, 0)
    assert collection.failures() == []


def test_a_file_that_could_not_be_opened_is_tried_again_although_it_did_not_change(collection, photos, monkeypatch):
    def denied(path):
        raise ImageError(path, "cannot be read (Permission denied)") from PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(ingest, "read_bytes", denied)
        summary = collection.index(photos)
        assert (summary.images, len(summary.failed), len(collection.failures())) == (0, 12, 12)
    assert counts(collection.index(photos)) == (12, 0, 0, 0, 0, 12)
    assert collection.failures() == []


def test_a_picture_that_did_not_fit_into_memory_is_tried_again(collection, photos, monkeypatch):
    def too_large(_data, path, **_settings):
        raise ImageError(path, "image does not fit into memory") from MemoryError()

    with monkeypatch.context() as patch:
        patch.setattr(ingest, "decode", too_large)
        assert collection.index(photos).images == 0
    assert counts(collection.index(photos)) == (12, 0, 0, 0, 0, 12)


def test_a_picture_whose_library_was_missing_is_tried_again_once_it_is_installed(collection, photos, monkeypatch):
    (photos / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0")
    reason = "HEIF or AVIF image; run: pip install 'hashae[heif]'"

    def without_library(_data, path, **_settings):
        raise ImageError(path, reason)

    monkeypatch.setattr(ingest, "find_spec", lambda _name: None)
    collection.index(photos / "more")
    with monkeypatch.context() as patch:
        patch.setattr(ingest, "decode", without_library)
        assert ("phone.heic", reason) in reasons(collection.index(photos))
    assert ("phone.heic", reason) in reasons(collection.index(photos))
    monkeypatch.setattr(ingest, "find_spec", lambda _name: object())
    read = []
    monkeypatch.setattr(ingest, "read_bytes", lambda path: read.append(path) or decode_module.read_bytes(path))
    collection.index(photos)
    assert str(photos / "phone.heic") in read


def test_a_good_file_that_breaks_is_out_until_it_is_whole_again(collection, photos):
    collection.index(photos)
    whole = (photos / "3.png").read_bytes()
    (photos / "3.png").write_bytes(whole[:200])
    summary = collection.index(photos)
    assert reasons(summary) == [("3.png", "truncated image")]
    assert (summary.images, len(collection)) == (11, 11)
    (photos / "3.png").write_bytes(whole)
    touch(photos / "3.png", 9)
    summary = collection.index(photos)
    assert (summary.images, len(collection), reasons(summary)) == (12, 12, [])


def test_a_folder_that_cannot_be_listed_is_named_and_its_images_stay(collection, photos, monkeypatch):
    (photos / "more" / "bad.png").write_text("no picture")
    collection.index(photos)
    locked = str(photos / "more")

    class Locked:
        def __getattr__(self, name):
            return getattr(os, name)

        @staticmethod
        def scandir(path):
            if os.fspath(path) == locked:
                raise PermissionError(13, "Permission denied")
            return os.scandir(path)

    with monkeypatch.context() as patch:
        patch.setattr(scan_module, "os", Locked())
        summary = collection.index(photos)
    assert (summary.missing, summary.unchanged) == (0, 10)
    assert reasons(summary) == [("more", "folder cannot be listed (Permission denied)")]
    assert {Path(f.path).name for f in collection.failures()} == {"more", "bad.png"}
    assert len(collection) == 12
    assert counts(collection.index(photos)) == (0, 0, 12, 0, 1, 0)
    assert {Path(f.path).name for f in collection.failures()} == {"bad.png"}


def test_a_broken_link_is_listed_until_it_leads_somewhere(collection, photos, draw):
    link = photos / "link.png"
    link.symlink_to(photos.parent / "elsewhere.png")
    assert reasons(collection.index(photos)) == [("link.png", "broken link")]
    assert [Path(failure.path).name for failure in collection.failures()] == ["link.png"]
    draw(50).save(photos.parent / "elsewhere.png")
    assert counts(collection.index(photos)) == (1, 0, 12, 0, 0, 1)
    assert collection.failures() == []
    link.unlink()
    collection.index(photos)
    link.symlink_to(photos.parent / "nowhere.png")
    collection.index(photos)
    link.unlink()
    collection.index(photos)
    assert collection.failures() == []


def test_hidden_files_other_files_and_loops_are_passed_over(collection, photos):
    (photos / ".hidden").mkdir()
    shutil.copy(photos / "1.png", photos / ".hidden" / "1.png")
    shutil.copy(photos / "1.png", photos / ".1.png")
    (photos / "notes.txt").write_text("not looked at")
    (photos / "more" / "loop").symlink_to(photos)
    assert counts(collection.index(photos)) == (12, 0, 0, 0, 0, 12)


def test_file_names_that_are_no_text_and_emoji_are_stored_and_found(collection, tmp_path, draw):
    folder = tmp_path / "sch\u00f6n \U0001f408 " / "caf\udce9"
    folder.mkdir(parents=True)
    for number, name in enumerate(["\udcff.png", "a b\U0001f600.png", "new\nline.png", "100%?#'\".png"]):
        draw(number).save(folder / "x.png")
        (folder / "x.png").rename(folder / name)
    bad = folder / "\udcfe bad.png"
    bad.write_text("text")
    assert counts(collection.index(folder.parent)) == (4, 0, 0, 0, 1, 4)
    assert counts(collection.index(folder.parent)) == (0, 0, 4, 0, 1, 0)
    assert [failure.path for failure in collection.failures()] == [str(bad)]
    for path in folder.glob("[!\udcfe]*.png"):
        assert [match.path for match in collection.query(path, exact=True).matches] == [str(path)]
        assert collection.remove(path) == 1
    assert len(collection) == 0


def test_progress_is_told_stage_by_stage_to_its_end(collection, photos):
    told = []
    collection.index(photos, on_progress=told.append)
    stages = list(dict.fromkeys(progress.stage for progress in told))
    assert stages == ["scan", "index"]
    assert (told[-1].done, told[-1].total) == (12, 12)
    done = [progress.done for progress in told if progress.stage == "index"]
    assert done == sorted(done)


@pytest.mark.parametrize(("workers", "batch"), [(1, 5), (3, 1), (4, 100)])
def test_workers_and_batches_change_no_code_and_no_order(tmp_path, encoder, photos, monkeypatch, workers, batch):
    monkeypatch.setattr(ingest, "BATCH", batch)
    with Collection.open(tmp_path / "other.db") as other:
        other.set_encoder(encoder)
        assert counts(other.index(photos, workers=workers)) == (12, 0, 0, 0, 0, 12)
        index = other.hash_index()
        paths = [str(path) for path in sorted(photos.glob("*.png")) + sorted((photos / "more").glob("*.png"))]
        assert index.ids.tolist() == list(range(1, 13))
        assert (index.codes == encoder.encode(paths)).all()


def test_indexing_without_encoder_or_folder_says_what_to_do(tmp_path, encoder, photos):
    with Collection.open(tmp_path / "new.db") as new:
        assert not new.has_encoder
        expected = f"{new.path} has no encoder yet; run: hashae index FOLDER, or give one with --encoder FILE"
        for ask in (lambda: new.index(photos), lambda: new.encoder, lambda: new.query("x.png", k=1), new.dedup):
            with pytest.raises(CollectionError) as refused:
                ask()
            assert str(refused.value) == expected
        new.set_encoder(encoder)
        with pytest.raises(SourceError, match=r"new\.db has no folder yet; give one: hashae index FOLDER"):
            new.index()
        with pytest.raises(SourceError, match="nowhere does not exist; expected a folder of pictures"):
            new.index(tmp_path / "nowhere")
        assert new.stats()["folders"] == []


# --- folders in folders -------------------------------------------------------------------------------------------


def test_a_folder_inside_a_source_is_looked_at_alone_and_stays_part_of_it(collection, photos):
    collection.index(photos)
    (photos / "0.png").unlink()
    (photos / "more" / "10.png").unlink()
    assert counts(collection.index(photos / "more")) == (0, 0, 1, 1, 0, 0)
    assert [folder["path"] for folder in collection.stats()["folders"]] == [str(photos)]
    assert counts(collection.index()) == (0, 0, 10, 1, 0, 0)


def test_a_folder_around_sources_takes_them_over_and_no_image_is_there_twice(collection, photos, decoded):
    (photos / "more" / "bad.png").write_text("no picture")
    collection.index(photos / "more")
    decoded.clear()
    assert counts(collection.index(photos)) == (10, 0, 2, 0, 1, 10)
    assert not {"10.png", "11.png", "bad.png"} & set(decoded)
    assert len(collection) == 12
    assert [folder["path"] for folder in collection.stats()["folders"]] == [str(photos)]
    assert names(collection.query(photos / "more" / "10.png", exact=True)) == ["10.png"]
    assert [failure.path for failure in collection.failures()] == [str(photos / "more" / "bad.png")]


def test_images_of_a_hidden_folder_stay_when_the_folder_around_it_is_indexed(collection, photos, fill):
    hidden = fill(photos / ".private", [20, 21])
    collection.index(hidden)
    assert counts(collection.index(photos)) == (12, 0, 0, 0, 0, 12)
    assert counts(collection.index()) == (0, 0, 14, 0, 0, 0)
    assert len(collection) == 14


def test_two_collections_in_one_file_know_nothing_of_each_other(tmp_path, encoder, photos, fill):
    path = tmp_path / "both.db"
    scans = fill(tmp_path / "scans", range(20, 23))
    with Collection.open(path, name="photos") as one, Collection.open(path, name="scans") as two:
        for opened, folder in ((one, photos), (two, scans)):
            opened.set_encoder(encoder)
            opened.index(folder)
        assert (len(one), len(two)) == (12, 3)
        assert names(two.query(photos / "1.png", exact=True)) == []
        assert names(two.query(photos / "1.png", exact=True, explain=True)) == []
        assert len(one.query(photos / "1.png", k=99).matches) == 12
        assert two.dedup(radius=64).images == 3
        two.remove(scans)
        assert (len(one), len(two)) == (12, 0)
    with Collection.open(path) as default:
        assert (len(default), default.has_encoder) == (0, False)


# --- removing -----------------------------------------------------------------------------------------------------


def test_removing_forgets_an_image_a_part_or_a_source_and_touches_no_file(collection, photos, fingerprint):
    collection.index(photos)
    files = fingerprint(photos)
    assert collection.remove(photos / "3.png") == 1
    assert names(collection.query(photos / "3.png", exact=True)) == []
    assert collection.remove(photos / "more") == 2
    assert len(collection) == 9
    assert len(collection.hash_index()) == 9
    assert collection.remove(photos) == 9
    assert collection.stats()["folders"] == []
    assert fingerprint(photos) == files
    with pytest.raises(
        UnknownName, match=r"photos\.db holds no image at .*/photos; see the folders with: hashae stats"
    ):
        collection.remove(photos)


def test_removed_images_that_are_still_there_come_back_with_the_next_run(collection, photos):
    collection.index(photos)
    collection.remove(photos / "3.png")
    assert counts(collection.index(photos)) == (1, 0, 11, 0, 0, 1)


# --- questions ----------------------------------------------------------------------------------------------------


@pytest.fixture
def many(collection, encoder, tmp_path, fill):
    """A collection of 40 pictures, among them copies: (collection, paths by id, codes)."""
    folder = fill(tmp_path / "many", range(36))
    for number in range(4):
        shutil.copy(folder / f"{number}.png", folder / f"copy of {number}.png")
    collection.index(folder)
    paths = sorted(str(path) for path in folder.iterdir())
    return collection, paths, encoder.encode(paths)


@pytest.mark.parametrize("explain", [False, True])
def test_every_question_agrees_with_brute_force_over_the_files(many, encoder, explain):
    collection, paths, codes = many
    assert collection.hash_index().ids.tolist() == list(range(1, len(paths) + 1))

    def ask(path, code, **question):
        answer = collection.query(path, explain=explain, **question)
        assert (answer.code, answer.bits) == (code.tobytes().hex(), 64)
        assert 0 <= answer.confidence <= 1
        assert (answer.explanation is not None) == explain
        return [(match.distance, match.path) for match in answer.matches]

    for query in (paths[0], paths[20], paths[39]):
        code = encoder.encode([query])[0]
        distances = hamming_to(codes, code)
        expected = sorted((int(distance), path) for distance, path in zip(distances, paths, strict=True))
        assert ask(query, code, exact=True) == [pair for pair in expected if pair[0] == 0]
        for radius in (0, 3, 10, 20, 30, 64):
            assert ask(query, code, radius=radius) == [pair for pair in expected if pair[0] <= radius]
        for k in (1, 2, 7, 40, 100):
            assert ask(query, code, k=k) == expected[:k]


def test_the_hash_table_on_disk_and_the_index_in_memory_give_one_answer(many):
    collection, paths, codes = many
    index = collection.hash_index()
    for path, code in zip(paths, codes, strict=True):
        from_table = [match.id for match in collection.query(path, exact=True).matches]
        assert from_table == [match.id for match in index.exact(code)]


def test_keys_with_the_highest_bit_set_are_found_in_the_table(many):
    collection, paths, codes = many
    for number in np.flatnonzero(codes[:, 0] >= 128):
        assert paths[number] in [match.path for match in collection.query(paths[number], exact=True).matches]
    assert (codes[:, 0] >= 128).any()
    assert (codes[:, 0] < 128).any()


def test_a_match_carries_what_is_known_of_the_file(many):
    collection, paths, _ = many
    match = collection.query(paths[5], k=1).matches[0]
    status = Path(match.path).stat()
    assert (match.distance, match.size, match.width, match.height, match.format) == (0, status.st_size, 96, 72, "PNG")


def test_exactly_one_question_can_be_asked(many):
    collection, paths, _ = many
    two = ({"exact": True, "k": 1}, {"radius": 1, "k": 1}, {"matches": True, "k": 1}, {"matches": True, "exact": True})
    for question in ({}, *two, {"exact": True, "radius": 0, "k": 1}):
        with pytest.raises(ConfigError, match="a query takes exactly one of exact, radius, k and matches"):
            collection.query(paths[0], **question)
    for question in ({"k": 0}, {"radius": -1}, {"radius": 65}):
        with pytest.raises(ConfigError):
            collection.query(paths[0], **question)


def test_a_query_image_that_cannot_be_read_is_named(many, tmp_path):
    collection, _, _ = many
    with pytest.raises(ImageError, match=r"none\.png: no such file"):
        collection.query(tmp_path / "none.png", k=1)


def test_an_empty_collection_answers_with_nothing(collection, photos):
    for question in ({"exact": True}, {"radius": 5}, {"k": 3}):
        for explain in (False, True):
            assert collection.query(photos / "1.png", explain=explain, **question).matches == ()
    report = collection.dedup()
    assert (report.images, report.groups) == (0, ())


def test_an_index_is_kept_until_the_collection_changes_by_whatever_hand(collection, encoder, photos, fill):
    collection.index(photos)
    index = collection.hash_index()
    assert collection.hash_index() is index
    fill(photos, [60])
    with Collection.open(collection.path) as other:
        other.index(photos)
    assert len(collection.hash_index()) == 13
    assert names(collection.query(photos / "60.png", k=1)) == ["60.png"]


# --- encoders -----------------------------------------------------------------------------------------------------


def test_a_new_encoder_never_meets_codes_of_the_old_one(collection, make_encoder, encoder, photos):
    collection.index(photos)
    wider = make_encoder(1, bits=128, name="wider")
    collection.set_encoder(wider)
    assert collection.encoder.fingerprint == wider.fingerprint
    for question in ({"exact": True}, {"radius": 128}, {"k": 5}):
        assert collection.query(photos / "1.png", **question).matches == ()
    assert counts(collection.index(photos)) == (0, 0, 12, 0, 0, 12)
    answer = collection.query(photos / "1.png", k=12)
    assert (answer.bits, len(answer.matches)) == (128, 12)
    paths = [match.path for match in answer.matches]
    distances = hamming_to(wider.encode(paths), wider.encode([photos / "1.png"])[0])
    assert [match.distance for match in answer.matches] == distances.tolist()
    assert [(e["name"], e["default"], e["codes"], e["bits"]) for e in collection.list_encoders()] == [
        ("tiny", False, 12, 64),
        ("wider", True, 12, 128),
    ]


def test_going_back_to_an_encoder_encodes_only_what_it_has_not_seen(collection, make_encoder, encoder, photos, fill):
    collection.index(photos)
    collection.set_encoder(make_encoder(1))
    fill(photos, [70])
    collection.index(photos)
    collection.set_encoder(encoder)
    assert counts(collection.index(photos)) == (0, 0, 13, 0, 0, 1)
    assert len(collection.list_encoders()) == 2


def test_going_back_to_an_encoder_never_finds_its_codes_of_older_contents(
    collection, make_encoder, encoder, photos, draw
):
    collection.index(photos)
    collection.set_encoder(make_encoder(1))
    draw(71).save(photos / "3.png")
    touch(photos / "3.png")
    collection.index(photos)
    collection.set_encoder(encoder)
    collection.index(photos)
    assert names(collection.query(photos / "3.png", exact=True)) == ["3.png"]
    codes = dict(zip(collection.hash_index().ids.tolist(), collection.hash_index().codes, strict=True))
    for match in collection.query(photos / "3.png", k=12).matches:
        assert (codes[match.id] == encoder.encode([match.path])[0]).all()


def test_setting_the_same_encoder_again_changes_no_code(collection, encoder, photos):
    collection.index(photos)
    collection.set_encoder(encoder)
    assert counts(collection.index(photos)) == (0, 0, 12, 0, 0, 0)


def test_a_moved_collection_encodes_a_query_by_itself(tmp_path, make_encoder, photos):
    file = tmp_path / "encoder.onnx"
    make_encoder(5, name="gone").save(file)
    here, there = tmp_path / "here.db", tmp_path / "far away" / "there.db"
    with Collection.open(here) as collection:
        collection.set_encoder(type(make_encoder()).load(file))
        collection.index(photos)
    file.unlink()
    file.with_suffix(".decoder.onnx").unlink()
    there.parent.mkdir()
    shutil.move(here, there)
    with Collection.open(there, create=False) as moved:
        answer = moved.query(photos / "more" / "11.png", k=1)
        assert (names(answer), answer.matches[0].distance) == (["11.png"], 0)
        code = np.frombuffer(bytes.fromhex(answer.code), np.uint8)[None]
        assert moved.encoder.decode(code).shape == (1, 1, 16, 16)


# --- duplicates ---------------------------------------------------------------------------------------------------


@pytest.fixture
def twins(collection, tmp_path, draw):
    """A folder with one pair of each tier: bytes, pixels, code and near; and two pictures alone."""
    folder = tmp_path / "twins"
    folder.mkdir()
    for number, name in enumerate(["bytes", "pixels", "code", "near", "alone", "lonely"]):
        draw(number).save(folder / f"{name}.png")
    shutil.copy2(folder / "bytes.png", folder / "bytes copy.png")
    draw(1).save(folder / "pixels.bmp")
    draw(2).resize((192, 144), Image.Resampling.NEAREST).save(folder / "code twice as large.png")
    draw(3).crop((2, 2, 94, 70)).save(folder / "near.jpg", quality=40)
    collection.index(folder)
    return folder


def test_each_tier_is_found_with_its_keeper_and_reason(collection, twins):
    report = collection.dedup(radius=8)
    found = {
        group.tier: [(Path(image.path).name, image.keep, image.tier, image.reason) for image in group.images]
        for group in report.groups
    }
    assert found == {
        "bytes": [
            ("bytes.png", True, "bytes", "shortest path"),
            ("bytes copy.png", False, "bytes", "the same file"),
        ],
        "pixels": [
            ("pixels.bmp", True, "pixels", f"largest file ({(twins / 'pixels.bmp').stat().st_size:,} bytes)"),
            ("pixels.png", False, "pixels", "the same pixels in another file"),
        ],
        "code": [
            ("code twice as large.png", True, "code", "most pixels (192 × 144)"),
            ("code.png", False, "code", "smaller: 96 × 72 against 192 × 144"),
        ],
        "near": [
            ("near.png", True, "near", "most pixels (96 × 72)"),
            ("near.jpg", False, "near", "smaller: 92 × 68 against 96 × 72"),
        ],
    }


def test_the_numbers_of_a_report_add_up(collection, twins):
    (twins / "bad.png").write_text("text")
    collection.index(twins)
    report = collection.dedup(radius=8)
    spare = [image for group in report.groups for image in group.images if not image.keep]
    assert (report.images, len(report.groups), report.duplicates) == (10, 4, 4)
    assert report.bytes_to_free == sum(Path(image.path).stat().st_size for image in spare)
    assert Counter(image.tier for image in spare) == {
        tier: values["images"] for tier, values in report.by_tier().items()
    }
    assert sum(values["bytes"] for values in report.by_tier().values()) == report.bytes_to_free
    assert [group.number for group in report.groups] == [1, 2, 3, 4]
    freed = [group.bytes_to_free for group in report.groups]
    assert freed == sorted(freed, reverse=True)
    assert [(Path(f.path).name, f.reason) for f in report.failures] == [
        ("bad.png", "not an image (the file holds text)")
    ]
    assert (report.collection, report.folder, report.encoder, report.bits) == (str(collection.path), None, "tiny", 64)


def test_distances_in_a_report_are_those_of_the_codes(collection, encoder, twins):
    for radius in (0, 8, 25):
        report = collection.dedup(radius=radius)
        assert report.radius == radius
        for group in report.groups:
            codes = encoder.encode([image.path for image in group.images])
            assert [image.distance for image in group.images] == hamming_to(codes, codes[0]).tolist()
            assert group.diameter == max(int(hamming_to(codes, code).max()) for code in codes)
            by_id = {image.id: code for image, code in zip(group.images, codes, strict=True)}
            assert hamming_to(codes, by_id[group.representative]).max() <= radius


def test_the_radius_of_the_encoder_holds_where_none_is_given(collection, twins):
    assert collection.dedup().radius == 3
    assert {group.tier for group in collection.dedup(radius=0).groups} == {"bytes", "pixels", "code"}
    with pytest.raises(ConfigError):
        collection.dedup(radius=65)


def test_a_folder_limits_the_report_to_its_images_and_failures(collection, twins, fill):
    inner = fill(twins / "inner", range(100, 103))
    shutil.copy(inner / "100.png", inner / "100 copy.png")
    shutil.copy(twins / "alone.png", inner / "alone.png")
    for folder in (twins, inner):
        (folder / "bad.png").write_text("text")
    collection.index(twins)
    report = collection.dedup(inner, radius=0)
    assert (report.images, len(report.groups), report.folder) == (5, 1, str(inner))
    assert [Path(image.path).name for image in report.groups[0].images] == ["100.png", "100 copy.png"]
    assert [failure.path for failure in report.failures] == [str(inner / "bad.png")]
    assert len(collection.dedup(radius=0).groups) == 5


def test_pixels_are_hashed_once_and_again_after_a_change(collection, twins, monkeypatch):
    first = collection.dedup(radius=0)
    with monkeypatch.context() as patch:
        patch.setattr(decode_module, "_check_pixels", lambda _image, path: pytest.fail(f"{path} was decoded"))
        assert collection.dedup(radius=0).groups == first.groups
    bitmap = twins / "pixels.bmp"
    content = bytearray(bitmap.read_bytes())
    content[-30] ^= 1  # one bit of one pixel: another picture, most likely with the same code
    bitmap.write_bytes(content)
    touch(bitmap)
    collection.index(twins)
    tiers = {Path(group.keeper.path).name: group.tier for group in collection.dedup(radius=8).groups}
    assert tiers["pixels.bmp"] in {"code", "near"}


def test_a_file_that_vanished_since_it_was_indexed_does_not_stop_a_report(collection, twins):
    (twins / "pixels.bmp").unlink()
    tiers = {Path(group.keeper.path).name: group.tier for group in collection.dedup(radius=0).groups}
    assert tiers["pixels.bmp"] == "code"


def test_a_report_changes_no_file(collection, twins, fingerprint):
    before = fingerprint(twins)
    collection.dedup(radius=8)
    assert fingerprint(twins) == before


def test_statistics_are_those_of_the_files(collection, twins, photos):
    collection.index(photos)
    (photos / "3.png").unlink()
    collection.index(photos)
    stats = collection.stats()
    sizes = {folder: sum(path.stat().st_size for path in folder.rglob("*.*g")) for folder in (photos,)}
    assert [(f["path"], f["images"], f["missing"]) for f in stats["folders"]] == [
        (str(photos), 11, 1),
        (str(twins), 10, 0),
    ]
    assert stats["folders"][0]["bytes"] == sizes[photos]
    assert (stats["images"], stats["missing"], len(collection)) == (21, 1, 21)
    assert stats["bytes"] == sum(folder["bytes"] for folder in stats["folders"])
    assert all(folder["indexed"].endswith("Z") for folder in stats["folders"])
    assert repr(collection) == f"Collection({str(collection.path)!r})"


def test_a_thumbnail_is_a_small_jpeg_or_nothing(collection, twins):
    assert collection.thumbnail(str(twins / "pixels.bmp"))[:3] == b"\xff\xd8\xff"
    assert collection.thumbnail(str(twins / "gone.bmp")) is None


def test_the_generation_grows_with_every_change(collection, photos, make_encoder):
    seen = [generation(collection)]
    steps = (
        lambda: collection.index(photos),
        lambda: (photos / "1.png").unlink() or collection.index(photos),
        lambda: collection.remove(photos / "2.png"),
        lambda: collection.set_encoder(make_encoder(2)),
        lambda: collection.index(photos),
    )
    for step in steps:
        step()
        seen.append(generation(collection))
    assert seen == sorted(set(seen))


# --- files of earlier versions ------------------------------------------------------------------------------------


def blocks(number):
    """Draw a picture of 36 blocks whose greys are plain arithmetic: the same for every library version."""
    cells = np.arange(36).reshape(6, 6)
    return Image.fromarray(
        np.kron((cells * (37 + 14 * number) + cells**2 * number + 5) % 251, np.ones((8, 8))).astype("u1")
    )


def test_a_collection_of_schema_0001_still_opens_answers_and_grows(tmp_path):
    """The file was made by this, run in an empty folder at schema 0001, with `build_encoder` of ``conftest.py``::

    photos = Path("/tmp/golden/photos")
    photos.mkdir(parents=True)
    for number in range(6):
        blocks(number).save(photos / f"{number}.png")
    shutil.copy(photos / "2.png", photos / "\\udcff copy.png")
    (photos / "bad.jpg").write_text("no picture")
    with Collection.open("collection-0001.db") as collection:
        collection.set_encoder(build_encoder(size=8, name="golden", decoder=False))
        collection.index(photos)
        (photos / "5.png").unlink()
        collection.index(photos)
    """
    assert GOLDEN.stat().st_size < 100_000
    path = tmp_path / "collection.db"
    shutil.copy(GOLDEN, path)
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(6):
        blocks(number).save(photos / f"{number}.png")
    with Collection.open(path, create=False) as old:
        stats = old.stats()
        assert (stats["images"], stats["missing"]) == (6, 1)
        assert stats["failures"] == [
            {"path": "/tmp/golden/photos/bad.jpg", "reason": "not an image (the file holds text)"}
        ]
        assert [(e["name"], e["bits"], e["codes"]) for e in stats["encoders"]] == [("golden", 64, 7)]
        assert [match.path for match in old.query(photos / "2.png", exact=True).matches] == [
            "/tmp/golden/photos/2.png",
            "/tmp/golden/photos/\udcff copy.png",
        ]
        assert old.query(photos / "4.png", k=1).matches[0].distance == 0
        assert [group.tier for group in old.dedup().groups] == ["bytes"]
        again = old.index(photos)
        assert counts(again) == (5, 0, 0, 0, 0, 6)
        assert again.moved == 1  # the one that was missing
        assert len(old) == 12


def test_a_folder_that_is_gone_does_not_hold_up_the_others(tmp_path, collection, fill):
    """A drive that is not plugged in is told; its images are kept and the other folders go on."""
    first, second = fill(tmp_path / "a", (0,)), fill(tmp_path / "b", (1,))
    collection.index(first)
    collection.index(second)
    first.rename(tmp_path / "unplugged")
    fill(second, (1, 2))
    summary = collection.index()
    assert summary.added == 1
    assert [failure.reason for failure in summary.failed] == ["folder cannot be listed now; its images are kept"]
    assert len(collection) == 3
    second.rename(tmp_path / "unplugged too")
    with pytest.raises(SourceError, match="does not exist"):
        collection.index()


def test_other_names_of_one_file_are_no_duplicates(tmp_path, collection, fill):
    """Links, hard links and a linked folder never make a picture its own duplicate."""
    folder = fill(tmp_path / "a", (0,))
    (picture,) = folder.iterdir()
    links = tmp_path / "links"
    links.mkdir()
    (links / "x.png").symlink_to(picture)
    os.link(picture, links / "hard.png")
    (tmp_path / "folder").symlink_to(folder)
    for indexed in (folder, links, tmp_path / "folder"):
        collection.index(indexed)
    assert len(collection) == 3
    assert collection.dedup(radius=0).groups == ()
    shutil.copy(picture, folder / "copy.png")
    collection.index(folder)
    (group,) = collection.dedup(radius=0).groups
    assert len(group.images) == 2
    assert not any(os.path.islink(image.path) for image in group.images)


def test_a_report_on_an_unknown_folder_is_refused(tmp_path, collection):
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(UnknownName, match=r"knows no pictures in .*elsewhere; run: hashae index"):
        collection.dedup(tmp_path / "elsewhere")
