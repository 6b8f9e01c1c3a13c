import base64
import csv
import dataclasses
import errno
import hashlib
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashae.errors import ConfigError, HashaeError, ImageError
from hashae.indexer import report_page
from hashae.indexer.calibrated import Calibration
from hashae.indexer.human_size import human_size
from hashae.indexer.report import TIER_TITLES, TIERS, DedupReport, Failure, ReportGroup, ReportImage
from hashae.indexer.report_files import write_csv, write_json
from hashae.indexer.report_page import FAILURES_SHOWN, GROUP_IMAGES, PAGE_GROUPS, write_html

JPEG = b"\xff\xd8 not really a picture"


def image(number, path=None, *, size=1000, distance=0, tier="bytes", keep=False, reason="because"):
    path = f"/photos/{number}.jpg" if path is None else path
    return ReportImage(number, path, size, 640, 480, "JPEG", 1_500_000_000.0, distance, tier, keep, reason)


def group(number, *others, keeper=None):
    keeper = keeper or image(number * 1000, keep=True, tier=others[-1].tier, reason="largest resolution")
    far = max(other.distance for other in others)
    return ReportGroup(number, others[-1].tier, (keeper, *others), keeper.id, far)


def report(*groups, failures=(), **changes):
    whole = DedupReport(
        "/data/photos.hashae", "/photos", "photo-256", 256, 33, 1204, "2025-03-09T17:42:10+00:00", groups, failures
    )
    return dataclasses.replace(whole, **changes)


def calibration():
    promise = {"precision": 0.999, "copies": 1.0, "confidence": 0.95, "kept": True, "counted": True}
    found = {"recall": 0.9, "radius_recall": 0.8, "edits": {"crop": 0.8}, "images": 2500, "sample": 100, "pairs": {}}
    return Calibration(
        4.5, 1.0, 33, **promise, **found, borrowed=0, seed=0, automatic=True, date="2025-03-09T17:00:00Z"
    )


SAMPLE = report(
    group(1, image(1, size=2_000_000), image(2, tier="near", distance=14, size=500_000)),
    dataclasses.replace(group(2, image(3, tier="code")), chained=True),
    failures=(Failure("/photos/bad.jpg", "truncated file"),),
)


class Page(HTMLParser):
    """What a browser would make of a page: elements with their attributes, text, and the data of its scripts."""

    def __init__(self, source):
        super().__init__()
        self.elements = []
        self.text = ""
        self.scripts = []  # attributes and text of each
        self.inside = []
        self.feed(source)
        self.close()
        data = {attrs.get("id") or attrs.get("class"): text for attrs, text in self.scripts if "type" in attrs}
        self.head = json.loads(data["head"]) if "head" in data else None
        rows = [json.loads(text) for attrs, text in self.scripts if attrs.get("class") == "groups"]
        self.groups = [group for block in rows for group in block]
        self.images = [self.shown(image) for group in self.groups for image in group[8]]
        blocks = [text for attrs, text in self.scripts if attrs.get("id", "").startswith("pictures-")]
        self.pictures = [line for block in blocks for line in block[1:-1].split("\n") if block != "\n"]

    def handle_starttag(self, tag, attrs):
        self.inside.append(tag)
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag):
        self.inside.append("/" + tag)
        if tag in {"td", "th", "p", "button", "text", "title"}:
            self.text += " "

    def handle_data(self, data):
        if self.inside[-1:] == ["script"]:
            attrs, text = self.scripts[-1]
            self.scripts[-1] = attrs, text + data
        else:
            self.text += data

    def shown(self, row):
        """Return an image as report.js reads it."""
        names = "folder name size width height format date distance tier flags reason confidence copied link".split()
        image = dict(zip(names, row, strict=True))
        image["path"] = f"{self.head['folders'][image['folder']]}/{image['name']}"
        image["format"] = self.head["formats"][image["format"]]
        image["tier"] = self.head["tiers"][image["tier"]]
        return image

    def all(self, tag, name=None):
        found = [attrs for element, attrs in self.elements if element == tag]
        return found if name is None else [attrs for attrs in found if attrs.get("class") == name]


@pytest.fixture
def page(tmp_path):
    def write(whole, thumbnail=lambda path, side: JPEG):
        target = tmp_path / "report.html"
        write_html(whole, target, thumbnail)
        return Page(target.read_text("utf-8"))

    return write


def test_page_shows_summary_groups_and_failures(page):
    shown = page(SAMPLE)
    text = " ".join(shown.text.split())
    assert "1,204" in text
    assert "photo-256" in text
    assert "2025-03-09 17:42 UTC" in text
    assert "same bytes 0 1 2.0 MB" in text  # groups, spare images and bytes of the tier
    assert "within radius 1 1 500.0 kB" in text
    assert "all 2 3 2.5 MB" in text
    assert "bad.jpg copy truncated file" in text
    assert all(title in text for title in TIER_TITLES.values())
    assert shown.head["bits"] == 256
    number, tier, diameter, chained, count, size, farthest, pictures, images = shown.groups[0]
    assert (number, TIERS[tier], diameter, chained, count, size) == (1, "near", 14, 0, 3, 2_500_000)
    assert (farthest, pictures, len(images)) == (14, 3, 3)
    assert shown.groups[1][3] == 1  # the chain
    keeper = shown.images[0]
    assert (keeper["path"], keeper["reason"], keeper["flags"]) == ("/photos/1000.jpg", "largest resolution", 1 + 4)
    assert (keeper["width"], keeper["height"], keeper["format"], keeper["size"]) == (640, 480, "JPEG", 1000)
    assert keeper["date"] == "2017-07-14 02:40"
    assert [(image["distance"], image["tier"], image["flags"]) for image in shown.images[1:3]] == [
        (0, "bytes", 0),
        (14, "near", 0),
    ]


def test_page_carries_its_pictures_and_asks_no_host(page):
    shown = page(SAMPLE)
    data = base64.b64encode(JPEG).decode()
    # a file with the bytes of the one that is kept is not pictured again
    assert shown.pictures == [data, "=", data, data, data]
    addresses = [a[key] for _, a in shown.elements for key in ("src", "href", "srcset", "action", "data") if key in a]
    assert all(address.startswith(("data:", "file:///", "#")) for address in addresses)
    code = "".join(text for _, text in shown.scripts)
    assert not re.search(r"https?:|url\(|@import|fetch\(|innerHTML|eval\(|XMLHttp", shown.text + code)
    policy = next(a["content"] for a in shown.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy
    for attrs, text in shown.scripts:
        if "type" not in attrs:  # all scripts that run are the ones that the policy names
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in policy


def test_a_twin_has_a_picture_of_its_own_where_the_keeper_has_none(page):
    shown = page(report(group(1, image(1), image(2))), lambda path, side: None if path.endswith("/1000.jpg") else JPEG)
    assert shown.pictures == ["", base64.b64encode(JPEG).decode(), base64.b64encode(JPEG).decode()]


@pytest.mark.parametrize("gone", [lambda path, side: None, pytest.param("raise", id="unreadable")])
def test_picture_that_is_gone_leaves_a_box(page, gone):
    def unreadable(path, side):
        raise ImageError(path, "truncated file")

    shown = page(SAMPLE, unreadable if gone == "raise" else gone)
    assert shown.pictures == [""] * 5


def test_page_tells_how_sure_a_code_is_where_that_is_known(page):
    known = SAMPLE.with_confidence({1: 0.4567, 2: 0.9})
    assert [image["confidence"] for image in page(known).images] == [None, 0.46, 0.9, None, None]


def test_page_lists_featureless_images_and_says_what_that_means(page):
    shown = page(dataclasses.replace(SAMPLE, featureless=("/photos/blank.png", "/photos/dark.png")))
    text = " ".join(shown.text.split())
    assert "Images that show next to nothing 2 images Blank pages" in text
    assert "/photos/blank.png copy /photos/dark.png copy" in text
    assert {"href": "#featureless"} in shown.all("a")
    assert len([a for a in shown.all("h2") if a.get("id") == "featureless"]) == 1
    assert "next to nothing" not in page(SAMPLE).text


def test_a_page_of_very_many_featureless_images_is_cut_and_says_so(page):
    paths = tuple(f"/photos/{number}.png" for number in range(FAILURES_SHOWN + 2))
    text = page(dataclasses.replace(SAMPLE, featureless=paths)).text
    assert "and 2 more images; the JSON report lists all." in text
    assert f"/photos/{FAILURES_SHOWN}.png" not in text


def test_featureless_images_and_confidence_are_in_the_json_file(tmp_path):
    whole = dataclasses.replace(SAMPLE.with_confidence({1: 0.5}), featureless=("/photos/blank.png",))
    write_json(whole, tmp_path / "r.json")
    told = json.loads((tmp_path / "r.json").read_text("utf-8"))
    assert told["featureless"] == ["/photos/blank.png"]
    assert told["summary"]["featureless"] == 1
    assert [image["confidence"] for group in told["groups"] for image in group["images"]] == [
        None,
        0.5,
        None,
        None,
        None,
    ]


def test_confidence_is_a_column_of_the_csv_file(tmp_path):
    write_csv(SAMPLE.with_confidence({1: 0.5}), tmp_path / "r.csv")
    with (tmp_path / "r.csv").open(encoding="utf-8", newline="") as file:
        assert [row["confidence"] for row in csv.DictReader(file)] == ["", "0.5", "", "", ""]


def test_empty_report_is_friendly(page):
    assert "No duplicates found" in page(report()).text
    assert "There was no image to look at" in page(report(images=0)).text
    shown = page(report(failures=(Failure("/photos/bad.jpg", "empty file"),)))
    assert "No duplicates found" in shown.text
    assert "empty file" in shown.text


def test_large_group_is_cut_and_says_so(page):
    asked = []

    def thumbnail(path, side):
        asked.append(path)
        return JPEG

    shown = page(report(group(1, *(image(n, tier="code") for n in range(1, 60)))), thumbnail)
    assert len(shown.images) == len(shown.pictures) == GROUP_IMAGES == len(asked)
    assert shown.groups[0][4] == 60


def test_all_groups_are_in_the_page_and_their_thumbnails_are_bounded(page, monkeypatch):
    for name, value in {"LARGE_GROUPS": 3, "PICTURED_GROUPS": 7, "PICTURE_BLOCK": 2, "DATA_BLOCK": 4}.items():
        monkeypatch.setattr(report_page, name, value)
    groups = [group(n, *(image(10 * n + k, tier="code") for k in range(5))) for n in range(1, 11)]
    sides = {}

    def thumbnail(path, side):
        sides[path] = side
        return JPEG

    shown = page(report(*groups), thumbnail)
    assert [row[0] for row in shown.groups] == list(range(1, 11))
    assert [row[7] for row in shown.groups] == [6] * 3 + [4] * 4 + [0] * 3
    assert len(shown.pictures) == 3 * 6 + 4 * 4 == len(sides)
    assert sorted(set(sides.values())) == [112, 192]
    assert sum(side == 192 for side in sides.values()) == 3 * 6
    assert [attrs["id"] for attrs, _ in shown.scripts if attrs.get("id", "").startswith("pictures")] == [
        "pictures-0",
        "pictures-1",
        "pictures-2",
        "pictures-3",
    ]
    assert "the first 3 groups of the report have large thumbnails, those up to 7 have small ones" in shown.text


def test_thumbnails_end_where_there_is_no_more_room(page, monkeypatch):
    monkeypatch.setattr(report_page, "PICTURE_BYTES", 3 * len(base64.b64encode(JPEG)))
    shown = page(report(*(group(n, image(n, tier="code")) for n in range(1, 4))))
    assert len(shown.pictures) == 3
    assert len(shown.groups) == 3


def test_progress_counts_the_groups_with_thumbnails(tmp_path):
    steps = []
    whole = report(*(group(n, image(n)) for n in range(1, 61)))
    write_html(whole, tmp_path / "r.html", lambda path, side: JPEG, on_progress=lambda *step: steps.append(step))
    assert steps == [(50, 60), (60, 60)]


def test_without_scripts_the_first_groups_are_a_list(page):
    shown = page(report(*(group(n, image(n)) for n in range(1, PAGE_GROUPS + 4))))
    assert len(shown.all("noscript")) == 1
    assert f"this is a list of the first {PAGE_GROUPS} groups" in shown.text
    assert f"/photos/{PAGE_GROUPS}.jpg" in shown.text
    assert f"/photos/{PAGE_GROUPS + 1}.jpg" not in shown.text


def test_plots_tell_distances_radius_and_promise(page):
    near = group(1, *(image(n, tier="near", distance=n) for n in range(1, 9)))
    later = dataclasses.replace(image(50, "/elsewhere/50.jpg"), modified=1_600_000_000.0)
    shown = page(report(near, group(2, later), calibration=calibration()))
    titles = ("How far apart", "What a smaller radius would leave", "From which years", "In which folders")
    assert all(title in shown.text for title in titles)
    assert len(shown.all("svg", "plot")) == 4
    assert "radius 33, promised precision 99.9 %" in shown.text
    assert "3 bits: 1 image" in shown.text
    assert "2020: 1 image" in shown.text
    assert "9 images beside the kept" in shown.text
    assert not page(report()).all("svg", "plot")


def test_filters_are_there_only_where_there_is_a_choice(page):
    other = dataclasses.replace(image(2, "/other/2.png", tier="near", distance=3), format="PNG")
    one, many = page(report(group(1, image(1)))), page(report(group(1, image(1), other)))
    ids = {"folder", "format", "farthest"}
    assert not ids & {attrs.get("id") for _, attrs in one.elements}
    assert ids <= {attrs.get("id") for _, attrs in many.elements}
    assert [a["value"] for a in many.all("option") if "/" in a.get("value", "")] == ["/other", "/photos"]


def test_names_are_text_and_never_markup(page):
    evil = "/photos/<img src=x onerror=alert(1)>.jpg"
    whole = report(
        group(1, image(1, evil, reason="<script>alert(2)</script>")),
        failures=(Failure("/photos/\"'><b onclick=alert(3)>.png", "</table><script>"),),
        encoder="</style><script>",
        folder='/"><svg onload=alert(4)>',
    )
    shown = page(whole)
    assert "<img src=x onerror=alert(1)>.jpg" in shown.text  # the list without scripts
    assert shown.images[1]["path"] == evil
    assert shown.images[1]["reason"] == "<script>alert(2)</script>"
    assert not shown.all("img")
    assert len(shown.all("script")) == 5  # two that run; head, groups and pictures are data
    assert not [name for _, attrs in shown.elements for name in attrs if name.startswith("on")]


def test_invisible_and_undecodable_names_are_written_out(page):
    turned, broken = "/photos/gpj\u202egnp.exe", os.fsdecode(b"/photos/caf\xe9.jpg")
    shown = page(report(group(1, image(1, turned), image(2, broken), image(3, "/photos/தமிழ் 👩\u200d🚀.jpg"))))
    names = [image["name"] for image in shown.images[1:]]
    assert names == ["gpj\\u202egnp.exe", "caf\\udce9.jpg", "தமிழ் 👩\u200d🚀.jpg"]
    assert all(name in shown.text for name in names)
    # what is copied is the real name; a name that is no text cannot be copied at all
    assert [image["copied"] for image in shown.images] == [0, turned, None, 0]
    links = [0, "file:///photos/gpj%E2%80%AEgnp.exe", "file:///photos/caf%E9.jpg", 0]
    assert [image["link"] for image in shown.images] == links


# every code point but NUL, which no file system allows; lone surrogates stand for names that are no text
NASTY = st.text(st.characters(exclude_categories=(), exclude_characters="\0"), max_size=20) | st.text(
    st.sampled_from("/<>&\"'\\{}%\r\n\u2066")
)


@settings(max_examples=60, deadline=None)
@given(name=NASTY)
def test_any_name_gives_complete_files(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp("nasty")
    whole = report(group(1, image(1, name, reason=name)), failures=(Failure(name, name),), folder=name)
    write_html(whole, folder / "a.html", lambda path, side: None)
    shown = Page((folder / "a.html").read_text("utf-8"))
    assert len(shown.images) == 2
    assert shown.images[1]["copied"] in (0, None, name)
    assert len(shown.all("script")) == 5
    write_csv(whole, folder / "a.csv")
    with (folder / "a.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file))[1]["path"] == name.encode("utf-8", "backslashreplace").decode()
    write_json(whole, folder / "a.json")
    read = json.loads((folder / "a.json").read_text("utf-8"))["groups"][0]["images"][1]["path"]
    assert read.encode("utf-16", "surrogatepass") == name.encode("utf-16", "surrogatepass")


def test_dates_outside_the_calendar_do_not_stop_the_page(page):
    images = [dataclasses.replace(image(n), modified=when) for n, when in enumerate((-1.0, 1e30, float("nan")))]
    shown = page(report(group(1, *images)))
    assert [image["date"] for image in shown.images[1:]] == ["1969-12-31 23:59", "", ""]


def test_csv_round_trip(tmp_path):
    target = tmp_path / "report.csv"
    write_csv(SAMPLE, target)
    with target.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = [field.name for field in dataclasses.fields(ReportImage)]
    assert list(rows[0]) == ["group", "group_tier", *names]
    shown = [{key: "" if value is None else str(value) for key, value in row.items()} for row in SAMPLE.rows()]
    assert rows == shown
    write_csv(report(), target)
    assert target.read_text("utf-8") == ",".join(["group", "group_tier", *names]) + "\n"  # CRLF, read as text


def test_json_round_trip(tmp_path):
    target = tmp_path / "report.json"
    write_json(SAMPLE, target)
    text = target.read_text("utf-8")
    assert json.loads(text) == json.loads(json.dumps(SAMPLE.to_dict()))
    assert text.startswith('{\n  "schema": 1,\n')
    broken = os.fsdecode(b"/photos/caf\xe9.jpg")
    write_json(report(group(1, image(1, broken))), target)
    assert json.loads(target.read_text("utf-8"))["groups"][0]["images"][1]["path"] == broken


def test_interrupted_page_leaves_the_older_one(tmp_path):
    target = tmp_path / "report.html"
    target.write_text("older")
    on_disk = []

    def thumbnail(path, side):
        if path == "/photos/150.jpg":
            on_disk.extend(file.stat().st_size for file in tmp_path.glob(".*.tmp"))
            raise KeyboardInterrupt
        return bytes(10_000)

    whole = report(*(group(n, image(n, tier="code")) for n in range(1, 200)))
    with pytest.raises(KeyboardInterrupt):
        write_html(whole, target, thumbnail)
    assert target.read_text() == "older"
    assert list(tmp_path.iterdir()) == [target]
    # all before this block of groups was on disk already: pictures are not gathered in memory
    assert on_disk[0] > 99 * 2 * 13_000


WRITERS = [
    pytest.param(lambda whole, path: write_html(whole, path, lambda path, side: None), id="html"),
    pytest.param(write_csv, id="csv"),
    pytest.param(write_json, id="json"),
]


@pytest.mark.parametrize("write", WRITERS)
def test_full_disk_leaves_the_older_file(tmp_path, monkeypatch, write):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    target = tmp_path / "report"
    target.write_text("older")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(HashaeError) as error:
        write(SAMPLE, target)
    assert str(error.value) == f"cannot write the report {target}: No space left on device; nothing was changed there"
    assert target.read_text() == "older"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("write", WRITERS)
def test_targets_that_cannot_be_written(tmp_path, write):
    missing = tmp_path / "missing"
    with pytest.raises(ConfigError, match=re.escape(f"--report: folder {missing} does not exist; create it first")):
        write(SAMPLE, missing / "report")
    with pytest.raises(ConfigError, match="is a folder; give the name of a file to write"):
        write(SAMPLE, tmp_path)
    with pytest.raises(ConfigError, match="/dev/null is not a regular file"):
        write(SAMPLE, Path("/dev/null"))
    assert not list(tmp_path.iterdir())


def test_replacing_keeps_links_and_permissions(tmp_path):
    target, link = tmp_path / "report.csv", tmp_path / "link.csv"
    target.write_text("older")
    target.chmod(0o600)
    link.symlink_to(target)
    write_csv(SAMPLE, link)
    assert link.is_symlink()
    assert target.read_text().startswith("group,")
    assert target.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (1_300_000, "1.3 MB"),
        (54_100_000_000, "54.1 GB"),
        (2_500 * 10**12, "2,500.0 TB"),
    ],
)
def test_human_size(size, words):
    assert human_size(size) == words


def test_what_a_person_decided_is_told(page):
    quiet = page(SAMPLE).text
    assert "Left out" not in quiet
    assert "Kept apart" not in quiet
    stays = dataclasses.replace(image(2), protected=True)
    shown = page(report(group(1, image(1), stays), keep_rules=("pixels", "size"), ignored=1, separated=2))
    for words in ("pixels, then size", "1 group that you said to ignore", "2 pairs that you said are no duplicates"):
        assert words in shown.text
    assert [image["flags"] for image in shown.images] == [1 + 4, 0, 2]


def test_what_must_stay_is_no_spare_image():
    whole = report(group(1, image(1, size=10), dataclasses.replace(image(2, size=5), protected=True)))
    assert (whole.duplicates, whole.bytes_to_free, whole.by_tier()["bytes"]["images"]) == (1, 10, 1)
    values = whole.to_dict()
    assert [one["protected"] for one in values["groups"][0]["images"]] == [False, False, True]
    assert (values["summary"]["ignored"], values["summary"]["separated"], values["keep_rules"]) == (0, 0, ())
