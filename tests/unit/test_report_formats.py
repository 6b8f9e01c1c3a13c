"""A report as JSON, JSON Lines, CSV and Markdown: the schema that describes them, and the way back."""

import dataclasses
import json
import os
import re
from importlib.resources import files

import jsonschema
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from hashae.cli.main import cli
from hashae.errors import ConfigError, DocumentError
from hashae.indexer.calibrated import Calibration
from hashae.indexer.report import SCHEMA_VERSION, TIERS, DedupReport, Failure, ReportGroup, ReportImage
from hashae.indexer.report_files import json_lines, json_pieces, write_csv, write_json, write_json_lines
from hashae.indexer.report_markdown import MARKDOWN_GROUPS, MARKDOWN_IMAGES, markdown_lines, write_markdown
from hashae.indexer.report_reading import read_report

SCHEMA = json.loads(files("hashae.indexer").joinpath("report.schema.json").read_text("utf-8"))


def image(id_, path=None, *, tier="near", keep=False, reason="because", **more):
    path = path or f"/photos/{id_}.jpg"
    facts = {"size": 1000, "width": 640, "height": 480, "format": "JPEG", "modified": 1.5e9, "distance": 3 * (not keep)}
    return ReportImage(id=id_, path=path, tier=tier, keep=keep, reason=reason, **(facts | more))


def group(number, *others):
    keeper = image(1000 * number, keep=True, tier=others[-1].tier, content="ab" * 16)
    return ReportGroup(number, others[-1].tier, (keeper, *others), keeper.id, 3, number % 2 == 0)


def report(*groups, **more):
    head = ("/data/photos.db", None, "photo", 256, 33, 1204, "2025-03-09T17:42:10Z")
    return DedupReport(*head, tuple(groups), **more)


FULL = report(
    group(1, image(1, confidence=0.5), image(2, protected=True)),
    group(2, image(3, tier="bytes")),
    failures=(Failure("/photos/bad.jpg", "truncated file"),),
    own_radius=True,
    keep_rules=("pixels", "size"),
    featureless=("/photos/blank.png",),
    calibration=Calibration(
        4.5, 1.0, 33, 0.999, 1.0, 0.95, True, True, 0.9, 0.8, {"crop": 0.8}, 2500, 100, {"false": 1}, 0, 0, True, "2025"
    ),
    approximate=True,
    recall=0.98,
)
REPORTS = [pytest.param(report(), id="empty"), pytest.param(FULL, id="full")]


def validate(value, name=None):
    schema = SCHEMA if name is None else {"$ref": f"#/$defs/{name}", "$defs": SCHEMA["$defs"]}
    jsonschema.Draft202012Validator(schema).validate(json.loads(json.dumps(value)))


def test_the_schema_is_one_and_of_this_version():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["schema"]["const"] == SCHEMA_VERSION
    assert SCHEMA["$defs"]["tier"]["enum"] == list(TIERS)


@pytest.mark.parametrize("whole", REPORTS)
def test_what_is_written_fits_the_schema(whole):
    validate(whole.to_dict())
    for line in json_lines(whole):
        validate(line, "line")
    for row in whole.rows():
        validate(row, "row")


def test_the_schema_describes_every_entry_and_no_other():
    value = FULL.to_dict()
    described = SCHEMA["$defs"]
    assert list(SCHEMA["properties"]) == list(value)
    assert list(described["image"]["properties"]) == list(value["groups"][0]["images"][0])
    assert set(described["group"]["properties"]) == set(value["groups"][0])
    assert list(described["summary"]["properties"]) == list(value["summary"])
    assert list(described["row"]["properties"]) == list(next(FULL.rows()))


@pytest.mark.parametrize(
    ("where", "wrong"),
    [(("schema",), 2), (("bits",), "256"), (("groups", 0, "tier"), "alike"), (("groups", 0, "images", 0, "keep"), 1)],
)
def test_the_schema_refuses_what_is_wrong(where, wrong):
    value = json.loads(json.dumps(FULL.to_dict()))
    place = value
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] = wrong
    with pytest.raises(jsonschema.ValidationError):
        validate(value)


@pytest.mark.parametrize("whole", REPORTS)
def test_json_in_pieces_is_the_json_of_the_whole(whole):
    assert "".join(json_pieces(whole)) == json.dumps(whole.to_dict(), indent=2) + "\n"


@pytest.mark.parametrize("whole", REPORTS)
@pytest.mark.parametrize("write", [write_json, write_json_lines])
def test_a_saved_report_is_read_back_whole(tmp_path, whole, write):
    write(whole, tmp_path / "saved")
    assert read_report(tmp_path / "saved") == whole


@settings(max_examples=40, deadline=None)
@given(name=st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name))
def test_any_name_of_a_file_is_read_back(tmp_path_factory, name):
    path = "/" + os.fsdecode(name)
    whole = report(group(1, image(1, path)), featureless=(path,), failures=(Failure(path, "gone"),))
    for write in (write_json, write_json_lines):
        target = tmp_path_factory.mktemp("names") / "saved"
        write(whole, target)
        assert read_report(target) == whole
    assert all("\n" not in line for line in markdown_lines(whole))


def test_json_lines_are_one_line_each(tmp_path):
    write_json_lines(FULL, tmp_path / "r.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text("utf-8").splitlines()]
    assert [line["kind"] for line in lines] == ["report", "group", "group", "featureless", "failure"]
    assert lines[0]["summary"]["groups"] == 2
    assert "groups" not in lines[0]
    assert lines[2] == {"kind": "group", **FULL.to_dict()["groups"][1]}


def test_json_lines_that_were_cut_off_are_refused(tmp_path):
    path = tmp_path / "r.jsonl"
    write_json_lines(FULL, path)
    path.write_text("".join(path.read_text("utf-8").splitlines(keepends=True)[:2]), "utf-8")
    with pytest.raises(DocumentError, match="holds 1 groups and its head says 2: it was cut off"):
        read_report(path)


def edited(**changes):
    return json.dumps({**FULL.to_dict(), **changes})


def with_image(**changes):
    value = FULL.to_dict()
    value["groups"][0]["images"][1] |= changes
    return json.dumps(value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not valid JSON"),
        ("[]", "is no duplicate report: expected what hashae dedup --json prints"),
        ('{"schema": 1, "pairs": []}', "is no duplicate report"),
        ("[" * 100_000, "nested too deeply"),
        (edited(schema=2), "has schema 2; this hashae reads 1 to 1: update hashae"),
        (edited(bits=None), '"bits" is None; expected a whole number'),
        (edited(calibration={"precision": 1}), '"calibration" has other entries'),
        (edited(keep_rules=[1]), '"keep_rules" holds something else than texts'),
        (edited(featureless=["blank.png"]), "expected an absolute path"),
        (with_image(keep=True), "group 1 keeps 2 of 3 images; expected 1 of at least 2"),
        (with_image(tier="alike"), "group 1, image 2: \"tier\" is 'alike'; expected one of bytes, pixels, code, near"),
        (with_image(size=-1), '"size" is -1; expected 0 or more'),
        (with_image(path="a.jpg"), "expected an absolute path"),
        (with_image(modified="then"), "\"modified\" is 'then'; expected a whole number"),
        (json.dumps({"kind": "report", **report().head()}) + '\n{"kind": "pair"}\n', "\"kind\" is 'pair'; expected"),
        (json.dumps({"kind": "report", **report().head()}) + "\nnone\n", "line 2 is not valid JSON"),
    ],
)
def test_what_is_no_report_is_refused_with_words(tmp_path, text, words):
    path = tmp_path / "saved.json"
    path.write_text(text)
    with pytest.raises(DocumentError, match=re.escape(words)):
        read_report(path)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DocumentError, match="cannot be read"):
        read_report(tmp_path / "missing.json")


def test_markdown_shows_summary_groups_and_failures():
    text = "\n".join(markdown_lines(FULL))
    assert "# Duplicate images in `/data/photos.db`" in text
    assert "| within radius | 1 | 1 | 1.0 kB |" in text
    assert "| **all** | 2 | 2 | 2.0 kB |" in text
    assert "## Group 1: within radius, 3 images, 1.0 kB to free" in text
    assert "| keep | `/photos/1000.jpg` | 0 | 640 × 480 | JPEG | 1.0 kB | 2017-07-14 02:40 | because |" in text
    assert "| stays | `/photos/2.jpg` | 3 |" in text
    assert "Diameter 3 bits, chain." in text
    assert "- `/photos/bad.jpg`: truncated file" in text
    assert "1 image with next to nothing to see" in text
    assert "No duplicates among 1,204 images (radius 33 of 256 bits)." in list(markdown_lines(report()))


def test_markdown_is_cut_and_says_so():
    many = report(*(group(n, image(n)) for n in range(1, MARKDOWN_GROUPS + 3)))
    assert "And 2 more groups." in list(markdown_lines(many))
    large = report(group(1, *(image(n) for n in range(1, MARKDOWN_IMAGES + 2))))
    assert "And 2 more images." in list(markdown_lines(large))


def test_names_and_words_are_no_markup_in_markdown():
    whole = report(group(1, image(1, "/a|b`c\n``.jpg", reason="<b>*|_")))
    line = next(line for line in markdown_lines(whole) if "a\\|b" in line)
    assert "```/a\\|b`c\\n``.jpg```" in line
    assert line.endswith("| \\<b\\>\\*\\|\\_ |")


def test_commands_write_a_saved_report_once_more(tmp_path):
    saved = tmp_path / "saved.json"
    write_json(FULL, saved)
    names = {"-o": "r.html", "--csv": "r.csv", "--jsonl": "r.jsonl", "--markdown": "r.md"}
    targets = {option: tmp_path / name for option, name in names.items()}
    arguments = [word for option, target in targets.items() for word in (option, str(target))]
    done = CliRunner().invoke(cli, ["report", str(saved), *arguments])
    assert done.exit_code == 0, done.output
    assert '"1000.jpg"' in targets["-o"].read_text("utf-8")
    assert read_report(targets["--jsonl"]) == FULL
    assert targets["--markdown"].read_text("utf-8").splitlines() == list(markdown_lines(FULL))
    write_csv(FULL, tmp_path / "own.csv")
    assert targets["--csv"].read_bytes() == (tmp_path / "own.csv").read_bytes()
    shown = CliRunner().invoke(cli, ["report", str(saved), "--markdown", "-"])
    assert shown.output.splitlines() == list(markdown_lines(FULL))


def test_the_command_says_what_is_missing_and_prints_the_schema(tmp_path):
    nothing = CliRunner().invoke(cli, ["report", str(tmp_path / "saved.json")])
    assert nothing.exit_code == 2
    assert "nothing to write; give -o report.html" in nothing.output
    assert json.loads(CliRunner().invoke(cli, ["report", "--schema"]).output) == SCHEMA


@pytest.mark.parametrize("write", [write_json_lines, write_markdown])
def test_a_folder_that_is_missing_is_named(tmp_path, write):
    with pytest.raises(ConfigError, match=re.escape(f"folder {tmp_path / 'no'} does not exist; create it first")):
        write(dataclasses.replace(FULL), tmp_path / "no" / "r")
