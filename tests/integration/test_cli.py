"""The command line from end to end: what it prints, where it keeps things, and how it ends."""

import csv
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict

import pytest
from PIL import Image

from hashae.codes import hamming_to
from hashae.encoder import Encoder
from hashae.indexer import Collection, collection


@pytest.fixture
def photos(tmp_path, fill, fingerprint):
    """Eight pictures and a copy of one; no test may change them."""
    folder = fill(tmp_path / "photos", range(8))
    shutil.copy2(folder / "3.png", folder / "3 copy.png")
    before = fingerprint(folder)
    yield folder
    assert fingerprint(folder) == before


@pytest.fixture
def db(tmp_path):
    return tmp_path / "photos.db"


@pytest.fixture
def indexed(cli, photos, db, encoder_file):
    """The arguments that name a collection of `photos`."""
    done = cli("index", photos, "--encoder", encoder_file, "--db", db)
    assert done.status == 0, done.err
    return "--db", db


def usage_error(result):
    """The sentence of a usage error."""
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith("Usage: hashae ")
    return result.err.splitlines()[-1]


def one_line(result, status=1):
    """The sentence of a failure: one line on standard error, nothing else anywhere."""
    assert (result.status, result.out) == (status, "")
    assert result.err.count("\n") == 1
    assert result.err.startswith("hashae: ")
    return result.err.removeprefix("hashae: ").strip()


# --- training -----------------------------------------------------------------------------------------------------


def test_an_encoder_is_learned_used_and_its_codes_are_those_of_the_library(hashae, photos, tmp_path, db):
    file = tmp_path / "small.onnx"
    small = ("--bits", "64", "--steps", "4", "--trunk", "dense", "--workers", "1", "--seed", "3")
    trained = hashae(
        "train", photos, "-o", file, *small, "--json", before="import os; os.environ['OMP_NUM_THREADS']='1'"
    )
    assert trained.status == 0, trained.err
    told = json.loads(trained.out)
    encoder = Encoder.load(file)
    assert (told["file"], told["fingerprint"], told["name"]) == (str(file), encoder.fingerprint, "small")
    assert (told["bits"], told["made"]["train"]["seed"], told["made"]["result"]["steps"]) == (64, 3, 4)
    indexed = hashae("index", photos, "--encoder", file, "--db", db)
    assert indexed.status == 0, indexed.err
    answer = json.loads(hashae("query", photos / "0.png", "-k", "9", "--db", db, "--json").out)
    paths = [match["path"] for match in answer["matches"]]
    distances = hamming_to(encoder.encode(paths), encoder.encode([photos / "0.png"])[0])
    assert [match["distance"] for match in answer["matches"]] == distances.tolist()


def test_training_says_what_is_wrong_before_it_starts(cli, photos, tmp_path):
    out = tmp_path / "e.onnx"
    assert one_line(cli("train", photos, "-o", tmp_path / "no" / "e.onnx")) == (
        f"{tmp_path / 'no'} does not exist; create the folder first"
    )
    assert one_line(cli("train", tmp_path / "none", "-o", out)).startswith(f"{tmp_path / 'none'} does not exist")
    assert one_line(cli("train", photos, "-o", out, "--bits", "63")) == (
        "bits is 63; expected a multiple of 8 from 8 to 512"
    )
    assert usage_error(cli("train", photos)) == "Error: Missing option '-o' / '--output'."
    assert usage_error(cli("train", photos, "-o", out, "--resume")) == (
        "Error: --resume needs --run, the folder with the checkpoint"
    )
    assert "'soon' is no length of time; expected for example 90s, 2m or 1h" in usage_error(
        cli("train", photos, "-o", out, "--budget", "soon")
    )
    assert not out.exists()


# --- indexing -----------------------------------------------------------------------------------------------------


def test_indexing_tells_what_was_new_and_then_that_nothing_was(cli, photos, db, encoder_file):
    first = cli("index", photos, "--encoder", encoder_file, "--db", db)
    assert (first.status, first.out) == (0, "")
    assert first.err.startswith("9 images: 9 new, in ")
    again = cli("index", "--db", db)
    assert (again.status, again.out) == (0, "")
    assert again.err.startswith("9 images: 9 unchanged, in ")


def test_indexing_in_json_says_the_same_in_numbers(cli, photos, db, encoder_file):
    done = cli("index", photos, "--encoder", encoder_file, "--db", db, "--json")
    told = json.loads(done.out)
    assert (done.status, done.err) == (0, "")
    assert told.pop("seconds") > 0
    assert told == {
        "collection": str(db),
        "images": 9,
        "added": 9,
        "changed": 0,
        "moved": 0,
        "unchanged": 0,
        "missing": 0,
        "unreadable": 0,
        "pruned": 0,
        "failed": [],
        "encoded": 9,
        "waiting": 0,
        "calibration": None,
    }


def test_a_removed_picture_is_noticed(cli, tmp_path, fill, db, encoder_file):
    folder = fill(tmp_path / "mine")
    cli("index", folder, "--encoder", encoder_file, "--db", db)
    (folder / "2.png").unlink()
    assert cli("index", "--db", db).err.startswith("5 images: 5 unchanged, 1 gone since the last run, in ")
    assert "5 (" in cli("stats", "--db", db).out
    assert json.loads(cli("stats", "--db", db, "--json").out)["missing"] == 1


def test_another_encoder_is_announced_and_encodes_everything_again(cli, photos, indexed, make_encoder, tmp_path):
    make_encoder(8, name="second").save(tmp_path / "second.onnx")
    done = cli("index", photos, "--encoder", tmp_path / "second.onnx", *indexed)
    assert done.status == 0
    assert "the collection changes to encoder 'second'; all its images will be encoded again" in done.err
    assert "9 images: 9 unchanged, in " in done.err
    assert "encoded/s" in done.err
    listed = json.loads(cli("encoders", *indexed, "--json").out)
    assert [(e["name"], e["default"], e["codes"]) for e in listed] == [("tiny", False, 9), ("second", True, 9)]


# --- questions ----------------------------------------------------------------------------------------------------


def test_all_questions_in_json_equal_those_of_the_library(cli, photos, indexed, db):
    with Collection.open(db) as opened:
        for options, question in (
            ([], {"k": 10}),
            (["-k", "3"], {"k": 3}),
            (["--radius", "20"], {"radius": 20}),
            (["--radius", "0"], {"radius": 0}),
            (["--exact"], {"exact": True}),
            (["--matches"], {"matches": True}),
        ):
            done = cli("query", photos / "3.png", *options, *indexed, "--json")
            told = json.loads(done.out)
            assert (done.status, done.err) == (0, "")
            expected = opened.query(photos / "3.png", **question)
            assert told["matches"] == [asdict(match) for match in expected.matches]
            assert told["rule"] == expected.rule
            assert told["confidence"] == expected.confidence
            assert (told["image"], told["code"], told["bits"]) == (str(photos / "3.png"), expected.code, 64)
            assert told["explanation"] is None


def test_an_answer_for_people_is_a_table_of_the_nearest(cli, photos, indexed):
    done = cli("query", photos / "3.png", "-k", "2", *indexed)
    rows = [line for line in done.out.splitlines() if str(photos) in line]
    assert (done.status, len(rows), done.err) == (0, 2, "")
    assert "3 copy.png" in rows[0]
    assert "96 × 72" in rows[0]
    assert "bits of 64" in done.out


def test_matches_are_shown_with_what_is_allowed_and_how_sure_they_are(cli, photos, indexed):
    done = cli("query", photos / "3.png", "--matches", *indexed)
    rows = [[cell.strip() for cell in line.split("│")] for line in done.out.splitlines() if str(photos) in line]
    assert (done.status, done.err) == (0, "")
    assert [row[1:3] for row in rows] == [["0", "3.0"], ["0", "3.0"]]  # too few for own radii: that of the encoder
    told = json.loads(cli("query", photos / "3.png", "--matches", *indexed, "--json").out)
    assert [row[3] for row in rows] == [f"{match['confidence']:.2f}" for match in told["matches"]]
    assert done.out.startswith("radius 3 bits\n")


def test_a_query_that_shows_nothing_is_told_so(cli, tmp_path, indexed):
    Image.new("L", (300, 200), 255).save(tmp_path / "blank.png")
    done = cli("query", tmp_path / "blank.png", *indexed)
    assert done.err == (
        f"note: there is next to nothing to see in {tmp_path / 'blank.png'}, so its code means little; "
        "look at what is found\n"
    )
    assert json.loads(cli("query", tmp_path / "blank.png", *indexed, "--json").out)["featureless"] is True


@pytest.mark.parametrize("question", [["--exact"], ["--radius", "5"], ["-k", "2"], ["--matches"]])
def test_an_explanation_names_method_reason_effort_and_code(cli, photos, indexed, question):
    shown = cli("query", photos / "3.png", *question, "--explain", *indexed)
    assert shown.status == 0
    assert " probes, " in shown.err
    assert " candidates read, 2 answers in " in shown.err
    told = json.loads(cli("query", photos / "3.png", *question, "--explain", *indexed, "--json").out)
    how = told["explanation"]
    assert how["answers"] == len(told["matches"]) == 2
    assert how["method"] in {"table", "stored", "bands", "flips", "scan", "faiss"}
    assert told["code"] in shown.err


def test_no_match_is_an_answer_not_a_failure(cli, tmp_path, draw, indexed):
    draw(500).save(tmp_path / "other.png")
    done = cli("query", tmp_path / "other.png", "--exact", *indexed)
    assert (done.status, done.out, done.err) == (0, "", "no match\n")


@pytest.mark.parametrize(
    "options",
    [["--exact", "-k", "3"], ["--radius", "2", "-k", "3"], ["--exact", "--radius", "0"], ["--matches", "-k", "3"]],
)
def test_two_questions_at_once_are_a_usage_error(cli, photos, indexed, options):
    shown = usage_error(cli("query", photos / "1.png", *options, *indexed))
    assert shown == "Error: give only one of --exact, --radius, --matches and -k"


@pytest.mark.parametrize(
    ("command", "word"),
    [
        (["query", "x.png", "-k", "0"], "0 is not in the range x>=1"),
        (["query", "x.png", "--radius", "-1"], "-1 is not in the range x>=0"),
        (["query"], "Missing argument 'IMAGE'"),
        (["index", "x", "--workers", "0"], "0 is not in the range 1<=x<=256"),
        (["index", "x", "--budget", "2 days"], "'2 days' is no length of time"),
        (["dedup", "x", "--colour"], "No such option"),
        (["stats", "--db", "."], "is a directory"),
    ],
)
def test_wrong_usage_ends_with_status_2_and_a_hint(cli, command, word):
    assert word in usage_error(cli(*command))


def test_a_radius_beyond_the_code_is_refused(cli, photos, indexed):
    assert "64" in one_line(cli("query", photos / "1.png", "--radius", "65", *indexed))


# --- duplicates ---------------------------------------------------------------------------------------------------


def test_answers_become_a_contact_sheet_and_duplicates_lines_and_markdown(cli, photos, indexed, tmp_path):
    sheet, lines, page = tmp_path / "answers.html", tmp_path / "groups.jsonl", tmp_path / "report.html"
    done = cli("query", photos / "3.png", "-k", "2", *indexed, "--report", sheet)
    assert (done.status, done.err) == (0, f"report: {sheet}\n")
    assert sheet.read_text("utf-8").count("data:image/jpeg;base64,") == 3
    done = cli("dedup", *indexed, "--radius", "2", "--jsonl", lines, "--markdown", "-")
    assert done.out.startswith("# Duplicate images in `")
    assert cli("report", lines, "--markdown", "-", "-o", page).out == done.out
    assert "<h1>Duplicate images</h1>" in page.read_text("utf-8")
    both = cli("dedup", *indexed, "--json", "--markdown", "-")
    assert both.status == 2
    assert "--json and --markdown - both want standard output" in both.err


def test_duplicates_are_shown_as_a_table_a_page_a_csv_file_and_json(cli, photos, db, encoder_file, tmp_path):
    page, rows = tmp_path / "report.html", tmp_path / "groups.csv"
    options = ("--encoder", encoder_file, "--db", db, "--radius", "2")
    shown = cli("dedup", photos, *options, "--report", page, "--csv", rows)
    assert shown.status == 0, shown.err
    assert "9 images, radius 2 of 64 bits" in shown.out
    assert f"keep {photos / '3.png'}  [shortest path]" in shown.out
    assert f"{photos / '3 copy.png'}  [same bytes, 0 bits; the same file]" in shown.out
    assert f"report: {page}" in shown.err
    html = page.read_text("utf-8")
    assert "3 copy.png" in html
    assert "data:image/jpeg;base64," in html
    with rows.open(encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file))
    assert [os.path.basename(row["path"]) for row in listed] == ["3.png", "3 copy.png"]
    told = cli("dedup", photos, *options, "--json")
    report = json.loads(told.out)
    assert (told.status, told.err) == (0, "")
    assert report["summary"]["groups"] == report["summary"]["duplicates"] == 1
    assert report["summary"]["bytes_to_free"] == (photos / "3 copy.png").stat().st_size
    assert [image["keep"] for image in report["groups"][0]["images"]] == [True, False]
    assert (report["folder"], report["radius"], report["bits"], report["encoder"]) == (str(photos), 2, 64, "tiny")


def test_a_folder_without_duplicates_is_told_so(cli, tmp_path, fill, encoder_file, db):
    folder = fill(tmp_path / "all different")
    done = cli("dedup", folder, "--encoder", encoder_file, "--db", db, "--radius", "0")
    assert (done.status, done.out) == (0, "no duplicates among 6 images (radius 0 of 64 bits)\n")


def test_duplicates_of_the_whole_collection_and_of_one_folder_differ(cli, photos, indexed, tmp_path, fill):
    other = fill(tmp_path / "other", [5, 90])
    cli("index", other, *indexed)
    everywhere = json.loads(cli("dedup", "--radius", "0", "--json", *indexed).out)
    here = json.loads(cli("dedup", other, "--radius", "0", "--json", *indexed).out)
    assert (everywhere["summary"]["groups"], everywhere["summary"]["images"]) == (2, 11)
    assert (here["summary"]["groups"], here["summary"]["images"]) == (0, 2)


def test_a_report_that_cannot_be_written_is_refused_before_the_work(cli, photos, db, encoder_file, tmp_path):
    page = tmp_path / "no" / "report.html"
    done = cli("dedup", photos, "--encoder", encoder_file, "--db", db, "--report", page)
    assert one_line(done) == f"--report: folder {page.parent} does not exist; create it first"
    assert not db.exists()


# --- what is in the collection ------------------------------------------------------------------------------------


def test_statistics_name_folders_images_and_encoder(cli, photos, indexed, db):
    shown = cli("stats", *indexed)
    assert (shown.status, shown.err) == (0, "")
    assert f"collection  {db} (" in shown.out
    assert "images      9 (" in shown.out
    assert "encoder     tiny, 64 bits, radius 3" in shown.out
    assert str(photos) in shown.out
    told = json.loads(cli("stats", *indexed, "--json").out)
    assert (told["images"], told["missing"], told["failures"]) == (9, 0, [])
    assert [folder["path"] for folder in told["folders"]] == [str(photos)]


def test_encoders_are_listed_with_the_one_in_use(cli, indexed, encoder):
    shown = cli("encoders", *indexed)
    assert shown.status == 0
    assert "* tiny" in shown.out
    assert encoder.fingerprint[:12] in shown.out
    told = json.loads(cli("encoders", *indexed, "--json").out)
    assert [(e["name"], e["bits"], e["radius"], e["default"]) for e in told] == [("tiny", 64, 3, True)]


def test_a_collection_without_encoder_says_how_to_get_one(cli, db):
    Collection.open(db).close()
    done = cli("encoders", "--db", db)
    assert (done.status, json.loads(cli("encoders", "--db", db, "--json").out)) == (0, [])
    assert done.out.startswith("no encoder yet; hashae index FOLDER ")


# --- where the collection lies ------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="the data folder is set by XDG_DATA_HOME on Linux")
def test_without_a_name_the_collection_lies_in_the_data_folder(cli, photos, encoder_file, tmp_path):
    expected = tmp_path / "data" / "hashae" / "collection.db"
    missing = one_line(cli("stats"))
    assert missing == f"there is no collection at {expected}; make one: hashae index FOLDER --db {expected}"
    assert cli("index", photos, "--encoder", encoder_file).status == 0
    assert json.loads(cli("stats", "--json").out)["collection"] == str(expected)


def test_the_environment_names_the_collection_and_the_option_overrules_it(cli, photos, indexed, db, monkeypatch):
    monkeypatch.setenv("HASHAE_DB", str(db))
    assert json.loads(cli("stats", "--json").out)["images"] == 9
    other = db.with_name("other.db")
    assert one_line(cli("stats", "--db", other)).startswith(f"there is no collection at {other}; make one:")


# --- how it ends --------------------------------------------------------------------------------------------------


def test_a_failure_is_one_line_and_a_traceback_only_with_debug(hashae, tmp_path):
    missing = tmp_path / "missing"
    assert one_line(hashae("index", missing)) == f"{missing} does not exist; expected a folder of pictures"
    debugged = hashae("--debug", "index", missing)
    assert debugged.status == 1
    assert "Traceback (most recent call last)" in debugged.err
    assert debugged.err.splitlines()[-1].startswith("hashae.errors.SourceError: ")


def test_a_sentence_stays_one_line_whatever_the_file_is_called(cli, indexed, tmp_path):
    shown = one_line(cli("query", tmp_path / "two\nlines \udcff\U0001f600.png", *indexed))
    assert shown == f"{tmp_path}/two lines \\udcff\U0001f600.png: no such file"


@pytest.mark.parametrize(
    ("command", "buffered"), [(["stats", "--json"], ""), (["stats"], ""), (["query", "PICTURE"], "1")]
)
def test_a_reader_that_goes_away_causes_no_traceback(spawn, photos, indexed, command, buffered):
    command = [photos / "1.png" if word == "PICTURE" else word for word in command]
    reading, writing = os.pipe()
    os.close(reading)
    try:
        child = spawn(*command, *indexed, stdout=writing)
    finally:
        os.close(writing)
    err = child.communicate(timeout=60)[1].decode()
    assert err == ""
    assert child.returncode == 1


def test_the_first_line_of_a_long_answer_can_be_taken(photos, indexed, environment):
    command = f"'{sys.executable}' -m hashae.cli stats --json --db '{indexed[1]}' | head -1"
    done = subprocess.run(
        ["sh", "-c", command], env=environment, cwd=photos, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("{\n", "")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_names_that_the_terminal_cannot_show_stop_nothing(hashae, draw, encoder_file, tmp_path, encoding):
    folder = tmp_path / "caf\udce9 \U0001f408"
    folder.mkdir()
    draw(1).save(folder / "x.png")
    (folder / "x.png").rename(folder / "\udcff \U0001f600.png")
    shutil.copy2(folder / "\udcff \U0001f600.png", folder / "copy.png")
    (folder / "bad\udcfe.png").write_text("text")
    env = {"PYTHONIOENCODING": encoding}
    db = folder / "here \U0001f408.db"
    dedup = ("dedup", folder, "--encoder", encoder_file, "--db", db, "--report", folder / "report.html")
    for command in (dedup, ("query", folder / "\udcff \U0001f600.png", "--db", db), ("stats", "--db", db)):
        child = hashae(*command, env=env, encoding=encoding)
        assert child.status == 0, child.err
        assert "Traceback" not in child.err
    told = hashae(*dedup, "--json", env=env)
    paths = [image["path"] for image in json.loads(told.out)["groups"][0]["images"]]
    assert sorted(paths) == sorted(map(str, (folder / "copy.png", folder / "\udcff \U0001f600.png")))


def test_the_module_runs_like_the_command(environment, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "hashae.cli", "--version"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.split()[0]) == (0, "hashae,")


def test_progress_on_a_pipe_is_plain_lines_now_and_then(cli, photos, db, encoder_file, monkeypatch):
    monkeypatch.setattr("hashae.cli.progress.PLAIN_EVERY", 0.0)
    shown = cli("index", photos, "--encoder", encoder_file, "--db", db)
    assert "indexing: 9 of 9 (" in shown.err
    assert "\r" not in shown.err
    assert "\x1b" not in shown.err


def test_an_interruption_in_the_middle_is_one_sentence_and_status_130(cli, photos, indexed, monkeypatch):
    def interrupted(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(collection.Collection, "index", interrupted)
    done = cli("index", *indexed)
    assert done.status == 130
    assert done.err.strip() == "hashae: interrupted; what was stored is safe, run the command again to go on"
    assert done.out == ""
