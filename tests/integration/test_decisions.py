"""Verdicts, keep rules, plans and actions from the command line, on a collection of pictures."""

import csv
import json
import os
import shutil

import pytest
from PIL import Image

from hashae.indexer import Collection


@pytest.fixture
def desktop(tmp_path, monkeypatch):
    """A home folder and a trash of the test's own."""
    backend = pytest.importorskip("send2trash.plat_other")
    data = tmp_path / "data"  # as the fixture `cli` names it
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(backend, "XDG_DATA_HOME", os.fsencode(data))
    monkeypatch.setattr(backend, "HOMETRASH_B", os.fsencode(data / "Trash"))
    return data / "Trash"


@pytest.fixture
def photos(tmp_path, fill):
    """Six pictures; 1 has a copy, 2 is there as BMP too (same pixels), 3 as JPEG (near)."""
    folder = fill(tmp_path / "photos", range(6))
    (folder / "best").mkdir()
    shutil.copy2(folder / "1.png", folder / "best" / "1 copy.png")
    Image.open(folder / "2.png").save(folder / "2.bmp")
    Image.open(folder / "3.png").save(folder / "3.jpg", quality=80)
    return folder


@pytest.fixture
def dedup(cli, photos, tmp_path, encoder_file):
    """Return a function that runs ``dedup --json`` and returns the report."""

    def run(*options):
        db = ("--db", tmp_path / "photos.db")
        done = cli("dedup", photos, "--encoder", encoder_file, "--radius", "3", "--json", *db, *options)
        assert done.status == 0, done.err
        return json.loads(done.out)

    return run


@pytest.fixture
def do(cli, tmp_path):
    """Return a function that runs a command on the collection and expects it to succeed."""

    def run(*arguments, status=0):
        done = cli(*arguments, "--db", tmp_path / "photos.db")
        assert done.status == status, done.err
        return done

    return run


def groups(report):
    """Names of each group, the keeper first."""
    return sorted([os.path.basename(image["path"]) for image in group["images"]] for group in report["groups"])


def keepers(report):
    return {
        os.path.basename(image["path"]): image["reason"]
        for g in report["groups"]
        for image in g["images"]
        if image["keep"]
    }


PAIRS = [["1.png", "1 copy.png"], ["2.bmp", "2.png"], ["3.png", "3.jpg"]]

# --- keep rules -----------------------------------------------------------------------------------------------------


def test_the_default_order_is_told_and_the_reason_names_the_rule(dedup, photos):
    report = dedup()
    assert groups(report) == PAIRS
    assert report["keep_rules"] == ["pixels", "format", "size", "oldest", "path"]
    assert keepers(report)["3.png"] == "lossless format (PNG)"
    assert keepers(report)["2.bmp"].startswith("largest file (")


def test_another_order_keeps_other_pictures(dedup, photos):
    assert keepers(dedup("--keep", "path"))["2.bmp"] == "first in the alphabet"
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    Image.open(photos / "3.png").save(photos / "3.jpg", quality=80, exif=exif)
    kept = keepers(dedup("--keep", "metadata,size"))
    assert kept["3.jpg"] == "richest metadata (1 EXIF field)"
    assert "2.bmp" in kept


def test_folders_are_preferred_and_protected(dedup, photos, tmp_path):
    report = dedup("--prefer", photos / "best", "--csv", tmp_path / "g.csv")
    assert keepers(report)["1 copy.png"] == f"preferred folder ({photos / 'best'})"
    report = dedup("--protect", photos, "--plan", tmp_path / "plan.json", "--csv", tmp_path / "g.csv")
    assert report["summary"]["bytes_to_free"] == report["summary"]["duplicates"] == 0
    assert json.loads((tmp_path / "plan.json").read_text())["actions"] == []
    with (tmp_path / "g.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {(row["keep"], row["protected"]) for row in rows} == {("True", "False"), ("False", "True")}


def test_rules_that_are_none_are_refused_before_the_work(cli, photos, tmp_path):
    done = cli("dedup", photos, "--keep", "beauty", "--db", tmp_path / "photos.db")
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("hashae: 'beauty' is no rule; expected some of pixels, format, size, metadata, folder, ")
    assert not (tmp_path / "photos.db").exists()


# --- verdicts -------------------------------------------------------------------------------------------------------


def test_verdicts_are_honoured_and_outlive_moves_names_and_encoders(dedup, do, cli, photos, tmp_path, make_encoder):
    dedup()
    do("verdict", "keep", photos / "3.jpg")
    do("verdict", "distinct", photos / "2.png", photos / "2.bmp")
    do("verdict", "ignore", photos / "1.png")
    (photos / "elsewhere").mkdir()
    os.rename(photos / "3.jpg", photos / "elsewhere" / "renamed.jpg")
    os.rename(photos / "2.png", photos / "elsewhere" / "two.png")
    report = dedup()
    assert groups(report) == [["renamed.jpg", "3.png"]]
    assert keepers(report) == {"renamed.jpg": "you said to keep it"}
    assert (report["summary"]["ignored"], report["summary"]["separated"]) == (1, 1)
    other = tmp_path / "other.onnx"
    make_encoder(5, name="other").save(other)
    report = dedup("--encoder", other)
    assert groups(report) == [["renamed.jpg", "3.png"]]
    told = cli("dedup", photos, "--radius", "3", "--db", tmp_path / "photos.db").err
    assert "left out: 1 group that you said to ignore; see: hashae verdict list" in told
    assert "kept apart: 1 pair that you said are no duplicates; see: hashae verdict list" in told
    do("verdict", "forget", "--all")
    assert groups(dedup()) == [["1.png", "1 copy.png"], ["2.bmp", "two.png"], ["3.png", "renamed.jpg"]]


def test_an_ignored_group_comes_back_when_a_picture_joins_it(dedup, do, photos):
    dedup()
    do("verdict", "ignore", photos / "3.png", photos / "3.jpg")
    assert groups(dedup()) == PAIRS[:2]
    Image.open(photos / "3.png").save(photos / "3 again.bmp")
    assert ["3 again.bmp", "3.png", "3.jpg"] in groups(dedup())


def test_verdicts_are_listed_exported_imported_and_forgotten(do, dedup, photos, tmp_path):
    dedup()
    assert do("verdict", "list").out == "no verdict yet; see: hashae verdict --help\n"
    told = do("verdict", "distinct", photos / "1.png", photos / "2.png").err
    assert told == "verdict 1: these pictures are not duplicates of each other\n"
    assert do("verdict", "distinct", photos / "2.png", photos / "1.png").err == "the collection knows that already\n"
    do("verdict", "keep", photos / "4.png")
    listed = json.loads(do("verdict", "list", "--json").out)
    assert [(one["id"], one["verdict"], len(one["pictures"])) for one in listed] == [(1, "distinct", 2), (2, "keep", 1)]
    assert str(photos / "4.png") in do("verdict", "list").out
    file = tmp_path / "v.json"
    assert do("verdict", "export", file).err == f"2 verdicts: {file}\n"
    assert do("verdict", "forget", "1").err == "1 verdicts forgotten\n"
    assert do("verdict", "import", file).err == "1 of 2 verdicts are new\n"
    assert do("verdict", "forget", "77", status=1).err == (
        "hashae: there is no verdict 77; see their numbers with: hashae verdict list\n"
    )
    assert "give the numbers of verdicts, or --all" in do("verdict", "forget", status=2).err
    assert do("verdict", "keep", tmp_path / "none.jpg", status=1).err.startswith(f"hashae: {tmp_path / 'none.jpg'}: ")
    file.write_text("{}")
    assert do("verdict", "import", file, status=1).err == (
        f'hashae: {file} is no verdict file: expected "hashae": "verdicts" at its head\n'
    )


# --- plans and actions ----------------------------------------------------------------------------------------------


def test_from_a_plan_to_the_trash_and_back(dedup, do, cli, photos, tmp_path, fingerprint, desktop):
    plan = tmp_path / "plan.json"
    dedup("--plan", plan)
    before = fingerprint(photos)
    listed = do("apply", plan)
    assert "2 of 3 files: could go (" in listed.out
    assert "nothing was touched; do it with: --action trash" in listed.out
    assert listed.err == (
        f"stays: {photos / '3.jpg'}: same code is not acted on; look at it, then allow it with --tier code\n"
    )
    assert fingerprint(photos) == before
    done = cli("apply", plan, "--action", "trash")  # the plan knows its collection
    assert done.status == 0
    assert f"take it back with: hashae undo 1 --db {tmp_path / 'photos.db'}" in done.out
    assert not (photos / "best" / "1 copy.png").exists()
    assert len(list((desktop / "files").iterdir())) == 2
    with Collection.open(tmp_path / "photos.db") as collection:
        assert len(collection) == 7  # at once, without another run of index
    (run,) = json.loads(do("history", "--json").out)
    assert (run["action"], run["counts"], run["plan"]) == ("trash", {"done": 2}, str(plan))
    assert {row["state"] for row in json.loads(do("history", "1", "--json").out)} == {"done"}
    assert groups(dedup()) == PAIRS[2:]
    assert "2 of 2 files: back (" in do("undo").out
    assert groups(dedup()) == PAIRS
    assert do("undo", status=1).err == ("hashae: nothing is left to undo; see what was done with: hashae history\n")
    assert "run 1" in do("history", "1").out
    assert (photos / "best" / "1 copy.png").read_bytes() == (photos / "1.png").read_bytes()


@pytest.mark.parametrize("tier", ["code", "near", "radius"])
def test_weak_tiers_are_acted_on_when_allowed(dedup, do, photos, tmp_path, tier):
    plan, to = tmp_path / "plan.json", tmp_path / "spare"
    dedup("--plan", plan)
    done = do("apply", plan, "--action", "move", "--to", to, "--tier", tier, "--json")
    told = json.loads(done.out)
    assert (told["counts"], told["run"], told["dry_run"]) == ({"done": 3}, 1, False)
    assert {str(path.relative_to(to)) for path in to.rglob("*.*")} == {"best/1 copy.png", "2.png", "3.jpg"}
    assert {os.path.relpath(file["target"], to) for file in told["files"]} == {"best/1 copy.png", "2.png", "3.jpg"}
    do("undo", "1")
    assert (photos / "3.jpg").exists()


def test_links_only_replace_the_same_bytes_and_are_no_duplicates_afterwards(dedup, do, photos, tmp_path):
    plan = tmp_path / "plan.json"
    dedup("--plan", plan)
    assert "now a hard link to its keeper" in do("apply", plan, "--action", "hardlink", "--dry-run").out
    assert not os.path.samefile(photos / "1.png", photos / "best" / "1 copy.png")
    done = do("apply", plan, "--action", "hardlink")
    assert os.path.samefile(photos / "1.png", photos / "best" / "1 copy.png")
    assert "a hardlink would lose them; use trash or move" in done.err
    assert groups(dedup()) == PAIRS[1:]
    do("undo")
    assert groups(dedup()) == PAIRS


def test_a_plan_of_which_nothing_can_be_done_is_a_failure_told_file_by_file(dedup, do, photos, tmp_path):
    plan = tmp_path / "plan.json"
    dedup("--plan", plan)
    for path in (photos / "best" / "1 copy.png", photos / "2.png"):
        path.write_bytes(b"changed")
    done = do("apply", plan, "--action", "trash", status=1)
    assert done.err.count("has changed since the plan was made") == 2
    assert "0 of 3 files: into the trash (0 bytes)" in done.out
    assert json.loads(do("history", "--json").out) == []


def test_what_is_no_plan_is_refused_in_one_line(do, dedup, tmp_path):
    dedup()
    plan = tmp_path / "plan.json"
    plan.write_text("[1]")
    assert do("apply", plan, status=1).err == f'hashae: {plan} is no plan: expected "hashae": "plan" at its head\n'
    dedup("--plan", plan)
    assert do("apply", plan, "--action", "move", status=1).err == (
        "hashae: action move needs a folder to move to, and no other action takes one: --to FOLDER\n"
    )
    assert "Invalid value for '--action'" in do("apply", plan, "--action", "burn", status=2).err


def test_pixels_are_compared_again_before_a_file_goes(dedup, do, photos, tmp_path, desktop):
    plan = tmp_path / "plan.json"
    dedup("--plan", plan)
    value = json.loads(plan.read_text())
    for action in value["actions"]:
        action["tier"] = "pixels"  # a person believes it
    plan.write_text(json.dumps(value))
    done = do("apply", plan, "--action", "trash")
    assert "its pixels differ from those of its keeper, although the plan says same pixels" in done.err
    assert (photos / "3.jpg").exists()
    assert not (photos / "2.png").exists()


def test_names_that_are_no_text_go_all_the_way(dedup, do, photos, tmp_path, desktop):
    odd = photos / os.fsdecode(b"two\nlines \xff.png")
    shutil.copy2(photos / "4.png", odd)
    plan = tmp_path / "plan.json"
    dedup("--plan", plan)
    done = do("apply", plan, "--action", "trash")
    assert "two\\nlines \\udcff.png" in done.out
    assert not odd.exists()
    do("history", "1")
    do("undo")
    assert odd.read_bytes() == (photos / "4.png").read_bytes()
